/* Sign-ins at a backend with several addresses: which of them are tried, in which order, and what is known
 * afterwards. */
#include <sys/resource.h>

#include "io.h"
#include "lib/backend_login.h"

enum { PEERS = 3 };

struct world {
    struct loop *loop;
    struct io_dir dir;
    struct tls_policy *policy;
    struct conf_backend backend;
    struct address others[PEERS - 1];
    struct outage outage;
    struct login_request request;
    struct backend_login *login;
    struct io_peer peers[PEERS];
    const char *kinds[PEERS]; /* of their certificates */
    int reserved[PEERS];      /* bound and not listening: connections are refused */
    char places[PEERS][32];
    bool done;
    enum login_rc rc;
    struct stream *s;
    char *detail;
    bool came[PEERS];
};

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    char *error;
    io_dir_make(&w->dir);
    io_certs(&w->dir);
    w->loop = loop_new();
    w->policy = tls_policy_client(io_file(&w->dir, "ca.pem"), TLS_1_2, &error);
    assert_non_null(w->policy);
    w->outage.has_breaker = true;
    w->backend = (struct conf_backend){.name = (char *)"old",
                                       .address.scheme = ADDRESS_IMAP,
                                       .others = w->others,
                                       .n_others = PEERS - 1,
                                       .master_login = (char *)""};
    w->request = (struct login_request){.backend = &w->backend,
                                        .policy = w->policy,
                                        .outage = &w->outage,
                                        .credential = credential_of_password("ann", "pass word"),
                                        .user = "ann",
                                        .limits = {.high_water = 65536, .queue_max = 1 << 20},
                                        .connect_timeout_ms = 15000,
                                        .step_timeout_ms = 15000};
    for (size_t i = 0; i < PEERS; i++) {
        w->kinds[i] = "good";
        w->reserved[i] = -1;
    }
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    backend_login_cancel(&w->login);
    stream_close(&w->s, false);
    outage_forget_all(&w->outage);
    loop_free(&w->loop);
    tls_policy_free(&w->policy);
    io_dir_remove(&w->dir);
    free(w->detail);
    free(w);
    return 0;
}

static void ignore_event(struct stream *s, enum stream_event ev, void *owner)
{
    (void)s, (void)ev, (void)owner;
}

static void logged_in(void *owner, const struct login_result *r)
{
    struct world *w = owner;
    w->login = NULL;
    w->done = true;
    w->rc = r->rc;
    w->s = r->stream;
    free(w->detail);
    w->detail = xstrdup(r->detail);
    if (w->s)
        stream_set_owner(w->s, ignore_event, w);
}

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
/* printf '\0ann\0pass word' | base64 */
#define SIGN_IN "<AUTHENTICATE PLAIN AGFubgBwYXNzIHdvcmQ="
#define READY   ">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready"
#define LETS_IN SCRIPT(READY, SIGN_IN, ">%T OK [CAPABILITY IMAP4rev1] in")
#define REFUSES NULL /* the connection */

static struct address *address_of(struct world *w, size_t i)
{
    return i == 0 ? &w->backend.address : &w->others[i - 1];
}

static uint16_t peer_begin(struct world *w, size_t i, const char *const *script)
{
    char pem[32], key[32];
    uint16_t port;
    if (!script) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof a;
        w->reserved[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(w->reserved[i], (struct sockaddr *)&a, n), 0);
        assert_int_equal(getsockname(w->reserved[i], (struct sockaddr *)&a, &n), 0);
        port = ntohs(a.sin_port);
    } else {
        snprintf(pem, sizeof pem, "%s.pem", w->kinds[i]);
        snprintf(key, sizeof key, "%s.key", w->kinds[i]);
        io_peer_start(&w->peers[i], script, io_file(&w->dir, pem), io_file(&w->dir, key));
        port = w->peers[i].port;
    }
    snprintf(w->places[i], sizeof w->places[i], "127.0.0.1:%u", port);
    return port;
}

