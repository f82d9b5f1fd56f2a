#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/netstring.h"

enum { MAX = 20 };

static enum netstring_rc netstring_of(const char *in, struct span *text, size_t *used)
{
    return netstring_take(span_str(in), MAX, text, used);
}

static void test_whole_and_in_parts(void **state)
{
    static const char in[] = "9:transport,3:x y,";
    struct span text = {0};
    size_t used = 0;
    (void)state;
    for (size_t n = 0; n < 12; n++)
        assert_int_equal(netstring_take(span_of(in, n), MAX, &text, &used),
                         n < 12 ? NETSTRING_MORE : NETSTRING_DONE);
    for (size_t n = 12; n < sizeof in; n++) {
        assert_int_equal(netstring_take(span_of(in, n), MAX, &text, &used), NETSTRING_DONE);
        assert_int_equal(used, 12);
        assert_true(span_is(text, "transport"));
    }
    assert_int_equal(netstring_of(in + 12, &text, &used), NETSTRING_DONE);
    assert_true(span_is(text, "x y"));
    assert_int_equal(used, 6);
    assert_int_equal(netstring_of("0:,", &text, &used), NETSTRING_DONE);
    assert_int_equal(text.len, 0);
}

/* What can't become one is told by its first wrong byte, so that nobody is waited for. */
static void test_none(void **state)
{
    static const char *const bad[] = {
        ":,",
        "x",
        " 1:a,",
        "-1:a,",
        "+1:a,",
        "1;a,",
        "1:ab",
        "01:a,",
        "00:,",
        "0x1",
        "21:",
        "21",
        "99999999999999999999999",
        "1:a\n",
    };
    struct span text;
    size_t used;
    (void)state;
    for (size_t i = 0; i < COUNTOF(bad); i++)
        assert_int_equal(netstring_of(bad[i], &text, &used), NETSTRING_BAD);
    assert_int_equal(netstring_of("20:", &text, &used), NETSTRING_MORE);
}

static void test_any_byte_goes_there_and_back(void **state)
{
    uint8_t all[256];
    struct buf out = {0};
    struct span text = {0};
    size_t used = 0;
    (void)state;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    netstring_write(&out, span_of(all, sizeof all));
    assert_int_equal(netstring_take(buf_span(&out), sizeof all, &text, &used), NETSTRING_DONE);
    assert_true(span_eq(text, span_of(all, sizeof all)));
    assert_int_equal(used, out.len);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_and_in_parts),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_any_byte_goes_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
