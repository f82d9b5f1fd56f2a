#include <stdlib.h>

#include "lib/account.h"
#include "lib/base64.h"
#include "lib/buf_room.h"
#include "lib/pop3.h"
#include "lib/sasl.h"
#include "lib/xalloc.h"

#include "../protocol.h"
#include "../proxy.h"
#include "../routing.h"
#include "pop3_preauth.h"
#include "pop3_relay.h"

/* SASL_RESPONSE: the next line is an answer of AUTH, and no command. SASL_END: so it is, and whatever it says, the
 * login was refused. */
enum pop3_expects { COMMAND, SASL_RESPONSE, SASL_END };

struct pop3_preauth {
    struct pop3_line line;
    enum pop3_expects expects;
    char *user;                             /* of USER; owned; NULL: none */
    const struct sasl_mechanism *mechanism; /* of AUTH */
    struct buf message;                     /* ... what was answered so far, its base64 decoded; owned */
    unsigned answers;                       /* ... in so many answers */
    const char *refusal, *refusal_text;     /* SASL_END: code and text of the -ERR; borrowed */
    unsigned bad_in_row, failed_logins, commands;
    bool corked; /* the answers to what came at once go out at once */
    bool full;   /* the client does not take them: it is not read */
};

static void pop3_forget(struct session *s)
{
    struct pop3_preauth *p = s->pop3_preauth;
    if (!p)
        return;
    s->pop3_preauth = NULL;
    pop3_line_wipe(&p->line);
    buf_wipe(&p->message);
    free(p->user);
    free(p);
}

/* ---- answers ---- */

static void pop3_say_good(struct session *s, const char *text)
{
    s->pop3_preauth->bad_in_row = 0;
    session_say(s, "+OK %s", text);
}

static void pop3_say_bad(struct session *s, const char *text)
{
    session_say(s, "-ERR %s", text);
    if (++s->pop3_preauth->bad_in_row >= LIMIT_BAD_LINES)
        session_close(s, END_BAD_COMMANDS, text);
}

static void pop3_say_no(struct session *s, const char *tag, const char *code, const char *text)
{
    (void)tag;
    session_say(s, "-ERR %s%s", pop3_code_of_imap(code), text);
}

/* RFC 1939 section 3: nothing is said to a client that was idle for too long. */
static void pop3_say_bye(struct session *s, enum session_end end, const char *text)
{
    bool coded = *text == '[';
    const char *code = strncmp(text, "[UNAVAILABLE]", 13) == 0 ? "[SYS/TEMP] " : "";
    const char *said = coded ? strchr(text, ']') + 2 : text;
    if (end == END_STARTTLS_PLAINTEXT)
        said = "plaintext after STLS";
    if (end != END_IDLE)
        session_say(s, "-ERR %s%s", code, said);
}

static void pop3_flush(struct session *s)
{
    struct pop3_preauth *p = s->pop3_preauth;
    if (!p || !p->corked)
        return;
    p->corked = false;
    stream_uncork(s->client);
}

/* ---- what is offered ---- */

/* A certificate that the client has shown is nothing that a server of POP3 could be shown. */
static bool pop3_offers(const struct session *s, const struct sasl_mechanism *m)
{
    return m->kind != SASL_CERTIFICATE && conf_offers(&s->proxy->conf->proxy, m);
}

static bool pop3_may_stls(const struct session *s)
{
    return s->scheme == ADDRESS_POP3_STARTTLS && !stream_is_secure(s->client);
}

static void pop3_write_mechanisms(const struct session *s, struct buf *out)
{
    bool any = false;
    for (const struct sasl_mechanism *m = sasl_mechanisms; m->name; m++)
        if (pop3_offers(s, m)) {
            buf_printf(out, "%s%s", any ? " " : "SASL ", m->name);
            any = true;
        }
    if (any)
        buf_add_str(out, "\r\n");
}

void pop3_write_capabilities(const struct session *s, struct buf *out, bool signed_in)
{
    buf_add_str(out,
                "TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nIMPLEMENTATION imapferry\r\n");
    if (signed_in)
        return;
    if (pop3_may_stls(s))
        buf_add_str(out, "STLS\r\n");
    if (!session_may_login(s))
        return;
    if (conf_takes_passwords(&s->proxy->conf->proxy))
        buf_add_str(out, "USER\r\n");
    pop3_write_mechanisms(s, out);
}