/* The peers are there, each with its script, and their addresses those of the backend. */
static void peers_are(struct world *w, const char *const *a, const char *const *b, const char *const *c)
{
    const char *const *const scripts[PEERS] = {a, b, c};
    enum address_scheme scheme = w->backend.address.scheme;
    for (size_t i = 0; i < PEERS; i++) {
        struct address *at = address_of(w, i);
        *at = (struct address){
            .scheme = scheme, .host = (char *)"127.0.0.1", .port = peer_begin(w, i, scripts[i])};
    }
}

static void sign_in(struct world *w)
{
    w->done = false;
    w->login = backend_login_start(w->loop, &w->request, logged_in, w);
    io_wait(w->loop, &w->done);
    stream_close(&w->s, false);
    uv_run(&w->loop->uv, UV_RUN_NOWAIT);
}

static void peers_end(struct world *w)
{
    for (size_t i = 0; i < PEERS; i++) {
        if (w->reserved[i] >= 0)
            close(w->reserved[i]);
        else
            io_peer_end(&w->peers[i]);
        w->came[i] = w->reserved[i] < 0 && w->peers[i].fd >= 0;
        w->reserved[i] = -1;
    }
}

/* came: a digit for each peer, in the order of the addresses. */
static void ends(struct world *w, enum login_rc rc, const char *detail, const char *came)
{
    peers_end(w);
    if (w->rc != rc || !strstr(w->detail, detail))
        fail_msg("rc %d, detail \"%s\"; want %d, \"%s\"", w->rc, w->detail, rc, detail);
    assert_null(strstr(w->detail, "pass word"));
    for (size_t i = 0; i < PEERS; i++)
        assert_int_equal(w->came[i], came[i] == '1');
}

static void dead_are(const struct world *w, const char *dead)
{
    for (size_t i = 0; i < PEERS; i++)
        assert_int_equal(outage_is_dead(&w->outage, w->places[i]), dead[i] == '1');
}

/* ---- the order ---- */

static void test_the_first_one(void **state)
{
    struct world *w = *state;
    peers_are(w, LETS_IN, LETS_IN, LETS_IN);
    sign_in(w);
    ends(w, LOGIN_OK, "", "100");
    assert_int_equal(w->outage.n, 0);
}

static void test_refused_connections(void **state)
{
    struct world *w = *state;
    peers_are(w, REFUSES, REFUSES, LETS_IN);
    sign_in(w);
    ends(w, LOGIN_OK, "", "001");
    dead_are(w, "110");
}

static void test_dead_ones_come_last(void **state)
{
    struct world *w = *state;
    peers_are(w, LETS_IN, LETS_IN, REFUSES);
    outage_failed(&w->outage, w->places[0], "x", clock_boot_ms());
    sign_in(w);
    ends(w, LOGIN_OK, "", "010");
    dead_are(w, "100");
    peers_are(w, LETS_IN, REFUSES, REFUSES);
    outage_failed(&w->outage, w->places[0], "x", clock_boot_ms());
    sign_in(w);
    ends(w, LOGIN_OK, "", "100"); /* there is no better one */
    dead_are(w, "011");
}

static void test_what_is_known_is_not_needed(void **state)
{
    struct world *w = *state;
    w->request.outage = NULL;
    peers_are(w, REFUSES, LETS_IN, LETS_IN);
    sign_in(w);
    ends(w, LOGIN_OK, "", "010");
}

static void test_spread_by_the_user(void **state)
{
    struct world *w = *state;
    char first[PEERS + 1] = "";
    w->backend.spread = true;
    w->request.as = LOGIN_AS_NOBODY;
    for (char c = 'a'; c <= 'z' && strlen(first) < PEERS; c++) {
        char user[2] = {c, '\0'};
        w->request.user = user;
        for (int round = 0; round < 2; round++) { /* always the same */
            peers_are(w, SCRIPT(READY), SCRIPT(READY), SCRIPT(READY));
            sign_in(w);
            peers_end(w);
            char digit = (char)('0' + (w->came[1] ? 1 : w->came[2] ? 2 : 0));
            assert_int_equal(w->came[0] + w->came[1] + w->came[2], 1);
            assert_true(round == 0 || strchr(first, digit));
            if (!strchr(first, digit))
                first[strlen(first)] = digit;
        }
    }
    assert_int_equal(strlen(first), PEERS); /* each is somebody's first */
}

