#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/xalloc.h"

#include "freeze.h"
#include "proxy.h"

enum {
    CALLS_AT_ONCE = 16, /* those of all threads of a site have to be answered in a part of store_timeout */
    CALLS_SPREAD_MS = 500,
    EVENTS_REST_MS = 100, /* of events of accounts that this thread has not */
};

struct branch *branch_of(const struct proxy *p, const char *key)
{
    return &p->branches[stores_place(&p->conf->redis, span_str(key))];
}

/* Calls fn for each session of a state and of this branch; fn may end it. */
static void branch_each(struct branch *b, enum session_state state, void (*fn)(struct session *s))
{
    struct session *s, *next;
    for (s = LIST_FIRST(&b->proxy->places[state]); s; s = next) {
        next = LIST_NEXT(s, place);
        if (s->account && s->account->branch == b)
            fn(s);
    }
}

/* All that have signed in. */
static void branch_each_live(struct branch *b, void (*fn)(struct session *s))
{
    branch_each(b, IN_RELAY, fn);
    branch_each(b, IN_FROZEN, fn);
    branch_each(b, IN_HANDOVER, fn);
}

/* ---- the store ---- */

/* What a former master answers, which some connection still stands to, is worth nothing. */
static void branch_set_pace(struct branch *b)
{
    if (store_state(b->store) == STORE_UP && store_generation(b->store) >= lease_generation(b->lease))
        queue_go(b->queue, CALLS_SPREAD_MS);
    else
        queue_hold(b->queue);
}

static void branch_on_counts(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct branch *b = owner;
    if (rc == ROUTE_OK)
        route_log_unknown(b->store, rows, n);
}

/* What backends can do is read from one store, the first that is there. */
static void branch_read_backends(struct proxy *p)
{
    for (size_t i = 0; i < p->n_branches; i++) {
        const struct branch *b = &p->branches[i];
        if (store_state(b->store) != STORE_UP)
            continue;
        backends_read(p->backends, b->store, lease_incarnation(b->lease));
        return;
    }
}

void branch_on_store(void *owner, size_t place, enum store_state state, const char *detail)
{
    struct proxy *p = owner;
    struct branch *b = &p->branches[place];
    (void)detail;
    atomic_store(&b->told_store, state == STORE_UP);
    if (!b->lease)
        return;
    branch_set_pace(b);
    if (state == STORE_UP && store_generation(b->store) != b->read_of) {
        b->read_of = store_generation(b->store);
        accounts_read_all(b);
    }
    if (state == STORE_UP)
        branch_read_backends(p);
    if (state == STORE_UP && p->thread == 0)
        route_counts_read(b->store, branch_on_counts, b);
}

/* ---- the lease ---- */

static void branch_on_lease(void *owner, enum lease_event ev)
{
    struct branch *b = owner;
    switch (ev) {
    case LEASE_NEW_MASTER:
        branch_set_pace(b);
        doubts_new_master(b->doubts);
        branch_each_live(b, registration_new_master);
        branch_each(b, IN_RELAY, session_flow);
        branch_each_live(b, registration_ask);
        break;
    case LEASE_RENEWED:
        LOG(INFO, "lease_renewed", LOG_U("thread", b->proxy->thread),
            LOG_S("incarnation", lease_incarnation(b->lease)));
        b->has_lease = true;
        atomic_store(&b->told_lease, true);
        proxy_serve_if_ready(b->proxy);
        accounts_seen_all(b);
        branch_each_live(b, registration_ask);
        branch_each_live(b, session_go_on);
        break;
    case LEASE_LAPSED:
        atomic_store(&b->told_lease, false);
        metric_add(METRIC_LEASE_LAPSES, 1, NULL, NULL);
        branch_each(b, IN_RELAY, session_flow);
        break;
    }
}

static void branch_on_reconcile_again(void *owner, const char *user, uint64_t epoch)
{
    freeze_reconcile(owner, user, epoch);
}

/* ---- events ---- */

/* One thread of each proxy is enough for the freezes of accounts that it has nothing to do with; all hear of
 * their ends. */
static void branch_on_event(void *owner, const struct event *e)
{
    struct branch *b = owner;
    if (b->proxy->thread == 0 || (e->state != ROUTE_PREPARING && e->state != ROUTE_FREEZING))
        thaws_heard(b->thaws, e->user, e->state, e->left_ms);
    accounts_event(b, e);
    lmtp_heard(b->proxy->lmtp, e->user);
}

static void branch_on_news(void *owner, enum events_news news)
{
    struct branch *b = owner;
    if (news == EVENTS_GAP)
        LOG(INFO, "events_gap", LOG_U("thread", b->proxy->thread));
    if (news == EVENTS_LIVE)
        accounts_read_all(b);
}

/* ---- the id ---- */

/* One that is about to serve ends; one whose users are at work, and which was cut off from Redis for long,
 * goes on: its sessions have names of their own. */
