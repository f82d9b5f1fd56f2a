#include <stdlib.h>

#include <uthash.h>

#include "lib/metrics.h"
#include "lib/route.h"
#include "lib/xalloc.h"

#include "migrator/census.h"

enum { CENSUS_MS = 15000 };

struct census_count {
    char *name; /* "state:queued", "backend:old"; owned */
    uint64_t n;
    UT_hash_handle hh;
};

struct census_part {
    struct census *census;
    struct store *store;
    struct census_count *counts; /* as it said last; owned */
    bool paused;
};

struct census {
    struct timer *timer;
    size_t n;
    struct census_part parts[];
};

static void census_drop(struct census_count **counts)
{
    struct census_count *c, *next;

    HASH_ITER(hh, *counts, c, next)
    {
        HASH_DEL(*counts, c);
        free(c->name);
        free(c);
    }
}

static void census_add(struct census_count **counts, struct span name, uint64_t n)
{
    struct census_count *c;

    HASH_FIND(hh, *counts, name.p, name.len, c);
    if (!c) {
        c = xcalloc(1, sizeof(*c));
        c->name = xspandup(name);
        HASH_ADD_KEYPTR(hh, *counts, c->name, name.len, c);
    }
    c->n += n;
}

static void census_tell_one(enum metric m, const struct census_count *c, const char *prefix)
{
    size_t n = strlen(prefix);

    if (strncmp(c->name, prefix, n) == 0 && c->name[n])
        metric_set(m, c->n, c->name + n, NULL);
}

static void census_tell(struct census *c)
{
    struct census_count *sums = NULL;

    for (size_t i = 0; i < c->n; i++)
        for (const struct census_count *one = c->parts[i].counts; one; one = one->hh.next)
            census_add(&sums, span_str(one->name), one->n);
    metric_clear(METRIC_ACCOUNTS);
    metric_clear(METRIC_ACCOUNTS_AT);
    for (int s = 0; s <= ROUTE_HELD; s++)
        metric_set(METRIC_ACCOUNTS, 0, route_state_name((enum route_state)s), NULL);
    for (const struct census_count *one = sums; one; one = one->hh.next) {
        census_tell_one(METRIC_ACCOUNTS, one, "state:");
        census_tell_one(METRIC_ACCOUNTS_AT, one, "backend:");
    }
    census_drop(&sums);
}

static void census_on_counts(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct census_part *p = owner;
    uint64_t count;

    if (rc != ROUTE_OK)
        return;
    census_drop(&p->counts);
    for (size_t i = 1; i + 1 < n; i += 2)
        if (span_u64(rows[i + 1], INT64_MAX, &count))
            census_add(&p->counts, rows[i], count);
    census_tell(p->census);
}

static void census_on_control(void *owner, enum route_rc rc, const struct route_control *control)
{
    struct census_part *p = owner;
    bool paused = false;

    if (rc != ROUTE_OK)
        return;
    p->paused = control->paused;
    for (size_t i = 0; i < p->census->n; i++)
        paused = paused || p->census->parts[i].paused;
    metric_set(METRIC_PAUSED, paused, NULL, NULL);
}

void census_look(struct census *c)
{
    timer_start(c->timer, CENSUS_MS);
    for (size_t i = 0; i < c->n; i++) {
        struct census_part *p = &c->parts[i];
        if (store_state(p->store) != STORE_UP)
            continue;
        route_counts_read(p->store, census_on_counts, p);
        route_control_read(p->store, census_on_control, p);
    }
}

static void census_on_timer(void *owner)
{
    census_look(owner);
}

struct census *census_new(struct stores *s)
{
    struct census *c = xcalloc(1, sizeof(*c) + s->n * sizeof(c->parts[0]));

    c->n = s->n;
    for (size_t i = 0; i < s->n; i++)
        c->parts[i] = (struct census_part){.census = c, .store = s->all[i]};
    c->timer = timer_new(store_loop(s->all[0]), census_on_timer, c);
    return c;
}

void census_free(struct census **cp)
{
    struct census *c = *cp;

    *cp = NULL;
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++) {
        store_forget(c->parts[i].store, &c->parts[i]);
        census_drop(&c->parts[i].counts);
    }
    timer_free(&c->timer);
    free(c);
}
