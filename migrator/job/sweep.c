#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <uthash.h>

#include "lib/log.h"
#include "lib/registry.h"
#include "lib/route_index.h"
#include "lib/route_recount.h"
#include "lib/xalloc.h"

#include "sweep.h"

enum {
    POLL_MIN_MS = 100,
    POLL_MAX_MS = 30000,
    SCAN_COUNT = 500,
    RECOUNT_MS = 60000,
    SAMPLE_MS = 60000,
    LOOK_TERMS = 6
};

/* An incarnation under watch. */
struct incarnation {
    char *name, *counter; /* owned */
    uint64_t since_ms;    /* by clock_boot_ms(): when this counter was first seen */
    uint64_t long_ms;     /* what it told; 0 = nothing */
    bool here;            /* by the list that is being looked at */
    bool stranger;        /* it has registrations, but is in no list; the counter is "" */
    UT_hash_handle hh;
};

struct sweep {
    struct migrator *m;
    struct timer *poll, *count, *sample;
    struct incarnation *all; /* owned */
    uint64_t generation;
    struct recount *recount;
    uint64_t looked_ms; /* when all registrations were last looked through for strangers; 0 = not yet */
    bool looking;
    /* of the one that is being swept; NULL: none is */
    struct incarnation *dead;
    char *cursor;  /* of SCAN; owned */
    uint64_t left; /* accounts that could not be seen to */
};

static void sweep_forget(struct sweep *s, struct incarnation *i)
{
    HASH_DEL(s->all, i);
    free(i->name);
    free(i->counter);
    free(i);
}

static void sweep_forget_all(struct sweep *s)
{
    struct incarnation *i, *next;

    HASH_ITER(hh, s->all, i, next)
    sweep_forget(s, i);
    s->dead = NULL;
}

static uint64_t poll_ms(const struct sweep *s)
{
    uint64_t ms = s->m->conf->proxy.lease_long_ms / 10;

    return ms < POLL_MIN_MS ? POLL_MIN_MS : ms > POLL_MAX_MS ? POLL_MAX_MS : ms;
}

static void poll_later(struct sweep *s)
{
    s->dead = NULL;
    s->looking = false;
    timer_start(s->poll, poll_ms(s));
}

/* ---- one that is dead */

static void run_for(struct sweep *s, const char *script, const struct span *more, size_t n, redis_fn fn)
{
    struct span args[SCAN_COUNT * 4 + 3];
    char generation[24];

    snprintf(generation, sizeof(generation), "%" PRIu64, s->generation);
    args[0] = span_str(s->dead->name);
    args[1] = span_str(s->dead->counter);
    args[2] = span_str(generation);
    for (size_t i = 0; i < n; i++)
        args[3 + i] = more[i];
    store_script_for(s->m->store, s, script, args, 3 + n, fn, s, NULL);
}

static bool sweep_is_ok(enum redis_rc rc, const struct reply *r)
{
    return rc == REDIS_OK && span_is(reply_str(reply_at(r, 0)), "ok");
}

static void sweep_on_forgotten(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct sweep *s = owner;

    if (sweep_is_ok(rc, r)) {
        LOG(INFO, "proxy_forgotten", LOG_S("incarnation", s->dead->name));
        sweep_forget(s, s->dead);
    }
    poll_later(s);
}

static void sweep_on(struct sweep *s);
static void sweep_look_at(struct sweep *s, const struct span *users, size_t n);

static void sweep_on_swept(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct sweep *s = owner;
    uint64_t left = 0;

    if (!sweep_is_ok(rc, r) || !span_u64(reply_str(reply_at(r, 1)), UINT64_MAX, &left)) {
        poll_later(s); /* it moved, or Redis is another: the next list tells */
        return;
    }
    s->left += left;
    sweep_on(s);
}

static void sweep_on_scan(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct sweep *s = owner;
    const struct reply *keys = reply_at(r, 1);
    struct span users[SCAN_COUNT * 4];

    if (rc != REDIS_OK || reply_count(keys) > COUNTOF(users)) {
        poll_later(s);
        return;
    }
    size_t n = store_names(s->m->store, "sessions", keys, users);
    free(s->cursor);
    s->cursor = xspandup(reply_str(reply_at(r, 0)));
    if (s->looking)
        sweep_look_at(s, users, n);
    else
        run_for(s, "sweep", users, n, sweep_on_swept);
}

/* Of all accounts with sessions, some hundreds. */
static void sweep_scan(struct sweep *s)
{
    char *pattern = store_key(s->m->store, "sessions:*"), count[16];

    snprintf(count, sizeof(count), "%d", SCAN_COUNT);
    struct span argv[] = {span_str("SCAN"),  span_str(s->cursor), span_str("MATCH"), span_str(pattern),
                          span_str("COUNT"), span_str(count),     span_str("TYPE"),  span_str("hash")};
    store_command_for(s->m->store, s, argv, COUNTOF(argv), sweep_on_scan, s, NULL);
    free(pattern);
}

static void sweep_on(struct sweep *s)
{
    if (strcmp(s->cursor, "0") != 0)
        sweep_scan(s);
    else if (s->left > 0)
        poll_later(s); /* once more, when these stand still no longer */
    else
        run_for(s, "proxy_forget", NULL, 0, sweep_on_forgotten);
}

static void scan_begin(struct sweep *s)
{
    free(s->cursor);
    s->cursor = xstrdup("0");
    sweep_scan(s);
}

static void sweep_begin(struct sweep *s, struct incarnation *i)
{
    LOG(INFO, "proxy_dead", LOG_S("incarnation", i->name));
    s->dead = i;
    s->left = 0;
    scan_begin(s);
}

/* ---- the watch */

