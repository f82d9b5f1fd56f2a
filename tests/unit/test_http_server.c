#include <fcntl.h>

#include "io.h"
#include "lib/http_server.h"

/* A server, and its clients on the same loop. */
struct world {
    struct loop *loop;
    struct io_dir dir;
    struct http_server *server;
    struct http_settings set;
    struct http_request *held, *patient;
    struct http_stream *stream;
    struct http_blob *blob;
    bool is_held, gone, streams;
    unsigned calls;
    char last[512]; /* what the last request was */
};

struct client {
    uv_poll_t poll;
    int fd;
    struct buf in;
    const char *until; /* seen is set once this has come; NULL: at the end */
    bool seen, ended, closed;
};

/* ---- handlers ---- */

static void show(void *owner, struct http_request *r)
{
    struct world *w = owner;
    struct span token = http_request_bearer(r), body = http_request_body(r);
    const char *x = http_request_query(r, "x"), *none = http_request_query(r, "none");

    w->calls++;
    snprintf(
        w->last, sizeof w->last, "%s %s rest=%s x=%s none=%s agent=%s token=%.*s body=%.*s peer=%s",
        http_request_method(r), http_request_path(r), http_request_rest(r), x ? x : "-", none ? none : "-",
        http_request_header(r, "user-agent") ? http_request_header(r, "user-agent") : "-", (int)token.len,
        (const char *)token.p, (int)body.len, (const char *)body.p, http_request_peer(r));
    http_add_header(r, "X-Test", "yes");
    http_answer(r, 200, "text/plain", span_str("shown\n"));
}

static void on_gone(void *owner)
{
    struct world *w = owner;
    w->gone = true;
    w->held = NULL;
    w->stream = NULL;
}

static void on_patient_gone(void *owner)
{
    struct world *w = owner;
    w->patient = NULL;
}

static void hold(void *owner, struct http_request *r)
{
    struct world *w = owner;
    w->held = r;
    w->is_held = true;
    http_request_hold(r, on_gone, w);
}

static void hold_for_long(void *owner, struct http_request *r)
{
    struct world *w = owner;
    w->patient = r;
    http_request_hold(r, on_patient_gone, w);
    http_request_allow(r, 60 * 1000);
}

static void begin_stream(void *owner, struct http_request *r)
{
    struct world *w = owner;
    w->stream = http_answer_stream(r, on_gone, w);
    w->streams = true;
}

static void give_blob(void *owner, struct http_request *r)
{
    struct world *w = owner;
    http_answer_blob(r, 200, "text/csv", w->blob);
}

static bool may_be_large(void *owner, const struct http_request *r)
{
    struct world *w = owner;
    w->is_held = true;
    return http_request_bearer(r).len > 0;
}

/* ---- the world ---- */

static void serve(struct world *w)
{
    char *error = NULL;
    w->server = http_server_new(w->loop, &w->set, &error);
    if (!w->server)
        fail_msg("%s", error);
    http_server_route(w->server, "GET", "/show", show, w);
    http_server_route(w->server, "POST", "/show", show, w);
    http_server_route(w->server, "GET", "/below/*", show, w);
    http_server_route(w->server, "GET", "/hold", hold, w);
    http_server_route(w->server, "GET", "/patient", hold_for_long, w);
    http_server_route(w->server, "GET", "/stream", begin_stream, w);
    http_server_route(w->server, "POST", "/large", show, w);
    http_server_allow_large(w->server, "POST", "/large", 20, may_be_large, w);
    http_server_route(w->server, "GET", "/blob", give_blob, w);
    if (!http_server_start(w->server, &error))
        fail_msg("%s", error);
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    io_dir_make(&w->dir);
    w->loop = loop_new();
    w->set.listen = "http://127.0.0.1:0";
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    http_server_free(&w->server);
    loop_free(&w->loop);
    io_dir_remove(&w->dir);
    free(w);
    return 0;
}

/* ---- clients ---- */

