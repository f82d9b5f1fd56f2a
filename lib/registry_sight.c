/* Since when this process has watched each counter. */
#include <stdlib.h>

#include <uthash.h>

#include "registry.h"
#include "xalloc.h"

enum { KEPT_MS = 3600 * 1000, PRUNE_MS = 60 * 1000 };

struct sighting {
    char *name;    /* owned; the key */
    char *counter; /* owned */
    uint64_t since_ms, seen_ms;
    UT_hash_handle hh;
};

struct sightings {
    struct sighting *all;
    uint64_t generation, pruned_ms;
};

static void sight_drop(struct sightings *s, struct sighting *i)
{
    HASH_DEL(s->all, i);
    free(i->name);
    free(i->counter);
    free(i);
}

/* Those seen for the last time before this. */
static void drop_before(struct sightings *s, uint64_t ms)
{
    struct sighting *i, *next;

    HASH_ITER(hh, s->all, i, next)
    if (i->seen_ms < ms)
        sight_drop(s, i);
}

static void prune(struct sightings *s, uint64_t now)
{
    if (now - s->pruned_ms < PRUNE_MS)
        return;
    s->pruned_ms = now;
    if (now > KEPT_MS)
        drop_before(s, now - KEPT_MS);
}

static struct sighting *sighting_of(struct sightings *s, struct span name, uint64_t now)
{
    struct sighting *i = NULL;

    HASH_FIND(hh, s->all, name.p, name.len, i);
    if (!i) {
        i = xcalloc(1, sizeof(*i));
        *i = (struct sighting){.name = xspandup(name), .counter = xstrdup(""), .since_ms = now};
        HASH_ADD_KEYPTR(hh, s->all, i->name, name.len, i);
    }
    return i;
}

uint64_t sightings_since(struct sightings *s, uint64_t generation, struct span name, struct span counter)
{
    uint64_t now = clock_boot_ms();

    if (!s || counter.len == 0)
        return now;
    if (generation != s->generation)
        drop_before(s, UINT64_MAX);
    s->generation = generation;
    prune(s, now);
    struct sighting *i = sighting_of(s, name, now);
    i->seen_ms = now;
    if (!span_is(counter, i->counter)) {
        free(i->counter);
        i->counter = xspandup(counter);
        i->since_ms = now;
    }
    return i->since_ms;
}

struct sightings *sightings_new(void)
{
    return xcalloc(1, sizeof(struct sightings));
}

void sightings_free(struct sightings **sp)
{
    struct sightings *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    drop_before(s, UINT64_MAX);
    free(s);
}
