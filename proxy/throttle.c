#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "lib/account.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "peer.h"
#include "penalty.h"
#include "proxy.h"
#include "routing.h"
#include "throttle.h"
#include "vault.h"

/* The logins of one name from one network of which it is not known yet whether the password is right. There is
 * one only while there are any. */
struct tries {
    TAILQ_HEAD(, session) all; /* the oldest first */
    unsigned n;                /* of those that are not QUEUED */
    UT_hash_handle hh;
    size_t len;
    uint8_t key[]; /* the network's, then the name */
};

/* ---- who ---- */

/* A master's password is the master's own, whose account it opens. *_name: to free. */
static struct penalty_who throttle_who(const struct session *s, char **_name)
{
    struct credential c = secret_credential(s->secret);
    const char *why;
    *_name = c.authzid.len > 0 ? account_key(s->proxy->conf, c.authcid, &why) : NULL;
    return (struct penalty_who){
        .user = *_name ? *_name : s->account->key, .network = s->network->key, .many = peer_is_many(s)};
}

static struct tries *tries_of(struct proxy *p, const struct penalty_who *w)
{
    size_t name = strlen(w->user), len = NETWORK_KEY_SIZE + name;
    struct tries *t = xcalloc(1, sizeof *t + len), *there;
    memcpy(t->key, w->network, NETWORK_KEY_SIZE);
    memcpy(t->key + NETWORK_KEY_SIZE, w->user, name);
    HASH_FIND(hh, p->tries, t->key, len, there);
    if (there) {
        free(t);
        return there;
    }
    t->len = len;
    TAILQ_INIT(&t->all);
    HASH_ADD_KEYPTR(hh, p->tries, t->key, t->len, t);
    return t;
}

static void tries_join(struct session *s, struct tries *t)
{
    s->tries = t;
    s->throttle = THROTTLE_QUEUED;
    TAILQ_INSERT_TAIL(&t->all, s, of_tries);
}

static void tries_call(struct session *s)
{
    s->throttle = THROTTLE_CALLED;
    s->tries->n++;
}

static void tries_leave(struct session *s)
{
    struct tries *t = s->tries;
    s->tries = NULL;
    t->n -= s->throttle != THROTTLE_QUEUED;
    s->throttle = THROTTLE_NONE;
    TAILQ_REMOVE(&t->all, s, of_tries);
    if (!TAILQ_EMPTY(&t->all))
        return;
    HASH_DEL(s->proxy->tries, t);
    free(t);
}

static uint64_t throttle_ahead_ms(const struct session *s)
{
    const struct conf_proxy *c = &s->proxy->conf->proxy;
    uint64_t age = clock_boot_ms() - s->opened_ms, most = 2 * c->login_delay_max_ms,
             left = age < c->login_timeout_ms ? c->login_timeout_ms - age : 0;
    return left < most ? left : most;
}

/* ---- turns ---- */

static void throttle_try(struct session *s, enum throttle_phase how)
{
    s->throttle = how;
    routing_try(s);
}

static void throttle_wait(struct session *s, uint64_t ms)
{
    if (ms == PENALTY_LATE) {
        throttle_end(s);
        routing_limit(s, "throttled", "too many failed logins before it",
                      "Too many failed logins, please try again later");
        return;
    }
    if (ms == 0) {
        throttle_try(s, THROTTLE_IN_TURN);
        return;
    }
    if (noise_may_log(s->proxy->noise, NOISE_LOGINS, s->peer_ip))
        LOG(INFO, "login_delayed", LOG_S("user", s->account->key), LOG_S("peer", s->peer),
            LOG_S("session", s->name), LOG_U("ms", ms));
    s->throttle = THROTTLE_WAITING;
    timer_start(s->timer, ms);
}

static void throttle_on_turn(void *owner, enum route_rc rc, const struct route_penalty *told)
{
    struct session *s = owner;
    char *name;
    struct penalty_who w = throttle_who(s, &name);
    uint64_t ms = penalty_told(s->account->branch->penalty, &w, throttle_ahead_ms(s), rc, told);
    free(name);
    throttle_wait(s, ms);
}

