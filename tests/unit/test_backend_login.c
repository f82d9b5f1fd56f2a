#include <fcntl.h>

#include "io.h"
#include "lib/backend_login.h"

struct world {
    struct loop *loop;
    struct io_dir dir;
    struct tls_policy *policy;
    struct conf_backend backend;
    struct login_request request;
    struct backend_login *login;
    const char *kind; /* of the peer's certificate */
    bool starting, done;
    enum login_rc rc;
    struct stream *s;
    struct imap_caps caps;
    char *code, *detail, *phase, *challenge;
    size_t extra;    /* bytes that the peer got in its "!wait" */
    struct buf rest; /* what came behind the login */
    bool eof;
};

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    io_dir_make(&w->dir);
    io_certs(&w->dir);
    w->loop = loop_new();
    char *error;
    w->policy = tls_policy_client(io_file(&w->dir, "ca.pem"), TLS_1_2, &error);
    assert_non_null(w->policy);
    w->kind = "good";
    w->backend = (struct conf_backend){.name = (char *)"old",
                                       .address = {.scheme = ADDRESS_IMAP, .host = (char *)"127.0.0.1"},
                                       .master_user = (char *)"admin",
                                       .master_password = (char *)"master secret",
                                       .master_login = (char *)""};
    w->request = (struct login_request){.backend = &w->backend,
                                        .policy = w->policy,
                                        .credential = credential_of_password("ann", "pass word"),
                                        .user = "ann",
                                        .limits = {.high_water = 65536, .queue_max = 1 << 20},
                                        .connect_timeout_ms = 15000,
                                        .step_timeout_ms = 15000};
    *state = w;
    return 0;
}

static void forget(struct world *w)
{
    backend_login_cancel(&w->login);
    stream_close(&w->s, false);
    free(w->code);
    free(w->detail);
    free(w->phase);
    free(w->challenge);
    w->code = w->detail = w->phase = w->challenge = NULL;
    buf_free(&w->rest);
    w->done = w->eof = false;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    forget(w);
    loop_free(&w->loop);
    tls_policy_free(&w->policy);
    io_dir_remove(&w->dir);
    free(w);
    return 0;
}

static void rest_event(struct stream *s, enum stream_event ev, void *owner)
{
    struct world *w = owner;
    if (ev == STREAM_DATA) {
        struct span p = stream_peek(s);
        buf_add_span(&w->rest, p);
        stream_eat(s, p.len);
    }
    w->eof |= ev == STREAM_EOF;
}

static void logged_in(void *owner, const struct login_result *r)
{
    struct world *w = owner;
    assert_false(w->starting);
    assert_false(w->done);
    assert_true((r->rc == LOGIN_OK) == (r->stream != NULL));
    w->login = NULL;
    w->done = true;
    w->rc = r->rc;
    w->s = r->stream;
    w->caps = r->caps;
    w->code = xstrdup(r->code);
    w->detail = xstrdup(r->detail);
    w->challenge = xstrdup(r->challenge);
    w->phase = xstrdup(r->phase);
    if (w->s)
        stream_set_owner(w->s, rest_event, w);
}

static void start(struct world *w, uint16_t port)
{
    w->backend.address.port = port;
    w->starting = true;
    w->login = backend_login_start(w->loop, &w->request, logged_in, w);
    w->starting = false;
}

/* Runs a login against the script to its end. */
static void run(struct world *w, const char *const *script)
{
    struct io_peer p;
    char pem[32], key[32];
    snprintf(pem, sizeof pem, "%s.pem", w->kind);
    snprintf(key, sizeof key, "%s.key", w->kind);
    io_peer_start(&p, script, io_file(&w->dir, pem), io_file(&w->dir, key));
    start(w, p.port);
    io_wait(w->loop, &w->done);
    if (w->s)
        io_wait(w->loop, &w->eof); /* all that the script sends behind the login */
    stream_close(&w->s, false);
    uv_run(&w->loop->uv, UV_RUN_NOWAIT); /* closes the socket, which a "!wait" waits for */
    io_peer_end(&p);
    w->extra = p.extra;
}

static void ends(struct world *w, enum login_rc rc, const char *phase, const char *code, const char *detail)
{
    if (w->rc != rc || strcmp(w->phase, phase) != 0 || strcmp(w->code, code) != 0 ||
        !strstr(w->detail, detail))
        fail_msg("rc %d phase %s code \"%s\" detail \"%s\"; want %d %s \"%s\" \"%s\"", w->rc, w->phase,
                 w->code, w->detail, rc, phase, code, detail);
    assert_null(strstr(w->detail, "pass word"));
    assert_null(strstr(w->detail, "secret"));
}

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
/* printf '\0ann\0pass word' | base64 */
#define PLAIN_ANN "AGFubgBwYXNzIHdvcmQ="

/* --- the ways in --- */

static void test_plain_with_ir(void **state)
{
    struct world *w = *state;
    run(w,
        SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] ready", "<AUTHENTICATE PLAIN " PLAIN_ANN,
               ">%T OK [CAPABILITY IMAP4rev1 IDLE UIDPLUS] in", ">* OK behind"));
    ends(w, LOGIN_OK, "sign_in", "", "");
    assert_true(imap_caps_has(&w->caps, CAP_UIDPLUS));
    assert_false(imap_caps_has(&w->caps, CAP_SASL_IR));
    unit_same(buf_span(&w->rest), "* OK behind\r\n");
}

/* What follows the tagged OK in the same segment belongs to the owner. */
static void test_rest_in_one_segment(void **state)
{
    struct world *w = *state;
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready", "<AUTHENTICATE PLAIN " PLAIN_ANN,
                  "}%T OK [CAPABILITY IMAP4rev1 IDLE] in\r\n* 1 EXISTS\r\n* 2 EX", "}ISTS\r\n"));
    ends(w, LOGIN_OK, "sign_in", "", "");
    unit_same(buf_span(&w->rest), "* 1 EXISTS\r\n* 2 EXISTS\r\n");
}

