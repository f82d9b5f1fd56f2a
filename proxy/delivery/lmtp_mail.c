#include <stdlib.h>

#include "lib/fault.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/xalloc.h"

#include "lmtp_priv.h"

static void mail_leg_begin(struct lmtp_session *s);
static void mail_data_settle(struct lmtp_session *s);
static void mail_flush(struct lmtp_session *s);
static void mail_flow(struct lmtp_session *s);

/* ---- answers */

/* As a client may have it: a server's 421 ends that server's connection, not ours. */
static unsigned mail_code(const struct lmtp_reply *r)
{
    return lmtp_reply_is(r, 2) ? 250 : lmtp_reply_is(r, 3) || r->code == 421 ? 451 : r->code;
}

static const char *mail_result(unsigned code)
{
    return code / 100 == 2 ? "delivered" : code / 100 == 5 ? "refused" : "deferred";
}

/* One recipient has its last word. */
static void mail_count(const struct lmtp_session *s, const char *key, const struct lmtp_leg *leg,
                       unsigned code, const struct buf *lines)
{
    struct span text = buf_span(lines);

    metric_add(METRIC_LMTP_RECIPIENTS, 1, mail_result(code), NULL);
    if (code / 100 == 2)
        return;
    if (text.len > 2)
        text.len -= 2; /* CRLF */
    LOG(INFO, "lmtp_not_delivered", LOG_S(key ? "user" : NULL, key),
        LOG_S(leg ? "backend" : NULL, leg ? s->lmtp->conf->backends[leg->nth].name : NULL),
        LOG_SPAN("answer", text), LOG_S("session", s->name));
}

static struct lmtp_rcpt *mail_first_open(struct lmtp_session *s, const struct lmtp_leg *leg)
{
    for (size_t i = 0; i < s->n_rcpts; i++)
        if (s->rcpts[i]->leg == leg && s->rcpts[i]->code == 0)
            return s->rcpts[i];
    return NULL;
}

/* All recipients there that have no answer yet get this one. */
static void mail_answer_all(struct lmtp_leg *leg, unsigned code, const char *status, const char *text)
{
    struct lmtp_rcpt *r;

    while ((r = mail_first_open(leg->session, leg))) {
        r->code = code;
        buf_printf(&r->answer, "%u %s %s\r\n", code, status, text);
    }
    leg->taken = 0;
}

/* ---- servers */

/* Without the last dot, there is no message there. */
static void mail_leg_drop(struct lmtp_leg *leg)
{
    lmtp_next_close(&leg->next, false);
    leg->phase = LEG_REST;
    leg->used = false;
    leg->taken = 0;
    leg->moved = NULL;
}

/* Back to where MAIL can be said again. */
static void mail_leg_rest(struct lmtp_leg *leg)
{
    if (leg->phase > LEG_MAIL) {
        mail_leg_drop(leg);
    } else if (leg->phase == LEG_MAIL && leg->next) {
        if (lmtp_next_is_ready(leg->next))
            lmtp_next_ask(leg->next, LMTP_ASKED_RSET, 0, span_str("RSET\r\n"));
        leg->phase = LEG_REST;
        leg->used = true;
    }
    leg->taken = 0;
    leg->moved = NULL;
}

/* ---- RCPT */

static void mail_asking_clear(struct lmtp_asking *a)
{
    recipient_cancel(&a->ask);
    buf_free(&a->path);
    buf_free(&a->params);
    buf_free(&a->address);
    buf_free(&a->refusal);
    free(a->key);
    *a = (struct lmtp_asking){.needs = 0};
}

/* RCPT has its answer. */
static void mail_rcpt_done(struct lmtp_session *s, unsigned code, const struct buf *lines)
{
    struct lmtp_asking *a = &s->asking;

    if (a->held_from_ms != 0)
        metric_observe(METRIC_LMTP_HOLD, 1000 * (clock_boot_ms() - a->held_from_ms), NULL, NULL);
    if (code / 100 != 2)
        mail_count(s, a->key, a->leg, code, lines);
    FAULT_POINT("lmtp", "rcpt", "answered");
    lmtp_session_send(s, lines);
    mail_asking_clear(a);
    lmtp_session_enter(s, LMTP_COMMAND);
    lmtp_session_go_on(s);
}

