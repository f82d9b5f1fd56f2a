#include <stdio.h>
#include <stdlib.h>

#include "lib/buf_room.h"
#include "lib/imap_cmd.h"
#include "lib/imap_id.h"
#include "lib/imap_tok.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "client_id.h"
#include "peer.h"
#include "preauth_priv.h"
#include "proxy.h"

static const struct imap_tree_limits args_limits = {.depth = 4, .values = 128, .bytes = 32 * 1024};
static const struct imap_tree_limits long_args_limits = {.depth = 4, .values = 128, .bytes = LIMIT_ID_LINE};

/* ---- a long ID ----
 *
 * A line is short before login, but for ID: 30 pairs of 1,024 bytes in quotes, each of which may have a
 * backslash before it (RFC 2971 3.3). Nobody says as much, so a few places of a thread are enough for those
 * who do. */

static bool take_long_place(struct session *s)
{
    struct preauth *p = s->preauth;
    if (p->has_long_place)
        return true;
    if (s->proxy->n_long_ids >= CROWD_LONG_IDS)
        return false;
    s->proxy->n_long_ids++;
    p->has_long_place = true;
    return true;
}

static void leave_long_place(struct session *s)
{
    s->proxy->n_long_ids -= s->preauth->has_long_place;
    s->preauth->has_long_place = false;
}

void preauth_free(struct session *s)
{
    struct preauth *p = s->preauth;
    if (!p)
        return;
    leave_long_place(s);
    s->preauth = NULL;
    imap_line_wipe(&p->lines);
    imap_tree_free(&p->args);
    buf_wipe(&p->literal);
    buf_wipe(&p->message);
    free(p);
}

/* ---- the verbs ---- */

enum verb_flags {
    BEFORE_TLS = 1 << 0, /* also before TLS on a listener with STARTTLS */
    LITERALS = 1 << 1,   /* arguments may be literals */
    SIGNS_IN = 1 << 2,   /* shows a password */
};

static void run_capability(struct session *s, const struct imap_value *args);
static void run_noop(struct session *s, const struct imap_value *args);
static void run_logout(struct session *s, const struct imap_value *args);
static void run_id(struct session *s, const struct imap_value *args);
static void run_starttls(struct session *s, const struct imap_value *args);

static const struct verb_row verbs[] = {
    {VERB_CAPABILITY, BEFORE_TLS, run_capability, "CAPABILITY has no arguments"},
    {VERB_NOOP, BEFORE_TLS, run_noop, "NOOP has no arguments"},
    {VERB_LOGOUT, BEFORE_TLS, run_logout, "LOGOUT has no arguments"},
    {VERB_ID, BEFORE_TLS | LITERALS, run_id, PREAUTH_ID_EXPECTED},
    {VERB_STARTTLS, BEFORE_TLS, run_starttls, "STARTTLS has no arguments"},
    {VERB_LOGIN, LITERALS | SIGNS_IN, preauth_run_login, "Expected LOGIN with a name and a password"},
    {VERB_AUTHENTICATE, SIGNS_IN, preauth_run_authenticate,
     "Expected AUTHENTICATE and the name of a mechanism"},
};

static const struct verb_row *preauth_find_row(enum imap_verb verb)
{
    for (size_t i = 0; i < COUNTOF(verbs); i++)
        if (verbs[i].verb == verb)
            return &verbs[i];
    return NULL;
}

/* ---- answers ---- */

static void say_good(struct session *s, const char *text)
{
    s->preauth->bad_in_row = 0;
    session_say(s, "%s OK %s", s->preauth->cmd.tag, text);
}

void preauth_flush(struct session *s)
{
    if (!s->preauth->corked)
        return;
    s->preauth->corked = false;
    stream_uncork(s->client);
}

void preauth_say_refused(struct session *s, const char *status, const char *text)
{
    struct preauth *p = s->preauth;
    session_say(s, "%s %s %s", p->cmd.tag, status, text);
    if (++p->bad_in_row >= LIMIT_BAD_LINES)
        session_close(s, END_BAD_COMMANDS, text);
}

void preauth_say_expected(struct session *s)
{
    preauth_say_refused(s, BAD, s->preauth->row->expected);
}

static void write_capabilities(const struct session *s, struct buf *out)
{
    struct imap_caps c = {0};
    imap_caps_add(&c, CAP_IMAP4REV1);
    imap_caps_add(&c, CAP_SASL_IR);
    imap_caps_add(&c, CAP_ID);
    imap_caps_add(&c, CAP_LITERAL_MINUS);
    if (s->scheme == ADDRESS_IMAP_STARTTLS && !stream_is_secure(s->client))
        imap_caps_add(&c, CAP_STARTTLS);
    preauth_add_mechanisms(s, &c);
    imap_caps_write(out, &c);
}

