/* A client from its first byte to its login (proxy/preauth.h, peer.h, client_id.h), on a stream in memory. The first byte says what
 * listener it is, and whether its logins succeed; all else is what the client sends. A second time it comes in pieces: what is
 * answered, and who signs in, has to be the same. */
#include "lib/account.h"
#include "lib/imap_cmd.h"
#include "lib/log.h"
#include "lib/stores.h"
#include "proxy/peer.h"
#include "proxy/preauth.h"
#include "proxy/proxy.h"
#include "proxy/routing.h"

#include "memory_stream.h"

enum {
    WITH_STARTTLS = 1 << 0,
    WITH_HEADER = 1 << 1,
    IS_TRUSTED = 1 << 2,
    IS_SLOW = 1 << 3,  /* takes its answers late */
    SIGNS_IN = 3 << 4, /* ... which of the first three logins succeeds; 0: none */
    HEARS_ID = 1 << 6, /* ... and the client has shown a certificate */
    SAYS_WHY = 1 << 7, /* why no token is taken */
};

static struct play {
    uint8_t flags;
    struct conf conf;
    struct conf_backend backend;
    struct proxy proxy;
    struct session s;
    struct stream client;
    struct buf logins;
    unsigned n_logins, n_ends, n_secured;
    bool by_token; /* the last login */
    char *trusted[1];
} * p;

/* ---- what preauth asks others for ---- */

/* What a client is told: text of ours, and a tag that is one. */
static void check_said(struct span line)
{
    MUST(line.len >= 2);
    for (size_t i = 0; i < line.len; i++)
        MUST(line.p[i] >= ' ' && line.p[i] < 0x7f);
    struct span tag = fuzz_cut(&line, ' ');
    MUST(tag.len > 0 && tag.len <= IMAP_TAG_MAX);
    if (!span_is(tag, "*") && !span_is(tag, "+"))
        for (size_t i = 0; i < tag.len; i++)
            MUST(!strchr("(){%*\"\\+", tag.p[i]));
}

void session_say(struct session *s, const char *fmt, ...)
{
    struct buf line = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&line, fmt, ap);
    va_end(ap);
    check_said(buf_span(&line));
    buf_add_str(&line, "\r\n");
    stream_send(s->client, buf_span(&line).p, line.len);
    buf_free(&line);
}

void session_enter(struct session *s, enum session_state state)
{
    MUST(s->state != IN_CLOSING);
    s->state = state;
}

void session_close(struct session *s, enum session_end end, const char *detail)
{
    (void)end, (void)detail;
    MUST(s->state != IN_CLOSING);
    p->n_ends++;
    s->state = IN_CLOSING;
    s->client->dead = true;
}

bool session_may_login(const struct session *s)
{
    return s->scheme != ADDRESS_IMAP_STARTTLS || stream_is_secure(s->client);
}

struct tls_policy *session_tls(const struct session *s)
{
    (void)s;
    return NULL;
}

const char *store_site_id(const struct store *s)
{
    (void)s;
    return "0123";
}

bool crowd_enter(struct crowd *c, struct session *s)
{
    (void)c, (void)s;
    return true;
}

void crowd_leave(struct crowd *c, struct session *s)
{
    (void)c, (void)s;
}

bool stream_peer_certificate(const struct stream *s, struct tls_peer *_r)
{
    (void)s;
    if (!(p->flags & HEARS_ID))
        return false;
    *_r = (struct tls_peer){.subject = xstrdup("CN=ann"), .common_name = xstrdup("ann"), .n_emails = 2};
    _r->emails = xreallocarray(NULL, 2, sizeof(char *));
    _r->emails[0] = xstrdup("ann@example.org");
    _r->emails[1] = xstrdup("bob@example.org");
    return true;
}

static bool is_signed_in(void)
{
    return p->n_logins > 0 && p->n_logins == (unsigned)(p->flags & SIGNS_IN) >> 4;
}

static bool is_challenged(void)
{
    return p->by_token && p->flags & SAYS_WHY;
}

void routing_begin(struct session *s, const char *tag, const struct credential *c)
{
    MUST(session_may_login(s));
    enum sasl_kind kind = c->mechanism->kind;
    p->by_token = kind == SASL_TOKEN;
    MUST(login_name_ok(c->authcid, ACCOUNT_LOGIN_MAX));
    MUST(c->authzid.len == 0 || login_name_ok(c->authzid, ACCOUNT_LOGIN_MAX));
    MUST(kind != SASL_PASSWORD || login_password_ok(c->secret, LIMIT_PASSWORD));
    MUST(kind != SASL_CERTIFICATE || (c->secret.len == 0 && p->flags & HEARS_ID));
    buf_printf(&p->logins, "%s %u %s %s ", tag, s->hops, s->peer, c->mechanism->name);
    buf_add_span(&p->logins, c->authzid);
    buf_add_str(&p->logins, " ");
    buf_add_span(&p->logins, c->authcid);
    buf_add_str(&p->logins, " ");
    buf_add_span(&p->logins, c->secret);
    buf_add_span(&p->logins, buf_span(&s->client_id));
    buf_add_str(&p->logins, "\n");
    session_enter(s, IN_ROUTING);
    p->n_logins++;
    if (!is_signed_in() && !is_challenged())
        session_say(s, "%s NO [AUTHENTICATIONFAILED] no", tag);
}

