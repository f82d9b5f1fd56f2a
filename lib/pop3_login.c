#include <stdlib.h>

#include "base64.h"
#include "buf_room.h"
#include "dial.h"
#include "imap_code.h"
#include "imap_write.h"
#include "log.h"
#include "login_who.h"
#include "metrics.h"
#include "pop3.h"
#include "pop3_login.h"
#include "proxyproto.h"
#include "xalloc.h"

enum { CAPA_LINES_MAX = 200 };

enum pop3_login_state { DIALING, GREETING, CAPA, STLS, SECURING, AUTH, RESPONSE, USER, PASS };

static const char *const pop3_state_names[] = {
    [DIALING] = "dialing",  [GREETING] = "greeting", [CAPA] = "capa",
    [STLS] = "stls",        [SECURING] = "securing", [AUTH] = "sign_in",
    [RESPONSE] = "sign_in", [USER] = "user",         [PASS] = "sign_in",
};

struct pop3_login {
    const struct conf_backend *backend; /* borrowed */
    struct tls_policy *policy;          /* borrowed */
    enum login_as as;
    struct credential credential; /* the user's, or the master's password; owned */
    char *user, *session_id;      /* owned */
    uint64_t step_timeout_ms;
    backend_login_fn fn;
    void *owner; /* borrowed */

    enum pop3_login_state state;
    struct dial *dial; /* owned */
    struct stream *s;  /* owned */
    struct pop3_line line;
    unsigned lines;          /* of the list of CAPA */
    bool listing;            /* ... whose +OK was there */
    struct imap_caps caps;   /* its SASL mechanisms */
    struct credential shown; /* parts borrowed from credential, login and the backend */
    char *login;             /* owned */
    struct buf message;      /* of AUTH, in base64 */
    const char *acknowledge; /* AUTH by a token: what answers the "+" that says why it is refused */
    bool refused;            /* ... which has come */
    struct buf challenge;
    uint64_t began_ns;

    bool ended; /* with this: */
    enum login_rc rc;
    const char *code; /* a fixed text */
    char *detail;     /* owned */
};

static void pop3_login_enter(struct pop3_login *p, enum pop3_login_state state);

/* ---- the end ---- */

/* Takes detail. The owner hears of it when the event under way has been dealt with. */
static void pop3_login_finish(struct pop3_login *p, enum login_rc rc, char *detail)
{
    if (p->ended) {
        free(detail);
        return;
    }
    p->ended = true;
    p->rc = rc;
    p->detail = detail;
}

static void pop3_login_free(struct pop3_login *p)
{
    dial_cancel(&p->dial);
    stream_close(&p->s, p->ended && p->rc == LOGIN_REFUSED);
    pop3_line_wipe(&p->line);
    credential_wipe(&p->credential);
    buf_wipe(&p->message);
    buf_free(&p->challenge);
    free(p->login);
    free(p->user);
    free(p->session_id);
    free(p->detail);
    free(p);
}

static void pop3_login_count(const struct pop3_login *p)
{
    static const char *const words[] = {[LOGIN_OK] = "ok",
                                        [LOGIN_REFUSED] = "refused",
                                        [LOGIN_UNAVAILABLE] = "unavailable",
                                        [LOGIN_INSECURE] = "insecure",
                                        [LOGIN_NO_MECHANISM] = "no_mechanism"};
    metric_add(METRIC_BACKEND_SIGNINS, 1, p->backend->name, words[p->rc]);
    if (p->rc == LOGIN_OK)
        metric_observe(METRIC_BACKEND_SIGNIN_DURATION, (uv_hrtime() - p->began_ns) / 1000, p->backend->name,
                       NULL);
}

static void pop3_login_conclude(struct pop3_login *p)
{
    char *detail = p->detail, *challenge = xspandup(buf_span(&p->challenge));
    struct login_result r = {.rc = p->rc,
                             .phase = pop3_state_names[p->state],
                             .code = p->code,
                             .detail = detail,
                             .challenge = p->rc == LOGIN_REFUSED ? challenge : ""};
    backend_login_fn fn = p->fn;
    void *owner = p->owner;
    p->detail = NULL;
    if (p->rc == LOGIN_OK) {
        stream_deadline(p->s, 0);
        r.stream = p->s;
        p->s = NULL;
    }
    pop3_login_count(p);
    pop3_login_free(p);
    fn(owner, &r);
    free(detail);
    free(challenge);
}

