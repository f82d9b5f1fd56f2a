#include "migrator/mailbox/transfer.h"
#include "pair_unit.h"

/* What the ledger lacks goes from FETCH to APPEND. */

#define DATE "\"21-Jan-2020 00:00:00 +0000\""

static void on_target(void *owner, enum imapc_event ev)
{
    struct transfer **t = owner;
    if (ev == IMAPC_DRAINED)
        transfer_drained(*t);
}

/* Returns the lowest UID that was stored. */
static uint32_t transfer(struct pair_world *w)
{
    unsigned before = w->answers;
    struct transfer *t = transfer_start(&w->p, pair_unit_on_step, w);
    imapc_watch(w->target_imap, on_target, NULL, NULL, &t);
    UNIT_UNTIL(&w->u, w->answers > before);
    uint32_t first = transfer_first(t);
    transfer_stop(&t);
    return first;
}

/* The finding of a kind that is named first; "" where there is none. */
static const char *detail_of(const struct pair_world *w, enum finding_kind kind, uint32_t uid)
{
    size_t n;
    const struct finding *f = findings_named(w->findings, &n);
    for (size_t i = 0; i < n; i++)
        if (f[i].kind == kind && f[i].uid == uid)
            return f[i].detail;
    return "";
}

/* Two messages in one APPEND, with the flags that the target keeps; APPENDUID tells which they are. */
static void test_multiappend(void **state)
{
    struct pair_world *w = *state;
    pair_unit_open(w,
                   SCRIPT(PAIR_SOURCE("2", "8"), PAIR_MESSAGE("1", "3", "\\Seen", "3"),
                          PAIR_MESSAGE("2", "7", "", "3"), PAIR_LISTED, "<UID FETCH 3,7 (UID BODY.PEEK[])",
                          PAIR_BODY("1", "3", "a"), PAIR_BODY("2", "7", "b"), ">%T OK read", PAIR_BYE),
                   SCRIPT(PAIR_TARGET("LITERAL+ MULTIAPPEND UIDPLUS", "0", "11"), PAIR_LISTED,
                          "<APPEND INBOX (\\Seen) " DATE " {3+}", "=a", "= () " DATE " {3+}", "=b", "=",
                          ">%T OK [APPENDUID 9 11:12] stored", PAIR_BYE));
    assert_int_equal(transfer(w), 11);
    assert_int_equal(w->rc, COPY_EQUAL);
    pair_unit_expect(w, "3>11 7>12");
    assert_int_equal(w->p.counts.appended, 2);
    pair_unit_close(w);
}

/* What the target refuses is named, nothing of it is in doubt, and the rest goes. */
static void test_refused_message_is_named(void **state)
{
    struct pair_world *w = *state;
    pair_unit_open(w,
                   SCRIPT(PAIR_SOURCE("2", "3"), PAIR_MESSAGE("1", "1", "", "3"),
                          PAIR_MESSAGE("2", "2", "", "3"), PAIR_LISTED, "<UID FETCH 1:2 (UID BODY.PEEK[])",
                          PAIR_BODY("1", "1", "a"), PAIR_BODY("2", "2", "b"), ">%T OK read", PAIR_BYE),
                   SCRIPT(PAIR_TARGET("LITERAL+ UIDPLUS", "0", "11"), PAIR_LISTED,
                          "<APPEND INBOX () " DATE " {3+}", "=a", "=", ">%T NO I do not like it",
                          "<APPEND INBOX () " DATE " {3+}", "=b", "=", ">%T OK [APPENDUID 9 11] stored",
                          PAIR_BYE));
    assert_int_equal(transfer(w), 11);
    assert_int_equal(w->rc, COPY_EQUAL);
    pair_unit_expect(w, "2>11");
    assert_string_equal(detail_of(w, FINDING_REFUSED, 1), "the target refuses it: I do not like it");
    assert_int_equal(findings_total(w->findings), 1);
    pair_unit_close(w);
}

