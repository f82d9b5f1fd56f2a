/* account_names: a list of login names, one a line, as the accounts that they mean. Blank lines and lines that
 * begin with "#" are no names. Pure.
 *
 * A list never changes, and its references are counted atomically: the copies of a configuration share it,
 * whichever threads have them. */
#ifndef IMAPFERRY_ACCOUNT_NAMES_H
#define IMAPFERRY_ACCOUNT_NAMES_H

#include "options.h"

/* The key (account.h) that a line stands for, to free. Blanks around it are taken away from *line. NULL: it is
 * no name; *why is a fixed text, or NULL where it is a blank line or a comment. A line that is more than a name
 * (of a table, of a mail's header, of /etc/passwd) is rather of the wrong file, so it is none. */
char *account_names_key(const struct conf *c, struct span *line, const char **why) MUST_CHECK;

struct account_names;
/* NULL: each line that is wrong was told to fn; text is borrowed for the call. */
typedef void (*account_names_fault_fn)(void *owner, size_t line, const char *text);
struct account_names *account_names_read(const struct conf *c, struct span text, account_names_fault_fn fn,
                                         void *owner) MUST_CHECK;
/* One reference more; NULL stays NULL. */
struct account_names *account_names_keep(struct account_names *a);
/* One less; the last one frees it. */
void account_names_free(struct account_names **a);
bool account_names_have(const struct account_names *a, const char *key);
/* How many different accounts; 0 of NULL. */
size_t account_names_count(const struct account_names *a);
/* Do they name the same accounts? */
bool account_names_equal(const struct account_names *a, const struct account_names *b);

#endif
