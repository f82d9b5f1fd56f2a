#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <uthash.h>

#include "lib/xalloc.h"

#include "lately.h"

struct remembered {
    char *user, *backend, *source, *target, *view; /* owned */
    enum route_state state;
    uint64_t epoch, generation;
    TAILQ_ENTRY(remembered) link;
    UT_hash_handle hh;
};

struct lately {
    struct remembered *table;                     /* owned */
    TAILQ_HEAD(remembered_list, remembered) used; /* the one that was used last is the last */
    struct route told;                            /* its texts are borrowed from the table */
};

struct lately *lately_new(void)
{
    struct lately *l = xcalloc(1, sizeof *l);
    TAILQ_INIT(&l->used);
    return l;
}

static void lately_drop(struct lately *l, struct remembered *m)
{
    HASH_DEL(l->table, m);
    TAILQ_REMOVE(&l->used, m, link);
    free(m->user);
    free(m->backend);
    free(m->source);
    free(m->target);
    free(m->view);
    free(m);
}

void lately_forget_all(struct lately *l)
{
    while (!TAILQ_EMPTY(&l->used))
        lately_drop(l, TAILQ_FIRST(&l->used));
}

void lately_free(struct lately **l)
{
    if (!*l)
        return;
    lately_forget_all(*l);
    free(*l);
    *l = NULL;
}

static struct remembered *lately_of(struct lately *l, struct span user)
{
    struct remembered *m;
    HASH_FIND(hh, l->table, user.p, user.len, m);
    return m;
}

void lately_forget(struct lately *l, struct span user)
{
    struct remembered *m = lately_of(l, user);
    if (m)
        lately_drop(l, m);
}

/* Nothing is about to change there. */
static bool lately_is_quiet(enum route_state state)
{
    return state == ROUTE_RESTING || state == ROUTE_SETTLED || state == ROUTE_HELD;
}

void lately_read(struct lately *l, const char *user, const struct route *r)
{
    lately_forget(l, span_str(user));
    if (!lately_is_quiet(r->state))
        return;
    if (HASH_COUNT(l->table) >= LATELY_MAX)
        lately_drop(l, TAILQ_FIRST(&l->used));
    struct remembered *m = xcalloc(1, sizeof *m);
    *m = (struct remembered){.user = xstrdup(user),
                             .backend = xstrdup(r->backend),
                             .source = xstrdup(r->source),
                             .target = xstrdup(r->target),
                             .view = xstrdup(r->view),
                             .state = r->state,
                             .epoch = r->epoch,
                             .generation = r->generation};
    HASH_ADD_KEYPTR(hh, l->table, m->user, strlen(m->user), m);
    TAILQ_INSERT_TAIL(&l->used, m, link);
}

const struct route *lately_find(struct lately *l, const char *user)
{
    struct remembered *m = lately_of(l, span_str(user));
    if (!m)
        return NULL;
    TAILQ_REMOVE(&l->used, m, link);
    TAILQ_INSERT_TAIL(&l->used, m, link);
    l->told = (struct route){.exists = true,
                             .backend = m->backend,
                             .source = m->source,
                             .target = m->target,
                             .view = m->view,
                             .state = m->state,
                             .epoch = m->epoch,
                             .generation = m->generation};
    return &l->told;
}
