#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "lib/xalloc.h"

#include "sharing.h"

struct sharing_account {
    struct sharing_member m; /* its user is owned */
    size_t up;    /* the next one on the way to the one that stands for the group; itself: it does */
    size_t size;  /* members, of the one that stands for the group */
    size_t first; /* of its ties to those behind it; those follow each other */
    bool out;     /* left out, while a group is divided */
};

/* Where a name stands. */
struct sharing_place {
    const char *user; /* borrowed from the account */
    size_t at;
    UT_hash_handle hh;
};

struct sharing_pair {
    size_t a, b; /* a < b */
};

struct sharing {
    struct sharing_account *accounts; /* owned */
    size_t n, room;
    struct sharing_place *places; /* owned */
    struct sharing_pair *ties;    /* owned */
    size_t n_ties, ties_room;
};

struct sharing *sharing_new(void)
{
    return xcalloc(1, sizeof(struct sharing));
}

void sharing_free(struct sharing **sp)
{
    struct sharing *s = *sp;
    struct sharing_place *p, *next;

    *sp = NULL;
    if (!s)
        return;
    HASH_ITER(hh, s->places, p, next)
    {
        HASH_DEL(s->places, p);
        free(p);
    }
    for (size_t i = 0; i < s->n; i++)
        free((char *)s->accounts[i].m.user);
    free(s->accounts);
    free(s->ties);
    free(s);
}

static struct sharing_place *sharing_find(const struct sharing *s, const char *user)
{
    struct sharing_place *p;

    HASH_FIND(hh, s->places, user, strlen(user), p);
    return p;
}

static size_t sharing_place(struct sharing *s, const char *user)
{
    struct sharing_place *p = sharing_find(s, user);

    if (p)
        return p->at;
    if (s->n == s->room) {
        s->room = s->room ? 2 * s->room : 64;
        s->accounts = xreallocarray(s->accounts, s->room, sizeof(*s->accounts));
    }
    s->accounts[s->n] = (struct sharing_account){.m.user = xstrdup(user), .up = s->n, .size = 1};
    p = xcalloc(1, sizeof(*p));
    *p = (struct sharing_place){.user = s->accounts[s->n].m.user, .at = s->n};
    HASH_ADD_KEYPTR(hh, s->places, p->user, strlen(p->user), p);
    return s->n++;
}

void sharing_add(struct sharing *s, const char *user, uint64_t messages, uint64_t bytes)
{
    size_t at = sharing_place(s, user);
    struct sharing_member *m = &s->accounts[at].m;

    m->known = true;
    m->messages = messages;
    m->bytes = bytes;
}

bool sharing_knows(const struct sharing *s, const char *user)
{
    const struct sharing_place *p = sharing_find(s, user);

    return p && s->accounts[p->at].m.known;
}

void sharing_tie(struct sharing *s, const char *one, const char *other)
{
    size_t a = sharing_place(s, one), b = sharing_place(s, other);

    if (a == b)
        return;
    if (s->n_ties == s->ties_room) {
        s->ties_room = s->ties_room ? 2 * s->ties_room : 64;
        s->ties = xreallocarray(s->ties, s->ties_room, sizeof(*s->ties));
    }
    s->ties[s->n_ties++] = (struct sharing_pair){a < b ? a : b, a < b ? b : a};
}

/* ---- which belong together */

static int sharing_compare_pairs(const void *x, const void *y)
{
    const struct sharing_pair *a = x, *b = y;

    return a->a != b->a ? (a->a < b->a ? -1 : 1) : a->b != b->b ? (a->b < b->b ? -1 : 1) : 0;
}

static void sharing_sort_ties(struct sharing *s)
{
    size_t kept = 0;

    if (s->n_ties > 1)
        qsort(s->ties, s->n_ties, sizeof(*s->ties), sharing_compare_pairs);
    for (size_t i = 0; i < s->n_ties; i++)
        if (kept == 0 || sharing_compare_pairs(&s->ties[kept - 1], &s->ties[i]) != 0)
            s->ties[kept++] = s->ties[i];
    s->n_ties = kept;
    for (size_t i = s->n_ties; i > 0; i--)
        s->accounts[s->ties[i - 1].a].first = i - 1;
}

/* The one that stands for the group; the way to it becomes shorter. */
static size_t sharing_root(struct sharing *s, size_t i)
{
    while (s->accounts[i].up != i) {
        s->accounts[i].up = s->accounts[s->accounts[i].up].up;
        i = s->accounts[i].up;
    }
    return i;
}

static void sharing_join(struct sharing *s, size_t a, size_t b)
{
    a = sharing_root(s, a);
    b = sharing_root(s, b);
    if (a == b)
        return;
    if (s->accounts[a].size < s->accounts[b].size) {
        size_t larger = b;
        b = a;
        a = larger;
    }
    s->accounts[b].up = a;
    s->accounts[a].size += s->accounts[b].size;
}

/* By these ties, but for those of accounts that are left out; counts the ties of each. */
static void sharing_unite(struct sharing *s, const struct sharing_pair *ties, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct sharing_account *a = &s->accounts[ties[i].a], *b = &s->accounts[ties[i].b];
        if (a->out || b->out)
            continue;
        a->m.ties++;
        b->m.ties++;
        sharing_join(s, ties[i].a, ties[i].b);
    }
}

