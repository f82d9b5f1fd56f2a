/* registry: who is alive. A proxy's lease, and the migrator's watch on the leases of others.
 *
 * A proxy incarnation ("<id>-<random hex>"; each thread has one of its own) writes a counter of its own,
 * never the same number twice, every third of the lease. Its validity runs from before sending the renewal,
 * less a tenth of the lease, on CLOCK_BOOTTIME; no wall clock takes part. Two terms: the short one (lease)
 * for sessions of engaged accounts, the long one (lease_long) for the others. Both stand beside the counter,
 * and who watches goes by the larger of its own and the one that stands there: configurations may differ, if
 * only while one is being changed. (An incarnation of the version before tells none, and is watched by the
 * watcher's own alone.) */
#ifndef IMAPFERRY_REGISTRY_H
#define IMAPFERRY_REGISTRY_H

#include "store.h"

struct lease;
enum lease_event {
    LEASE_RENEWED, /* the first one, or after a lapse of the short term: sessions have to ask route_resume()
                    */
    /* the short term ended (told once; by the clock, not by a reply); or staff have declared the incarnation
     * dead (`proxy forget`), which ends both terms at once: a reply told that */
    LEASE_LAPSED,
    LEASE_NEW_MASTER, /* the renewal found another generation: sessions have to be registered anew (those that
                         lapsed ask route_resume() instead); told before a LEASE_RENEWED of the same renewal
                       */
};
typedef void (*lease_fn)(void *owner, enum lease_event ev);

/* s: a connection of its own (store_new_beside()), so that no queue of other calls delays a renewal. */
struct lease *lease_new(struct store *s, const char *id, uint64_t lease_ms, uint64_t long_ms, lease_fn fn,
                        void *owner);
void lease_free(struct lease **l);
/* "<id>-<random>", for session names. */
const char *lease_incarnation(const struct lease *l);
/* Read the bytes first, then ask this, then pass them on: valid now, by the clock now, for the term that
 * applies. */
bool lease_is_valid(const struct lease *l, bool engaged);
/* How long it is still valid for that term, in ms; 0: it is not. */
uint64_t lease_left_ms(const struct lease *l, bool engaged);
/* Counts up at each lapse of the term: a session remembers the number at which it was last known good, which
 * is that of the moment when route_enter() or route_resume() was sent. */
uint64_t lease_lapses(const struct lease *l, bool engaged);
/* The store's generation by the last renewal that was answered, 0 before. What another connection was told of
 * an older one was done at a master that this lease is no longer kept at. */
uint64_t lease_generation(const struct lease *l);
/* Counts each LEASE_NEW_MASTER: what was registered before the last of them has to be registered again. */
uint64_t lease_masters(const struct lease *l);
/* Sends a renewal now (a follower heard news). By itself it renews each third of the lease, sooner after a
 * failure. */
void lease_renew(struct lease *l);
/* The clean end, once all sessions are gone: takes the incarnation out of `proxies`; valid no more. */
void lease_end(struct lease *l);

/* Since when this process has seen the counters that proxies have now: a counter is never the same twice, so
 * one that is found again has stood still all the time in between, whoever looked. What one job has waited
 * for a silent proxy counts for the next one too. A change of master (generation) ends all of it. */
struct sightings;
struct sightings *sightings_new(void);
void sightings_free(struct sightings **s);
/* By clock_boot_ms(); notes that it was seen. Now, where it is another counter than before, none ("": nobody
 * knows since when an incarnation is in no list), or s is NULL. */
uint64_t sightings_since(struct sightings *s, uint64_t generation, struct span name, struct span counter);

/* A migrator's watch over the incarnations that have sessions of one account. An incarnation that is not in
 * `proxies` counts as one that does not move. In a freeze nothing is evicted: WATCH_SILENT ends the watch
 * there too. */
struct watch;
enum watch_event {
    WATCH_CLEAR,  /* every incarnation has moved its counter since the watch began, or was evicted */
    WATCH_SILENT, /* one was watched without moving for its whole term: evicted when evict is set, else told
                     by name */
    WATCH_FAILED, /* the store is down, or changed master: begin again */
};
typedef void (*watch_fn)(void *owner, enum watch_event ev, const char *incarnation);
/* Watches until it has told WATCH_CLEAR or WATCH_FAILED (or, without evict, WATCH_SILENT). Sessions that have
 * not seen epoch are waited for by the long term, others by the short one: those of their own proxy, where
 * these are longer than lease_ms and long_ms. Polls the registry each fifth of lease_ms and at watch_poke().
 * sightings: what was seen before counts; borrowed, NULL = nothing was. */
struct watch *watch_new(struct store *s, const char *user, uint64_t epoch, uint64_t lease_ms,
                        uint64_t long_ms, bool evict, struct sightings *sightings, watch_fn fn, void *owner);
/* Which silent incarnation it will have to wait for longest, and for how many ms from now; silent: not moved
 * for the short term. NULL: none is. Borrowed until the next call of the loop. *where: the host of the proxy,
 * "" where it is not known. */
const char *watch_waits_for(const struct watch *w, const char **where, uint64_t *ms);
void watch_poke(struct watch *w);
void watch_free(struct watch **w);

/* The registrations of an account. */
enum session_mode { SESSION_RUNNING, SESSION_PREPARED, SESSION_FROZEN };
struct registration {
    struct span session, backend, address;
    uint64_t epoch; /* the last epoch its proxy has seen */
    enum session_mode mode;
    uint64_t since_ms; /* Redis time */
};
/* rows are borrowed. */
typedef void (*registry_fn)(void *owner, enum redis_rc rc, const struct registration *rows, size_t n);
void registry_list(struct store *s, const char *user, registry_fn fn, void *owner);

#endif
