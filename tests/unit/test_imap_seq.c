#include "lib/imap_seq.h"

#include "unit.h"

static void expect(const struct imap_seq *s, const char *want)
{
    struct buf out = {0};
    imap_seq_write(&out, s);
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
}

static void test_add(void **state)
{
    (void)state;
    static const struct {
        struct imap_range add[5];
        const char *want;
    } rows[] = {
        {{{1, 1}}, "1"},
        {{{1, 1}, {2, 2}}, "1:2"},
        {{{2, 2}, {1, 1}}, "1:2"},
        {{{1, 1}, {3, 3}}, "1,3"},
        {{{1, 1}, {3, 3}, {2, 2}}, "1:3"},
        {{{5, 9}, {1, 3}, {4, 4}}, "1:9"},
        {{{5, 9}, {6, 7}}, "5:9"},
        {{{5, 9}, {5, 9}}, "5:9"},
        {{{5, 9}, {1, 20}}, "1:20"},
        {{{1, 2}, {5, 6}, {9, 10}, {3, 8}}, "1:10"},
        {{{1, 2}, {5, 6}, {9, 10}, {6, 9}}, "1:2,5:10"},
        {{{9, 5}}, "5:9"},
        {{{0, 0}}, ""},
        {{{0, 3}}, "1:3"},
        {{{UINT32_MAX, UINT32_MAX}, {1, 1}}, "1,4294967295"},
        {{{1, UINT32_MAX}, {7, 7}}, "1:4294967295"},
        {{{7, 7}, {1, UINT32_MAX}}, "1:4294967295"},
        {{{UINT32_MAX, UINT32_MAX}, {UINT32_MAX - 1, UINT32_MAX - 1}}, "4294967294:4294967295"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct imap_seq s = {0};
        for (size_t k = 0; k < 5; k++)
            imap_seq_add(&s, rows[i].add[k].first, rows[i].add[k].last);
        expect(&s, rows[i].want);
        imap_seq_free(&s);
    }
}

/* Against the simplest set there is. */
static void test_against_bits(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (int round = 0; round < 300; round++) {
        bool bits[70] = {false};
        struct imap_seq s = {0};
        uint64_t count = 0;
        for (int k = 0; k < 20; k++) {
            seed = seed * 1103515245 + 12345;
            uint32_t a = 1 + (seed >> 16) % 60, b = a + (seed >> 8) % 5;
            imap_seq_add(&s, a, b);
            for (uint32_t n = a; n <= b; n++)
                bits[n] = true;
            for (uint32_t n = 0; n < 70; n++)
                assert_int_equal(imap_seq_has(&s, n), bits[n]);
        }
        for (uint32_t n = 0; n < 70; n++)
            count += bits[n];
        assert_int_equal(imap_seq_count(&s), count);
        for (size_t i = 1; i < s.n; i++)
            assert_true(s.ranges[i].first > s.ranges[i - 1].last + 1);
        imap_seq_free(&s);
    }
}

static void parse_prefix(struct span prefix)
{
    struct imap_seq s = {0};
    imap_seq_add(&s, 77, 77);
    if (!imap_seq_parse(&s, prefix, 9, 100))
        expect(&s, "77"); /* as it was */
    imap_seq_free(&s);
}

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t star;
        const char *want; /* NULL: refused */
    } rows[] = {
        {"1", 0, "1"},
        {"1:3,7", 0, "1:3,7"},
        {"7,3:1", 0, "1:3,7"},
        {"3,2,1", 0, "1:3"},
        {"*", 9, "9"},
        {"5:*", 9, "5:9"},
        {"*:5", 9, "5:9"},
        {"20:*", 9, "9:20"}, /* RFC 3501 9: the last message is always in it */
        {"*", 0, NULL},
        {"1:*", 0, NULL},
        {"4294967295", 0, "4294967295"},
        {"4294967296", 0, NULL},
        {"1:4294967295", 0, "1:4294967295"},
        {"", 0, NULL},
        {"0", 0, NULL},
        {"01", 0, NULL},
        {"0:5", 0, NULL},
        {",", 0, NULL},
        {"1,", 0, NULL},
        {",1", 0, NULL},
        {"1,,2", 0, NULL},
        {"1:", 0, NULL},
        {":1", 0, NULL},
        {"1:2:3", 0, NULL},
        {"1 2", 0, NULL},
        {"-1", 0, NULL},
        {"$", 9, NULL},
        {"1:2,3:4,5", 9, "1:5"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct imap_seq s = {0};
        imap_seq_add(&s, 77, 77);
        assert_int_equal(imap_seq_parse(&s, span_str(rows[i].text), rows[i].star, 10), rows[i].want != NULL);
        expect(&s, rows[i].want ? rows[i].want : "77");
        imap_seq_free(&s);
        unit_prefixes(span_str(rows[i].text), parse_prefix);
    }
}