static void sharing_part(struct sharing *s, size_t i)
{
    s->accounts[i].up = i;
    s->accounts[i].size = 1;
    s->accounts[i].m.ties = 0;
}

/* ---- what it would take */

/* While a group is divided: its members and its ties, by their places. */
struct sharing_division {
    struct sharing *s;
    const size_t *members;
    size_t n;
    struct sharing_pair *ties; /* owned */
    size_t n_ties;
};

static size_t sharing_largest(struct sharing_division *d)
{
    size_t most = 0;

    for (size_t i = 0; i < d->n; i++)
        sharing_part(d->s, d->members[i]);
    sharing_unite(d->s, d->ties, d->n_ties);
    for (size_t i = 0; i < d->n; i++) {
        size_t size = d->s->accounts[sharing_root(d->s, d->members[i])].size;
        most = size > most ? size : most;
    }
    return most;
}

/* Of those in groups above the limit, the one with the most ties; the first by name where several have as many. */
static size_t sharing_busiest(struct sharing_division *d, size_t limit)
{
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < d->n; i++) {
        const struct sharing_account *a = &d->s->accounts[d->members[i]];
        if (!a->out && d->s->accounts[sharing_root(d->s, d->members[i])].size > limit &&
            (best == SIZE_MAX || a->m.ties > d->s->accounts[best].m.ties))
            best = d->members[i];
    }
    return best;
}

/* All ties lie within a group. */
static void sharing_take_ties(struct sharing_division *d)
{
    const struct sharing *s = d->s;

    for (size_t i = 0; i < d->n; i++) {
        size_t a = d->members[i];
        for (size_t k = s->accounts[a].first; k < s->n_ties && s->ties[k].a == a; k++) {
            d->ties = xreallocarray(d->ties, d->n_ties + 1, sizeof(*d->ties));
            d->ties[d->n_ties++] = s->ties[k];
        }
    }
}

static void sharing_divide(struct sharing *s, struct sharing_group *g, const size_t *members, size_t limit)
{
    struct sharing_division d = {.s = s, .members = members, .n = g->n};

    sharing_take_ties(&d);
    g->without = xcalloc(SHARING_WITHOUT_MAX, sizeof(const char *));
    while ((g->rest = sharing_largest(&d)) > limit && g->n_without < SHARING_WITHOUT_MAX) {
        struct sharing_account *a = &s->accounts[sharing_busiest(&d, limit)];
        a->out = true;
        g->without[g->n_without++] = a->m.user;
    }
    for (size_t i = 0; i < d.n; i++)
        s->accounts[members[i]].out = false;
    free(d.ties);
}

/* ---- the groups */

struct sharing_order {
    size_t at, root;
    const char *user;
    size_t size;
};

static int sharing_compare(const void *x, const void *y)
{
    const struct sharing_order *a = x, *b = y;

    if (a->size != b->size)
        return a->size > b->size ? -1 : 1;
    if (a->root != b->root)
        return a->root < b->root ? -1 : 1;
    return strcmp(a->user, b->user);
}

static int sharing_compare_groups(const void *x, const void *y)
{
    const struct sharing_group *a = x, *b = y;

    return a->n != b->n ? (a->n > b->n ? -1 : 1) : strcmp(a->members[0].user, b->members[0].user);
}

/* All accounts, the members of each group side by side. To free. */
static struct sharing_order *sharing_sort(struct sharing *s)
{
    struct sharing_order *order = xcalloc(s->n ? s->n : 1, sizeof(*order));

    for (size_t i = 0; i < s->n; i++) {
        size_t root = sharing_root(s, i);
        order[i] = (struct sharing_order){i, root, s->accounts[i].m.user, s->accounts[root].size};
    }
    if (s->n > 1)
        qsort(order, s->n, sizeof(*order), sharing_compare);
    return order;
}

static struct sharing_group sharing_group_of(struct sharing *s, const struct sharing_order *first,
                                             size_t limit)
{
    struct sharing_group g = {.n = first->size};
    size_t *members = xcalloc(g.n, sizeof(*members));

    g.members = xcalloc(g.n, sizeof(*g.members));
    for (size_t i = 0; i < g.n; i++) {
        const struct sharing_member *m = &s->accounts[members[i] = first[i].at].m;
        g.members[i] = *m;
        g.known += m->known;
        g.messages += m->messages;
        g.bytes += m->bytes;
    }
    if (g.n > limit)
        sharing_divide(s, &g, members, limit);
    free(members);
    return g;
}

struct sharing_group *sharing_groups(struct sharing *s, size_t limit, size_t *_n)
{
    struct sharing_group *groups = NULL;

    sharing_sort_ties(s);
    for (size_t i = 0; i < s->n; i++)
        sharing_part(s, i);
    sharing_unite(s, s->ties, s->n_ties);
    struct sharing_order *order = sharing_sort(s);
    *_n = 0;
    for (size_t i = 0; i < s->n && order[i].size > 1; i += order[i].size) {
        groups = xreallocarray(groups, *_n + 1, sizeof(*groups));
        groups[(*_n)++] = sharing_group_of(s, &order[i], limit);
    }
    free(order);
    if (*_n > 1)
        qsort(groups, *_n, sizeof(*groups), sharing_compare_groups);
    return groups;
}

void sharing_groups_free(struct sharing_group *groups, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(groups[i].members);
        free(groups[i].without);
    }
    free(groups);
}
