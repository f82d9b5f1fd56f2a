#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "breakers.h"

enum { BREAKERS_AGAIN_MS = 10 * 1000, BREAKERS_KEEP_MS = 24 * 3600 * 1000 };

struct breakers {
    struct store *store;     /* borrowed; NULL: not there yet */
    const char *incarnation; /* borrowed */
    struct timer *timer;     /* owned */
    const char **open;       /* names, or NULL, one a backend; owned, the names borrowed */
    size_t n;
};

static void breakers_on_told(void *owner, enum redis_rc rc, const struct reply *r)
{
    (void)owner, (void)rc, (void)r; /* it is told again, or becomes stale */
}

static void breakers_send(struct breakers *b, const char *const *words, size_t n)
{
    struct span argv[4];
    for (size_t i = 0; i < n; i++)
        argv[i] = span_str(words[i]);
    store_command(b->store, argv, n, breakers_on_told, b);
}

/* Those of proxies that are no more would stay for ever. */
static void breakers_sweep(struct breakers *b, const char *key)
{
    char until[24];
    snprintf(until, sizeof until, "%" PRIu64, clock_wall_ms() - BREAKERS_KEEP_MS);
    breakers_send(b, (const char *[]){"ZREMRANGEBYSCORE", key, "-inf", until}, 4);
}

static void breakers_tell(struct breakers *b, const char *name, bool open)
{
    char *key = store_key(b->store, "breakers"), *member = xasprintf("%s %s", b->incarnation, name), now[24];
    snprintf(now, sizeof now, "%" PRIu64, clock_wall_ms());
    if (open)
        breakers_send(b, (const char *[]){"ZADD", key, now, member}, 4);
    else
        breakers_send(b, (const char *[]){"ZREM", key, member}, 3);
    if (open)
        breakers_sweep(b, key);
    free(member);
    free(key);
}

static void breakers_tell_all(void *owner)
{
    struct breakers *b = owner;
    bool any = false;
    for (size_t i = 0; i < b->n; i++) {
        any = any || b->open[i];
        if (b->open[i] && b->store)
            breakers_tell(b, b->open[i], true);
    }
    if (any)
        timer_start(b->timer, BREAKERS_AGAIN_MS);
}

struct breakers *breakers_new(struct loop *l, size_t n_backends)
{
    struct breakers *b = xcalloc(1, sizeof *b);
    b->n = n_backends;
    b->open = xcalloc(n_backends, sizeof *b->open);
    b->timer = timer_new(l, breakers_tell_all, b);
    return b;
}

void breakers_free(struct breakers **bp)
{
    struct breakers *b = *bp;
    *bp = NULL;
    if (!b)
        return;
    if (b->store)
        store_forget(b->store, b);
    timer_free(&b->timer);
    free(b->open);
    free(b);
}

void breakers_store(struct breakers *b, struct store *s, const char *incarnation)
{
    if (b->store && b->store != s)
        store_forget(b->store, b);
    b->store = s;
    b->incarnation = incarnation;
    breakers_tell_all(b);
}

void breakers_set(struct breakers *b, size_t nth, const char *name, bool open)
{
    b->open[nth] = open ? name : NULL;
    if (b->store)
        breakers_tell(b, name, open);
    if (open)
        timer_start(b->timer, BREAKERS_AGAIN_MS);
}
