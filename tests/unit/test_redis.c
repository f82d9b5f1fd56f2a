/* What a Redis that is none, or has gone mad, can do to us. */
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "store_unit.h"

/* A listener on the path where Redis would be; the test plays the server. */
struct mad {
    struct unit_store u;
    struct redis *redis;
    int listener, peer;
    unsigned ups, downs;
    char why[256];
};

static void on_state(void *owner, bool up, const char *detail)
{
    struct mad *m = owner;
    m->ups += up;
    m->downs += !up;
    snprintf(m->why, sizeof(m->why), "%s", detail);
}

static int setup(void **state)
{
    struct mad *m = xcalloc(1, sizeof(*m));
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    unit_store_make(&m->u);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", m->u.redis.socket);
    m->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(m->listener >= 0);
    assert_int_equal(bind(m->listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(m->listener, 10), 0);
    m->peer = -1;
    m->redis = redis_new(m->u.loop, &m->u.conf.redis, &m->u.address, 500, on_state, m);
    *state = m;
    return 0;
}

static int teardown(void **state)
{
    struct mad *m = *state;
    redis_free(&m->redis);
    if (m->peer >= 0)
        close(m->peer);
    close(m->listener);
    unit_store_end(&m->u);
    free(m);
    return 0;
}

static bool take_peer(struct mad *m)
{
    if (m->peer >= 0)
        close(m->peer);
    m->peer = accept4(m->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return m->peer >= 0;
}

static void say(struct mad *m, struct span bytes)
{
    assert_int_equal(write(m->peer, bytes.p, bytes.len), bytes.len);
}

/* Answers of commands, in the order in which they came: a letter each. */
struct told {
    char order[16];
    char text[64];
    struct mad *m;
    enum { KEEP, RESET, FREE, ASK } then;
};

static void on_reply(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct told *t = owner;
    size_t n = strlen(t->order);
    struct span s = reply_str(r);
    if (n + 1 < sizeof(t->order))
        t->order[n] = "oed"[rc];
    snprintf(t->text, sizeof(t->text), "%.*s", (int)s.len, s.len ? (const char *)s.p : "");
    struct span argv[] = {BYTES("PING")};
    if (t->then == RESET)
        redis_reset(t->m->redis, "the test wants it");
    else if (t->then == FREE)
        redis_free(&t->m->redis);
    else if (t->then == ASK && n < 3)
        redis_command(t->m->redis, argv, 1, 0, on_reply, t);
}

static bool was_asked(struct mad *m, const char *command)
{
    char text[1024];
    ssize_t n = read(m->peer, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    return strstr(text, command) != NULL;
}

/* Who has no password asks first whether one is wanted. */
static void asks_whether_it_may(struct mad *m)
{
    UNIT_UNTIL(&m->u, take_peer(m));
    UNIT_UNTIL(&m->u, was_asked(m, "PING"));
}

static void connected(struct mad *m)
{
    asks_whether_it_may(m);
    say(m, BYTES("+PONG\r\n"));
    UNIT_UNTIL(&m->u, redis_is_up(m->redis));
}

static void ask(struct mad *m, struct told *t, unsigned times)
{
    struct span argv[] = {BYTES("GET"), BYTES("a\0\r\nb")};
    *t = (struct told){.m = m};
    for (unsigned i = 0; i < times; i++)
        redis_command(m->redis, argv, 2, 0, on_reply, t);
    assert_string_equal(t->order, "");
}

static void breaks(struct mad *m, struct span bytes, const char *order, const char *why)
{
    struct told t;
    m->downs = 0;
    connected(m);
    ask(m, &t, 2);
    say(m, bytes);
    UNIT_UNTIL(&m->u, m->downs == 1 && strlen(t.order) == 2);
    assert_string_equal(t.order, order);
    assert_non_null(strstr(m->why, why));
}

static void test_answers_that_break_the_connection(void **state)
{
    struct mad *m = *state;
    breaks(m, BYTES("$99999999999\r\n"), "dd", "too great a length");
    breaks(m, BYTES("*2000000\r\n"), "dd", "too great a length");
    breaks(m, BYTES("*-5\r\n"), "dd", "too great a length");
    breaks(m, BYTES("HTTP/1.1 400 Bad Request\r\n"), "dd", "RESP 2");
    breaks(m, BYTES("+OK\r\n!x\r\n"), "dd", "RESP 2");
    breaks(m, BYTES("+OK\r\n-ERR\r\n+more\r\n"), "oe", "no command");
    breaks(m, BYTES("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"), "dd", "nested");
    breaks(m, BYTES("+OK\r\n+half"), "od", "no answer in time");
}

static void ends_at_first(struct mad *m, struct span said, const char *why)
{
    asks_whether_it_may(m);
    m->downs = 0;
    if (said.len)
        say(m, said);
    close(m->peer);
    m->peer = -1;
    UNIT_UNTIL(&m->u, m->downs == 1);
    if (!strstr(m->why, why))
        fail_msg("%s", m->why);
}

/* One that wants a password says so to a short command, one that wants TLS by nothing but its hanging up;
 * another server says what it is; and one that has answered wants neither. */
static void test_closed_without_an_answer(void **state)
{
    struct mad *m = *state;
    struct told t;
    ends_at_first(m, BYTES("-NOAUTH Authentication required.\r\n"),
                  "Redis wants a password (redis: url or password_file)");
    ends_at_first(m, BYTES(""),
                  "it has answered nothing: see whether it wants a password (redis: url or password_file)");
    ends_at_first(m, BYTES("* OK [CAPABILITY IMAP4rev1] ready\r\n"),
                  "this is no Redis (see redis: url), it says \"* OK [CAPABILITY IMAP4rev1]");
    asks_whether_it_may(m);
    say(m, BYTES("-NOPERM this user has no permissions to run the 'ping' command\r\n"));
    UNIT_UNTIL(&m->u, redis_is_up(m->redis));
    redis_reset(m->redis, "the test wants it");
    connected(m);
    m->downs = 0;
    ask(m, &t, 2);
    say(m, BYTES("+OK\r\n"));
    close(m->peer);
    m->peer = -1;
    UNIT_UNTIL(&m->u, strlen(t.order) == 2);
    assert_null(strstr(m->why, "password"));
}

/* rediss:// at a Redis without TLS. */
static void test_tls_that_fails_says_what_is_believed(void **state)
{
    struct mad *m = *state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    struct conf_redis conf = m->u.conf.redis;
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), peer = -1;

    assert_int_equal(bind(tcp, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(tcp, 8), 0);
    getsockname(tcp, (struct sockaddr *)&a, &len);
    struct address address =
        (struct address){.scheme = ADDRESS_REDISS, .host = (char *)"127.0.0.1", .port = ntohs(a.sin_port)};
    redis_free(&m->redis);
    m->redis = redis_new(m->u.loop, &conf, &address, 5000, on_state, m);
    UNIT_UNTIL(&m->u, (peer = accept4(tcp, NULL, NULL, SOCK_CLOEXEC)) >= 0);
    assert_int_equal(write(peer, "-ERR what is that\r\n", 19), 19);
    UNIT_UNTIL(&m->u, m->downs == 1);
    assert_non_null(strstr(
        m->why, "the peer does not speak TLS here; whether there is TLS is said by how redis: url begins"));
    redis_free(&m->redis);
    close(peer);
    close(tcp);
}

static void test_closed_by_the_server(void **state)
{
    struct mad *m = *state;
    struct told t;
    connected(m);
    ask(m, &t, 3);
    close(m->peer);
    m->peer = -1;
    UNIT_UNTIL(&m->u, strlen(t.order) == 3);
    assert_string_equal(t.order, "ddd");
    assert_int_equal(m->downs, 1);
    ask(m, &t, 1);
    UNIT_UNTIL(&m->u, strlen(t.order) == 1);
    assert_string_equal(t.order, "d");
    connected(m);
    assert_int_equal(m->ups, 2);
}

static void test_what_is_sent(void **state)
{
    struct mad *m = *state;
    struct told t;
    char got[128];
    ssize_t n = -1;
    connected(m);
    ask(m, &t, 1);
    UNIT_UNTIL(&m->u, (n = read(m->peer, got, sizeof(got))) > 0);
    assert_int_equal(n, 24);
    assert_memory_equal(got, "*2\r\n$3\r\nGET\r\n$5\r\na\0\r\nb\r\n", 24);
    say(m, BYTES("$5\r\n12"));
    say(m, BYTES("345\r"));
    say(m, BYTES("\n"));
    UNIT_UNTIL(&m->u, *t.order);
    assert_string_equal(t.order, "o");
    assert_string_equal(t.text, "12345");
}

static void test_callbacks_may_do_anything(void **state)
{
    struct mad *m = *state;
    struct told t;

    connected(m);
    ask(m, &t, 3);
    t.then = RESET;
    say(m, BYTES("+1\r\n+2\r\n+3\r\n"));
    UNIT_UNTIL(&m->u, strlen(t.order) == 3);
    assert_string_equal(t.order, "odd");

    connected(m);
    ask(m, &t, 1);
    t.then = ASK;
    say(m, BYTES("+1\r\n"));
    UNIT_UNTIL(&m->u, strlen(t.order) == 1);
    close(m->peer);
    m->peer = -1;
    UNIT_UNTIL(&m->u, strlen(t.order) == 4);
    assert_string_equal(t.order, "oddd");

    connected(m);
    ask(m, &t, 2);
    redis_forget(m->redis, &t);
    say(m, BYTES("+1\r\n+2\r\n"));
    struct told last;
    ask(m, &last, 2);
    last.then = FREE;
    say(m, BYTES("+3\r\n+4\r\n"));
    UNIT_UNTIL(&m->u, *last.order);
    assert_null(m->redis);
    assert_string_equal(last.order, "o");
    assert_string_equal(last.text, "3");
    assert_string_equal(t.order, "");
}

static void test_a_command_with_a_short_patience_behind_a_blocking_one(void **state)
{
    struct mad *m = *state;
    struct told slow = {.m = m}, quick = {.m = m};
    struct span argv[] = {BYTES("X")};
    uint64_t start = clock_boot_ms();
    connected(m);
    redis_command(m->redis, argv, 1, 60000, on_reply, &slow);
    redis_command(m->redis, argv, 1, 200, on_reply, &quick);
    UNIT_UNTIL(&m->u, *quick.order && *slow.order);
    assert_true(clock_boot_ms() - start >= 200 && clock_boot_ms() - start < 10000);
    assert_string_equal(quick.order, "d");
    assert_string_equal(slow.order, "d");
}

/* ---- events of such a Redis ---- */

static void on_event(void *owner, const struct event *ev)
{
    (void)owner, (void)ev;
}

static void on_news(void *owner, enum events_news news)
{
    *(unsigned *)owner += news == EVENTS_LIVE;
}

static void answer_follower(struct mad *m, struct span to_xread)
{
    asks_whether_it_may(m);
    say(m, BYTES("+PONG\r\n"));
    UNIT_UNTIL(&m->u, was_asked(m, "ROLE"));
    say(m, BYTES("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"));
    UNIT_UNTIL(&m->u, was_asked(m, "XREVRANGE"));
    say(m, BYTES("*0\r\n"));
    UNIT_UNTIL(&m->u, was_asked(m, "XREAD"));
    say(m, to_xread);
}

/* It is asked again at a pace, not at once. */
static void test_a_read_of_events_that_ends_at_once(void **state)
{
    static const char *const answers[] = {"*-1\r\n", "$-1\r\n", "*0\r\n",
                                          "+OK\r\n", ":7\r\n",  "*1\r\n*2\r\n$1\r\nx\r\n*0\r\n"};
    struct mad *m = *state;
    unsigned lives = 0;
    redis_free(&m->redis);
    struct events *e = events_new(m->u.loop, &m->u.conf, &m->u.address, on_event, on_news, &lives);
    for (size_t i = 0; i < COUNTOF(answers); i++)
        answer_follower(m, span_str(answers[i])); /* each on a connection of its own */
    UNIT_UNTIL(&m->u, take_peer(m));
    assert_int_equal(lives, COUNTOF(answers));
    events_free(&e);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answers_that_break_the_connection),
        TEST(test_closed_by_the_server),
        TEST(test_closed_without_an_answer),
        TEST(test_tls_that_fails_says_what_is_believed),
        TEST(test_what_is_sent),
        TEST(test_callbacks_may_do_anything),
        TEST(test_a_command_with_a_short_patience_behind_a_blocking_one),
        TEST(test_a_read_of_events_that_ends_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