/* Redis does not answer. */
static void throttle_turn_here(struct session *s)
{
    char *name;
    struct penalty_who w = throttle_who(s, &name);
    uint64_t ms = penalty_turn_here(s->account->branch->penalty, &w, throttle_ahead_ms(s));
    free(name);
    store_forget(s->account->branch->store, s);
    throttle_wait(s, ms);
}

static void throttle_ask(struct session *s, const struct penalty_who *w)
{
    s->throttle = THROTTLE_ASKING;
    session_enter(s, IN_THROTTLED);
    timer_start(s->timer, s->proxy->conf->proxy.store_timeout_ms);
    penalty_turn(s->account->branch->penalty, w, throttle_ahead_ms(s), throttle_on_turn, s);
}

static void throttle_step(struct session *s)
{
    char *name;
    struct penalty_who w = throttle_who(s, &name);
    if (penalty_knows(s->account->branch->penalty, &w))
        throttle_ask(s, &w);
    else
        throttle_try(s, THROTTLE_TRYING);
    free(name);
}

void throttle_where(struct session *s, route_read_fn fn)
{
    char *name, network[PENALTY_NETWORK];
    if (!s->tries) {
        route_where(s->account->branch->store, s->account->key, NULL, fn, s);
        return;
    }
    struct penalty_who w = throttle_who(s, &name);
    penalty_network(&w, network);
    route_where(s->account->branch->store, s->account->key,
                &(struct route_trier){.user = w.user, .network = network}, fn, s);
    free(name);
}

bool throttle_heard(struct session *s, const struct route_failures *f)
{
    char *name;
    if (s->throttle != THROTTLE_TRYING)
        return false;
    struct penalty_who w = throttle_who(s, &name);
    penalty_heard(s->account->branch->penalty, &w, f);
    bool waits = penalty_knows(s->account->branch->penalty, &w);
    if (waits)
        throttle_ask(s, &w);
    free(name);
    return waits;
}

void throttle_begin(struct session *s)
{
    char *name;
    if (s->proxy->conf->proxy.login_delay_ms == 0) {
        routing_try(s);
        return;
    }
    struct penalty_who w = throttle_who(s, &name);
    tries_join(s, tries_of(s->proxy, &w));
    free(name);
    if (s->tries->n < THROTTLE_TRIES) {
        tries_call(s);
        throttle_step(s);
        return;
    }
    session_enter(s, IN_THROTTLED);
    timer_start(s->timer, throttle_ahead_ms(s));
}

void throttle_wake(struct session *s)
{
    switch (s->throttle) {
    case THROTTLE_CALLED:
        throttle_step(s);
        break;
    case THROTTLE_ASKING:
        throttle_turn_here(s);
        break;
    case THROTTLE_WAITING:
        throttle_try(s, THROTTLE_IN_TURN);
        break;
    default: /* it has stood in the queue for too long */
        throttle_end(s);
        routing_limit(s, "throttled", "too many logins of the account at once",
                      "Too many logins at once, please try again later");
    }
}

/* ---- the end of a try ---- */

/* The next one's turn. */
static void tries_call_next(const struct tries *t)
{
    struct session *next;
    TAILQ_FOREACH(next, &t->all, of_tries)
    if (next->throttle == THROTTLE_QUEUED)
        break;
    if (!next || t->n >= THROTTLE_TRIES)
        return;
    tries_call(next);
    timer_start(next->timer, 0);
}

void throttle_end(struct session *s)
{
    struct tries *t = s->tries;
    if (!t)
        return;
    bool is_last = !TAILQ_NEXT(s, of_tries) && TAILQ_FIRST(&t->all) == s;
    tries_leave(s);
    if (!is_last)
        tries_call_next(t);
}

void throttle_failed(struct session *s)
{
    char *name;
    struct penalty_who w = throttle_who(s, &name);
    penalty_failed(s->account->branch->penalty, &w, secret_credential(s->secret).secret);
    free(name);
    throttle_end(s);
}

void throttle_passed(struct session *s)
{
    char *name;
    struct penalty_who w = throttle_who(s, &name);
    penalty_passed(s->account->branch->penalty, &w);
    free(name);
    throttle_end(s);
}
