#include <stdlib.h>

#include <uthash.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "thaw.h"

/* What goes beyond is thawed by the next login, or by the next owner of the job. */
enum { ASK_MS = 1000, ACCOUNTS_MAX = 10000 };

struct frozen {
    struct thaws *thaws; /* borrowed */
    char *user;
    UT_hash_handle hh;
};

struct thaws {
    struct store *store;  /* borrowed */
    struct timer *timer;  /* set while there are accounts; owned */
    struct frozen *table; /* by user; owned */
};

static void frozen_free(struct frozen *f)
{
    HASH_DEL(f->thaws->table, f);
    store_forget(f->thaws->store, f);
    free(f->user);
    free(f);
}

static bool is_thawable(enum route_state state)
{
    return state == ROUTE_PREPARING || state == ROUTE_FREEZING;
}

/* Thawed: the event says so too. Refused in another state: that event was missed. */
static void on_thaw(void *owner, enum route_rc rc, const char *detail)
{
    struct frozen *f = owner;
    enum route_state state;
    if (rc == ROUTE_OK)
        LOG(WARN, "thawed", LOG_S("user", f->user), LOG_S("reason", "deadline"));
    else if (rc != ROUTE_REFUSED || !route_state_parse(span_str(detail), &state) || is_thawable(state))
        return;
    frozen_free(f);
}

static void on_timer(void *owner)
{
    struct thaws *t = owner;
    for (struct frozen *f = t->table; f; f = f->hh.next) {
        store_forget(t->store, f); /* one question at a time */
        route_thaw(t->store, f->user, on_thaw, f);
    }
    if (t->table)
        timer_start(t->timer, ASK_MS);
}

static void add(struct thaws *t, struct span user)
{
    if (HASH_COUNT(t->table) >= ACCOUNTS_MAX)
        return;
    struct frozen *f = xcalloc(1, sizeof *f);
    f->thaws = t;
    f->user = xspandup(user);
    HASH_ADD_KEYPTR(hh, t->table, f->user, user.len, f);
    if (!timer_is_set(t->timer))
        timer_start(t->timer, ASK_MS);
}

void thaws_heard(struct thaws *t, const struct event *e)
{
    struct frozen *f;
    if (!span_is(e->kind, "state"))
        return;
    HASH_FIND(hh, t->table, e->user.p, e->user.len, f);
    if (f && !is_thawable(e->state))
        frozen_free(f);
    else if (!f && is_thawable(e->state))
        add(t, e->user);
}

struct thaws *thaws_new(struct store *s)
{
    struct thaws *t = xcalloc(1, sizeof *t);
    t->store = s;
    t->timer = timer_new(store_loop(s), on_timer, t);
    return t;
}

void thaws_free(struct thaws **tp)
{
    struct thaws *t = *tp;
    if (!t)
        return;
    *tp = NULL;
    struct frozen *f, *next;
    HASH_ITER(hh, t->table, f, next)
    {
        frozen_free(f);
    }
    timer_free(&t->timer);
    free(t);
}
