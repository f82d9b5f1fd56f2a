#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/cidr.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/xalloc.h"

#include "lmtp_priv.h"

static const struct stream_limits session_limits = {.high_water = LMTP_HIGH_WATER,
                                                    .queue_max = LMTP_QUEUE_MAX};

/* ---- words */

void lmtp_session_say(struct lmtp_session *s, const char *fmt, ...)
{
    struct buf line = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&line, fmt, ap);
    va_end(ap);
    buf_add_str(&line, "\r\n");
    lmtp_session_send(s, &line);
    buf_free(&line);
}

void lmtp_session_send(struct lmtp_session *s, const struct buf *lines)
{
    if (s->client)
        stream_send(s->client, buf_span(lines).p, lines->len);
}

/* ---- states */

static uint64_t session_patience(const struct lmtp_session *s)
{
    const struct conf_lmtp *c = &s->lmtp->conf->lmtp;

    return s->state == LMTP_COMMAND ? c->command_timeout_ms : s->state == LMTP_BODY ? c->data_timeout_ms : 0;
}

void lmtp_session_enter(struct lmtp_session *s, enum lmtp_state state)
{
    if (s->state == LMTP_ENDED)
        return;
    s->state = state;
    timer_stop(s->timer);
    stream_deadline(s->client, session_patience(s));
}

static void session_free(struct loop_task *task)
{
    struct lmtp_session *s = CONTAINER_OF(task, struct lmtp_session, task);
    struct lmtp *l = s->lmtp;

    lmtp_mail_free(s);
    timer_free(&s->timer);
    free(s->legs);
    free(s);
    lmtp_session_ended(l);
}

/* Whoever can connect can have as many as they like. */
static void session_log_end(struct lmtp_session *s, const char *why)
{
    uint64_t others;

    if (lmtp_may_log(&s->lmtp->ended, clock_boot_ms(), &others))
        LOG(INFO, "lmtp_end", LOG_S("session", s->name), LOG_S("why", why),
            LOG_S("peer", s->client ? stream_peer(s->client) : NULL), LOG_U("recipients", s->n_rcpts),
            LOG_U(others ? "others" : NULL, others));
}

void lmtp_session_end(struct lmtp_session *s, const char *why, const char *say)
{
    if (s->state == LMTP_ENDED)
        return;
    if (say)
        lmtp_session_say(s, "%s", say);
    if (strcmp(why, "quit") != 0)
        session_log_end(s, why);
    lmtp_mail_reset(s);
    s->state = LMTP_ENDED;
    timer_stop(s->timer);
    stream_close(&s->client, true);
    LIST_REMOVE(s, link);
    loop_defer(s->lmtp->loop, &s->task);
}

/* ---- commands */

static void session_lhlo(struct lmtp_session *s)
{
    struct buf lines = {0};

    lmtp_mail_reset(s);
    s->greeted = true;
    s->offered = lmtp_common_caps(s->lmtp);
    lmtp_caps_write(&lines, s->lmtp->name, &s->offered);
    lmtp_session_send(s, &lines);
    buf_free(&lines);
}

void lmtp_session_probed(struct lmtp_session *s)
{
    lmtp_session_enter(s, LMTP_COMMAND);
    session_lhlo(s);
    lmtp_session_go_on(s);
}

/* Says what is wrong; false: nothing is. */
static bool session_refuses(struct lmtp_session *s, const struct lmtp_command *c)
{
    static const char *const texts[] = {
        [LMTP_BAD_ARGUMENTS] = "501 5.5.4 Syntax error in arguments",
        [LMTP_BAD_PATH] = "501 5.1.3 Not a path of 256 bytes at most",
        [LMTP_BAD_PARAMETER] = "555 5.5.4 Parameter not offered, or with a wrong value",
    };

    if (c->fault == LMTP_GOOD)
        return false;
    s->bad++;
    lmtp_session_say(s, "%s", texts[c->fault]);
    return true;
}

static bool session_is_early(struct lmtp_session *s)
{
    if (s->greeted)
        return false;
    s->bad++;
    lmtp_session_say(s, "503 5.5.1 Say LHLO first");
    return true;
}

static bool session_has_8bit(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] & 0x80)
            return true;
    return false;
}

static void session_mail(struct lmtp_session *s, const struct lmtp_command *c)
{
    if (session_is_early(s) || session_refuses(s, c))
        return;
    if (s->mail)
        lmtp_session_say(s, "503 5.5.1 There is a sender already");
    else if (session_has_8bit(c->path) && !(c->needs & LMTP_SMTPUTF8))
        lmtp_session_say(s, "553 5.6.7 Such a sender needs SMTPUTF8");
    else if (s->lmtp->draining)
        lmtp_session_end(s, "shutdown", "421 4.3.2 This server is being stopped");
    else
        lmtp_mail_from(s, c);
}

