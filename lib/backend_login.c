#include <stdio.h>
#include <stdlib.h>

#include "backend_login.h"
#include "base64.h"
#include "buf_room.h"
#include "imap_code.h"
#include "imap_id.h"
#include "imap_line.h"
#include "imap_resp.h"
#include "imap_url.h"
#include "imap_write.h"
#include "log.h"
#include "login_who.h"
#include "metrics.h"
#include "reach.h"
#include "sasl.h"
#include "xalloc.h"

enum { LINE_MAX_BYTES = 64 * 1024, UNTAGGED_MAX = 1000, CODE_MAX = 32, TAG_BYTES = 4 };
enum {
    SILENT_MS = 5000 /* without a word: the next address is tried, or it is said while it is waited for */
};

enum login_state {
    DIALING,
    GREETING,
    CAPS,
    STARTTLS,
    SECURING,
    CAPS2,
    ID,
    AUTH,
    PROXYAUTH,
    CAPS_AFTER,
    ID_AFTER,
    COMPRESS
};

/* What forward_id = "neutral" says, as pairs of imap_id.h. */
static const char neutral_id[] = "name\0imapferry";

struct backend_login {
    struct loop *loop;
    const struct conf_backend *backend; /* borrowed */
    struct tls_policy *policy;          /* borrowed */
    enum login_as as;
    struct credential credential;               /* the user's, or the master's password; owned */
    char *user, *client_ip, *session_id, *site; /* owned */
    bool says_id;                               /* behind the sign-in */
    struct buf own_id;                          /* these pairs */
    unsigned ttl;
    uint16_t client_port;
    bool compress, pipelined;
    uint64_t step_timeout_ms;
    backend_login_fn fn;
    void *owner; /* borrowed */

    enum login_state state;
    struct reach *reach;
    bool
        answered; /* the server at this address does what it should, as far as can be seen before a sign-in */
    struct stream *s; /* owned */
    struct imap_line line;
    size_t untagged; /* lines in this state */
    /* of the step time-out, after which a missing greeting is told; 0 = it was, or there is one */
    uint64_t silent_ms;
    uint64_t began_ns;
    struct imap_caps caps;
    bool caps_known; /* caps hold for what comes next */

    char tag[2 * TAG_BYTES + 2];    /* of the command under way */
    char id_tag[2 * TAG_BYTES + 2]; /* of the ID before it, whose answer is to come; "" = none */
    struct imap_writer w;           /* the command under way */
    size_t sent;                    /* bytes of it that were sent */
    size_t piece;                   /* "+" that came for its literals */
    struct buf sasl;                /* base64 message of AUTHENTICATE */
    bool sasl_due;                  /* it is to be sent at "+" */
    const char *acknowledge; /* AUTHENTICATE by a token: what answers the "+" that says why it is refused */
    bool refused;            /* ... which has come */
    struct buf challenge;    /* ... with this JSON object; empty: with none */

    bool referred; /* another address is on its way, to which the server has sent us */
    bool ended;    /* with this: */
    enum login_rc rc;
    char code[CODE_MAX];
    char *detail; /* owned */
};

static void login_enter(struct backend_login *b, enum login_state state);

/* --- the end --- */

/* Takes detail. The owner hears of it when the event under way has been dealt with. */
static void login_finish(struct backend_login *b, enum login_rc rc, char *detail)
{
    if (b->ended) {
        free(detail);
        return;
    }
    b->ended = true;
    b->rc = rc;
    b->detail = detail;
}

static void wipe_command(struct backend_login *b)
{
    imap_writer_wipe(&b->w);
    buf_wipe(&b->sasl);
    b->sasl_due = b->refused = false;
    b->acknowledge = NULL;
    b->sent = b->piece = 0;
}

static void login_free(struct backend_login *b)
{
    reach_free(&b->reach);
    stream_close(&b->s, b->ended && b->rc == LOGIN_REFUSED);
    wipe_command(b);
    imap_line_wipe(&b->line);
    credential_wipe(&b->credential);
    buf_free(&b->own_id);
    buf_free(&b->challenge);
    free(b->user);
    free(b->client_ip);
    free(b->session_id);
    free(b->site);
    free(b->detail);
    free(b);
}

