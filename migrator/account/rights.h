/* rights: the access control list of a mailbox (RFC 4314, and RFC 2086 before it). Pure.
 *
 * Rights are kept in the letters of RFC 4314, sorted. The letters "c" and "d" of an older server become what
 * they stand for:
 *
 *   c  create    k x
 *   d  delete    t e
 *
 * For an older target the letters are put back, but only where somebody has all that the old letter would
 * give, so that nobody gets more than they had. Letters that a newer server adds for old clients ("c", "d"
 * beside k, x, t, e) are dropped. */
#ifndef IMAPFERRY_RIGHTS_H
#define IMAPFERRY_RIGHTS_H

#include "lib/imap_tok.h"
#include "lib/view_rename.h"

enum { RIGHTS_ENTRIES_MAX = 1000, RIGHTS_LETTERS_MAX = 64 };

struct rights_entry {
    char *who; /* owned */
    char letters[RIGHTS_LETTERS_MAX];
};

struct rights {
    struct rights_entry *entries; /* owned; sorted by who */
    size_t n;
};

void rights_free(struct rights *r);
/* Takes what stands behind "* ACL": mailbox identifier rights ... Replaces *r. old: a server of RFC 2086.
 * False: it is no such list. */
bool rights_take(struct rights *r, const struct imap_value *data, bool old) MUST_CHECK;
const struct rights_entry *rights_find(const struct rights *r, const char *who);

/* Who the account itself is, and who runs the server: no grant to others. NULL-terminated, compared without
 * case. */
struct rights_self {
    const char *names[8];
};
/* Does the entry give somebody else something? (Not: the right to post, which Cyrus gives everybody.) */
bool rights_is_grant(const struct rights_entry *e, const struct rights_self *self);

/* The entries that a target has to have: grants, with identities mapped. map NULL: as they are. */
void rights_map(struct rights *out, const struct rights *source, const struct rights_self *self,
                const struct view_renames *map);
/* Writes letters as a server of that age wants them. What they can't say there goes to *lost (letters of RFC
 * 4314, RIGHTS_LETTERS_MAX bytes). */
void rights_write(struct buf *out, const char *letters, bool old, char *lost);
/* Letters of wanted that have does not have; both in the letters of RFC 4314. */
void rights_missing(const char *wanted, const char *have, char *missing);
/* Adds the letters of more to those of letters (RIGHTS_LETTERS_MAX bytes). */
void rights_join(char *letters, const char *more);

#endif