static void branch_on_instance(void *owner, enum instance_event ev, const char *where)
{
    struct branch *b = owner;
    if (ev != INSTANCE_OURS && atomic_load(&b->proxy->id_lent))
        return; /* by whom it was lent to */
    if (ev != INSTANCE_OURS)
        LOG(ERROR, "id_taken", LOG_S("by", where),
            LOG_S("advice", "give each proxy an id of its own (proxy: id)"));
    if (ev == INSTANCE_REFUSED) {
        b->proxy->refused = true;
        kill(getpid(), SIGTERM);
    } else {
        b->is_ours = true;
        proxy_serve_if_ready(b->proxy);
    }
}

void branches_tell_id(struct proxy *p, const char *from)
{
    char *own = proxy_id(p);
    for (size_t i = 0; i < p->n_branches; i++) {
        struct branch *b = &p->branches[i];
        instance_free(&b->instance);
        if (from)
            b->instance = instance_new(b->store, "proxy", own, p->token, from, branch_on_instance, b);
    }
    free(own);
}

bool branches_are_there(const struct proxy *p)
{
    for (size_t i = 0; i < p->n_branches; i++)
        if (!p->branches[i].has_lease || !p->branches[i].is_ours)
            return false;
    return true;
}

/* ---- the end ---- */

static void branch_told(struct branch *b)
{
    struct proxy *p = b->proxy;
    b->is_told = true;
    for (size_t i = 0; i < p->n_branches; i++)
        if (!p->branches[i].is_told)
            return;
    proxy_left(p);
}

static void branch_on_lease_ended(void *owner, enum redis_rc rc, const struct reply *r)
{
    (void)rc, (void)r;
    branch_told(owner);
}

/* Where the last `leave` was executed, nobody waits for a proxy that is gone. Where it may not have been, the
 * incarnation stays known, and is swept with its registrations as one that crashed. */
static void branch_on_sessions_left(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct branch *b = owner;
    struct span ping = span_str("PING");
    (void)r;
    if (rc != REDIS_OK || doubts_any(b->doubts)) {
        LOG(WARN, "left_in_doubt", LOG_U("thread", b->proxy->thread),
            LOG_S("incarnation", lease_incarnation(b->lease)));
        branch_told(b);
        return;
    }
    lease_end(b->lease);
    store_command(b->lease_store, &ping, 1, branch_on_lease_ended, b);
}

/* What was sent to the store before a PING was executed when it is answered. */
void branches_leave(struct proxy *p)
{
    struct span ping = span_str("PING");
    for (size_t i = 0; i < p->n_branches; i++)
        store_command(p->branches[i].store, &ping, 1, branch_on_sessions_left, &p->branches[i]);
}

/* ---- life ---- */

/* first: the branch whose name this one takes; NULL: it makes one. */
static void branch_begin(struct branch *b, const char *id, const struct branch *first)
{
    struct proxy *p = b->proxy;
    const struct conf_proxy *c = &p->conf->proxy;
    b->is_ours = p->thread != 0;
    store_begin_with_a_look(b->store);
    b->queue = queue_new(p->loop, CALLS_AT_ONCE);
    if (p->thread == 0) /* once a process */
        store_sound_alarm(b->store);
    b->lease_store = store_new_beside(b->store, c->store_timeout_ms, NULL, NULL);
    b->lease = first ? lease_new_as(b->lease_store, lease_incarnation(first->lease), c->lease_ms,
                                    c->lease_long_ms, branch_on_lease, b)
                     : lease_new(b->lease_store, id, c->lease_ms, c->lease_long_ms, branch_on_lease, b);
    b->penalty = penalty_new(b->store, p->conf);
    b->doubts = doubts_new(b->store, b->queue, lease_incarnation(b->lease), branch_on_reconcile_again, b);
    b->thaws = thaws_new(b->store);
    b->events = events_new(p->loop, p->conf, store_address(b->store), branch_on_event, branch_on_news, b);
    events_rest(b->events, EVENTS_REST_MS);
}

void branches_begin(struct proxy *p, const char *id)
{
    p->stores = stores_new(p->loop, p->conf, p->conf->proxy.store_timeout_ms, branch_on_store, p);
    for (size_t i = 0; i < p->n_branches; i++) {
        p->branches[i].proxy = p;
        p->branches[i].store = p->stores->all[i];
        branch_begin(&p->branches[i], id, i > 0 ? &p->branches[0] : NULL);
    }
}

static void branch_end(struct branch *b)
{
    events_free(&b->events);
    thaws_free(&b->thaws);
    doubts_free(&b->doubts);
    penalty_free(&b->penalty);
    instance_free(&b->instance);
    lease_free(&b->lease);
    store_free(&b->lease_store);
}

void branches_end(struct proxy *p)
{
    for (size_t i = 0; i < p->n_branches && p->stores; i++)
        branch_end(&p->branches[i]);
}

void branches_free(struct proxy *p)
{
    for (size_t i = 0; i < p->n_branches; i++)
        queue_free(&p->branches[i].queue);
    free(p->branches);
    p->branches = NULL;
}