static void run_capability(struct session *s, const struct imap_value *args)
{
    if (args) {
        preauth_say_expected(s);
        return;
    }
    struct buf words = {0};
    write_capabilities(s, &words);
    session_say(s, "* CAPABILITY %s", buf_str(&words));
    buf_free(&words);
    say_good(s, "Capability completed");
}

static void run_noop(struct session *s, const struct imap_value *args)
{
    if (args)
        preauth_say_expected(s);
    else
        say_good(s, "NOOP completed");
}

static void run_logout(struct session *s, const struct imap_value *args)
{
    if (args) {
        preauth_say_expected(s);
        return;
    }
    session_say(s, "* BYE Logging out");
    say_good(s, "Logout completed");
    session_close(s, END_LOGOUT, NULL);
}

/* The value behind a key; NULL where there is none. */
static const struct imap_value *find_id(const struct imap_value *list, const char *key)
{
    const struct imap_value *v = list->kind == IMAP_LIST ? list->first : NULL;
    struct span text;
    for (; v && v->next; v = v->next->next)
        if (imap_value_string(v, &text) && span_is_ci(text, key))
            return v->next;
    return NULL;
}

/* What proxies tell each other, so that none dials itself for ever: x-proxy-site has the id of our own store
 * where a proxy of this very site takes us for a mail server, and x-proxy-ttl says how many proxies may still
 * follow, as Dovecot's do. Who claims either without being a proxy loses by it alone: it can only make the
 * way shorter. */
static void note_hops(struct session *s, const struct imap_value *list)
{
    const char *own = store_site_id(s->proxy->stores->all[0]);
    struct span site, ttl;
    uint32_t left;
    if (own && imap_value_string(find_id(list, "x-proxy-site"), &site) && span_is(site, own))
        s->hops = 0;
    if (imap_value_string(find_id(list, "x-proxy-ttl"), &ttl) && span_u32(ttl, &left) && left < s->hops)
        s->hops = left;
}

/* The client of a webmail, or of a proxy in front of us, in Dovecot's names. What was said before TLS was said
 * by anybody. */
static void note_client(struct session *s, const struct imap_value *list)
{
    struct span ip, text, outer;
    uint32_t port = 0;
    if (!s->is_trusted || !session_may_login(s) || !imap_value_string(find_id(list, "x-originating-ip"), &ip))
        return;
    if (imap_value_string(find_id(list, "x-originating-port"), &text) &&
        (!span_u32(text, &port) || port > UINT16_MAX))
        port = 0;
    if (imap_value_string(find_id(list, "x-session-id"), &outer))
        LOG(INFO, "session_outer", LOG_S("session", s->name), LOG_SPAN("outer", outer),
            LOG_S("via", stream_peer(s->client)));
    peer_take_id(s, ip, (uint16_t)port);
}

/* Who says very much keeps its place among those who may, until it has signed in. */
static void preauth_keep_id(struct session *s, struct buf *pairs)
{
    if (pairs->len <= LIMIT_LINE || take_long_place(s))
        client_id_said(s, pairs);
    buf_free(pairs);
}

static void run_id(struct session *s, const struct imap_value *args)
{
    struct buf pairs = {0};
    if (!imap_id_read(args, &pairs)) {
        buf_free(&pairs);
        preauth_say_expected(s);
        return;
    }
    note_hops(s, args);
    preauth_keep_id(s, &pairs);
    note_client(s, args);
    if (s->state == IN_CLOSING)
        return;
    session_say(s, PREAUTH_ID);
    say_good(s, "ID completed");
}

/* ---- STARTTLS ---- */

static void run_starttls(struct session *s, const struct imap_value *args)
{
    if (args) {
        preauth_say_expected(s);
        return;
    }
    if (s->scheme != ADDRESS_IMAP_STARTTLS || stream_is_secure(s->client)) {
        preauth_say_refused(s, BAD, "STARTTLS is not offered");
        return;
    }
    /* What came behind it in clear would be run as if it had come by TLS. */
    if (stream_peek(s->client).len > 0) {
        session_close(s, END_STARTTLS_PLAINTEXT, NULL);
        return;
    }
    say_good(s, "Begin TLS negotiation now");
    preauth_flush(s);
    session_enter(s, IN_SECURING);
    stream_secure(s->client, session_tls(s), NULL);
}

void preauth_secured(struct session *s)
{
    struct preauth *p = s->preauth;
    imap_line_wipe(&p->lines);
    imap_line_init(&p->lines, LINE_COMMANDS, &limits_before_login);
    p->bad_in_row = 0;
    s->hops = LIMIT_HOPS;
    client_id_forget(s);
    leave_long_place(s);
    session_enter(s, IN_PREAUTH);
}

