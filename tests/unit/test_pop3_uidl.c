#include "lib/pop3_uidl.h"

#include "unit.h"

static const char *format_of(uint32_t uidvalidity, const char *const *list, size_t n)
{
    struct pop3_uidls u = {.fits = POP3_UIDL_ALL};
    struct pop3_numbers m = {.uidvalidity = uidvalidity, .uidnext = 1000};
    for (size_t i = 0; i < n; i++)
        pop3_uidl_take(&u, &m, span_str(list[i]));
    const char *format = pop3_uidl_format(&u);
    return format ? format : "none";
}

static void test_formats(void **state)
{
    static const struct {
        const char *list[2], *format;
    } rows[] = {
        {{"000000014bc1ecd3", "0000000f4bc1ecd3"}, "%08xu%08xv"},
        {{"4bc1ecd300000001", "4bc1ecd30000000f"}, "%08xv%08xu"},
        {{"1271000275.1", "1271000275.15"}, "%v.%u"},
        {{"1271000275-1", "1271000275-999"}, "%v-%u"},
        {{"UID1-1271000275", "UID15-1271000275"}, "UID%u-%v"},
        {{"1", "15"}, "%u"},
        {{"15", "1"}, "none"},                              /* they do not rise */
        {{"1", "1000"}, "none"},                            /* not below UIDNEXT */
        {{"1", "1271000275.2"}, "none"},                    /* two formats */
        {{"1271000276.1", "1271000276.2"}, "none"},         /* of another UIDVALIDITY */
        {{"000000014BC1ECD3", "0000000F4BC1ECD3"}, "none"}, /* Dovecot writes small letters */
        {{"", "x"}, "none"},
    };
    (void)state;
    for (size_t i = 0; i < COUNTOF(rows); i++)
        assert_string_equal(format_of(1271000275, rows[i].list, 2), rows[i].format);
    assert_string_equal(format_of(1271000275, NULL, 0), "none");
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(format_of(0, rows[i].list, 2), rows[i].format);
        assert_string_equal(format_of(0, rows[i].list, 1), rows[i].format);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_formats)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
