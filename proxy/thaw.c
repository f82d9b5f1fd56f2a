#include <stdlib.h>

#include <uthash.h>

#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/xalloc.h"

#include "thaw.h"

enum {
    ACCOUNTS_MAX = 10000, /* what goes beyond is thawed by the next login, or by the next owner of the job */
    AFTER_MS = 20,        /* for clocks: who asks too early has to ask twice */
    SPREAD_MS = 1000,     /* of all proxies */
    AGAIN_MS = 1000,      /* no store, or another deadline */
};

struct frozen {
    struct thaws *thaws; /* borrowed */
    char *user;
    struct timer *timer; /* owned */
    UT_hash_handle hh;
};

struct thaws {
    struct store *store;  /* borrowed */
    struct frozen *table; /* by user; owned */
};

static void frozen_free(struct frozen *f)
{
    HASH_DEL(f->thaws->table, f);
    store_forget(f->thaws->store, f);
    timer_free(&f->timer);
    free(f->user);
    free(f);
}

static bool is_thawable(enum route_state state)
{
    return state == ROUTE_PREPARING || state == ROUTE_FREEZING;
}

static void ask_in(struct frozen *f, uint64_t ms)
{
    timer_start(f->timer, ms + AFTER_MS + random_u64() % SPREAD_MS);
}

/* Thawed: the event says so too. Refused in another state: that event was missed. */
static void thaw_on_thaw(void *owner, enum route_rc rc, const char *detail)
{
    struct frozen *f = owner;
    enum route_state state;
    bool is_over = rc == ROUTE_OK || (rc == ROUTE_REFUSED && route_state_parse(span_str(detail), &state) &&
                                      !is_thawable(state));
    if (rc == ROUTE_OK)
        metric_add(METRIC_THAWS, 1, "deadline", NULL);
    if (rc == ROUTE_OK)
        LOG(WARN, "thawed", LOG_S("user", f->user), LOG_S("reason", "deadline"));
    if (is_over)
        frozen_free(f);
    else
        ask_in(f, AGAIN_MS);
}

static void thaw_on_time(void *owner)
{
    struct frozen *f = owner;
    route_thaw(f->thaws->store, f->user, thaw_on_thaw, f);
}

static struct frozen *thaw_add(struct thaws *t, struct span user)
{
    struct frozen *f = xcalloc(1, sizeof *f);
    f->thaws = t;
    f->user = xspandup(user);
    f->timer = timer_new(store_loop(t->store), thaw_on_time, f);
    HASH_ADD_KEYPTR(hh, t->table, f->user, user.len, f);
    return f;
}

void thaws_heard(struct thaws *t, struct span user, enum route_state state, uint64_t left_ms)
{
    struct frozen *f;
    HASH_FIND(hh, t->table, user.p, user.len, f);
    if (f && !is_thawable(state)) {
        frozen_free(f);
        return;
    }
    if (!is_thawable(state) || left_ms == 0) /* nothing new */
        return;
    if (!f && HASH_COUNT(t->table) >= ACCOUNTS_MAX)
        return;
    if (!f)
        f = thaw_add(t, user);
    store_forget(t->store, f); /* a question about the deadline before */
    ask_in(f, left_ms);
}

struct thaws *thaws_new(struct store *s)
{
    struct thaws *t = xcalloc(1, sizeof *t);
    t->store = s;
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
    free(t);
}