/* ---- commands, part by part ---- */

static void preauth_refuse(struct preauth *p, const char *status, const char *text)
{
    if (p->status)
        return;
    p->status = status;
    p->text = text;
}

static void preauth_begin_command(struct session *s, struct span line)
{
    struct preauth *p = s->preauth;
    const char *why;
    p->status = p->text = NULL;
    p->row = NULL;
    if (!p->args)
        p->args = imap_tree_new(p->lines.limits.line > LIMIT_LINE ? &long_args_limits : &args_limits);
    imap_tree_clear(p->args);
    if (!imap_cmd_parse(line, &p->cmd, &why)) {
        preauth_refuse(p, BAD, why);
        return;
    }
    p->row = preauth_find_row(p->cmd.verb);
    if (!p->row)
        preauth_refuse(p, BAD, p->cmd.verb == VERB_UNKNOWN ? "Unknown command" : "Log in first");
    else if ((p->row->flags & SIGNS_IN) && !session_may_login(s))
        preauth_refuse(p, "NO [PRIVACYREQUIRED]", "Signing in needs TLS");
    else if (p->row->verb == VERB_LOGIN && !conf_takes_passwords(&s->proxy->conf->proxy))
        preauth_refuse(p, "NO [CANNOT]", "Passwords are not taken here");
    else if (!(p->row->flags & BEFORE_TLS) && s->scheme == ADDRESS_IMAP_STARTTLS &&
             !stream_is_secure(s->client))
        preauth_refuse(p, "NO [PRIVACYREQUIRED]", "STARTTLS first");
}

/* Who wants to log in does not need many; logins are counted by themselves. */
static bool is_one_too_many(struct preauth *p)
{
    return !(p->row && (p->row->flags & SIGNS_IN)) && ++p->commands > LIMIT_COMMANDS;
}

/* The header of a balancer that takes this listener for one with "?proxy_protocol". */
static bool is_proxy_header(const struct preauth *p)
{
    return p->commands == 1 && p->cmd.verb == VERB_UNKNOWN && strcmp(p->cmd.tag, "PROXY") == 0;
}

/* The command is over. What was kept of a long one keeps the place. */
static void forbid_long_id(struct session *s)
{
    struct preauth *p = s->preauth;
    if (p->lines.limits.line == LIMIT_LINE)
        return;
    p->lines.limits.line = LIMIT_LINE;
    imap_tree_free(&p->args);
    if (s->client_id.len <= LIMIT_LINE)
        leave_long_place(s);
}

static void preauth_end_command(struct session *s)
{
    struct preauth *p = s->preauth;
    const char *why;
    if (is_one_too_many(p)) {
        session_close(s, END_MANY_COMMANDS, NULL);
        return;
    }
    if (is_proxy_header(p)) {
        session_close(s, END_PROXY_HEADER, "a PROXY header, which this listener does not expect");
        return;
    }
    if (!p->status && !imap_tree_done(p->args, &why))
        preauth_refuse(p, BAD, why);
    if (p->status)
        preauth_say_refused(s, p->status, p->text);
    else
        p->row->run(s, imap_tree_first(p->args));
    if (!s->preauth)
        return;
    imap_tree_clear(s->preauth->args); /* a password was in there */
    forbid_long_id(s);
}

/* Its sender waits for "+", and says nothing more of it: the command is over. */
static void refuse_literal(struct session *s, const char *status, const char *text)
{
    imap_line_refuse(&s->preauth->lines);
    preauth_say_refused(s, status, text);
    if (s->preauth)
        forbid_long_id(s);
}

static void announce_literal(struct session *s, const struct imap_line_item *item)
{
    struct preauth *p = s->preauth;
    if (!p->status && !(p->row->flags & LITERALS))
        preauth_refuse(p, BAD, p->row->expected);
    if (item->binary)
        preauth_refuse(p, BAD, "Binary literals are not offered here"); /* RFC 3516 4.4, RFC 9051 4.3 */
    if (!item->sync)
        return; /* comes anyway */
    if (!p->status) {
        session_say(s, "+ OK");
        return;
    }
    refuse_literal(s, p->status, p->text);
}

static void preauth_take_text(struct session *s, const struct imap_line_item *item)
{
    struct preauth *p = s->preauth;
    const char *why;
    if (item->first && p->expects != COMMAND) {
        preauth_take_response(s, item);
        return;
    }
    if (item->first)
        preauth_begin_command(s, item->text);
    size_t begin = item->first ? p->cmd.args : 0, end = item->literal ? item->marker : item->text.len;
    if (!p->status && begin < end &&
        !imap_tree_text(p->args, span_of(item->text.p + begin, end - begin), &why))
        preauth_refuse(p, BAD, why);
    if (item->literal)
        announce_literal(s, item);
    else
        preauth_end_command(s);
}