static const char *const state_names[] = {
    [DIALING] = "dialing",
    [GREETING] = "greeting",
    [CAPS] = "capability",
    [STARTTLS] = "starttls",
    [SECURING] = "securing",
    [CAPS2] = "capability",
    [ID] = "id",
    [AUTH] = "sign_in",
    [PROXYAUTH] = "proxyauth",
    [CAPS_AFTER] = "capability_after",
    [ID_AFTER] = "id_after",
    [COMPRESS] = "compress",
};

/* As before the first greeting. */
static void login_begin_anew(struct backend_login *b)
{
    static const struct imap_line_limits limits = {
        .line = LINE_MAX_BYTES, .parts = 64, .literal = LINE_MAX_BYTES, .nonsync_max = LINE_MAX_BYTES};
    wipe_command(b);
    imap_line_wipe(&b->line);
    imap_line_init(&b->line, LINE_RESPONSES, &limits);
    stream_close(&b->s, false);
    b->state = DIALING;
    b->caps = (struct imap_caps){0};
    b->ended = b->referred = b->answered = b->caps_known = false;
    b->silent_ms = 0;
    *b->tag = *b->id_tag = *b->code = '\0';
    free(b->detail);
    b->detail = NULL;
}

/* It ended before anything secret was sent: is there another address? */
static bool login_goes_on(struct backend_login *b)
{
    char *all;
    if (b->referred) {
        login_begin_anew(b);
        return true;
    }
    if (b->answered || !b->s || (b->rc != LOGIN_UNAVAILABLE && b->rc != LOGIN_INSECURE))
        return false;
    if (reach_next(b->reach, b->rc == LOGIN_INSECURE ? DIAL_TLS_FAILED : DIAL_UNREACHABLE, b->detail, &all)) {
        login_begin_anew(b);
        return true;
    }
    free(b->detail);
    b->detail = all;
    if (reach_rc(b->reach) == DIAL_TLS_FAILED)
        b->rc = LOGIN_INSECURE;
    return false;
}

/* Those for nobody only look. */
static void login_count(const struct backend_login *b)
{
    static const char *const words[] = {[LOGIN_OK] = "ok",
                                        [LOGIN_REFUSED] = "refused",
                                        [LOGIN_UNAVAILABLE] = "unavailable",
                                        [LOGIN_INSECURE] = "insecure",
                                        [LOGIN_NO_MECHANISM] = "no_mechanism"};

    if (b->as == LOGIN_AS_NOBODY)
        return;
    metric_add(METRIC_BACKEND_SIGNINS, 1, b->backend->name, words[b->rc]);
    if (b->rc == LOGIN_OK)
        metric_observe(METRIC_BACKEND_SIGNIN_DURATION, (uv_hrtime() - b->began_ns) / 1000, b->backend->name,
                       NULL);
}

static void conclude(struct backend_login *b)
{
    if (login_goes_on(b))
        return;
    struct login_result r = {.rc = b->rc, .phase = state_names[b->state]};
    char code[CODE_MAX];
    memcpy(code, b->code, sizeof(code));
    char *detail = b->detail, *challenge = xspandup(buf_span(&b->challenge));
    b->detail = NULL;
    r.code = code;
    r.detail = detail;
    r.challenge = r.rc == LOGIN_REFUSED ? challenge : "";
    if (r.rc == LOGIN_OK) {
        stream_deadline(b->s, 0);
        r.caps = b->caps;
        r.stream = b->s;
        b->s = NULL;
    }
    login_count(b);
    backend_login_fn fn = b->fn;
    void *owner = b->owner;
    login_free(b);
    fn(owner, &r);
    free(detail);
    free(challenge);
}

/* --- what a backend says, as a text for a log --- */

static bool span_holds(struct span text, struct span part)
{
    return part.len > 0 && memmem(text.p, text.len, part.p, part.len) != NULL;
}

/* Some servers repeat a command in their error. */
static bool echoes_secret(const struct backend_login *b, struct span text)
{
    return span_holds(text, b->credential.secret) || span_holds(text, buf_span(&b->sasl));
}

/* To free. */
static char *quote_backend(const struct backend_login *b, const char *what, struct span text)
{
    if (text.len > 0 && echoes_secret(b, text))
        return xasprintf("%s (its text repeats the password and is left out)", what);
    struct buf clean = {0};
    imap_write_text(&clean, text);
    char *detail = xasprintf("%s: %s", what, buf_str(&clean));
    buf_free(&clean);
    return detail;
}

