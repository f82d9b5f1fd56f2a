#include "proxy/delivery/lmtp_command.h"
#include "proxy/delivery/lmtp_data.h"
#include "proxy/delivery/lmtp_priv.h"

#include "unit.h"

/* ---- the message */

struct passes {
    const char *text; /* what of it is passed on ... */
    size_t text_len;
    const char *behind; /* ... and what is left behind its end; NULL: there is no end */
    bool odd;
};

static void feed_message(const struct span *pieces, size_t n, void *arg)
{
    const struct passes *want = arg;
    struct lmtp_data d;
    struct buf text = {0}, behind = {0};
    bool ended = false;

    lmtp_data_init(&d);
    for (size_t i = 0; i < n; i++) {
        struct span in = pieces[i];
        while (in.len > 0 && !ended) {
            struct lmtp_data_piece piece;
            size_t used = lmtp_data_feed(&d, in, &piece);
            if (!d.odd) {
                buf_add_span(&text, piece.first);
                buf_add_span(&text, piece.rest);
            }
            ended = piece.end;
            in = span_of(in.p + used, in.len - used);
            assert_true(ended || in.len == 0);
        }
        buf_add_span(&behind, in);
    }
    assert_int_equal(ended, want->behind != NULL);
    assert_int_equal(d.odd, want->odd);
    if (!want->odd)
        assert_true(span_eq(buf_span(&text), span_of(want->text, want->text_len)));
    if (ended)
        assert_true(span_is(buf_span(&behind), want->behind));
    buf_free(&text);
    buf_free(&behind);
}

static void passes_as(struct span message, struct span text, const char *behind)
{
    struct passes want = {(const char *)text.p, text.len, behind, false};
    unit_splits(message, feed_message, &want);
}

static void is_odd(struct span message, const char *behind)
{
    struct passes want = {"", 0, behind, true};
    unit_splits(message, feed_message, &want);
}

static void test_a_message_passes_as_it_is(void **state)
{
    (void)state;
    passes_as(BYTES("a\r\nb\r\n.\r\nQUIT\r\n"), BYTES("a\r\nb\r\n"), "QUIT\r\n");
    passes_as(BYTES(".\r\n"), BYTES(""), "");
    passes_as(BYTES("..\r\n.\r\nx"), BYTES("..\r\n"), "x");
    passes_as(BYTES("..a\r\n...\r\n.b\r\n.\r\n"), BYTES("..a\r\n...\r\n.b\r\n"), "");
    passes_as(BYTES("a.b.\r\n.\r\n"), BYTES("a.b.\r\n"), "");
    passes_as(BYTES("no end.\r\n"), BYTES("no end.\r\n"), NULL);
    passes_as(BYTES("8\xc3\xa4.\xff\r\n.\r\n"), BYTES("8\xc3\xa4.\xff\r\n"), "");
}

/* They reach the server as they are; there is no dot that could be an end. */
static void test_stray_line_ends_without_a_dot_pass(void **state)
{
    (void)state;
    passes_as(BYTES("a\nb\rc\r\r\nd\n\n\r\n.\r\n"), BYTES("a\nb\rc\r\r\nd\n\n\r\n"), "");
    passes_as(BYTES("a\0b\r\n.\r\n"), BYTES("a\0b\r\n"), "");
}

static void test_what_others_may_take_for_an_end_is_odd(void **state)
{
    (void)state;
    is_odd(BYTES("a\n.\nMAIL FROM:<>\r\n.\r\nx"), "x");
    is_odd(BYTES("a\n.\r\nMAIL FROM:<>\r\n.\r\n"), "");
    is_odd(BYTES("a\r\n.\nMAIL FROM:<>\r\n.\r\n"), "");
    is_odd(BYTES("a\r\n.\rMAIL FROM:<>\r\n.\r\n"), "");
    is_odd(BYTES("a\r.\r\nMAIL FROM:<>\r\n.\r\n"), "");
    is_odd(BYTES("a\r.\rb\r\n.\r\n"), "");
    is_odd(BYTES("a\r\n.\r\r\nb\r\n.\r\n"), "");
    is_odd(BYTES("a\n\r.\r\nb\r\n.\r\n"), "");
    is_odd(BYTES("a\r\n\0.\r\nb\r\n.\r\n"), "");
    is_odd(BYTES("a\r\n.\0\r\nb\r\n.\r\n"), "");
    is_odd(BYTES(".\nb\r\n.\r\n"), "");
    is_odd(BYTES("a\n.b\r\n.\r\n"), "");
    is_odd(BYTES("a\n."), NULL);
}

/* ---- answers */

struct answers {
    const char *text;
    unsigned code;
    size_t lines;
    bool bad;
};

