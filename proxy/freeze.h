/* freeze: what the sessions of an account do when its route changes (the table of states: lib/route.h).
 *
 *   engaged        the short term of the lease from now on, and the store is told so (`seen`)
 *   preparing      registrations that may have no session any more are taken away; the others are signed in at
 *                  the target (prepare.h)
 *   freezing       sessions come to rest (rest.h); a new login waits
 *   flipping       those that rest wait on; the flip went on without the others, which have no registration any more
 *   flipped, ...   those that rest go on at the target (handover.h); others on a backend that the route has left end
 *   thaw           back to ready: sessions go on where they were; the source is dialled again where it closed */
#ifndef IMAPFERRY_FREEZE_H
#define IMAPFERRY_FREEZE_H

#include "accounts.h"

/* a->state, epoch and backend are news, perhaps the same as before. */
void freeze_heard(struct account *a);
/* Registrations of this thread that no session has are taken away, where there may be some (doubts.h). */
void freeze_reconcile(struct proxy *p, const char *user, uint64_t epoch);
/* Any event; a: its account here, or NULL. More registrations of this thread than it has sessions are a doubt, however they
 * came about. */
void freeze_count(struct proxy *p, const struct account *a, const struct event *e);
/* An event of an account that has no sessions here. */
void freeze_stranger(struct proxy *p, const struct event *e);
/* The same as freeze_heard() for one session. */
void freeze_session(struct session *s);

#endif