static void test_one_place_alone(void **state)
{
    struct world *w = *state;
    w->request.as = LOGIN_AS_NOBODY;
    peers_are(w, SCRIPT(READY), SCRIPT(READY), SCRIPT(READY));
    outage_failed(&w->outage, w->places[1], "x", 0);
    w->request.place = w->places[1];
    sign_in(w);
    ends(w, LOGIN_OK, "", "010");
    dead_are(w, "000");
    peers_are(w, REFUSES, SCRIPT(READY), SCRIPT(READY));
    w->request.place = w->places[0];
    for (unsigned i = 0; i < 2 * OUTAGE_BREAKER; i++)
        sign_in(w);
    ends(w, LOGIN_UNAVAILABLE, "refused", "000");
    assert_false(w->outage.open); /* it was nobody's sign-in */
    w->request.place = "192.0.2.1:993";
    sign_in(w);
    assert_non_null(strstr(w->detail, "no such address"));
}

/* ---- what counts as no answer ---- */

static void test_accepts_and_never_speaks(void **state)
{
    struct world *w = *state;
    w->request.step_timeout_ms = 900;
    peers_are(w, SCRIPT("!wait"), LETS_IN, LETS_IN);
    sign_in(w);
    ends(w, LOGIN_OK, "", "110");
    dead_are(w, "100");
}

static void test_hangs_up(void **state)
{
    struct world *w = *state;
    peers_are(w, SCRIPT("!close"), SCRIPT(">* BYE too many"), LETS_IN);
    sign_in(w);
    ends(w, LOGIN_OK, "", "111");
    dead_are(w, "110");
}

static void test_speaks_no_imap(void **state)
{
    struct world *w = *state;
    peers_are(w, SCRIPT(">220 smtp ready", "!wait"),
              SCRIPT(">* OK ready", "<CAPABILITY", ">%T BAD what", "!wait"), LETS_IN);
    sign_in(w);
    ends(w, LOGIN_OK, "", "111");
    dead_are(w, "110");
}

static void test_certificates_that_are_not_believed(void **state)
{
    struct world *w = *state;
    w->backend.address.scheme = ADDRESS_IMAPS;
    w->kinds[0] = "selfsigned";
    w->kinds[1] = "expired";
    peers_are(w, SCRIPT("!tls"), SCRIPT("!tls"),
              SCRIPT("!tls", READY, SIGN_IN, ">%T OK [CAPABILITY IMAP4rev1] in"));
    sign_in(w);
    ends(w, LOGIN_OK, "", "111");
    dead_are(w, "110");
}

#define STARTTLS_OFFERED ">* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready"

static void test_no_starttls(void **state)
{
    struct world *w = *state;
    w->backend.address.scheme = ADDRESS_IMAP_STARTTLS;
    w->kinds[1] = "expired";
    peers_are(w, SCRIPT(READY, "!wait"), SCRIPT(STARTTLS_OFFERED, "<STARTTLS", ">%T OK go", "!tls"),
              SCRIPT(STARTTLS_OFFERED, "<STARTTLS", ">%T OK go", "!tls", "<CAPABILITY",
                     ">* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN", ">%T OK done", SIGN_IN,
                     ">%T OK [CAPABILITY IMAP4rev1] in"));
    sign_in(w);
    ends(w, LOGIN_OK, "", "111");
    dead_are(w, "110");
}

/* Each connection begins with it. */
static void test_proxy_headers(void **state)
{
    struct world *w = *state;
    const struct proxyproto_ends client = {.from = {"192.0.2.7", 40000}, .to = {"198.51.100.2", 993}};
    w->backend.proxy_protocol = PROXY_PROTOCOL_V1;
    w->request.ends = &client;
    peers_are(w, SCRIPT("=PROXY TCP4 192.0.2.7 198.51.100.2 40000 993", "!close"),
              SCRIPT("=PROXY TCP4 192.0.2.7 198.51.100.2 40000 993", READY, SIGN_IN,
                     ">%T OK [CAPABILITY IMAP4rev1] in"),
              LETS_IN);
    sign_in(w);
    ends(w, LOGIN_OK, "", "110");
    dead_are(w, "000");
}

