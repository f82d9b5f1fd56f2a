#include "lib/sasl.h"

#include "unit.h"

static void parse_prefix(struct span prefix)
{
    struct sasl_plain p;
    if (sasl_plain_parse(prefix, &p))
        assert_int_equal(p.authzid.len + p.authcid.len + p.password.len + 2, prefix.len);
}

static void test_plain(void **state)
{
    (void)state;
    struct sasl_plain p;
    struct span whole = BYTES("adm\0ann\0pw \xff");
    assert_true(sasl_plain_parse(whole, &p));
    unit_same(p.authzid, "adm");
    unit_same(p.authcid, "ann");
    unit_same(p.password, "pw \xff");
    unit_prefixes(whole, parse_prefix);
    assert_true(sasl_plain_parse(BYTES("\0ann\0pw"), &p));
    assert_int_equal(p.authzid.len, 0);
    unit_same(p.authcid, "ann");
    unit_same(p.password, "pw");
    /* FRONT-CASES 8, 9 */
    assert_false(sasl_plain_parse(span_of(NULL, 0), &p));
    assert_false(sasl_plain_parse(BYTES("ann"), &p));
    assert_false(sasl_plain_parse(BYTES("ann\0pw"), &p));
    assert_false(sasl_plain_parse(BYTES("\0ann"), &p));
    assert_false(sasl_plain_parse(BYTES("\0ann\0"), &p));
    assert_false(sasl_plain_parse(BYTES("\0\0pw"), &p));
    assert_false(sasl_plain_parse(BYTES("\0\0"), &p));
    assert_false(sasl_plain_parse(BYTES("\0ann\0pa\0ss12"), &p));
    assert_false(sasl_plain_parse(BYTES("\0ann\0pw\0"), &p));
    assert_false(sasl_plain_parse(BYTES("a\0b\0c\0d"), &p));
}

static void test_plain_write(void **state)
{
    (void)state;
    struct buf out = {0};
    struct sasl_plain p;
    assert_true(sasl_plain_write(&out, span_str("ann"), span_str("adm"), span_str("pw")));
    assert_true(sasl_plain_parse(buf_span(&out), &p));
    unit_same(p.authzid, "ann");
    unit_same(p.authcid, "adm");
    unit_same(p.password, "pw");
    size_t before = out.len;
    assert_false(sasl_plain_write(&out, BYTES("\0"), span_str("a"), span_str("b")));
    assert_false(sasl_plain_write(&out, span_str("a"), BYTES("x\0"), span_str("b")));
    assert_false(sasl_plain_write(&out, span_str("a"), span_str("b"), BYTES("x\0y")));
    assert_int_equal(out.len, before);
    buf_wipe(&out);
}

/* FRONT-CASES 6, 11 */
static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "ann@example.org", "a b", "\"x\\ {5} %s *", "\xc3\xa4nn",
                                       "~", "aaaaaaaaaaaaaaaa"};
    static const char *const bad[] = {"",        "a\r\nX1 DELETE INBOX", "a\n", "\r", "a\x01", "\x7f", "a\tb",
                                      "\x1b[1m", "aaaaaaaaaaaaaaaaa"};
    static const char *const bad_names[] = {"\xe4nn", "\xc0\x80", "\xed\xa0\x80", "a\xc3"};
    for (size_t i = 0; i < COUNTOF(good); i++) {
        assert_true(login_name_ok(span_str(good[i]), 16));
        assert_true(login_password_ok(span_str(good[i]), 16));
    }
    for (size_t i = 0; i < COUNTOF(bad); i++) {
        assert_false(login_name_ok(span_str(bad[i]), 16));
        assert_false(login_password_ok(span_str(bad[i]), 16));
    }
    for (size_t i = 0; i < COUNTOF(bad_names); i++) {
        assert_false(login_name_ok(span_str(bad_names[i]), 16));
        assert_true(login_password_ok(span_str(bad_names[i]), 16));
    }
    assert_false(login_name_ok(BYTES("a\0"), 16));
    assert_false(login_password_ok(BYTES("pa\0ss12"), 16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_plain_write),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
