#include "unit.h"

#include "lib/window.h"
#include "migrator/job/policy.h"

static struct window parse(const char *text)
{
    struct window w;
    const char *why;

    if (!window_parse(text, &w, &why))
        fail_msg("\"%s\" %s", text, why);
    return w;
}

static void test_parse(void **state)
{
    (void)state;
    struct window w = parse("Mon-Fri 20:00-06:00");
    assert_int_equal(w.days, 62);
    assert_int_equal(w.first, 1200);
    assert_int_equal(w.after, 360);
    assert_int_equal(parse("sat,SUN 00:00-24:00").days, 65);
    assert_int_equal(parse("Sat-Mon,Wed 00:00-24:00").days, 64 + 1 + 2 + 8);
    assert_int_equal(parse("22:30-05:00").days, 127);
    assert_int_equal(parse("Tue-Tue 01:00-02:00").days, 4);
}

static void test_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "Mon",
        "Mon ",
        "Mon-",
        "Mon- 01:00-02:00",
        "Mon, 01:00-02:00",
        "Mond 01:00-02:00",
        "Mon 1:00-2:00",
        "Mon 01:00-02:00 ",
        "Mon 01:00",
        "Mon 01:00-",
        "Mon 01:60-02:00",
        "Mon 24:01-02:00",
        "Mon 25:00-02:00",
        "Mon 24:00-02:00",
        "Mon 01:00-01:00",
        "01:0",
        "01:00-02:0",
    };
    struct window w;
    const char *why;

    (void)state;
    for (size_t i = 0; i < COUNTOF(bad); i++) {
        why = NULL;
        if (window_parse(bad[i], &w, &why) || !why)
            fail_msg("\"%s\" was taken", bad[i]);
    }
}

static void test_has(void **state)
{
    (void)state;
    struct window night = parse("Mon-Fri 20:00-06:00"), day = parse("Wed 09:00-17:00"),
                  week = parse("00:00-24:00");
    assert_true(window_has(&night, 1, 1200));
    assert_false(window_has(&night, 1, 1199));
    assert_false(window_has(&night, 1, 0)); /* Sunday night is none of its nights */
    assert_true(window_has(&night, 2, 359));
    assert_false(window_has(&night, 2, 360));
    assert_true(window_has(&night, 6, 0)); /* Friday's */
    assert_false(window_has(&night, 6, 1300));
    assert_false(window_has(&night, 0, 0));
    assert_true(window_has(&day, 3, 540));
    assert_false(window_has(&day, 3, 1020));
    assert_false(window_has(&day, 4, 600));
    for (unsigned d = 0; d < 7; d++)
        assert_true(window_has(&week, d, 0) && window_has(&week, d, 1439));
}

/* A Sunday in March 2026, 01:30 in Berlin: at 02:00 the clocks go on to 03:00. */
static void test_policy(void **state)
{
    enum { SUNDAY = 1774744200 };
    char *items[] = {(char *)(uintptr_t) "Sun 03:30-04:00"};
    struct conf_migration m = {.cutover = CUTOVER_WINDOW, .window = {.items = items, .n = 1}};
    uint64_t ms;

    (void)state;
    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    assert_int_equal(policy_ask(&m, SUNDAY, &ms), POLICY_WAIT);
    assert_int_equal(ms, 3600000);
    assert_int_equal(policy_ask(&m, SUNDAY + 3600, &ms), POLICY_GO);
    assert_int_equal(policy_ask(&m, SUNDAY + 5399, &ms), POLICY_GO);
    assert_int_equal(policy_ask(&m, SUNDAY + 5400, &ms), POLICY_WAIT);
    assert_int_equal(ms, (7 * 86400 - 1800) * UINT64_C(1000));
    assert_int_equal(policy_ask(&m, SUNDAY + 7, &ms), POLICY_WAIT);
    assert_int_equal(ms, 3593000);
    m.cutover = CUTOVER_IMMEDIATE;
    assert_int_equal(policy_ask(&m, SUNDAY, &ms), POLICY_GO);
    m.cutover = CUTOVER_IDLE;
    assert_int_equal(policy_ask(&m, SUNDAY, &ms), POLICY_IDLE);
    m.cutover = CUTOVER_MANUAL;
    assert_int_equal(policy_ask(&m, SUNDAY, &ms), POLICY_STAFF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_has),
        cmocka_unit_test(test_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
