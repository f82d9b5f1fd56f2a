#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/tls_tickets.h"
#include "lib/xalloc.h"

#include "freeze.h"
#include "parting.h"
#include "proxy.h"
#include "vault.h"

enum {
    BACKENDS_MS = 1000, /* how long to wait for what the backends can do before serving */
    RESUME_AGAIN_MS = 500,
    ROOM_AGAIN_MS = 50,
    DRAIN_STEP_MS = 50,
    DRAIN_LAST_MS = 15 * 1000, /* behind drain_time: for commands that are still under way */
};

/* Calls fn for each session of a state; fn may end it. */
static void each_session(struct proxy *p, enum session_state state, void (*fn)(struct session *s))
{
    struct session *s, *next;
    for (s = LIST_FIRST(&p->places[state]); s; s = next) {
        next = LIST_NEXT(s, place);
        fn(s);
    }
}

/* All that have signed in. */
static void each_live(struct proxy *p, void (*fn)(struct session *s))
{
    each_session(p, IN_RELAY, fn);
    each_session(p, IN_FROZEN, fn);
    each_session(p, IN_HANDOVER, fn);
}

/* ---- what has had no answer ---- */

static void on_resume_timer(void *owner)
{
    struct proxy *p = owner;
    accounts_read_again(p);
    each_live(p, registration_ask);
    each_live(p, session_go_on);
}

void proxy_resume_later(struct proxy *p)
{
    if (!timer_is_set(p->resume_timer))
        timer_start(p->resume_timer, RESUME_AGAIN_MS);
}

/* ---- starting ---- */

static void proxy_serve(struct proxy *p)
{
    if (p->phase != PROXY_STARTING)
        return;
    p->phase = PROXY_SERVING;
    atomic_store(&p->told_phase, PROXY_SERVING);
    timer_stop(p->start_timer);
    backends_wait_no_more(p->backends);
    for (size_t i = 0; i < p->n_listeners; i++)
        listener_listen(&p->listeners[i]);
    p->fn(p->owner, false);
}

/* The first clients would be shown too little of what the backends can do. */
void proxy_serve_if_ready(struct proxy *p)
{
    if (p->phase != PROXY_STARTING || !branches_are_there(p))
        return;
    if (backends_settled(p->backends))
        proxy_serve(p);
    else
        timer_start(p->start_timer, BACKENDS_MS);
}

static void on_backends_settled(void *owner)
{
    proxy_serve_if_ready(owner);
}

static void on_start_timer(void *owner)
{
    struct proxy *p = owner;
    if (!branches_are_there(p))
        LOG(WARN, "serving_early", LOG_U("thread", p->thread), LOG_S("without", "store"));
    proxy_serve(p);
}

char *proxy_id(const struct proxy *p)
{
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0)
        memcpy(host, "proxy", sizeof "proxy");
    return xstrdup(*p->conf->proxy.id ? p->conf->proxy.id : host);
}

static void proxy_on_lmtp_idle(void *owner)
{
    proxy_session_ended(owner);
}

static void connect_stores(struct proxy *p)
{
    char *own = proxy_id(p), *id = xasprintf("%s.%u", own, p->thread);
    branches_begin(p, id);
    p->socketmap = socketmap_new(p->stores, p->thread);
    p->lmtp = lmtp_new(p->stores, p->thread, proxy_on_lmtp_idle, p);
    if (p->thread == 0)
        branches_tell_id(p, p->instead);
    free(own);
    free(id);
}

static void on_tickets_timer(void *owner)
{
    struct proxy *p = owner;
    tls_policy_age(p->server_tls, clock_boot_ms());
    timer_start(p->tickets_timer, TICKET_AGE_MS);
}

