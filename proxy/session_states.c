#include "lib/log.h"

#include "handover.h"
#include "peer.h"
#include "protocol.h"
#include "proxy.h"
#include "rest.h"
#include "routing.h"
#include "session_states.h"
#include "throttle.h"

/* ---- before the login ---- */

static uint64_t tls_timeout_ms(const struct session *s)
{
    return s->proxy->conf->proxy.tls_timeout_ms;
}

static void end_by_tls_timeout(struct session *s)
{
    session_close(s, END_TLS_TIMEOUT, NULL);
}

/* login_timeout is for the whole phase, not for each command in it. */
static uint64_t rest_of_login_timeout_ms(const struct session *s)
{
    uint64_t limit = s->proxy->conf->proxy.login_timeout_ms, age = clock_boot_ms() - s->opened_ms;
    return age < limit ? limit - age : 1;
}

static void end_by_login_timeout(struct session *s)
{
    session_close(s, END_LOGIN_TIMEOUT, NULL);
}

/* A client that pipelines everything may have closed its side before it was let in. */
static void client_eof(struct session *s)
{
    s->client_eof = true;
    if (s->login && stream_peek(s->client).len > 0)
        return;
    session_close(s, END_CLIENT_GONE, NULL);
}

/* What a client's stream says in any state but RELAY. */
static void client_event(struct session *s, enum stream_event ev)
{
    if (ev == STREAM_ERROR)
        session_close(s, END_CLIENT_BROKEN, stream_error(s->client));
    else if (ev == STREAM_EOF)
        client_eof(s);
    else if (ev == STREAM_DRAINED && !session_is_live(s))
        s->protocol->drained(s);
}

static void end_without_header(struct session *s)
{
    session_close(s, END_PROXY_HEADER, "no whole PROXY header in time");
}

static void header_data(struct session *s)
{
    const char *why;
    enum proxyproto_rc rc = peer_read_header(s, &why);
    if (rc == PROXYPROTO_BAD)
        session_close(s, END_PROXY_HEADER, why);
    if (rc != PROXYPROTO_DONE)
        return;
    crowd_leave(&s->proxy->crowd, s);
    session_meet(s);
    if (s->state == IN_PREAUTH)
        stream_again(s->client); /* what came with the header */
}

static void client_header(struct session *s, enum stream_event ev)
{
    if (ev == STREAM_DATA)
        header_data(s);
    else if (ev == STREAM_EOF && stream_peek(s->client).len > 0)
        session_close(s, END_PROXY_HEADER, "a PROXY header that was cut off");
    else
        client_event(s, ev);
}

static void client_new(struct session *s, enum stream_event ev)
{
    if (ev == STREAM_SECURE)
        session_secured(s);
    if (ev == STREAM_SECURE)
        s->protocol->greet(s);
    else if (ev == STREAM_ERROR)
        session_close(s, END_TLS_FAILED, stream_error(s->client));
    else
        client_event(s, ev);
}

static void client_securing(struct session *s, enum stream_event ev)
{
    if (ev == STREAM_SECURE)
        session_secured(s);
    if (ev == STREAM_SECURE)
        s->protocol->secured(s);
    else if (ev == STREAM_ERROR)
        session_close(s, END_TLS_FAILED, stream_error(s->client));
    else
        client_event(s, ev);
}

static void client_preauth(struct session *s, enum stream_event ev)
{
    if (ev == STREAM_DATA)
        s->protocol->data(s);
    else
        client_event(s, ev);
}

/* ---- a login ---- */

static uint64_t store_timeout_ms(const struct session *s)
{
    return s->proxy->conf->proxy.store_timeout_ms;
}

/* backend_login has deadlines of its own; this one is for a bug in it. */
static uint64_t signin_ms(const struct session *s)
{
    const struct conf_proxy *c = &s->proxy->conf->proxy;
    return 2 * (c->connect_timeout_ms + 10 * c->backend_timeout_ms);
}

static void late_routing(struct session *s)
{
    routing_unavailable(s, "routing", "the store does not answer");
}

static void late_signin(struct session *s)
{
    routing_unavailable(s, "signing in", "timeout");
}

static void late_entering(struct session *s)
{
    routing_unavailable(s, "entering", "the store does not answer");
}

