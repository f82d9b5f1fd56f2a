#include "lib/mutf7.h"

#include "unit.h"

static void expect(bool (*fn)(struct buf *, struct span), struct span in, const char *want)
{
    struct buf out = {0};
    buf_add_str(&out, "kept ");
    assert_int_equal(fn(&out, in), want != NULL);
    assert_int_equal(out.len, 5 + (want ? strlen(want) : 0));
    assert_memory_equal(buf_str(&out), "kept ", 5);
    if (want)
        assert_string_equal(buf_str(&out) + 5, want);
    buf_free(&out);
}

/* What one direction accepts, the other gives back, at every prefix. */
static void both_ways(struct span prefix)
{
    struct buf utf8 = {0}, again = {0};
    if (mutf7_to_utf8(&utf8, prefix)) {
        assert_true(utf8_is_valid(buf_span(&utf8)));
        assert_true(mutf7_from_utf8(&again, buf_span(&utf8)));
        assert_true(span_eq(buf_span(&again), prefix));
    }
    buf_free(&utf8);
    buf_free(&again);
    if (mutf7_from_utf8(&utf8, prefix)) {
        assert_true(mutf7_to_utf8(&again, buf_span(&utf8)));
        assert_true(span_eq(buf_span(&again), prefix));
    }
    buf_free(&utf8);
    buf_free(&again);
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *mutf7, *utf8;
    } rows[] = {
        {"", ""},
        {"INBOX", "INBOX"},
        {"a b~!\"\\%*{", "a b~!\"\\%*{"},
        {"Tom &- Jerry", "Tom & Jerry"},
        {"&-&-", "&&"},
        {"&--", "&-"},
        {"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
        {"&APw-&-&APw-", "\xc3\xbc&\xc3\xbc"},
        {"&APwA5A-", "\xc3\xbc\xc3\xa4"},
        {"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
         "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
        {"&2D3eAA-", "\xf0\x9f\x98\x80"},
        {"&2D3eANg93gA-x", "\xf0\x9f\x98\x80\xf0\x9f\x98\x80x"},
        {"&2,,f,w-", "\xf4\x8f\xbf\xbf"},
        {"&2ADcAA-", "\xf0\x90\x80\x80"},
        {"&4AA-", "\xee\x80\x80"},
        {"&1,8-", "\xed\x9f\xbf"},
        {"&AAk-", "\t"},
        {"&AH8-", "\x7f"},
        {"&,,8-", "\xef\xbf\xbf"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        expect(mutf7_to_utf8, span_str(rows[i].mutf7), rows[i].utf8);
        expect(mutf7_from_utf8, span_str(rows[i].utf8), rows[i].mutf7);
        unit_prefixes(span_str(rows[i].mutf7), both_ways);
        unit_prefixes(span_str(rows[i].utf8), both_ways);
    }
}

static void test_bad_names(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "&",          "a&",       "&A",       "&AP",         "&APw",       "x&APw", /* unfinished */
        "&A-",        "&AP-",     "&AAA-",                                          /* no whole unit; NUL */
        "&APwA-",     "&APwAA-",  "&APwAAA-", "&APwA5AD8A-",                        /* digits too many */
        "&APx-",                                                                    /* bits behind the end */
        "&AGE-",      "&APwAYQ-", "&ACY-",    "&AC0-",       "&ACA-",      "&AH4-", /* printable ASCII */
        "&APw-&AOQ-",                                                               /* superfluous shift */
        "&2D0-",      "&2D0AYQ-", "&3gA-",    "&3gDYPQ-",    "&2D3YPd4A-",          /* lone surrogates */
        "&AP/-",      "&A=-",     "&APw=-",   "&A P-",       "&\xc3\xbc-", "&AP&-", /* not of the alphabet */
        "\xc3\xbc",   "a\xff",    "\x80",                                           /* 8-bit */
        "a\tb",       "\x7f",     "\r\n",                                           /* controls */
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        expect(mutf7_to_utf8, span_str(rows[i]), NULL);
        unit_prefixes(span_str(rows[i]), both_ways);
    }
    expect(mutf7_to_utf8, BYTES("a\0b"), NULL);
    expect(mutf7_to_utf8, BYTES("&A\0w-"), NULL);
}

static void test_bad_utf8(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "\x80",
        "\xbf",
        "\xc3",
        "\xc3x",
        "\xe2\x82",
        "\xe2\x82x",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xff",
        "\xf8\x90\x80\x80",
        "\xf0\x9f\x98",
        "a\xc3\xbc\xfe",
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        assert_false(utf8_is_valid(span_str(rows[i])));
        expect(mutf7_from_utf8, span_str(rows[i]), NULL);
        unit_prefixes(span_str(rows[i]), both_ways);
    }
    assert_false(utf8_is_valid(BYTES("a\0")));
    expect(mutf7_from_utf8, BYTES("a\0"), NULL);
    static const char *const good[] = {"",
                                       "a\r\n\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < COUNTOF(good); i++)
        assert_true(utf8_is_valid(span_str(good[i])));
}

/* Every character there is, alone and between letters. */
static void test_all_characters(void **state)
{
    (void)state;
    for (uint32_t c = 1; c <= 0x10ffff; c += c < 0x3000 ? 1 : 61) {
        if (c >= 0xd800 && c < 0xe000)
            continue;
        uint8_t u[6] = {'a'};
        size_t n = 1;
        if (c < 0x80) {
            u[n++] = (uint8_t)c;
        } else if (c < 0x800) {
            u[n++] = (uint8_t)(0xc0 | c >> 6);
            u[n++] = (uint8_t)(0x80 | (c & 0x3f));
        } else if (c < 0x10000) {
            u[n++] = (uint8_t)(0xe0 | c >> 12);
            u[n++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
            u[n++] = (uint8_t)(0x80 | (c & 0x3f));
        } else {
            u[n++] = (uint8_t)(0xf0 | c >> 18);
            u[n++] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
            u[n++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
            u[n++] = (uint8_t)(0x80 | (c & 0x3f));
        }
        u[n++] = 'z';
        struct buf coded = {0}, again = {0};
        assert_true(mutf7_from_utf8(&coded, span_of(u, n)));
        assert_true(mutf7_to_utf8(&again, buf_span(&coded)));
        assert_true(span_eq(buf_span(&again), span_of(u, n)));
        for (size_t i = 0; i < coded.len; i++)
            assert_in_range(buf_span(&coded).p[i], 0x20, 0x7e);
        buf_free(&coded);
        buf_free(&again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_bad_utf8),
        cmocka_unit_test(test_all_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
