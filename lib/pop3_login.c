#include <stdio.h>
#include <stdlib.h>

#include "base64.h"
#include "buf_room.h"
#include "imap_code.h"
#include "log.h"
#include "login_dialog.h"
#include "login_who.h"
#include "pop3.h"
#include "pop3_login.h"
#include "xalloc.h"

enum { CAPA_LINES_MAX = 200 };

enum pop3_login_state { DIALING, GREETING, CAPA, STLS, SECURING, AUTH, RESPONSE, USER, PASS };

static const char *const pop3_state_names[] = {
    [DIALING] = "dialing",  [GREETING] = "greeting", [CAPA] = "capa",
    [STLS] = "stls",        [SECURING] = "securing", [AUTH] = "sign_in",
    [RESPONSE] = "sign_in", [USER] = "user",         [PASS] = "sign_in",
};

struct pop3_login {
    struct login_dialog d;
    enum pop3_login_state state;
    struct pop3_line line;
    unsigned lines;          /* of the list of CAPA */
    bool listing;            /* ... whose +OK was there */
    struct imap_caps caps;   /* its SASL mechanisms */
    struct credential shown; /* parts borrowed from credential, login and the backend */
    char *login;             /* owned */
};

static void pop3_login_enter(struct pop3_login *p, enum pop3_login_state state);

/* ---- the end ---- */

/* Takes detail. */
static void pop3_login_finish(struct pop3_login *p, enum login_rc rc, char *detail)
{
    login_dialog_finish(&p->d, rc, detail);
}

static void pop3_protocol_error(struct pop3_login *p, const char *what)
{
    login_dialog_protocol_error(&p->d, what);
}

static void pop3_login_free(void *login)
{
    struct pop3_login *p = login;
    pop3_line_wipe(&p->line);
    login_dialog_free(&p->d);
    free(p->login);
    free(p);
}

/* As before the first greeting. */
static void pop3_login_begin_anew(struct pop3_login *p)
{
    login_dialog_begin_anew(&p->d);
    pop3_line_wipe(&p->line);
    p->line.max = POP3_STATUS_LINE;
    p->state = DIALING;
    p->caps = (struct imap_caps){0};
    p->lines = 0;
    p->listing = false;
}

/* Clients are shown no capability of the server. */
static void pop3_login_conclude(struct pop3_login *p)
{
    static const struct imap_caps none;
    if (login_dialog_goes_on(&p->d))
        pop3_login_begin_anew(p);
    else
        login_dialog_conclude(&p->d, pop3_state_names[p->state], &none, pop3_login_free, p);
}

/* ---- what is sent ---- */

static void pop3_login_send(struct pop3_login *p, const char *verb, struct span rest)
{
    stream_cork(p->d.s);
    stream_send(p->d.s, verb, strlen(verb));
    if (rest.len > 0)
        stream_send(p->d.s, rest.p, rest.len);
    stream_send(p->d.s, "\r\n", 2);
    stream_uncork(p->d.s);
}

static void pop3_send_message(struct pop3_login *p)
{
    pop3_login_send(p, "", buf_span(&p->d.sasl));
}

/* False: the credential can't be written by its mechanism. */
static bool pop3_write_message(struct pop3_login *p)
{
    struct buf message = {0};
    bool ok = sasl_write(&message, &p->shown);
    buf_wipe(&p->d.sasl);
    base64_encode(&p->d.sasl, buf_span(&message));
    buf_wipe(&message);
    return ok;
}

static void pop3_begin_auth(struct pop3_login *p, const struct sasl_mechanism *by)
{
    p->shown.mechanism = by;
    p->d.acknowledge = by->acknowledge;
    if (pop3_write_message(p))
        pop3_login_enter(p, AUTH);
    else
        pop3_login_finish(p, LOGIN_REFUSED, xstrdup("the user name or password holds NUL"));
}

/* Arguments of USER can't be quoted. */
static bool pop3_can_be_said(struct span word, bool blanks)
{
    for (size_t i = 0; i < word.len; i++)
        if (word.p[i] < ' ' || word.p[i] == 0x7f || (!blanks && word.p[i] == ' '))
            return false;
    return word.len > 0;
}