static void on_client(uv_poll_t *poll, int status, int events)
{
    struct client *c = CONTAINER_OF(poll, struct client, poll);
    char piece[4096];
    ssize_t n;

    (void)status;
    (void)events;
    while ((n = recv(c->fd, piece, sizeof piece, MSG_DONTWAIT)) > 0)
        buf_add(&c->in, piece, (size_t)n);
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        c->ended = true;
        uv_poll_stop(poll);
    }
    c->seen = c->ended || (c->until && strstr(buf_str(&c->in), c->until));
}

static void client_say(struct client *c, const char *text)
{
    assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void client_watch(struct world *w, struct client *c, const char *until)
{
    assert_true(c->fd >= 0);
    c->until = until;
    assert_int_equal(uv_poll_init(&w->loop->uv, &c->poll, c->fd), 0);
    assert_int_equal(uv_poll_start(&c->poll, UV_READABLE, on_client), 0);
}

static uint16_t port_of(const struct world *w)
{
    return (uint16_t)strtoul(strrchr(http_server_address(w->server), ':') + 1, NULL, 10);
}

static void client_open(struct world *w, struct client *c, const char *text, const char *until)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(port_of(w))};
    memset(c, 0, sizeof *c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&a, sizeof a), 0);
    client_watch(w, c, until);
    client_say(c, text);
}

static void client_on_close(uv_handle_t *handle)
{
    CONTAINER_OF((uv_poll_t *)(void *)handle, struct client, poll)->closed = true;
}

static void client_close(struct world *w, struct client *c)
{
    uv_close((uv_handle_t *)&c->poll, client_on_close);
    io_wait(w->loop, &c->closed);
    close(c->fd);
    buf_free(&c->in);
}

/* Its answer has all of these, and not the last one. */
static void expect(struct world *w, const char *request, const char *const *has, const char *hasnot)
{
    struct client c;
    client_open(w, &c, request, NULL);
    io_wait(w->loop, &c.seen);
    const char *got = buf_str(&c.in);
    for (; *has; has++)
        if (!strstr(got, *has))
            fail_msg("no \"%s\" in: %s", *has, got);
    if (hasnot && strstr(got, hasnot))
        fail_msg("\"%s\" in: %s", hasnot, got);
    client_close(w, &c);
}

#define EXPECT(w, request, hasnot, ...) expect(w, request, (const char *const[]){__VA_ARGS__, NULL}, hasnot)
#define END                             "Host: x\r\nConnection: close\r\n\r\n"

/* ---- tests ---- */

static void test_get(void **state)
{
    struct world *w = *state;
    serve(w);
    EXPECT(w, "GET /show?x=a%20b&y=1 HTTP/1.1\r\nUser-Agent: me\r\nAuthorization: bearer  t0ken\r\n" END,
           NULL, "HTTP/1.1 200 ", "X-Test: yes\r\n", "Cache-Control: no-store\r\n",
           "X-Content-Type-Options: nosniff\r\n", "Content-Type: text/plain\r\n", "\r\n\r\nshown\n");
    assert_string_equal(w->last, "GET /show rest= x=a b none=- agent=me token=t0ken body= peer=127.0.0.1");
    EXPECT(w, "GET /below/a%2Fb%3F?none HTTP/1.1\r\n" END, NULL, "200");
    assert_string_equal(w->last, "GET /below/a/b? rest=a/b? x=- none= agent=- token= body= peer=127.0.0.1");
    EXPECT(w, "HEAD /show HTTP/1.1\r\n" END, "shown", "200", "Content-Length: 6\r\n");
}

static void test_refused(void **state)
{
    struct world *w = *state;
    serve(w);
    EXPECT(w, "GET /none HTTP/1.1\r\n" END, NULL, "HTTP/1.1 404 ");
    EXPECT(w, "GET /sho HTTP/1.1\r\n" END, NULL, "HTTP/1.1 404 ");
    EXPECT(w, "DELETE /show HTTP/1.1\r\n" END, NULL, "HTTP/1.1 405 ", "Allow: GET, POST\r\n");
    EXPECT(w, "GET /below/x%00y HTTP/1.1\r\n" END, NULL, "HTTP/1.1 400 ");
    assert_int_equal(w->calls, 0);
}

