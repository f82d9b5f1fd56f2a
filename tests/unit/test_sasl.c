#include "lib/sasl.h"

#include <openssl/evp.h>

#include "unit.h"

static void decode_prefix(struct span prefix)
{
    struct buf out = {0};
    buf_add_str(&out, "kept");
    bool ok = base64_decode(&out, prefix);
    assert_true(ok ? prefix.len % 4 == 0 : out.len == 4);
    buf_free(&out);
}

static void test_base64(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *coded;
    } rows[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xbe", "+/++"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct buf out = {0};
        base64_encode(&out, span_str(rows[i].plain));
        assert_string_equal(buf_str(&out), rows[i].coded);
        buf_clear(&out);
        assert_true(base64_decode(&out, span_str(rows[i].coded)));
        assert_string_equal(buf_str(&out), rows[i].plain);
        buf_free(&out);
        unit_prefixes(span_str(rows[i].coded), decode_prefix);
    }
}

/* FRONT-CASES 9, 26 */
static void test_bad_base64(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "=",
        "==",
        "====",
        "Z",
        "Zg",
        "Zg=",
        "Zg===",
        "Z===",
        "Zh==",
        "Zm9=",
        "Zm8",
        "*",
        "Zm9v ",
        " Zm9v",
        "Zm9v\n",
        "Zm 9v",
        "Zm-_",
        "Zm9v====",
        "Zg==Zg==",
        "Zg=v",
        "=Zg=",
        "Zm9vZg=",
        "\xff\xff\xff\xff",
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct buf out = {0};
        buf_add_str(&out, "kept");
        assert_false(base64_decode(&out, span_str(rows[i])));
        assert_string_equal(buf_str(&out), "kept");
        buf_free(&out);
    }
    struct buf out = {0};
    assert_false(base64_decode(&out, BYTES("Zm9\0")));
    buf_free(&out);
}

/* Against OpenSSL's, with bytes of all lengths. */
static void test_against_openssl(void **state)
{
    (void)state;
    uint8_t bytes[100];
    unsigned char coded[200];
    for (size_t n = 0; n <= sizeof bytes; n++) {
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)(i * 37 + n * 101);
        int len = EVP_EncodeBlock(coded, bytes, (int)n);
        struct buf out = {0};
        base64_encode(&out, span_of(bytes, n));
        assert_int_equal(out.len, len);
        assert_memory_equal(buf_span(&out).p ? buf_span(&out).p : coded, coded, (size_t)len);
        buf_clear(&out);
        assert_true(base64_decode(&out, span_of(coded, (size_t)len)));
        assert_int_equal(out.len, n);
        if (n > 0)
            assert_memory_equal(buf_span(&out).p, bytes, n);
        buf_free(&out);
    }
}

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
        cmocka_unit_test(test_base64),          cmocka_unit_test(test_bad_base64),
        cmocka_unit_test(test_against_openssl), cmocka_unit_test(test_plain),
        cmocka_unit_test(test_plain_write),     cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