/* ---- playing ---- */

static void set_up(uint8_t flags)
{
    static struct store *all[1]; /* never looked into: store_site_id() above */
    static struct stores stores = {.n = 1, .all = all};
    static char *mechanisms[] = {(char *)"PLAIN", (char *)"LOGIN", (char *)"OAUTHBEARER", (char *)"XOAUTH2",
                                 (char *)"EXTERNAL"};
    p = xcalloc(1, sizeof *p);
    p->flags = flags;
    p->backend.forward_id = flags & HEARS_ID ? FORWARD_ID_CLIENT : FORWARD_ID_NONE;
    p->trusted[0] = (char *)"127.0.0.1";
    p->conf.backends = &p->backend;
    p->conf.n_backends = 1;
    p->conf.proxy.login_tries = 3;
    p->conf.proxy.mechanisms = (struct conf_list){mechanisms, sizeof mechanisms / sizeof *mechanisms};
    if (flags & IS_TRUSTED)
        p->conf.proxy.trusted = (struct conf_list){p->trusted, 1};
    p->proxy.conf = &p->conf;
    p->proxy.stores = &stores;
    p->client.high_water = flags & IS_SLOW ? LIMIT_EARLY_HIGH_WATER : 0;
    p->s = (struct session){
        .proxy = &p->proxy, .client = &p->client, .name = (char *)"p/1", .via = "", .hops = LIMIT_HOPS};
    p->s.scheme = flags & WITH_STARTTLS ? ADDRESS_IMAP_STARTTLS : ADDRESS_IMAP;
    p->s.asks = flags & HEARS_ID;
    p->s.state = flags & WITH_HEADER ? IN_HEADER : IN_NEW;
    peer_of_connection(&p->s);
}

static void tear_down(void)
{
    preauth_free(&p->s);
    MUST(p->proxy.n_long_ids == 0 && p->n_ends <= 1);
    buf_free(&p->s.client_id);
    free(p->s.peer);
    free(p->s.peer_ip);
    free(p->s.came_to);
    memory_free(&p->client);
    buf_free(&p->logins);
    free(p);
    p = NULL;
}

static void take_header(void)
{
    const char *why = NULL;
    enum proxyproto_rc rc = peer_read_header(&p->s, &why);
    if (rc == PROXYPROTO_DONE) {
        preauth_greet(&p->s);
        stream_again(&p->client);
    } else if (rc != PROXYPROTO_MORE) {
        session_close(&p->s, END_PROXY_HEADER, why);
    }
}

static bool is_over(void)
{
    return p->s.state == IN_CLOSING || is_signed_in();
}

/* As the session's table of states has it. */
static void run(void)
{
    struct stream *c = &p->client;
    while (!is_over() && (c->again || stream_full(c))) {
        c->again = false;
        if (p->s.state == IN_HEADER)
            take_header();
        else if (p->s.state == IN_PREAUTH && !c->paused)
            preauth_data(&p->s);
        if (p->s.state == IN_ROUTING && !is_over() && is_challenged())
            preauth_challenge(&p->s, "{\"status\":\"401\"}", "AUTHENTICATIONFAILED", "no");
        else if (p->s.state == IN_ROUTING && !is_over())
            preauth_login_failed(&p->s);
        if (p->s.state == IN_SECURING) {
            p->n_secured++;
            preauth_secured(&p->s);
        }
        if (p->s.state == IN_PREAUTH && stream_full(c)) {
            c->unsent = 0;
            preauth_drained(&p->s);
        }
    }
}

static void play(uint8_t flags, struct span in, uint32_t seed)
{
    set_up(flags);
    if (p->s.state == IN_NEW)
        preauth_greet(&p->s);
    while (in.len > 0 && !is_over()) {
        memory_give(&p->client, memory_piece(&in, &seed));
        run();
    }
    if (is_over())
        return;
    p->s.client_eof = true;
    p->client.again = true;
    if (p->s.state == IN_PREAUTH)
        run();
    MUST(p->s.state == IN_CLOSING || p->s.state == IN_HEADER || stream_peek(&p->client).len > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    uint8_t flags = fuzz_byte(&in);
    log_set_level(LOG_LEVEL_ERROR);
    play(flags, in, 0);
    struct buf said = p->client.out, logins = p->logins;
    bool secured = p->n_secured > 0;
    p->client.out = p->logins = (struct buf){0};
    tear_down();
    play(flags, in, 2463534242u ^ (uint32_t)len);
    /* What lies behind STARTTLS is an attack where it came at once. */
    if (!secured && !(flags & WITH_STARTTLS)) {
        MUST(span_eq(buf_span(&said), buf_span(&p->client.out)));
        MUST(span_eq(buf_span(&logins), buf_span(&p->logins)));
    }
    tear_down();
    buf_free(&said);
    buf_free(&logins);
    return 0;
}