static bool load_keys(struct proxy *p, const struct ticket_keys *tickets, char **error)
{
    const struct conf *c = p->conf;
    bool tls = false;
    for (size_t i = 0; i < p->n_listeners; i++)
        tls |= scheme_begins_with_tls(p->listeners[i].scheme) || scheme_turns_to_tls(p->listeners[i].scheme);
    if (tls && !(p->server_tls = tls_policy_server(&c->proxy, tickets, error)))
        return false;
    if (tls)
        timer_start(p->tickets_timer, TICKET_AGE_MS);
    if (tls && *c->proxy.tls_client_ca && !(p->asking_tls = tls_policy_server_asking(&c->proxy, error)))
        return false;
    if (*c->seal.public_key_file && !(p->seal = seal_public_load(c->seal.public_key_file, error)))
        return false;
    p->backends = backends_new(p->loop, c, p->thread == 0, p->tally, on_backends_settled, p, error);
    return p->backends != NULL;
}

/* ---- ending ---- */

static void drain_one(struct session *s)
{
    s->told = true;
    s->proxy->drain_told++;
    if (s->state == IN_RELAY)
        session_rest(s, END_SHUTDOWN);
    else
        session_close(s, END_SHUTDOWN, NULL);
}

static void proxy_close_one(struct session *s)
{
    session_close(s, END_SHUTDOWN, "at once");
}

/* A login that is under way, or about to come, would fail in the face of somebody who has just connected; an open
 * session that ends is opened anew without a word by mail programs. So the former are told last. */
static bool drain_waits(const struct session *s, size_t until)
{
    return until != SIZE_MAX && s->state < IN_RELAY;
}

static void drain_some(struct proxy *p, size_t until)
{
    for (enum session_state in = 0; in < IN_CLOSING; in++) {
        struct session *s, *next;
        for (s = LIST_FIRST(&p->places[in]); s && p->drain_told < until; s = next) {
            next = LIST_NEXT(s, place);
            if (!s->told && !drain_waits(s, until))
                drain_one(s);
        }
    }
}

/* Messages that mail servers are delivering count like sessions. */
static bool proxy_is_empty(const struct proxy *p)
{
    return p->n_sessions == 0 && lmtp_count(p->lmtp) == 0;
}

static void proxy_close_all(struct proxy *p)
{
    lmtp_end(p->lmtp);
    for (enum session_state in = 0; in < IN_CLOSING; in++)
        each_session(p, in, proxy_close_one);
}

static void proxy_stop(struct proxy *p)
{
    loop_stop(p->loop);
}

void proxy_left(struct proxy *p)
{
    proxy_stop(p);
}

/* All sessions are gone. */
static void proxy_end(struct proxy *p)
{
    p->phase = PROXY_ENDING;
    branches_leave(p);
    timer_start(p->drain_timer, p->conf->proxy.store_timeout_ms);
}

static void on_drain_timer(void *owner)
{
    struct proxy *p = owner;
    if (p->phase == PROXY_ENDING) {
        proxy_stop(p);
        return;
    }
    uint64_t span = p->conf->proxy.drain_time_ms, passed = clock_boot_ms() - p->drain_began_ms;
    if (passed >= span + DRAIN_LAST_MS)
        proxy_close_all(p);
    else
        drain_some(p, passed >= span || p->drain_total == 0
                          ? SIZE_MAX
                          : 1 + (size_t)((p->drain_total - 1) * passed / span));
    timer_start(p->drain_timer, DRAIN_STEP_MS);
}

static void proxy_drain(struct proxy *p)
{
    p->phase = PROXY_DRAINING;
    atomic_store(&p->told_phase, PROXY_DRAINING);
    timer_stop(p->start_timer);
    for (size_t i = 0; i < p->n_listeners; i++)
        listener_close(&p->listeners[i]);
    socketmap_drain(p->socketmap);
    lmtp_drain(p->lmtp);
    LOG(INFO, "draining", LOG_U("thread", p->thread), LOG_U("sessions", p->n_sessions));
    p->drain_began_ms = clock_boot_ms();
    p->drain_total = p->n_sessions;
    if (proxy_is_empty(p))
        proxy_end(p);
    else
        on_drain_timer(p);
}

static void listeners_go_on(struct proxy *p)
{
    for (size_t i = 0; i < p->n_listeners; i++)
        listener_go_on(&p->listeners[i]);
}

