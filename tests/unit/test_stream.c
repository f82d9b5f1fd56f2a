#include <netinet/tcp.h>

#include "io.h"
#include "lib/stream.h"

/* What one end saw, and what it does with it. */
struct end {
    struct stream *s;
    struct buf got;
    char events[64]; /* a letter an event: C S D W E T ! */
    size_t n_events;
    bool connected, secure, eof, error, timeout, drained;
    char *error_text;
    bool error_is_tls;
    size_t leave; /* leaves so many bytes unread */
    bool in_call; /* inside a stream_ function: no callback may come */
    void (*on)(struct end *e, enum stream_event ev);
    const char *want; /* sets full when got holds as much */
    bool full;
    void *more;
};

struct world {
    struct loop *loop;
    struct io_dir dir;
    uv_tcp_t listener;
    uv_pipe_t pipe;
    struct sockaddr_storage addr;
    struct end a, b; /* a connects, b was accepted */
    struct stream_limits limits;
    struct tls_policy *client, *server;
    bool accepted;
    bool packed; /* both ends compress as soon as they are joined */
};

static void take_data(struct end *e)
{
    struct span p = stream_peek(e->s);
    size_t n = p.len > e->leave ? p.len - e->leave : 0;
    buf_add(&e->got, p.p, n);
    stream_eat(e->s, n);
    if (e->want && e->got.len >= strlen(e->want))
        e->full = true;
}

static void end_event(struct stream *s, enum stream_event ev, void *owner)
{
    struct end *e = owner;
    assert_ptr_equal(e->s, s);
    assert_false(e->in_call);
    if (e->n_events + 1 < sizeof e->events &&
        !(ev == STREAM_DATA && e->n_events && e->events[e->n_events - 1] == 'D'))
        e->events[e->n_events++] = "CSDWET!"[ev];
    e->connected |= ev == STREAM_CONNECTED;
    e->secure |= ev == STREAM_SECURE;
    e->drained |= ev == STREAM_DRAINED;
    e->eof |= ev == STREAM_EOF;
    e->timeout |= ev == STREAM_TIMEOUT;
    if (ev == STREAM_ERROR) {
        e->error = true;
        e->error_text = xstrdup(stream_error(s));
        e->error_is_tls = stream_error_is_tls(s);
    }
    if (e->on)
        e->on(e, ev);
    else if (ev == STREAM_DATA)
        take_data(e);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct world *w = listener->data;
    assert_int_equal(status, 0);
    w->b.s = stream_accept(w->loop, listener, &w->limits, end_event, &w->b);
    assert_non_null(w->b.s);
    w->accepted = true;
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    io_dir_make(&w->dir);
    w->loop = loop_new();
    w->limits = (struct stream_limits){.high_water = 64 * 1024, .queue_max = 64 << 20};
    struct sockaddr_in a;
    uv_ip4_addr("127.0.0.1", 0, &a);
    uv_tcp_init(&w->loop->uv, &w->listener);
    w->listener.data = w;
    assert_int_equal(uv_tcp_bind(&w->listener, (struct sockaddr *)&a, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&w->listener, 8, on_connection), 0);
    int len = sizeof w->addr;
    uv_tcp_getsockname(&w->listener, (struct sockaddr *)&w->addr, &len);
    *state = w;
    return 0;
}

static int set_up_tls(void **state)
{
    set_up(state);
    struct world *w = *state;
    io_certs(&w->dir);
    char *error = NULL;
    w->client = tls_policy_client(io_file(&w->dir, "ca.pem"), TLS_1_2, &error);
    assert_non_null(w->client);
    w->server = io_server_policy(io_file(&w->dir, "good.pem"), io_file(&w->dir, "good.key"), TLS_1_2, &error);
    assert_non_null(w->server);
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    stream_close(&w->a.s, false);
    stream_close(&w->b.s, false);
    if (!uv_is_closing((uv_handle_t *)&w->listener))
        uv_close((uv_handle_t *)&w->listener, NULL);
    loop_free(&w->loop);
    tls_policy_free(&w->client);
    tls_policy_free(&w->server);
    buf_free(&w->a.got);
    buf_free(&w->b.got);
    free(w->a.error_text);
    free(w->b.error_text);
    io_dir_remove(&w->dir);
    free(w);
    return 0;
}

static void join(struct world *w)
{
    w->a.in_call = true;
    w->a.s = stream_connect(w->loop, (struct sockaddr *)&w->addr, &w->limits, end_event, &w->a);
    w->a.in_call = false;
    io_wait(w->loop, &w->a.connected);
    io_wait(w->loop, &w->accepted);
}

static void join_tls(struct world *w)
{
    join(w);
    stream_secure(w->b.s, w->server, NULL);
    stream_secure(w->a.s, w->client, "localhost");
    io_wait(w->loop, &w->a.secure);
    io_wait(w->loop, &w->b.secure);
}

static void both(struct world *w, bool tls)
{
    if (tls)
        join_tls(w);
    else
        join(w);
    if (w->packed) {
        stream_compress(w->a.s);
        stream_compress(w->b.s);
    }
}

/* Sends a text and waits until the other end has it. */
static void say(struct world *w, struct end *from, struct end *to, const char *text)
{
    to->want = text;
    to->full = false;
    buf_clear(&to->got);
    from->in_call = true;
    stream_send(from->s, text, strlen(text));
    from->in_call = false;
    io_wait(w->loop, &to->full);
    unit_same(buf_span(&to->got), text);
    to->want = NULL;
}

static void test_talk(void **state)
{
    struct world *w = *state;
    join(w);
    say(w, &w->a, &w->b, "hello");
    say(w, &w->b, &w->a, "hello yourself");
    assert_string_equal(w->a.events, "CD");
    assert_memory_equal(stream_peer(w->b.s), "127.0.0.1:", 10);
    assert_string_equal(stream_peer_ip(w->b.s), "127.0.0.1");
    assert_string_equal(stream_error(w->a.s), "");
    assert_false(stream_is_secure(w->a.s));
}

static void test_talk_tls(void **state)
{
    struct world *w = *state;
    join_tls(w);
    assert_true(stream_is_secure(w->a.s));
    say(w, &w->a, &w->b, "hello");
    say(w, &w->b, &w->a, "hello yourself");
    assert_string_equal(w->a.events, "CSD");
}

/* Who joined before goes on by what there was; who comes later is shown the other certificate, by the same
 * policy. */
static void test_renewed_policy(void **state)
{
    struct world *w = *state;
    char *error = NULL;
    join_tls(w);
    struct tls_term term;
    assert_true(tls_policy_term(w->server, 0, &term));
    assert_true(term.begins < (int64_t)time(NULL) && term.ends > (int64_t)time(NULL));
    assert_false(tls_policy_term(w->server, 1, &term));
    assert_false(tls_policy_term(w->client, 0, &term));
    struct tls_policy *fresh =
        io_server_policy(io_file(&w->dir, "expired.pem"), io_file(&w->dir, "expired.key"), TLS_1_2, &error);
    assert_non_null(fresh);
    tls_policy_renew(w->server, &fresh);
    assert_null(fresh);
    assert_true(tls_policy_term(w->server, 0, &term));
    assert_true(term.ends < (int64_t)time(NULL));
    say(w, &w->a, &w->b, "hello");
    say(w, &w->b, &w->a, "hello yourself");
    stream_close(&w->a.s, false);
    stream_close(&w->b.s, false);
    w->a.connected = w->accepted = false;
    join(w);
    stream_secure(w->b.s, w->server, NULL);
    stream_secure(w->a.s, w->client, "localhost");
    io_wait(w->loop, &w->a.error);
    assert_string_equal(w->a.error_text, "certificate has expired");
}

