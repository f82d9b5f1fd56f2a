#include "lib/percent.h"

#include "unit.h"

static void test_hex(void **state)
{
    (void)state;
    assert_int_equal(hex_byte(BYTES("00"), HEX_CAPITALS), 0);
    assert_int_equal(hex_byte(BYTES("fF"), HEX_BOTH), 255);
    assert_int_equal(hex_byte(BYTES("3Dx"), HEX_CAPITALS), 0x3d);
    assert_int_equal(hex_byte(BYTES("3d"), HEX_SMALL), 0x3d);
    assert_int_equal(hex_byte(BYTES("3d"), HEX_CAPITALS), -1);
    assert_int_equal(hex_byte(BYTES("3D"), HEX_SMALL), -1);
    static const char *const bad[] = {"", "3", "g0", "0g", " 3", "3 ", "-1", "@0", "0:", "G0", "`0"};
    for (size_t i = 0; i < COUNTOF(bad); i++)
        assert_int_equal(hex_byte(span_str(bad[i]), HEX_BOTH), -1);
    assert_int_equal(hex_byte(span_of(NULL, 0), HEX_BOTH), -1);
}

static void test_every_byte_comes_back(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        struct buf text = {0};
        uint8_t byte;
        bool escaped;
        percent_write(&text, (uint8_t)c);
        assert_int_equal(text.len, 3);
        struct span in = buf_span(&text);
        assert_true(percent_take(&in, HEX_CAPITALS, &byte, &escaped));
        assert_true(escaped);
        assert_int_equal(byte, c);
        assert_int_equal(in.len, 0);
        buf_free(&text);
    }
}

static void test_plain_bytes_and_stray_ones(void **state)
{
    (void)state;
    struct span in = BYTES("a\0%2");
    uint8_t byte = 0;
    bool escaped = true;
    assert_true(percent_take(&in, HEX_BOTH, &byte, &escaped));
    assert_int_equal(byte, 'a');
    assert_false(escaped);
    assert_true(percent_take(&in, HEX_BOTH, &byte, &escaped));
    assert_int_equal(byte, 0);
    assert_false(percent_take(&in, HEX_BOTH, &byte, &escaped));
    unit_same(in, "%2");
    in = BYTES("%");
    assert_false(percent_take(&in, HEX_BOTH, &byte, &escaped));
    in = BYTES("%2g");
    assert_false(percent_take(&in, HEX_BOTH, &byte, &escaped));
    assert_int_equal(byte, 0); /* as it was */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_every_byte_comes_back),
        cmocka_unit_test(test_plain_bytes_and_stray_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
