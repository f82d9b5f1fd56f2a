#include "io.h"
#include "lib/dial.h"

struct world {
    struct loop *loop;
    struct io_dir dir;
    uv_tcp_t listener;
    uv_pipe_t pipe;
    uint16_t port;
    struct tls_policy *client, *server; /* server NULL: accepted streams stay plain and silent */
    struct stream_limits limits;
    struct stream *peer;
    struct dial *dial;
    bool starting; /* inside dial_start() */
    bool done, accepted;
    enum dial_rc rc;
    struct stream *s;
    char *detail;
};

static void ignore_event(struct stream *s, enum stream_event ev, void *owner)
{
    (void)s;
    (void)ev;
    (void)owner;
}

static void peer_event(struct stream *s, enum stream_event ev, void *owner)
{
    (void)s;
    struct world *w = owner;
    if (ev == STREAM_ERROR || ev == STREAM_EOF)
        stream_close(&w->peer, false);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct world *w = listener->data;
    assert_int_equal(status, 0);
    stream_close(&w->peer, false);
    w->peer = stream_accept(w->loop, listener, &w->limits, peer_event, w);
    assert_non_null(w->peer);
    w->accepted = true;
    if (w->server)
        stream_secure(w->peer, w->server, NULL);
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    io_dir_make(&w->dir);
    io_certs(&w->dir);
    w->loop = loop_new();
    w->limits = (struct stream_limits){.high_water = 64 * 1024, .queue_max = 1 << 20};
    char *error;
    w->client = tls_policy_client(io_file(&w->dir, "ca.pem"), TLS_1_2, &error);
    assert_non_null(w->client);
    struct sockaddr_in a;
    uv_ip4_addr("127.0.0.1", 0, &a);
    uv_tcp_init(&w->loop->uv, &w->listener);
    w->listener.data = w;
    assert_int_equal(uv_tcp_bind(&w->listener, (struct sockaddr *)&a, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&w->listener, 8, on_connection), 0);
    int len = sizeof a;
    uv_tcp_getsockname(&w->listener, (struct sockaddr *)&a, &len);
    w->port = ntohs(a.sin_port);
    uv_pipe_init(&w->loop->uv, &w->pipe, 0);
    w->pipe.data = w;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    dial_cancel(&w->dial);
    stream_close(&w->s, false);
    stream_close(&w->peer, false);
    uv_close((uv_handle_t *)&w->listener, NULL);
    uv_close((uv_handle_t *)&w->pipe, NULL);
    loop_free(&w->loop);
    tls_policy_free(&w->client);
    tls_policy_free(&w->server);
    free(w->detail);
    io_dir_remove(&w->dir);
    free(w);
    return 0;
}

static void serve(struct world *w, const char *kind)
{
    char pem[32], key[32], *error;
    snprintf(pem, sizeof pem, "%s.pem", kind);
    snprintf(key, sizeof key, "%s.key", kind);
    w->server = io_server_policy(io_file(&w->dir, pem), io_file(&w->dir, key), TLS_1_2, &error);
    assert_non_null(w->server);
}

static void dialled(void *owner, enum dial_rc rc, struct stream *s, const char *detail)
{
    struct world *w = owner;
    assert_false(w->starting);
    assert_false(w->done);
    assert_true((rc == DIAL_OK) == (s != NULL));
    w->dial = NULL;
    w->done = true;
    w->rc = rc;
    w->s = s;
    w->detail = xstrdup(detail);
    if (s)
        stream_set_owner(s, ignore_event, w);
}

static void start(struct world *w, enum address_scheme scheme, const char *host, uint64_t ms)
{
    struct address a = {.scheme = scheme, .host = (char *)host, .port = w->port};
    w->starting = true;
    w->dial = dial_start(w->loop, &a, w->client, &w->limits, ms, dialled, w);
    w->starting = false;
}

static void dial_ends(struct world *w, enum dial_rc rc, const char *text)
{
    io_wait(w->loop, &w->done);
    if (w->rc != rc || !strstr(w->detail, text))
        fail_msg("rc %d, detail %s; want %d, %s", w->rc, w->detail, rc, text);
}

static void test_literal(void **state)
{
    struct world *w = *state;
    start(w, ADDRESS_IMAP, "127.0.0.1", 10000);
    dial_ends(w, DIAL_OK, "");
    assert_false(stream_is_secure(w->s));
}

static void test_name(void **state)
{
    struct world *w = *state;
    start(w, ADDRESS_REDIS, "localhost", 10000);
    dial_ends(w, DIAL_OK, "");
}