/* --- unread bytes --- */

static void test_what_is_left_comes_again(void **state)
{
    struct world *w = *state;
    join(w);
    w->b.leave = 3;
    w->b.want = "abc";
    stream_send(w->a.s, "abcdef", 6);
    io_wait(w->loop, &w->b.full);
    unit_same(buf_span(&w->b.got), "abc");
    w->b.leave = 0;
    w->b.want = "abcdefghi";
    w->b.full = false;
    stream_send(w->a.s, "ghi", 3);
    io_wait(w->loop, &w->b.full);
    unit_same(buf_span(&w->b.got), "abcdefghi");
}

static void test_again(void **state)
{
    struct world *w = *state;
    join(w);
    w->b.leave = 3;
    w->b.want = "abc";
    stream_send(w->a.s, "abcdef", 6);
    io_wait(w->loop, &w->b.full);
    assert_int_equal(stream_peek(w->b.s).len, 3);
    w->b.leave = 0;
    w->b.want = "abcdef";
    w->b.full = false;
    w->b.in_call = true;
    stream_again(w->b.s);
    w->b.in_call = false;
    io_wait(w->loop, &w->b.full);
    unit_same(buf_span(&w->b.got), "abcdef");
}

/* Eating outside of a callback. */
static void test_eat_later(void **state)
{
    struct world *w = *state;
    join(w);
    w->b.leave = 3;
    w->b.want = "abc";
    stream_send(w->a.s, "abcdef", 6);
    io_wait(w->loop, &w->b.full);
    struct span left = stream_peek(w->b.s);
    stream_eat(w->b.s, 2);
    unit_same(stream_peek(w->b.s), "f");
    stream_eat(w->b.s, 1);
    unit_same(left, "def");
    assert_int_equal(stream_peek(w->b.s).len, 0);
    w->b.leave = 0;
    say(w, &w->a, &w->b, "next");
}

static void pause_at_first(struct end *e, enum stream_event ev)
{
    if (ev != STREAM_DATA)
        return;
    assert_false(e->full);
    stream_pause(e->s);
    e->full = true;
}

/* Long enough for the other end to be told that its bytes are with us: an answer of the kernel to a round
 * trip. */
static void round_trip(struct world *w, struct end *from, struct end *to)
{
    say(w, from, to, "ping");
}

static void pause_is_immediate(struct world *w, bool tls)
{
    both(w, tls);
    /* Several records of TLS in one read: the owner pauses at the first callback and must see no second one.
     */
    char *big = xcalloc(1, 200000);
    memset(big, 'x', 200000);
    w->b.on = pause_at_first;
    stream_send(w->a.s, big, 200000);
    io_wait(w->loop, &w->b.full);
    w->a.full = false;
    round_trip(w, &w->b, &w->a); /* would fail in pause_at_first() if more were given meanwhile */
    stream_pause(w->b.s);
    w->b.on = NULL;
    w->b.full = false;
    w->b.want = big;
    big[199999] = '\0';
    w->b.in_call = true;
    stream_resume(w->b.s);
    w->b.in_call = false;
    io_wait(w->loop, &w->b.full);
    assert_memory_equal(buf_span(&w->b.got).p, big, 199999);
    free(big);
    w->b.want = NULL;
}

static void test_pause(void **state)
{
    pause_is_immediate(*state, false);
}

static void test_pause_tls(void **state)
{
    pause_is_immediate(*state, true);
}

/* More than high_water unread: the sender's bytes pile up with the sender, not with us. */
static void high_water_stops(struct world *w, bool tls)
{
    both(w, tls);
    size_t total = 32 << 20;
    char *big = xcalloc(1, total);
    for (size_t i = 0; i < total; i++)
        big[i] = (char)('a' + i % 23);
    w->b.leave = total; /* eats nothing */
    stream_send(w->a.s, big, total);
    assert_true(stream_full(w->a.s));
    for (int i = 0; i < 5000;
         i++) /* the loopback hands over at once: nothing more comes in the last rounds */
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    size_t kept = stream_peek(w->b.s).len;
    assert_true(kept > w->limits.high_water);
    assert_true(kept < w->limits.high_water + 4 * LOOP_READ_SIZE);
    assert_false(w->a.drained);
    w->b.leave = 0;
    stream_again(w->b.s);
    io_wait(w->loop, &w->a.drained);
    bool *full = &w->b.full;
    big[total - 1] = '\0';
    w->b.want = big;
    *full = w->b.got.len >= total - 1;
    io_wait(w->loop, full);
    assert_memory_equal(buf_span(&w->b.got).p, big, total - 1);
    free(big);
    w->b.want = NULL;
}

static void test_high_water(void **state)
{
    high_water_stops(*state, false);
}

static void test_high_water_tls(void **state)
{
    high_water_stops(*state, true);
}

static void test_queue_max(void **state)
{
    struct world *w = *state;
    w->limits.queue_max = 1 << 20;
    join(w);
    stream_pause(w->b.s);
    char *big = xcalloc(1, 1 << 20);
    for (int i = 0; i < 64 && *stream_error(w->a.s) == '\0'; i++) {
        w->a.in_call = true;
        stream_send(w->a.s, big, 1 << 20);
        w->a.in_call = false;
    }
    free(big);
    assert_non_null(strstr(stream_error(w->a.s), "too slowly"));
    io_wait(w->loop, &w->a.error);
    assert_false(w->a.error_is_tls);
}

/* --- compressed --- */

static void join_packed(struct world *w, bool tls)
{
    w->packed = true;
    both(w, tls);
}

static void test_talk_packed(void **state)
{
    struct world *w = *state;
    join_packed(w, false);
    say(w, &w->a, &w->b, "hello");
    say(w, &w->b, &w->a, "hello yourself");
    stream_cork(w->a.s);
    stream_send(w->a.s, "in ", 3);
    stream_send(w->a.s, "two parts", 9);
    say(w, &w->b, &w->a, "not yet");
    buf_clear(&w->b.got);
    w->b.want = "in two parts";
    w->b.full = false;
    stream_uncork(w->a.s);
    io_wait(w->loop, &w->b.full);
    unit_same(buf_span(&w->b.got), "in two parts");
}

static void test_talk_packed_tls(void **state)
{
    struct world *w = *state;
    join_packed(w, true);
    say(w, &w->a, &w->b, "hello");
    say(w, &w->b, &w->a, "hello yourself");
}

static void test_pause_packed(void **state)
{
    struct world *w = *state;
    w->packed = true;
    pause_is_immediate(w, false);
}

static void test_pause_packed_tls(void **state)
{
    struct world *w = *state;
    w->packed = true;
    pause_is_immediate(w, true);
}

/* 64 MiB that come in as some 300 KB: what the owner does not take stays packed. */
static void test_bomb_stays_packed(void **state)
{
    struct world *w = *state;
    enum { PIECE = 1 << 20, PIECES = 64 };
    char *big = xcalloc(1, PIECE);
    size_t most = 0;
    join_packed(w, false);
    w->b.leave = SIZE_MAX; /* eats nothing */
    for (int i = 0; i < PIECES; i++)
        stream_send(w->a.s, big, PIECE);
    for (int i = 0; i < 2000; i++) {
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
        most = stream_peek(w->b.s).len > most ? stream_peek(w->b.s).len : most;
    }
    assert_true(most > w->limits.high_water && most < w->limits.high_water + 2 * LOOP_READ_SIZE);
    w->b.leave = 0;
    stream_close(&w->a.s, true);
    stream_again(w->b.s);
    io_wait(w->loop, &w->b.eof);
    assert_int_equal(w->b.got.len, (size_t)PIECE * PIECES);
    free(big);
}

