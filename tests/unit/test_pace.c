#include "migrator/imap/pace.h"
#include "unit.h"

static void test_no_limit(void **state)
{
    (void)state;
    struct pace p;
    pace_init(&p, 0, 0, 1000);
    pace_take(&p, UINT32_MAX, UINT64_MAX, 1000);
    assert_int_equal(pace_wait_ms(&p, 1000), 0);
}

/* Whoever takes as soon as it may, gets what was asked for, whatever the pieces. */
static void rate_of(uint32_t per_s, uint32_t piece, uint64_t takes)
{
    struct pace m, b;
    uint64_t now_m = 5000, now_b = 5000;
    pace_init(&m, per_s, 0, now_m);
    pace_init(&b, 0, per_s, now_b);
    for (uint64_t i = 0; i < takes; i++) {
        pace_take(&m, piece, 0, now_m);
        pace_take(&b, 0, piece, now_b);
        for (uint64_t ms; (ms = pace_wait_ms(&m, now_m)) > 0;)
            now_m += ms;
        for (uint64_t ms; (ms = pace_wait_ms(&b, now_b)) > 0;)
            now_b += ms;
    }
    uint64_t least = (takes * piece * 1000 - (uint64_t)per_s * 250 - 1000) / per_s,
             most = takes * piece * 1000 / per_s + takes;
    assert_int_equal(now_m, now_b);
    assert_in_range(now_m - 5000, least, most);
}

static void test_rate(void **state)
{
    (void)state;
    rate_of(1, 1, 20);
    rate_of(10, 1, 100);
    rate_of(1000, 1, 5000);
    rate_of(100000, 65536, 50);
    rate_of(50000000, 65536, 10000);
    rate_of(2000, 65536, 3); /* half a minute each: waited for in parts */
}

static void test_no_burst_after_idleness(void **state)
{
    (void)state;
    struct pace p;
    pace_init(&p, 100, 0, 0);
    pace_take(&p, 25, 0, 3600000);
    assert_int_equal(pace_wait_ms(&p, 3600000), 0);
    pace_take(&p, 10, 0, 3600000);
    assert_int_equal(pace_wait_ms(&p, 3600000), 100);
    assert_int_equal(pace_wait_ms(&p, 3600060), 40);
    assert_int_equal(pace_wait_ms(&p, 3600100), 0);
}

static void test_rest_doubles_and_forgets(void **state)
{
    (void)state;
    struct pace p;
    uint64_t now = 10000;
    pace_init(&p, 0, 0, now);
    assert_false(pace_is_throttled(&p, now));
    static const uint64_t rests[] = {500, 1000, 2000, 4000, 4000};
    for (size_t i = 0; i < COUNTOF(rests); i++) {
        assert_int_equal(pace_throttle(&p, 0, now), rests[i]);
        assert_int_equal(pace_throttle(&p, 0, now + 100),
                         rests[i] == 500 ? 500 : rests[i]); /* another connection's */
        assert_true(pace_is_throttled(&p, now));
        now += rests[i] + 100;
        assert_int_equal(pace_throttle_left_ms(&p, now), 0);
        assert_true(pace_is_throttled(&p, now));
    }
    now += 5000;
    assert_false(pace_is_throttled(&p, now));
    assert_int_equal(pace_throttle(&p, 0, now), 500);
    assert_int_equal(pace_throttle(&p, 7000, now), 7000);         /* what it says counts */
    assert_int_equal(pace_throttle(&p, UINT64_MAX, now), 600000); /* up to a limit */
}

static void hint(const char *code, const char *text, bool refused, bool is, uint64_t ms)
{
    uint64_t got = 99;
    assert_int_equal(pace_hint(span_str(code), span_str(text), refused, &got), is);
    if (is)
        assert_int_equal(got, ms);
}

static void test_hints(void **state)
{
    (void)state;
    hint("", "Success [THROTTLED]", false, true, 0);
    hint("LIMIT", "UID FETCH Rate limit hit", true, true, 0);
    hint("LIMIT", "too many", true, true, 0);
    hint("LIMIT", "fine", false, false, 0);
    hint("UNAVAILABLE", "later", true, true, 0);
    hint("", "Request is throttled. Suggested Backoff Time: 2990 milliseconds", true, true, 2990);
    hint("", "Suggested Backoff Time: 99999999999999999999", true, true, 999999);
    hint("", "Suggested Backoff Time: ", true, true, 0);
    hint("OVERQUOTA", "full", true, false, 0);
    hint("", "", true, false, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_limit),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_no_burst_after_idleness),
        cmocka_unit_test(test_rest_doubles_and_forgets),
        cmocka_unit_test(test_hints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
