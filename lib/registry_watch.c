/* A migrator's watch over the proxies that have sessions of one account. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <uthash.h>

#include "log.h"
#include "registry.h"
#include "registry_priv.h"
#include "xalloc.h"

enum { POLL_MIN_MS = 20 };

/* No configuration allows for more than a day. */
#define TERM_MAX_MS (UINT64_C(1) << 40)

/* A proxy incarnation under watch. */
struct watched {
    char *name;                 /* owned; the key */
    char *counter;              /* owned; "" where it is not in `proxies` */
    char *host;                 /* owned; "" where it is not known */
    uint64_t since_ms;          /* by clock_boot_ms(): when this counter was first seen */
    uint64_t lease_ms, long_ms; /* of its lease, as it told them; 0: it told none */
    bool moved;                 /* alive: its counter is another one than at first */
    bool here;                  /* has sessions, by the poll that is being looked at */
    bool unseen;                /* one of them has not seen the epoch: the long term counts */
    bool evicting;
    UT_hash_handle hh;
};

struct watch {
    struct store *s;
    char *user; /* owned */
    uint64_t epoch, lease_ms, long_ms, generation;
    bool evict;
    struct sightings *sightings; /* borrowed; may be NULL */
    watch_fn fn;
    void *owner; /* borrowed */
    struct watched *all;
    struct timer *poll;
    bool asking, poked;
    unsigned busy;
    bool done, gone;
};

static void watch_leave_callback(struct watch *w)
{
    if (--w->busy > 0 || !w->gone)
        return;
    free(w->user);
    free(w);
}

/* False: the owner freed the watch, or it has told its last. */
static bool watch_tell(struct watch *w, enum watch_event ev, const char *incarnation)
{
    bool last = ev != WATCH_SILENT || !w->evict;
    if (last) {
        w->done = true;
        timer_stop(w->poll);
        store_forget(w->s, w);
    }
    w->fn(w->owner, ev, incarnation);
    return !last && !w->gone;
}

/* ---- looking at a census ---- */

static void forget_watched(struct watch *w, struct watched *x)
{
    HASH_DEL(w->all, x);
    free(x->name);
    free(x->counter);
    free(x->host);
    free(x);
}

static struct watched *find_watched(struct watch *w, struct span name)
{
    struct watched *x = NULL;
    HASH_FIND(hh, w->all, name.p, name.len, x);
    return x;
}

static void take_terms(struct watched *x, const struct reply *lease, const struct reply *lease_long)
{
    if (!span_u64(reply_str(lease), TERM_MAX_MS, &x->lease_ms) ||
        !span_u64(reply_str(lease_long), TERM_MAX_MS, &x->long_ms))
        x->lease_ms = x->long_ms = 0;
}

static struct watched *take_counter(struct watch *w, struct span name, struct span counter)
{
    struct watched *x = find_watched(w, name);
    bool fresh = !x;
    if (fresh) {
        x = xcalloc(1, sizeof(*x));
        x->name = xspandup(name);
        HASH_ADD_KEYPTR(hh, w->all, x->name, name.len, x);
    }
    x->here = true;
    if (!fresh && span_is(counter, x->counter)) {
        sightings_since(w->sightings, w->generation, name, counter);
        return x;
    }
    x->moved = !fresh && counter.len > 0;
    x->since_ms = sightings_since(w->sightings, w->generation, name, counter);
    free(x->counter);
    x->counter = xspandup(counter);
    return x;
}

static struct span incarnation_of(struct span session)
{
    const uint8_t *slash = session.len ? memrchr(session.p, '/', session.len) : NULL;
    return slash ? span_of(session.p, (size_t)(slash - session.p)) : session;
}

static void take_session(struct watch *w, struct span name, struct span value)
{
    struct watched *x = find_watched(w, incarnation_of(name));
    struct registration r = {0};
    char *text = xspandup(value);
    bool seen = registration_parse(name, (uint8_t *)text, value.len, &r) && r.epoch >= w->epoch;
    free(text);
    if (x && !seen)
        x->unseen = true;
}

static void take_host(struct watched *x, const struct reply *host)
{
    free(x->host);
    x->host = xspandup(reply_str(host));
}

