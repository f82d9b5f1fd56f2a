/* vault: the credentials that sessions keep of their logins where the account may be flipped, to sign in with
 * at another backend without asking the client. They lie in pages of their own, which are never swapped out,
 * nor in a core file (where the limits of the process allow it); an entry is overwritten when it is dropped.
 * A thread has one of its own.
 *
 * An entry takes the bytes of its parts, rounded up to 64; the vault grows by 64 KiB and shrinks again. */
#ifndef IMAPFERRY_VAULT_H
#define IMAPFERRY_VAULT_H

#include "lib/sasl.h"

struct vault;
struct secret; /* an entry; borrowed from its vault until vault_drop() */

struct vault *vault_new(void);
/* Nothing is in it any more. NULL is fine. */
void vault_free(struct vault **v);

/* Copies it; its parts are together at most VAULT_SECRET_MAX bytes. */
enum { VAULT_SECRET_MAX = 32 * 1024 };
struct secret *vault_keep(struct vault *v, const struct credential *c);
/* Overwrites it, and nulls *s. NULL is fine. */
void vault_drop(struct vault *v, struct secret **s);
/* Its parts are borrowed from the entry. */
struct credential secret_credential(const struct secret *s);

#endif