/* A server that knows whose connection it is may turn away him alone: neither its address nor the backend is dead for
 * others. */
static void test_one_client_is_turned_away(void **state)
{
    struct world *w = *state;
    const struct proxyproto_ends client = {.from = {"192.0.2.7", 40000}, .to = {"198.51.100.2", 993}};
    w->backend.proxy_protocol = PROXY_PROTOCOL_V1;
    w->request.ends = &client;
    w->request.step_timeout_ms = 300;
    for (unsigned i = 0; i < 2 * OUTAGE_BREAKER; i++) {
        bool tls = i % 2 > 0;
        w->backend.address.scheme = tls ? ADDRESS_IMAPS : ADDRESS_IMAP;
        peers_are(w, SCRIPT("!some", "!close"),
                  tls ? SCRIPT("!some", "!reset") : SCRIPT("!some", ">* BYE not you"),
                  tls ? SCRIPT("!some", "!close") : SCRIPT("!some", "!wait"));
        sign_in(w);
        ends(w, tls ? LOGIN_INSECURE : LOGIN_UNAVAILABLE, "", "111");
        dead_are(w, "000");
        assert_false(w->outage.open);
        outage_forget_all(&w->outage);
    }
}

/* As often as would open the breaker. */
static void sign_in_without_descriptors(struct world *w)
{
    struct rlimit was, few;
    int lowest = dup(w->reserved[1]);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    few = was;
    few.rlim_cur = (rlim_t)lowest;
    for (unsigned i = 0; i < 2 * OUTAGE_BREAKER; i++) {
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        sign_in(w);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
        assert_int_equal(w->rc, LOGIN_UNAVAILABLE);
        assert_non_null(strstr(w->detail, "too many open files"));
    }
    assert_false(w->outage.open);
}

/* A process that is short of descriptors has asked nobody. */
static void test_no_descriptors_are_left(void **state)
{
    struct world *w = *state;
    peers_are(w, REFUSES, REFUSES, REFUSES); /* no thread that would want one */
    outage_failed(&w->outage, w->places[1], "x", clock_boot_ms());
    sign_in_without_descriptors(w);
    dead_are(w, "010"); /* as before */
    peers_end(w);
    peers_are(w, LETS_IN, REFUSES, REFUSES);
    sign_in(w);
    ends(w, LOGIN_OK, "", "100");
}

/* Nor has it heard that there is no such name, which is what glibc says then. */
static void test_no_descriptors_are_left_for_a_name(void **state)
{
    struct world *w = *state;
    peers_are(w, REFUSES, REFUSES, REFUSES);
    for (size_t i = 0; i < PEERS; i++) {
        address_of(w, i)->host = (char *)"localhost";
        snprintf(w->places[i], sizeof w->places[i], "localhost:%u", address_of(w, i)->port);
    }
    sign_in_without_descriptors(w);
    dead_are(w, "000");
    peers_end(w);
}

/* Where it does not even take the connection, or a look has found it dead, that holds for all. */
static void test_dead_for_all_clients(void **state)
{
    struct world *w = *state;
    const struct proxyproto_ends client = {.from = {"192.0.2.7", 40000}, .to = {"198.51.100.2", 993}};
    w->backend.proxy_protocol = PROXY_PROTOCOL_V1;
    w->request.ends = &client;
    for (unsigned i = 0; i < OUTAGE_BREAKER; i++) {
        assert_false(w->outage.open);
        peers_are(w, SCRIPT("!some", "!close"), REFUSES, REFUSES);
        outage_failed(&w->outage, w->places[0], "looked at", clock_boot_ms());
        sign_in(w);
        ends(w, LOGIN_UNAVAILABLE, "", "100");
        dead_are(w, "111");
    }
    assert_true(w->outage.open);
}

