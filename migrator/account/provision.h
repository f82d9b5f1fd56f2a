/* provision: has the site make the account on the server that it goes to, by the program or URL that the option
 * provision of that backend names (hook.h), at the beginning of an attempt: before anything is asked of that server,
 * which may not know the user yet.
 *
 * Each attempt begins so, the first one and those after a failure, after "retry" and after the death of a migrator;
 * thus it is run anew, with what the user has signed in with since, where the target has refused what the source has
 * just taken. The passes of a copied account that waits for its time are no attempts. Nor is a forced flip.
 *
 * It is given the user's password where the site wants that (provision_password), and where it was a password that the
 * user has signed in with: of a token it is told the mechanism alone. */
#ifndef IMAPFERRY_PROVISION_H
#define IMAPFERRY_PROVISION_H

#include "lib/sasl.h"

#include "move.h"

enum provision_rc {
    PROVISION_DONE,
    PROVISION_FAILED,
    PROVISION_WANTS_LOGIN, /* failed for want of the user's password */
};
/* why: for people, of PROVISION_DONE NULL; borrowed. */
typedef void (*provision_fn)(void *owner, enum provision_rc rc, const char *why);

/* Is an attempt with this route to begin so? */
bool provision_is_due(const struct conf_backend *target, const struct route *route);
/* Is a password to be looked for that nobody else needs? */
bool provision_wants_password(const struct move *move);

struct provision;
/* credential: NULL: none is at hand. All is copied. Never calls back before it returned; it is gone when fn is
 * called. */
struct provision *provision_start(const struct move *move, const struct credential *credential,
                                  provision_fn fn, void *owner);
/* Kills it, without a callback. NULL is fine. */
void provision_cancel(struct provision **p);

#endif