#define PACKED_OFFER  "[CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] in"
#define PACKED_BEHIND "\xd2\x52\xf0\xf7\x56\x48\x4a\xcd\xc8\xcc\x4b\xe1\xe5\x02\x08" /* "* OK behind" */

static void test_compress(void **state)
{
    struct world *w = *state;
    w->request.compress = true;
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready", "<AUTHENTICATE PLAIN " PLAIN_ANN,
                  ">%T OK " PACKED_OFFER, "<COMPRESS DEFLATE", "}%T OK active\r\n" PACKED_BEHIND));
    ends(w, LOGIN_OK, "compress", "", "");
    unit_same(buf_span(&w->rest), "* OK behind\r\n");
}

/* Refused, or not offered: it goes on without. */
static void test_no_compress(void **state)
{
    struct world *w = *state;
    w->request.compress = true;
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready", "<AUTHENTICATE PLAIN " PLAIN_ANN,
                  ">%T OK " PACKED_OFFER, "<COMPRESS DEFLATE", ">%T NO [COMPRESSIONACTIVE] TLS does it",
                  ">* OK behind"));
    ends(w, LOGIN_OK, "compress", "", "");
    unit_same(buf_span(&w->rest), "* OK behind\r\n");
    forget(w);
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready", "<AUTHENTICATE PLAIN " PLAIN_ANN,
                  ">%T OK [CAPABILITY IMAP4rev1] in", ">* OK behind"));
    ends(w, LOGIN_OK, "sign_in", "", "");
    unit_same(buf_span(&w->rest), "* OK behind\r\n");
}

/* As far as a sign-in would begin: over TLS, with the capabilities from there, and nothing secret was
 * sent. */
static void test_nobody(void **state)
{
    struct world *w = *state;
    w->request.as = LOGIN_AS_NOBODY;
    w->request.credential = (struct credential){0};
    w->request.user = NULL;
    w->request.session_id = "s1";
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] ready"));
    ends(w, LOGIN_OK, "greeting", "", "");
    assert_true(imap_caps_has(&w->caps, CAP_AUTH_PLAIN));
    forget(w);
    w->backend.address.scheme = ADDRESS_IMAP_STARTTLS;
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready", "<STARTTLS", ">%T OK go",
                  "!tls", "<CAPABILITY", ">* CAPABILITY IMAP4rev1 AUTH=PLAIN", ">%T OK done"));
    ends(w, LOGIN_OK, "capability", "", "");
    assert_false(imap_caps_has(&w->caps, CAP_LOGINDISABLED));
}