static void pop3_sign_in(struct pop3_login *p)
{
    const char *why = "";
    p->shown = p->d.credential;
    free(p->login);
    enum login_rc rc = login_who(p->d.backend, p->d.as, p->d.user, &p->shown, &p->login, &why);
    const struct sasl_mechanism *by = rc == LOGIN_OK ? sasl_choose(&p->shown, &p->caps) : NULL;
    if (rc != LOGIN_OK)
        pop3_login_finish(p, rc, xstrdup(why));
    else if (p->d.as == LOGIN_AS_MASTER && p->d.backend->sign_in == SIGN_IN_PROXYAUTH)
        pop3_login_finish(p, LOGIN_UNAVAILABLE, xstrdup("POP3 knows no PROXYAUTH"));
    else if (by)
        pop3_begin_auth(p, by);
    else if (p->shown.mechanism->kind != SASL_PASSWORD)
        pop3_login_finish(p, LOGIN_NO_MECHANISM,
                          xasprintf("the backend offers no SASL %s by POP3", p->shown.mechanism->name));
    else if (p->shown.authzid.len > 0)
        pop3_login_finish(p, LOGIN_UNAVAILABLE,
                          xstrdup("the backend offers no SASL PLAIN by POP3: set master_login"));
    else if (!pop3_can_be_said(p->shown.authcid, false) || !pop3_can_be_said(p->shown.secret, true))
        pop3_login_finish(p, LOGIN_REFUSED,
                          xstrdup("the backend offers no SASL PLAIN by POP3, and USER and PASS take no such "
                                  "name or password"));
    else
        pop3_login_enter(p, USER);
}

/* ---- what is answered ---- */

static void pop3_after_capa(struct pop3_login *p)
{
    if (p->d.backend->pop3.scheme == ADDRESS_POP3_STARTTLS && !stream_is_secure(p->d.s)) {
        pop3_login_enter(p, STLS);
        return;
    }
    login_dialog_answered(&p->d);
    if (p->d.as == LOGIN_AS_NOBODY)
        pop3_login_finish(p, LOGIN_OK, xstrdup(""));
    else
        pop3_sign_in(p);
}

static void pop3_note_mechanisms(struct pop3_login *p, struct span words)
{
    while (words.len > 0) {
        const uint8_t *blank = memchr(words.p, ' ', words.len);
        size_t n = blank ? (size_t)(blank - words.p) : words.len;
        const struct sasl_mechanism *m = sasl_find(span_of(words.p, n));
        if (m)
            imap_caps_add(&p->caps, m->cap);
        n += blank != NULL;
        words = span_of(words.p + n, words.len - n);
    }
}

/* A line of the list behind +OK. */
static void pop3_take_capability(struct pop3_login *p, struct span line)
{
    static const char sasl[] = "SASL ";
    size_t n = sizeof sasl - 1;
    if (span_is(line, ".")) {
        p->listing = false;
        pop3_after_capa(p);
    } else if (++p->lines > CAPA_LINES_MAX) {
        pop3_protocol_error(p, "too many capabilities");
    } else if (line.len > n && span_is_ci(span_of(line.p, n), sasl)) {
        pop3_note_mechanisms(p, span_of(line.p + n, line.len - n));
    }
}

static void pop3_start_handshake(struct pop3_login *p)
{
    if (stream_peek(p->d.s).len > 0) {
        pop3_login_finish(p, LOGIN_INSECURE, xstrdup("plaintext behind the answer to STLS"));
        return;
    }
    pop3_line_wipe(&p->line);
    p->caps = (struct imap_caps){0};
    stream_secure(p->d.s, p->d.policy, reach_name(p->d.reach));
}

static void pop3_continue(struct pop3_login *p, struct span text)
{
    if (p->state == AUTH)
        pop3_login_enter(p, RESPONSE);
    else if (p->state == RESPONSE && p->d.acknowledge)
        login_dialog_take_challenge(&p->d, text);
    else
        pop3_protocol_error(p, "a continuation that nothing waits for");
}

static void pop3_signed_in(struct pop3_login *p)
{
    if (p->d.refused)
        pop3_protocol_error(p, "+OK behind the reason of a refusal");
    else if (stream_peek(p->d.s).len > 0)
        pop3_protocol_error(p, "something behind the answer to the sign-in");
    else
        pop3_login_finish(p, LOGIN_OK, xstrdup(""));
}

static void pop3_said_ok(struct pop3_login *p)
{
    switch (p->state) {
    case GREETING:
        pop3_login_enter(p, CAPA);
        break;
    case CAPA:
        p->listing = true;
        break;
    case STLS:
        pop3_login_enter(p, SECURING);
        break;
    case USER:
        pop3_login_enter(p, PASS);
        break;
    case RESPONSE:
    case PASS:
        pop3_signed_in(p);
        break;
    case DIALING:
    case SECURING:
    case AUTH:
        pop3_protocol_error(p, "+OK to nothing");
        break;
    }
}

static void pop3_said_err(struct pop3_login *p, const struct pop3_status *st)
{
    bool signs_in = p->state == RESPONSE || p->state == USER || p->state == PASS;
    if (p->state == CAPA) { /* it knows no such command */
        pop3_after_capa(p);
        return;
    }
    enum login_rc rc = p->state == STLS ? LOGIN_INSECURE : LOGIN_UNAVAILABLE;
    if (signs_in) {
        snprintf(p->d.code, sizeof p->d.code, "%s", pop3_code_to_imap(st->code));
        const struct imap_code *code = imap_code_find(span_str(p->d.code));
        rc = code && code->not_the_user ? LOGIN_UNAVAILABLE : LOGIN_REFUSED;
    }
    char *detail = login_dialog_quote(&p->d, "the backend said -ERR", st->text);
    pop3_login_finish(p, rc, login_dialog_quote_challenge(&p->d, detail));
}