static void mail_rcpt_refuse(struct lmtp_session *s, const char *status, const char *text)
{
    struct buf line = {0};

    buf_printf(&line, "451 %s %s\r\n", status, text);
    mail_rcpt_done(s, 451, &line);
    buf_free(&line);
}

/* The account is in a freeze. */
static void mail_hold(struct lmtp_session *s)
{
    struct lmtp_asking *a = &s->asking;
    uint64_t now = clock_boot_ms(), left;

    if (a->held_from_ms == 0) {
        a->held_from_ms = now;
        LOG(INFO, "lmtp_held", LOG_S("user", a->key), LOG_S("session", s->name));
    }
    if (s->hold_until_ms == 0)
        s->hold_until_ms = now + s->lmtp->conf->lmtp.hold_max_ms;
    if (now >= s->hold_until_ms) {
        mail_rcpt_refuse(s, "4.3.2", "The account is being moved, try again later");
        return;
    }
    a->waits = true;
    left = s->hold_until_ms - now;
    timer_start(s->timer, left < LMTP_HOLD_STEP_MS ? left : LMTP_HOLD_STEP_MS);
}

static void mail_on_route(void *owner, enum recipient_rc rc, const struct recipient_answer *r)
{
    struct lmtp_session *s = owner;
    struct lmtp_asking *a = &s->asking;

    a->ask = NULL;
    free(a->key);
    a->key = xstrdup(r->key);
    switch (rc) {
    case RECIPIENT_FOUND:
        if (r->frozen) {
            mail_hold(s);
        } else {
            a->leg = &s->legs[r->nth];
            mail_leg_begin(s);
        }
        break;
    case RECIPIENT_NOT_OURS: /* 550 would send mail back that somebody has to lead elsewhere */
        mail_rcpt_refuse(s, "4.3.5", "Mail for this domain is not delivered here");
        break;
    case RECIPIENT_LOST:
        mail_rcpt_refuse(s, "4.3.5", "The server of this account is not configured");
        break;
    case RECIPIENT_DOWN:
        mail_rcpt_refuse(s, "4.3.0", "Where this account lives is not known at the moment");
        break;
    }
}

static void mail_ask_route(struct lmtp_session *s)
{
    struct lmtp_asking *a = &s->asking;

    a->waits = false;
    FAULT_POINT("lmtp", "rcpt", "sent");
    a->ask = recipient_find(s->lmtp->stores, buf_span(&a->address), s->lmtp->conf->proxy.store_timeout_ms,
                            mail_on_route, s);
}

void lmtp_mail_look_again(struct lmtp_session *s)
{
    timer_stop(s->timer);
    if (s->asking.waits)
        mail_ask_route(s);
}

void lmtp_mail_rcpt(struct lmtp_session *s, const struct lmtp_command *c)
{
    struct lmtp_asking *a = &s->asking;

    buf_add_span(&a->path, c->path);
    buf_add_span(&a->params, c->params);
    buf_add_span(&a->address, c->address);
    a->needs = c->needs;
    lmtp_session_enter(s, LMTP_IN_RCPT);
    mail_ask_route(s);
}

/* MAIL where there is no transaction yet, and RCPT: the server is ready. */
static void mail_leg_ask(struct lmtp_session *s)
{
    struct lmtp_asking *a = &s->asking;
    struct lmtp_leg *leg = a->leg;
    unsigned has = lmtp_next_caps(leg->next)->has;
    struct buf line = {0};

    if ((s->needs | a->needs) & (LMTP_8BITMIME | LMTP_SMTPUTF8) & ~has) {
        mail_rcpt_refuse(s, "4.3.3", "The server of this account can't take such a message");
        return;
    }
    lmtp_next_cork(leg->next);
    if (leg->phase == LEG_REST) {
        buf_printf(&line, "MAIL FROM:%s", buf_str(&s->from));
        lmtp_params_write(&line, buf_span(&s->from_params), has);
        buf_add_str(&line, "\r\n");
        lmtp_next_ask(leg->next, LMTP_ASKED_MAIL, 0, buf_span(&line));
        leg->phase = LEG_MAIL;
        buf_clear(&line);
    }
    buf_printf(&line, "RCPT TO:%s", buf_str(&a->path));
    lmtp_params_write(&line, buf_span(&a->params), has);
    buf_add_str(&line, "\r\n");
    lmtp_next_ask(leg->next, LMTP_ASKED_RCPT, 0, buf_span(&line));
    lmtp_next_uncork(leg->next);
    buf_free(&line);
}

