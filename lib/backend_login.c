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
#include "login_dialog.h"
#include "login_who.h"
#include "sasl.h"
#include "xalloc.h"

enum { LINE_MAX_BYTES = 64 * 1024, UNTAGGED_MAX = 1000, TAG_BYTES = 4 };
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
    struct login_dialog d;
    char *client_ip, *site; /* owned */
    bool says_id;           /* behind the sign-in */
    struct buf own_id;      /* these pairs */
    unsigned ttl;
    uint16_t client_port;
    bool compress, pipelined;

    enum login_state state;
    struct imap_line line;
    size_t untagged; /* lines in this state */
    /* of the step time-out, after which a missing greeting is told; 0 = it was, or there is one */
    uint64_t silent_ms;
    struct imap_caps caps;
    bool caps_known; /* caps hold for what comes next */

    char tag[2 * TAG_BYTES + 2];    /* of the command under way */
    char id_tag[2 * TAG_BYTES + 2]; /* of the ID before it, whose answer is to come; "" = none */
    struct imap_writer w;           /* the command under way */
    size_t sent;                    /* bytes of it that were sent */
    size_t piece;                   /* "+" that came for its literals */
    bool sasl_due;                  /* the message of AUTHENTICATE is to be sent at "+" */

    bool referred; /* another address is on its way, to which the server has sent us */
};

static void login_enter(struct backend_login *b, enum login_state state);

/* --- the end --- */

/* Takes detail. */
static void login_finish(struct backend_login *b, enum login_rc rc, char *detail)
{
    login_dialog_finish(&b->d, rc, detail);
}

static void wipe_command(struct backend_login *b)
{
    imap_writer_wipe(&b->w);
    login_dialog_wipe(&b->d);
    b->sasl_due = false;
    b->sent = b->piece = 0;
}

static void login_free(void *login)
{
    struct backend_login *b = login;
    wipe_command(b);
    imap_line_wipe(&b->line);
    login_dialog_free(&b->d);
    buf_free(&b->own_id);
    free(b->client_ip);
    free(b->site);
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
    login_dialog_begin_anew(&b->d);
    b->state = DIALING;
    b->caps = (struct imap_caps){0};
    b->referred = b->caps_known = false;
    b->silent_ms = 0;
    *b->tag = *b->id_tag = '\0';
}

static void conclude(struct backend_login *b)
{
    if (b->referred || login_dialog_goes_on(&b->d))
        login_begin_anew(b);
    else
        login_dialog_conclude(&b->d, state_names[b->state], &b->caps, login_free, b);
}