static void pop3_protocol_error(struct pop3_login *p, const char *what)
{
    pop3_login_finish(p, LOGIN_UNAVAILABLE, xasprintf("protocol error: %s", what));
}

static bool pop3_text_holds(struct span text, struct span part)
{
    return part.len > 0 && text.len > 0 && memmem(text.p, text.len, part.p, part.len) != NULL;
}

/* What the server says, for a log; to free. */
static char *pop3_quote(const struct pop3_login *p, const char *what, struct span text)
{
    if (pop3_text_holds(text, p->credential.secret) || pop3_text_holds(text, buf_span(&p->message)))
        return xasprintf("%s (its text repeats the password and is left out)", what);
    struct buf clean = {0};
    imap_write_text(&clean, text);
    char *detail = xasprintf("%s: %s", what, buf_str(&clean));
    buf_free(&clean);
    return detail;
}

/* ---- what is sent ---- */

static void pop3_login_send(struct pop3_login *p, const char *verb, struct span rest)
{
    stream_cork(p->s);
    stream_send(p->s, verb, strlen(verb));
    if (rest.len > 0)
        stream_send(p->s, rest.p, rest.len);
    stream_send(p->s, "\r\n", 2);
    stream_uncork(p->s);
}

static void pop3_send_message(struct pop3_login *p)
{
    pop3_login_send(p, "", buf_span(&p->message));
}

/* False: the credential can't be written by its mechanism. */
static bool pop3_write_message(struct pop3_login *p)
{
    struct buf message = {0};
    bool ok = sasl_write(&message, &p->shown);
    buf_wipe(&p->message);
    base64_encode(&p->message, buf_span(&message));
    buf_wipe(&message);
    return ok;
}

static void pop3_begin_auth(struct pop3_login *p, const struct sasl_mechanism *by)
{
    p->shown.mechanism = by;
    p->acknowledge = by->acknowledge;
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
    p->shown = p->credential;
    free(p->login);
    enum login_rc rc = login_who(p->backend, p->as, p->user, &p->shown, &p->login, &why);
    const struct sasl_mechanism *by = rc == LOGIN_OK ? sasl_choose(&p->shown, &p->caps) : NULL;
    if (rc != LOGIN_OK)
        pop3_login_finish(p, rc, xstrdup(why));
    else if (p->as == LOGIN_AS_MASTER && p->backend->sign_in == SIGN_IN_PROXYAUTH)
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
    bool wants_tls = p->backend->pop3.scheme == ADDRESS_POP3_STARTTLS && !stream_is_secure(p->s);
    if (wants_tls)
        pop3_login_enter(p, STLS);
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
    if (stream_peek(p->s).len > 0) {
        pop3_login_finish(p, LOGIN_INSECURE, xstrdup("plaintext behind the answer to STLS"));
        return;
    }
    pop3_line_wipe(&p->line);
    p->caps = (struct imap_caps){0};
    stream_secure(p->s, p->policy, p->backend->pop3.host);
}

/* The server says why it does not take the token, and waits for an answer before it says -ERR. */
static void pop3_take_challenge(struct pop3_login *p, struct span text)
{
    p->refused = true;
    if (!sasl_read_challenge(&p->challenge, text))
        LOG(DEBUG, "odd_challenge", LOG_S("backend", p->backend->name), LOG_U("bytes", text.len));
    pop3_login_send(p, p->acknowledge, span_of(NULL, 0));
    p->acknowledge = NULL;
}

static void pop3_continue(struct pop3_login *p, struct span text)
{
    if (p->state == AUTH)
        pop3_login_enter(p, RESPONSE);
    else if (p->state == RESPONSE && p->acknowledge)
        pop3_take_challenge(p, text);
    else
        pop3_protocol_error(p, "a continuation that nothing waits for");
}