static void pop3_run_capa(struct session *s, struct span args)
{
    struct buf list = {0};
    if (args.len > 0) {
        pop3_say_bad(s, "CAPA has no arguments");
        return;
    }
    pop3_write_capabilities(s, &list, false);
    pop3_say_good(s, "These are");
    buf_add_str(&list, ".\r\n");
    stream_send(s->client, buf_span(&list).p, list.len);
    buf_free(&list);
}

/* ---- a login that may begin ---- */

static void pop3_go_on(struct session *s)
{
    session_enter(s, IN_PREAUTH);
    if (s->client_eof && stream_peek(s->client).len == 0)
        session_close(s, END_CLIENT_GONE, NULL);
    else
        stream_again(s->client);
}

static void pop3_login_failed(struct session *s)
{
    if (++s->pop3_preauth->failed_logins >= s->proxy->conf->proxy.login_tries)
        session_close(s, END_LOGIN_TRIES, NULL);
    else
        pop3_go_on(s);
}

static void pop3_challenge(struct session *s, const char *why, const char *code, const char *text)
{
    struct buf coded = {0};
    base64_encode(&coded, span_str(why));
    session_say(s, "+ %s", buf_str(&coded));
    buf_free(&coded);
    s->pop3_preauth->expects = SASL_END;
    s->pop3_preauth->refusal = code;
    s->pop3_preauth->refusal_text = text;
    pop3_go_on(s);
}

static void pop3_preauth_sign_in(struct session *s, const struct credential *c)
{
    bool named = login_name_ok(c->authcid, ACCOUNT_LOGIN_MAX) &&
                 (c->authzid.len == 0 || login_name_ok(c->authzid, ACCOUNT_LOGIN_MAX));
    if (!named) {
        pop3_say_bad(s, "Expected a name of at most 512 bytes of UTF-8 without control characters");
    } else if (c->mechanism->kind == SASL_PASSWORD && !login_password_ok(c->secret, LIMIT_PASSWORD)) {
        pop3_say_bad(s, "Expected a password of at most 4096 bytes without control characters");
    } else {
        s->pop3_preauth->bad_in_row = 0;
        routing_begin(s, "", c);
    }
}

/* NULL: the client may sign in by a password. */
static const char *pop3_why_no_password(const struct session *s)
{
    if (!session_may_login(s))
        return "Signing in needs TLS";
    return conf_takes_passwords(&s->proxy->conf->proxy) ? NULL : "Passwords are not taken here";
}

static void pop3_run_user(struct session *s, struct span args)
{
    const char *why = pop3_why_no_password(s);
    if (why || args.len == 0) {
        pop3_say_bad(s, why ? why : "Expected USER with a name");
        return;
    }
    free(s->pop3_preauth->user);
    s->pop3_preauth->user = xspandup(args);
    pop3_say_good(s, "The password, please");
}

/* All behind the blank is the password, blanks too (RFC 1939 section 7). */
static void pop3_run_pass(struct session *s, struct span args)
{
    const char *why = pop3_why_no_password(s);
    char *user = s->pop3_preauth->user;
    struct credential c = {.mechanism = SASL_PLAIN, .authcid = span_str(user), .secret = args};
    if (why || !user) {
        pop3_say_bad(s, why ? why : "Expected USER before PASS");
        return;
    }
    s->pop3_preauth->user = NULL;
    pop3_preauth_sign_in(s, &c);
    free(user);
}

static void pop3_run_apop(struct session *s, struct span args)
{
    (void)args;
    pop3_say_bad(s, "APOP is not offered");
}

/* ---- AUTH ---- */

static void pop3_refuse_message(struct session *s)
{
    char text[128];
    snprintf(text, sizeof text, "Expected base64 of %s", s->pop3_preauth->mechanism->expected);
    pop3_say_bad(s, text);
}

static void pop3_ask(struct session *s)
{
    struct pop3_preauth *p = s->pop3_preauth;
    p->expects = SASL_RESPONSE;
    session_say(s, "+ %s", p->mechanism->prompts[p->answers]);
}

