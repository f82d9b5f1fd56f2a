#include <stdlib.h>

#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/route.h"
#include "lib/xalloc.h"

#include "handover.h"
#include "peer.h"
#include "prepare.h"
#include "protocol.h"
#include "proxy.h"
#include "rest.h"
#include "routing.h"
#include "session_states.h"
#include "share.h"
#include "silence.h"
#include "vault.h"

static const struct end_row {
    const char *word;
    bool is_error;
    const char *bye; /* "" = nothing */
} ends[END_COUNT] = {
    [END_NONE] = {"none", true, ""},
    [END_LOGOUT] = {"logout", false, ""},
    [END_CLIENT_GONE] = {"client_gone", false, ""},
    [END_CLIENT_BROKEN] = {"client_broken", false, ""},
    [END_PROXY_HEADER] = {"proxy_header", true, ""},
    [END_TLS_FAILED] = {"tls_failed", true, ""},
    [END_TLS_TIMEOUT] = {"tls_timeout", true, ""},
    [END_STARTTLS_PLAINTEXT] = {"starttls_plaintext", true, "plaintext after STARTTLS"},
    [END_LOGIN_TIMEOUT] = {"login_timeout", false, "Login took too long"},
    [END_LOGIN_TRIES] = {"login_tries", true, "Too many failed logins"},
    [END_CROWD] = {"crowd", true, "[UNAVAILABLE] Too many connections, please try again later"},
    [END_BAD_COMMANDS] = {"bad_commands", true, "Too many invalid commands"},
    [END_MANY_COMMANDS] = {"many_commands", true, "Too many commands before login"},
    [END_BAD_LINE] = {"bad_line", true, "[CLIENTBUG] This line can't be read"},
    [END_BAD_PART] = {"bad_part", true, "[CLIENTBUG] A command that was half sent can't be taken back"},
    [END_BEHIND_COMPRESS] = {"behind_compress", true,
                             "[CLIENTBUG] Nothing may be sent behind COMPRESS before its answer"},
    [END_IDLE] = {"idle_timeout", false, "Autologout; idle for too long"},
    [END_BACKEND_BYE] = {"backend_bye", false, ""},
    [END_BACKEND_GONE] = {"backend_gone", true, "[UNAVAILABLE] The mail server closed the connection"},
    [END_BACKEND_BROKEN] = {"backend_broken", true, "[UNAVAILABLE] The connection to the mail server broke"},
    [END_BACKEND_PROTOCOL] = {"backend_protocol", true, "[UNAVAILABLE] The mail server can't be understood"},
    [END_VIEW] = {"view", true, "[UNAVAILABLE] The mail server can't be understood"},
    [END_VIEW_STORE] = {"view_store", true, "[UNAVAILABLE] Please connect again"},
    [END_NOT_BACK] = {"not_back", true, "[UNAVAILABLE] The mail server closed the connection"},
    [END_FREEZE] = {"freeze", false, "[UNAVAILABLE] Your mailboxes are being moved, please connect again"},
    [END_MOVED] = {"moved", false, "[UNAVAILABLE] Your mailboxes were moved, please connect again"},
    [END_LEASE_LOST] = {"lease_lost", true, "[UNAVAILABLE] Please connect again"},
    [END_KICKED] = {"kicked", false, "[UNAVAILABLE] Your session was ended by the administrator"},
    [END_SHUTDOWN] = {"shutdown", false,
                      "[UNAVAILABLE] This server is being restarted, please connect again"},
};

/* ---- what a session is told ---- */

void session_say(struct session *s, const char *fmt, ...)
{
    struct buf line = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&line, fmt, ap);
    va_end(ap);
    buf_add_str(&line, "\r\n");
    stream_send(s->client, line.mem + line.off, line.len);
    buf_free(&line);
}

bool session_may_login(const struct session *s)
{
    switch (s->scheme) {
    case ADDRESS_IMAP_STARTTLS:
    case ADDRESS_POP3_STARTTLS:
        return stream_is_secure(s->client);
    case ADDRESS_IMAP:
    case ADDRESS_POP3:
        return s->proxy->conf->proxy.allow_plaintext || s->is_local;
    default:
        return true;
    }
}

struct tls_policy *session_tls(const struct session *s)
{
    return s->asks ? s->proxy->asking_tls : s->proxy->server_tls;
}