static void test_plain_without_ir(void **state)
{
    struct world *w = *state;
    run(w, SCRIPT(">* OK ready", "<CAPABILITY", ">* CAPABILITY IMAP4rev1 AUTH=PLAIN", ">%T OK done",
                  "<AUTHENTICATE PLAIN", ">+ ", "=" PLAIN_ANN, ">* CAPABILITY IMAP4rev1 MOVE", ">%T OK in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
    assert_true(imap_caps_has(&w->caps, CAP_MOVE));
}

static void test_login_sync_literals(void **state)
{
    struct world *w = *state;
    w->request.credential.authcid = span_str("bob\" \"x");
    run(w, SCRIPT(">* OK ready", "<CAPABILITY", ">* CAPABILITY IMAP4rev1", ">%T OK done", "<LOGIN {7}",
                  ">+ go on", "=bob\" \"x {9}", ">+", "=pass word", ">%T OK in", "<CAPABILITY",
                  ">* CAPABILITY IMAP4rev1 UNSELECT", ">%T OK done"));
    ends(w, LOGIN_OK, "capability_after", "", "");
    assert_true(imap_caps_has(&w->caps, CAP_UNSELECT));
}

static void test_login_literal_plus(void **state)
{
    struct world *w = *state;
    w->request.credential.secret = span_str("p\xc3\xa4ss\\");
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 LITERAL+] ready", "<LOGIN ann {6+}", "=p\xc3\xa4ss\\",
                  ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

static void test_literal_minus_is_short(void **state)
{
    struct world *w = *state;
    char secret[5001], expect[5002];
    memset(secret, 'p', 5000);
    secret[5000] = '\0';
    snprintf(expect, sizeof expect, "=%s", secret);
    w->request.credential.secret = span_str(secret);
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 LITERAL-] ready", "<LOGIN ann {5000}", ">+ go on", expect,
                  ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

static void test_starttls(void **state)
{
    struct world *w = *state;
    w->backend.address.scheme = ADDRESS_IMAP_STARTTLS;
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready", "<STARTTLS", ">%T OK go",
                  "!tls", "<CAPABILITY", ">* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR", ">%T OK done",
                  "<AUTHENTICATE PLAIN " PLAIN_ANN, ">%T OK [CAPABILITY IMAP4rev1 IDLE] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

static void test_imaps(void **state)
{
    struct world *w = *state;
    w->backend.address.scheme = ADDRESS_IMAPS;
    run(w, SCRIPT("!tls", ">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR LOGINDISABLED] ready",
                  "<AUTHENTICATE PLAIN " PLAIN_ANN, ">%T OK [CAPABILITY IMAP4rev1 IDLE] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

static void test_id(void **state)
{
    struct world *w = *state;
    w->request.client_ip = "192.0.2.7";
    w->request.client_port = 40000;
    w->request.session_id = "p1-7f3a/12";
    run(w,
        SCRIPT(
            ">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] ready",
            "<ID (\"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"40000\" \"x-session-id\" \"p1-7f3a/12\")",
            "}* ID (\"name\" {5}\r\nFak\r\n \"v\" {0}\r\n)\r\n", ">%T NO not for you",
            "<AUTHENTICATE PLAIN " PLAIN_ANN, ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

/* It comes before everything, TLS and STARTTLS too; without a client it says that. */
static void test_proxy_header(void **state)
{
    struct world *w = *state;
    const struct proxyproto_ends client = {.from = {"192.0.2.7", 40000}, .to = {"198.51.100.2", 993}};
    w->backend.proxy_protocol = PROXY_PROTOCOL_V1;
    w->backend.address.scheme = ADDRESS_IMAPS;
    w->request.ends = &client;
    run(w, SCRIPT("=PROXY TCP4 192.0.2.7 198.51.100.2 40000 993", "!tls",
                  ">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready", "<AUTHENTICATE PLAIN " PLAIN_ANN,
                  ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
    forget(w);
    w->request.ends = NULL;
    run(w, SCRIPT("=PROXY UNKNOWN", "!tls", ">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready",
                  "<AUTHENTICATE PLAIN " PLAIN_ANN, ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
    forget(w);
    w->backend.proxy_protocol = PROXY_PROTOCOL_V2; /* its first bytes are two empty lines, and one with NUL */
    w->backend.address.scheme = ADDRESS_IMAP;
    run(w, SCRIPT("=", "=", "=", "!some", ">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready",
                  "<AUTHENTICATE PLAIN " PLAIN_ANN, ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
    forget(w);
}

#define IN_WITH_ID ">%T OK [CAPABILITY IMAP4rev1 ID] in"

/* What forward_id says, behind the sign-in; the answer is of no interest. */
static void test_id_behind_the_sign_in(void **state)
{
    struct world *w = *state;
    static const char said[] = "name\0Mail\0os\0a \"b\"";
    static const struct {
        enum forward_id forward;
        bool for_client, said;
        const char *heard;
    } rows[] = {
        {FORWARD_ID_CLIENT, true, true, "<ID (\"name\" \"Mail\" \"os\" \"a \\\"b\\\"\")"},
        {FORWARD_ID_CLIENT, true, false, NULL},
        {FORWARD_ID_CLIENT, false, false, "<ID (\"name\" \"imapferry\")"},
        {FORWARD_ID_NEUTRAL, true, true, "<ID (\"name\" \"imapferry\")"},
        {FORWARD_ID_NEUTRAL, false, false, "<ID (\"name\" \"imapferry\")"},
        {FORWARD_ID_NONE, true, true, NULL},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        w->backend.forward_id = rows[i].forward;
        w->request.for_client = rows[i].for_client;
        w->request.said_id = rows[i].said;
        w->request.client_id = rows[i].said ? span_of(said, sizeof said) : span_of(NULL, 0);
        if (rows[i].heard)
            run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] ready",
                          "<AUTHENTICATE PLAIN " PLAIN_ANN, IN_WITH_ID, rows[i].heard,
                          i % 2 ? ">%T NO who" : "}* ID NIL\r\n%T OK hello\r\n", ">* OK behind"));
        else
            run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] ready",
                          "<AUTHENTICATE PLAIN " PLAIN_ANN, IN_WITH_ID, ">* OK behind"));
        ends(w, LOGIN_OK, rows[i].heard ? "id_after" : "sign_in", "", "");
        unit_same(buf_span(&w->rest), "* OK behind\r\n");
        forget(w);
    }
    w->backend.forward_id = FORWARD_ID_NEUTRAL; /* not where it is not offered */
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] ready",
                  "<AUTHENTICATE PLAIN " PLAIN_ANN, ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
    forget(w);
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] ready",
                  "<AUTHENTICATE PLAIN " PLAIN_ANN, IN_WITH_ID, "<ID (\"name\" \"imapferry\")"));
    ends(w, LOGIN_UNAVAILABLE, "id_after", "", "closed the connection");
}

#define ID_OFFERED ">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] ready"
#define ID_OF_P1   "<ID (\"x-session-id\" \"p1\")"

static void run_pipelined(struct world *w, const char *const *script)
{
    w->request.session_id = "p1";
    w->request.pipelined = true;
    run(w, script);
}

/* Both commands are read before either is answered. */
static void test_sign_in_behind_id(void **state)
{
    struct world *w = *state;
    run_pipelined(
        w,
        SCRIPT(
            ID_OFFERED, ID_OF_P1, "<AUTHENTICATE PLAIN " PLAIN_ANN,
            "}* ID NIL\r\n%P NO [CAPABILITY IMAP4rev1] not for you\r\n%T OK [CAPABILITY IMAP4rev1 IDLE] in\r\n"));
    ends(w, LOGIN_OK, "sign_in", "", "");
    assert_true(imap_caps_has(&w->caps, CAP_IDLE));
}

/* What the answer to ID says of capabilities holds before the sign-in. */
static void test_capabilities_in_the_answer_to_id(void **state)
{
    struct world *w = *state;
    run_pipelined(w, SCRIPT(ID_OFFERED, ID_OF_P1, "<AUTHENTICATE PLAIN " PLAIN_ANN,
                            "}* CAPABILITY IMAP4rev1\r\n%P OK [CAPABILITY IMAP4rev1] fine\r\n%T OK in\r\n",
                            "<CAPABILITY", ">* CAPABILITY IMAP4rev1 IDLE", ">%T OK done"));
    ends(w, LOGIN_OK, "capability_after", "", "");
    assert_true(imap_caps_has(&w->caps, CAP_IDLE));
}

/* Refused is who is refused, whatever ID was answered; an answer out of order is none. */
static void test_answers_to_id_and_sign_in(void **state)
{
    struct world *w = *state;
    run_pipelined(w, SCRIPT(ID_OFFERED, ID_OF_P1, "<AUTHENTICATE PLAIN " PLAIN_ANN,
                            "}%P OK fine\r\n%T NO [AUTHENTICATIONFAILED] no\r\n"));
    ends(w, LOGIN_REFUSED, "sign_in", "AUTHENTICATIONFAILED", "");
    forget(w);
    run_pipelined(w, SCRIPT(ID_OFFERED, ID_OF_P1, "<AUTHENTICATE PLAIN " PLAIN_ANN,
                            "}%T OK in\r\n%P OK fine\r\n", "!wait"));
    ends(w, LOGIN_UNAVAILABLE, "sign_in", "", "a tag that was not sent");
}

/* A "+" has to be waited for, so nothing goes out ahead of it. */
static void test_no_sign_in_behind_id_without_sasl_ir(void **state)
{
    struct world *w = *state;
    run_pipelined(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN ID] ready", ID_OF_P1, ">%T OK fine",
                            "<AUTHENTICATE PLAIN", ">+ ", "=" PLAIN_ANN, ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

static void test_no_id_where_not_offered(void **state)
{
    struct world *w = *state;
    w->request.client_ip = "192.0.2.7";
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready", "<AUTHENTICATE PLAIN " PLAIN_ANN,
                  ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

/* Every byte in a segment of its own. */
static void test_byte_by_byte(void **state)
{
    struct world *w = *state;
    static const char text[] = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\r\n";
    char steps[sizeof text][3];
    const char *script[sizeof text + 4];
    size_t n = 0;
    for (size_t i = 0; text[i]; i++) {
        snprintf(steps[i], sizeof steps[i], "}%c", text[i]);
        script[n++] = steps[i];
    }
    script[n++] = "<AUTHENTICATE PLAIN " PLAIN_ANN;
    script[n++] = ">%T OK [CAPABILITY IMAP4rev1] in";
    script[n] = NULL;
    run(w, script);
    ends(w, LOGIN_OK, "sign_in", "", "");
}

/* --- the master account --- */

static void test_master_authzid(void **state)
{
    struct world *w = *state;
    w->request.as = LOGIN_AS_MASTER;
    w->request.credential = (struct credential){0};
    w->backend.sign_in = SIGN_IN_MASTER;
    /* printf 'ann\0admin\0master secret' | base64 */
    run(w,
        SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready",
               "<AUTHENTICATE PLAIN YW5uAGFkbWluAG1hc3RlciBzZWNyZXQ=", ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

static void test_master_login(void **state)
{
    struct world *w = *state;
    w->request.as = LOGIN_AS_MASTER;
    w->backend.sign_in = SIGN_IN_MASTER;
    w->backend.master_login = (char *)"%u*%m";
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 LITERAL+] ready", "<LOGIN {9+}", "=ann*admin {13+}",
                  "=master secret", ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

/* DESIGN.md 9: the master account is used wherever there is one, also where clients pass through. */
static void test_master_of_passthrough(void **state)
{
    struct world *w = *state;
    w->request.as = LOGIN_AS_MASTER;
    w->backend.sign_in = SIGN_IN_PASSTHROUGH;
    w->backend.master_login = (char *)"%u+%m";
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 LITERAL+] ready", "<LOGIN ann+admin {13+}", "=master secret",
                  ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

static void test_master_name_with_separator(void **state)
{
    struct world *w = *state;
    w->request.as = LOGIN_AS_MASTER;
    w->request.user = "ann*bob";
    w->backend.master_login = (char *)"%u*%m";
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1] ready", "!wait"));
    ends(w, LOGIN_REFUSED, "sign_in", "", "sets apart");
}

/* ---- tokens ---- */

static void with_token(struct world *w, const char *by)
{
    w->request.credential.mechanism = sasl_find(span_str(by));
    w->request.credential.secret = span_str("T0K3N");
}

/* printf 'user=ann\1auth=Bearer T0K3N\1\1' | base64 */
#define XOAUTH2_ANN "dXNlcj1hbm4BYXV0aD1CZWFyZXIgVDBLM04BAQ=="
/* printf 'n,a=ann,\1auth=Bearer T0K3N\1\1' | base64 */
#define BEARER_ANN "bixhPWFubiwBYXV0aD1CZWFyZXIgVDBLM04BAQ=="
/* {"status":"invalid_token"} */
#define INVALID "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0="

static void test_token(void **state)
{
    struct world *w = *state;
    with_token(w, "XOAUTH2");
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2] ready",
                  "<AUTHENTICATE XOAUTH2 " XOAUTH2_ANN, ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

static void test_token_of_the_other_mechanism(void **state)
{
    struct world *w = *state;
    with_token(w, "XOAUTH2");
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=OAUTHBEARER] ready",
                  "<AUTHENTICATE OAUTHBEARER", ">+ ", "=" BEARER_ANN, ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

static void test_token_that_is_refused(void **state)
{
    struct world *w = *state;
    with_token(w, "OAUTHBEARER");
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=OAUTHBEARER] ready",
                  "<AUTHENTICATE OAUTHBEARER " BEARER_ANN, ">+ " INVALID,
                  "=AQ==", ">%T NO [AUTHENTICATIONFAILED] no", "!wait"));
    ends(w, LOGIN_REFUSED, "sign_in", "AUTHENTICATIONFAILED", "NO: no {\"status\":\"invalid_token\"}");
    assert_string_equal(w->challenge, "{\"status\":\"invalid_token\"}");
}

static void test_token_that_is_refused_by_xoauth2(void **state)
{
    struct world *w = *state;
    with_token(w, "XOAUTH2");
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready",
                  "<AUTHENTICATE XOAUTH2 " XOAUTH2_ANN, ">+ " INVALID, "=", ">%T NO no", "!wait"));
    ends(w, LOGIN_REFUSED, "sign_in", "", "NO: no {");
    assert_string_equal(w->challenge, "{\"status\":\"invalid_token\"}");
}

/* What the server says then is no JSON, or nothing: it is acknowledged all the same, and nobody hears of it. */
static void test_challenge_that_is_none(void **state)
{
    static const char *const challenges[] = {">+ ", ">+", ">+ aGVsbG8=", ">+ {\"status\":\"400\"}",
                                             ">+ eyJhIjoiG1sxbSJ9"};
    struct world *w = *state;
    with_token(w, "XOAUTH2");
    for (size_t i = 0; i < COUNTOF(challenges); i++) {
        run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready",
                      "<AUTHENTICATE XOAUTH2 " XOAUTH2_ANN, challenges[i], "=", ">%T NO no", "!wait"));
        ends(w, LOGIN_REFUSED, "sign_in", "", "NO: no");
        assert_string_equal(w->challenge, "");
        forget(w);
    }
}

/* The server tells the token back: nowhere into a log. */
static void test_challenge_with_the_token_in_it(void **state)
{
    struct world *w = *state;
    with_token(w, "XOAUTH2");
    /* {"t":"T0K3N"} */
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready",
                  "<AUTHENTICATE XOAUTH2 " XOAUTH2_ANN, ">+ eyJ0IjoiVDBLM04ifQ==", "=", ">%T NO no T0K3N",
                  "!wait"));
    ends(w, LOGIN_REFUSED, "sign_in", "", "left out");
    assert_null(strstr(w->detail, "T0K3N"));
}