/* With why a token is refused. Takes detail; to free. */
static char *quote_challenge(const struct backend_login *b, char *detail)
{
    struct span text = buf_span(&b->challenge);
    if (text.len == 0 || echoes_secret(b, text))
        return detail;
    struct buf clean = {0};
    imap_write_text(&clean, text);
    char *both = xasprintf("%s %s", detail, buf_str(&clean));
    buf_free(&clean);
    free(detail);
    return both;
}

static void protocol_error(struct backend_login *b, const char *what)
{
    login_finish(b, LOGIN_UNAVAILABLE, xasprintf("protocol error: %s", what));
}

/* --- sending a command --- */

static void command_begin(struct backend_login *b)
{
    wipe_command(b);
    imap_writer_init(&b->w, imap_literals_of(&b->caps));
    b->tag[0] = 'F';
    random_hex(b->tag + 1, TAG_BYTES);
    imap_write_raw(&b->w, "%s ", b->tag);
}

/* Sends up to where the backend must say "+". */
static void command_go_on(struct backend_login *b)
{
    size_t to = b->piece < b->w.n_waits ? b->w.waits[b->piece] : b->w.out.len;
    struct span out = buf_span(&b->w.out);
    stream_send(b->s, out.p + b->sent, to - b->sent);
    b->sent = to;
}

static void command_end(struct backend_login *b)
{
    imap_write_raw(&b->w, "\r\n");
    if (b->w.bad)
        login_finish(b, LOGIN_REFUSED, xstrdup("the user name or password holds NUL"));
    else
        command_go_on(b);
}

static void command_simple(struct backend_login *b, const char *verb)
{
    command_begin(b);
    imap_write_raw(&b->w, "%s", verb);
    command_end(b);
}

static bool command_all_sent(const struct backend_login *b)
{
    return b->sent == b->w.out.len && !b->sasl_due;
}

/* The server says why it does not take the token, and waits for an answer before it says NO. */
static void take_challenge(struct backend_login *b, struct span text)
{
    const char *answer = b->acknowledge;
    b->acknowledge = NULL;
    b->refused = true;
    if (!sasl_read_challenge(&b->challenge, text))
        LOG(DEBUG, "odd_challenge", LOG_S("backend", b->backend->name), LOG_U("bytes", text.len));
    stream_cork(b->s);
    stream_send(b->s, answer, strlen(answer));
    stream_send(b->s, "\r\n", 2);
    stream_uncork(b->s);
}

static void reply_continue(struct backend_login *b, struct span text)
{
    if (b->piece < b->w.n_waits) {
        b->piece++;
        command_go_on(b);
    } else if (b->sasl_due) {
        b->sasl_due = false;
        stream_cork(b->s);
        stream_send(b->s, buf_span(&b->sasl).p, b->sasl.len);
        stream_send(b->s, "\r\n", 2);
        stream_uncork(b->s);
    } else if (b->acknowledge) {
        take_challenge(b, text);
    } else {
        protocol_error(b, "a continuation request that nothing waits for");
    }
}

/* --- sign-in --- */

/* Who shows the secret, and for whom: *c, whose parts are borrowed, also from *login, which is to be freed.
 * False: the login is over. */
static bool choose_credential(struct backend_login *b, struct credential *c, char **login)
{
    const char *why;
    *c = b->credential;
    enum login_rc rc = login_who(b->backend, b->as, b->user, c, login, &why);
    if (rc == LOGIN_OK)
        return true;
    login_finish(b, rc, xstrdup(why));
    return false;
}

static void send_authenticate(struct backend_login *b, const struct credential *c)
{
    struct buf message = {0};
    command_begin(b);
    b->acknowledge = c->mechanism->acknowledge;
    if (!sasl_write(&message, c))
        b->w.bad = true;
    base64_encode(&b->sasl, buf_span(&message));
    buf_wipe(&message);
    imap_write_raw(&b->w, "AUTHENTICATE %s", c->mechanism->name);
    b->sasl_due = !imap_caps_has(&b->caps, CAP_SASL_IR);
    if (!b->sasl_due) {
        imap_write_raw(&b->w, " ");
        buf_room(&b->w.out, b->sasl.len);
        buf_add_span(&b->w.out, buf_span(&b->sasl));
    }
    command_end(b);
}