void session_secured(const struct session *s)
{
    struct tls_peer peer;
    if (!s->asks || !stream_peer_certificate(s->client, &peer))
        return;
    LOG(INFO, "client_certificate", LOG_S("session", s->name), LOG_S("peer", s->peer),
        LOG_S("subject", peer.subject), LOG_S("email", peer.n_emails > 0 ? peer.emails[0] : NULL));
    tls_peer_free(&peer);
}

/* ---- what happens is for the state that it is in ---- */

static void session_deadline(void *owner)
{
    struct session *s = owner;
    const struct session_state_row *row = session_state_row(s);
    if (row->on_deadline)
        row->on_deadline(s);
}

static void session_client_event(struct stream *stream, enum stream_event ev, void *owner)
{
    struct session *s = owner;
    const struct session_state_row *row = session_state_row(s);
    (void)stream;
    if (row->on_client)
        row->on_client(s, ev);
}

static void session_backend_event(struct stream *stream, enum stream_event ev, void *owner)
{
    struct session *s = owner;
    const struct session_state_row *row = session_state_row(s);
    (void)stream;
    if (row->on_backend)
        row->on_backend(s, ev);
}

void session_take_backend(struct session *s, struct stream *stream, const struct conf_backend *at)
{
    s->backend = stream;
    s->at = at;
    stream_set_owner(stream, session_backend_event, s);
    silence_update(s);
}

/* ---- life ---- */

static void session_free(struct loop_task *task)
{
    struct session *s = CONTAINER_OF(task, struct session, task);
    struct proxy *p = s->proxy;
    LIST_REMOVE(s, place);
    session_count(p, s->state, -1);
    free(s->name);
    free(s->peer);
    free(s->peer_ip);
    free(s->came_to);
    buf_free(&s->client_id);
    free(s);
    p->n_sessions--;
    proxy_session_ended(p);
}

void session_rename(struct session *s)
{
    char *was = s->name;
    s->name = xasprintf("%s/%llu", lease_incarnation(s->proxy->branches[0].lease),
                        (unsigned long long)++s->proxy->last_session);
    if (was)
        LOG(INFO, "session_renamed", LOG_S("session", was), LOG_S("to", s->name));
    free(was);
}

static struct session *session_new(const struct listener *l)
{
    struct session *s = xcalloc(1, sizeof *s);
    struct proxy *p = l->proxy;
    s->proxy = p;
    s->scheme = l->scheme;
    s->protocol = scheme_is_pop3(l->scheme) ? &protocol_pop3 : &protocol_imap;
    s->asks = l->asks;
    s->via = "";
    s->task.fn = session_free;
    registration_init(&s->reg);
    s->opened_ms = clock_boot_ms();
    s->hops = LIMIT_HOPS;
    session_rename(s);
    s->timer = timer_new(p->loop, session_deadline, s);
    s->state = IN_NEW;
    LIST_INSERT_HEAD(&p->places[IN_NEW], s, place);
    session_count(p, IN_NEW, 1);
    p->n_sessions++;
    return s;
}

/* No stream was there to be accepted. */
static void session_unmake(struct session *s)
{
    timer_free(&s->timer);
    session_free(&s->task);
}

void session_meet(struct session *s)
{
    struct proxy *p = s->proxy;
    bool tls = scheme_begins_with_tls(s->scheme), in_crowd = crowd_enter(&p->crowd, s);
    session_enter(s, tls || in_crowd ? IN_NEW : IN_PREAUTH);
    if (!in_crowd)
        session_close(s, END_CROWD, NULL);
    else if (tls)
        stream_secure_behind(s->client, session_tls(s));
    else
        s->protocol->greet(s);
}

/* Until the header tells more, it counts as one of whoever sends headers. */
static void session_await_header(struct session *s)
{
    session_enter(s, IN_HEADER);
    if (!s->is_trusted)
        session_close(s, END_PROXY_HEADER, "a connection from outside of the networks in trusted");
    else if (!crowd_enter(&s->proxy->crowd, s))
        session_close(s, END_CROWD, NULL);
}

void session_accept(struct listener *l)
{
    struct session *s = session_new(l);
    struct proxy *p = s->proxy;
    struct stream_limits limits = limits_of_stranger;
    limits.flush_ms = p->conf->proxy.close_timeout_ms;
    s->client = stream_accept(p->loop, &l->uv.stream, &limits, session_client_event, s);
    if (!s->client) {
        session_unmake(s);
        return;
    }
    metric_add(METRIC_CONNECTIONS, 1, NULL, NULL);
    peer_of_connection(s);
    if (l->proxy_protocol)
        session_await_header(s);
    else
        session_meet(s);
}

