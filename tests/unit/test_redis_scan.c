#include "lib/redis_scan.h"
#include "unit.h"

static const struct redis_limits limits = {
    .element_max = 20, .count_max = 8, .bytes_max = 100, .line_max = 40};

static void feed_good(const struct span *pieces, size_t n, void *arg)
{
    struct redis_scan s = {0};
    const char *why = NULL;
    (void)arg;
    for (size_t i = 0; i < n; i++)
        assert_true(redis_scan_feed(&s, &limits, pieces[i], &why));
    assert_int_equal(s.depth, 0);
    assert_int_equal(s.count, 0);
    assert_int_equal(s.line, 0);
}

static void feed_bad(const struct span *pieces, size_t n, void *arg)
{
    struct redis_scan s = {0};
    const char *why = NULL;
    bool good = true;
    for (size_t i = 0; good && i < n; i++)
        good = redis_scan_feed(&s, &limits, pieces[i], &why);
    assert_false(good);
    assert_string_equal(why, (const char *)arg);
}

static void test_answers(void **state)
{
    (void)state;
    unit_splits(BYTES("+OK\r\n"), feed_good, NULL);
    unit_splits(BYTES("-ERR no\r\n:12\r\n$-1\r\n*-1\r\n*0\r\n$0\r\n\r\n"), feed_good, NULL);
    unit_splits(BYTES("$5\r\na\r\nbc\r\n*2\r\n$4\r\n$99\n\r\n:1\r\n"), feed_good, NULL);
    unit_splits(BYTES("*3\r\n*2\r\n:1\r\n*0\r\n+x\r\n*1\r\n*1\r\n$1\r\n*\r\n"), feed_good, NULL);
    unit_splits(BYTES("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*2\r\n*0\r\n:1\r\n:1\r\n"), feed_good, NULL);
    /* Each answer has its own count and its own bytes. */
    unit_splits(
        BYTES(
            "*8\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n*8\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n"
            ":1\r\n:1\r\n$20\r\n12345678901234567890\r\n$20\r\n12345678901234567890\r\n"
            "$20\r\n12345678901234567890\r\n$20\r\n12345678901234567890\r\n"),
        feed_good, NULL);
}

static void test_limits(void **state)
{
    char *string = (char *)"a string of wrong or too great a length";
    char *array = (char *)"an array of wrong or too great a length";
    (void)state;
    unit_splits(BYTES("$21\r\n"), feed_bad, string);
    unit_splits(BYTES("$-2\r\n"), feed_bad, string);
    unit_splits(BYTES("$\r\n"), feed_bad, string);
    unit_splits(BYTES("$1x\r\n"), feed_bad, string);
    unit_splits(BYTES("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"), feed_bad,
                (char *)"arrays nested too deep");
    unit_splits(BYTES("*9\r\n"), feed_bad, array);
    unit_splits(BYTES("*18446744073709551616\r\n"), feed_bad, array);
    unit_splits(BYTES("*4294967297\r\n"), feed_bad, array);
    unit_splits(BYTES("*4\r\n*4\r\n*1\r\n"), feed_bad, array);
    unit_splits(BYTES("$000000000000000000000000001\r\n"), feed_bad, (char *)"a length of too many digits");
    unit_splits(BYTES("\r\n"), feed_bad, (char *)"an empty line");
    unit_splits(BYTES("HTTP/1.1 200 OK\r\n"), feed_bad, (char *)"a type that RESP 2 does not have");
    unit_splits(BYTES("%1\r\n"), feed_bad, (char *)"a type that RESP 2 does not have");
    unit_splits(BYTES("+1234567890123456789012345678901234567890x"), feed_bad, (char *)"too long a line");
    unit_splits(BYTES("*8\r\n$20\r\n12345678901234567890\r\n$20\r\n12345678901234567890\r\n"
                      "$20\r\n12345678901234567890\r\n$20\r\n12345678901234567890\r\n"),
                feed_bad, (char *)"too long an answer");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers), cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