/* Where a secret was shown, what comes of it is the answer. */
static void test_no_second_sign_in(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *answer;
        enum login_rc rc;
    } rows[] = {{">%T NO [AUTHENTICATIONFAILED] wrong", LOGIN_REFUSED},
                {">%T NO [UNAVAILABLE] later", LOGIN_UNAVAILABLE},
                {">* BYE too many", LOGIN_UNAVAILABLE},
                {"!close", LOGIN_UNAVAILABLE}};
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        peers_are(w, SCRIPT(READY, SIGN_IN, rows[i].answer), LETS_IN, LETS_IN);
        sign_in(w);
        ends(w, rows[i].rc, "", "100");
        dead_are(w, "000");
    }
}

/* ---- when all fail ---- */

static void test_all_fail(void **state)
{
    struct world *w = *state;
    w->kinds[1] = "selfsigned";
    w->backend.address.scheme = ADDRESS_IMAPS;
    peers_are(w, REFUSES, SCRIPT("!tls"), REFUSES);
    sign_in(w);
    ends(w, LOGIN_INSECURE, "connection refused; ", "010"); /* what tells most stays */
    for (size_t i = 0; i < PEERS; i++)
        assert_non_null(strstr(w->detail, w->places[i]));
    dead_are(w, "111");
    assert_false(w->outage.open);
}

static void test_the_breaker_opens_and_closes(void **state)
{
    struct world *w = *state;
    peers_are(w, REFUSES, REFUSES, REFUSES);
    for (unsigned i = 0; i < OUTAGE_BREAKER; i++) {
        assert_false(w->outage.open);
        sign_in(w);
    }
    assert_true(w->outage.open);
    peers_end(w);
    peers_are(w, LETS_IN, REFUSES, REFUSES);
    sign_in(w); /* who goes on for a session that is there asks nobody */
    ends(w, LOGIN_OK, "", "100");
    assert_false(w->outage.open);
}

static void test_no_time_for_all(void **state)
{
    struct world *w = *state;
    w->request.step_timeout_ms = 300;
    w->request.connect_timeout_ms = 1;
    peers_are(w, SCRIPT("!wait"), SCRIPT("!wait"), SCRIPT("!wait"));
    uint64_t began_ms = clock_boot_ms();
    sign_in(w);
    assert_true(clock_boot_ms() - began_ms < 5000);
    assert_int_equal(w->rc, LOGIN_UNAVAILABLE);
    peers_end(w);
}

/* ---- referrals ---- */

static const char *const *refers_to(char text[100], const char *url, const char **script)
{
    snprintf(text, 100, ">%%T NO [REFERRAL %s] there", url);
    script[0] = READY;
    script[1] = SIGN_IN;
    script[2] = text;
    script[3] = NULL;
    return script;
}

/* The first one's script is to be filled in once the others' ports are known: it is read when somebody comes. */
static void test_referral_to_another_address(void **state)
{
    struct world *w = *state;
    char text[100], url[64];
    const char *script[4];
    peers_are(w, refers_to(text, "", script), LETS_IN, LETS_IN);
    snprintf(url, sizeof url, "imap://ann;AUTH=*@%s/", w->places[2]);
    refers_to(text, url, script);
    sign_in(w);
    ends(w, LOGIN_OK, "", "101");
    assert_int_equal(w->outage.n, 0);
}

static void test_referral_to_elsewhere(void **state)
{
    struct world *w = *state;
    static const char *const urls[] = {"imap://192.0.2.1/",
                                       "imap://127.0.0.1:1/",
                                       "imap://evil.example.org/",
                                       "http://127.0.0.1/",
                                       "imap://bob@127.0.0.1/",
                                       "imap://127.0.0.1/INBOX",
                                       "%s"};
    for (size_t i = 0; i < COUNTOF(urls); i++) {
        char text[100], url[64];
        const char *script[4];
        peers_are(w, refers_to(text, "", script), LETS_IN, LETS_IN);
        snprintf(url, sizeof url, "imap://%s/", w->places[0]);
        refers_to(text, strcmp(urls[i], "%s") ? urls[i] : url, script); /* the last one: to itself */
        sign_in(w);
        ends(w, LOGIN_UNAVAILABLE, "not followed", "100");
        assert_int_equal(w->outage.n, 0);
    }
}