static void session_rcpt(struct lmtp_session *s, const struct lmtp_command *c)
{
    if (session_is_early(s) || session_refuses(s, c))
        return;
    if (!s->mail)
        lmtp_session_say(s, "503 5.5.1 Say MAIL first");
    else if (session_has_8bit(c->path) && !(s->needs & LMTP_SMTPUTF8))
        lmtp_session_say(s, "553 5.6.7 Such a recipient needs SMTPUTF8");
    else if (s->n_rcpts >= s->lmtp->conf->lmtp.max_recipients)
        lmtp_session_say(s, "452 4.5.3 Too many recipients");
    else
        lmtp_mail_rcpt(s, c);
}

static void session_data(struct lmtp_session *s)
{
    if (!s->mail)
        lmtp_session_say(s, "503 5.5.1 Say MAIL first");
    else if (s->n_rcpts == 0)
        lmtp_session_say(s, "503 5.5.1 No valid recipients");
    else
        lmtp_mail_data(s);
}

static void session_reset(struct lmtp_session *s)
{
    lmtp_mail_reset(s);
    lmtp_session_say(s, "250 2.0.0 OK");
    if (s->lmtp->draining)
        lmtp_session_end(s, "shutdown", "421 4.3.2 This server is being stopped");
}

/* What follows a DATA that is refused is a message, to who did not wait for the answer: no command. */
static void session_begin_data(struct lmtp_session *s, const struct lmtp_command *c)
{
    if (!session_is_early(s) && !session_refuses(s, c))
        session_data(s);
    if (s->state == LMTP_COMMAND && stream_peek(s->client).len > 0)
        lmtp_session_end(s, "data_refused", "421 4.5.0 Something followed DATA that was refused");
}

static void session_do(struct lmtp_session *s, struct span line)
{
    struct lmtp_command c = lmtp_command_read(line, s->offered.has);

    switch (c.verb) {
    case LMTP_LHLO:
        if (session_refuses(s, &c))
            break;
        if (lmtp_probe(s->lmtp))
            session_lhlo(s);
        else
            lmtp_session_enter(s, LMTP_PROBE);
        break;
    case LMTP_MAIL:
        session_mail(s, &c);
        break;
    case LMTP_RCPT:
        session_rcpt(s, &c);
        break;
    case LMTP_DATA:
        session_begin_data(s, &c);
        break;
    case LMTP_RSET:
        if (!session_refuses(s, &c))
            session_reset(s);
        break;
    case LMTP_NOOP:
        lmtp_session_say(s, "250 2.0.0 OK");
        break;
    case LMTP_VRFY:
        lmtp_session_say(s, "252 2.5.0 RCPT will tell");
        break;
    case LMTP_QUIT:
        if (!session_refuses(s, &c))
            lmtp_session_end(s, "quit", "221 2.0.0 Bye");
        break;
    case LMTP_HELO:
        s->bad++;
        lmtp_session_say(s, "500 5.5.1 This is LMTP: say LHLO");
        break;
    case LMTP_UNKNOWN:
        s->bad++;
        lmtp_session_say(s, "500 5.5.2 No such command");
        break;
    }
}

/* ---- reading */

/* Up to and with the end of a line that is too long. */
static void session_skip(struct lmtp_session *s)
{
    struct span in = stream_peek(s->client);
    const uint8_t *end = memmem(in.p, in.len, "\r\n", 2);

    if (end)
        stream_eat(s->client, (size_t)(end - in.p) + 2);
    else
        stream_eat(s->client, in.p[in.len - 1] == '\r' ? in.len - 1 : in.len);
    s->skipping = !end;
}

static void session_bad_line(struct lmtp_session *s, size_t len, bool ended)
{
    s->bad++;
    s->skipping = !ended;
    if (ended)
        stream_eat(s->client, len);
    lmtp_session_say(s,
                     len > LMTP_LINE || !ended ? "500 5.5.2 Line too long" : "500 5.5.2 Control in a line");
}

/* False: the end of a line is missing. */
static bool session_take_line(struct lmtp_session *s)
{
    struct span in = stream_peek(s->client);
    size_t len = 0;
    bool ended = false;

    if (s->skipping) {
        session_skip(s);
        return !s->skipping;
    }
    switch (lmtp_line(in, &len, &ended)) {
    case LMTP_LINE_MORE:
        return false;
    case LMTP_LINE_BAD:
        session_bad_line(s, len, ended);
        break;
    case LMTP_LINE_DONE:
        stream_eat(s->client, len); /* the bytes stay where they are */
        session_do(s, span_of(in.p, len - 2));
        break;
    }
    if (s->bad > LMTP_BAD_COMMANDS)
        lmtp_session_end(s, "bad_commands", "421 4.7.0 Too many errors");
    return true;
}