static void test_most_ranges(void **state)
{
    (void)state;
    struct imap_seq s = {0};
    assert_true(imap_seq_parse(&s, span_str("1,3,5"), 0, 3));
    assert_false(imap_seq_parse(&s, span_str("1,3,5,6"), 0, 3));
    expect(&s, "1,3,5");
    imap_seq_free(&s);
    /* Falling order, the worst for a sorted set: the time must not grow with the square. */
    struct buf text = {0};
    for (uint32_t n = 200000; n > 0; n--)
        buf_printf(&text, "%u%s", 2 * n, n > 1 ? "," : "");
    assert_true(imap_seq_parse(&s, buf_span(&text), 0, 200000));
    assert_int_equal(s.n, 200000);
    assert_int_equal(imap_seq_count(&s), 200000);
    buf_free(&text);
    imap_seq_free(&s);
}

static void note(void *arg, uint32_t n)
{
    buf_printf(arg, "%u ", n);
}

/* COPYUID pairs by order: it must not be lost. */
static void test_each(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t max;
        const char *want; /* NULL: refused */
    } rows[] = {
        {"3,1,2", 3, "3 1 2 "},
        {"304,319:320", 9, "304 319 320 "},
        {"3:1,7", 4, "1 2 3 7 "},
        {"1,1", 2, "1 1 "},
        {"4294967294:4294967295", 2, "4294967294 4294967295 "},
        {"3:1,7", 3, NULL},
        {"1:4294967295", 1000, NULL},
        {"1:4294967295,1:4294967295,1:4294967295", SIZE_MAX / 4294967296, NULL},
        {"*", 9, NULL},
        {"1,x", 9, NULL},
        {"", 9, NULL},
        {"0", 9, NULL},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct buf out = {0};
        assert_int_equal(imap_seq_each(span_str(rows[i].text), rows[i].max, note, &out),
                         rows[i].want != NULL);
        assert_string_equal(buf_str(&out), rows[i].want ? rows[i].want : "");
        buf_free(&out);
    }
}

static void test_remove(void **state)
{
    (void)state;
    static const struct {
        const char *set;
        uint32_t first, last;
        const char *want;
    } rows[] = {
        {"1:9", 1, 9, ""},
        {"1:9", 4, 6, "1:3,7:9"},
        {"1:9", 5, 5, "1:4,6:9"},
        {"1:9", 9, 20, "1:8"},
        {"3:9", 1, 3, "4:9"},
        {"1,3,5", 3, 3, "1,5"},
        {"1:4,7:9,12", 3, 8, "1:2,9,12"},
        {"1,3,5", 6, 9, "1,3,5"},
        {"1:4294967295", 2, 4294967294, "1,4294967295"},
        {"1:4294967295", 1, 4294967295, ""},
        {"1:4294967295", 4294967295, 4294967295, "1:4294967294"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct imap_seq set = {0};
        struct buf out = {0};
        assert_true(imap_seq_parse(&set, span_str(rows[i].set), 0, 9));
        imap_seq_remove(&set, rows[i].first, rows[i].last);
        imap_seq_write(&out, &set);
        assert_string_equal(buf_str(&out), rows[i].want);
        buf_free(&out);
        imap_seq_free(&set);
    }
}

static void test_sort(void **state)
{
    (void)state;
    struct imap_seq set = {0};
    struct buf out = {0};
    imap_seq_sort(&set);
    assert_int_equal(set.n, 0);
    imap_seq_push(&set, UINT32_MAX, UINT32_MAX);
    imap_seq_push(&set, 7, 9);
    imap_seq_push(&set, 10, 10);
    imap_seq_push(&set, 2, 3);
    imap_seq_push(&set, 8, 20);
    imap_seq_push(&set, 1, 1);
    imap_seq_push(&set, 1, 1);
    imap_seq_sort(&set);
    imap_seq_write(&out, &set);
    unit_same(buf_span(&out), "1:3,7:20,4294967295");
    buf_free(&out);
    imap_seq_free(&set);
}

static void test_join(void **state)
{
    struct imap_seq set = {0}, other = {0}, none = {0};
    struct buf out = {0};

    (void)state;
    assert_true(imap_seq_parse(&set, span_str("1:3,9"), 0, 9));
    assert_true(imap_seq_parse(&other, span_str("2:5,8,12"), 0, 9));
    imap_seq_join(&set, &other);
    imap_seq_join(&set, &none);
    imap_seq_write(&out, &set);
    assert_string_equal(buf_str(&out), "1:5,8:9,12");
    imap_seq_free(&set);
    imap_seq_free(&other);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),   cmocka_unit_test(test_against_bits),
        cmocka_unit_test(test_parse), cmocka_unit_test(test_most_ranges),
        cmocka_unit_test(test_each),  cmocka_unit_test(test_remove),
        cmocka_unit_test(test_sort),  cmocka_unit_test(test_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