static void test_challenges_without_end(void **state)
{
    struct world *w = *state;
    with_token(w, "XOAUTH2");
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready",
                  "<AUTHENTICATE XOAUTH2 " XOAUTH2_ANN, ">+ " INVALID, "=", ">+ " INVALID, "!wait"));
    ends(w, LOGIN_UNAVAILABLE, "sign_in", "", "continuation request");
}

static void test_ok_behind_a_refusal(void **state)
{
    struct world *w = *state;
    with_token(w, "XOAUTH2");
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready",
                  "<AUTHENTICATE XOAUTH2 " XOAUTH2_ANN, ">+ " INVALID, "=", ">%T OK in", "!wait"));
    ends(w, LOGIN_UNAVAILABLE, "sign_in", "", "OK behind");
}

static void test_token_that_is_taken_later(void **state)
{
    struct world *w = *state;
    with_token(w, "XOAUTH2");
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready",
                  "<AUTHENTICATE XOAUTH2 " XOAUTH2_ANN, ">+ " INVALID, "=",
                  ">%T NO [UNAVAILABLE] the provider is away", "!wait"));
    ends(w, LOGIN_UNAVAILABLE, "sign_in", "UNAVAILABLE", "is away");
    assert_string_equal(w->challenge, "");
}

static void test_server_without_tokens(void **state)
{
    struct world *w = *state;
    with_token(w, "OAUTHBEARER");
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=LOGIN] ready", "!wait"));
    ends(w, LOGIN_NO_MECHANISM, "sign_in", "", "no AUTH=OAUTHBEARER");
    forget(w);
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=OAUTHBEARER] ready", "!wait"));
    ends(w, LOGIN_UNAVAILABLE, "sign_in", "", "LOGINDISABLED");
}

