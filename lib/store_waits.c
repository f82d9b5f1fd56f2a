#include <stdlib.h>

#include "store_waits.h"
#include "xalloc.h"

struct waiter {
    TAILQ_ENTRY(waiter) link;
    uint64_t timeout_ms;
    bool covered; /* by the WAIT that is under way */
    redis_fn fn;
    void *owner; /* borrowed */
};

void waits_init(struct store_waits *w)
{
    TAILQ_INIT(&w->list);
}

static void waits_remove(struct store_waits *w, struct waiter *x)
{
    TAILQ_REMOVE(&w->list, x, link);
    free(x);
}

void waits_free(struct store_waits *w)
{
    struct waiter *x;
    while ((x = TAILQ_FIRST(&w->list)))
        waits_remove(w, x);
}

void waits_add(struct store_waits *w, uint64_t timeout_ms, redis_fn fn, void *owner)
{
    struct waiter *x = xcalloc(1, sizeof(*x));
    *x = (struct waiter){.timeout_ms = timeout_ms, .fn = fn, .owner = owner};
    x->covered = timeout_ms <= w->timeout_ms;
    TAILQ_INSERT_TAIL(&w->list, x, link);
}

void waits_forget(struct store_waits *w, void *owner)
{
    struct waiter *x, *next;
    for (x = TAILQ_FIRST(&w->list); x; x = next) {
        next = TAILQ_NEXT(x, link);
        if (x->owner == owner)
            waits_remove(w, x);
    }
}

bool waits_any(const struct store_waits *w)
{
    return !TAILQ_EMPTY(&w->list);
}

static uint64_t cover_all(struct store_waits *w)
{
    uint64_t longest = 0;
    struct waiter *x;
    TAILQ_FOREACH(x, &w->list, link)
    {
        x->covered = true;
        longest = x->timeout_ms > longest ? x->timeout_ms : longest;
    }
    return longest;
}

uint64_t waits_begin(struct store_waits *w, uint64_t replicas)
{
    w->replicas = replicas;
    w->timeout_ms = cover_all(w);
    return w->timeout_ms;
}

static struct waiter *first_covered(struct store_waits *w)
{
    struct waiter *x = TAILQ_FIRST(&w->list);
    while (x && !x->covered)
        x = TAILQ_NEXT(x, link);
    return x;
}

void waits_end(struct store_waits *w, enum redis_rc rc, const struct reply *r)
{
    struct waiter *x;
    if (w->timeout_ms == 0)
        cover_all(w);
    w->timeout_ms = 0;
    while ((x = first_covered(w))) {
        redis_fn fn = x->fn;
        void *owner = x->owner;
        waits_remove(w, x);
        fn(owner, rc, r);
    }
}