static void on_room_timer(void *owner)
{
    listeners_go_on(owner);
}

static void on_accepting(struct loop_task *task)
{
    listeners_go_on(CONTAINER_OF(task, struct proxy, accepting));
}

/* Sockets of connections that are being closed count: they are there. Who has not signed in will need another
 * one. */
static bool proxy_fits(const struct proxy *p)
{
    return p->loop->n_sockets + p->crowd.n + 2 <= p->sockets_max - p->sockets_max / 16;
}

bool proxy_has_room(struct proxy *p)
{
    if (proxy_fits(p) || (crowd_end_one(&p->crowd, NULL) && proxy_fits(p)))
        return true;
    if (!timer_is_set(p->room_timer))
        timer_start(p->room_timer, ROOM_AGAIN_MS);
    return false;
}

/* Not fewer where many wait: the kernel's queue knows no networks, and who comes from another than a flood's
 * would wait in it behind all of them. */
bool proxy_may_accept(struct proxy *p)
{
    if (p->accept_round != p->loop->round)
        p->accepts = 0;
    p->accept_round = p->loop->round;
    if (p->accepts++ < CROWD_ACCEPTS_A_ROUND)
        return true;
    loop_defer(p->loop, &p->accepting);
    return false;
}

void proxy_session_ended(struct proxy *p)
{
    listeners_go_on(p);
    if (p->phase == PROXY_DRAINING && proxy_is_empty(p))
        proxy_end(p);
}

static void take_renewal(struct proxy *p)
{
    struct renewal *r = atomic_exchange(&p->renewal, NULL);
    if (!r)
        return;
    renewal_take(r, p->own, p->server_tls, p->asking_tls, p->backends, &p->seal);
    backends_renewed(p->backends);
    renewal_free(&r);
}

void proxy_renew(struct proxy *p, struct renewal *r)
{
    struct renewal *before = atomic_exchange(&p->renewal, r);
    renewal_free(&before);
    uv_async_send(&p->orders);
}

void proxy_lend_id(struct proxy *p)
{
    atomic_store(&p->id_lent, true);
    uv_async_send(&p->orders);
}

void proxy_claim_id(struct proxy *p, const char *from)
{
    free(atomic_exchange(&p->claim, xstrdup(from)));
    atomic_store(&p->id_lent, false);
    uv_async_send(&p->orders);
}

static void take_id_orders(struct proxy *p)
{
    if (atomic_load(&p->id_lent)) {
        branches_tell_id(p, NULL);
        return;
    }
    char *from = atomic_exchange(&p->claim, NULL);
    if (from)
        branches_tell_id(p, from);
    free(from);
}

bool proxy_is_alive(struct proxy *p)
{
    bool alive = atomic_exchange(&p->came_round, false);
    uv_async_send(&p->orders);
    return alive;
}

bool proxy_is_serving(struct proxy *p)
{
    return atomic_load(&p->told_phase) == PROXY_SERVING;
}

/* In how many stores, of those that the configuration names. */
static size_t proxy_count_told(struct proxy *p, bool lease)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_branches; i++)
        n += lease ? atomic_load(&p->branches[i].told_lease) : atomic_load(&p->branches[i].told_store);
    return n;
}

bool proxy_has_store_at(struct proxy *p, size_t place)
{
    return atomic_load(&p->branches[place].told_store);
}

bool proxy_has_store(struct proxy *p)
{
    return proxy_count_told(p, false) > 0;
}

bool proxy_is_leased(struct proxy *p)
{
    return proxy_count_told(p, true) > 0;
}

static void on_orders(uv_async_t *async)
{
    struct proxy *p = CONTAINER_OF(async, struct proxy, orders);
    atomic_store(&p->came_round, true);
    take_renewal(p);
    take_id_orders(p);
    int order = atomic_load(&p->order);
    if (order >= ORDER_DRAIN && p->phase < PROXY_DRAINING)
        proxy_drain(p);
    if (order >= ORDER_END) {
        p->at_once = true;
        proxy_close_all(p);
    }
}