static void feed_answer(const struct span *pieces, size_t n, void *arg)
{
    const struct answers *want = arg;
    struct lmtp_reply r = {0};
    enum lmtp_reply_rc rc = LMTP_REPLY_MORE;

    for (size_t i = 0; i < n && rc == LMTP_REPLY_MORE; i++) {
        size_t used;
        rc = lmtp_reply_feed(&r, pieces[i], &used);
        assert_true(rc != LMTP_REPLY_MORE || used == pieces[i].len);
    }
    assert_int_equal(rc, want->bad ? LMTP_REPLY_BAD : LMTP_REPLY_DONE);
    if (!want->bad) {
        assert_int_equal(r.code, want->code);
        assert_int_equal(r.lines, want->lines);
        assert_string_equal(buf_str(&r.text), want->text);
    }
    lmtp_reply_free(&r);
}

static void answers_as(struct span in, unsigned code, size_t lines, const char *text)
{
    struct answers want = {text, code, lines, false};
    unit_splits(in, feed_answer, &want);
}

static void is_no_answer(struct span in)
{
    struct answers want = {.bad = true};
    unit_splits(in, feed_answer, &want);
}

static void test_answers(void **state)
{
    (void)state;
    answers_as(BYTES("250 2.1.5 OK\r\n"), 250, 1, "2.1.5 OK\n");
    answers_as(BYTES("250\n"), 250, 1, "\n");
    answers_as(BYTES("250-a\r\n250-b\n250 c\r\n"), 250, 3, "a\nb\nc\n");
    answers_as(BYTES("550 x\x1b[2J\0\xc3\xa4\ry\r\n"), 550, 1, "x?[2J????y\n");
    is_no_answer(BYTES("250-a\r\n251 b\r\n"));
    is_no_answer(BYTES("25 a\r\n"));
    is_no_answer(BYTES("2500 a\r\n"));
    is_no_answer(BYTES("OK\r\n"));
    is_no_answer(BYTES("\r\n"));
    is_no_answer(BYTES("199 a\r\n"));
    is_no_answer(BYTES("600 a\r\n"));
}

static void test_an_answer_has_limits(void **state)
{
    struct lmtp_reply r = {0};
    struct buf in = {0};
    size_t used;

    (void)state;
    buf_add_str(&in, "250 ");
    while (in.len <= LMTP_REPLY_LINE)
        buf_add_str(&in, "x");
    assert_int_equal(lmtp_reply_feed(&r, buf_span(&in), &used), LMTP_REPLY_BAD);
    lmtp_reply_free(&r);
    buf_clear(&in);
    for (size_t i = 0; i <= LMTP_REPLY_LINES; i++)
        buf_add_str(&in, "250-x\r\n");
    assert_int_equal(lmtp_reply_feed(&r, buf_span(&in), &used), LMTP_REPLY_BAD);
    lmtp_reply_free(&r);
    buf_free(&in);
}

static void is_written(struct span in, unsigned code, const char *otherwise, const char *lines)
{
    struct lmtp_reply r = {0};
    struct buf out = {0};
    size_t used;

    assert_int_equal(lmtp_reply_feed(&r, in, &used), LMTP_REPLY_DONE);
    lmtp_reply_write(&out, &r, code, otherwise);
    assert_string_equal(buf_str(&out), lines);
    buf_free(&out);
    lmtp_reply_free(&r);
}

static void test_answers_for_a_client(void **state)
{
    (void)state;
    is_written(BYTES("250 2.1.5 OK\r\n"), 250, "2.0.0", "250 2.1.5 OK\r\n");
    is_written(BYTES("250 saved\r\n"), 250, "2.0.0", "250 2.0.0 saved\r\n");
    is_written(BYTES("552-5.2.2 over\r\n552 5.2.2 quota\r\n"), 552, "5.0.0",
               "552-5.2.2 over\r\n552 5.2.2 quota\r\n");
    is_written(BYTES("421 4.3.2 stopping\r\n"), 451, "4.0.0", "451 4.3.2 stopping\r\n");
    is_written(BYTES("250 2.0.0 what?\r\n"), 451, "4.0.0", "451 4.0.0 what?\r\n");
    is_written(BYTES("450 4.2.1234 x\r\n"), 450, "4.0.0", "450 4.0.0 4.2.1234 x\r\n");
    is_written(BYTES("250\r\n"), 250, "2.0.0", "250 2.0.0 \r\n");
}

/* ---- commands */