/* A password's server asks for more than there is. */
static void test_challenge_to_a_password(void **state)
{
    struct world *w = *state;
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready", "<AUTHENTICATE PLAIN " PLAIN_ANN,
                  ">+ " INVALID, "!wait"));
    ends(w, LOGIN_UNAVAILABLE, "sign_in", "", "continuation request");
}

/* A client that may sign in as others: its own credential, and both names as the backend wants them. */
static void test_authzid_of_a_client(void **state)
{
    struct world *w = *state;
    w->request.credential.authzid = span_str("bob");
    w->request.user = "bob";
    /* printf 'bob\0ann\0pass word' | base64 */
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready",
                  "<AUTHENTICATE PLAIN Ym9iAGFubgBwYXNzIHdvcmQ=", ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

static void test_authzid_of_a_client_by_name(void **state)
{
    struct world *w = *state;
    w->request.credential.authzid = span_str("bob");
    w->request.user = "bob";
    w->backend.master_login = (char *)"%u*%m";
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 LITERAL+] ready", "<LOGIN {7+}", "=bob*ann {9+}", "=pass word",
                  ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

static void test_master_without_plain(void **state)
{
    struct world *w = *state;
    w->request.as = LOGIN_AS_MASTER;
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1] ready", "!wait"));
    ends(w, LOGIN_UNAVAILABLE, "sign_in", "", "set master_login");
}

static void test_no_master(void **state)
{
    struct world *w = *state;
    w->request.as = LOGIN_AS_MASTER;
    w->backend.master_user = (char *)"";
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready", "!wait"));
    ends(w, LOGIN_UNAVAILABLE, "sign_in", "", "no master_user");
}

static void test_proxyauth(void **state)
{
    struct world *w = *state;
    w->request.as = LOGIN_AS_MASTER;
    w->request.user = "ann smith";
    w->backend.sign_in = SIGN_IN_PROXYAUTH;
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 LITERAL+] ready", "<LOGIN admin {13+}", "=master secret",
                  ">%T OK [CAPABILITY IMAP4rev1 IDLE] in", "<PROXYAUTH \"ann smith\"", ">%T OK you are"));
    ends(w, LOGIN_OK, "proxyauth", "", "");
    assert_true(imap_caps_has(&w->caps, CAP_IDLE));
}

static void test_proxyauth_refused(void **state)
{
    struct world *w = *state;
    w->request.as = LOGIN_AS_MASTER;
    w->backend.sign_in = SIGN_IN_PROXYAUTH;
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 LITERAL+] ready", "<LOGIN admin {13+}", "=master secret",
                  ">%T OK [CAPABILITY IMAP4rev1 IDLE] in", "<PROXYAUTH ann", ">%T NO [NONEXISTENT] who?",
                  "!wait"));
    ends(w, LOGIN_REFUSED, "proxyauth", "NONEXISTENT", "who?");
}

/* --- refusals --- */

struct answer {
    const char *line;
    enum login_rc rc;
    const char *code, *detail;
};

