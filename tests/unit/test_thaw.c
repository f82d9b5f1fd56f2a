#include "store_unit.h"

#include "proxy/thaw.h"

enum { PROXIES = 20, LEFT_MS = 400 };

struct fixture {
    struct unit_store u;
    struct thaws *proxies[PROXIES];
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    unit_store_begin(&f->u);
    for (size_t i = 0; i < PROXIES; i++)
        f->proxies[i] = thaws_new(f->u.store);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < PROXIES; i++)
        thaws_free(&f->proxies[i]);
    unit_store_end(&f->u);
    free(f);
    return 0;
}

static void freeze(struct fixture *f, const char *left)
{
    const char *script =
        "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) "
        "redis.call('HSET', 'unit:route:ann', 'backend', 'old', 'state', 'freezing', 'epoch', '3', "
        "'generation', '1', 'target', 'new', 'deadline', string.format('%.0f', now + ARGV[1]))";
    UNIT_COMMAND(&f->u, "EVAL", script, "0", left);
}

static void hear(struct fixture *f, size_t n, enum route_state state, uint64_t left_ms)
{
    for (size_t i = 0; i < n; i++)
        thaws_heard(f->proxies[i], span_str("ann"), state, left_ms);
}

static uint64_t asked(struct fixture *f)
{
    return unit_stat(&f->u, "fcall").calls;
}

static bool is_ready(struct fixture *f)
{
    return strcmp(UNIT_COMMAND(&f->u, "HGET", "unit:route:ann", "state").text, "ready") == 0;
}

/* Twenty proxies, and none hears of the others' thaw: each asks once, behind the deadline, and not all at one
 * moment. */
static void test_each_asks_once_behind_the_deadline(void **state)
{
    struct fixture *f = *state;
    uint64_t none = asked(f), start = clock_boot_ms();
    freeze(f, "400");
    hear(f, PROXIES, ROUTE_PREPARING, LEFT_MS / 2);
    hear(f, PROXIES, ROUTE_FREEZING, LEFT_MS);
    while (asked(f) == none)
        ;
    uint64_t first = clock_boot_ms();
    assert_true(first - start >= LEFT_MS);
    UNIT_UNTIL(&f->u, asked(f) == none + PROXIES);
    assert_true(clock_boot_ms() - first >= 200);
    assert_true(is_ready(f));
    hear(f, PROXIES, ROUTE_PREPARING, 0);
    for (int i = 0; i < 2; i++) /* longer than it would be asked again */
        UNIT_COMMAND(&f->u, "BLPOP", "unit:nothing", "1.1");
    assert_int_equal(asked(f), none + PROXIES);
}

static void test_what_is_over_in_time_costs_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t none = asked(f);
    freeze(f, "400");
    hear(f, PROXIES, ROUTE_FREEZING, LEFT_MS);
    hear(f, PROXIES, ROUTE_FLIPPING, 0);
    UNIT_COMMAND(&f->u, "BLPOP", "unit:nothing", "1.6");
    assert_int_equal(asked(f), none);
}

/* The event that moved the deadline was missed. */
static void test_a_deadline_that_was_moved(void **state)
{
    struct fixture *f = *state;
    uint64_t none = asked(f);
    freeze(f, "1800");
    hear(f, 1, ROUTE_PREPARING, 50);
    UNIT_UNTIL(&f->u, is_ready(f));
    assert_in_range(asked(f) - none, 2, 4);
}

static void test_no_store_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    freeze(f, "100");
    hear(f, 1, ROUTE_FREEZING, 100);
    unit_redis_kill(&f->u.redis);
    UNIT_UNTIL(&f->u, f->u.state == STORE_DOWN);
    uint64_t start = clock_boot_ms();
    UNIT_UNTIL(&f->u, clock_boot_ms() - start > 1300);
    unit_redis_start(&f->u.redis);
    UNIT_UNTIL(&f->u, f->u.state == STORE_UP);
    UNIT_UNTIL(&f->u, is_ready(f));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_asks_once_behind_the_deadline),
        TEST(test_what_is_over_in_time_costs_nothing),
        TEST(test_a_deadline_that_was_moved),
        TEST(test_no_store_at_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
