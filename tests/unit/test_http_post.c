#include "unit.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/loop.h"
#include "lib/xalloc.h"
#include "migrator/site/http_post.h"

enum { LONG_MS = 60 * 1000 };

/* A server that answers nothing. */
struct world {
    struct loop *loop;
    int listener;
    char url[64];
    bool done, lost;
    char *error; /* owned */
};

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);

    w->loop = loop_new();
    w->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(w->listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(w->listener, 4), 0);
    assert_int_equal(getsockname(w->listener, (struct sockaddr *)&a, &len), 0);
    snprintf(w->url, sizeof(w->url), "http://127.0.0.1:%d/x", ntohs(a.sin_port));
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    close(w->listener);
    loop_free(&w->loop);
    free(w->error);
    free(w);
    return 0;
}

static void on_answer(void *owner, const struct http_post_answer *answer)
{
    struct world *w = owner;

    w->done = true;
    w->lost = answer->lost;
    w->error = answer->error ? xstrdup(answer->error) : NULL;
}

static struct http_post *start_until(struct world *w, uint64_t ms, const uint64_t *until_ms)
{
    struct http_post_request r = {.url = w->url, .body = "{}", .timeout_ms = ms, .until_ms = until_ms};

    return http_post_start(w->loop, &r, on_answer, w);
}

static struct http_post *start(struct world *w, uint64_t ms)
{
    return start_until(w, ms, NULL);
}

/* How many bytes the server gets of it; *reset: it did not end as it should. */
static size_t received(const struct world *w, bool *reset)
{
    char text[1000];
    int fd = accept(w->listener, NULL, NULL);
    size_t all = 0;
    ssize_t n;

    while ((n = recv(fd, text, sizeof(text), 0)) > 0)
        all += (size_t)n;
    *reset = n < 0;
    close(fd);
    return all;
}

/* Its process was stopped in the meantime: another owner of the job may be at work. */
static void test_nothing_is_sent_when_it_is_too_late(void **state)
{
    struct world *w = *state;
    bool reset;

    start(w, 50);
    usleep(100 * 1000);
    while (!w->done)
        uv_run(&w->loop->uv, UV_RUN_ONCE);
    assert_string_equal(w->error, "took too long");
    assert_false(w->lost);
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* accept() would wait where nobody has connected */
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    assert_int_equal(getsockname(w->listener, (struct sockaddr *)&a, &len), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, len), 0);
    close(fd);
    assert_int_equal(received(w, &reset), 0);
}

/* No byte of it is delivered any more. */
static void test_given_up_by_reset(void **state)
{
    struct world *w = *state;
    bool reset;

    start(w, 200);
    while (!w->done)
        uv_run(&w->loop->uv, UV_RUN_ONCE);
    assert_string_equal(w->error, "took too long");
    assert_true(w->lost);
    assert_true(received(w, &reset) > 0 && reset);
}

/* A lease that ends before the time is over ends it too, and one that is renewed meanwhile does not. */
static void test_it_ends_with_the_lease(void **state)
{
    struct world *w = *state;
    uint64_t began = clock_boot_ms(), until = began + 100;

    start_until(w, LONG_MS, &until);
    while (clock_boot_ms() < began + 50)
        uv_run(&w->loop->uv, UV_RUN_NOWAIT);
    until = began + 300;
    while (!w->done)
        uv_run(&w->loop->uv, UV_RUN_ONCE);
    assert_string_equal(w->error, "took too long");
    assert_in_range(clock_boot_ms() - began, 300, LONG_MS - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_is_sent_when_it_is_too_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_given_up_by_reset, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_ends_with_the_lease, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