/* Who only knocks is of no interest, and those who do worse may be very many. */
static bool end_matters(const struct session *s, enum session_end end)
{
    if (s->account && !s->network)
        return true; /* it was signed in */
    return (s->account || ends[end].is_error) && end != END_CROWD &&
           noise_may_log(s->proxy->noise, NOISE_ENDS, s->peer_ip);
}

static void log_end(const struct session *s, enum session_end end, const char *detail)
{
    enum log_level level = end_matters(s, end) ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
    struct log_field fields[] = {
        {.key = NULL},
        LOG_S("why", ends[end].word),
        LOG_S("session", s->name),
        LOG_S("user", s->account ? s->account->key : NULL),
        LOG_S("peer", s->peer),
        LOG_S("state", session_state_row(s)->name),
        LOG_S("backend", s->at ? s->at->name : NULL),
        LOG_U("in", s->bytes_in),
        LOG_U("out", s->bytes_out),
        LOG_U("ms", clock_boot_ms() - s->opened_ms),
        LOG_S("detail", detail),
        LOG_SET("via", s->via),
    };
    log_event(level, "session_end", fields, COUNTOF(fields));
}

/* May the client's socket stay for a while, so that it surely gets the last words? Where all has to end at
 * once, a client that does not read can't hold it up, and where sockets are short, their places are wanted
 * now: the kernel has the words already, and they arrive if the client was silent. */
static bool may_linger(const struct session *s, enum session_end end)
{
    const struct proxy *p = s->proxy;
    if (end == END_CROWD || end == END_PROXY_HEADER ||
        (s->network && p->loop->n_closing >= p->sockets_max / 16))
        return false;
    return !p->at_once || stream_unsent(s->client) == 0;
}

/* Everything but the memory. */
static void session_release(struct session *s, enum session_end end)
{
    struct proxy *p = s->proxy;
    timer_free(&s->timer);
    s->protocol->forget(s);
    prepare_drop(s);
    handover_drop(s);
    rest_over(s, "ended");
    s->protocol->end(s);
    vault_drop(p->vault, &s->secret);
    if (s->account) {
        store_forget(s->account->branch->store, s);
        doubts_forget(s->account->branch->doubts, s);
        registration_drop(s);
    }
    silence_close(s);
    accounts_detach(s);
    bool linger = may_linger(s, end);
    crowd_leave(&p->crowd, s);
    share_give(s);
    stream_close(&s->client, linger);
}

void session_close(struct session *s, enum session_end end, const char *detail)
{
    if (s->state == IN_CLOSING)
        return;
    const char *bye = ends[end].bye;
    bool may_talk = s->state != IN_HEADER && s->state != IN_NEW && s->state != IN_SECURING &&
                    (!session_is_live(s) || s->protocol->at_boundary(s));
    log_end(s, end, detail);
    s->protocol->flush(s);
    if (s->login)
        routing_cancel(s, may_talk && *bye);
    if (may_talk && *bye)
        s->protocol->say_bye(s, end, bye);
    tally_add(s->proxy->tally, TALLY_ENDS, ends[end].word);
    metric_add(METRIC_SESSION_ENDS, 1, ends[end].word, NULL);
    session_release(s, end);
    session_enter(s, IN_CLOSING);
    loop_defer(s->proxy->loop, &s->task);
}

/* ---- after the login ---- */

bool session_is_live(const struct session *s)
{
    return s->state == IN_RELAY || s->state == IN_FROZEN || s->state == IN_HANDOVER;
}

void session_go_on(struct session *s)
{
    silence_update(s);
    if (s->state == IN_RELAY)
        s->protocol->settle(s);
    else if (s->state == IN_HANDOVER)
        handover_step(s);
}

void session_flow(struct session *s)
{
    s->protocol->flow(s);
}

void session_rest(struct session *s, enum session_end end)
{
    s->protocol->rest(s, end);
}

bool session_has_to_finish(const struct session *s)
{
    return s->state == IN_RELAY && s->protocol->has_to_finish && s->protocol->has_to_finish(s);
}