/* The end comes behind what is still packed. */
static void test_eof_packed(void **state)
{
    struct world *w = *state;
    join_packed(w, false);
    stream_pause(w->b.s);
    stream_send(w->a.s, "last words", 10);
    stream_close(&w->a.s, true);
    for (int i = 0; i < 200; i++)
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    assert_false(w->b.eof);
    stream_resume(w->b.s);
    io_wait(w->loop, &w->b.eof);
    unit_same(buf_span(&w->b.got), "last words");
}

/* As with COMPRESS: the answer in clear and what is packed come in one read. */
static void start_behind_answer(struct end *e, enum stream_event ev)
{
    if (ev == STREAM_DATA && !e->more) {
        stream_eat(e->s, 3);
        stream_compress(e->s);
        e->more = e;
    } else if (ev == STREAM_DATA) {
        take_data(e);
    }
}

static void test_packed_behind_answer(void **state)
{
    struct world *w = *state;
    join(w);
    stream_pause(w->b.s);
    stream_send(w->a.s, "OK.", 3);
    stream_compress(w->a.s);
    stream_send(w->a.s, "first", 5);
    for (int i = 0; i < 200; i++)
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    w->b.on = start_behind_answer;
    w->b.want = "first";
    stream_resume(w->b.s);
    io_wait(w->loop, &w->b.full);
    unit_same(buf_span(&w->b.got), "first");
    w->b.on = NULL;
    say(w, &w->b, &w->a, "second");
}

static void test_damaged_packed(void **state)
{
    struct world *w = *state;
    join(w);
    stream_compress(w->b.s);
    stream_send(w->a.s, "* OK not packed\r\n", 17);
    io_wait(w->loop, &w->b.error);
    assert_string_equal(w->b.error_text, "the peer sends damaged compressed data");
    assert_int_equal(w->b.got.len, 0);
}

/* As some end their last command. */
static void test_packed_data_ends(void **state)
{
    struct world *w = *state;
    static const uint8_t end[] = {0x03, 0x00};
    join(w);
    stream_compress(w->b.s);
    stream_send(w->a.s,
                "\x01\x02\x00\xfd\xff"
                "hi",
                7); /* a last block, as it is */
    io_wait(w->loop, &w->b.eof);
    unit_same(buf_span(&w->b.got), "hi");
    assert_string_equal(w->b.events, "DE");
    stream_send(w->b.s, "bye", 3);
    stream_send(w->a.s, end, sizeof end); /* nobody reads that */
    for (int i = 0; i < 50; i++)
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    assert_false(w->b.error);
}

static void test_more_behind_the_end_of_packed(void **state)
{
    struct world *w = *state;
    join(w);
    stream_compress(w->b.s);
    stream_send(w->a.s,
                "\x03\x00"
                "a1 NOOP\r\n",
                11);
    io_wait(w->loop, &w->b.error);
    assert_string_equal(w->b.error_text, "bytes behind the end of the peer's compressed data");
    assert_int_equal(w->b.got.len, 0);
}

/* 64 MiB in some 300 KB, for an owner that takes all: others have their turn as if they came unpacked. */
static void bomb_has_its_turn(struct world *w, bool tls)
{
    enum { PIECE = 1 << 20, PIECES = 64 };
    char *big = xcalloc(1, PIECE);
    size_t most = 0, before = 0;
    join_packed(w, tls);
    for (int i = 0; i < PIECES; i++)
        for (int k = 0; k < 64; k++) /* many records */
            stream_send(w->a.s, big, PIECE / 64);
    while (w->b.got.len < (size_t)PIECE * PIECES) {
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
        most = w->b.got.len - before > most ? w->b.got.len - before : most;
        before = w->b.got.len;
    }
    assert_true(most > LOOP_READ_SIZE && most <= 10 * LOOP_READ_SIZE); /* of two rounds */
    free(big);
}

static void test_bomb_has_its_turn(void **state)
{
    bomb_has_its_turn(*state, false);
}

static void test_bomb_has_its_turn_tls(void **state)
{
    bomb_has_its_turn(*state, true);
}

/* --- the end --- */

static void test_eof_after_data(void **state)
{
    struct world *w = *state;
    join(w);
    stream_pause(w->b.s);
    stream_send(w->a.s, "last words", 10);
    stream_close(&w->a.s, true);
    w->b.want = "last words";
    stream_resume(w->b.s);
    io_wait(w->loop, &w->b.eof);
    unit_same(buf_span(&w->b.got), "last words");
    assert_string_equal(w->b.events, "DE");
    /* no bytes are owed, so a paused stream hears of the end when it resumes */
}

static void test_eof_tls(void **state)
{
    struct world *w = *state;
    join_tls(w);
    stream_send(w->a.s, "last words", 10);
    stream_close(&w->a.s, true);
    io_wait(w->loop, &w->b.eof);
    unit_same(buf_span(&w->b.got), "last words");
    assert_string_equal(w->b.events, "SDE");
}

static void leave_all(struct end *e, enum stream_event ev)
{
    (void)e;
    (void)ev;
}

static void test_eof_with_bytes_left(void **state)
{
    struct world *w = *state;
    join(w);
    w->b.on = leave_all;
    stream_send(w->a.s, "unwanted", 8);
    stream_close(&w->a.s, true);
    io_wait(w->loop, &w->b.eof);
    assert_string_equal(w->b.events, "DE");
    unit_same(stream_peek(w->b.s), "unwanted");
}

static void test_send_after_eof(void **state)
{
    struct world *w = *state;
    uint16_t port;
    int listener = io_listen(&port);
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    w->a.s = stream_connect(w->loop, (struct sockaddr *)&addr, &w->limits, end_event, &w->a);
    io_wait(w->loop, &w->a.connected);
    int fd = accept(listener, NULL, NULL);
    shutdown(fd, SHUT_WR);
    io_wait(w->loop, &w->a.eof);
    stream_send(w->a.s, "still here", 10);
    char got[16];
    assert_int_equal(recv(fd, got, sizeof got, 0), 10);
    close(fd);
    close(listener);
}

static void close_at_once(struct end *e, enum stream_event ev)
{
    (void)ev;
    e->full = true;
    stream_close(&e->s, e->leave != 0);
    assert_null(e->s);
}

/* Closing inside each kind of callback; ASan and valgrind look on. */
static void close_in_callback(struct world *w, bool tls, bool flush)
{
    both(w, tls);
    w->b.on = close_at_once;
    w->b.leave = flush;
    stream_send(w->a.s, "go away", 7);
    io_wait(w->loop, &w->b.full);
    if (flush)
        io_wait(w->loop, &w->a.eof);
}

static void test_close_in_callback(void **state)
{
    close_in_callback(*state, false, false);
}

static void test_close_in_callback_flush(void **state)
{
    close_in_callback(*state, false, true);
}

static void test_close_in_callback_tls(void **state)
{
    close_in_callback(*state, true, false);
}

static void test_close_in_callback_tls_flush(void **state)
{
    close_in_callback(*state, true, true);
}

static void test_close_at_connected(void **state)
{
    struct world *w = *state;
    w->a.on = close_at_once;
    w->a.s = stream_connect(w->loop, (struct sockaddr *)&w->addr, &w->limits, end_event, &w->a);
    io_wait(w->loop, &w->a.full);
}

static void test_close_at_secure(void **state)
{
    struct world *w = *state;
    join(w);
    w->a.on = close_at_once;
    stream_secure(w->b.s, w->server, NULL);
    stream_secure(w->a.s, w->client, "localhost");
    io_wait(w->loop, &w->a.full);
}