static void send_login(struct backend_login *b, const struct credential *c)
{
    command_begin(b);
    imap_write_raw(&b->w, "LOGIN ");
    if (imap_is_astring_atom(c->authcid))
        imap_write_astring(&b->w, c->authcid);
    else
        imap_write_secret(&b->w, c->authcid);
    imap_write_raw(&b->w, " ");
    imap_write_secret(&b->w, c->secret);
    command_end(b);
}

/* NULL: go on. To free. *rc: how the login ends. */
static char *why_no_sign_in(const struct backend_login *b, const struct credential *c, enum login_rc *rc)
{
    const char *name = c->mechanism->name;
    *rc = LOGIN_UNAVAILABLE;
    bool disabled = imap_caps_has(&b->caps, CAP_LOGINDISABLED);
    if (disabled && !stream_is_secure(b->s))
        return xstrdup("the backend wants TLS before a sign-in (LOGINDISABLED)");
    if (sasl_choose(c, &b->caps))
        return NULL;
    if (c->mechanism->kind != SASL_PASSWORD) {
        *rc = LOGIN_NO_MECHANISM;
        return xasprintf("the backend offers no AUTH=%s, nor another mechanism for such a sign-in", name);
    }
    if (c->authzid.len > 0)
        return xasprintf("the backend offers no AUTH=%s: set master_login", name);
    return disabled ? xasprintf("the backend offers neither LOGIN nor AUTH=%s", name) : NULL;
}

static void send_sign_in(struct backend_login *b)
{
    struct credential c;
    char *login = NULL;
    if (!choose_credential(b, &c, &login))
        return;
    enum login_rc rc;
    char *why = why_no_sign_in(b, &c, &rc);
    const struct sasl_mechanism *by = sasl_choose(&c, &b->caps);
    if (by)
        c.mechanism = by;
    if (why)
        login_finish(b, rc, why); /* takes it */
    else if (by)
        send_authenticate(b, &c);
    else
        send_login(b, &c);
    free(login);
    b->caps_known = false;
}

static void send_proxyauth(struct backend_login *b)
{
    command_begin(b);
    imap_write_raw(&b->w, "PROXYAUTH ");
    imap_write_astring(&b->w, span_str(b->user));
    command_end(b);
}

/* --- the other commands --- */

static void send_capability(struct backend_login *b)
{
    b->caps_known = false;
    command_simple(b, "CAPABILITY");
}

static void introduced(struct backend_login *b)
{
    if (b->compress && imap_caps_has(&b->caps, CAP_COMPRESS_DEFLATE))
        login_enter(b, COMPRESS);
    else
        login_finish(b, LOGIN_OK, xstrdup(""));
}

/* Signed in, and the capabilities are known. */
static void signed_in(struct backend_login *b)
{
    if (b->says_id && imap_caps_has(&b->caps, CAP_ID))
        login_enter(b, ID_AFTER);
    else
        introduced(b);
}

static void send_own_id(struct backend_login *b)
{
    command_begin(b);
    imap_id_write(&b->w, buf_span(&b->own_id));
    command_end(b);
}

static void send_starttls(struct backend_login *b)
{
    if (imap_caps_has(&b->caps, CAP_STARTTLS))
        command_simple(b, "STARTTLS");
    else
        login_finish(b, LOGIN_INSECURE, xstrdup("the backend does not offer STARTTLS"));
}

static void start_handshake(struct backend_login *b)
{
    if (stream_peek(b->s).len > 0) {
        login_finish(b, LOGIN_INSECURE, xstrdup("plaintext behind the answer to STARTTLS"));
        return;
    }
    wipe_command(b);
    b->caps = (struct imap_caps){0};
    stream_secure(b->s, b->policy, reach_name(b->reach));
}

static void write_id_pair(struct backend_login *b, const char *key, const char *value, bool *first)
{
    if (!value)
        return;
    imap_write_raw(&b->w, "%s\"%s\" ", *first ? "" : " ", key);
    imap_write_string(&b->w, span_str(value));
    *first = false;
}

static void write_id_number(struct backend_login *b, const char *key, unsigned n, bool *first)
{
    char value[12];
    snprintf(value, sizeof value, "%u", n);
    if (n > 0)
        write_id_pair(b, key, value, first);
}

