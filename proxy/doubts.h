/* doubts: registrations of this thread whose fate is not known. A registration that no session has stands in
 * the way of the account's switch-over for as long as the thread lives; so at each `preparing` it may have to
 * be taken away (reconcile). But of nearly every account that is moved a thread knows that it has none, and
 * then it writes nothing.
 *
 * What adds or ends registrations goes through here, and an account is in doubt
 *   - while an enter, register or leave of it is not answered;
 *   - where the answer of an enter or register was lost with the connection: until a reconcile of a later
 *     epoch was answered and has left nothing, since what was sent for that epoch at the latest can't be
 *     executed any more;
 *   - where the store counts more registrations than there are sessions (doubts_suspect());
 *   - where the store has failed over within a minute of a leave: the new master may not know of it. Longer
 *     than a master goes on without its replicas (min-replicas-max-lag).
 * A leave whose answer was lost is sent again, until it is answered.
 *
 * There is room for DOUBTS_MAX accounts. Once one did not fit, the thread reconciles every account at every
 * preparing, as it would have to without this table, until it ends; the log says "doubts_full". */
#ifndef IMAPFERRY_DOUBTS_H
#define IMAPFERRY_DOUBTS_H

#include "lib/route.h"

#include "queue.h"

enum { DOUBTS_MAX = 20000 };

struct doubts;

/* The answer of a doubts_reconcile() was lost, and it has to be given once more. */
typedef void (*doubts_fn)(void *owner, const char *user, uint64_t epoch);

/* All borrowed. */
struct doubts *doubts_new(struct store *s, struct queue *q, const char *incarnation, doubts_fn fn,
                          void *owner);
void doubts_free(struct doubts **d);

/* As route_enter(), route_register() and route_leave(). */
void doubts_enter(struct doubts *d, const struct route_enter *e, route_enter_fn fn, void *owner);
void doubts_register(struct doubts *d, const char *user, const char *session, const char *backend,
                     uint64_t epoch, const char *address, route_done_fn fn, void *owner);
void doubts_leave(struct doubts *d, const char *user, const char *session);
/* No callback for owner any more; that the answer comes is of interest still. */
void doubts_forget(struct doubts *d, const void *owner);

/* It has registrations that no session has. */
void doubts_suspect(struct doubts *d, struct span user);
/* Is the account in doubt? */
bool doubts_has(const struct doubts *d, struct span user);
/* Is any? Then there may be registrations of this thread that nobody takes away. */
bool doubts_any(const struct doubts *d);
/* The account is in `preparing` of this epoch, and these are its sessions, logins under way too: takes other
 * registrations away where it is in doubt (route_reconcile()). */
void doubts_reconcile(struct doubts *d, const char *user, uint64_t epoch, const char *const *sessions,
                      size_t n);
/* The store is another server: what it was told last may be lost. */
void doubts_new_master(struct doubts *d);

#endif