static void test_referrals_in_a_ring(void **state)
{
    struct world *w = *state;
    char texts[PEERS][100], url[64];
    const char *scripts[PEERS][4];
    for (size_t i = 0; i < PEERS; i++)
        refers_to(texts[i], "", scripts[i]);
    peers_are(w, scripts[0], scripts[1], scripts[2]);
    for (size_t i = 0; i < PEERS; i++) {
        snprintf(url, sizeof url, "imap://%s/", w->places[(i + 1) % PEERS]);
        refers_to(texts[i], url, scripts[i]);
    }
    sign_in(w);
    ends(w, LOGIN_UNAVAILABLE, "not followed", "111");
}

static void test_referral_to_a_dead_one(void **state)
{
    struct world *w = *state;
    char text[100], url[64];
    const char *script[4];
    peers_are(w, refers_to(text, "", script), REFUSES, LETS_IN);
    snprintf(url, sizeof url, "imap://%s/", w->places[1]);
    refers_to(text, url, script);
    sign_in(w);
    ends(w, LOGIN_UNAVAILABLE, "refused", "100");
    dead_are(w, "010");
    assert_int_equal(w->outage.failed, 0); /* the backend does answer */
}

static void test_cancel(void **state)
{
    struct world *w = *state;
    peers_are(w, REFUSES, SCRIPT("!mark", "!wait"), LETS_IN);
    w->login = backend_login_start(w->loop, &w->request, logged_in, w);
    io_peer_marked(&w->peers[1], w->loop);
    backend_login_cancel(&w->login);
    uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    peers_end(w);
    assert_false(w->done);
}

/* ---- names ---- */

static void test_a_name_with_several_addresses(void **state)
{
    struct world *w = *state;
    w->backend.n_others = 0;
    peers_are(w, LETS_IN, REFUSES, REFUSES);
    w->backend.address.host = (char *)"localhost"; /* ::1 too, where nobody listens, or not at all */
    sign_in(w);
    ends(w, LOGIN_OK, "", "100");
    dead_are(w, "000");
}

static void test_a_name_that_is_none(void **state)
{
    struct world *w = *state;
    w->backend.n_others = 1;
    peers_are(w, REFUSES, LETS_IN, REFUSES);
    w->backend.address.host = (char *)"no-such-host.invalid";
    sign_in(w);
    ends(w, LOGIN_OK, "", "010");
    assert_int_equal(w->outage.n, 1);
    w->backend.n_others = 0;
    peers_are(w, REFUSES, REFUSES, REFUSES);
    w->backend.address.host = (char *)"no-such-host.invalid";
    sign_in(w);
    ends(w, LOGIN_UNAVAILABLE, "no-such-host.invalid: the name can't be resolved", "000");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_the_first_one),
        TEST(test_refused_connections),
        TEST(test_dead_ones_come_last),
        TEST(test_what_is_known_is_not_needed),
        TEST(test_spread_by_the_user),
        TEST(test_one_place_alone),
        TEST(test_accepts_and_never_speaks),
        TEST(test_hangs_up),
        TEST(test_speaks_no_imap),
        TEST(test_certificates_that_are_not_believed),
        TEST(test_no_starttls),
        TEST(test_proxy_headers),
        TEST(test_one_client_is_turned_away),
        TEST(test_no_descriptors_are_left),
        TEST(test_no_descriptors_are_left_for_a_name),
        TEST(test_dead_for_all_clients),
        TEST(test_no_second_sign_in),
        TEST(test_all_fail),
        TEST(test_the_breaker_opens_and_closes),
        TEST(test_no_time_for_all),
        TEST(test_referral_to_another_address),
        TEST(test_referral_to_elsewhere),
        TEST(test_referrals_in_a_ring),
        TEST(test_referral_to_a_dead_one),
        TEST(test_cancel),
        TEST(test_a_name_with_several_addresses),
        TEST(test_a_name_that_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
