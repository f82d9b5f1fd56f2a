#include "unit.h"

#include "migrator/late/schedule.h"

static uint64_t first(uint64_t late_watch_ms)
{
    const struct conf c = {.migration = {.late_watch_ms = late_watch_ms}};

    return schedule_first_ms(&c);
}

static void test_first(void **state)
{
    (void)state;
    assert_int_equal(first(0), 100); /* settled then, without a look */
    assert_int_equal(first(1000), 100);
    assert_int_equal(first(20000), 1000);
    assert_int_equal(first(3600000), 10000);
}

static void expect(uint64_t watch, uint64_t since, uint64_t want, bool want_over)
{
    bool over;

    assert_int_equal(schedule_next_ms(watch, since, &over), want);
    assert_int_equal(over, want_over);
}

static void test_next(void **state)
{
    (void)state;
    expect(3600000, 10000, 10000, false);
    expect(3600000, 400000, 100000, false);
    expect(3600000, 3590000, 10000, false);
    expect(3600000, 3599990, 10, false);
    expect(3600000, 3600000, 86400000, true);
    expect(0, 5, 86400000, true);
}

/* From the flip to the end of the set time in a number of looks that a server does not feel. */
static void test_distances(void **state)
{
    uint64_t at = first(3600000);
    unsigned looks = 0;
    bool over = false;

    (void)state;
    while (!over) {
        at += schedule_next_ms(3600000, at, &over);
        looks++;
    }
    assert_in_range(looks, 15, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first),
        cmocka_unit_test(test_next),
        cmocka_unit_test(test_distances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