static void take_literal(struct preauth *p, const struct imap_line_item *item)
{
    const char *why;
    if (!p->status) {
        buf_room(&p->literal, item->text.len);
        buf_add_span(&p->literal, item->text);
    }
    if (item->left > 0)
        return;
    if (!p->status && !imap_tree_literal(p->args, buf_span(&p->literal), &why))
        preauth_refuse(p, BAD, why);
    buf_wipe(&p->literal);
}

/* A line that can't be read: its tag may still be of use for the answer. */
static void take_bad(struct session *s, const struct imap_line_item *item)
{
    struct preauth *p = s->preauth;
    const char *why;
    if (item->first && !imap_cmd_parse(item->text, &p->cmd, &why))
        (void)why; /* the tag is usable all the same */
    if (item->refusable && p->expects == COMMAND) {
        refuse_literal(s, BAD, item->why);
        return;
    }
    session_say(s, "%s BAD %s", item->text.len > 0 ? p->cmd.tag : "*", item->why);
    session_close(s, END_BAD_LINE, item->why);
}

/* Does the line that comes with data, behind what is there of it, begin with a tag and ID? */
static bool begins_id(const struct imap_line *l, struct span data)
{
    uint8_t head[IMAP_TAG_MAX + 4];
    struct span part = l->give_out ? (struct span){0} : buf_span(&l->part);
    size_t n = part.len < sizeof head ? part.len : sizeof head,
           more = sizeof head - n < data.len ? sizeof head - n : data.len;
    if (n > 0)
        memcpy(head, part.p, n);
    if (more > 0)
        memcpy(head + n, data.p, more);
    const uint8_t *blank = memchr(head, ' ', n + more);
    return blank && (size_t)(head + n + more - blank) >= 4 && span_is_ci(span_of(blank, 4), " ID ");
}

static void allow_long_id(struct session *s, struct span data)
{
    struct preauth *p = s->preauth;
    size_t part = p->lines.give_out ? 0 : p->lines.part.len;
    bool of_id = p->lines.in_command ? p->row && p->row->verb == VERB_ID : begins_id(&p->lines, data);
    if (p->lines.limits.line > LIMIT_LINE || part + data.len <= LIMIT_LINE || p->lines.in_literal ||
        p->expects != COMMAND || !of_id || !take_long_place(s))
        return;
    p->lines.limits.line = LIMIT_ID_LINE;
    if (!p->lines.in_command)
        imap_tree_free(&p->args); /* it needs a larger one */
}

/* Looks at what is there, as long as the client takes the answers, and so much of it that others get their
 * turn. */
static void take_some(struct session *s)
{
    for (unsigned n = 0; s->state == IN_PREAUTH && n < LIMIT_COMMANDS_A_TURN && !stream_full(s->client);
         n++) {
        struct span data = stream_peek(s->client);
        struct imap_line_item item;
        size_t used;
        allow_long_id(s, data);
        enum imap_line_rc rc = imap_line_feed(&s->preauth->lines, data.p, data.len, &used, &item);
        stream_eat(s->client, used);
        if (rc == LINE_MORE)
            break;
        if (rc == LINE_BAD)
            take_bad(s, &item);
        else if (rc == LINE_LITERAL)
            take_literal(s->preauth, &item);
        else
            preauth_take_text(s, &item);
        if (s->preauth)
            imap_line_forget(&s->preauth->lines); /* a password may have been in it */
    }
}

/* The deadline of the whole phase is that of a client which does not read, too. */
static void wait_for_client(struct session *s)
{
    if (s->preauth->full || !stream_full(s->client))
        return;
    s->preauth->full = true;
    stream_pause(s->client);
}

void preauth_data(struct session *s)
{
    stream_cork(s->client);
    s->preauth->corked = true;
    take_some(s);
    if (s->preauth)
        preauth_flush(s);
    if (s->state != IN_PREAUTH)
        return;
    wait_for_client(s);
    if (stream_peek(s->client).len > 0)
        stream_again(s->client);
    else if (s->client_eof)
        session_close(s, END_CLIENT_GONE, NULL);
}

void preauth_drained(struct session *s)
{
    if (!s->preauth->full)
        return;
    s->preauth->full = false;
    stream_resume(s->client);
}

void preauth_greet(struct session *s)
{
    s->preauth = xcalloc(1, sizeof *s->preauth);
    imap_line_init(&s->preauth->lines, LINE_COMMANDS, &limits_before_login);
    struct buf words = {0};
    write_capabilities(s, &words);
    session_say(s, "* OK [CAPABILITY %s] imapferry ready", buf_str(&words));
    buf_free(&words);
    session_enter(s, IN_PREAUTH);
}