static void mail_add_rcpt(struct lmtp_session *s)
{
    struct lmtp_asking *a = &s->asking;
    struct lmtp_rcpt *r = xcalloc(1, sizeof *r);

    r->leg = a->leg;
    r->key = xstrdup(a->key);
    buf_add_span(&r->address, buf_span(&a->address));
    s->rcpts = xreallocarray(s->rcpts, s->n_rcpts + 1, sizeof(struct lmtp_rcpt *));
    s->rcpts[s->n_rcpts++] = r;
    a->leg->taken++;
}

static void mail_rcpt_answered(struct lmtp_session *s, const struct lmtp_reply *reply)
{
    struct lmtp_asking *a = &s->asking;
    struct buf lines = {0};
    unsigned code = mail_code(reply);

    if (a->refusal_code != 0) {
        code = a->refusal_code;
        buf_add_span(&lines, buf_span(&a->refusal));
        if (lmtp_reply_is(reply, 2)) /* what it thinks now is its own affair */
            mail_leg_drop(a->leg);
    } else {
        lmtp_reply_write(&lines, reply, code, code == 250 ? "2.1.5" : code / 100 == 5 ? "5.0.0" : "4.0.0");
        if (code == 250)
            mail_add_rcpt(s);
    }
    mail_rcpt_done(s, code, &lines);
    buf_free(&lines);
}

/* RCPT has been sent behind it, and is answered too. */
static void mail_from_answered(struct lmtp_leg *leg, const struct lmtp_reply *reply)
{
    struct lmtp_asking *a = &leg->session->asking;

    if (lmtp_reply_is(reply, 2))
        return;
    leg->phase = LEG_REST;
    a->refusal_code = mail_code(reply);
    lmtp_reply_write(&a->refusal, reply, a->refusal_code, a->refusal_code / 100 == 5 ? "5.0.0" : "4.0.0");
}

/* ---- DATA */

static void mail_data_answered(struct lmtp_leg *leg, const struct lmtp_reply *reply)
{
    struct lmtp_rcpt *r;
    unsigned code = lmtp_reply_is(reply, 2) ? 451 : mail_code(reply);

    if (reply->code == 354) {
        leg->phase = LEG_BODY;
    } else {
        leg->phase = LEG_MAIL;
        while ((r = mail_first_open(leg->session, leg))) {
            r->code = code;
            lmtp_reply_write(&r->answer, reply, code, code / 100 == 5 ? "5.0.0" : "4.0.0");
        }
        leg->taken = 0;
        if (!lmtp_reply_is(reply, 4) && !lmtp_reply_is(reply, 5)) /* it may wait for a message, or not */
            mail_leg_drop(leg);
    }
    mail_data_settle(leg->session);
}

static bool mail_any_leg(const struct lmtp_session *s, enum lmtp_leg_phase phase)
{
    for (size_t i = 0; i < s->lmtp->conf->n_backends; i++)
        if (s->legs[i].phase == phase && s->legs[i].next)
            return true;
    return false;
}

/* What DATA is answered where no server takes the message: their word where all say the same, else "later" for all. */
static void mail_data_refuse(struct lmtp_session *s)
{
    const struct lmtp_rcpt *first = s->rcpts[0];
    bool same = true, behind = stream_peek(s->client).len > 0;

    for (size_t i = 0; i < s->n_rcpts; i++) {
        same = same && s->rcpts[i]->code == first->code;
        mail_count(s, s->rcpts[i]->key, s->rcpts[i]->leg, s->rcpts[i]->code, &s->rcpts[i]->answer);
    }
    if (same)
        lmtp_session_send(s, &first->answer);
    else
        lmtp_session_say(s, "451 4.3.0 No server takes the message at the moment");
    lmtp_mail_reset(s);
    lmtp_session_enter(s, LMTP_COMMAND);
    if (behind)
        lmtp_session_end(s, "data_refused", "421 4.5.0 Something followed DATA that was refused");
    lmtp_session_go_on(s);
}

static void mail_data_settle(struct lmtp_session *s)
{
    if (mail_any_leg(s, LEG_DATA))
        return;
    if (!mail_any_leg(s, LEG_BODY)) {
        mail_data_refuse(s);
        return;
    }
    lmtp_data_init(&s->data);
    s->bytes = 0;
    FAULT_POINT("lmtp", "data", "answered");
    lmtp_session_say(s, "354 End data with <CR><LF>.<CR><LF>");
    lmtp_session_enter(s, LMTP_BODY);
    lmtp_session_go_on(s);
}