static void send_id(struct backend_login *b)
{
    bool first = true;
    command_begin(b);
    imap_write_raw(&b->w, "ID (");
    write_id_pair(b, "x-originating-ip", b->client_ip, &first);
    write_id_number(b, "x-originating-port", b->client_port, &first);
    write_id_pair(b, "x-session-id", b->session_id, &first);
    write_id_pair(b, "x-proxy-site", b->site, &first);
    write_id_number(b, "x-proxy-ttl", b->ttl, &first);
    imap_write_raw(&b->w, ")");
    command_end(b);
}

/* Nothing of ID or the sign-in waits for "+". */
static bool may_pipeline(const struct backend_login *b)
{
    return b->pipelined && !b->ended && command_all_sent(b) && sasl_choose(&b->credential, &b->caps) &&
           imap_caps_has(&b->caps, CAP_SASL_IR);
}

/* --- from state to state --- */

static void after_caps(struct backend_login *b)
{
    bool wants_id = b->client_ip || b->session_id || b->site || b->ttl > 0;
    if (b->backend->address.scheme == ADDRESS_IMAP_STARTTLS && !stream_is_secure(b->s)) {
        login_enter(b, STARTTLS);
        return;
    }
    b->answered = true;
    reach_answered(b->reach);
    if (b->as == LOGIN_AS_NOBODY)
        login_finish(b, LOGIN_OK, xstrdup(""));
    else if (wants_id && imap_caps_has(&b->caps, CAP_ID))
        login_enter(b, ID);
    else
        login_enter(b, AUTH);
}

static void after_sign_in(struct backend_login *b)
{
    wipe_command(b);
    if (b->state == AUTH && b->as == LOGIN_AS_MASTER && b->backend->sign_in == SIGN_IN_PROXYAUTH)
        login_enter(b, PROXYAUTH);
    else if (b->caps_known)
        signed_in(b);
    else
        login_enter(b, CAPS_AFTER);
}

/* The backend said OK to what the state sent. */
static void reply_ok(struct backend_login *b)
{
    switch (b->state) {
    case CAPS:
    case CAPS2:
    case CAPS_AFTER:
        if (!b->caps_known)
            protocol_error(b, "OK to CAPABILITY without capabilities");
        else if (b->state == CAPS_AFTER)
            signed_in(b);
        else
            after_caps(b);
        break;
    case STARTTLS:
        login_enter(b, SECURING);
        break;
    case ID:
        login_enter(b, AUTH);
        break;
    case AUTH:
    case PROXYAUTH:
        after_sign_in(b);
        break;
    case ID_AFTER:
        introduced(b);
        break;
    case COMPRESS:
        stream_compress(b->s); /* what is unread is packed already */
        login_finish(b, LOGIN_OK, xstrdup(""));
        break;
    case DIALING:
    case GREETING:
    case SECURING:
        protocol_error(b, "a tagged answer to nothing");
        break;
    }
}

/* Keeps the code where clients may see it. */
static bool is_code_of_unavailability(struct backend_login *b, struct span text)
{
    const struct imap_code *code = imap_code_find(text);
    if (code && code->text)
        snprintf(b->code, sizeof(b->code), "%s", code->name);
    return code && code->not_the_user;
}

static bool is_authenticated_but_not_connected(struct span text)
{
    char *copy = xspandup(text);
    bool is = strcasestr(copy, "authenticated but not connected") != NULL;
    wipe(copy, text.len);
    free(copy);
    return is;
}

/* Is it the user who signs in, or a name of the same one? */
static bool login_is_for_us(const struct backend_login *b, const struct imap_url *url)
{
    return !*url->user || (b->user && strcmp(url->user, b->user) == 0) ||
           span_is(b->credential.authcid, url->user);
}

/* Only the route says where an account lives. So this is followed to another address of the same backend, which
 * has the same mail, and nowhere else. */
static void login_refer(struct backend_login *b, struct span text)
{
    struct imap_url url;
    b->referred =
        imap_url_parse(text, &url) && login_is_for_us(b, &url) && reach_refer(b->reach, url.host, url.port);
    if (b->referred)
        LOG(INFO, "referral", LOG_S("backend", b->backend->name), LOG_S("session", b->session_id),
            LOG_S("to", url.host));
    login_finish(b, LOGIN_UNAVAILABLE,
                 b->referred
                     ? xstrdup("")
                     : quote_backend(b,
                                     "the backend refers to what is no other address of its own (or leads "
                                     "round), which is not followed",
                                     text));
}

