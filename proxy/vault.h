/* vault: what sessions of accounts that may be flipped keep of their logins: name and password, to sign in with at
 * another backend without asking the client. In pages of their own, which are never swapped out, nor in a core file
 * (where the limits of the process allow it); an entry is overwritten when it is dropped. A thread has one of its own.
 *
 * An entry takes the bytes of its strings, rounded up to 64; the vault grows by 64 KiB and shrinks again. */
#ifndef IMAPFERRY_VAULT_H
#define IMAPFERRY_VAULT_H

#include "lib/base.h"

struct vault;
struct secret; /* an entry; borrowed from its vault until vault_drop() */

struct vault *vault_new(void);
/* Nothing is in it any more. NULL is fine. */
void vault_free(struct vault **v);

/* Copies both, neither with a NUL in it, together at most VAULT_SECRET_MAX bytes. */
enum { VAULT_SECRET_MAX = 32 * 1024 };
struct secret *vault_keep(struct vault *v, struct span name, struct span password);
/* Overwrites it, and nulls *s. NULL is fine. */
void vault_drop(struct vault *v, struct secret **s);
/* C strings, borrowed. */
const char *secret_name(const struct secret *s);
const char *secret_password(const struct secret *s);

#endif
