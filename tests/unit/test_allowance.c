/* How often one token may ask: so many at once, and so many a second from then on; one takes nothing from another. */
#include <stdio.h>

#include "unit.h"

#include "migrator/api/allowance.h"

static unsigned taken(struct allowance *a, const char *name, unsigned tries, uint64_t now_ms)
{
    unsigned n = 0;

    while (tries-- > 0)
        n += allowance_take(a, name, now_ms);
    return n;
}

static void test_so_many_at_once_and_a_second(void **state)
{
    static struct allowance a;

    (void)state;
    assert_int_equal(taken(&a, "ann", 10000, 5000), ALLOWANCE_AT_ONCE);
    assert_int_equal(taken(&a, "bob", 10, 5000), 10);
    assert_int_equal(taken(&a, "ann", 10, 5009), 0);
    assert_int_equal(taken(&a, "ann", 10, 5010), 1);
    assert_int_equal(taken(&a, "ann", 1000, 6010), ALLOWANCE_PER_SECOND);
    assert_int_equal(taken(&a, "ann", 10000, 1000 * 1000), ALLOWANCE_AT_ONCE);
}

static void test_asking_in_vain_costs_nothing(void **state)
{
    static struct allowance a;
    unsigned n = taken(&a, "ann", ALLOWANCE_AT_ONCE, 0);

    (void)state;
    for (uint64_t ms = 1; ms <= 10000; ms++)
        n += allowance_take(&a, "ann", ms);
    assert_int_equal(n, ALLOWANCE_AT_ONCE + 10 * ALLOWANCE_PER_SECOND);
}

static void test_there_is_room_for_so_many_names(void **state)
{
    static struct allowance a;
    char name[16];

    (void)state;
    taken(&a, "first", ALLOWANCE_AT_ONCE, 1);
    taken(&a, "second", ALLOWANCE_AT_ONCE, 2);
    for (unsigned i = 0; i < ALLOWANCE_NAMES - 1; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        assert_true(allowance_take(&a, name, 3));
    }
    assert_false(allowance_take(&a, "second", 3));
    assert_true(allowance_take(&a, "first", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_so_many_at_once_and_a_second),
        cmocka_unit_test(test_asking_in_vain_costs_nothing),
        cmocka_unit_test(test_there_is_room_for_so_many_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