static struct incarnation *sweep_known(struct sweep *s, struct span name)
{
    struct incarnation *i = NULL;

    HASH_FIND(hh, s->all, name.p, name.len, i);
    if (!i) {
        i = xcalloc(1, sizeof(*i));
        i->name = xspandup(name);
        i->counter = xstrdup("");
        HASH_ADD_KEYPTR(hh, s->all, i->name, name.len, i);
        i->since_ms = clock_boot_ms();
    }
    return i;
}

static void sweep_take(struct sweep *s, struct span name, struct span counter, uint64_t long_ms)
{
    struct incarnation *i = sweep_known(s, name);

    i->here = true;
    i->stranger = false;
    if (long_ms > i->long_ms)
        i->long_ms = long_ms;
    /* also for jobs that wait */
    uint64_t since = sightings_since(s->m->sightings, s->generation, name, counter);
    if (span_is(counter, i->counter))
        return;
    free(i->counter);
    i->counter = xspandup(counter);
    i->since_ms = since;
}

/* ---- strangers */

static void on_strangers(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct sweep *s = owner;
    uint64_t generation = 0;

    if (!sweep_is_ok(rc, r) || !span_u64(reply_str(reply_at(r, 1)), UINT64_MAX, &generation) ||
        generation != s->generation) {
        s->looked_ms = 0;
        poll_later(s);
        return;
    }
    for (size_t k = 2; k < reply_count(r); k++)
        sweep_known(s, reply_str(reply_at(r, k)))->stranger = true;
    if (strcmp(s->cursor, "0") != 0)
        sweep_scan(s);
    else
        poll_later(s);
}

static void sweep_look_at(struct sweep *s, const struct span *users, size_t n)
{
    store_script_for(s->m->store, s, "strangers", users, n, on_strangers, s, NULL);
}

static bool has_to_look(const struct sweep *s)
{
    return s->looked_ms == 0 ||
           clock_boot_ms() - s->looked_ms >= LOOK_TERMS * s->m->conf->proxy.lease_long_ms;
}

static void look_begin(struct sweep *s)
{
    s->looking = true;
    s->looked_ms = clock_boot_ms();
    scan_begin(s);
}

/* ---- judging */

static bool is_dead(const struct sweep *s, const struct incarnation *i)
{
    uint64_t ours = s->m->conf->proxy.lease_long_ms, term = i->long_ms > ours ? i->long_ms : ours;

    return clock_boot_ms() - i->since_ms >= term + term / 10;
}

static void sweep_judge(struct sweep *s)
{
    struct incarnation *i, *next;

    HASH_ITER(hh, s->all, i, next)
    {
        if (!i->here && !i->stranger) {
            sweep_forget(s, i);
        } else if (is_dead(s, i)) {
            sweep_begin(s, i);
            return;
        }
    }
    if (has_to_look(s))
        look_begin(s);
    else
        poll_later(s);
}

static void sweep_on_proxies(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct sweep *s = owner;
    uint64_t generation = 0, long_ms;
    struct incarnation *i, *next;

    if (!sweep_is_ok(rc, r) || !span_u64(reply_str(reply_at(r, 1)), UINT64_MAX, &generation)) {
        sweep_forget_all(s);
        poll_later(s);
        return;
    }
    if (generation != s->generation) {
        sweep_forget_all(s);
        s->looked_ms = 0;
    }
    s->generation = generation;
    HASH_ITER(hh, s->all, i, next)
    i->here = false;
    for (size_t k = 2; k + 2 < reply_count(r); k += 3) {
        if (!span_u64(reply_str(reply_at(r, k + 2)), UINT64_MAX, &long_ms))
            long_ms = 0;
        sweep_take(s, reply_str(reply_at(r, k)), reply_str(reply_at(r, k + 1)), long_ms);
    }
    sweep_judge(s);
}

static void sweep_on_poll(void *owner)
{
    struct sweep *s = owner;

    store_script_for(s->m->store, s, "proxies_read", NULL, 0, sweep_on_proxies, s, NULL);
}

/* ---- counting */

static void sweep_on_recounted(void *owner, enum route_rc rc, uint64_t accounts)
{
    struct sweep *s = owner;

    s->recount = NULL;
    if (rc == ROUTE_OK && accounts > 0)
        LOG(INFO, "accounts_counted", LOG_U("accounts", accounts));
    timer_start(s->count, RECOUNT_MS);
}

static void on_count(void *owner)
{
    struct sweep *s = owner;

    s->recount = recount_start(s->m->store, true, sweep_on_recounted, s);
}

/* ---- how far everything is, for a picture over time */

static void sweep_on_sampled(void *owner, enum route_rc rc, const char *detail)
{
    struct sweep *s = owner;

    (void)rc, (void)detail; /* a point that lacks is not missed */
    timer_start(s->sample, SAMPLE_MS);
}

static void sweep_on_sample(void *owner)
{
    struct sweep *s = owner;

    route_sample(s->m->store, s->m->conf->migrator.audit_keep_ms, sweep_on_sampled, s);
}

struct sweep *sweep_new(struct migrator *m)
{
    struct sweep *s = xcalloc(1, sizeof(*s));

    s->m = m;
    s->poll = timer_new(m->loop, sweep_on_poll, s);
    s->count = timer_new(m->loop, on_count, s);
    s->sample = timer_new(m->loop, sweep_on_sample, s);
    sweep_on_poll(s);
    on_count(s);
    sweep_on_sample(s);
    return s;
}

void sweep_free(struct sweep **sp)
{
    struct sweep *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    recount_cancel(&s->recount);
    store_forget(s->m->store, s);
    timer_free(&s->poll);
    timer_free(&s->count);
    timer_free(&s->sample);
    sweep_forget_all(s);
    free(s->cursor);
    free(s);
}