static void test_close_before_connected(void **state)
{
    struct world *w = *state;
    w->a.s = stream_connect(w->loop, (struct sockaddr *)&w->addr, &w->limits, end_event, &w->a);
    stream_send(w->a.s, "never", 5);
    stream_close(&w->a.s, true);
}

/* What was queued when the owner closed reaches a slow reader whole. */
static void flush_to_slow_reader(struct world *w, bool tls)
{
    both(w, tls);
    size_t total = 16 << 20;
    char *big = xcalloc(1, total);
    memset(big, 'z', total);
    stream_pause(w->b.s);
    stream_send(w->a.s, big, total);
    assert_true(stream_unsent(w->a.s) > 0);
    stream_close(&w->a.s, true);
    stream_resume(w->b.s);
    io_wait(w->loop, &w->b.eof);
    assert_int_equal(w->b.got.len, total);
    assert_memory_equal(buf_span(&w->b.got).p, big, total);
    free(big);
}

static void test_flush(void **state)
{
    flush_to_slow_reader(*state, false);
}

static void test_flush_tls(void **state)
{
    flush_to_slow_reader(*state, true);
}

/* The peer had sent more when we said goodbye: it must get the goodbye and not a reset. */
static void test_goodbye_is_not_lost(void **state)
{
    struct world *w = *state;
    uint16_t port;
    int listener = io_listen(&port);
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    w->a.s = stream_connect(w->loop, (struct sockaddr *)&addr, &w->limits, end_event, &w->a);
    io_wait(w->loop, &w->a.connected);
    int fd = accept(listener, NULL, NULL);
    stream_pause(w->a.s);
    assert_int_equal(send(fd, "a1 NOOP\r\n", 9, 0), 9);
    stream_send(w->a.s, "* BYE\r\n", 7);
    stream_close(&w->a.s, true);
    assert_int_equal(w->loop->n_closing, 1);
    while (w->loop->n_closing > 0) /* the linger, a second at most */
        uv_run(&w->loop->uv, UV_RUN_ONCE);
    char got[16];
    assert_int_equal(recv(fd, got, sizeof got, 0), 7);
    assert_int_equal(recv(fd, got, sizeof got, 0), 0);
    close(fd);
    close(listener);
}

/* --- errors --- */

static void test_refused(void **state)
{
    struct world *w = *state;
    uint16_t port;
    close(io_listen(&port));
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    w->a.in_call = true;
    w->a.s = stream_connect(w->loop, (struct sockaddr *)&addr, &w->limits, end_event, &w->a);
    w->a.in_call = false;
    io_wait(w->loop, &w->a.error);
    assert_string_equal(w->a.error_text, "connection refused");
    assert_string_equal(w->a.events, "!");
}

static void test_reset(void **state)
{
    struct world *w = *state;
    uint16_t port;
    int listener = io_listen(&port);
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    w->a.s = stream_connect(w->loop, (struct sockaddr *)&addr, &w->limits, end_event, &w->a);
    io_wait(w->loop, &w->a.connected);
    int fd = accept(listener, NULL, NULL);
    struct linger hard = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
    io_wait(w->loop, &w->a.error);
    assert_string_equal(w->a.error_text, "connection reset by peer");
    w->a.in_call = true;
    stream_send(w->a.s, "x", 1); /* does nothing, ends nothing */
    w->a.in_call = false;
    close(listener);
}

static void test_unix(void **state)
{
    struct world *w = *state;
    const char *path = io_file(&w->dir, "sock");
    uv_pipe_init(&w->loop->uv, &w->pipe, 0);
    w->pipe.data = w;
    assert_int_equal(uv_pipe_bind(&w->pipe, path), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&w->pipe, 8, on_connection), 0);
    w->a.s = stream_connect_unix(w->loop, path, &w->limits, end_event, &w->a);
    io_wait(w->loop, &w->a.connected);
    io_wait(w->loop, &w->accepted);
    say(w, &w->a, &w->b, "over a file");
    assert_string_equal(stream_peer(w->b.s), "unix");
    assert_string_equal(stream_peer_ip(w->b.s), "");
    uv_close((uv_handle_t *)&w->pipe, NULL);
}