static void pop3_login_take(struct pop3_login *p, struct span line)
{
    struct pop3_status st;
    if (p->listing)
        pop3_take_capability(p, line);
    else if (line.len > 0 && line.p[0] == '+' && (line.len == 1 || line.p[1] == ' '))
        pop3_continue(p, span_of(line.p + (line.len > 1 ? 2 : 1), line.len - (line.len > 1 ? 2 : 1)));
    else if (!pop3_parse_status(line, &st))
        pop3_protocol_error(p, p->state == GREETING ? "no greeting" : "an answer that is none");
    else if (st.ok)
        pop3_said_ok(p);
    else
        pop3_said_err(p, &st);
}

/* Sends what the state is for. Whatever has come until now was sent before the server could know of it. */
static void pop3_login_enter(struct pop3_login *p, enum pop3_login_state state)
{
    LOG(DEBUG, "pop3_login", LOG_S("backend", p->d.backend->name), LOG_S("session", p->d.session_id),
        LOG_S("from", pop3_state_names[p->state]), LOG_S("to", pop3_state_names[state]));
    p->state = state;
    stream_deadline(p->d.s, login_dialog_step_ms(&p->d));
    if (state == SECURING) {
        pop3_start_handshake(p);
        return;
    }
    if (state != GREETING && stream_peek(p->d.s).len > 0) {
        pop3_protocol_error(p, "an answer before its command");
        return;
    }
    if (state == CAPA)
        pop3_login_send(p, "CAPA", span_of(NULL, 0));
    else if (state == STLS)
        pop3_login_send(p, "STLS", span_of(NULL, 0));
    else if (state == AUTH)
        pop3_login_send(p, "AUTH ", span_str(p->shown.mechanism->name));
    else if (state == RESPONSE)
        pop3_send_message(p);
    else if (state == USER)
        pop3_login_send(p, "USER ", p->shown.authcid);
    else if (state == PASS)
        pop3_login_send(p, "PASS ", p->shown.secret);
}

/* ---- events ---- */

/* One line out of the unread bytes; false: it takes more. */
static bool pop3_login_read_one(struct pop3_login *p)
{
    struct span in = stream_peek(p->d.s), line;
    const char *why;
    size_t used;
    if (in.len == 0)
        return false;
    enum pop3_line_rc rc = pop3_line_feed(&p->line, in, &used, &line, &why);
    stream_eat(p->d.s, used);
    if (rc == POP3_BAD)
        pop3_protocol_error(p, why);
    else if (rc == POP3_WHOLE)
        pop3_login_take(p, line);
    return true;
}

static void pop3_login_broken(struct pop3_login *p)
{
    bool insecure = p->state == SECURING && stream_error_is_tls(p->d.s);
    pop3_login_finish(p, insecure ? LOGIN_INSECURE : LOGIN_UNAVAILABLE, xstrdup(stream_error(p->d.s)));
}

static void pop3_login_event(struct stream *s, enum stream_event ev, void *owner)
{
    struct pop3_login *p = owner;
    (void)s;
    if (ev == STREAM_DATA)
        while (!p->d.ended && p->state != SECURING && pop3_login_read_one(p))
            ;
    else if (ev == STREAM_SECURE)
        pop3_login_enter(p, CAPA);
    else if (ev == STREAM_EOF)
        pop3_login_finish(p, LOGIN_UNAVAILABLE, xstrdup("the backend closed the connection"));
    else if (ev == STREAM_TIMEOUT)
        pop3_login_finish(p, LOGIN_UNAVAILABLE, xstrdup("no answer in time"));
    else if (ev == STREAM_ERROR)
        pop3_login_broken(p);
    if (p->d.ended)
        pop3_login_conclude(p);
}

static void pop3_login_dialled(void *owner, enum dial_rc rc, struct stream *s, const char *detail)
{
    struct pop3_login *p = owner;
    p->d.s = s;
    if (rc == DIAL_OK) {
        stream_set_owner(s, pop3_login_event, p);
        pop3_login_enter(p, GREETING);
        return;
    }
    login_dialog_unreachable(&p->d, rc, detail);
    pop3_login_conclude(p);
}

struct pop3_login *pop3_login_start(struct loop *l, const struct login_request *request, backend_login_fn fn,
                                    void *owner)
{
    struct pop3_login *p = xcalloc(1, sizeof *p);
    pop3_login_begin_anew(p);
    login_dialog_begin(&p->d, l, request, &request->backend->pop3, pop3_login_dialled, p, fn, owner);
    return p;
}

void pop3_login_cancel(struct pop3_login **p)
{
    if (*p)
        pop3_login_free(*p);
    *p = NULL;
}
