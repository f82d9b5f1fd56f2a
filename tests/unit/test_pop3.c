#include "lib/pop3.h"

#include "unit.h"

/* ---- lines ---- */

static enum pop3_line_rc feed(struct pop3_line *l, const char *text, struct span *line, const char **why)
{
    size_t used;
    enum pop3_line_rc rc = pop3_line_feed(l, span_str(text), &used, line, why);
    assert_true(rc != POP3_WHOLE || used == strlen(text));
    return rc;
}

static void test_line_in_two_pieces_at_every_place(void **state)
{
    static const char all[] = "PASS a b \r\n";
    (void)state;
    for (size_t at = 0; at < strlen(all); at++) {
        struct pop3_line l = {.max = POP3_LINE};
        struct span line = {0};
        const char *why;
        size_t used;
        assert_int_equal(pop3_line_feed(&l, span_of(all, at), &used, &line, &why), POP3_MORE);
        assert_int_equal(used, at);
        assert_int_equal(feed(&l, all + at, &line, &why), POP3_WHOLE);
        assert_true(span_is(line, "PASS a b "));
        assert_int_equal(feed(&l, "STAT\r\n", &line, &why), POP3_WHOLE);
        assert_true(span_is(line, "STAT"));
        pop3_line_wipe(&l);
    }
}

static void test_what_is_no_line(void **state)
{
    static const char *const bad[] = {"\n",         "STAT\n",        "STAT\rQUIT\r\n",
                                      "STAT\r\r\n", "123456789\r\n", "1234567890"};
    struct span line;
    const char *why;
    (void)state;
    for (size_t i = 0; i < COUNTOF(bad); i++) {
        struct pop3_line l = {.max = 8};
        assert_int_equal(feed(&l, bad[i], &line, &why), POP3_BAD);
        assert_non_null(why);
        pop3_line_wipe(&l);
    }
    struct pop3_line l = {.max = 8};
    size_t used;
    assert_int_equal(pop3_line_feed(&l, span_of("a\0b\r\n", 5), &used, &line, &why), POP3_BAD);
    assert_int_equal(feed(&l, "12345678\r\n", &line, &why), POP3_WHOLE);
    pop3_line_wipe(&l);
}

/* ---- commands ---- */

static bool passes(const char *text)
{
    struct pop3_cmd c = pop3_parse(span_str(text));
    const char *expected;
    return pop3_is_for_mail(&c, &expected);
}

static void test_commands_that_pass(void **state)
{
    static const char *const good[] = {"STAT", "stat", "LIST", "LIST 1", "RETR 4294967295", "DELE 2",
                                       "NOOP", "RSET", "UIDL", "UIDL 7", "TOP 1 0",         "QUIT"};
    static const char *const bad[] = {"",         "STAT 1",          "LIST 1 2", "RETR",      "RETR x",
                                      "RETR 1 ",  "RETR  1",         "RETR -1",  "TOP 1",     "TOP 1 2 3",
                                      "QUIT now", "USER ann",        "CAPA",     "XTND XMIT", "STLS",
                                      "APOP a b", "DELE 99999999999"};
    (void)state;
    for (size_t i = 0; i < COUNTOF(good); i++)
        assert_true(passes(good[i]));
    for (size_t i = 0; i < COUNTOF(bad); i++)
        assert_false(passes(bad[i]));
}

static void test_which_answers_are_long(void **state)
{
    static const char *const longs[] = {"LIST", "UIDL", "RETR 1", "TOP 1 1", "CAPA"}, *const shorts[] = {
                                                                                          "LIST 1", "UIDL 1",
                                                                                          "STAT", "QUIT",
                                                                                          "DELE 1"};
    (void)state;
    for (size_t i = 0; i < COUNTOF(longs); i++) {
        struct pop3_cmd c = pop3_parse(span_str(longs[i])), d = pop3_parse(span_str(shorts[i]));
        assert_true(pop3_is_long(&c));
        assert_false(pop3_is_long(&d));
    }
}

/* ---- answers ---- */

static void test_status(void **state)
{
    struct pop3_status st;
    (void)state;
    assert_true(pop3_parse_status(span_str("-ERR [IN-USE] busy"), &st));
    assert_false(st.ok);
    assert_true(span_is(st.code, "IN-USE"));
    assert_true(pop3_parse_status(span_str("+OK"), &st));
    assert_true(st.ok && st.code.len == 0 && st.text.len == 0);
    assert_false(pop3_parse_status(span_str("+OKAY"), &st));
    assert_false(pop3_parse_status(span_str(""), &st));
}

static void test_end_of_a_long_answer_at_every_place(void **state)
{
    static const char *const bodies[] = {".\r\n", "a\r\n.\r\n", "..\r\n.\r\r\n\r\n.\r\n",
                                         "\r\n.\n\r\n.x\r\n.\r\n"};
    (void)state;
    for (size_t i = 0; i < COUNTOF(bodies); i++)
        for (size_t at = 0, n = strlen(bodies[i]); at < n; at++) {
            struct pop3_body b;
            bool ended;
            pop3_body_begin(&b);
            assert_int_equal(pop3_body_feed(&b, span_of(bodies[i], at), &ended), at);
            assert_false(ended);
            struct buf rest = {0};
            buf_printf(&rest, "%s+OK\r\n", bodies[i] + at);
            assert_int_equal(pop3_body_feed(&b, buf_span(&rest), &ended), n - at);
            assert_true(ended);
            buf_free(&rest);
        }
}

static void test_codes(void **state)
{
    (void)state;
    assert_string_equal(pop3_code_to_imap(span_str("sys/temp")), "UNAVAILABLE");
    assert_string_equal(pop3_code_to_imap(span_str("AUTH")), "AUTHENTICATIONFAILED");
    assert_string_equal(pop3_code_to_imap(span_of(NULL, 0)), "");
    assert_string_equal(pop3_code_of_imap("UNAVAILABLE"), "[SYS/TEMP] ");
    assert_string_equal(pop3_code_of_imap("AUTHENTICATIONFAILED"), "[AUTH] ");
    assert_string_equal(pop3_code_of_imap("PRIVACYREQUIRED"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_in_two_pieces_at_every_place),
        cmocka_unit_test(test_what_is_no_line),
        cmocka_unit_test(test_commands_that_pass),
        cmocka_unit_test(test_which_answers_are_long),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_end_of_a_long_answer_at_every_place),
        cmocka_unit_test(test_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