static void reply_not_ok(struct backend_login *b, const struct imap_resp *r)
{
    struct span url;
    if (b->state == ID) {
        login_enter(b, AUTH);
        return;
    }
    if (b->state == ID_AFTER) {
        introduced(b);
        return;
    }
    if (b->state == COMPRESS) {
        login_finish(b, LOGIN_OK, xstrdup(""));
        return;
    }
    bool no = r->status == STATUS_NO;
    if (no && (b->state == AUTH || b->state == PROXYAUTH) && imap_code_is(r->code, "REFERRAL", &url)) {
        login_refer(b, url);
        return;
    }
    enum login_rc rc = LOGIN_UNAVAILABLE;
    if (b->state == STARTTLS)
        rc = LOGIN_INSECURE;
    else if (is_authenticated_but_not_connected(r->text))
        rc = LOGIN_REFUSED;
    else if (no && (b->state == AUTH || b->state == PROXYAUTH) && !is_code_of_unavailability(b, r->code))
        rc = LOGIN_REFUSED;
    char *detail = quote_backend(b, no ? "the backend said NO" : "the backend said BAD", r->text);
    login_finish(b, rc, quote_challenge(b, detail));
}

static void login_note_caps(struct backend_login *b, struct span words)
{
    imap_caps_parse(&b->caps, words);
    imap_caps_override(&b->caps, b->backend->capabilities.items, b->backend->capabilities.n);
    b->caps_known = true;
}

static void note_caps_code(struct backend_login *b, const struct imap_resp *r)
{
    struct span words;
    if (r->status == STATUS_OK && imap_code_is(r->code, "CAPABILITY", &words))
        login_note_caps(b, words);
}

static void reply_greeting(struct backend_login *b, const struct imap_resp *r)
{
    if (r->kind != RESP_STATUS) {
        protocol_error(b, "no greeting");
    } else if (r->status == STATUS_PREAUTH) {
        bool starttls = b->backend->address.scheme == ADDRESS_IMAP_STARTTLS;
        login_finish(b, starttls ? LOGIN_INSECURE : LOGIN_UNAVAILABLE,
                     xstrdup("the backend greets with PREAUTH: nobody can tell as whom"));
    } else if (r->status != STATUS_OK) {
        login_finish(b, LOGIN_UNAVAILABLE, quote_backend(b, "the backend greets with a refusal", r->text));
    } else {
        note_caps_code(b, r);
        if (b->caps_known)
            after_caps(b);
        else
            login_enter(b, CAPS);
    }
}

static void reply_tagged(struct backend_login *b, const struct imap_resp *r)
{
    if (*b->id_tag && span_is(r->tag, b->id_tag)) {
        *b->id_tag = '\0';
        b->caps_known = false; /* what was said until now holds before the sign-in */
    } else if (*b->id_tag || !span_is(r->tag, b->tag)) {
        protocol_error(b, "an answer with a tag that was not sent");
    } else if (r->status != STATUS_OK) {
        reply_not_ok(b, r);
    } else if (!command_all_sent(b)) {
        protocol_error(b, "OK to half a command");
    } else if (b->refused) {
        protocol_error(b, "OK behind the reason of a refusal");
    } else {
        note_caps_code(b, r);
        reply_ok(b);
    }
}

static void reply_untagged(struct backend_login *b, const struct imap_resp *r, struct span line)
{
    if (++b->untagged > UNTAGGED_MAX)
        protocol_error(b, "too many untagged lines");
    else if (r->status == STATUS_BYE)
        login_finish(b, LOGIN_UNAVAILABLE, quote_backend(b, "the backend said BYE", r->text));
    else if (r->kind == RESP_STATUS)
        note_caps_code(b, r);
    else if (!r->has_number && span_is_ci(r->word, "CAPABILITY"))
        login_note_caps(b, span_of(line.p + r->rest, line.len - r->rest));
}

/* The first line of a response; further ones, behind literals, hold nothing for us. */
static void login_reply(struct backend_login *b, struct span line)
{
    struct imap_resp r;
    const char *why;
    if (!imap_resp_parse(line, &r, &why))
        protocol_error(b, why);
    else if (b->state == GREETING)
        reply_greeting(b, &r);
    else if (r.kind == RESP_TAGGED)
        reply_tagged(b, &r);
    else if (r.kind == RESP_CONTINUE)
        reply_continue(b, r.text);
    else
        reply_untagged(b, &r, line);
}

