/* branch: what a thread has at one store of the site (lib/stores.h): connections, lease, events, and what it keeps in
 * order there. Most sites have one store, and each thread one branch. An account belongs to one branch for ever, that
 * of the store which has it; so what happens to a store (it is silent, it has another master, the lease there lapses)
 * concerns the sessions of its branch and no others.
 *
 * In all stores a thread is one incarnation, of one name: names of sessions do not depend on the account. */
#ifndef IMAPFERRY_BRANCH_H
#define IMAPFERRY_BRANCH_H

#include <stdatomic.h>

#include "lib/events.h"
#include "lib/instance.h"
#include "lib/registry.h"
#include "lib/stores.h"

#include "doubts.h"
#include "penalty.h"
#include "queue.h"
#include "thaw.h"

struct proxy;

struct branch {
    struct proxy *proxy; /* borrowed */
    struct store *store; /* of proxy->stores */
    uint64_t read_of;    /* its generation when all accounts were read last for a new one */

    struct store *lease_store; /* beside store: no queue there delays a renewal; all below owned */
    struct lease *lease;
    bool has_lease;            /* had one */
    bool is_ours;              /* the id: thread 0 alone asks */
    bool is_told;              /* at the end: that there are no sessions any more, or it can't be told */
    uint64_t replicas_late_ms; /* when its replicas did not keep up, by clock_boot_ms(); 0: never */
    struct instance *instance; /* of thread 0 */
    struct queue *queue; /* goes while the store is there, and at the master that the lease is kept at */
    struct events *events;
    struct doubts *doubts;
    struct thaws *thaws;
    struct penalty *penalty;
    atomic_bool told_store, told_lease; /* the store is there; the lease holds */
};

/* The branches of a thread, one a store of p->stores, as which a thread is known by id; instead: for instance_new(). */
void branches_begin(struct proxy *p, const char *id);
/* Before p->stores are freed, and p->branches after them. */
void branches_end(struct proxy *p);
void branches_free(struct proxy *p);
/* The one that has the account of this key. */
struct branch *branch_of(const struct proxy *p, const char *key);

/* Told of the store at that place: a stores_fn, whose owner is the proxy. */
void branch_on_store(void *owner, size_t place, enum store_state state, const char *detail);
/* Does each branch have had a lease, and the id? Then all accounts can be served. */
bool branches_are_there(const struct proxy *p);
/* Asks, as the process whose token is from, for the id in each store; NULL: lets go of it. */
void branches_tell_id(struct proxy *p, const char *from);
/* All sessions are gone: tells the stores so, and calls proxy_left() once each of them has answered, or can't. */
void branches_leave(struct proxy *p);

#endif
