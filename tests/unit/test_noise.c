/* Lines that strangers cause: how many are logged, and what is said of the others. */
#include "lib/log.h"
#include "proxy/noise.h"

#include "unit.h"

static struct noise *n;
static struct loop *loop;
static unsigned n_logged;
static char *worst;
static uint64_t ends, logins;

void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    assert_int_equal(level, LOG_LEVEL_WARN);
    assert_string_equal(event, "noise");
    assert_int_equal(count, 5);
    n_logged++;
    ends = fields[2].u;
    logins = fields[3].u;
    free(worst);
    worst = xspandup(fields[4].bytes);
}

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    n = noise_new(loop, 0);
    n_logged = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    noise_free(&n);
    loop_free(&loop);
    free(worst);
    worst = NULL;
    return 0;
}

static unsigned come(enum noise_of kind, const char *ip, unsigned times)
{
    unsigned may = 0;
    for (unsigned i = 0; i < times; i++)
        may += noise_may_log(n, kind, ip);
    return may;
}

static void ends_here(void)
{
    noise_free(&n);
    n = noise_new(loop, 0);
}

static void test_few_are_logged_and_not_summed(void **state)
{
    (void)state;
    assert_int_equal(come(NOISE_ENDS, "192.0.2.1", NOISE_LINES / 2), NOISE_LINES / 2);
    assert_int_equal(come(NOISE_LOGINS, "192.0.2.1", NOISE_LINES / 2), NOISE_LINES / 2);
    ends_here();
    assert_int_equal(n_logged, 0);
}

static void test_one_network_leaves_lines_to_others(void **state)
{
    (void)state;
    assert_int_equal(come(NOISE_LOGINS, "2001:db8::1", 4000), NOISE_LINES / 2);
    assert_int_equal(come(NOISE_LOGINS, "2001:db8::2", 200), 0);
    assert_int_equal(come(NOISE_LOGINS, "192.0.2.1", 20), 20);
    assert_int_equal(come(NOISE_ENDS, "192.0.2.2", 400), NOISE_LINES / 2);
    assert_int_equal(come(NOISE_LOGINS, "", 2), 2);
    ends_here();
    assert_int_equal(n_logged, 1);
    assert_int_equal(logins, 4150);
    assert_int_equal(ends, 350);
    assert_string_equal(worst, "2001:db8::/64 4200, 192.0.2.2 400, 192.0.2.1 20, unix 2");
}

/* However many networks there are, and in whatever order they come. */
static void test_the_worst_are_known_among_very_many(void **state)
{
    (void)state;
    char ip[32];
    unsigned may = 0;
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(ip, sizeof ip, "10.%u.%u.%u", i >> 16, (i >> 8) & 255, i & 255);
        may += noise_may_log(n, NOISE_ENDS, ip);
        if (i % 10 == 0)
            may += noise_may_log(n, NOISE_ENDS, "192.0.2.66");
    }
    assert_in_range(may, NOISE_NETWORKS, NOISE_LINES);
    ends_here();
    assert_int_equal(n_logged, 1);
    assert_int_equal(ends, 110000 - may);
    assert_memory_equal(worst, "192.0.2.66 ", 11);
    unsigned long told = strtoul(worst + 11, NULL, 10);
    assert_in_range(told, 10000, 10000 + 110000 / NOISE_NETWORKS);
}

/* Nothing is said in the next period of what was in the last one. */
static void test_a_period_ends(void **state)
{
    (void)state;
    come(NOISE_ENDS, "192.0.2.1", 60);
    ends_here();
    assert_int_equal(ends, 10);
    assert_int_equal(come(NOISE_ENDS, "192.0.2.1", 60), 50);
}

#define NOISE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NOISE_TEST(test_few_are_logged_and_not_summed),
        NOISE_TEST(test_one_network_leaves_lines_to_others),
        NOISE_TEST(test_the_worst_are_known_among_very_many),
        NOISE_TEST(test_a_period_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