/* text: base64 of an answer. */
static void pop3_take_answer(struct session *s, struct span text)
{
    struct pop3_preauth *p = s->pop3_preauth;
    struct credential c;
    bool is_last = !p->mechanism->prompts[p->answers + 1];
    buf_room(&p->message, text.len + 1); /* nothing moves, so nothing is left behind */
    bool read = base64_decode(&p->message, text);
    if (read && !is_last) {
        buf_add(&p->message, "", 1);
        p->answers++;
        pop3_ask(s);
        return;
    }
    if (read && sasl_parse(p->mechanism, &p->message, &c))
        pop3_preauth_sign_in(s, &c);
    else
        pop3_refuse_message(s);
    if (s->pop3_preauth)
        buf_wipe(&s->pop3_preauth->message);
}

static void pop3_run_auth(struct session *s, struct span args)
{
    struct pop3_preauth *p = s->pop3_preauth;
    const uint8_t *blank = args.len > 0 ? memchr(args.p, ' ', args.len) : NULL;
    size_t n = blank ? (size_t)(blank - args.p) : args.len;
    struct span initial = blank ? span_of(blank + 1, args.len - n - 1) : span_of(NULL, 0);
    p->mechanism = sasl_find(span_of(args.p, n));
    p->answers = 0;
    buf_wipe(&p->message);
    if (!session_may_login(s))
        pop3_say_bad(s, "Signing in needs TLS");
    else if (!p->mechanism || !pop3_offers(s, p->mechanism))
        pop3_say_bad(s, "This mechanism is not offered");
    else if (initial.len == 0)
        pop3_ask(s);
    else
        pop3_take_answer(s, span_is(initial, "=") ? span_of(NULL, 0) : initial); /* RFC 5034 section 4 */
}

static void pop3_take_response(struct session *s, struct span line)
{
    struct pop3_preauth *p = s->pop3_preauth;
    bool is_end = p->expects == SASL_END;
    p->expects = COMMAND;
    if (is_end) {
        pop3_say_no(s, "", p->refusal, p->refusal_text);
        pop3_login_failed(s);
    } else if (span_is(line, "*")) {
        buf_wipe(&p->message);
        pop3_say_bad(s, "Authentication was cancelled");
    } else {
        pop3_take_answer(s, line);
    }
}

/* ---- STLS ---- */

static void pop3_run_stls(struct session *s, struct span args)
{
    if (args.len > 0 || !pop3_may_stls(s)) {
        pop3_say_bad(s, args.len > 0 ? "STLS has no arguments" : "STLS is not offered");
        return;
    }
    /* What came behind it in clear would be run as if it had come by TLS. */
    if (stream_peek(s->client).len > 0) {
        session_close(s, END_STARTTLS_PLAINTEXT, NULL);
        return;
    }
    pop3_say_good(s, "Begin TLS negotiation now");
    pop3_flush(s);
    session_enter(s, IN_SECURING);
    stream_secure(s->client, session_tls(s), NULL);
}

/* All that was said before is forgotten (RFC 2595 section 4). */
static void pop3_secured(struct session *s)
{
    struct pop3_preauth *p = s->pop3_preauth;
    pop3_line_wipe(&p->line);
    free(p->user);
    p->user = NULL;
    p->bad_in_row = 0;
    session_enter(s, IN_PREAUTH);
}

/* ---- commands ---- */

static void pop3_run_quit(struct session *s, struct span args)
{
    if (args.len > 0) {
        pop3_say_bad(s, "QUIT has no arguments");
        return;
    }
    pop3_say_good(s, "Good bye");
    session_close(s, END_LOGOUT, NULL);
}

static void pop3_run_noop(struct session *s, struct span args)
{
    (void)args;
    pop3_say_good(s, "Nothing");
}

static const struct pop3_preauth_row {
    enum pop3_verb verb;
    bool signs_in;
    void (*run)(struct session *s, struct span args);
} pop3_preauth_rows[] = {
    {POP3_CAPA, false, pop3_run_capa}, {POP3_USER, false, pop3_run_user}, {POP3_PASS, true, pop3_run_pass},
    {POP3_AUTH, true, pop3_run_auth},  {POP3_APOP, true, pop3_run_apop},  {POP3_STLS, false, pop3_run_stls},
    {POP3_QUIT, false, pop3_run_quit}, {POP3_NOOP, false, pop3_run_noop},
};