static void test_lines_end_with_crlf_alone(void **state)
{
    size_t len;
    bool ended;

    (void)state;
    assert_int_equal(lmtp_line(BYTES("NOOP\r\nx"), &len, &ended), LMTP_LINE_DONE);
    assert_int_equal(len, 6);
    assert_int_equal(lmtp_line(BYTES("NOOP\r"), &len, &ended), LMTP_LINE_MORE);
    assert_int_equal(lmtp_line(BYTES("NOOP\n"), &len, &ended), LMTP_LINE_MORE);
    assert_int_equal(lmtp_line(BYTES("DATA\nRSET\r\n"), &len, &ended), LMTP_LINE_BAD);
    assert_int_equal(len, 11);
    assert_int_equal(lmtp_line(BYTES("DATA\rRSET\r\n"), &len, &ended), LMTP_LINE_BAD);
    assert_int_equal(lmtp_line(BYTES("NOOP\t\r\n"), &len, &ended), LMTP_LINE_BAD);
    assert_int_equal(lmtp_line(BYTES("NOOP\0\r\n"), &len, &ended), LMTP_LINE_BAD);
}

static void test_a_line_has_a_limit(void **state)
{
    struct buf in = {0};
    size_t len;
    bool ended;

    (void)state;
    while (in.len < LMTP_LINE - 1)
        buf_add_str(&in, "x");
    assert_int_equal(lmtp_line(buf_span(&in), &len, &ended), LMTP_LINE_MORE);
    buf_add_str(&in, "\r");
    assert_int_equal(lmtp_line(buf_span(&in), &len, &ended), LMTP_LINE_BAD);
    assert_false(ended);
    buf_add_str(&in, "\n");
    assert_int_equal(lmtp_line(buf_span(&in), &len, &ended), LMTP_LINE_BAD);
    assert_true(ended);
    buf_free(&in);
}

static struct lmtp_command command(const char *line)
{
    return lmtp_command_read(span_str(line), LMTP_PASSED);
}

static void is_path(const char *line, const char *path, const char *address, const char *params)
{
    struct lmtp_command c = command(line);

    assert_int_equal(c.fault, LMTP_GOOD);
    assert_true(span_is(c.path, path));
    assert_true(span_is(c.address, address));
    assert_true(span_is(c.params, params));
}

static void test_paths(void **state)
{
    (void)state;
    is_path("MAIL FROM:<a@b>", "<a@b>", "a@b", "");
    is_path("mail from:<>", "<>", "", "");
    is_path("MAIL FROM: <a@b> SIZE=1", "<a@b>", "a@b", "SIZE=1");
    is_path("RCPT TO:<\"a b>\\\"\"@c>", "<\"a b>\\\"\"@c>", "\"a b>\\\"\"@c", "");
    is_path("RCPT TO:<@x,@y:a@b>", "<@x,@y:a@b>", "a@b", "");
    is_path("RCPT TO:<Ann+x@Example.ORG> NOTIFY=NEVER", "<Ann+x@Example.ORG>", "Ann+x@Example.ORG",
            "NOTIFY=NEVER");
    is_path("RCPT TO:<postmaster>", "<postmaster>", "postmaster", "");
}

static void test_commands_that_can_not_be_understood(void **state)
{
    static const struct {
        const char *line;
        enum lmtp_fault fault;
    } rows[] = {
        {"LHLO", LMTP_BAD_ARGUMENTS},
        {"DATA now", LMTP_BAD_ARGUMENTS},
        {"RSET x", LMTP_BAD_ARGUMENTS},
        {"MAIL", LMTP_BAD_ARGUMENTS},
        {"MAIL TO:<a@b>", LMTP_BAD_ARGUMENTS},
        {"MAIL FROM:a@b", LMTP_BAD_PATH},
        {"MAIL FROM:<a@b", LMTP_BAD_PATH},
        {"MAIL FROM:<a b>", LMTP_BAD_PATH},
        {"MAIL FROM:<<a@b>", LMTP_BAD_PATH},
        {"MAIL FROM:<\"a@b>", LMTP_BAD_PATH},
        {"MAIL FROM:<a@b>x", LMTP_BAD_ARGUMENTS},
        {"RCPT TO:<>", LMTP_BAD_PATH},
        {"RCPT TO:<@x:>", LMTP_BAD_PATH},
        {"MAIL FROM:<a@b> SIZE", LMTP_BAD_PARAMETER},
        {"MAIL FROM:<a@b> SIZE=", LMTP_BAD_PARAMETER},
        {"MAIL FROM:<a@b> SIZE=x", LMTP_BAD_PARAMETER},
        {"MAIL FROM:<a@b> SIZE=-1", LMTP_BAD_PARAMETER},
        {"MAIL FROM:<a@b> SIZE=1 SIZE=1", LMTP_BAD_PARAMETER},
        {"MAIL FROM:<a@b> SMTPUTF8=1", LMTP_BAD_PARAMETER},
        {"MAIL FROM:<a@b> BODY=BINARYMIME", LMTP_BAD_PARAMETER},
        {"MAIL FROM:<a@b> NOTIFY=NEVER", LMTP_BAD_PARAMETER},
        {"RCPT TO:<a@b> SIZE=1", LMTP_BAD_PARAMETER},
        {"RCPT TO:<a@b> IGNOREQUOTA", LMTP_BAD_PARAMETER},
    };

    (void)state;
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        if (command(rows[i].line).fault != rows[i].fault)
            fail_msg("%s", rows[i].line);
        assert_int_equal(lmtp_command_read(span_str(rows[i].line), 0).fault,
                         rows[i].fault); /* also to who was offered nothing */
    }
    assert_int_equal(command("EXPN x").verb, LMTP_UNKNOWN);
    assert_int_equal(command("").verb, LMTP_UNKNOWN);
    assert_int_equal(command("EHLO x").verb, LMTP_HELO);
}

