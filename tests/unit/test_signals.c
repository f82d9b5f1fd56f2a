#include "unit.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "lib/signals.h"

struct fixture {
    struct loop *loop;
    struct signals *signals;
    unsigned count, reloads;
};

static void on_signal(void *owner, unsigned count)
{
    struct fixture *f = owner;
    f->count = count;
}

static void on_reload(void *owner)
{
    struct fixture *f = owner;
    f->reloads++;
}

static void hit(struct fixture *f, int number, unsigned count)
{
    kill(getpid(), number);
    while (f->count != count)
        uv_run(&f->loop->uv, UV_RUN_ONCE);
}

static void *kill_it(void *arg)
{
    (void)arg;
    kill(getpid(), SIGTERM);
    return NULL;
}

/* Twice: the second finds a thread that has gone on. It doesn't count as one to end. */
static void test_hangup_is_a_wish_to_reload(void **state)
{
    struct fixture f = {.loop = loop_new()};
    (void)state;
    f.signals = signals_new(f.loop, on_signal, on_reload, &f);
    for (unsigned i = 1; i <= 2; i++) {
        kill(getpid(), SIGHUP);
        while (f.reloads != i)
            uv_run(&f.loop->uv, UV_RUN_ONCE);
    }
    assert_int_equal(f.count, 0);
    hit(&f, SIGTERM, 1);
    signals_free(&f.signals);
    kill(getpid(), SIGHUP);
    loop_free(&f.loop);
    kill(getpid(), SIGHUP);
    assert_int_equal(f.reloads, 2);
}

/* They are events while there is a loop, and nothing when it is gone, whichever thread they meet. */
static void test_a_late_one_is_harmless(void **state)
{
    struct fixture f = {.loop = loop_new()};
    pthread_t thread;
    (void)state;
    f.signals = signals_new(f.loop, on_signal, on_reload, &f);
    hit(&f, SIGTERM, 1);
    hit(&f, SIGINT, 2);
    hit(&f, SIGTERM, 3);
    kill(getpid(), SIGTERM);
    signals_free(&f.signals);
    kill(getpid(), SIGINT);
    loop_free(&f.loop);
    kill(getpid(), SIGTERM);
    assert_int_equal(pthread_create(&thread, NULL, kill_it, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(f.count, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hangup_is_a_wish_to_reload),
                                       cmocka_unit_test(test_a_late_one_is_harmless)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