static const struct pop3_preauth_row *pop3_row_of(enum pop3_verb verb)
{
    for (size_t i = 0; i < COUNTOF(pop3_preauth_rows); i++)
        if (pop3_preauth_rows[i].verb == verb)
            return &pop3_preauth_rows[i];
    return NULL;
}

static void pop3_run_command(struct session *s, struct span line)
{
    struct pop3_preauth *p = s->pop3_preauth;
    struct pop3_cmd c = pop3_parse(line);
    const struct pop3_preauth_row *row = pop3_row_of(c.verb);
    bool counts = !(row && row->signs_in);
    if (counts && ++p->commands > LIMIT_COMMANDS)
        session_close(s, END_MANY_COMMANDS, NULL);
    else if (p->commands == 1 && !row && span_is(span_of(line.p, line.len < 6 ? line.len : 6), "PROXY "))
        session_close(s, END_PROXY_HEADER, "a PROXY header, which this listener does not expect");
    else if (row)
        row->run(s, c.args);
    else
        pop3_say_bad(s, c.verb == POP3_UNKNOWN ? "Unknown command" : "Sign in first");
}

static void pop3_take_line(struct session *s, struct span line)
{
    if (s->pop3_preauth->expects == COMMAND)
        pop3_run_command(s, line);
    else
        pop3_take_response(s, line);
    if (s->pop3_preauth)
        pop3_line_wipe(&s->pop3_preauth->line); /* a password may have been in it */
}

/* Looks at what is there, as long as the client takes the answers, and so much of it that others get their turn. */
static void pop3_take_some(struct session *s)
{
    for (unsigned n = 0; s->state == IN_PREAUTH && n < LIMIT_COMMANDS_A_TURN && !stream_full(s->client);
         n++) {
        struct pop3_preauth *p = s->pop3_preauth;
        struct span data = stream_peek(s->client), line;
        const char *why;
        size_t used;
        p->line.max = p->expects == COMMAND ? POP3_LINE : POP3_SASL_LINE;
        enum pop3_line_rc rc = pop3_line_feed(&p->line, data, &used, &line, &why);
        stream_eat(s->client, used);
        if (rc == POP3_MORE)
            break;
        if (rc == POP3_WHOLE) {
            pop3_take_line(s, line);
        } else {
            session_say(s, "-ERR Expected a line: this is %s", why);
            session_close(s, END_BAD_LINE, why);
        }
    }
}

static void pop3_data(struct session *s)
{
    stream_cork(s->client);
    s->pop3_preauth->corked = true;
    pop3_take_some(s);
    pop3_flush(s);
    if (s->state != IN_PREAUTH)
        return;
    if (!s->pop3_preauth->full && stream_full(s->client)) {
        s->pop3_preauth->full = true;
        stream_pause(s->client);
    }
    if (stream_peek(s->client).len > 0)
        stream_again(s->client);
    else if (s->client_eof)
        session_close(s, END_CLIENT_GONE, NULL);
}

static void pop3_drained(struct session *s)
{
    struct pop3_preauth *p = s->pop3_preauth;
    if (!p || !p->full)
        return;
    p->full = false;
    stream_resume(s->client);
}

static void pop3_greet(struct session *s)
{
    s->pop3_preauth = xcalloc(1, sizeof *s->pop3_preauth);
    session_say(s, "+OK imapferry ready");
    session_enter(s, IN_PREAUTH);
}

static void pop3_begin(struct session *s)
{
    session_say(s, "+OK Signed in");
    pop3_forget(s);
    pop3_relay_begin(s);
}

const struct protocol protocol_pop3 = {
    .is_pop3 = true,
    .greet = pop3_greet,
    .secured = pop3_secured,
    .data = pop3_data,
    .drained = pop3_drained,
    .flush = pop3_flush,
    .forget = pop3_forget,
    .say_no = pop3_say_no,
    .login_failed = pop3_login_failed,
    .challenge = pop3_challenge,
    .begin = pop3_begin,
    .client_event = pop3_relay_client_event,
    .has_to_finish = pop3_relay_has_to_finish,
    .backend_event = pop3_relay_backend_event,
    .timeout = pop3_relay_timeout,
    .flow = pop3_relay_flow,
    .settle = pop3_relay_settle,
    .rest = pop3_relay_rest,
    .at_boundary = pop3_relay_at_boundary,
    .end = pop3_relay_free,
    .say_bye = pop3_say_bye,
};