static void test_a_path_has_a_limit(void **state)
{
    struct buf line = {0};

    (void)state;
    buf_add_str(&line, "RCPT TO:<");
    while (line.len < 9 + LMTP_PATH - 2)
        buf_add_str(&line, "x");
    buf_add_str(&line, ">");
    assert_int_equal(command(buf_str(&line)).fault, LMTP_GOOD);
    line.len--;
    buf_add_str(&line, "x>");
    assert_int_equal(command(buf_str(&line)).fault, LMTP_BAD_PATH);
    buf_free(&line);
}

static void test_parameters_go_to_servers_that_have_the_extension(void **state)
{
    struct span params = span_str("SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS");
    struct buf out = {0};

    (void)state;
    lmtp_params_write(&out, params, LMTP_SIZE | LMTP_SMTPUTF8);
    assert_string_equal(buf_str(&out), " SIZE=10 SMTPUTF8");
    buf_clear(&out);
    lmtp_params_write(&out, params, LMTP_PASSED);
    assert_string_equal(buf_str(&out), " SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS");
    buf_free(&out);
    assert_int_equal(lmtp_command_read(span_str("MAIL FROM:<> BODY=8BITMIME"), LMTP_SIZE).fault,
                     LMTP_BAD_PARAMETER);
}

/* ---- what is offered */

static struct lmtp_caps caps_of(const char *lhlo)
{
    struct lmtp_reply r = {0};
    size_t used;

    assert_int_equal(lmtp_reply_feed(&r, span_str(lhlo), &used), LMTP_REPLY_DONE);
    struct lmtp_caps caps = lmtp_caps_read(&r);
    lmtp_reply_free(&r);
    return caps;
}

static void test_what_both_servers_have_is_offered(void **state)
{
    struct lmtp_caps all =
        caps_of("250-8BITMIME\r\n250-SIZE 1000\r\n250-8bitmime\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n");
    struct lmtp_caps other = caps_of("250-x\r\n250-SIZE 500\r\n250-CHUNKING\r\n250 8BITMIME\r\n");
    struct buf out = {0};

    (void)state;
    assert_int_equal(all.has, LMTP_SIZE | LMTP_8BITMIME | LMTP_PIPELINING | LMTP_SMTPUTF8);
    assert_int_equal(caps_of("250 SIZE\r\n").has, 0); /* that is its name */
    lmtp_caps_meet(&all, &other);
    lmtp_caps_write(&out, "us", &all);
    assert_string_equal(
        buf_str(&out),
        "250-us\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 500\r\n250 ENHANCEDSTATUSCODES\r\n");
    buf_free(&out);
}

/* However often it happens; and what was left out is told by the next line. */
static void test_lines_of_the_log_have_a_limit(void **state)
{
    struct lmtp_lines lines = {0};
    uint64_t others = 99;
    unsigned logged = 0;

    (void)state;
    for (unsigned i = 0; i < LMTP_LINES + 900; i++) {
        logged += lmtp_may_log(&lines, 1000000 + i, &others);
        assert_int_equal(others, 0);
    }
    assert_int_equal(logged, LMTP_LINES);
    assert_true(lmtp_may_log(&lines, 1000000 + LMTP_LINES_MS, &others));
    assert_int_equal(others, 900);
    assert_true(lmtp_may_log(&lines, 1000000 + LMTP_LINES_MS, &others));
    assert_int_equal(others, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_message_passes_as_it_is),
        cmocka_unit_test(test_stray_line_ends_without_a_dot_pass),
        cmocka_unit_test(test_what_others_may_take_for_an_end_is_odd),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_an_answer_has_limits),
        cmocka_unit_test(test_answers_for_a_client),
        cmocka_unit_test(test_lines_end_with_crlf_alone),
        cmocka_unit_test(test_a_line_has_a_limit),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_commands_that_can_not_be_understood),
        cmocka_unit_test(test_a_path_has_a_limit),
        cmocka_unit_test(test_parameters_go_to_servers_that_have_the_extension),
        cmocka_unit_test(test_what_both_servers_have_is_offered),
        cmocka_unit_test(test_lines_of_the_log_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
