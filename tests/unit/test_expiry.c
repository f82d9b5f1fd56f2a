#include "proxy/expiry.h"
#include "unit.h"

static void test_fourteen_days(void **state)
{
    enum { DAY = 24 * 60 * 60 };
    const int64_t now = 1800000000;
    (void)state;
    assert_int_equal(expiry_of(0, now + 14 * DAY, now), EXPIRY_FAR);
    assert_int_equal(expiry_of(0, now + 14 * DAY - 1, now), EXPIRY_NEAR);
    assert_int_equal(expiry_of(0, now + 1, now), EXPIRY_NEAR);
    assert_int_equal(expiry_of(0, now, now), EXPIRY_PAST);
    assert_int_equal(expiry_of(INT64_MIN, INT64_MAX, now), EXPIRY_FAR);
    assert_int_equal(expiry_of(now, now + 14 * DAY, now), EXPIRY_FAR);
    assert_int_equal(expiry_of(now + 1, now + 14 * DAY, now), EXPIRY_EARLY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fourteen_days)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
