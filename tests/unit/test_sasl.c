#include "lib/sasl.h"

#include "unit.h"

/* What the last message was parsed from: the credential points into it. */
static struct buf parsed;

static bool parses(const struct sasl_mechanism *m, struct span message, struct credential *p)
{
    buf_wipe(&parsed);
    buf_add_span(&parsed, message);
    return sasl_parse(m, &parsed, p);
}

static void parse_prefix(struct span prefix)
{
    struct credential p;
    if (parses(SASL_PLAIN, prefix, &p))
        assert_int_equal(p.authzid.len + p.authcid.len + p.secret.len + 2, prefix.len);
}

static void test_plain(void **state)
{
    (void)state;
    struct credential p;
    struct span whole = BYTES("adm\0ann\0pw \xff");
    assert_true(parses(SASL_PLAIN, whole, &p));
    unit_same(p.authzid, "adm");
    unit_same(p.authcid, "ann");
    unit_same(p.secret, "pw \xff");
    unit_prefixes(whole, parse_prefix);
    assert_true(parses(SASL_PLAIN, BYTES("\0ann\0pw"), &p));
    assert_int_equal(p.authzid.len, 0);
    unit_same(p.authcid, "ann");
    unit_same(p.secret, "pw");
    /* FRONT-CASES 8, 9 */
    assert_false(parses(SASL_PLAIN, span_of(NULL, 0), &p));
    assert_false(parses(SASL_PLAIN, BYTES("ann"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("ann\0pw"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("\0ann"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("\0ann\0"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("\0\0pw"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("\0\0"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("\0ann\0pa\0ss12"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("\0ann\0pw\0"), &p));
    assert_false(parses(SASL_PLAIN, BYTES("a\0b\0c\0d"), &p));
}

/* What came in two pieces is the same password. */
static void test_login(void **state)
{
    (void)state;
    const struct sasl_mechanism *login = sasl_find(span_str("LOGIN"));
    struct credential p;
    assert_true(parses(login, BYTES("ann\0pw \xff"), &p));
    assert_ptr_equal(p.mechanism, SASL_PLAIN);
    unit_same(p.authcid, "ann");
    unit_same(p.secret, "pw \xff");
    assert_int_equal(p.authzid.len, 0);
    assert_false(parses(login, BYTES(""), &p));
    assert_false(parses(login, BYTES("ann"), &p));
    assert_false(parses(login, BYTES("ann\0"), &p));
    assert_false(parses(login, BYTES("\0pw"), &p));
    assert_false(parses(login, BYTES("ann\0pa\0ss12"), &p));
    assert_false(parses(login, BYTES("an\0n\0pw"), &p));
}

static bool writes(struct buf *out, struct span authzid, struct span authcid, struct span secret)
{
    struct credential c = {SASL_PLAIN, authcid, authzid, secret};
    return sasl_write(out, &c);
}

static void test_plain_write(void **state)
{
    (void)state;
    struct buf out = {0};
    struct credential p;
    assert_true(writes(&out, span_str("ann"), span_str("adm"), span_str("pw")));
    assert_true(span_eq(buf_span(&out), BYTES("ann\0adm\0pw")));
    assert_true(parses(SASL_PLAIN, buf_span(&out), &p));
    assert_ptr_equal(p.mechanism, SASL_PLAIN);
    unit_same(p.authzid, "ann");
    unit_same(p.authcid, "adm");
    unit_same(p.secret, "pw");
    size_t before = out.len;
    assert_false(writes(&out, BYTES("\0"), span_str("a"), span_str("b")));
    assert_false(writes(&out, span_str("a"), BYTES("x\0"), span_str("b")));
    assert_false(writes(&out, span_str("a"), span_str("b"), BYTES("x\0y")));
    assert_int_equal(out.len, before);
    buf_wipe(&out);
}

static void test_table(void **state)
{
    (void)state;
    assert_ptr_equal(sasl_find(span_str("plain")), SASL_PLAIN);
    assert_string_equal(SASL_PLAIN->name, "PLAIN");
    assert_string_equal(sasl_find(span_str("login"))->name, "LOGIN");
    assert_null(sasl_find(span_str("PLAI")));
    assert_null(sasl_find(span_str("")));
}

/* The copy stands by itself, and nothing of it is left. */
static void test_copy(void **state)
{
    (void)state;
    char name[] = "ann", password[] = "secret";
    struct credential borrowed = credential_of_password(name, password), own;
    borrowed.authzid = BYTES("bob");
    credential_copy(&own, &borrowed);
    memset(name, 'x', 3);
    memset(password, 'x', 6);
    assert_ptr_equal(own.mechanism, SASL_PLAIN);
    unit_same(own.authcid, "ann");
    unit_same(own.authzid, "bob");
    unit_same(own.secret, "secret");
    credential_wipe(&own);
    assert_null(own.mechanism);
    assert_int_equal(own.secret.len, 0);
    credential_wipe(&own);
    struct credential empty = credential_of_password(NULL, NULL);
    credential_copy(&own, &empty);
    assert_int_equal(own.authcid.len + own.authzid.len + own.secret.len, 0);
    credential_wipe(&own);
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
        cmocka_unit_test(test_plain), cmocka_unit_test(test_login), cmocka_unit_test(test_plain_write),
        cmocka_unit_test(test_table), cmocka_unit_test(test_copy),  cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
