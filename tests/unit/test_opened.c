#include "unit.h"

#include "proxy/opened.h"

/* A command whose answer is this; "name" as a literal is given apart. */
static void command(struct opened *o, const char *line, const char *literal, enum imap_status status)
{
    struct imap_cmd cmd;
    const char *why;
    struct buf name = {0};
    assert_true(imap_cmd_parse(span_str(line), &cmd, &why));
    opened_said(o, &cmd, span_str(line), &name);
    if (literal)
        buf_add_str(&name, literal);
    opened_answered(o, cmd.verb, buf_span(&name), status);
    buf_free(&name);
}

static void hear(struct opened *o, const char *line)
{
    struct imap_resp r;
    const char *why;
    assert_true(imap_resp_parse(span_str(line), &r, &why));
    opened_heard(o, &r, span_str(line));
}

static void is_open(struct opened *o, const char *mailbox)
{
    assert_int_equal(o->selected, mailbox != NULL);
    if (mailbox)
        assert_string_equal(buf_str(&o->mailbox), mailbox);
}

static void test_what_is_open(void **state)
{
    (void)state;
    struct opened o = {0};
    is_open(&o, NULL);
    hear(&o, "* 7 EXISTS");
    hear(&o, "* OK [UIDVALIDITY 1234] valid");
    command(&o, "a SELECT inbox", NULL, STATUS_OK);
    is_open(&o, "inbox");
    assert_false(o.examined);
    assert_int_equal(o.exists, 7);
    assert_int_equal(o.uidvalidity, 1234);
    hear(&o, "* 3 EXPUNGE");
    hear(&o, "* 3 FETCH (FLAGS ())");
    hear(&o, "* 1 RECENT");
    hear(&o, "* OK [UIDNEXT 9] next");
    assert_int_equal(o.exists, 6);
    assert_false(o.names);
    command(&o, "b EXAMINE \"a \\\"quoted\\\" \\\\ name\"", NULL, STATUS_OK);
    is_open(&o, "a \"quoted\" \\ name");
    assert_true(o.examined && o.names);
    command(&o, "c SELECT {5}", "other", STATUS_OK);
    is_open(&o, "other");
    assert_false(o.examined);
    command(&o, "d SELECT x", NULL, STATUS_BAD);
    is_open(&o, "other");
    command(&o, "d CLOSE", NULL, STATUS_NO);
    is_open(&o, "other");
    command(&o, "e SELECT missing", NULL, STATUS_NO);
    is_open(&o, NULL);
    command(&o, "f SELECT INBOX (X)", NULL, STATUS_OK);
    is_open(&o, "INBOX");
    command(&o, "g CLOSE", NULL, STATUS_OK);
    is_open(&o, NULL);
    opened_free(&o);
}

static void test_who_knows_names(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        bool names;
    } rows[] = {
        {"a SELECT INBOX", false},
        {"a EXAMINE \"InBox\"", false},
        {"a SELECT INBOX.x", true},
        {"a NOOP", false},
        {"a UID FETCH 1:* (FLAGS)", false},
        {"a STATUS INBOX (MESSAGES)", false},
        {"a STATUS \"other\" (MESSAGES)", true},
        {"a STATUS {5}", true},
        {"a APPEND inbox (\\Seen) {3}", false},
        {"a APPEND Sent {3}", true},
        {"a LIST \"\" *", true},
        {"a NAMESPACE", true},
        {"a COPY 1 Sent", true},
        {"a UID MOVE 1 INBOX", true},
        {"a GETQUOTAROOT INBOX", true},
        {"a SUBSCRIBE", true},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct opened o = {0};
        command(&o, rows[i].line, NULL, STATUS_OK);
        if (o.names != rows[i].names)
            fail_msg("%s", rows[i].line);
        opened_free(&o);
    }
}

static void test_vanished(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        uint32_t exists;
        bool gone;
    } rows[] = {
        {"* VANISHED 5", 9, true},
        {"* vanished 5:7,12,20:19", 4, true},
        {"* VANISHED (EARLIER) 1:5", 10, false},
        {"* VANISHED 1:4294967295", 0, true},
        {"* VANISHED", 10, false},
        {"* VANISHED x,,4,:", 9, true},
        {"* 5 VANISHED 5", 10, false},
        {"* VANISHEDX 5", 10, false},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct opened o = {.exists = 10};
        hear(&o, rows[i].line);
        if (o.exists != rows[i].exists || (o.expunges > 0) != rows[i].gone)
            fail_msg("%s", rows[i].line);
    }
}

static void test_enabled(void **state)
{
    (void)state;
    struct opened o = {0};
    hear(&o, "* ENABLED");
    hear(&o, "* ENABLED X-FOO UTF8=ACCEPT");
    assert_false(o.condstore || o.qresync);
    hear(&o, "* ENABLED X condstore");
    assert_true(o.condstore && !o.qresync);
    o = (struct opened){0};
    hear(&o, "* Enabled QRESYNC");
    assert_true(o.condstore && o.qresync);
    o = (struct opened){0};
    opened_asked_modseqs(&o, STATUS_BAD);
    assert_false(o.condstore);
    opened_asked_modseqs(&o, STATUS_OK);
    command(&o, "a SELECT x", NULL, STATUS_OK);
    command(&o, "a CLOSE", NULL, STATUS_OK);
    assert_true(o.condstore); /* it lasts */
    opened_free(&o);
}

static void no_crash(struct span line)
{
    struct opened o = {0};
    struct imap_cmd cmd;
    struct buf name = {0};
    const char *why;
    if (imap_cmd_parse(line, &cmd, &why))
        opened_said(&o, &cmd, line, &name);
    buf_free(&name);
    opened_free(&o);
}

static void test_any_prefix(void **state)
{
    (void)state;
    unit_prefixes(BYTES("a SELECT  \"a\\\"b\\\\\" (X)"), no_crash);
    unit_prefixes(BYTES("a APPEND \"INBOX\" {3}"), no_crash);
}

static void test_a_name_beyond_all_bounds(void **state)
{
    (void)state;
    struct opened o = {0};
    struct buf line = {0};
    buf_add_str(&line, "a SELECT ");
    for (size_t i = 0; i <= OPENED_NAME_MAX; i++)
        buf_add_str(&line, "x");
    command(&o, buf_str(&line), NULL, STATUS_OK);
    is_open(&o, "");
    buf_free(&line);
    opened_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_open), cmocka_unit_test(test_who_knows_names),
        cmocka_unit_test(test_vanished),     cmocka_unit_test(test_enabled),
        cmocka_unit_test(test_any_prefix),   cmocka_unit_test(test_a_name_beyond_all_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
