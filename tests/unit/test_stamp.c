#include "migrator/mailbox/stamp.h"

#include "unit.h"

static void test_spelling(void **state)
{
    (void)state;
    static const struct stamp stamps[] = {
        {.terms = 3},
        {.terms = 3, .made = true},
        {.terms = 3, .equal = true, .source = {7, 20, 18, 105}, .target = {9, 21, 18, 44}, .bytes = 81000},
        {.terms = 3,
         .equal = true,
         .made = true,
         .source = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT64_MAX},
         .target = {1, 1, 0, 0},
         .bytes = UINT64_MAX},
        {.terms = 3, .base = {9, UINT64_MAX}},
        {.terms = 3,
         .equal = true,
         .base = {9, 40},
         .source = {7, 20, 18, 105},
         .target = {9, 21, 18, 44},
         .bytes = 81000},
        {.terms = 3,
         .equal = true,
         .base = {8, 40},
         .source = {7, 20, 18, 105},
         .target = {9, 21, 18, 44},
         .bytes = 81000},
    };
    static const char *const texts[] = {
        "1 terms=3 made=0",
        "1 terms=3 made=1",
        "1 terms=3 made=0 equal=7,20,18,105;9,21,18,44 bytes=81000",
        "1 terms=3 made=1 equal=4294967295,4294967295,4294967295,18446744073709551615;1,1,0,0 bytes=18446744073709551615",
        "1 terms=3 made=0 base=9,18446744073709551615",
        "1 terms=3 made=0 base=9,40 equal=7,20,18,105;9,21,18,44 bytes=81000",
        "1 terms=3 made=0 base=8,40 equal=7,20,18,105;9,21,18,44 bytes=81000",
    };
    for (size_t i = 0; i < COUNTOF(stamps); i++) {
        struct buf out = {0};
        struct stamp s;
        stamp_encode(&out, &stamps[i]);
        assert_string_equal(buf_str(&out), texts[i]);
        assert_true(stamp_decode(buf_span(&out), &s));
        assert_true(stamp_same(&s, &stamps[i]));
        for (size_t k = 0; k < COUNTOF(stamps); k++)
            assert_int_equal(stamp_same(&s, &stamps[k]), i == k);
        buf_free(&out);
    }
}

/* Cut off anywhere, or with more behind it, it is none. */
static void test_nothing_but_that(void **state)
{
    (void)state;
    static const char good[] = "1 terms=3 made=0 equal=7,20,18,105;9,21,18,44 bytes=81000";
    static const char *const bad[] = {
        "2 terms=3 made=0",
        "1 terms=3 made=2",
        "1 terms=3 made=0 ",
        "1 terms=3 made=0 base=9",
        "1 terms=3 made=0 base=9,0",
        "1 terms=3 made=0 base=4294967296,1",
        "1 terms=3 made=0 equal=7,20,18,105;9,21,18,44 bytes=81000 base=9,40",
        "1 terms=3 made=0 equal=7,20,18,105;9,21,18,44 bytes=81000 ",
        "1 terms=3 made=0 equal=7,20,18,105;9,21,18,44 bytes=",
        "1 terms=3 made=0 equal=4294967296,20,18,105;9,21,18,44 bytes=1",
        "1 terms=3 made=0 equal=7,-20,18,105;9,21,18,44 bytes=1",
        "1 terms=3 made=0 equal=7,20,18,18446744073709551616;9,21,18,44 bytes=1"};
    struct stamp s = {.bytes = 5};
    for (size_t n = 0; n + 1 < sizeof good; n++) {
        bool whole = n == strlen("1 terms=3 made=0") ||
                     n > strlen("1 terms=3 made=0 equal=7,20,18,105;9,21,18,44 bytes=");
        assert_int_equal(stamp_decode(span_of(good, n), &s), whole);
    }
    for (size_t i = 0; i < COUNTOF(bad); i++) {
        s.bytes = 5;
        assert_false(stamp_decode(span_str(bad[i]), &s));
        assert_int_equal(s.bytes, 5);
    }
}

/* What a server does not tell proves nothing, even if it does not tell it twice. */
static void test_proof(void **state)
{
    (void)state;
    static const struct stamp_side good = {7, 20, 18, 105};
    static const struct stamp_side others[] = {
        {8, 20, 18, 105}, {7, 21, 18, 105}, {7, 20, 17, 105}, {7, 20, 18, 106}};
    static const struct stamp_side untold[] = {{0, 20, 18, 105}, {7, 0, 18, 105}, {7, 20, 18, 0}};
    assert_true(stamp_side_same(&good, &good));
    for (size_t i = 0; i < COUNTOF(others); i++)
        assert_false(stamp_side_same(&good, &others[i]));
    for (size_t i = 0; i < COUNTOF(untold); i++)
        assert_false(stamp_side_same(&untold[i], &untold[i]));
    static const struct stamp_side empty = {7, 1, 0, 1};
    assert_true(stamp_side_same(&empty, &empty));
    assert_true(stamp_terms("old", "new") == stamp_terms("old", "new"));
    assert_true(stamp_terms("old", "new") != stamp_terms("new", "old"));
    assert_true(stamp_terms("ol", "dnew") != stamp_terms("old", "new"));
    assert_true(stamp_terms_and(stamp_terms("old", "new"), "larger:1M") != stamp_terms("old", "new"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spelling),
        cmocka_unit_test(test_nothing_but_that),
        cmocka_unit_test(test_proof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