/* Over APPENDLIMIT: not a byte of it is read. */
static void test_too_large_is_not_read(void **state)
{
    struct pair_world *w = *state;
    pair_unit_open(w,
                   SCRIPT(PAIR_SOURCE("2", "3"), PAIR_MESSAGE("1", "1", "", "9"),
                          PAIR_MESSAGE("2", "2", "", "3"), PAIR_LISTED, "<UID FETCH 2 (UID BODY.PEEK[])",
                          PAIR_BODY("2", "2", "b"), ">%T OK read", PAIR_BYE),
                   SCRIPT(PAIR_TARGET("LITERAL+ UIDPLUS APPENDLIMIT=8", "0", "11"), PAIR_LISTED,
                          "<APPEND INBOX () " DATE " {3+}", "=b", "=", ">%T OK [APPENDUID 9 11] stored",
                          PAIR_BYE));
    assert_int_equal(transfer(w), 11);
    pair_unit_expect(w, "2>11");
    assert_string_equal(detail_of(w, FINDING_TOO_LARGE, 1), "9 bytes are more than the target takes (8)");
    pair_unit_close(w);
}

/* The target's connection breaks behind the last byte: nobody knows whether it is stored, so it stays in
 * doubt. */
static void test_broken_behind_the_end_is_a_doubt(void **state)
{
    struct pair_world *w = *state;
    pair_unit_open(w,
                   SCRIPT(PAIR_SOURCE("1", "2"), PAIR_MESSAGE("1", "1", "", "3"), PAIR_LISTED,
                          "<UID FETCH 1 (UID BODY.PEEK[])", PAIR_BODY("1", "1", "a"), ">%T OK read", "!wait"),
                   SCRIPT(PAIR_TARGET("LITERAL+ UIDPLUS", "0", "11"), PAIR_LISTED,
                          "<APPEND INBOX () " DATE " {3+}", "=a", "=", "!close"));
    transfer(w);
    assert_int_equal(w->rc, COPY_DOWN);
    assert_non_null(strstr(w->why, "target: the server closed the connection"));
    pair_unit_expect(w, "; doubt 1");
    size_t n;
    ledger_unlanded(w->p.ledger, &n);
    assert_int_equal(n, 1);
    pair_unit_close(w);
}

/* Less of the body comes than its literal says: the APPEND is broken off, so that nothing short is stored. */
static void test_short_body_is_never_stored(void **state)
{
    struct pair_world *w = *state;
    pair_unit_open(w,
                   SCRIPT(PAIR_SOURCE("1", "2"), PAIR_MESSAGE("1", "1", "", "3"), PAIR_LISTED,
                          "<UID FETCH 1 (UID BODY.PEEK[])", ">* 1 FETCH (UID 1 BODY[] {3}", "}a", "!close"),
                   SCRIPT(PAIR_TARGET("LITERAL+ UIDPLUS", "0", "11"), PAIR_LISTED,
                          "<APPEND INBOX () " DATE " {3+}", "!wait"));
    transfer(w);
    assert_int_equal(w->rc, COPY_DOWN);
    pair_unit_expect(w, "; doubt 1");
    size_t n;
    ledger_unlanded(w->p.ledger, &n);
    assert_int_equal(n, 0); /* it was never sent whole */
    pair_unit_close(w);
    assert_true(w->target.extra <= 1);
}

/* Nothing is missing: nothing is asked. */
static void test_nothing_to_do(void **state)
{
    struct pair_world *w = *state;
    struct ledger_row row = {.source_uid = 1, .target_uid = 11, .size = 3};
    PAIR_LEDGER(w, ledger_done, &row, 1);
    pair_unit_open(w, SCRIPT(PAIR_SOURCE("1", "2"), PAIR_MESSAGE("1", "1", "", "3"), PAIR_LISTED, PAIR_BYE),
                   SCRIPT(PAIR_TARGET("LITERAL+ UIDPLUS", "0", "12"), PAIR_LISTED, PAIR_BYE));
    assert_int_equal(transfer(w), 0);
    assert_int_equal(w->rc, COPY_EQUAL);
    pair_unit_expect(w, "1>11");
    pair_unit_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_multiappend),
        PAIR_TEST(test_refused_message_is_named),
        PAIR_TEST(test_too_large_is_not_read),
        PAIR_TEST(test_broken_behind_the_end_is_a_doubt),
        PAIR_TEST(test_short_body_is_never_stored),
        PAIR_TEST(test_nothing_to_do),
    };
    return cmocka_run_group_tests(tests, pair_unit_begin, pair_unit_end);
}
