/* flags: sets of flags and keywords, interned: each different set is kept once and has a number, so that a
 * message needs four bytes for its flags and two messages have the same flags where the numbers are equal.
 *
 * Sets are equal as IMAP sees them: upper and lower case of ASCII letters are the same ($MDNSent and $MdnSent
 * are one keyword), order and repetition do not count, and \Recent is no flag of a message (RFC 3501 2.3.2),
 * so it is dropped. The spelling kept is the first one seen. Pure. */
#ifndef IMAPFERRY_FLAGS_H
#define IMAPFERRY_FLAGS_H

#include "lib/imap_tok.h"

/* Set 0 is the empty one. */
enum { FLAGS_NONE = 0 };
/* More than one message or one mailbox can have: a peer that sends more is refused. */
enum { FLAGS_PER_MESSAGE_MAX = 1000, FLAGS_BYTES_MAX = 32 * 1024 * 1024 };

struct flags_pool;

struct flags_pool *flags_pool_new(void);
void flags_pool_free(struct flags_pool **p);
/* The number of the set that the elements of a list make (a FLAGS response item). False: not all of them are
 * words (a control character, a parenthesis inside), or it isn't a list, or over a limit: *why, and *_set is
 * what is left. A system flag in quotes ("\\Seen", as InterMail says it) is a word. */
bool flags_add(struct flags_pool *p, const struct imap_value *list, uint32_t *_set,
               const char **why) MUST_CHECK;
/* The same from words with blanks between. */
bool flags_add_text(struct flags_pool *p, struct span words, uint32_t *_set, const char **why) MUST_CHECK;
/* "\Seen $Forwarded", sorted; borrowed until the next addition. */
const char *flags_text(const struct flags_pool *p, uint32_t set);
/* Every number below it is a set. */
uint32_t flags_count(const struct flags_pool *p);
bool flags_has(const struct flags_pool *p, uint32_t set, const char *flag);
/* Has the other set all flags of this one? */
bool flags_within(const struct flags_pool *p, uint32_t set, uint32_t other);

/* What a mailbox can keep, by its PERMANENTFLAGS (RFC 3501 7.1). */
struct flags_policy {
    bool given;       /* false: the server said nothing, so everything is kept (RFC 3501 6.3.1) */
    bool any_keyword; /* \* */
    uint32_t listed;
};
/* Splits a set into what the mailbox keeps and what it loses. A flag goes through that is listed; with \*
 * also any keyword that can be written as an atom. Flags that begin with a backslash and are none of the five
 * of RFC 3501 go through only where they are listed: else a whole APPEND would be refused for them. */
void flags_split(struct flags_pool *p, const struct flags_policy *policy, uint32_t set, uint32_t *kept,
                 uint32_t *lost);

#endif
