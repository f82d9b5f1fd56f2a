/* What failed logins cost (penalty.lua). */
#include <stdlib.h>

#include "route_priv.h"
#include "xalloc.h"

struct punishing {
    struct store *s;
    route_penalty_fn fn;
    void *owner;        /* borrowed */
    store_drop_fn drop; /* what becomes of it where fn is not called */
};

static void punishing_drop(void *owner)
{
    struct punishing *p = owner;
    if (p->drop)
        p->drop(p->owner);
    free(p);
}

static bool penalty_number(const struct reply *r, size_t i, uint64_t *_n)
{
    return span_u64(reply_str(reply_at(r, i)), UINT64_MAX, _n);
}

static void on_penalty(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct punishing p = *(struct punishing *)owner;
    enum route_rc status = route_status(p.s, rc, r);
    struct route_penalty told = {0};

    free(owner);
    if ((status == ROUTE_OK || status == ROUTE_LATE) &&
        (!penalty_number(r, 1, &told.wait_ms) || !penalty_number(r, 2, &told.of_account) ||
         !penalty_number(r, 3, &told.of_network)))
        status = ROUTE_DOWN;
    p.fn(p.owner, status, &told);
}

static const char *const penalty_words[] = {
    [PENALTY_FAILED] = "failed", [PENALTY_TURN] = "turn", [PENALTY_PASSED] = "passed"};

void route_penalty(struct store *s, enum penalty_what what, const struct route_penalty_ask *ask,
                   route_penalty_fn fn, const void *who, void *owner, store_drop_fn drop)
{
    struct punishing *p = xcalloc(1, sizeof(*p));
    struct args a = {0};
    *p = (struct punishing){.s = s, .fn = fn, .owner = owner, .drop = drop};
    args_text(&a, penalty_words[what]);
    args_text(&a, ask->user);
    args_text(&a, ask->network);
    args_bool(&a, ask->many);
    args_number(&a, ask->memory_ms);
    args_number(&a, ask->first_ms);
    args_number(&a, ask->longest_ms);
    args_number(&a, ask->free);
    args_number(&a, ask->ahead_ms);
    store_script_for(s, who, "penalty", a.v, a.n, on_penalty, p, punishing_drop);
    free(a.v);
}
