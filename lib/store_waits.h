/* store_waits: who waits for the replicas of Redis (store_wait()). One WAIT at a time is under way on a connection,
 * for all of them together: while it lasts, Redis executes nothing else that this connection sends, so one WAIT for
 * each, one behind the other, would hold up everything, a lease too, for as many time-outs as there are. */
#ifndef IMAPFERRY_STORE_WAITS_H
#define IMAPFERRY_STORE_WAITS_H

#include <sys/queue.h>

#include "redis.h"

struct waiter;
struct store_waits {
    TAILQ_HEAD(waiters, waiter) list; /* in the order in which they asked */
    bool asking;                      /* the number of replicas, or the WAIT itself, is under way */
    uint64_t timeout_ms, replicas;    /* of the WAIT that is under way; timeout_ms 0: none is */
};

void waits_init(struct store_waits *w);
void waits_free(struct store_waits *w);
/* fn is called once, by waits_end(). One that asks while a WAIT is under way is answered by that one, since what was
 * written for it was answered, and so executed, before; unless it would wait for longer: then by the next one. */
void waits_add(struct store_waits *w, uint64_t timeout_ms, redis_fn fn, void *owner);
/* fn is not called for this owner any more. */
void waits_forget(struct store_waits *w, void *owner);
bool waits_any(const struct store_waits *w);
/* A WAIT for so many replicas is about to be sent, for all who wait now. The result is the longest of their times. */
uint64_t waits_begin(struct store_waits *w, uint64_t replicas);
/* The one of this store. */
struct store;
struct store_waits *store_waits(struct store *s);
/* It was answered, or could not be sent (all who wait now are told so then). fn may free the store. */
void waits_end(struct store_waits *w, enum redis_rc rc, const struct reply *r);

#endif