void lmtp_mail_data(struct lmtp_session *s)
{
    lmtp_session_enter(s, LMTP_IN_DATA);
    FAULT_POINT("lmtp", "data", "sent");
    for (size_t i = 0; i < s->lmtp->conf->n_backends; i++) {
        struct lmtp_leg *leg = &s->legs[i];
        if (leg->taken == 0)
            continue;
        leg->phase = LEG_DATA;
        lmtp_next_ask(leg->next, LMTP_ASKED_DATA, 0, span_str("DATA\r\n"));
    }
    mail_data_settle(s);
}

/* ---- the message */

/* The slowest server sets the pace. */
static void mail_flow(struct lmtp_session *s)
{
    bool full = false;

    if (s->state != LMTP_BODY)
        return;
    for (size_t i = 0; i < s->lmtp->conf->n_backends; i++)
        full = full || (s->legs[i].phase == LEG_BODY && lmtp_next_full(s->legs[i].next));
    if (full) {
        stream_pause(s->client);
        stream_deadline(s->client, 0); /* it is the server's turn, which has one */
    } else {
        stream_resume(s->client);
        stream_deadline(s->client, s->lmtp->conf->lmtp.data_timeout_ms);
    }
}

static void mail_refuse_odd(struct lmtp_session *s)
{
    LOG(WARN, "lmtp_odd_data", LOG_S("session", s->name), LOG_S("peer", stream_peer(s->client)),
        LOG_U("recipients", s->n_rcpts));
    for (size_t i = 0; i < s->lmtp->conf->n_backends; i++) {
        struct lmtp_leg *leg = &s->legs[i];
        if (leg->phase != LEG_BODY)
            continue;
        mail_answer_all(leg, 554, "5.6.0",
                        "The message has a dot at a line end that is none (CR or LF alone)");
        mail_leg_drop(leg);
    }
}

static void mail_pass(struct lmtp_session *s, const struct lmtp_data_piece *piece)
{
    for (size_t i = 0; i < s->lmtp->conf->n_backends; i++) {
        struct lmtp_leg *leg = &s->legs[i];
        if (leg->phase != LEG_BODY)
            continue;
        lmtp_next_cork(leg->next);
        lmtp_next_body(leg->next, piece->first);
        lmtp_next_body(leg->next, piece->rest);
        lmtp_next_uncork(leg->next);
    }
}

static void mail_last_dot(struct lmtp_session *s)
{
    size_t *nth = xcalloc(s->n_rcpts, sizeof *nth);

    lmtp_session_enter(s, LMTP_FINAL);
    for (size_t i = 0; i < s->lmtp->conf->n_backends; i++) {
        struct lmtp_leg *leg = &s->legs[i];
        size_t n = 0;
        if (leg->phase != LEG_BODY)
            continue;
        if (leg->moved) {
            mail_answer_all(leg, 451, "4.3.2", leg->moved);
            mail_leg_drop(leg);
            continue;
        }
        for (size_t k = 0; k < s->n_rcpts; k++)
            if (s->rcpts[k]->leg == leg && s->rcpts[k]->code == 0)
                nth[n++] = k;
        leg->phase = LEG_END;
        FAULT_POINT("lmtp", "end", "sent");
        lmtp_next_end(leg->next, nth, n);
        FAULT_POINT("lmtp", "end", "given");
    }
    free(nth);
    mail_flush(s);
}

static void mail_on_route_again(void *owner, enum recipient_rc rc, const struct recipient_answer *r)
{
    struct lmtp_rcpt *rcpt = owner;
    struct lmtp_leg *leg = rcpt->leg;
    struct lmtp_session *s = leg->session;

    rcpt->ask = NULL;
    if (rc == RECIPIENT_DOWN)
        leg->moved = "Where an account lives is not known at the moment";
    else if (rc != RECIPIENT_FOUND || &s->legs[r->nth] != leg)
        leg->moved = "An account has moved meanwhile, try again";
    if (--s->asked == 0)
        mail_last_dot(s);
}

