#include <stdlib.h>

#include "lib/xalloc.h"

#include "progress.h"

enum { INTERVAL_MS = 1000 };

struct progress {
    struct store *store;
    const struct route_job *job;
    void (*lost)(void *owner);
    void *owner;
    struct route_progress now;
    bool changed, under_way;
    struct timer *timer; /* set: the last write was less than a second ago */
};

static void progress_on_answer(void *owner, enum route_rc rc, const char *detail)
{
    struct progress *p = owner;

    (void)detail;
    p->under_way = false;
    if (rc == ROUTE_LOST)
        p->lost(p->owner);
}

static void progress_write_now(struct progress *p)
{
    p->changed = false;
    p->under_way = true;
    timer_start(p->timer, INTERVAL_MS);
    route_progress(p->store, p->job, &p->now, progress_on_answer, p);
}

static void progress_on_timer(void *owner)
{
    struct progress *p = owner;

    if (p->under_way)
        timer_start(p->timer, INTERVAL_MS);
    else if (p->changed)
        progress_write_now(p);
}

void progress_set(struct progress *p, const struct route_progress *now)
{
    p->now = *now;
    p->changed = true;
    if (!timer_is_set(p->timer))
        progress_write_now(p);
}

const struct route_progress *progress_now(const struct progress *p)
{
    return &p->now;
}

void progress_flush(struct progress *p)
{
    if (p->changed)
        progress_write_now(p);
}

struct progress *progress_new(struct store *s, const struct route_job *job, void (*lost)(void *owner),
                              void *owner)
{
    struct progress *p = xcalloc(1, sizeof(*p));

    p->store = s;
    p->job = job;
    p->lost = lost;
    p->owner = owner;
    p->timer = timer_new(store_loop(s), progress_on_timer, p);
    return p;
}

void progress_free(struct progress **pp)
{
    struct progress *p = *pp;

    *pp = NULL;
    if (!p)
        return;
    store_forget(p->store, p);
    timer_free(&p->timer);
    free(p);
}