static uint64_t login_patience_ms(const struct backend_login *b)
{
    uint64_t third = b->step_timeout_ms / 3;
    return third < SILENT_MS ? third : SILENT_MS;
}

/* A server may take its time. A port that speaks TLS waits for us for ever, and whoever waits for this login
 * should know before all of the step time-out is over. */
static void await_greeting(struct backend_login *b)
{
    b->silent_ms = login_patience_ms(b);
    if (b->silent_ms > 0)
        stream_deadline(b->s, b->silent_ms);
}

/* Where another address may be better, nobody waits for long. */
static uint64_t login_step_ms(const struct backend_login *b)
{
    uint64_t ms = login_patience_ms(b);
    return ms == 0 || b->answered || !reach_has_more(b->reach) ? b->step_timeout_ms : ms;
}

static void login_enter(struct backend_login *b, enum login_state state)
{
    LOG(DEBUG, "backend_login", LOG_S("backend", b->backend->name), LOG_S("session", b->session_id),
        LOG_S("from", state_names[b->state]), LOG_S("to", state_names[state]));
    b->state = state;
    b->untagged = 0;
    stream_deadline(b->s, login_step_ms(b));
    switch (state) {
    case DIALING:
        break;
    case GREETING:
        await_greeting(b);
        break;
    case CAPS:
    case CAPS2:
    case CAPS_AFTER:
        send_capability(b);
        break;
    case STARTTLS:
        send_starttls(b);
        break;
    case SECURING:
        start_handshake(b);
        break;
    case ID:
        stream_cork(b->s);
        send_id(b);
        if (may_pipeline(b)) {
            memcpy(b->id_tag, b->tag, sizeof b->id_tag);
            login_enter(b, AUTH);
        }
        stream_uncork(b->s);
        break;
    case AUTH:
        send_sign_in(b);
        break;
    case PROXYAUTH:
        send_proxyauth(b);
        break;
    case ID_AFTER:
        send_own_id(b);
        break;
    case COMPRESS:
        command_simple(b, "COMPRESS DEFLATE");
        break;
    }
}

/* --- events --- */

/* One thing out of the unread bytes; false: it takes more. */
static bool login_read_one(struct backend_login *b)
{
    struct span in = stream_peek(b->s);
    if (in.len == 0)
        return false;
    struct imap_line_item item;
    size_t used;
    enum imap_line_rc rc = imap_line_feed(&b->line, in.p, in.len, &used, &item);
    stream_eat(b->s, used);
    if (rc == LINE_BAD)
        protocol_error(b, item.why);
    else if (rc == LINE_TEXT && item.first)
        login_reply(b, item.text);
    else if (rc == LINE_TEXT && ++b->untagged > UNTAGGED_MAX)
        protocol_error(b, "too many untagged lines");
    return true;
}

/* The end came without a word of the backend's: what that mostly means in this state. */
static const char *hint_of(const struct backend_login *b)
{
    bool plain = b->backend->address.scheme != ADDRESS_IMAPS && !stream_is_secure(b->s);

    if (b->state == GREETING && plain)
        return "; it has not greeted: see whether this port speaks TLS from its first byte (imaps://), and whether the server "
               "takes connections from here";
    if (b->state == GREETING)
        return "; it has not greeted: see whether the server takes connections from here";
    if ((b->state == AUTH || b->state == PROXYAUTH) && b->as == LOGIN_AS_MASTER)
        return "; that was at a sign-in as master: see whether the user exists there (Dovecot hangs up without a word where it "
               "does not), and the server's own log";
    return "";
}

static void ended_without_a_word(struct backend_login *b, const char *what)
{
    login_finish(b, LOGIN_UNAVAILABLE, xasprintf("%s%s", what, hint_of(b)));
}

static void on_timeout(struct backend_login *b)
{
    uint64_t waited = b->silent_ms;

    b->silent_ms = 0;
    if (b->state != GREETING || waited == 0 || reach_has_more(b->reach)) {
        ended_without_a_word(b, "no answer in time");
        return;
    }
    LOG(WARN, "no_greeting_yet", LOG_S("backend", b->backend->name), LOG_S("session", b->session_id),
        LOG_U("ms", waited), LOG_S("hint", hint_of(b) + strlen("; ")));
    stream_deadline(b->s, b->step_timeout_ms - waited);
}