static void test_unix_name_too_long(void **state)
{
    struct world *w = *state;
    char path[300];
    memset(path, 'p', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    w->a.in_call = true;
    w->a.s = stream_connect_unix(w->loop, path, &w->limits, end_event, &w->a);
    w->a.in_call = false;
    io_wait(w->loop, &w->a.error);
    assert_string_equal(w->a.error_text, "name too long");
}

static void test_deadline(void **state)
{
    struct world *w = *state;
    join(w);
    stream_deadline(w->a.s, 1);
    stream_deadline(w->b.s, 1);
    stream_deadline(w->b.s, 0);
    io_wait(w->loop, &w->a.timeout);
    assert_string_equal(w->a.events, "CT");
    assert_false(w->b.timeout);
}

/* --- cork --- */

static void test_cork(void **state)
{
    struct world *w = *state;
    join_tls(w);
    stream_cork(w->a.s);
    stream_send(w->a.s, "one ", 4);
    stream_cork(w->a.s);
    stream_send(w->a.s, "two ", 4);
    stream_uncork(w->a.s);
    stream_send(w->a.s, "three", 5);
    assert_int_equal(stream_unsent(w->a.s), 13);
    w->b.want = "one two three";
    stream_uncork(w->a.s);
    assert_int_equal(stream_unsent(w->a.s), 0);
    io_wait(w->loop, &w->b.full);
    unit_same(buf_span(&w->b.got), "one two three");
    assert_string_equal(w->b.events, "SD");
}

/* Gathered bytes stood above high_water, an owner saw stream_full(), and then the kernel took all of them at
 * once. */
static void test_cork_drained(void **state)
{
    struct world *w = *state;
    w->limits.high_water = 1000;
    join(w);
    char bytes[2000];
    memset(bytes, 'b', sizeof bytes);
    stream_cork(w->a.s);
    stream_send(w->a.s, bytes, sizeof bytes);
    assert_true(stream_full(w->a.s));
    w->a.in_call = true;
    stream_uncork(w->a.s);
    w->a.in_call = false;
    assert_false(stream_full(w->a.s));
    io_wait(w->loop, &w->a.drained);
}

/* Sent before the connection was there: in order, and before what is sent later. */
static void test_send_early(void **state)
{
    struct world *w = *state;
    w->a.s = stream_connect(w->loop, (struct sockaddr *)&w->addr, &w->limits, end_event, &w->a);
    stream_send(w->a.s, "early ", 6);
    w->b.want = "early late";
    io_wait(w->loop, &w->a.connected);
    stream_send(w->a.s, "late", 4);
    io_wait(w->loop, &w->accepted);
    io_wait(w->loop, &w->b.full);
    unit_same(buf_span(&w->b.got), "early late");
}

/* --- TLS --- */

static void secure_with_bytes(struct end *e, enum stream_event ev)
{
    struct world *w = e->more;
    if (ev != STREAM_DATA)
        return;
    stream_eat(e->s, strlen("STARTTLS\r\n"));
    e->in_call = true;
    stream_secure(e->s, w->server, NULL);
    e->in_call = false;
    e->full = true;
}

static void test_bytes_before_handshake(void **state)
{
    struct world *w = *state;
    join(w);
    w->b.on = secure_with_bytes;
    w->b.more = w;
    stream_send(w->a.s, "STARTTLS\r\nLOGIN evil evil\r\n", 27);
    io_wait(w->loop, &w->b.error);
    assert_true(w->b.full);
    assert_true(w->b.error_is_tls);
    assert_non_null(strstr(w->b.error_text, "plaintext before"));
    assert_false(stream_is_secure(w->b.s));
}

static void secure_behind_header(struct end *e, enum stream_event ev)
{
    struct world *w = e->more;
    if (ev != STREAM_DATA)
        return;
    e->full = stream_peek(e->s).len > strlen("HEADER\r\n");
    stream_eat(e->s, strlen("HEADER\r\n"));
    e->in_call = true;
    stream_secure_behind(e->s, w->server);
    e->in_call = false;
    e->on = NULL;
}

/* The first bytes of the handshake come with those that no TLS is. */
static void handshake_behind_header(struct world *w, struct turn_line *line)
{
    join(w);
    if (line)
        stream_wait_in(w->b.s, line);
    w->b.on = secure_behind_header;
    w->b.more = w;
    stream_send(w->a.s, "HEADER\r\n", 8);
    stream_secure(w->a.s, w->client, "localhost");
    io_wait(w->loop, &w->a.secure);
    io_wait(w->loop, &w->b.secure);
    assert_true(w->b.full);
    say(w, &w->a, &w->b, "hello");
    say(w, &w->b, &w->a, "hello yourself");
    if (line)
        stream_wait_in(w->b.s, NULL);
}

static void test_handshake_behind_header(void **state)
{
    handshake_behind_header(*state, NULL);
}

static void test_handshake_behind_header_of_a_stranger(void **state)
{
    struct turn_line line;
    turn_line_init(&line);
    handshake_behind_header(*state, &line);
}

static void garbage_behind_header(struct world *w, const char *bytes)
{
    join(w);
    w->b.on = secure_behind_header;
    w->b.more = w;
    stream_send(w->a.s, bytes, strlen(bytes));
    io_wait(w->loop, &w->b.error);
    assert_true(w->b.error_is_tls);
}

static void test_no_tls_behind_header(void **state)
{
    garbage_behind_header(*state, "HEADER\r\na LOGIN ann secret\r\n");
}

/* Bytes sent during the handshake wait for its end, and go nowhere if it fails. */
static void test_send_in_handshake(void **state)
{
    struct world *w = *state;
    join(w);
    stream_secure(w->b.s, w->server, NULL);
    stream_secure(w->a.s, w->client, "localhost");
    w->b.want = "secret";
    stream_send(w->a.s, "secret", 6);
    io_wait(w->loop, &w->b.full);
    unit_same(buf_span(&w->b.got), "secret");
    assert_string_equal(w->b.events, "SD");
}

struct bad_cert {
    const char *kind, *name, *text;
};

static void refuse_certificate(struct world *w, const struct bad_cert *row)
{
    char pem[32], key[32], *error = NULL;
    snprintf(pem, sizeof pem, "%s.pem", row->kind);
    snprintf(key, sizeof key, "%s.key", row->kind);
    struct tls_policy *server =
        io_server_policy(io_file(&w->dir, pem), io_file(&w->dir, key), TLS_1_2, &error);
    assert_non_null(server);
    w->accepted = w->a.connected = w->a.error = w->a.secure = false;
    join(w);
    stream_secure(w->b.s, server, NULL);
    tls_policy_free(&server); /* the connection keeps what it needs */
    stream_secure(w->a.s, w->client, row->name);
    stream_send(w->a.s, "secret", 6);
    io_wait(w->loop, &w->a.error);
    assert_string_equal(w->a.error_text, row->text);
    assert_true(w->a.error_is_tls);
    assert_false(w->a.secure);
    io_wait(w->loop, &w->b.error);
    assert_true(w->b.error_is_tls);
    assert_int_equal(w->b.got.len, 0);
    stream_close(&w->a.s, false);
    stream_close(&w->b.s, false);
    free(w->a.error_text);
    free(w->b.error_text);
    w->a.error_text = w->b.error_text = NULL;
    w->b.error = false;
}

static void test_bad_certificates(void **state)
{
    static const struct bad_cert rows[] = {
        {"expired", "localhost", "certificate has expired"},
        {"selfsigned", "localhost",
         "self-signed certificate: who signed it is not trusted here (see ca_file)"},
        {"othername", "localhost", "hostname mismatch: it is for other names than the address has"},
        {"cnonly", "localhost", "hostname mismatch: it is for other names than the address has"},
        {"good", "otherhost", "hostname mismatch: it is for other names than the address has"},
        {"good", "127.0.0.2", "IP address mismatch: it is for other names than the address has"},
        {"othername", "127.0.0.1", "IP address mismatch: it is for other names than the address has"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++)
        refuse_certificate(*state, &rows[i]);
}

/* --- pins --- */

/* "sha256//BASE64" of a certificate's key; to free. */
static char *pin_of(const char *file)
{
    uint8_t sum[32], *der = NULL, text[64];
    FILE *f = fopen(file, "r");
    X509 *cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    assert_non_null(cert);
    fclose(f);
    int len = i2d_PUBKEY(X509_get0_pubkey(cert), &der);
    assert_int_equal(EVP_Digest(der, (size_t)len, sum, NULL, EVP_sha256(), NULL), 1);
    EVP_EncodeBlock(text, sum, sizeof sum);
    OPENSSL_free(der);
    X509_free(cert);
    return xasprintf("sha256//%s", text);
}

struct pin_case {
    const char *shown, *pinned[2]; /* kinds of certificates; NULL: none */
    bool ca;
    const char *error; /* what it holds; NULL: believed */
};

static void try_pin(struct world *w, const struct pin_case *row)
{
    char pem[32], key[32], *pins[2], *error = NULL;
    struct conf_backend b = {
        .ca_file = (char *)(row->ca ? io_file(&w->dir, "ca.pem") : ""), .tls_min = TLS_1_2, .pin = {pins, 0}};
    for (; b.pin.n < 2 && row->pinned[b.pin.n]; b.pin.n++) {
        snprintf(pem, sizeof pem, "%s.pem", row->pinned[b.pin.n]);
        pins[b.pin.n] = pin_of(io_file(&w->dir, pem));
    }
    snprintf(pem, sizeof pem, "%s.pem", row->shown);
    snprintf(key, sizeof key, "%s.key", row->shown);
    tls_policy_free(&w->client);
    tls_policy_free(&w->server);
    w->server = io_server_policy(io_file(&w->dir, pem), io_file(&w->dir, key), TLS_1_2, &error);
    w->client = tls_policy_backend(&b, &error);
    assert_non_null(w->client);
    w->accepted = w->a.connected = w->a.error = w->a.secure = false;
    join(w);
    stream_secure(w->b.s, w->server, NULL);
    stream_secure(w->a.s, w->client, "localhost");
    io_wait(w->loop, row->error ? &w->a.error : &w->a.secure);
    if (row->error && !strstr(w->a.error_text, row->error))
        fail_msg("%s: %s", row->shown, w->a.error_text);
    if (row->error && strstr(row->error, "not in pin")) { /* it can be copied from there */
        char *real = pin_of(io_file(&w->dir, pem));
        assert_non_null(strstr(w->a.error_text, real));
        free(real);
    }
    free(w->a.error_text);
    w->a.error_text = NULL;
    stream_close(&w->a.s, false);
    stream_close(&w->b.s, false);
    free(w->b.error_text);
    w->b.error_text = NULL;
    while (b.pin.n > 0)
        free(pins[--b.pin.n]);
}

static void test_pins(void **state)
{
    static const struct pin_case rows[] = {
        {"good", {"good"}, true, NULL},
        {"good", {"expired", "good"}, true, NULL},
        {"good", {"good"}, false, NULL},
        {"selfsigned", {"selfsigned"}, false, NULL}, /* the key alone counts */
        {"expired", {"expired"}, false, NULL},
        {"othername", {"good", "othername"}, false, NULL},
        {"cnonly", {"cnonly"}, false, NULL},
        {"good", {"expired"}, true, "not in pin"},
        {"good", {"expired", "othername"}, false, "not in pin"},
        {"selfsigned", {"good"}, false, "not in pin"},
        {"selfsigned", {"selfsigned"}, true, "self-signed certificate"},
        {"expired", {"expired"}, true, "has expired"},
        {"othername", {"othername"}, true, "hostname mismatch"},
        {"good", {NULL}, true, NULL},
        {"selfsigned", {NULL}, true, "self-signed"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++)
        try_pin(*state, &rows[i]);
}

/* --- old servers --- */

struct old_cert {
    struct io_cert_wish wish;
    const char *error; /* NULL: taken */
};

static void try_old_certificate(struct world *w, const struct io_cert *ca, const struct old_cert *row)
{
    char *error = NULL;
    struct io_cert c = io_cert_make(ca, &row->wish);
    io_cert_write(&c, io_file(&w->dir, "old.pem"), io_file(&w->dir, "old.key"));
    io_cert_free(&c);
    struct tls_policy *server =
        io_server_policy(io_file(&w->dir, "old.pem"), io_file(&w->dir, "old.key"), TLS_1_0, &error);
    assert_non_null(server);
    w->accepted = w->a.connected = w->a.error = w->a.secure = false;
    join(w);
    stream_secure(w->b.s, server, NULL);
    tls_policy_free(&server);
    stream_secure(w->a.s, w->client, "localhost");
    io_wait(w->loop, row->error ? &w->a.error : &w->a.secure);
    if (row->error)
        assert_string_equal(w->a.error_text, row->error);
    assert_int_equal(w->a.secure, !row->error);
    stream_close(&w->a.s, false);
    stream_close(&w->b.s, false);
    free(w->a.error_text);
    free(w->b.error_text);
    w->a.error_text = w->b.error_text = NULL;
}

/* What goes with TLS 1.0 is taken, and no more; without it nothing of that is. */
static void test_old_certificates(void **state)
{
    struct world *w = *state;
    char *error = NULL;
    const struct io_cert_wish small = {.cn = "x", .san = "DNS:localhost", .rsa = 1024, .digest = EVP_sha1()};
    const struct io_cert_wish shorter = {.cn = "x", .san = "DNS:localhost", .rsa = 768};
    const struct io_cert_wish md5 = {.cn = "x", .san = "DNS:localhost", .rsa = 1024, .digest = EVP_md5()};
    const struct old_cert with[] = {
        {small, NULL},
        {shorter, "EE certificate key too weak: the peer is old, or its certificate (see tls_min)"},
        {md5, "CA signature digest algorithm too weak: the peer is old, or its certificate (see tls_min)"},
    };
    const struct old_cert without = {
        small, "EE certificate key too weak: the peer is old, or its certificate (see tls_min)"};
    struct io_cert ca = io_cert_make(
        NULL, &(struct io_cert_wish){.cn = "Old CA", .ca = true, .rsa = 1024, .digest = EVP_md5()});
    io_cert_write(&ca, io_file(&w->dir, "old-ca.pem"), NULL);
    tls_policy_free(&w->client);
    w->client = tls_policy_client(io_file(&w->dir, "old-ca.pem"), TLS_1_0, &error);
    assert_non_null(w->client);
    for (size_t i = 0; i < COUNTOF(with); i++)
        try_old_certificate(w, &ca, &with[i]);
    tls_policy_free(&w->client);
    w->client = tls_policy_client(io_file(&w->dir, "old-ca.pem"), TLS_1_2, &error);
    try_old_certificate(w, &ca, &without);
    io_cert_free(&ca);
}

/* TLS 1.0, AES128-SHA, and none of the extensions, so nothing of RFC 5746 either; then an alert,
 * internal_error. */
static void answer_like_2005(struct end *e, enum stream_event ev)
{
    static const uint8_t hello[5 + 4 + 38] = {22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1, [5 + 4 + 36] = 0x2f};
    static const uint8_t alert[] = {21, 3, 1, 0, 2, 2, 80};
    if (ev != STREAM_DATA || e->full)
        return;
    e->full = true;
    stream_send(e->s, hello, sizeof hello);
    stream_send(e->s, alert, sizeof alert);
}

static void test_a_server_without_secure_renegotiation(void **state)
{
    struct world *w = *state;
    char *error = NULL;
    static const char *const wanted[] = {[TLS_1_0] = "internal error", [TLS_1_2] = ": the peer is old"};
    for (enum tls_version min = TLS_1_0; min <= TLS_1_2; min += TLS_1_2) {
        tls_policy_free(&w->client);
        w->client = tls_policy_client(io_file(&w->dir, "ca.pem"), min, &error);
        w->accepted = w->a.connected = w->a.error = w->b.full = false;
        join(w);
        w->b.on = answer_like_2005;
        stream_secure(w->a.s, w->client, "localhost");
        io_wait(w->loop, &w->a.error);
        if (!strstr(w->a.error_text, wanted[min]))
            fail_msg("%s", w->a.error_text);
        free(w->a.error_text);
        w->a.error_text = NULL;
        stream_close(&w->a.s, false);
        stream_close(&w->b.s, false);
    }
}

static void test_good_names(void **state)
{
    struct world *w = *state;
    static const char *const names[] = {"localhost",        "LOCALHOST", "localhost.",
                                        "imap.example.org", "127.0.0.1", "::1"};
    for (size_t i = 0; i < COUNTOF(names); i++) {
        w->accepted = w->a.connected = w->a.secure = w->b.secure = false;
        join(w);
        stream_secure(w->b.s, w->server, NULL);
        stream_secure(w->a.s, w->client, names[i]);
        io_wait(w->loop, &w->a.secure);
        stream_close(&w->a.s, false);
        stream_close(&w->b.s, false);
    }
}

static void test_impossible_name(void **state)
{
    struct world *w = *state;
    join(w);
    char name[400];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    w->a.in_call = true;
    stream_secure(w->a.s, w->client, name);
    w->a.in_call = false;
    io_wait(w->loop, &w->a.error);
    assert_non_null(strstr(w->a.error_text, "no certificate can be for the name"));
}

static void test_peer_speaks_no_tls(void **state)
{
    struct world *w = *state;
    join(w);
    stream_secure(w->a.s, w->client, "localhost");
    stream_send(w->b.s, "* OK hello\r\n", 12);
    io_wait(w->loop, &w->a.error);
    assert_string_equal(w->a.error_text, "the peer does not speak TLS here");
    assert_true(w->a.error_is_tls);
}

static void test_eof_in_handshake(void **state)
{
    struct world *w = *state;
    join(w);
    stream_secure(w->a.s, w->client, "localhost");
    w->b.on = leave_all;
    stream_close(&w->b.s, true);
    io_wait(w->loop, &w->a.error);
    assert_non_null(strstr(w->a.error_text, "closed the connection in the TLS handshake"));
}

static void test_policy_errors(void **state)
{
    struct world *w = *state;
    char *error = NULL;
    assert_null(tls_policy_client(io_file(&w->dir, "absent.pem"), TLS_1_2, &error));
    assert_non_null(strstr(error, "absent.pem"));
    free(error);
    assert_null(
        io_server_policy(io_file(&w->dir, "good.pem"), io_file(&w->dir, "expired.key"), TLS_1_2, &error));
    assert_non_null(strstr(error, "expired.key"));
    free(error);
    assert_null(
        io_server_policy(io_file(&w->dir, "good.key"), io_file(&w->dir, "good.key"), TLS_1_2, &error));
    assert_non_null(strstr(error, "good.key"));
    free(error);
}

/* --- loop --- */

struct counted {
    struct loop_task task;
    struct loop *loop;
    int runs;
};

static void counted_run(struct loop_task *task)
{
    struct counted *c = CONTAINER_OF(task, struct counted, task);
    if (++c->runs < 3)
        loop_defer(c->loop, &c->task);
}

static void test_tasks(void **state)
{
    struct world *w = *state;
    struct counted a = {.task.fn = counted_run, .loop = w->loop}, b = a;
    loop_defer(w->loop, &a.task);
    loop_defer(w->loop, &a.task);
    loop_defer(w->loop, &b.task);
    loop_undefer(w->loop, &b.task);
    loop_undefer(w->loop, &b.task);
    assert_int_equal(a.runs, 0);
    uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    assert_int_equal(a.runs, 1); /* once a round */
    while (a.runs < 3)
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    assert_false(a.task.queued);
    assert_int_equal(b.runs, 0);
}

static void test_random(void **state)
{
    (void)state;
    char a[33], b[33];
    random_hex(a, 16);
    random_hex(b, 16);
    assert_int_equal(strlen(a), 32);
    assert_int_equal(strspn(a, "0123456789abcdef"), 32);
    assert_string_not_equal(a, b);
    uint64_t boot = clock_boot_ms();
    assert_true(clock_boot_ms() >= boot);
    assert_true(clock_wall_ms() > 1700000000000u);
}

/* --- not to be heard any more --- */

/* Sends more than both kernels hold while the other end reads nothing. */
static size_t fill_kernels(struct world *w)
{
    static char bytes[1 << 20];
    size_t sent = 0;
    stream_pause(w->b.s);
    for (int i = 0; i < 16; i++, sent += sizeof bytes)
        stream_send(w->a.s, bytes, sizeof bytes);
    assert_true(stream_unsent(w->a.s) > 0);
    return sent;
}

/* What did not get into the kernel in time stays here, also where the peer takes it before any timer has
 * run. */
static void test_fence(void **state)
{
    struct world *w = *state;
    uint64_t until_ms = UINT64_MAX;
    join(w);
    stream_set_fence(w->a.s, &until_ms);
    size_t sent = fill_kernels(w), unsent = stream_unsent(w->a.s);
    until_ms = clock_boot_ms();
    stream_resume(w->b.s);
    io_wait(w->loop, &w->a.error);
    assert_string_equal(w->a.error_text, "its time is over");
    stream_close(&w->a.s, false);
    io_wait(w->loop, &w->b.eof);
    assert_int_equal(w->b.got.len, sent - unsent);
}

static void test_fence_lets_pass(void **state)
{
    struct world *w = *state;
    uint64_t until_ms = UINT64_MAX;
    join(w);
    stream_set_fence(w->a.s, &until_ms);
    size_t sent = fill_kernels(w);
    stream_resume(w->b.s);
    io_wait(w->loop, &w->a.drained);
    stream_close(&w->a.s, true);
    io_wait(w->loop, &w->b.eof);
    assert_int_equal(w->b.got.len, sent);
}

/* What our kernel holds goes nowhere. (libuv may tell a reset as an end.) */
static void test_abortive(void **state)
{
    struct world *w = *state;
    w->limits.abortive = true;
    join(w);
    size_t sent = fill_kernels(w), taken = sent - stream_unsent(w->a.s);
    stream_close(&w->a.s, false);
    stream_resume(w->b.s);
    while (!w->b.eof && !w->b.error)
        uv_run(&w->loop->uv, UV_RUN_ONCE);
    assert_true(w->b.got.len < taken);
}

/* A peer that takes nothing: the kernel gives it up by itself, unless it is told that we live. */
static void test_silence(void **state)
{
    struct world *w = *state;
    enum { SILENCE_MS = 400 };
    uint64_t began = clock_boot_ms();
    w->limits.silence_ms = SILENCE_MS;
    join(w);
    fill_kernels(w);
    while (clock_boot_ms() - began < 3 * SILENCE_MS && !w->a.error) {
        stream_still_mine(w->a.s);
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    }
    assert_false(w->a.error);
    io_wait(w->loop, &w->a.error);
    assert_string_equal(w->a.error_text, uv_strerror(UV_ETIMEDOUT));
}

/* A peer that takes nothing when the stream is given a silence has not been silent for long by that. When it
 * has taken some, the silence is all it has. */
static void test_silence_of_a_peer_that_is_slow_already(void **state)
{
    struct world *w = *state;
    enum { SILENCE_MS = 250 };
    join(w);
    fill_kernels(w);
    for (uint64_t began = clock_boot_ms(); clock_boot_ms() - began < 3 * SILENCE_MS;)
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    for (uint64_t began = clock_boot_ms(); clock_boot_ms() - began < 2 * SILENCE_MS && !w->a.error;) {
        stream_set_silence(w->a.s, SILENCE_MS);
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    }
    assert_false(w->a.error);
    stream_resume(w->b.s);
    io_wait(w->loop, &w->a.drained);
    stream_pause(w->b.s);
    fill_kernels(w);
    stream_still_mine(w->a.s);
    uint64_t began = clock_boot_ms();
    io_wait(w->loop, &w->a.error);
    assert_in_range(clock_boot_ms() - began, SILENCE_MS / 2, 5 * SILENCE_MS);
    assert_string_equal(w->a.error_text, uv_strerror(UV_ETIMEDOUT));
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, option, &value, &len), 0);
    return value;
}

/* The one descriptor of this process whose own port is that of the peer of another. */
static int descriptor_of(const char *peer)
{
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_in a;
        socklen_t len = sizeof a;
        char text[32], ip[INET_ADDRSTRLEN];
        if (getsockname(fd, (struct sockaddr *)&a, &len) != 0 || a.sin_family != AF_INET)
            continue;
        if (getpeername(fd, (struct sockaddr *)&(struct sockaddr_in){0}, &(socklen_t){sizeof a}) != 0)
            continue;
        inet_ntop(AF_INET, &a.sin_addr, ip, sizeof ip);
        snprintf(text, sizeof text, "%s:%u", ip, ntohs(a.sin_port));
        if (strcmp(text, peer) == 0)
            return fd;
    }
    fail_msg("no descriptor of %s", peer);
    return -1;
}

