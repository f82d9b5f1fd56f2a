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
 * beside k, x, t, e) are dropped.
 *
 * RFC 4314 leaves to servers what an identity looks like. A server that knows an identity of another one's speech takes it
 * for the name of a user all the same, says OK, and nobody has the right:
 *
 *   |              | everybody | who has signed in | who has not | a group    | global, of the administrator's |
 *   | Dovecot      | anyone    | authenticated     |             | $g, !$g    | #...                           |
 *   | Cyrus        | anyone    |                   | anonymous   | group:g    |                                |
 *   | Courier      | anyone    |                   |             | group=g    |                                |
 *
 * So what the other server can't say is told apart, and asked about. */
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
 * case. First comes the login name, then that without its domain. */
struct rights_self {
    const char *names[8];
};
/* Does the entry give somebody else something? (Not: the right to post, which Cyrus gives everybody.) */
bool rights_is_grant(const struct rights_entry *e, const struct rights_self *self);

enum rights_speech { RIGHTS_OF_OTHERS, RIGHTS_OF_DOVECOT, RIGHTS_OF_CYRUS };
/* How a server calls users: some leave the domain out. It is seen from what it calls the account itself. */
enum rights_form { RIGHTS_FORM_UNKNOWN, RIGHTS_WITHOUT_DOMAIN, RIGHTS_WITH_DOMAIN };
enum rights_form rights_form(const struct rights *r, const struct rights_self *self);

/* From one server to the other. */
struct rights_way {
    enum rights_speech from, to;
    enum rights_form form_from, form_to;
    const struct view_renames *map; /* the site's; what it says goes before all else; NULL: none */
};
/* The entries that a target has to have: grants, with identities mapped. The right "n" (RFC 5257) is about annotations of
 * messages, which no Dovecot has. unsaid: those of the source that the target can't
 * say, as the source says them; NULL: not wanted. */
void rights_map(struct rights *out, const struct rights *source, const struct rights_self *self,
                const struct rights_way *way, struct rights *unsaid);
/* Does it name a single user, as a server of this speech says it? ("-bob" too.) */
bool rights_is_user(const char *who, enum rights_speech speech);
/* Writes letters as a server of that age wants them. What they can't say there goes to *lost (letters of RFC
 * 4314, RIGHTS_LETTERS_MAX bytes). */
void rights_write(struct buf *out, const char *letters, bool old, char *lost);
/* Letters of wanted that have does not have; both in the letters of RFC 4314. */
void rights_missing(const char *wanted, const char *have, char *missing);
/* Adds the letters of more to those of letters (RIGHTS_LETTERS_MAX bytes). */
void rights_join(char *letters, const char *more);

#endif
