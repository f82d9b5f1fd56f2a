/* freeze: what the sessions of an account do when its route changes (the table of states: lib/route.h).
 *
 *   engaged        the short term of the lease from now on, and the store is told so (`seen`)
 *   preparing      registrations that may have no session any more are taken away; the others are signed in at
 *                  the target (prepare.h)
 *   freezing       sessions come to rest (rest.h); a new login waits
 *   flipping       sessions that have acknowledged the freeze go on waiting; the others end: the flip could only begin because
 *                  they have no registration any more
 *   flipped, ...   sessions that have acknowledged the freeze go on at the target (handover.h); others, where the route has
 *                  left their backend, end
 *   thaw           the account is back in `ready`: sessions go on where they were, and dial the source again where it has
 *                  closed the connection */
#ifndef IMAPFERRY_FREEZE_H
#define IMAPFERRY_FREEZE_H

#include "accounts.h"

/* The store has told a->state, epoch and backend, perhaps the same as before: all sessions of the account act
 * on it. */
void freeze_heard(struct account *a);
/* Has the store take away registrations of this thread that no session has, where there may be some
 * (doubts.h). */
void freeze_reconcile(struct branch *b, const char *user, uint64_t epoch);
/* Looks at any event for more registrations of this thread than it has sessions; these are a doubt
 * (doubts.h), however they came about. a: the event's account in this thread, or NULL. */
void freeze_count(struct branch *b, const struct account *a, const struct event *e);
/* Looks at an event of an account that has no sessions in this thread: not all of its registrations may be
 * gone. */
void freeze_stranger(struct branch *b, const struct event *e);
/* The same as freeze_heard() for one session. */
void freeze_session(struct session *s);

#endif
