/* account: from a login name to the account key that route, registry, limits and logs use (one canonical
 * key): ASCII letters lower-cased, blanks at both ends and a dot behind the domain dropped (servers that take
 * such a name take it for the one without), default_domain added where there is no "@", alias table applied,
 * bytes that mean something in Redis keys or logs percent-encoded (everything but letters, digits and
 * "@._-+="; capital hex digits). Letters outside ASCII are kept as they came. Pure. */
#ifndef IMAPFERRY_ACCOUNT_H
#define IMAPFERRY_ACCOUNT_H

#include "options.h"

enum { ACCOUNT_LOGIN_MAX = 512 };

/* The key, to free; NULL: *why is a fixed text. Refused: empty, longer than ACCOUNT_LOGIN_MAX, controls,
 * 8-bit that is not UTF-8, "@" first or last, a name that holds the character between %u and %m of a
 * backend's master_login (more exactly: a character that stands next to %u in it). */
char *account_key(const struct conf *c, struct span login, const char **why) MUST_CHECK;
/* The login name that a key stands for, as the migrator presents it to backends: percent-encoding undone. To
 * free; NULL for what account_key() can't have made. */
char *account_login(const char *key) MUST_CHECK;

/* Makes the table that account_key() looks aliases up in from the option aliases; conf_load() calls it. Both
 * sides are brought to keys in the same way. Refused: an alias of an alias (so there are no cycles), an alias
 * given twice. False: each fault was told to fn (NULL is fine), with the number of its value; text is
 * borrowed for the call. */
typedef void (*account_fault_fn)(void *owner, size_t nth, const char *text);
bool account_load_aliases(struct conf *c, account_fault_fn fn, void *owner) MUST_CHECK;
void account_free_aliases(struct conf *c);

#endif