static void session_read(struct lmtp_session *s)
{
    bool goes_on = true;

    stream_cork(s->client);
    while (goes_on && s->state == LMTP_COMMAND && stream_peek(s->client).len > 0)
        goes_on = session_take_line(s);
    if (s->state == LMTP_BODY)
        lmtp_mail_body(s);
    if (s->client)
        stream_uncork(s->client);
    if (s->eof && (s->state == LMTP_COMMAND || s->state == LMTP_BODY))
        lmtp_session_end(s, "client_gone", NULL);
}

void lmtp_session_go_on(struct lmtp_session *s)
{
    if (s->state == LMTP_ENDED)
        return;
    if (s->state == LMTP_COMMAND && s->lmtp->draining && !s->mail)
        lmtp_session_end(s, "shutdown", "421 4.3.2 This server is being stopped");
    else if (s->eof && stream_peek(s->client).len == 0 && (s->state == LMTP_COMMAND || s->state == LMTP_BODY))
        lmtp_session_end(s, "client_gone", NULL);
    else
        stream_again(s->client);
}

static void session_on_stream(struct stream *stream, enum stream_event ev, void *owner)
{
    struct lmtp_session *s = owner;

    switch (ev) {
    case STREAM_DATA:
        if (s->state == LMTP_COMMAND || s->state == LMTP_BODY) {
            stream_deadline(stream, session_patience(s));
            session_read(s);
        }
        break;
    case STREAM_EOF:
        s->eof = true;
        if (s->state == LMTP_COMMAND || s->state == LMTP_BODY)
            lmtp_session_end(s, "client_gone", NULL);
        break;
    case STREAM_TIMEOUT:
        lmtp_session_end(s, "timeout", "421 4.4.2 Nothing came for too long");
        break;
    case STREAM_ERROR:
        lmtp_session_end(s, "client_broken", NULL);
        break;
    case STREAM_CONNECTED:
    case STREAM_SECURE:
    case STREAM_DRAINED:
        break;
    }
}

static void session_on_timer(void *owner)
{
    struct lmtp_session *s = owner;

    if (s->state == LMTP_IN_RCPT)
        lmtp_mail_look_again(s);
}

/* ---- life */

static bool session_is_local(const struct stream *client)
{
    static char *const loopback[] = {(char *)"127.0.0.0/8", (char *)"::1"};
    const char *ip = stream_peer_ip(client);
    char own[INET6_ADDRSTRLEN];
    uint16_t port;

    return !*ip || cidr_any(loopback, COUNTOF(loopback), ip) ||
           (stream_local(client, own, &port) && strcmp(own, ip) == 0);
}

/* NULL: it may come in. */
static const char *session_unwelcome(const struct lmtp_session *s)
{
    const struct conf_lmtp *c = &s->lmtp->conf->lmtp;

    if (!session_is_local(s->client) && !cidr_any(c->trusted.items, c->trusted.n, stream_peer_ip(s->client)))
        return "not_trusted";
    if (s->lmtp->draining)
        return "shutdown";
    return s->lmtp->n_sessions > c->max_connections ? "max_connections" : NULL;
}

void lmtp_session_begin(struct lmtp *l, uv_stream_t *listener)
{
    struct lmtp_session *s = xcalloc(1, sizeof *s);

    s->lmtp = l;
    s->client = stream_accept(l->loop, listener, &session_limits, session_on_stream, s);
    if (!s->client) {
        free(s);
        return;
    }
    stream_without_secrets(s->client);
    snprintf(s->name, sizeof s->name, "lmtp.%u/%llu", l->thread, (unsigned long long)++l->last_session);
    s->task.fn = session_free;
    s->timer = timer_new(l->loop, session_on_timer, s);
    lmtp_mail_init(s);
    LIST_INSERT_HEAD(&l->sessions, s, link);
    l->n_sessions++;
    metric_add(METRIC_LMTP_CONNECTIONS, 1, NULL, NULL);
    const char *unwelcome = session_unwelcome(s);
    if (unwelcome) {
        lmtp_session_end(s, unwelcome, "421 4.7.0 Not now, or not from there");
        return;
    }
    lmtp_session_say(s, "220 %s LMTP", l->name);
    lmtp_session_enter(s, LMTP_COMMAND);
}
