#include "unit.h"

#include "migrator/mailbox/limit.h"

enum { K = 1024 };

static void test_what_is_no_larger_than_one_that_was_taken_is_throttled(void **state)
{
    struct limits l = {0};
    (void)state;
    limits_add(&l, 7, 20 * K, "[LIMIT] seven");
    limits_add(&l, 9, 30 * K, "[LIMIT] nine");
    assert_null(limits_throttled(&l, 0));
    assert_null(limits_throttled(&l, 20 * K - 1));
    assert_int_equal(limits_throttled(&l, 20 * K)->uid, 7);
    limits_free(&l);
}

/* Whether any was taken or not. */
static void test_a_small_one_is_throttled(void **state)
{
    struct limits l = {0};
    (void)state;
    limits_add(&l, 7, 20 * K, "large");
    limits_add(&l, 8, 4 * K, "small");
    assert_string_equal(limits_throttled(&l, 0)->text, "small");
    assert_string_equal(limits_throttled(&l, 1)->text, "small");
    limits_free(&l);
}

/* However many there are, and however small for a limit. */
static void test_many_of_which_none_was_taken_are_not_throttled(void **state)
{
    struct limits l = {0};
    (void)state;
    for (uint32_t i = 1; i <= 100; i++)
        limits_add(&l, i, 4 * K + i, "large");
    assert_null(limits_throttled(&l, 0));
    limits_free(&l);
}

static void test_after_a_few_the_smallest_is_wanted_until_one_is_taken(void **state)
{
    struct limits l = {0};
    (void)state;
    limits_add(&l, 1, 30 * K, "one");
    limits_add(&l, 2, 10 * K, "two");
    assert_false(limits_want_smallest(&l, 0));
    limits_add(&l, 3, 20 * K, "three");
    assert_true(limits_want_smallest(&l, 0));
    assert_false(limits_want_smallest(&l, 5 * K));
    assert_int_equal(l.smallest.uid, 2);
    limits_clear(&l);
    assert_int_equal(l.smallest.uid, 2);
    assert_string_equal(l.smallest.text, "two");
    limits_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_no_larger_than_one_that_was_taken_is_throttled),
        cmocka_unit_test(test_a_small_one_is_throttled),
        cmocka_unit_test(test_many_of_which_none_was_taken_are_not_throttled),
        cmocka_unit_test(test_after_a_few_the_smallest_is_wanted_until_one_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
