/* signin: finds out how the migrator signs in for a user: as master at backends that have a master_user, else
 * with the user's own password or token, which a proxy sealed at the last login. It is kept in Redis
 * until its time is over, and is opened here alone. */
#ifndef IMAPFERRY_SIGNIN_H
#define IMAPFERRY_SIGNIN_H

#include "lib/sasl.h"

#include "move.h"

enum signin_rc {
    SIGNIN_OK, /* with the user's credential; NULL where both backends have a master_user, and there is none or it is of no use */
    SIGNIN_NONE, /* there is none that can be used: why */
    SIGNIN_DOWN, /* Redis does not answer */
};
/* Have both backends a master_user, so that no password of the user's is needed? */
bool signin_is_by_masters(const struct move *move);
/* All borrowed. */
typedef void (*signin_fn)(void *owner, enum signin_rc rc, const struct credential *credential,
                          const char *why);

struct signin;
/* Never calls back before it returned. The sign-in is gone when fn is called. */
struct signin *signin_start(struct move *move, signin_fn fn, void *owner);
/* NULL is fine. */
void signin_cancel(struct signin **s);

#endif
