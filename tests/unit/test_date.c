#include "migrator/mailbox/date.h"

#include "unit.h"

static const struct {
    const char *text;
    int64_t instant;
    int zone;
    const char *formatted;
} good[] = {
    {" 1-Jan-2020 00:00:00 +0000", 1577836800, 0, " 1-Jan-2020 00:00:00 +0000"},
    {"01-Jan-2020 00:00:00 +0000", 1577836800, 0, " 1-Jan-2020 00:00:00 +0000"},
    {"1-Jan-2020 00:00:00 +0000", 1577836800, 0, " 1-Jan-2020 00:00:00 +0000"},
    {"01-JAN-2020 00:00:00 UT", 1577836800, 0, " 1-Jan-2020 00:00:00 +0000"},
    {"01-jan-2020 00:00:00 UTC", 1577836800, 0, " 1-Jan-2020 00:00:00 +0000"},
    {"01-Jan-2020 00:00:00 GMT", 1577836800, 0, " 1-Jan-2020 00:00:00 +0000"},
    {"01-Jan-2020 00:00:00", 1577836800, 0, " 1-Jan-2020 00:00:00 +0000"},
    {"01-Jan-2020 00:00:00 -0000", 1577836800, 0, " 1-Jan-2020 00:00:00 +0000"},
    {"31-Dec-2019 16:00:00 PST", 1577836800, -480, "31-Dec-2019 16:00:00 -0800"},
    {"01-Jan-2020 05:30:00 +0530", 1577836800, 330, " 1-Jan-2020 05:30:00 +0530"},
    {"31-Dec-2019 20:30:00 -0330", 1577836800, -210, "31-Dec-2019 20:30:00 -0330"},
    {"01-Jan-1970 00:00:00 +0000", 0, 0, " 1-Jan-1970 00:00:00 +0000"},
    {"31-Dec-1969 23:59:59 +0000", -1, 0, "31-Dec-1969 23:59:59 +0000"},
    {"30-Dec-1899 00:00:00 +0000", -2209161600, 0, "30-Dec-1899 00:00:00 +0000"},
    {"19-Jan-2038 03:14:08 +0000", 2147483648, 0, "19-Jan-2038 03:14:08 +0000"},
    {"29-Feb-2000 12:00:00 +0000", 951825600, 0, "29-Feb-2000 12:00:00 +0000"},
    {"31-Dec-9999 23:59:59 +0000", 253402300799, 0, "31-Dec-9999 23:59:59 +0000"},
    {" 1-Jan-0001 00:00:00 +0000", -62135596800, 0, " 1-Jan-0001 00:00:00 +0000"},
    /* A leap second is the first one of the next minute. */
    {"31-Dec-2016 23:59:60 +0000", 1483228800, 0, " 1-Jan-2017 00:00:00 +0000"},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNTOF(good); i++) {
        struct mail_date d;
        struct buf out = {0};
        assert_true(date_parse(span_str(good[i].text), &d));
        assert_int_equal(d.instant, good[i].instant);
        assert_int_equal(d.zone, good[i].zone);
        date_format(&out, d);
        assert_string_equal(buf_str(&out), good[i].formatted);
        buf_free(&out);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        " ",
        "NIL",
        "now",
        "00-Jan-2020 00:00:00 +0000",
        "32-Jan-2020 00:00:00 +0000",
        "29-Feb-2019 00:00:00 +0000",
        "29-Feb-1900 00:00:00 +0000",
        "31-Apr-2020 00:00:00 +0000",
        "01-Foo-2020 00:00:00 +0000",
        "01-Jan-20 00:00:00 +0000",
        "01-Jan-0000 00:00:00 +0000",
        "01-Jan-2020 24:00:00 +0000",
        "01-Jan-2020 00:60:00 +0000",
        "01-Jan-2020 00:00:61 +0000",
        "01-Jan-2020 00:00:00 +000",
        "01-Jan-2020 00:00:00 +00000",
        "01-Jan-2020 00:00:00 +0060",
        "01-Jan-2020 00:00:00 XYZ",
        "01-Jan-2020 00:00:00+0000",
        "01-Jan-2020 00:00 +0000",
        "01/Jan/2020 00:00:00 +0000",
        "  1-Jan-2020 00:00:00 +0000",
        "001-Jan-2020 00:00:00 +0000",
        "01-Jan-20200 00:00:00 +0000",
        "-1-Jan-2020 00:00:00 +0000",
        "01-Jan-2020 00:00:00 +0000 ",
    };
    for (size_t i = 0; i < COUNTOF(texts); i++) {
        struct mail_date d;
        assert_false(date_parse(span_str(texts[i]), &d));
    }
}

static void check_prefix(struct span prefix)
{
    struct mail_date d;
    bool whole = prefix.len == 20 || prefix.len == 21 || prefix.len == 26; /* without a zone, with */
    assert_int_equal(date_parse(prefix, &d), whole);
}

static void test_prefixes(void **state)
{
    (void)state;
    unit_prefixes(span_str("01-Jan-2020 00:00:00 +0100"), check_prefix);
}

/* Every day of four centuries, and a zone to each: what is written is read back. */
static void test_round_trip(void **state)
{
    (void)state;
    static const int16_t zones[] = {0, 60, -60, 330, -210, 840, -720, 1};
    for (int64_t day = -80000; day < 70000; day += 1) {
        struct mail_date d = {day * 86400 + 86399 * (day & 1), zones[(day + 80000) % 8]}, back;
        struct buf out = {0};
        date_format(&out, d);
        assert_true(date_parse(buf_span(&out), &back));
        assert_int_equal(back.instant, d.instant);
        assert_int_equal(back.zone, d.zone);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
