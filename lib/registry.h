/* registry: who is alive: the lease of a proxy, and a migrator's watch over the leases of proxies.
 *
 * A proxy incarnation ("<id>-<random hex>"; each thread has one of its own) writes a counter of its own every
 * third of the lease, never the same number twice. Its lease is valid from the moment before the renewal was
 * sent, for the length of the term less a tenth of it, on CLOCK_BOOTTIME; no wall clock takes part. There are
 * two terms: the short one (lease) for sessions of engaged accounts (route_is_engaged()), the long one
 * (lease_long) for the others.
 *
 * Both terms stand beside the counter, and a watcher goes by the larger of its own and the one that stands
 * there: configurations may differ, if only while one is being changed. (An incarnation of the version before
 * tells no terms, and is watched by those of the watcher alone.) */
#ifndef IMAPFERRY_REGISTRY_H
#define IMAPFERRY_REGISTRY_H

#include "store.h"

struct lease;
enum lease_event {
    /* The lease was renewed for the first time, or after a lapse of the short term: sessions have to ask
     * route_resume(). */
    LEASE_RENEWED,
    /* The short term has ended, which is told once, by the clock and not by a reply; or a reply says that
     * staff have declared the incarnation dead (`proxy forget`), which ends both terms at once. */
    LEASE_LAPSED,
    /* The renewal found another generation: sessions have to be registered anew (those whose lease lapsed ask
     * route_resume() instead). Told before the LEASE_RENEWED of the same renewal. */
    LEASE_NEW_MASTER,
};
typedef void (*lease_fn)(void *owner, enum lease_event ev);

/* s: a connection of its own (store_new_beside()), so that no queue of other calls delays a renewal. */
struct lease *lease_new(struct store *s, const char *id, uint64_t lease_ms, uint64_t long_ms, lease_fn fn,
                        void *owner);
/* The same under the incarnation's name of another lease, that of another store (lib/stores.h): a thread is one and the
 * same in all of them. */
struct lease *lease_new_as(struct store *s, const char *incarnation, uint64_t lease_ms, uint64_t long_ms,
                           lease_fn fn, void *owner);
void lease_free(struct lease **l);
/* The incarnation's name, "<id>-<random>"; names of sessions begin with it. */
const char *lease_incarnation(const struct lease *l);
/* Is the lease valid for the short term (engaged) or for the long one, by the clock as it is now? Before
 * bytes are passed on: read them first, then ask this, then pass them on. */
bool lease_is_valid(const struct lease *l, bool engaged);
/* For how many ms the lease is still valid for that term; 0: it is not. */
uint64_t lease_left_ms(const struct lease *l, bool engaged);
/* A number that counts up at each lapse of the term. A session remembers the number at which it was last
 * known to be good: the number at the moment when its route_enter() or route_resume() was sent. */
uint64_t lease_lapses(const struct lease *l, bool engaged);
/* The store's generation by the last renewal that was answered, 0 before. What another connection was told
 * with an older generation was done at a master at which this lease is no longer kept. */
uint64_t lease_generation(const struct lease *l);
/* A number that counts up at each LEASE_NEW_MASTER: what was registered before the last of these has to be
 * registered again. */
uint64_t lease_masters(const struct lease *l);
/* Sends a renewal now (for example because the follower of the events heard news). By itself the lease sends
 * one each third of its length, and sooner after a failure. */
void lease_renew(struct lease *l);
/* The clean end, once all sessions are gone: takes the incarnation out of PREFIX:proxies, and the lease is
 * valid no more. */
void lease_end(struct lease *l);

/* Since when this process has seen the counters that proxies have now. A counter is never the same twice, so
 * one that is found again has stood still all the time in between, whoever looked: what one job has waited
 * for a silent proxy counts for the next job too. A change of master (another generation) ends all of
 * this. */
struct sightings;
struct sightings *sightings_new(void);
void sightings_free(struct sightings **s);
/* Notes that the counter was seen, and returns since when it has stood, by clock_boot_ms(). That is now where
 * it is another counter than before, where it is "" (nobody knows since when an incarnation is in no list),
 * or where s is NULL. */
uint64_t sightings_since(struct sightings *s, uint64_t generation, struct span name, struct span counter);

/* A migrator's watch over the incarnations that have sessions of one account. An incarnation that is not in
 * PREFIX:proxies counts as one whose counter does not move. During a freeze nothing is evicted: WATCH_SILENT
 * ends the watch there too. */
struct watch;
enum watch_event {
    WATCH_CLEAR, /* every incarnation has moved its counter since the watch began, or was evicted */
    /* The counter of one incarnation, whose name is told, did not move for its whole term. With evict, its
     * sessions of this account were taken away. */
    WATCH_SILENT,
    WATCH_FAILED, /* the store is down, or changed master: begin again */
};
typedef void (*watch_fn)(void *owner, enum watch_event ev, const char *incarnation);
/* Watches until it has told WATCH_CLEAR or WATCH_FAILED (or, without evict, WATCH_SILENT). Incarnations with
 * a session that has not seen the epoch are waited for by the long term, others by the short one: the terms
 * of their own proxy, where these are longer than lease_ms and long_ms. Polls the registry each fifth of
 * lease_ms and at watch_poke(). sightings: what was seen before counts; borrowed, NULL = nothing was. */
struct watch *watch_new(struct store *s, const char *user, uint64_t epoch, uint64_t lease_ms,
                        uint64_t long_ms, bool evict, struct sightings *sightings, watch_fn fn, void *owner);
/* The silent incarnation for which the watch will have to wait longest; *ms is for how long from now. Silent
 * is one whose counter has not moved for the short term. NULL: there is none. The name is borrowed until the
 * next call of the loop. *where is the host of the proxy, "" where it is not known. */
const char *watch_waits_for(const struct watch *w, const char **where, uint64_t *ms);
void watch_poke(struct watch *w);
void watch_free(struct watch **w);

/* One registration of an account. */
enum session_mode { SESSION_RUNNING, SESSION_PREPARED, SESSION_FROZEN };
struct registration {
    struct span session, backend, address;
    uint64_t epoch; /* the last epoch of the account that its proxy has seen */
    enum session_mode mode;
    uint64_t since_ms; /* Redis time */
};
/* The rows are borrowed. */
typedef void (*registry_fn)(void *owner, enum redis_rc rc, const struct registration *rows, size_t n);
void registry_list(struct store *s, const char *user, registry_fn fn, void *owner);

#endif
