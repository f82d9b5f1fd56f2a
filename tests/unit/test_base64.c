#include "lib/base64.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_bad_base64),
        cmocka_unit_test(test_against_openssl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