static void take_census(struct watch *w, const struct reply *rows, const struct reply *proxies,
                        const struct reply *terms, const struct reply *hosts)
{
    struct watched *x, *next;
    HASH_ITER(hh, w->all, x, next)
    x->here = x->unseen = false;
    for (size_t i = 0; i + 1 < reply_count(proxies); i += 2) {
        x = take_counter(w, reply_str(reply_at(proxies, i)), reply_str(reply_at(proxies, i + 1)));
        take_terms(x, reply_at(terms, i), reply_at(terms, i + 1));
        take_host(x, reply_at(hosts, i / 2));
    }
    for (size_t i = 0; i + 1 < reply_count(rows); i += 2)
        take_session(w, reply_str(reply_at(rows, i)), reply_str(reply_at(rows, i + 1)));
    HASH_ITER(hh, w->all, x, next)
    if (!x->here && !x->evicting)
        forget_watched(w, x);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Configurations differ, if only while one is being changed: each may count on the longer term. */
static uint64_t short_term(const struct watch *w, const struct watched *x)
{
    return larger(w->lease_ms, x->lease_ms);
}

static uint64_t patience(const struct watch *w, const struct watched *x)
{
    uint64_t term = short_term(w, x);
    if (x->unseen)
        term = larger(term, larger(w->long_ms, x->long_ms));
    return term + term / 10;
}

static bool is_silent(const struct watch *w, const struct watched *x)
{
    return !x->moved && clock_boot_ms() - x->since_ms >= patience(w, x);
}

const char *watch_waits_for(const struct watch *w, const char **where, uint64_t *ms)
{
    uint64_t now = clock_boot_ms(), ends, last = 0;
    const char *name = NULL;

    for (const struct watched *x = w->all; x; x = x->hh.next) {
        if (x->moved || now - x->since_ms < short_term(w, x))
            continue;
        ends = x->since_ms + patience(w, x);
        if (name && ends <= last)
            continue;
        last = ends;
        name = x->name;
        *where = x->host;
        *ms = ends > now ? ends - now : 0;
    }
    return name;
}

/* ---- eviction ---- */

struct eviction {
    struct watch *w;
    char *name; /* owned */
};

static void eviction_drop(void *owner)
{
    struct eviction *e = owner;
    free(e->name);
    free(e);
}

static void ask(struct watch *w);

static void on_evicted(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct eviction *e = owner;
    struct watch *w = e->w;
    char *name = e->name;
    struct watched *x = find_watched(w, span_str(name));
    struct span word = reply_str(reply_at(r, 0));

    e->name = NULL;
    eviction_drop(e);
    w->busy++;
    if (x)
        x->evicting = false;
    if (rc == REDIS_OK && span_is(word, "ok")) {
        LOG(INFO, "proxy_evicted", LOG_S("user", w->user), LOG_S("incarnation", name));
        if (x)
            forget_watched(w, x);
        if (watch_tell(w, WATCH_SILENT, name))
            ask(w);
    } else if (rc == REDIS_OK && span_is(word, "again")) {
        ask(w); /* it moved, and the census will say so */
    } else if (rc == REDIS_OK && span_is(word, "refused")) {
        w->evict = false; /* a freeze has begun: nothing is evicted, so this is the last word */
        watch_tell(w, WATCH_SILENT, name);
    } else {
        watch_tell(w, WATCH_FAILED, "");
    }
    free(name);
    watch_leave_callback(w);
}

static void evict(struct watch *w, struct watched *x)
{
    char generation[24];
    struct eviction *e = xcalloc(1, sizeof(*e));
    *e = (struct eviction){.w = w, .name = xstrdup(x->name)};
    x->evicting = true;
    snprintf(generation, sizeof(generation), "%" PRIu64, w->generation);
    struct span args[] = {span_str(w->user), span_str(x->name), span_str(x->counter), span_str(generation)};
    store_script_for(w->s, w, "evict", args, COUNTOF(args), on_evicted, e, eviction_drop);
}

/* What the census means. */
static void judge(struct watch *w)
{
    struct watched *x, *next;
    bool clear = true;
    HASH_ITER(hh, w->all, x, next)
    {
        clear = clear && x->moved;
        if (x->evicting || !is_silent(w, x))
            continue;
        if (!w->evict) {
            watch_tell(w, WATCH_SILENT, x->name);
            return;
        }
        evict(w, x);
    }
    if (clear)
        watch_tell(w, WATCH_CLEAR, "");
    else
        timer_start(w->poll, w->lease_ms / 5 < POLL_MIN_MS ? POLL_MIN_MS : w->lease_ms / 5);
}

/* ---- polling ---- */

static void on_census(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct watch *w = owner;
    uint64_t generation = 0;
    bool good = rc == REDIS_OK && span_is(reply_str(reply_at(r, 0)), "ok") &&
                span_u64(reply_str(reply_at(r, 1)), UINT64_MAX, &generation) && generation > 0 &&
                (w->generation == 0 || w->generation == generation);

    w->asking = false;
    w->busy++;
    w->generation = generation;
    if (!good) {
        watch_tell(w, WATCH_FAILED, "");
    } else {
        take_census(w, reply_at(r, 2), reply_at(r, 3), reply_at(r, 4), reply_at(r, 5));
        if (w->poked) {
            w->poked = false;
            ask(w);
        } else {
            judge(w);
        }
    }
    watch_leave_callback(w);
}

static void ask(struct watch *w)
{
    struct span args[] = {span_str(w->user)};
    if (w->done)
        return;
    if (w->asking) {
        w->poked = true;
        return;
    }
    w->asking = true;
    store_script_for(w->s, w, "census", args, COUNTOF(args), on_census, w, NULL);
}

static void watch_on_poll(void *owner)
{
    ask(owner);
}

void watch_poke(struct watch *w)
{
    ask(w);
}

struct watch *watch_new(struct store *s, const char *user, uint64_t epoch, uint64_t lease_ms,
                        uint64_t long_ms, bool evict_silent, struct sightings *sightings, watch_fn fn,
                        void *owner)
{
    struct watch *w = xcalloc(1, sizeof(*w));
    w->s = s;
    w->user = xstrdup(user);
    w->epoch = epoch;
    w->lease_ms = lease_ms;
    w->long_ms = long_ms;
    w->evict = evict_silent;
    w->sightings = sightings;
    w->fn = fn;
    w->owner = owner;
    w->poll = timer_new(store_loop(s), watch_on_poll, w);
    ask(w);
    return w;
}

void watch_free(struct watch **wp)
{
    struct watch *w = *wp;
    struct watched *x, *next;
    *wp = NULL;
    if (!w)
        return;
    w->gone = w->done = true;
    store_forget(w->s, w);
    timer_free(&w->poll);
    HASH_ITER(hh, w->all, x, next)
    forget_watched(w, x);
    w->busy++;
    watch_leave_callback(w);
}