/* All of the message is there. */
static void mail_ask_routes(struct lmtp_session *s)
{
    lmtp_session_enter(s, LMTP_ROUTES);
    FAULT_POINT("lmtp", "routes", "sent");
    for (size_t i = 0; i < s->n_rcpts; i++) {
        struct lmtp_rcpt *r = s->rcpts[i];
        if (r->code != 0)
            continue;
        s->asked++;
        r->ask = recipient_find(s->lmtp->stores, buf_span(&r->address), s->lmtp->conf->proxy.store_timeout_ms,
                                mail_on_route_again, r);
    }
    if (s->asked == 0)
        mail_last_dot(s);
}

void lmtp_mail_body(struct lmtp_session *s)
{
    while (s->state == LMTP_BODY && stream_peek(s->client).len > 0) {
        struct lmtp_data_piece piece;
        bool was_odd = s->data.odd;
        size_t used = lmtp_data_feed(&s->data, stream_peek(s->client), &piece);
        stream_eat(s->client, used);
        s->bytes += piece.first.len + piece.rest.len;
        if (s->data.odd && !was_odd)
            mail_refuse_odd(s);
        if (!s->data.odd)
            mail_pass(s, &piece);
        FAULT_POINT("lmtp", "data", "body");
        if (piece.end)
            mail_ask_routes(s);
    }
    mail_flow(s);
}

/* ---- the end */

static void mail_forget_rcpts(struct lmtp_session *s)
{
    for (size_t i = 0; i < s->n_rcpts; i++) {
        struct lmtp_rcpt *r = s->rcpts[i];
        recipient_cancel(&r->ask);
        buf_free(&r->address);
        buf_free(&r->answer);
        free(r->key);
        free(r);
    }
    free(s->rcpts);
    s->rcpts = NULL;
    s->n_rcpts = s->told = s->asked = 0;
}

static void mail_log(const struct lmtp_session *s)
{
    size_t n[3] = {0};

    for (size_t i = 0; i < s->n_rcpts; i++)
        n[s->rcpts[i]->code / 100 == 2 ? 0 : s->rcpts[i]->code / 100 == 4 ? 1 : 2]++;
    LOG(INFO, "lmtp_message", LOG_S("session", s->name), LOG_U("bytes", s->bytes), LOG_U("delivered", n[0]),
        LOG_U("deferred", n[1]), LOG_U("refused", n[2]), LOG_U("ms", clock_boot_ms() - s->mail_ms));
}

/* Answers go out in the order of RCPT, each as soon as those before it are there. */
static void mail_flush(struct lmtp_session *s)
{
    struct buf lines = {0};

    if (s->state != LMTP_FINAL)
        return;
    for (; s->told < s->n_rcpts && s->rcpts[s->told]->code != 0; s->told++) {
        struct lmtp_rcpt *r = s->rcpts[s->told];
        mail_count(s, r->key, r->leg, r->code, &r->answer);
        buf_add_span(&lines, buf_span(&r->answer));
    }
    if (lines.len > 0) {
        FAULT_POINT("lmtp", "end", "answered");
        lmtp_session_send(s, &lines);
    }
    buf_free(&lines);
    if (s->told < s->n_rcpts)
        return;
    mail_log(s);
    lmtp_mail_reset(s);
    lmtp_session_enter(s, LMTP_COMMAND);
    lmtp_session_go_on(s);
}

static void mail_end_answered(struct lmtp_leg *leg, size_t nth, const struct lmtp_reply *reply)
{
    struct lmtp_rcpt *r = leg->session->rcpts[nth];

    r->code = mail_code(reply);
    lmtp_reply_write(&r->answer, reply, r->code,
                     r->code / 100 == 2   ? "2.0.0"
                     : r->code / 100 == 5 ? "5.0.0"
                                          : "4.0.0");
    if (--leg->taken == 0) {
        leg->phase = LEG_REST;
        leg->used = true;
    }
    mail_flush(leg->session);
}

void lmtp_mail_reset(struct lmtp_session *s)
{
    mail_asking_clear(&s->asking);
    for (size_t i = 0; i < s->lmtp->conf->n_backends; i++)
        mail_leg_rest(&s->legs[i]);
    mail_forget_rcpts(s);
    s->mail = false;
    buf_clear(&s->from);
    buf_clear(&s->from_params);
    s->needs = 0;
    s->hold_until_ms = 0;
}

/* ---- what a server says */