static void pop3_signed_in(struct pop3_login *p)
{
    if (p->refused)
        pop3_protocol_error(p, "+OK behind the reason of a refusal");
    else if (stream_peek(p->s).len > 0)
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
        p->code = pop3_code_to_imap(st->code);
        const struct imap_code *code = imap_code_find(span_str(p->code));
        rc = code && code->not_the_user ? LOGIN_UNAVAILABLE : LOGIN_REFUSED;
    }
    pop3_login_finish(p, rc, pop3_quote(p, "the backend said -ERR", st->text));
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
    LOG(DEBUG, "pop3_login", LOG_S("backend", p->backend->name), LOG_S("session", p->session_id),
        LOG_S("from", pop3_state_names[p->state]), LOG_S("to", pop3_state_names[state]));
    p->state = state;
    stream_deadline(p->s, p->step_timeout_ms);
    if (state == SECURING) {
        pop3_start_handshake(p);
        return;
    }
    if (state != GREETING && stream_peek(p->s).len > 0) {
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
    struct span in = stream_peek(p->s), line;
    const char *why;
    size_t used;
    if (in.len == 0)
        return false;
    enum pop3_line_rc rc = pop3_line_feed(&p->line, in, &used, &line, &why);
    stream_eat(p->s, used);
    if (rc == POP3_BAD)
        pop3_protocol_error(p, why);
    else if (rc == POP3_WHOLE)
        pop3_login_take(p, line);
    return true;
}

static void pop3_login_broken(struct pop3_login *p)
{
    bool insecure = p->state == SECURING && stream_error_is_tls(p->s);
    pop3_login_finish(p, insecure ? LOGIN_INSECURE : LOGIN_UNAVAILABLE, xstrdup(stream_error(p->s)));
}

static void pop3_login_event(struct stream *s, enum stream_event ev, void *owner)
{
    struct pop3_login *p = owner;
    (void)s;
    if (ev == STREAM_DATA)
        while (!p->ended && p->state != SECURING && pop3_login_read_one(p))
            ;
    else if (ev == STREAM_SECURE)
        pop3_login_enter(p, CAPA);
    else if (ev == STREAM_EOF)
        pop3_login_finish(p, LOGIN_UNAVAILABLE, xstrdup("the backend closed the connection"));
    else if (ev == STREAM_TIMEOUT)
        pop3_login_finish(p, LOGIN_UNAVAILABLE, xstrdup("no answer in time"));
    else if (ev == STREAM_ERROR)
        pop3_login_broken(p);
    if (p->ended)
        pop3_login_conclude(p);
}

static void pop3_login_dialled(void *owner, enum dial_rc rc, struct stream *s, const char *detail)
{
    struct pop3_login *p = owner;
    p->dial = NULL;
    p->s = s;
    if (rc == DIAL_OK) {
        stream_set_owner(s, pop3_login_event, p);
        pop3_login_enter(p, GREETING);
        return;
    }
    pop3_login_finish(p, rc == DIAL_TLS_FAILED ? LOGIN_INSECURE : LOGIN_UNAVAILABLE, xstrdup(detail));
    pop3_login_conclude(p);
}

static void pop3_login_dial(struct pop3_login *p, struct loop *l, const struct login_request *r)
{
    struct buf header = {0};
    p->dial =
        dial_start(l, &r->backend->pop3, r->policy, &r->limits, r->connect_timeout_ms, pop3_login_dialled, p);
    if (r->backend->proxy_protocol != PROXY_PROTOCOL_NONE) {
        proxyproto_write(&header, r->backend->proxy_protocol == PROXY_PROTOCOL_V1 ? 1 : 2, r->ends);
        dial_begin_with(p->dial, buf_span(&header));
    }
    buf_free(&header);
}

struct pop3_login *pop3_login_start(struct loop *l, const struct login_request *request, backend_login_fn fn,
                                    void *owner)
{
    struct pop3_login *p = xcalloc(1, sizeof *p);
    *p = (struct pop3_login){.backend = request->backend,
                             .policy = request->policy,
                             .as = request->as,
                             .user = xstrdup(request->user),
                             .session_id = xstrdup(request->session_id),
                             .step_timeout_ms = request->step_timeout_ms,
                             .fn = fn,
                             .owner = owner,
                             .line.max = POP3_STATUS_LINE,
                             .began_ns = uv_hrtime(),
                             .code = ""};
    struct credential master = credential_of_password("", request->backend->master_password);
    credential_copy(&p->credential, request->as == LOGIN_AS_USER ? &request->credential : &master);
    pop3_login_dial(p, l, request);
    return p;
}

void pop3_login_cancel(struct pop3_login **p)
{
    if (*p)
        pop3_login_free(*p);
    *p = NULL;
}
