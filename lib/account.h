/* account: makes an account key from a login name: the one canonical name by which routes, registry, limits
 * and logs know an account. Pure.
 *
 *   - Blanks at both ends are dropped, and so is a dot behind the domain: servers that take such a name take
 *     it for the one without.
 *   - ASCII letters become small ones; letters outside of ASCII are kept as they came.
 *   - default_domain is added where there is no "@".
 *   - The table of aliases is applied.
 *   - Bytes that mean something in Redis keys or logs are percent-encoded: everything but letters, digits and
 *     "@._-+=", with capital hex digits. */
#ifndef IMAPFERRY_ACCOUNT_H
#define IMAPFERRY_ACCOUNT_H

#include "options.h"

enum { ACCOUNT_LOGIN_MAX = 512 };

/* The key of a login name, to free; NULL: *why is a fixed text. Refused are: an empty name, one longer than
 * ACCOUNT_LOGIN_MAX, controls, 8-bit that is not UTF-8, "@" as the first or last byte, and a name that holds
 * the character between %u and %m of a backend's master_login (more exactly: a character that stands next to
 * %u there). */
char *account_key(const struct conf *c, struct span login, const char **why) MUST_CHECK;
/* Does it stand in the table of aliases? */
bool account_is_alias(const struct conf *c, struct span login);
/* The login name that a key stands for, as the migrator presents it to backends: the percent-encoding is
 * undone. To free; NULL for a key that account_key() can't have made. */
char *account_login(const char *key) MUST_CHECK;

/* Makes the table in which account_key() looks up aliases, from the option aliases; conf_load() calls it.
 * Both sides are made keys in the same way. Refused are an alias of an alias (so there are no cycles) and an
 * alias that is given twice. False: each fault was told to fn (NULL is fine), with the number of its value;
 * text is borrowed for the call. */
typedef void (*account_fault_fn)(void *owner, size_t nth, const char *text);
bool account_load_aliases(struct conf *c, account_fault_fn fn, void *owner) MUST_CHECK;
void account_free_aliases(struct conf *c);

#endif