static void backend_of_login(struct session *s, enum stream_event ev)
{
    if (ev == STREAM_EOF || ev == STREAM_ERROR)
        routing_backend_gone(s);
}

/* ---- after the login ---- */

static uint64_t idle_timeout_ms(const struct session *s)
{
    return s->proxy->conf->proxy.idle_timeout_ms;
}

static void client_relay(struct session *s, enum stream_event ev)
{
    if (ev != STREAM_ERROR)
        s->protocol->client_event(s, ev);
    else if (!session_has_to_finish(s))
        session_close(s, END_CLIENT_BROKEN, stream_error(s->client));
}

static void backend_relay(struct session *s, enum stream_event ev)
{
    s->protocol->backend_event(s, ev);
}

static void quiet_relay(struct session *s)
{
    s->protocol->timeout(s);
}

static void late_frozen(struct session *s)
{
    session_close(s, END_FREEZE, "no word of the store after the freeze");
}

static uint64_t handover_ms(const struct session *s)
{
    const struct conf_proxy *c = &s->proxy->conf->proxy;
    return c->connect_timeout_ms + 3 * c->backend_timeout_ms;
}

static void late_handover(struct session *s)
{
    handover_failed(s, "timeout", NULL);
}

/* ---- the table ---- */

/* clang-format off */
static const struct session_state_row rows[IN_COUNT] = {
    /*                name        deadline                  on_deadline           on_client        on_backend */
    [IN_HEADER]   = {"header",   tls_timeout_ms,           end_without_header,   client_header,   NULL},
    [IN_NEW]      = {"new",      tls_timeout_ms,           end_by_tls_timeout,   client_new,      NULL},
    [IN_PREAUTH]  = {"preauth",  rest_of_login_timeout_ms, end_by_login_timeout, client_preauth,  NULL},
    [IN_SECURING] = {"securing", tls_timeout_ms,           end_by_tls_timeout,   client_securing, NULL},
    [IN_THROTTLED]= {"throttled", NULL,                    throttle_wake,        client_event,    NULL},
    [IN_ROUTING]  = {"routing",  store_timeout_ms,         late_routing,         client_event,    backend_of_login},
    [IN_WAITING]  = {"waiting",  NULL,                     routing_wake,         client_event,    backend_of_login},
    [IN_SIGNIN]   = {"signin",   signin_ms,                late_signin,          client_event,    backend_of_login},
    [IN_ENTERING] = {"entering", store_timeout_ms,         late_entering,        client_event,    backend_of_login},
    [IN_REFUSED]  = {"refused",  NULL,                     routing_say_refused,  client_event,    backend_of_login},
    [IN_RELAY]    = {"relay",    idle_timeout_ms,          quiet_relay,          client_relay,    backend_relay},
    [IN_FROZEN]   = {"frozen",   rest_wait_ms,             late_frozen,          client_event,    rest_backend_event},
    [IN_HANDOVER] = {"handover", handover_ms,              late_handover,        client_event,    NULL},
    [IN_CLOSING]  = {"closing",  NULL,                     NULL,                 NULL,            NULL},
};
/* clang-format on */

const struct session_state_row *session_state_row(const struct session *s)
{
    return &rows[s->state];
}

const char *session_state_name(enum session_state state)
{
    return rows[state].name;
}

/* By this thread alone. */
void session_count(struct proxy *p, enum session_state state, int n)
{
    unsigned was = atomic_load_explicit(&p->n_in[state], memory_order_relaxed);
    atomic_store_explicit(&p->n_in[state], was + (unsigned)n, memory_order_relaxed);
}

void session_enter(struct session *s, enum session_state state)
{
    const struct session_state_row *to = &rows[state];
    LOG(DEBUG, "session_state", LOG_S("session", s->name), LOG_S("from", rows[s->state].name),
        LOG_S("to", to->name));
    LIST_REMOVE(s, place);
    session_count(s->proxy, s->state, -1);
    session_count(s->proxy, state, 1);
    s->state = state;
    LIST_INSERT_HEAD(&s->proxy->places[state], s, place);
    uint64_t ms = to->deadline_ms ? to->deadline_ms(s) : 0;
    if (ms > 0)
        timer_start(s->timer, ms);
    else if (s->timer)
        timer_stop(s->timer);
}
