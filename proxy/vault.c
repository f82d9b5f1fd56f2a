#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/queue.h>

#include "lib/xalloc.h"

#include "vault.h"

enum { UNIT = 64, CHUNK = 64 * 1024, UNITS = CHUNK / UNIT };

struct secret {
    struct chunk *chunk;
    uint32_t units;
    uint32_t password; /* where it begins in text */
    char text[];
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
    s->units = (uint32_t)units;
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

static void vault_put(char *to, struct span text)
{
    if (text.len > 0)
        memcpy(to, text.p, text.len);
    to[text.len] = '\0';
}

struct secret *vault_keep(struct vault *v, struct span name, struct span password)
{
    assert(name.len + password.len <= VAULT_SECRET_MAX);
    size_t bytes = sizeof(struct secret) + name.len + password.len + 2;
    struct secret *s = find_or_make_room(v, (bytes + UNIT - 1) / UNIT);
    s->password = (uint32_t)name.len + 1;
    vault_put(s->text, name);
    vault_put(s->text + s->password, password);
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

const char *secret_name(const struct secret *s)
{
    return s->text;
}

const char *secret_password(const struct secret *s)
{
    return s->text + s->password;
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
