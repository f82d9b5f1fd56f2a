/* stores: the stores of a site. Most sites have one; where that is not enough, accounts are spread over several, each
 * complete by itself: with its own record, leases, events, jobs, brake and audit stream, none of which knows of an account
 * of another one. So no script ever spans two, and one that is out of reach stops its own accounts and no others.
 *
 * Which account is in which follows from its key or its domain, as `spread` says, and from how many there are, and from nothing else: not from
 * their addresses, so that a store can move to another machine, and be restored there. The urls of the section redis are in
 * order, each store has on record which one it is (store.h), and where the two disagree nothing works on it. With
 * one more store, one account in so many has to go there, and no other moves; that is done by an export, `init` and a
 * restore, never by itself. The partitions of a Redis Cluster are stores like others (cluster.h): one that moves to another
 * node has a change of master, and no other has. */
#ifndef IMAPFERRY_STORES_H
#define IMAPFERRY_STORES_H

#include "store.h"

/* Which store an account is in, from 0: rendezvous hash, the store whose number makes the highest hash with the account's key, or
 * with what stands behind its last "@" (r->spread; a key without one counts as a whole). Pure; what it says never changes, else accounts would be
 * looked for where they are not. */
size_t stores_place(const struct conf_redis *r, struct span user);

/* Is it this store, of those that its configuration names? */
bool stores_is_in(const struct store *s, const char *user);

struct stores {
    size_t n;
    struct store **all; /* owned, by their places */
    struct store_site site;
};

/* Told as store_state_fn is, of the store at that place. */
typedef void (*stores_fn)(void *owner, size_t place, enum store_state state, const char *detail);
/* A connection to each store of the configuration. */
struct stores *stores_new(struct loop *l, const struct conf *conf, uint64_t timeout_ms, stores_fn fn,
                          void *owner);
void stores_free(struct stores **s); /* NULL is fine */
bool stores_are_up(const struct stores *s);
/* The one that has the account, by its key. */
struct store *stores_of(const struct stores *s, const char *user);

#endif