static void test_answers_to_sign_in(void **state)
{
    struct world *w = *state;
    static const struct answer rows[] = {
        {">%T NO [AUTHENTICATIONFAILED] wrong", LOGIN_REFUSED, "AUTHENTICATIONFAILED", "wrong"},
        {">%T NO wrong", LOGIN_REFUSED, "", "wrong"},
        {">%T no [expired] old", LOGIN_REFUSED, "EXPIRED", "old"},
        {">%T NO [ALERT] call 555-1234", LOGIN_REFUSED, "", "call"},
        {">%T NO [X-ODD\x1b[2J] odd", LOGIN_REFUSED, "", "odd"},
        {">%T NO [UNAVAILABLE] later", LOGIN_UNAVAILABLE, "UNAVAILABLE", "later"},
        {">%T NO [INUSE] busy", LOGIN_UNAVAILABLE, "INUSE", "busy"},
        {">%T NO [LIMIT] many", LOGIN_UNAVAILABLE, "LIMIT", "many"},
        {">%T NO [SERVERBUG] oops", LOGIN_UNAVAILABLE, "SERVERBUG", "oops"},
        {">%T NO [CONTACTADMIN] ask", LOGIN_UNAVAILABLE, "CONTACTADMIN", "ask"},
        {">%T NO [REFERRAL imap://evil.example.org/] go there", LOGIN_UNAVAILABLE, "",
         "not followed: imap://evil"},
        {">%T BAD what", LOGIN_UNAVAILABLE, "", "BAD: what"},
        {">%T BAD User is authenticated but not connected.", LOGIN_REFUSED, "", "not connected"},
        {">* BYE [UNAVAILABLE] going down", LOGIN_UNAVAILABLE, "", "BYE: going down"},
        {">%T NO esc \x1b[31m 8bit \xe4", LOGIN_REFUSED, "", "esc ?[31m 8bit ?"},
        {">%T BAD Unknown: LOGIN ann \"pass word\"", LOGIN_UNAVAILABLE, "", "left out"},
        {">%T BAD Unknown: AUTHENTICATE PLAIN " PLAIN_ANN, LOGIN_UNAVAILABLE, "", "left out"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready",
                      "<AUTHENTICATE PLAIN " PLAIN_ANN, rows[i].line, "!wait"));
        ends(w, rows[i].rc, "sign_in", rows[i].code, rows[i].detail);
        assert_null(strstr(w->detail, PLAIN_ANN));
        forget(w);
    }
}

/* Exchange accepts wrong credentials and says so afterwards. */
static void test_authenticated_but_not_connected(void **state)
{
    struct world *w = *state;
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready", "<AUTHENTICATE PLAIN " PLAIN_ANN,
                  ">%T OK in", "<CAPABILITY", ">%T BAD User is authenticated but not connected.", "!wait"));
    ends(w, LOGIN_REFUSED, "capability_after", "", "not connected");
}

static void test_refused_at_literal(void **state)
{
    struct world *w = *state;
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1] ready", "<LOGIN ann {9}",
                  ">%T NO [AUTHENTICATIONFAILED] never", "!wait"));
    ends(w, LOGIN_REFUSED, "sign_in", "AUTHENTICATIONFAILED", "never");
}

/* --- TLS that is not there; not a byte of a credential goes out --- */

static void insecure(struct world *w, const char *const *script, const char *phase, const char *detail)
{
    w->backend.address.scheme = ADDRESS_IMAP_STARTTLS;
    run(w, script);
    ends(w, LOGIN_INSECURE, phase, "", detail);
    assert_int_equal(w->extra, 0);
}

static void test_starttls_stripped(void **state)
{
    insecure(*state, SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready", "!wait"), "starttls",
             "does not offer STARTTLS");
}

static void test_starttls_stripped_from_answer(void **state)
{
    insecure(
        *state,
        SCRIPT(">* OK ready", "<CAPABILITY", ">* CAPABILITY IMAP4rev1 AUTH=PLAIN", ">%T OK done", "!wait"),
        "starttls", "does not offer STARTTLS");
}

static void test_starttls_refused(void **state)
{
    insecure(
        *state,
        SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] ready", "<STARTTLS", ">%T BAD no", "!wait"),
        "starttls", "BAD: no");
}

static void test_starttls_injection(void **state)
{
    insecure(*state,
             SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS] ready", "<STARTTLS",
                    "}%T OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n", "!wait"),
             "securing", "plaintext behind");
}

static void test_preauth_on_starttls(void **state)
{
    insecure(*state, SCRIPT(">* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] come in", "!wait"), "greeting",
             "PREAUTH");
}

static void test_starttls_bad_certificates(void **state)
{
    static const char *const rows[][2] = {
        {"expired", "certificate has expired"},
        {"selfsigned", "self-signed certificate: who signed it is not trusted here (see ca_file)"},
        {"othername", "IP address mismatch: it is for other names"}};
    struct world *w = *state;
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        w->kind = rows[i][0];
        insecure(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS] ready", "<STARTTLS", ">%T OK go", "!tls"),
                 "securing", rows[i][1]);
        forget(w);
    }
}

static void test_imaps_bad_certificate(void **state)
{
    struct world *w = *state;
    w->backend.address.scheme = ADDRESS_IMAPS;
    w->backend.address.host = (char *)"localhost";
    w->kind = "othername";
    run(w, SCRIPT("!tls"));
    ends(w, LOGIN_INSECURE, "dialing", "", "hostname mismatch");
}

/* What was told before TLS counts no more. */
static void test_caps_before_tls_are_forgotten(void **state)
{
    struct world *w = *state;
    w->backend.address.scheme = ADDRESS_IMAP_STARTTLS;
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR LITERAL+] ready", "<STARTTLS",
                  ">%T OK go", "!tls", "<CAPABILITY", ">* CAPABILITY IMAP4rev1", ">%T OK done",
                  "<LOGIN ann {9}", ">+", "=pass word", ">%T OK [CAPABILITY IMAP4rev1] in"));
    ends(w, LOGIN_OK, "sign_in", "", "");
}

static void test_logindisabled(void **state)
{
    struct world *w = *state;
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED AUTH=PLAIN] ready", "!wait"));
    ends(w, LOGIN_UNAVAILABLE, "sign_in", "", "LOGINDISABLED");
    assert_int_equal(w->extra, 0);
}

/* --- backends that are broken --- */