static void test_body(void **state)
{
    struct world *w = *state;
    w->set.body_max = 10;
    serve(w);
    EXPECT(w, "POST /show HTTP/1.1\r\nContent-Length: 10\r\n" END "0123456789", NULL, "200");
    assert_non_null(strstr(w->last, "body=0123456789 "));
    EXPECT(w,
           "POST /show HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END "4\r\nabcd\r\n5\r\nefghi\r\n0\r\n\r\n",
           NULL, "200");
    assert_non_null(strstr(w->last, "body=abcdefghi "));
    assert_int_equal(w->calls, 2);
    /* Refused by its length alone: nothing of it was sent. */
    EXPECT(w, "POST /show HTTP/1.1\r\nContent-Length: 11\r\nExpect: 100-continue\r\n" END, "100 Continue",
           "HTTP/1.1 413 ");
    EXPECT(w, "POST /show HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END "b\r\n01234567890\r\n0\r\n\r\n",
           NULL, "HTTP/1.1 413 ");
    assert_int_equal(w->calls, 2);
}

static void test_large_body(void **state)
{
    struct world *w = *state;
    w->set.body_max = 10;
    serve(w);
    EXPECT(w, "POST /large HTTP/1.1\r\nContent-Length: 10\r\n" END "0123456789", NULL, "200");
    assert_false(w->is_held); /* nobody was asked for what everybody may send */
    EXPECT(w, "POST /large HTTP/1.1\r\nAuthorization: Bearer x\r\nContent-Length: 12\r\n" END "0123456789ab",
           NULL, "200");
    assert_non_null(strstr(w->last, "body=0123456789ab "));
    EXPECT(w, "POST /large HTTP/1.1\r\nContent-Length: 12\r\n" END "0123456789ab", NULL, "HTTP/1.1 413 ");
    EXPECT(w, "POST /large HTTP/1.1\r\nAuthorization: Bearer x\r\nContent-Length: 21\r\n" END, NULL,
           "HTTP/1.1 413 ");
    EXPECT(w,
           "POST /large HTTP/1.1\r\nAuthorization: Bearer x\r\nTransfer-Encoding: chunked\r\n" END
           "b\r\n01234567890\r\n0\r\n\r\n",
           NULL, "HTTP/1.1 413 ");
    EXPECT(w, "POST /show HTTP/1.1\r\nAuthorization: Bearer x\r\nContent-Length: 12\r\n" END, NULL,
           "HTTP/1.1 413 ");
    assert_int_equal(w->calls, 2);
}

/* The deadline of one that came later has passed, and it is there. */
static void test_held_for_long(void **state)
{
    struct world *w = *state;
    struct client first, second;
    w->set.request_ms = 50;
    serve(w);
    client_open(w, &first, "GET /patient HTTP/1.1\r\n" END, NULL);
    client_open(w, &second, "GET /hold HTTP/1.1\r\n" END, NULL);
    io_wait(w->loop, &w->is_held);
    io_wait(w->loop, &w->gone);
    assert_non_null(w->patient);
    http_answer(w->patient, 200, "text/plain", span_str("at last\n"));
    io_wait(w->loop, &first.seen);
    assert_non_null(strstr(buf_str(&first.in), "at last"));
    client_close(w, &first);
    client_close(w, &second);
}

enum { BLOB = 16 << 20 };

static void make_blob(struct world *w)
{
    struct buf bytes = {0};
    for (unsigned i = 0; i < BLOB / 8; i++)
        buf_printf(&bytes, "%07u\n", i);
    w->blob = http_blob_new(&bytes);
    assert_int_equal(bytes.len, 0);
    assert_int_equal(http_blob_size(w->blob), BLOB);
}