/* One that has served before may have closed its connection in the meantime, which is no failure while it has taken nothing:
 * it is dialled once more. */
static bool mail_leg_is_stale(const struct lmtp_leg *leg)
{
    const struct lmtp_session *s = leg->session;
    return leg->used && leg->taken == 0 && s->state == LMTP_IN_RCPT && s->asking.leg == leg &&
           !s->asking.again;
}

static void mail_leg_gone(struct lmtp_leg *leg, const struct lmtp_next *n)
{
    struct lmtp_session *s = leg->session;
    bool asked = s->state == LMTP_IN_RCPT && s->asking.leg == leg, stale = mail_leg_is_stale(leg);

    if (!stale && (asked || leg->phase != LEG_REST))
        lmtp_complain(s->lmtp, leg->nth, s->name, lmtp_next_why(n));
    mail_answer_all(leg, 451, "4.4.2",
                    leg->phase == LEG_END ? "The server has not told whether it has the message"
                                          : "The connection to the server is lost");
    mail_leg_drop(leg);
    if (stale) {
        s->asking.again = true;
        s->asking.refusal_code = 0;
        buf_clear(&s->asking.refusal);
        mail_leg_begin(s);
    } else if (asked) {
        mail_rcpt_refuse(s, "4.4.1", "The server of this account can't be reached at the moment");
    } else if (s->state == LMTP_IN_DATA) {
        mail_data_settle(s);
    }
    mail_flow(s);
    mail_flush(s);
}

static void mail_leg_answered(struct lmtp_leg *leg, const struct lmtp_news *news)
{
    switch (news->asked) {
    case LMTP_ASKED_MAIL:
        mail_from_answered(leg, news->reply);
        break;
    case LMTP_ASKED_RCPT:
        mail_rcpt_answered(leg->session, news->reply);
        break;
    case LMTP_ASKED_DATA:
        mail_data_answered(leg, news->reply);
        break;
    case LMTP_ASKED_END:
        mail_end_answered(leg, news->nth, news->reply);
        break;
    default: /* RSET; who refuses it will refuse MAIL, too */
        break;
    }
}

static void mail_on_next(void *owner, struct lmtp_next *n, const struct lmtp_news *news)
{
    struct lmtp_leg *leg = owner;
    struct lmtp_session *s = leg->session;

    if (s->state == LMTP_ENDED)
        return;
    switch (news->event) {
    case LMTP_NEXT_READY:
        lmtp_note_caps(s->lmtp, leg->nth, lmtp_next_caps(n));
        if (s->state == LMTP_IN_RCPT && s->asking.leg == leg)
            mail_leg_ask(s);
        break;
    case LMTP_NEXT_ANSWER:
        mail_leg_answered(leg, news);
        break;
    case LMTP_NEXT_DRAINED:
        mail_flow(s);
        break;
    case LMTP_NEXT_GONE:
        mail_leg_gone(leg, n);
        break;
    }
}

static void mail_leg_begin(struct lmtp_session *s)
{
    struct lmtp *l = s->lmtp;
    struct lmtp_leg *leg = s->asking.leg;

    if (!leg->next)
        leg->next = lmtp_next_new(l->loop, l->conf, leg->nth, l->name, mail_on_next, leg);
    else if (lmtp_next_is_ready(leg->next))
        mail_leg_ask(s);
}

/* ---- life */

void lmtp_mail_init(struct lmtp_session *s)
{
    s->legs = xcalloc(s->lmtp->conf->n_backends, sizeof *s->legs);
    for (size_t i = 0; i < s->lmtp->conf->n_backends; i++) {
        s->legs[i].session = s;
        s->legs[i].nth = i;
    }
}

void lmtp_mail_from(struct lmtp_session *s, const struct lmtp_command *c)
{
    s->mail = true;
    s->mail_ms = clock_boot_ms();
    s->needs = c->needs;
    buf_add_span(&s->from, c->path);
    buf_add_span(&s->from_params, c->params);
    lmtp_session_say(s, "250 2.1.0 OK");
}

void lmtp_mail_free(struct lmtp_session *s)
{
    mail_asking_clear(&s->asking);
    for (size_t i = 0; i < s->lmtp->conf->n_backends; i++)
        lmtp_next_close(&s->legs[i].next, true);
    mail_forget_rcpts(s);
    buf_free(&s->from);
    buf_free(&s->from_params);
}