static void unavailable(struct world *w, const char *const *script, const char *phase, const char *detail)
{
    run(w, script);
    ends(w, LOGIN_UNAVAILABLE, phase, "", detail);
}

static void test_greetings(void **state)
{
    struct world *w = *state;
    static const char *const rows[][2] = {
        {">* BYE [ALERT] full", "full"},
        {">* NO not today", "not today"},
        {">* PREAUTH come in", "PREAUTH"},
        {">* 1 EXISTS", "no greeting"},
        {">a OK hello", "no greeting"},
        {">+ hello", "no greeting"},
        {">HTTP/1.1 400 Bad Request", "protocol error"},
        {">SSH-2.0-OpenSSH_9.2", "protocol error"},
        {"}* OK bare line feed\n", "protocol error"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        unavailable(w, SCRIPT(rows[i][0], "!wait"), "greeting", rows[i][1]);
        forget(w);
    }
}

static void test_closes_in_each_phase(void **state)
{
    struct world *w = *state;
    unavailable(w, SCRIPT("!close"), "greeting", "closed the connection");
    forget(w);
    unavailable(w, SCRIPT("}* OK rea", "!close"), "greeting", "closed the connection");
    forget(w);
    unavailable(w, SCRIPT(">* OK ready", "<CAPABILITY", "!reset"), "capability", "reset");
    forget(w);
    unavailable(w, SCRIPT(">* OK ready", "<CAPABILITY", "!close"), "capability", "closed the connection");
    forget(w);
    unavailable(
        w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready", "<AUTHENTICATE PLAIN " PLAIN_ANN),
        "sign_in", "closed the connection");
    forget(w);
    unavailable(w,
                SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready",
                       "<AUTHENTICATE PLAIN " PLAIN_ANN, ">%T OK in", "<CAPABILITY"),
                "capability_after", "closed the connection");
    forget(w);
    w->backend.address.scheme = ADDRESS_IMAP_STARTTLS;
    run(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS] ready", "<STARTTLS", ">%T OK go", "!some"));
    ends(w, LOGIN_INSECURE, "securing", "", "closed the connection in the TLS handshake");
}

/* Accepts or answers half, then says no more; the wait has an end in each state. */
static void test_hangs_in_each_phase(void **state)
{
    struct world *w = *state;
    w->request.step_timeout_ms = 400;
    unavailable(w, SCRIPT("!wait"), "greeting", "no answer in time");
    forget(w);
    unavailable(w, SCRIPT(">* OK ready", "<CAPABILITY", "}* CAPA", "!wait"), "capability",
                "no answer in time");
    forget(w);
    unavailable(w,
                SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready",
                       "<AUTHENTICATE PLAIN " PLAIN_ANN, "!wait"),
                "sign_in", "no answer in time");
    forget(w);
    unavailable(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1] ready", "<LOGIN ann {9}", "!wait"), "sign_in",
                "no answer in time");
    forget(w);
    w->backend.address.scheme = ADDRESS_IMAP_STARTTLS;
    unavailable(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS] ready", "<STARTTLS", ">%T OK go", "!wait"),
                "securing", "no answer in time");
}

/* Where nothing is said, the text says what to look at. */
static void test_ends_without_a_word(void **state)
{
    struct world *w = *state;
    w->request.step_timeout_ms = 400;
    unavailable(w, SCRIPT("!wait"), "greeting",
                "whether this port speaks TLS from its first byte (imaps://)");
    forget(w);
    unavailable(w, SCRIPT("!close"), "greeting", "imaps://");
    forget(w);
    w->request.as = LOGIN_AS_MASTER;
    w->backend.sign_in = SIGN_IN_MASTER;
    unavailable(w,
                SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready",
                       "<AUTHENTICATE PLAIN YW5uAGFkbWluAG1hc3RlciBzZWNyZXQ=", "!close"),
                "sign_in", "whether the user exists there");
    forget(w);
    unavailable(w,
                SCRIPT(">* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready",
                       "<AUTHENTICATE PLAIN YW5uAGFkbWluAG1hc3RlciBzZWNyZXQ=", "!reset"),
                "sign_in", "whether the user exists there");
}

/* Who waits for a port that speaks TLS should not have to wait for the whole time-out to hear of it. */
static void test_missing_greeting_is_told_early(void **state)
{
    struct world *w = *state;
    int before = dup(STDERR_FILENO), log = open(io_file(&w->dir, "log"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    char text[4096] = "";

    w->request.step_timeout_ms = 600;
    dup2(log, STDERR_FILENO);
    unavailable(w, SCRIPT("!wait"), "greeting", "no answer in time");
    dup2(before, STDERR_FILENO);
    assert_true(pread(log, text, sizeof(text) - 1, 0) > 0);
    close(log);
    close(before);
    assert_non_null(
        strstr(text, "event=no_greeting_yet backend=old session=- ms=200 hint=\"it has not greeted"));
    assert_non_null(strstr(text, "imaps://"));
    assert_null(strstr(strstr(text, "no_greeting_yet") + 1, "no_greeting_yet"));
}

static void test_refused_connection(void **state)
{
    struct world *w = *state;
    uint16_t port;
    close(io_listen(&port));
    start(w, port);
    io_wait(w->loop, &w->done);
    ends(w, LOGIN_UNAVAILABLE, "dialing", "", "connection refused");
}

static void test_wrong_tags(void **state)
{
    struct world *w = *state;
    static const char hello[] = ">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready";
    unavailable(w, SCRIPT(hello, "<AUTHENTICATE PLAIN " PLAIN_ANN, ">other OK in", "!wait"), "sign_in",
                "a tag that was not sent");
    forget(w);
    unavailable(w, SCRIPT("}* OK ready\r\nF00000000 OK in\r\n", "!wait"), "capability",
                "a tag that was not sent");
    forget(w);
    /* the answer to CAPABILITY once more, in place of one to the sign-in */
    unavailable(w,
                SCRIPT(">* OK ready", "<CAPABILITY",
                       "}* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n%T OK done\r\n%T OK done\r\n", "!wait"),
                "sign_in", "a tag that was not sent");
}

static void test_out_of_turn(void **state)
{
    struct world *w = *state;
    unavailable(
        w,
        SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready", "<AUTHENTICATE PLAIN", ">%T OK in", "!wait"),
        "sign_in", "OK to half a command");
    forget(w);
    unavailable(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1] ready", "<LOGIN ann {9}", ">%T OK in", "!wait"),
                "sign_in", "OK to half a command");
    forget(w);
    unavailable(w,
                SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready",
                       "<AUTHENTICATE PLAIN " PLAIN_ANN, ">+ more?", "!wait"),
                "sign_in", "nothing waits for");
    forget(w);
    unavailable(w,
                SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready", "<AUTHENTICATE PLAIN", ">+",
                       "=" PLAIN_ANN, ">+", "!wait"),
                "sign_in", "nothing waits for");
    forget(w);
    unavailable(w, SCRIPT(">* OK ready", "<CAPABILITY", ">%T OK done", "!wait"), "capability",
                "without capabilities");
}