/* What was made is gone for who comes later, but those who take it get all of it, and one that leaves harms nobody. */
static void test_blob(void **state)
{
    struct world *w = *state;
    struct client reads, leaves;
    make_blob(w);
    serve(w);
    client_open(w, &leaves, "GET /blob HTTP/1.1\r\n" END, "0000000\n");
    client_open(w, &reads, "GET /blob HTTP/1.1\r\n" END, "0000000\n");
    io_wait(w->loop, &leaves.seen);
    io_wait(w->loop, &reads.seen);
    http_blob_drop(&w->blob);
    assert_null(w->blob);
    client_close(w, &leaves);
    reads.until = NULL;
    reads.seen = reads.ended;
    io_wait(w->loop, &reads.seen);
    const char *body = strstr(buf_str(&reads.in), "\r\n\r\n") + 4;
    assert_non_null(strstr(buf_str(&reads.in), "Content-Length: 16777216\r\n"));
    assert_int_equal(strlen(body), BLOB);
    for (unsigned i = 0; i < BLOB / 8; i += 999)
        assert_int_equal(strtoul(body + 8 * i, NULL, 10), i);
    client_close(w, &reads);
}

/* Each piece it takes gives it time for the next; one that takes nothing is ended. */
static void test_blob_that_nobody_takes(void **state)
{
    struct world *w = *state;
    struct client c;
    w->set.request_ms = 50;
    make_blob(w);
    serve(w);
    client_open(w, &c, "GET /blob HTTP/1.1\r\n" END, "0000000\n");
    io_wait(w->loop, &c.seen);
    uv_poll_stop(&c.poll);
    struct client other;
    client_open(w, &other, "GET /hold HTTP/1.1\r\n" END, NULL);
    io_wait(w->loop, &w->gone); /* a deadline that began later has passed */
    client_close(w, &other);
    size_t before = c.in.len;
    assert_int_equal(uv_poll_start(&c.poll, UV_READABLE, on_client), 0);
    c.until = NULL;
    c.seen = c.ended;
    io_wait(w->loop, &c.seen);
    assert_true(c.in.len >= before && c.in.len < BLOB);
    client_close(w, &c);
    http_blob_drop(&w->blob);
}

static void test_keeps_connection(void **state)
{
    struct world *w = *state;
    struct client c;
    serve(w);
    client_open(w, &c, "GET /show HTTP/1.1\r\nHost: x\r\n\r\n", "shown\n");
    io_wait(w->loop, &c.seen);
    assert_false(c.ended);
    buf_clear(&c.in);
    c.seen = false;
    client_say(&c, "GET /show?x=2 HTTP/1.1\r\nHost: x\r\n\r\n");
    io_wait(w->loop, &c.seen);
    assert_int_equal(w->calls, 2);
    client_close(w, &c);
}

static void test_answers_later(void **state)
{
    struct world *w = *state;
    struct client c;
    serve(w);
    client_open(w, &c, "GET /hold HTTP/1.1\r\n" END, NULL);
    io_wait(w->loop, &w->is_held);
    EXPECT(w, "GET /show HTTP/1.1\r\n" END, NULL, "200"); /* others go on */
    assert_false(c.seen);
    http_answer(w->held, 202, NULL, span_str("later"));
    io_wait(w->loop, &c.seen);
    assert_non_null(strstr(buf_str(&c.in), "HTTP/1.1 202 "));
    assert_non_null(strstr(buf_str(&c.in), "\r\n\r\nlater"));
    assert_false(w->gone);
    client_close(w, &c);
}

static void test_held_too_long(void **state)
{
    struct world *w = *state;
    struct client c;
    w->set.request_ms = 50;
    serve(w);
    client_open(w, &c, "GET /hold HTTP/1.1\r\n" END, NULL);
    io_wait(w->loop, &w->gone);
    io_wait(w->loop, &c.ended);
    client_close(w, &c);
}

static void test_held_at_the_end(void **state)
{
    struct world *w = *state;
    struct client c;
    serve(w);
    client_open(w, &c, "GET /hold HTTP/1.1\r\n" END, NULL);
    io_wait(w->loop, &w->is_held);
    http_server_free(&w->server);
    assert_true(w->gone);
    io_wait(w->loop, &c.ended);
    client_close(w, &c);
}

