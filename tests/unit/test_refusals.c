/* Wrong tokens are put off for a minute, by network; there is room for so many networks. */
#include <stdio.h>

#include "unit.h"

#include "migrator/api/refusals.h"

static void refuse(struct refusals *f, const char *peer, unsigned n, uint64_t at)
{
    while (n-- > 0)
        refusals_add(f, peer, at);
}

static void test_ten_in_a_minute_are_heard(void **state)
{
    static struct refusals f;

    (void)state;
    refuse(&f, "192.0.2.1", REFUSALS_HEARD - 1, 1000);
    assert_int_equal(refusals_wait_ms(&f, "192.0.2.1", 1000), 0);
    refuse(&f, "192.0.2.1", 1, 2000);
    assert_int_equal(refusals_wait_ms(&f, "192.0.2.1", 3000), REFUSALS_MS - 2000);
    assert_int_equal(refusals_wait_ms(&f, "192.0.2.2", 3000), 0);
    assert_int_equal(refusals_wait_ms(&f, "192.0.2.1", 1000 + REFUSALS_MS), 0);
    refuse(&f, "192.0.2.1", 1, 1000 + REFUSALS_MS); /* the first of a new minute */
    assert_int_equal(refusals_wait_ms(&f, "192.0.2.1", 1001 + REFUSALS_MS), 0);
}

static void test_ipv6_counts_by_its_network(void **state)
{
    static struct refusals f;

    (void)state;
    for (unsigned i = 0; i < REFUSALS_HEARD; i++) {
        char peer[48];
        snprintf(peer, sizeof(peer), "2001:db8:0:1::%x", i + 1);
        refusals_add(&f, peer, 5);
    }
    assert_true(refusals_wait_ms(&f, "2001:db8:0:1:ffff::", 6) > 0);
    assert_int_equal(refusals_wait_ms(&f, "2001:db8:0:2::1", 6), 0);
    refuse(&f, "::ffff:192.0.2.1", REFUSALS_HEARD, 5);
    assert_int_equal(refusals_wait_ms(&f, "::ffff:192.0.2.2", 6), 0);
}

/* A flood from many networks takes no more room, and the longest silent one is forgotten for it. */
static void test_there_is_room_for_so_many(void **state)
{
    static struct refusals f;
    char peer[48];

    (void)state;
    refuse(&f, "unix", REFUSALS_HEARD, 1);
    refuse(&f, "192.0.2.1", REFUSALS_HEARD, 2);
    for (unsigned i = 0; i < REFUSALS_NETWORKS - 1; i++) {
        snprintf(peer, sizeof(peer), "198.51.%u.%u", i / 250, i % 250);
        refusals_add(&f, peer, 10 + i);
    }
    assert_int_equal(refusals_wait_ms(&f, "unix", 400), 0);
    assert_true(refusals_wait_ms(&f, "192.0.2.1", 400) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_in_a_minute_are_heard),
        cmocka_unit_test(test_ipv6_counts_by_its_network),
        cmocka_unit_test(test_there_is_room_for_so_many),
    };
    return cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
}