void proxy_give_order(struct proxy *p, enum proxy_order order)
{
    int now = atomic_load(&p->order);
    while (now < (int)order && !atomic_compare_exchange_weak(&p->order, &now, order))
        ;
    uv_async_send(&p->orders);
}

/* ---- life ---- */

static void proxy_open_listeners(struct proxy *p, const struct proxy_share *share)
{
    p->n_listeners = share->n_sockets;
    p->listeners = xcalloc(p->n_listeners, sizeof *p->listeners);
    for (size_t i = 0; i < p->n_listeners; i++)
        listener_open(&p->listeners[i], p, share->sockets[i].url, share->sockets[i].fd);
}

struct proxy *proxy_new(const struct proxy_share *share, proxy_news_fn fn, void *owner, char **error)
{
    struct proxy *p = xcalloc(1, sizeof *p);
    p->own = conf_copy(share->conf);
    p->conf = p->own;
    p->thread = share->thread;
    p->sockets_max = share->sockets_max;
    snprintf(p->token, sizeof p->token, "%s", share->token);
    snprintf(p->instead, sizeof p->instead, "%s", share->instead);
    atomic_store(&p->came_round, true);
    p->fn = fn;
    p->owner = owner;
    p->loop = loop_new();
    p->n_branches = p->conf->redis.n_stores;
    p->branches = xcalloc(p->n_branches, sizeof *p->branches);
    p->vault = vault_new();
    p->parting = parting_new(p->loop);
    p->tally = tally_new(p->loop, p->thread);
    p->lately = lately_new();
    p->noise = noise_new(p->loop, p->thread);
    uv_async_init(&p->loop->uv, &p->orders, on_orders);
    p->start_timer = timer_new(p->loop, on_start_timer, p);
    p->drain_timer = timer_new(p->loop, on_drain_timer, p);
    p->resume_timer = timer_new(p->loop, on_resume_timer, p);
    p->tickets_timer = timer_new(p->loop, on_tickets_timer, p);
    p->room_timer = timer_new(p->loop, on_room_timer, p);
    p->accepting.fn = on_accepting;
    crowd_init(&p->crowd, p->loop, p->thread, p->sockets_max);
    for (size_t i = 0; i < IN_COUNT; i++)
        LIST_INIT(&p->places[i]);
    proxy_open_listeners(p, share);
    if (!load_keys(p, share->tickets, error))
        proxy_free(&p);
    return p;
}

void proxy_run(struct proxy *p)
{
    connect_stores(p);
    timer_start(p->start_timer, p->conf->proxy.store_timeout_ms);
    loop_run(p->loop);
    p->fn(p->owner, true);
}

void proxy_free(struct proxy **pp)
{
    struct proxy *p = *pp;
    if (!p)
        return;
    *pp = NULL;
    assert(p->n_sessions == 0);
    for (size_t i = 0; i < p->n_listeners; i++)
        listener_close(&p->listeners[i]);
    backends_free(&p->backends);
    branches_end(p);
    socketmap_free(&p->socketmap);
    lmtp_free(&p->lmtp);
    stores_free(&p->stores);
    timer_free(&p->start_timer);
    timer_free(&p->drain_timer);
    timer_free(&p->resume_timer);
    timer_free(&p->tickets_timer);
    branches_free(p);
    timer_free(&p->room_timer);
    loop_undefer(p->loop, &p->accepting);
    crowd_free(&p->crowd);
    parting_free(&p->parting);
    tally_free(&p->tally);
    lately_free(&p->lately);
    noise_free(&p->noise);
    uv_close((uv_handle_t *)&p->orders, NULL);
    loop_free(&p->loop);
    tls_policy_free(&p->server_tls);
    tls_policy_free(&p->asking_tls);
    if (p->seal)
        seal_public_free(&p->seal);
    free(p->listeners);
    vault_free(&p->vault);
    struct renewal *r = atomic_exchange(&p->renewal, NULL);
    renewal_free(&r);
    free(atomic_load(&p->claim));
    conf_free(&p->own);
    free(p);
}