static void test_floods(void **state)
{
    struct world *w = *state;
    struct buf line = {0}, lines = {0};
    buf_add_str(&line, "}* OK ");
    for (int i = 0; i < 10000; i++)
        buf_add_str(&line, "0123456789");
    unavailable(w, SCRIPT(buf_str(&line), "!wait"), "greeting", "line too long");
    forget(w);
    buf_add_str(&lines, "}");
    for (int i = 0; i < 1001; i++)
        buf_add_str(&lines, "* OK and\r\n");
    unavailable(w, SCRIPT(">* OK ready", "<CAPABILITY", buf_str(&lines), "!wait"), "capability",
                "too many untagged lines");
    buf_free(&line);
    buf_free(&lines);
    forget(w);
    unavailable(w, SCRIPT(">* OK ready", "<CAPABILITY", ">* ID (\"name\" {4294967296}", "!wait"),
                "capability", "literal too large");
}

/* --- cancelling --- */

static void cancel_at(struct world *w, const char *const *script)
{
    struct io_peer p;
    io_peer_start(&p, script, io_file(&w->dir, "good.pem"), io_file(&w->dir, "good.key"));
    start(w, p.port);
    io_peer_marked(&p, w->loop);
    backend_login_cancel(&w->login);
    assert_null(w->login);
    uv_run(&w->loop->uv, UV_RUN_NOWAIT); /* closes the socket, which a "!wait" waits for */
    io_peer_end(&p);
    assert_int_equal(p.extra, 0);
}

static void test_cancel(void **state)
{
    struct world *w = *state;
    start(w, 1);
    backend_login_cancel(&w->login);
    cancel_at(w, SCRIPT("!mark", "!wait"));
    cancel_at(w, SCRIPT(">* OK ready", "<CAPABILITY", "!mark", "!wait"));
    cancel_at(
        w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready", "<AUTHENTICATE PLAIN", "!mark", "!wait"));
    w->backend.address.scheme = ADDRESS_IMAP_STARTTLS;
    cancel_at(w, SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS] ready", "<STARTTLS", ">%T OK go", "!tls",
                        "<CAPABILITY", "!mark", "!wait"));
    assert_false(w->done);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_plain_with_ir),
        TEST(test_rest_in_one_segment),
        TEST(test_compress),
        TEST(test_no_compress),
        TEST(test_plain_without_ir),
        TEST(test_login_sync_literals),
        TEST(test_login_literal_plus),
        TEST(test_literal_minus_is_short),
        TEST(test_starttls),
        TEST(test_imaps),
        TEST(test_nobody),
        TEST(test_id),
        TEST(test_proxy_header),
        TEST(test_id_behind_the_sign_in),
        TEST(test_sign_in_behind_id),
        TEST(test_capabilities_in_the_answer_to_id),
        TEST(test_answers_to_id_and_sign_in),
        TEST(test_no_sign_in_behind_id_without_sasl_ir),
        TEST(test_no_id_where_not_offered),
        TEST(test_byte_by_byte),
        TEST(test_master_authzid),
        TEST(test_master_login),
        TEST(test_master_of_passthrough),
        TEST(test_master_name_with_separator),
        TEST(test_token),
        TEST(test_token_of_the_other_mechanism),
        TEST(test_token_that_is_refused),
        TEST(test_token_that_is_refused_by_xoauth2),
        TEST(test_challenge_that_is_none),
        TEST(test_challenge_with_the_token_in_it),
        TEST(test_challenges_without_end),
        TEST(test_ok_behind_a_refusal),
        TEST(test_token_that_is_taken_later),
        TEST(test_server_without_tokens),
        TEST(test_challenge_to_a_password),
        TEST(test_authzid_of_a_client),
        TEST(test_authzid_of_a_client_by_name),
        TEST(test_master_without_plain),
        TEST(test_no_master),
        TEST(test_proxyauth),
        TEST(test_proxyauth_refused),
        TEST(test_answers_to_sign_in),
        TEST(test_authenticated_but_not_connected),
        TEST(test_refused_at_literal),
        TEST(test_starttls_stripped),
        TEST(test_starttls_stripped_from_answer),
        TEST(test_starttls_refused),
        TEST(test_starttls_injection),
        TEST(test_preauth_on_starttls),
        TEST(test_starttls_bad_certificates),
        TEST(test_imaps_bad_certificate),
        TEST(test_caps_before_tls_are_forgotten),
        TEST(test_logindisabled),
        TEST(test_greetings),
        TEST(test_closes_in_each_phase),
        TEST(test_hangs_in_each_phase),
        TEST(test_ends_without_a_word),
        TEST(test_missing_greeting_is_told_early),
        TEST(test_refused_connection),
        TEST(test_wrong_tags),
        TEST(test_out_of_turn),
        TEST(test_floods),
        TEST(test_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