static void test_starttls_is_not_for_us(void **state)
{
    struct world *w = *state;
    start(w, ADDRESS_IMAP_STARTTLS, "localhost", 10000);
    dial_ends(w, DIAL_OK, "");
    assert_false(stream_is_secure(w->s));
}

static void test_tls(void **state)
{
    struct world *w = *state;
    serve(w, "good");
    start(w, ADDRESS_IMAPS, "localhost", 10000);
    dial_ends(w, DIAL_OK, "");
    assert_true(stream_is_secure(w->s));
}

static void test_tls_to_an_address(void **state)
{
    struct world *w = *state;
    serve(w, "good");
    start(w, ADDRESS_REDISS, "127.0.0.1", 10000);
    dial_ends(w, DIAL_OK, "");
    assert_true(stream_is_secure(w->s));
}

static void test_bad_certificate(void **state)
{
    struct world *w = *state;
    serve(w, "othername");
    start(w, ADDRESS_IMAPS, "localhost", 10000);
    dial_ends(w, DIAL_TLS_FAILED, "hostname mismatch");
}

static void test_unix(void **state)
{
    struct world *w = *state;
    const char *path = io_file(&w->dir, "sock");
    assert_int_equal(uv_pipe_bind(&w->pipe, path), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&w->pipe, 8, on_connection), 0);
    struct address a = {.scheme = ADDRESS_IMAP_UNIX, .path = (char *)path};
    w->dial = dial_start(w->loop, &a, NULL, &w->limits, 10000, dialled, w);
    dial_ends(w, DIAL_OK, "");
}

static void test_unix_absent(void **state)
{
    struct world *w = *state;
    struct address a = {.scheme = ADDRESS_REDIS_UNIX, .path = (char *)"/nonexistent/socket"};
    w->starting = true;
    w->dial = dial_start(w->loop, &a, NULL, &w->limits, 10000, dialled, w);
    w->starting = false;
    dial_ends(w, DIAL_UNREACHABLE, "/nonexistent/socket: no such file");
}

static void test_refused(void **state)
{
    struct world *w = *state;
    close(io_listen(&w->port));
    start(w, ADDRESS_IMAP, "127.0.0.1", 10000);
    dial_ends(w, DIAL_UNREACHABLE, "127.0.0.1:");
    assert_non_null(strstr(w->detail, "connection refused"));
}

static void test_no_such_name(void **state)
{
    struct world *w = *state;
    start(w, ADDRESS_IMAP, "no-such-host.invalid", 10000);
    dial_ends(w, DIAL_UNREACHABLE, "no-such-host.invalid: the name can't be resolved (");
}

static void test_name_that_cannot_be(void **state)
{
    struct world *w = *state;
    char name[400];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    start(w, ADDRESS_IMAP, name, 10000);
    dial_ends(w, DIAL_UNREACHABLE, "nnn");
}

/* The peer accepts and says nothing to our handshake. */
static void test_silent_peer(void **state)
{
    struct world *w = *state;
    start(w, ADDRESS_IMAPS, "127.0.0.1", 50);
    dial_ends(w, DIAL_TIMEOUT, "no answer to the TLS handshake in time: see whether this port speaks TLS");
}

static void test_cancel_in_lookup(void **state)
{
    struct world *w = *state;
    start(w, ADDRESS_IMAP, "localhost", 10000);
    dial_cancel(&w->dial);
    assert_null(w->dial);
    loop_stop(w->loop); /* the late answer comes while the loop ends, stopped or not */
}

static void test_cancel_in_connect(void **state)
{
    struct world *w = *state;
    start(w, ADDRESS_IMAP, "127.0.0.1", 10000);
    dial_cancel(&w->dial);
}

static void test_cancel_in_handshake(void **state)
{
    struct world *w = *state;
    start(w, ADDRESS_IMAPS, "127.0.0.1", 10000);
    io_wait(w->loop, &w->accepted);
    dial_cancel(&w->dial);
    assert_false(w->done);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_literal),
        TEST(test_name),
        TEST(test_starttls_is_not_for_us),
        TEST(test_tls),
        TEST(test_tls_to_an_address),
        TEST(test_bad_certificate),
        TEST(test_unix),
        TEST(test_unix_absent),
        TEST(test_refused),
        TEST(test_no_such_name),
        TEST(test_name_that_cannot_be),
        TEST(test_silent_peer),
        TEST(test_cancel_in_lookup),
        TEST(test_cancel_in_connect),
        TEST(test_cancel_in_handshake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
