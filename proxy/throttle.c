#include <stdlib.h>

#include "lib/account.h"
#include "lib/log.h"

#include "peer.h"
#include "penalty.h"
#include "proxy.h"
#include "routing.h"
#include "throttle.h"
#include "vault.h"

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

static uint64_t throttle_ahead_ms(const struct session *s)
{
    const struct conf_proxy *c = &s->proxy->conf->proxy;
    uint64_t age = clock_boot_ms() - s->opened_ms, most = 2 * c->login_delay_max_ms,
             left = age < c->login_timeout_ms ? c->login_timeout_ms - age : 0;
    return left < most ? left : most;
}

/* ---- turns ---- */

static void throttle_try(struct session *s)
{
    s->throttle = THROTTLE_TRYING;
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
        throttle_try(s);
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
    uint64_t ms = penalty_told(s->proxy->penalty, &w, throttle_ahead_ms(s), rc, told);
    free(name);
    throttle_wait(s, ms);
}

/* Redis does not answer. */
static void throttle_turn_here(struct session *s)
{
    char *name;
    struct penalty_who w = throttle_who(s, &name);
    uint64_t ms = penalty_turn_here(s->proxy->penalty, &w, throttle_ahead_ms(s));
    free(name);
    store_forget(s->proxy->store, s);
    throttle_wait(s, ms);
}

static void throttle_ask(struct session *s, const struct penalty_who *w)
{
    s->throttle = THROTTLE_ASKING;
    session_enter(s, IN_THROTTLED);
    timer_start(s->timer, s->proxy->conf->proxy.store_timeout_ms);
    penalty_turn(s->proxy->penalty, w, throttle_ahead_ms(s), throttle_on_turn, s);
}

/* Its own number among those who are tried, as far as that matters. */
static bool throttle_has_room(const struct session *s)
{
    const struct session *t;
    unsigned n = 0;
    TAILQ_FOREACH(t, &s->account->tries, of_tries)
    if (t->network == s->network && t->throttle != THROTTLE_QUEUED && ++n >= THROTTLE_TRIES)
        return false;
    return true;
}

static void throttle_step(struct session *s)
{
    char *name;
    struct penalty_who w = throttle_who(s, &name);
    if (penalty_knows(s->proxy->penalty, &w))
        throttle_ask(s, &w);
    else
        throttle_try(s);
    free(name);
}

void throttle_begin(struct session *s)
{
    bool room = throttle_has_room(s);
    s->throttle = THROTTLE_QUEUED;
    TAILQ_INSERT_TAIL(&s->account->tries, s, of_tries);
    if (room) {
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
        throttle_try(s);
        break;
    default: /* it has stood in the queue for too long */
        throttle_end(s);
        routing_limit(s, "throttled", "too many logins of the account at once",
                      "Too many logins at once, please try again later");
    }
}

/* ---- the end of a try ---- */

void throttle_end(struct session *s)
{
    struct session *next;
    if (s->throttle == THROTTLE_NONE)
        return;
    bool had_room = s->throttle != THROTTLE_QUEUED;
    s->throttle = THROTTLE_NONE;
    TAILQ_REMOVE(&s->account->tries, s, of_tries);
    if (!had_room)
        return;
    TAILQ_FOREACH(next, &s->account->tries, of_tries)
    if (next->network == s->network && next->throttle == THROTTLE_QUEUED)
        break;
    if (!next)
        return;
    next->throttle = THROTTLE_CALLED;
    timer_start(next->timer, 0);
}

void throttle_failed(struct session *s)
{
    char *name;
    struct penalty_who w = throttle_who(s, &name);
    penalty_failed(s->proxy->penalty, &w, secret_credential(s->secret).secret);
    free(name);
    throttle_end(s);
}

void throttle_passed(struct session *s)
{
    char *name;
    struct penalty_who w = throttle_who(s, &name);
    penalty_passed(s->proxy->penalty, &w);
    free(name);
    throttle_end(s);
}