static void login_broken(struct backend_login *b)
{
    if (b->state == SECURING && stream_error_is_tls(b->s))
        login_finish(b, LOGIN_INSECURE, xstrdup(stream_error(b->s)));
    else
        ended_without_a_word(b, stream_error(b->s));
}

static void login_event(struct stream *s, enum stream_event ev, void *owner)
{
    (void)s;
    struct backend_login *b = owner;
    switch (ev) {
    case STREAM_DATA:
        while (!b->ended && b->state != SECURING && login_read_one(b))
            ;
        break;
    case STREAM_SECURE:
        login_enter(b, CAPS2);
        break;
    case STREAM_EOF:
        ended_without_a_word(b, "the backend closed the connection");
        break;
    case STREAM_TIMEOUT:
        on_timeout(b);
        break;
    case STREAM_ERROR:
        login_broken(b);
        break;
    case STREAM_CONNECTED:
    case STREAM_DRAINED:
        break;
    }
    if (b->ended)
        conclude(b);
}

static void login_dialled(void *owner, enum dial_rc rc, struct stream *s, const char *detail)
{
    struct backend_login *b = owner;
    b->s = s;
    if (rc == DIAL_OK) {
        stream_set_owner(s, login_event, b);
        login_enter(b, GREETING);
        return;
    }
    login_finish(b, rc == DIAL_TLS_FAILED ? LOGIN_INSECURE : LOGIN_UNAVAILABLE, xstrdup(detail));
    conclude(b);
}

/* Copied, since the configuration may change while the login goes on; who shows it is chosen when it is sent.
 */
static void copy_master_password(struct backend_login *b)
{
    struct credential master = credential_of_password("", b->backend->master_password);
    credential_copy(&b->credential, &master);
}

static void choose_own_id(struct backend_login *b, const struct login_request *r)
{
    enum forward_id forward = r->backend->forward_id;
    bool client = forward == FORWARD_ID_CLIENT && r->for_client;
    b->says_id = client ? r->said_id : forward != FORWARD_ID_NONE;
    if (b->says_id)
        buf_add_span(&b->own_id, client ? r->client_id : span_of(neutral_id, sizeof(neutral_id)));
}

static void dial_with_header(struct backend_login *b, const struct login_request *r)
{
    struct buf header = {0};
    if (r->backend->proxy_protocol != PROXY_PROTOCOL_NONE)
        proxyproto_write(&header, r->backend->proxy_protocol == PROXY_PROTOCOL_V1 ? 1 : 2, r->ends);
    b->reach = reach_start(b->loop,
                           &(struct reach_request){.backend = r->backend,
                                                   .policy = r->policy,
                                                   .outage = r->outage,
                                                   .user = r->user,
                                                   .place = r->place,
                                                   .first = buf_span(&header),
                                                   .names_client = header.len > 0 && r->ends,
                                                   .limits = r->limits,
                                                   .connect_timeout_ms = r->connect_timeout_ms,
                                                   .all_ms = r->connect_timeout_ms + r->step_timeout_ms},
                           login_dialled, b);
    buf_free(&header);
}

struct backend_login *backend_login_start(struct loop *l, const struct login_request *request,
                                          backend_login_fn fn, void *owner)
{
    struct backend_login *b = xcalloc(1, sizeof(*b));
    *b = (struct backend_login){.loop = l,
                                .backend = request->backend,
                                .policy = request->policy,
                                .as = request->as,
                                .user = xstrdup(request->user),
                                .client_ip = xstrdup(request->client_ip),
                                .session_id = xstrdup(request->session_id),
                                .site = xstrdup(request->site),
                                .ttl = request->ttl,
                                .client_port = request->client_port,
                                .compress = request->compress,
                                .pipelined = request->pipelined,
                                .step_timeout_ms = request->step_timeout_ms,
                                .fn = fn,
                                .owner = owner,
                                .began_ns = uv_hrtime(),
                                .state = DIALING};
    if (request->as == LOGIN_AS_USER)
        credential_copy(&b->credential, &request->credential);
    else if (request->as == LOGIN_AS_MASTER)
        copy_master_password(b);
    choose_own_id(b, request);
    login_begin_anew(b);
    dial_with_header(b, request);
    return b;
}

void backend_login_cancel(struct backend_login **b)
{
    if (*b)
        login_free(*b);
    *b = NULL;
}