static void protocol_error(struct backend_login *b, const char *what)
{
    login_dialog_protocol_error(&b->d, what);
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
    stream_send(b->d.s, out.p + b->sent, to - b->sent);
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

static void reply_continue(struct backend_login *b, struct span text)
{
    if (b->piece < b->w.n_waits) {
        b->piece++;
        command_go_on(b);
    } else if (b->sasl_due) {
        b->sasl_due = false;
        stream_cork(b->d.s);
        stream_send(b->d.s, buf_span(&b->d.sasl).p, b->d.sasl.len);
        stream_send(b->d.s, "\r\n", 2);
        stream_uncork(b->d.s);
    } else if (b->d.acknowledge) {
        login_dialog_take_challenge(&b->d, text);
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
    *c = b->d.credential;
    enum login_rc rc = login_who(b->d.backend, b->d.as, b->d.user, c, login, &why);
    if (rc == LOGIN_OK)
        return true;
    login_finish(b, rc, xstrdup(why));
    return false;
}

static void send_authenticate(struct backend_login *b, const struct credential *c)
{
    struct buf message = {0};
    command_begin(b);
    b->d.acknowledge = c->mechanism->acknowledge;
    if (!sasl_write(&message, c))
        b->w.bad = true;
    base64_encode(&b->d.sasl, buf_span(&message));
    buf_wipe(&message);
    imap_write_raw(&b->w, "AUTHENTICATE %s", c->mechanism->name);
    b->sasl_due = !imap_caps_has(&b->caps, CAP_SASL_IR);
    if (!b->sasl_due) {
        imap_write_raw(&b->w, " ");
        buf_room(&b->w.out, b->d.sasl.len);
        buf_add_span(&b->w.out, buf_span(&b->d.sasl));
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
    if (disabled && !stream_is_secure(b->d.s))
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
    imap_write_astring(&b->w, span_str(b->d.user));
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
    if (stream_peek(b->d.s).len > 0) {
        login_finish(b, LOGIN_INSECURE, xstrdup("plaintext behind the answer to STARTTLS"));
        return;
    }
    wipe_command(b);
    b->caps = (struct imap_caps){0};
    stream_secure(b->d.s, b->d.policy, reach_name(b->d.reach));
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
    write_id_pair(b, "x-session-id", b->d.session_id, &first);
    write_id_pair(b, "x-proxy-site", b->site, &first);
    write_id_number(b, "x-proxy-ttl", b->ttl, &first);
    imap_write_raw(&b->w, ")");
    command_end(b);
}

/* Nothing of ID or the sign-in waits for "+". */
static bool may_pipeline(const struct backend_login *b)
{
    return b->pipelined && !b->d.ended && command_all_sent(b) && sasl_choose(&b->d.credential, &b->caps) &&
           imap_caps_has(&b->caps, CAP_SASL_IR);
}

/* --- from state to state --- */

static void after_caps(struct backend_login *b)
{
    bool wants_id = b->client_ip || b->d.session_id || b->site || b->ttl > 0;
    if (b->d.backend->address.scheme == ADDRESS_IMAP_STARTTLS && !stream_is_secure(b->d.s)) {
        login_enter(b, STARTTLS);
        return;
    }
    login_dialog_answered(&b->d);
    if (b->d.as == LOGIN_AS_NOBODY)
        login_finish(b, LOGIN_OK, xstrdup(""));
    else if (wants_id && imap_caps_has(&b->caps, CAP_ID))
        login_enter(b, ID);
    else
        login_enter(b, AUTH);
}

static void after_sign_in(struct backend_login *b)
{
    wipe_command(b);
    if (b->state == AUTH && b->d.as == LOGIN_AS_MASTER && b->d.backend->sign_in == SIGN_IN_PROXYAUTH)
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
        stream_compress(b->d.s); /* what is unread is packed already */
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
        snprintf(b->d.code, sizeof(b->d.code), "%s", code->name);
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
    return !*url->user || (b->d.user && strcmp(url->user, b->d.user) == 0) ||
           span_is(b->d.credential.authcid, url->user);
}

/* Only the route says where an account lives. So this is followed to another address of the same backend, which
 * has the same mail, and nowhere else. */
static void login_refer(struct backend_login *b, struct span text)
{
    struct imap_url url;
    b->referred =
        imap_url_parse(text, &url) && login_is_for_us(b, &url) && reach_refer(b->d.reach, url.host, url.port);
    if (b->referred)
        LOG(INFO, "referral", LOG_S("backend", b->d.backend->name), LOG_S("session", b->d.session_id),
            LOG_S("to", url.host));
    login_finish(b, LOGIN_UNAVAILABLE,
                 b->referred ? xstrdup("")
                             : login_dialog_quote(
                                   &b->d,
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
    char *detail = login_dialog_quote(&b->d, no ? "the backend said NO" : "the backend said BAD", r->text);
    login_finish(b, rc, login_dialog_quote_challenge(&b->d, detail));
}

static void login_note_caps(struct backend_login *b, struct span words)
{
    imap_caps_parse(&b->caps, words);
    imap_caps_override(&b->caps, b->d.backend->capabilities.items, b->d.backend->capabilities.n);
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
        bool starttls = b->d.backend->address.scheme == ADDRESS_IMAP_STARTTLS;
        login_finish(b, starttls ? LOGIN_INSECURE : LOGIN_UNAVAILABLE,
                     xstrdup("the backend greets with PREAUTH: nobody can tell as whom"));
    } else if (r->status != STATUS_OK) {
        login_finish(b, LOGIN_UNAVAILABLE,
                     login_dialog_quote(&b->d, "the backend greets with a refusal", r->text));
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
    } else if (b->d.refused) {
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
        login_finish(b, LOGIN_UNAVAILABLE, login_dialog_quote(&b->d, "the backend said BYE", r->text));
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

/* A server may take its time. A port that speaks TLS waits for us for ever, and whoever waits for this login
 * should know before all of the step time-out is over. */
static void await_greeting(struct backend_login *b)
{
    b->silent_ms = login_dialog_patience_ms(&b->d);
    if (b->silent_ms > 0)
        stream_deadline(b->d.s, b->silent_ms);
}

static void login_enter(struct backend_login *b, enum login_state state)
{
    LOG(DEBUG, "backend_login", LOG_S("backend", b->d.backend->name), LOG_S("session", b->d.session_id),
        LOG_S("from", state_names[b->state]), LOG_S("to", state_names[state]));
    b->state = state;
    b->untagged = 0;
    stream_deadline(b->d.s, login_dialog_step_ms(&b->d));
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
        stream_cork(b->d.s);
        send_id(b);
        if (may_pipeline(b)) {
            memcpy(b->id_tag, b->tag, sizeof b->id_tag);
            login_enter(b, AUTH);
        }
        stream_uncork(b->d.s);
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
    struct span in = stream_peek(b->d.s);
    if (in.len == 0)
        return false;
    struct imap_line_item item;
    size_t used;
    enum imap_line_rc rc = imap_line_feed(&b->line, in.p, in.len, &used, &item);
    stream_eat(b->d.s, used);
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
    bool plain = b->d.backend->address.scheme != ADDRESS_IMAPS && !stream_is_secure(b->d.s);

    if (b->state == GREETING && plain)
        return "; it has not greeted: see whether this port speaks TLS from its first byte (imaps://), and whether the server "
               "takes connections from here";
    if (b->state == GREETING)
        return "; it has not greeted: see whether the server takes connections from here";
    if ((b->state == AUTH || b->state == PROXYAUTH) && b->d.as == LOGIN_AS_MASTER)
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
    if (b->state != GREETING || waited == 0 || reach_has_more(b->d.reach)) {
        ended_without_a_word(b, "no answer in time");
        return;
    }
    LOG(WARN, "no_greeting_yet", LOG_S("backend", b->d.backend->name), LOG_S("session", b->d.session_id),
        LOG_U("ms", waited), LOG_S("hint", hint_of(b) + strlen("; ")));
    stream_deadline(b->d.s, b->d.step_timeout_ms - waited);
}

static void login_broken(struct backend_login *b)
{
    if (b->state == SECURING && stream_error_is_tls(b->d.s))
        login_finish(b, LOGIN_INSECURE, xstrdup(stream_error(b->d.s)));
    else
        ended_without_a_word(b, stream_error(b->d.s));
}

static void login_event(struct stream *s, enum stream_event ev, void *owner)
{
    (void)s;
    struct backend_login *b = owner;
    switch (ev) {
    case STREAM_DATA:
        while (!b->d.ended && b->state != SECURING && login_read_one(b))
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
    if (b->d.ended)
        conclude(b);
}

static void login_dialled(void *owner, enum dial_rc rc, struct stream *s, const char *detail)
{
    struct backend_login *b = owner;
    b->d.s = s;
    if (rc == DIAL_OK) {
        stream_set_owner(s, login_event, b);
        login_enter(b, GREETING);
        return;
    }
    login_dialog_unreachable(&b->d, rc, detail);
    conclude(b);
}

static void choose_own_id(struct backend_login *b, const struct login_request *r)
{
    enum forward_id forward = r->backend->forward_id;
    bool client = forward == FORWARD_ID_CLIENT && r->for_client;
    b->says_id = client ? r->said_id : forward != FORWARD_ID_NONE;
    if (b->says_id)
        buf_add_span(&b->own_id, client ? r->client_id : span_of(neutral_id, sizeof(neutral_id)));
}

struct backend_login *backend_login_start(struct loop *l, const struct login_request *request,
                                          backend_login_fn fn, void *owner)
{
    struct backend_login *b = xcalloc(1, sizeof(*b));
    *b = (struct backend_login){.client_ip = xstrdup(request->client_ip),
                                .site = xstrdup(request->site),
                                .ttl = request->ttl,
                                .client_port = request->client_port,
                                .compress = request->compress,
                                .pipelined = request->pipelined,
                                .state = DIALING};
    choose_own_id(b, request);
    login_begin_anew(b);
    login_dialog_begin(&b->d, l, request, NULL, login_dialled, b, fn, owner);
    return b;
}

void backend_login_cancel(struct backend_login **b)
{
    if (*b)
        login_free(*b);
    *b = NULL;
}