static void test_stream(void **state)
{
    struct world *w = *state;
    struct client c;
    serve(w);
    client_open(w, &c, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", ":\n\n");
    io_wait(w->loop, &c.seen);
    assert_non_null(strstr(buf_str(&c.in), "Content-Type: text/event-stream\r\n"));
    c.seen = false;
    c.until = "data: {}\n\n";
    assert_true(http_stream_send(w->stream, "state", "7", span_str("a\nb\r\nc\r")));
    assert_true(http_stream_send(w->stream, NULL, NULL, span_str("{}")));
    io_wait(w->loop, &c.seen);
    assert_non_null(
        strstr(buf_str(&c.in), "event: state\nid: 7\ndata: a\ndata: b\ndata: c\ndata: \n\ndata: {}\n\n"));
    http_stream_close(&w->stream);
    c.seen = false;
    c.until = "\r\n0\r\n\r\n"; /* the last chunk: it has ended as it should */
    io_wait(w->loop, &c.seen);
    assert_non_null(strstr(buf_str(&c.in), c.until));
    assert_false(w->gone);
    client_close(w, &c);
}

static void test_stream_whose_client_left(void **state)
{
    struct world *w = *state;
    struct client c;
    w->set.beat_ms = 10;
    serve(w);
    client_open(w, &c, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", ":\n\n");
    io_wait(w->loop, &c.seen);
    client_close(w, &c);
    io_wait(w->loop, &w->gone);
}

/* It reads nothing: what waits for it has a cap, and a deadline. */
static void test_stream_whose_client_sleeps(void **state)
{
    struct world *w = *state;
    struct client c;
    char piece[1000];
    unsigned sent = 0;
    w->set.stream_max = 10 * 1000;
    w->set.request_ms = 100;
    serve(w);
    client_open(w, &c, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", ":\n\n");
    io_wait(w->loop, &c.seen);
    uv_poll_stop(&c.poll);
    memset(piece, 'x', sizeof piece);
    for (bool full = false; !full && sent < 1000000; uv_run(&w->loop->uv, UV_RUN_NOWAIT))
        while (w->stream && !full)
            if (http_stream_send(w->stream, NULL, NULL, span_of(piece, sizeof piece)))
                sent++;
            else
                full = true;
    assert_true(sent > 0 && sent < 1000000);
    while (w->stream && http_stream_send(w->stream, NULL, NULL, span_of(piece, sizeof piece)))
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    /* What the kernel takes at first makes room again; then it stands still. */
    for (uint64_t end = clock_boot_ms() + IO_DEADLINE_MS; !w->gone && clock_boot_ms() < end;) {
        if (w->stream && !http_stream_send(w->stream, NULL, NULL, span_of(piece, sizeof piece)))
            uv_run(&w->loop->uv, UV_RUN_ONCE);
    }
    assert_true(w->gone);
    client_close(w, &c);
}

static void test_streams_max(void **state)
{
    struct world *w = *state;
    struct client c;
    w->set.streams_max = 1;
    serve(w);
    client_open(w, &c, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", ":\n\n");
    io_wait(w->loop, &c.seen);
    EXPECT(w, "GET /stream HTTP/1.1\r\n" END, NULL, "HTTP/1.1 503 ");
    assert_null(w->stream);
    http_server_free(&w->server);
    client_close(w, &c);
}

static void test_slow_request(void **state)
{
    struct world *w = *state;
    struct client silent, slow, body;
    w->set.request_ms = 50;
    serve(w);
    client_open(w, &silent, "", NULL);
    client_open(w, &slow, "GET /show HTTP/1.1\r\nHost:", NULL);
    client_open(w, &body, "POST /show HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab", NULL);
    io_wait(w->loop, &silent.ended);
    io_wait(w->loop, &slow.ended);
    io_wait(w->loop, &body.ended);
    assert_int_equal(w->calls, 0);
    client_close(w, &silent);
    client_close(w, &slow);
    client_close(w, &body);
}

static void test_large_header(void **state)
{
    struct world *w = *state;
    char *text = xmalloc(40000);
    w->set.header_max = 8192;
    serve(w);
    memset(text, 0, 40000);
    strcpy(text, "GET /show HTTP/1.1\r\nX: ");
    memset(text + strlen(text), 'y', 30000);
    strcat(text, "\r\n" END);
    EXPECT(w, text, "shown", "HTTP/1.1 431 ");
    free(text);
    assert_int_equal(w->calls, 0);
}

/* Nobody is kept out by those who say nothing, or have their answer and do not go: the oldest of them does. */
static void test_connections_of_one_address(void **state)
{
    struct world *w = *state;
    struct client c[4];
    w->set.connections_per_address = 3;
    serve(w);
    client_open(w, &c[0], "GET /show HTTP/1.1\r\nHost: x\r\n\r\n", "shown\n");
    io_wait(w->loop, &c[0].seen);
    client_open(w, &c[1], "GET /show HTTP/1.1\r\nHost:", NULL);
    client_open(w, &c[2], "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n", "200");
    io_wait(w->loop, &w->is_held);
    for (size_t i = 0; i < 2; i++) {
        client_open(w, &c[3], "GET /show HTTP/1.1\r\n" END, "shown\n");
        io_wait(w->loop, &c[3].seen);
        assert_non_null(strstr(buf_str(&c[3].in), "shown"));
        io_wait(w->loop, &c[i].ended);
        client_close(w, &c[3]);
        client_close(w, &c[i]);
        client_open(w, &c[i], "", NULL); /* and there are three again */
    }
    http_answer(w->held, 200, NULL, span_str("x"));
    io_wait(w->loop, &c[2].seen);
    for (size_t i = 0; i < 3; i++)
        client_close(w, &c[i]);
}

/* One that is worked for has its place. */
static void test_more_connections_than_may_be(void **state)
{
    struct world *w = *state;
    struct client held, more;
    w->set.connections_max = 1;
    serve(w);
    client_open(w, &held, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n", "held\n");
    io_wait(w->loop, &w->is_held);
    client_open(w, &more, "GET /show HTTP/1.1\r\nHost: x\r\n\r\n", "shown\n");
    io_wait(w->loop, &more.ended);
    assert_int_equal(more.in.len, 0);
    http_answer(w->held, 200, NULL, span_str("held\n"));
    io_wait(w->loop, &held.seen);
    assert_non_null(strstr(buf_str(&held.in), "held\n"));
    assert_int_equal(w->calls, 0);
    client_close(w, &more);
    client_open(w, &more, "GET /show HTTP/1.1\r\n" END, NULL); /* its answer was had, and it goes */
    io_wait(w->loop, &more.seen);
    assert_non_null(strstr(buf_str(&more.in), "shown"));
    client_close(w, &more);
    client_close(w, &held);
}

static void test_unix_socket(void **state)
{
    struct world *w = *state;
    const char *path = io_file(&w->dir, "socket");
    char *url = xasprintf("http+unix://%s", path), *error = NULL;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct client c = {0};
    w->set.listen = url;
    serve(w);
    assert_null(http_server_new(w->loop, &w->set, &error)); /* one that lives is not replaced */
    assert_non_null(strstr(error, "Address already in use"));
    free(error);
    strcpy(a.sun_path, path);
    c.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(c.fd, (struct sockaddr *)&a, sizeof a), 0);
    client_watch(w, &c, NULL);
    client_say(&c, "GET /show HTTP/1.1\r\n" END);
    io_wait(w->loop, &c.ended);
    assert_non_null(strstr(w->last, "peer=unix"));
    client_close(w, &c);
    http_server_free(&w->server);
    assert_int_equal(access(path, F_OK), -1);
    free(url);
}

static void test_busy_port(void **state)
{
    struct world *w = *state;
    char *error = NULL;
    serve(w);
    struct http_settings set = {.listen = http_server_address(w->server)};
    assert_null(http_server_new(w->loop, &set, &error));
    assert_non_null(strstr(error, "can't listen"));
    free(error);
}

/* The process that comes next has the address before this one lets go of it. */
static void test_successor(void **state)
{
    struct world *w = *state;
    char *error = NULL;
    char *url = xasprintf("http+unix://%s", io_file(&w->dir, "socket"));
    for (size_t i = 0; i < 2; i++) {
        if (i == 1)
            w->set.listen = url;
        serve(w);
        struct http_settings set = {.listen = http_server_address(w->server), .beside = true};
        struct http_server *next = http_server_new(w->loop, &set, &error);
        assert_non_null(next);
        http_server_free(&w->server);
        assert_true(i == 0 || access(io_file(&w->dir, "socket"), F_OK) == 0);
        assert_true(http_server_start(next, &error));
        w->server = next;
        http_server_free(&w->server);
    }
    free(url);
}

/* ---- TLS: the client is a thread of its own ---- */

struct tls_client {
    uv_work_t work;
    uint16_t port;
    const char *ca;
    bool done, trusted;
    int version; /* it asks for this one */
    char answer[1024];
};

static void tls_talk(uv_work_t *work)
{
    struct tls_client *c = CONTAINER_OF(work, struct tls_client, work);
    static const char request[] = "GET /show HTTP/1.1\r\n" END;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(c->port)};
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    SSL_CTX_load_verify_locations(ctx, c->ca, NULL);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, c->version);
    SSL_CTX_set_max_proto_version(ctx, c->version);
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    c->trusted = connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && SSL_connect(ssl) == 1;
    if (c->trusted && SSL_write(ssl, request, (int)strlen(request)) > 0)
        for (int n = 0, at = 0; (n = SSL_read(ssl, c->answer + at, (int)(sizeof c->answer - 1) - at)) > 0;
             at += n)
            ;
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    ERR_clear_error();
}

static void tls_talked(uv_work_t *work, int status)
{
    (void)status;
    CONTAINER_OF(work, struct tls_client, work)->done = true;
}

static void test_tls(void **state)
{
    struct world *w = *state;
    static const struct {
        int version;
        bool taken;
    } versions[] = {{TLS1_3_VERSION, true}, {TLS1_2_VERSION, true}, {TLS1_1_VERSION, false}};
    io_certs(&w->dir);
    w->set.listen = "https://127.0.0.1:0";
    w->set.cert_file = io_file(&w->dir, "good.pem");
    w->set.key_file = io_file(&w->dir, "good.key");
    serve(w);
    for (size_t i = 0; i < COUNTOF(versions); i++) {
        struct tls_client c = {
            .port = port_of(w), .ca = io_file(&w->dir, "ca.pem"), .version = versions[i].version};
        uv_queue_work(&w->loop->uv, &c.work, tls_talk, tls_talked);
        io_wait(w->loop, &c.done);
        assert_int_equal(c.trusted, versions[i].taken);
        assert_int_equal(strstr(c.answer, "shown\n") != NULL, versions[i].taken);
    }
}

static void test_tls_without_a_pair(void **state)
{
    struct world *w = *state;
    char *error = NULL;
    io_certs(&w->dir);
    w->set.listen = "https://127.0.0.1:0";
    assert_null(http_server_new(w->loop, &w->set, &error));
    free(error);
    w->set.cert_file = io_file(&w->dir, "good.pem");
    w->set.key_file = io_file(&w->dir, "expired.key");
    w->server = http_server_new(w->loop, &w->set, &error);
    assert_non_null(w->server);
    assert_false(http_server_start(w->server, &error));
    free(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_get, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_blob, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_blob_that_nobody_takes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keeps_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answers_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_held_too_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_held_for_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_held_at_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stream_whose_client_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stream_whose_client_sleeps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_streams_max, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slow_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large_header, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_connections_of_one_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_more_connections_than_may_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unix_socket, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_busy_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_successor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tls_without_a_pair, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