static void await_keepalive(struct world *w)
{
    while (!TAILQ_EMPTY(&w->loop->keepalives.waiting))
        uv_run(&w->loop->uv, UV_RUN_ONCE);
}

/* Both ends ask whether the other is there, once they are old enough; not where each question that is lost would be one too many. */
static void test_keepalive(void **state)
{
    struct world *w = *state;
    w->loop->keepalives.after_ms = 1;
    join(w);
    int fds[] = {descriptor_of(stream_peer(w->b.s)), descriptor_of(stream_peer(w->a.s))};
    await_keepalive(w);
    for (size_t i = 0; i < COUNTOF(fds); i++) {
        assert_int_equal(option_of(fds[i], SOL_SOCKET, SO_KEEPALIVE), 1);
        assert_int_equal(option_of(fds[i], IPPROTO_TCP, TCP_KEEPIDLE), 128);
        assert_in_range(option_of(fds[i], IPPROTO_TCP, TCP_KEEPINTVL), 25, 35);
        assert_int_equal(option_of(fds[i], IPPROTO_TCP, TCP_KEEPCNT), 5);
    }
    stream_set_silence(w->a.s, 8000);
    stream_set_silence(w->a.s, 7000);
    assert_int_equal(option_of(fds[0], SOL_SOCKET, SO_KEEPALIVE), 0);
    assert_int_equal(option_of(fds[1], SOL_SOCKET, SO_KEEPALIVE), 1);
    stream_set_silence(w->a.s, 0);
    await_keepalive(w);
    assert_int_equal(option_of(fds[0], SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option_of(fds[0], IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
    stream_close(&w->a.s, false);
    stream_close(&w->b.s, false);
    w->limits.silence_ms = 8000;
    w->a.connected = w->accepted = false;
    join(w);
    await_keepalive(w);
    assert_int_equal(option_of(descriptor_of(stream_peer(w->b.s)), SOL_SOCKET, SO_KEEPALIVE), 0);
}

/* Of two who wait, one that has closed meanwhile. */
static void test_keepalive_of_one_that_has_closed(void **state)
{
    struct world *w = *state;
    w->loop->keepalives.after_ms = 1;
    join(w);
    stream_close(&w->a.s, false);
    await_keepalive(w);
    assert_true(TAILQ_EMPTY(&w->loop->keepalives.waiting));
}

static void test_no_silence_any_more(void **state)
{
    struct world *w = *state;
    enum { SILENCE_MS = 250 };
    join(w);
    stream_set_silence(w->a.s, SILENCE_MS);
    stream_set_silence(w->a.s, 0);
    fill_kernels(w);
    for (uint64_t began = clock_boot_ms(); clock_boot_ms() - began < 3 * SILENCE_MS;)
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    assert_false(w->a.error);
}

/* ---- everything in any order ---- */

static unsigned random_below(uint64_t *state, unsigned n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*state >> 33) % n;
}

static void random_send(struct world *w, uint64_t *r, size_t *sent)
{
    static const unsigned most[] = {10, 4096, 4096, 20000, 300000};
    unsigned n = most[random_below(r, COUNTOF(most))];
    n = random_below(r, 2) ? n : 1 + random_below(r, n);
    char *bytes = xcalloc(1, n);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)('a' + (*sent + i) % 23);
    stream_send(w->a.s, bytes, n);
    *sent += n;
    free(bytes);
}

static void random_step(struct world *w, uint64_t *r, size_t *sent, struct turn_line *line)
{
    switch (random_below(r, 8)) {
    case 0:
        stream_pause(w->b.s);
        break;
    case 1:
        stream_resume(w->b.s);
        break;
    case 2:
        w->b.leave = random_below(r, 2) ? 0 : random_below(r, 9000);
        stream_again(w->b.s);
        break;
    case 3:
        stream_wait_in(w->b.s, line && random_below(r, 2) ? line : NULL);
        break;
    case 4:
        stream_deadline(w->b.s, random_below(r, 2) ? 100000 : 0);
        break;
    default:
        if (w->a.s)
            random_send(w, r, sent);
    }
    for (unsigned i = random_below(r, 4); i > 0; i--)
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
}

static void random_end(struct end *e)
{
    stream_close(&e->s, false);
    buf_free(&e->got);
    *e = (struct end){0};
}

/* Pauses, turns, bytes that are left and the end, whenever: every byte comes once, and the end behind them. */
static void any_order(struct world *w, bool tls, bool packed)
{
    struct turn_line line;
    turn_line_init(&line);
    for (uint64_t seed = 1; seed <= 25; seed++) {
        uint64_t r = seed * 7919 + tls * 2 + packed;
        size_t sent = 0;
        w->packed = packed;
        w->accepted = false;
        both(w, tls);
        unsigned ends_at = random_below(&r, 60);
        for (unsigned i = 0; i < 60; i++) {
            random_step(w, &r, &sent, seed % 2 ? &line : NULL);
            if (i == ends_at)
                stream_close(&w->a.s, true);
        }
        w->b.leave = 0;
        stream_resume(w->b.s);
        stream_again(w->b.s);
        io_wait(w->loop, &w->b.eof);
        uint64_t until = clock_boot_ms() + IO_DEADLINE_MS;
        while (stream_peek(w->b.s).len > 0 && clock_boot_ms() < until) /* the end was told before */
            uv_run(&w->loop->uv, UV_RUN_NOWAIT);
        assert_int_equal(w->b.got.len, sent);
        for (size_t i = 0; i < sent; i++)
            assert_int_equal(buf_span(&w->b.got).p[i], 'a' + i % 23);
        random_end(&w->a);
        random_end(&w->b);
    }
}

static void test_any_order(void **state)
{
    any_order(*state, false, false);
    any_order(*state, false, true);
}

static void test_any_order_tls(void **state)
{
    any_order(*state, true, false);
    any_order(*state, true, true);
}

#define PLAIN(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define TLS(f)   cmocka_unit_test_setup_teardown(f, set_up_tls, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(test_talk),
        PLAIN(test_fence),
        PLAIN(test_fence_lets_pass),
        PLAIN(test_abortive),
        PLAIN(test_silence),
        PLAIN(test_silence_of_a_peer_that_is_slow_already),
        PLAIN(test_keepalive),
        PLAIN(test_keepalive_of_one_that_has_closed),
        PLAIN(test_no_silence_any_more),
        TLS(test_talk_tls),
        TLS(test_renewed_policy),
        PLAIN(test_what_is_left_comes_again),
        PLAIN(test_again),
        PLAIN(test_eat_later),
        PLAIN(test_pause),
        TLS(test_pause_tls),
        PLAIN(test_high_water),
        TLS(test_high_water_tls),
        PLAIN(test_queue_max),
        PLAIN(test_talk_packed),
        TLS(test_talk_packed_tls),
        PLAIN(test_pause_packed),
        TLS(test_pause_packed_tls),
        PLAIN(test_bomb_stays_packed),
        PLAIN(test_eof_packed),
        PLAIN(test_packed_behind_answer),
        PLAIN(test_damaged_packed),
        PLAIN(test_packed_data_ends),
        PLAIN(test_more_behind_the_end_of_packed),
        PLAIN(test_bomb_has_its_turn),
        TLS(test_bomb_has_its_turn_tls),
        PLAIN(test_any_order),
        TLS(test_any_order_tls),
        PLAIN(test_eof_after_data),
        TLS(test_eof_tls),
        PLAIN(test_eof_with_bytes_left),
        PLAIN(test_send_after_eof),
        PLAIN(test_close_in_callback),
        PLAIN(test_close_in_callback_flush),
        TLS(test_close_in_callback_tls),
        TLS(test_close_in_callback_tls_flush),
        PLAIN(test_close_at_connected),
        TLS(test_close_at_secure),
        PLAIN(test_close_before_connected),
        PLAIN(test_flush),
        TLS(test_flush_tls),
        PLAIN(test_goodbye_is_not_lost),
        PLAIN(test_refused),
        PLAIN(test_reset),
        PLAIN(test_unix),
        PLAIN(test_unix_name_too_long),
        PLAIN(test_deadline),
        TLS(test_cork),
        PLAIN(test_cork_drained),
        PLAIN(test_send_early),
        TLS(test_bytes_before_handshake),
        TLS(test_handshake_behind_header),
        TLS(test_handshake_behind_header_of_a_stranger),
        TLS(test_no_tls_behind_header),
        TLS(test_send_in_handshake),
        TLS(test_bad_certificates),
        TLS(test_pins),
        TLS(test_old_certificates),
        TLS(test_a_server_without_secure_renegotiation),
        TLS(test_good_names),
        TLS(test_impossible_name),
        TLS(test_peer_speaks_no_tls),
        TLS(test_eof_in_handshake),
        TLS(test_policy_errors),
        PLAIN(test_tasks),
        PLAIN(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
