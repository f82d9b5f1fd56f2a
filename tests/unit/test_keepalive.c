/* When connections get TCP keepalive: once they are old enough, and never many at once. */
#include "unit.h"

#include <sys/socket.h>
#include <unistd.h>

#include "lib/keepalive.h"
#include "lib/loop.h"

enum { MANY = 3 * KEEPALIVE_AT_ONCE, LONG_MS = 20000 };

struct world {
    uv_loop_t uv;
    struct keepalives ks;
    struct keepalive k[MANY];
    int fds[MANY];
};

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    uv_loop_init(&w->uv);
    keepalives_init(&w->ks, &w->uv);
    w->ks.after_ms = 1;
    for (size_t i = 0; i < MANY; i++)
        w->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < MANY; i++)
        close(w->fds[i]);
    keepalives_close(&w->ks);
    uv_run(&w->uv, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->uv), 0);
    free(w);
    return 0;
}

static size_t asked(const struct world *w)
{
    size_t n = 0;
    for (size_t i = 0; i < MANY; i++) {
        int on = 0;
        socklen_t len = sizeof on;
        assert_int_equal(getsockopt(w->fds[i], SOL_SOCKET, SO_KEEPALIVE, &on, &len), 0);
        n += on != 0;
    }
    return n;
}

/* Until the timer has done something. UV_RUN_ONCE could run it twice, before and behind its wait. */
static void tick(struct world *w)
{
    size_t before = asked(w);
    uv_ref((uv_handle_t *)&w->ks.timer);
    for (uint64_t began = clock_boot_ms(); asked(w) == before && clock_boot_ms() - began < LONG_MS;)
        uv_run(&w->uv, UV_RUN_NOWAIT);
    uv_unref((uv_handle_t *)&w->ks.timer);
}

static void test_a_few_at_once(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < MANY; i++)
        keepalive_later(&w->ks, &w->k[i], w->fds[i]);
    assert_int_equal(asked(w), 0);
    for (size_t i = KEEPALIVE_AT_ONCE; i <= MANY; i += KEEPALIVE_AT_ONCE) {
        tick(w);
        assert_int_equal(asked(w), i);
    }
    assert_true(TAILQ_EMPTY(&w->ks.waiting));
    assert_false(uv_is_active((uv_handle_t *)&w->ks.timer));
}

static void test_one_that_ends_meanwhile(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < 3; i++)
        keepalive_later(&w->ks, &w->k[i], w->fds[i]);
    keepalive_off(&w->ks, &w->k[0], true);
    tick(w);
    assert_int_equal(asked(w), 2);
    keepalive_off(&w->ks, &w->k[1], false);
    assert_int_equal(asked(w), 1);
    keepalive_later(&w->ks, &w->k[0], w->fds[0]);
    tick(w);
    assert_int_equal(asked(w), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_few_at_once),
        TEST(test_one_that_ends_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
