/* freeze: what the sessions of an account do when its route changes (the table of states: lib/route.h).
 *
 *   engaged        the short term of the lease from now on, and the store is told so (`seen`)
 *   preparing      registrations that have no session any more are taken away; the others are signed in at the
 *                  target (prepare.h)
 *   freezing       sessions end with BYE after their command (an IDLE at once); a new login waits
 *   flipping       the flip went on without us: our sessions have no registration any more and pass on
 * nothing flipped, ...   a session on a backend that the route has left ends thaw           back to ready:
 * sessions go on
 *
 * Until sessions are handed over live (issue cut-over), clients reconnect, and their login waits for the
 * flip. */
#ifndef IMAPFERRY_FREEZE_H
#define IMAPFERRY_FREEZE_H

#include "accounts.h"

/* a->state, epoch and backend are news, perhaps the same as before. */
void freeze_heard(struct account *a);

#endif
