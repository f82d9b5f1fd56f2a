#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/queue.h>

#include "lib/xalloc.h"

#include "vault.h"

enum { UNIT = 64, CHUNK = 64 * 1024, UNITS = CHUNK / UNIT };

struct secret {
    struct chunk *chunk;
    const struct sasl_mechanism *mechanism;
    uint16_t units;
    uint16_t authcid, authzid, secret; /* bytes of each, one behind the other */
    uint8_t text[];
};

/* The pages hold secrets alone; what is known of them lies elsewhere. */
struct chunk {
    LIST_ENTRY(chunk) link;
    uint8_t *pages; /* owned */
    size_t used;    /* units */
    uint8_t taken[UNITS];
};

struct vault {
    LIST_HEAD(chunks, chunk) chunks;
};

static struct chunk *chunk_new(struct vault *v)
{
    struct chunk *c = xcalloc(1, sizeof *c);
    c->pages = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c->pages == MAP_FAILED)
        abort(); /* out of memory, see xalloc.h */
    (void)!mlock(c->pages, CHUNK);
    (void)!madvise(c->pages, CHUNK, MADV_DONTDUMP);
    LIST_INSERT_HEAD(&v->chunks, c, link);
    return c;
}

static void chunk_free(struct chunk *c)
{
    LIST_REMOVE(c, link);
    munmap(c->pages, CHUNK);
    free(c);
}

/* The first run of so many free units; UNITS where there is none. */
static size_t find_room(const struct chunk *c, size_t units)
{
    size_t run = 0;
    for (size_t i = 0; UNITS - c->used >= units && i < UNITS; i++) {
        run = c->taken[i] ? 0 : run + 1;
        if (run == units)
            return i + 1 - units;
    }
    return UNITS;
}

static struct secret *take_room(struct chunk *c, size_t at, size_t units)
{
    memset(c->taken + at, 1, units);
    c->used += units;
    struct secret *s = (void *)(c->pages + at * UNIT);
    s->chunk = c;
    s->units = (uint16_t)units;
    return s;
}

static struct secret *find_or_make_room(struct vault *v, size_t units)
{
    struct chunk *c;
    LIST_FOREACH(c, &v->chunks, link)
    {
        size_t at = find_room(c, units);
        if (at < UNITS)
            return take_room(c, at, units);
    }
    return take_room(chunk_new(v), 0, units);
}

/* Returns where the next one goes. */
static uint8_t *vault_put(uint8_t *to, struct span part)
{
    if (part.len > 0)
        memcpy(to, part.p, part.len);
    return to + part.len;
}

struct secret *vault_keep(struct vault *v, const struct credential *c)
{
    size_t len = c->authcid.len + c->authzid.len + c->secret.len;
    assert(len <= VAULT_SECRET_MAX);
    struct secret *s = find_or_make_room(v, (sizeof(struct secret) + len + UNIT - 1) / UNIT);
    s->mechanism = c->mechanism;
    s->authcid = (uint16_t)c->authcid.len;
    s->authzid = (uint16_t)c->authzid.len;
    s->secret = (uint16_t)c->secret.len;
    vault_put(vault_put(vault_put(s->text, c->authcid), c->authzid), c->secret);
    return s;
}

void vault_drop(struct vault *v, struct secret **sp)
{
    struct secret *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    struct chunk *c = s->chunk;
    size_t at = (size_t)((uint8_t *)s - c->pages) / UNIT, units = s->units;
    wipe(s, units * UNIT);
    memset(c->taken + at, 0, units);
    c->used -= units;
    bool is_last = LIST_FIRST(&v->chunks) == c && !LIST_NEXT(c, link);
    if (c->used == 0 && !is_last)
        chunk_free(c);
}

struct credential secret_credential(const struct secret *s)
{
    const uint8_t *authzid = s->text + s->authcid;
    return (struct credential){.mechanism = s->mechanism,
                               .authcid = span_of(s->text, s->authcid),
                               .authzid = span_of(authzid, s->authzid),
                               .secret = span_of(authzid + s->authzid, s->secret)};
}

struct vault *vault_new(void)
{
    struct vault *v = xcalloc(1, sizeof *v);
    LIST_INIT(&v->chunks);
    return v;
}

void vault_free(struct vault **vp)
{
    struct vault *v = *vp;
    if (!v)
        return;
    *vp = NULL;
    while (!LIST_EMPTY(&v->chunks)) {
        assert(LIST_FIRST(&v->chunks)->used == 0);
        chunk_free(LIST_FIRST(&v->chunks));
    }
    free(v);
}
