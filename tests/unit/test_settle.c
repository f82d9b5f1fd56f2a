#include "migrator/mailbox/hasher.h"
#include "migrator/mailbox/settle.h"
#include "pair_unit.h"

/* What is on the target already though the ledger does not say so. */

static void settle(struct pair_world *w)
{
    struct settle *s = settle_start(&w->p, pair_unit_on_step, w);
    unsigned before = w->answers;
    UNIT_UNTIL(&w->u, w->answers > before);
    settle_stop(&s);
}

/* A message went out as the ledger says, and was never heard of again. */
static void note_sent(struct pair_world *w, uint32_t uid, const char *body)
{
    struct hasher *h = hasher_new();
    struct ledger_row row = {.source_uid = uid, .size = strlen(body)};
    hasher_begin(h);
    hasher_add(h, span_str(body));
    hasher_end(h, row.hash);
    hasher_free(&h);
    PAIR_LEDGER(w, ledger_intent, 11, &uid, 1);
    PAIR_LEDGER(w, ledger_sent, &row, 1);
}

/* Nothing is unknown on the target: nothing is read. */
static void test_nothing_to_settle(void **state)
{
    struct pair_world *w = *state;
    pair_unit_open(w, SCRIPT(PAIR_SOURCE("1", "2"), PAIR_MESSAGE("1", "1", "", "3"), PAIR_LISTED, PAIR_BYE),
                   SCRIPT(PAIR_TARGET("UIDPLUS", "0", "11"), PAIR_LISTED, PAIR_BYE));
    settle(w);
    assert_int_equal(w->rc, COPY_EQUAL);
    pair_unit_expect(w, "");
    pair_unit_close(w);
}

/* Of two messages in doubt one has arrived, known by its bytes: it gets a row, and the other is sent
 * again. */
static void test_one_of_two_arrived(void **state)
{
    struct pair_world *w = *state;
    note_sent(w, 1, "a\r\n");
    note_sent(w, 2, "b\r\n");
    pair_unit_expect(w, "; doubt 1:2");
    pair_unit_open(w,
                   SCRIPT(PAIR_SOURCE("2", "3"), PAIR_MESSAGE("1", "1", "", "3"),
                          PAIR_MESSAGE("2", "2", "", "3"), PAIR_LISTED, "<UID FETCH 1:2 (UID BODY.PEEK[])",
                          PAIR_BODY("1", "1", "a"), PAIR_BODY("2", "2", "b"), ">%T OK read", PAIR_BYE),
                   SCRIPT(PAIR_TARGET("UIDPLUS", "1", "12"), PAIR_MESSAGE("1", "11", "", "3"), PAIR_LISTED,
                          "<UID FETCH 11 (UID BODY.PEEK[])", PAIR_BODY("1", "11", "b"), ">%T OK read",
                          PAIR_BYE));
    settle(w);
    assert_int_equal(w->rc, COPY_EQUAL);
    pair_unit_expect(w, "2>11v");
    assert_true(imap_seq_has(ledger_resent(w->p.ledger), 1));
    assert_false(imap_seq_has(ledger_resent(w->p.ledger), 2));
    pair_unit_close(w);
}

/* Equal bytes that nothing was sent of make a row too: a UIDVALIDITY has changed, or the user has put it
 * there. A message of another size is not even read. */
static void test_equal_bytes_make_a_row(void **state)
{
    struct pair_world *w = *state;
    pair_unit_open(
        w,
        SCRIPT(PAIR_SOURCE("1", "6"), PAIR_MESSAGE("1", "5", "", "3"), PAIR_LISTED,
               "<UID FETCH 5 (UID BODY.PEEK[])", PAIR_BODY("1", "5", "a"), ">%T OK read", PAIR_BYE),
        SCRIPT(PAIR_TARGET("UIDPLUS", "2", "30"), PAIR_MESSAGE("1", "21", "", "3"),
               ">* 2 FETCH (UID 22 FLAGS () INTERNALDATE \"02-Feb-2021 00:00:00 +0000\" RFC822.SIZE 4)",
               PAIR_LISTED, "<UID FETCH 21 (UID BODY.PEEK[])", PAIR_BODY("1", "21", "a"), ">%T OK read",
               PAIR_BYE));
    settle(w);
    assert_int_equal(w->rc, COPY_EQUAL);
    pair_unit_expect(w, "5>21v");
    pair_unit_close(w);
}

/* The source has expunged what was sent: its hash is in the ledger, and the copy gets its row, so that it can
 * be removed. */
static void test_copy_of_an_expunged_message(void **state)
{
    struct pair_world *w = *state;
    note_sent(w, 4, "a\r\n");
    pair_unit_open(w, SCRIPT(PAIR_SOURCE("0", "6"), PAIR_LISTED, PAIR_BYE),
                   SCRIPT(PAIR_TARGET("UIDPLUS", "1", "12"), PAIR_MESSAGE("1", "11", "", "3"), PAIR_LISTED,
                          "<UID FETCH 11 (UID BODY.PEEK[])", PAIR_BODY("1", "11", "a"), ">%T OK read",
                          PAIR_BYE));
    settle(w);
    assert_int_equal(w->rc, COPY_EQUAL);
    pair_unit_expect(w, "4>11v");
    pair_unit_close(w);
}

/* A message that is there and does not come could be the one that is looked for: nothing is decided. */
static void test_what_does_not_come_decides_nothing(void **state)
{
    struct pair_world *w = *state;
    note_sent(w, 1, "a\r\n");
    pair_unit_open(w,
                   SCRIPT(PAIR_SOURCE("1", "2"), PAIR_MESSAGE("1", "1", "", "3"), PAIR_LISTED,
                          "<UID FETCH 1 (UID BODY.PEEK[])", PAIR_BODY("1", "1", "a"), ">%T OK read",
                          PAIR_BYE),
                   SCRIPT(PAIR_TARGET("UIDPLUS", "1", "12"), PAIR_MESSAGE("1", "11", "", "3"), PAIR_LISTED,
                          "<UID FETCH 11 (UID BODY.PEEK[])", ">%T OK nothing", PAIR_BYE));
    settle(w);
    assert_int_equal(w->rc, COPY_DIFFERS);
    assert_string_equal(w->why, "target UID 11 can't be read");
    pair_unit_expect(w, "; doubt 1");
    pair_unit_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_nothing_to_settle),
        PAIR_TEST(test_one_of_two_arrived),
        PAIR_TEST(test_equal_bytes_make_a_row),
        PAIR_TEST(test_copy_of_an_expunged_message),
        PAIR_TEST(test_what_does_not_come_decides_nothing),
    };
    return cmocka_run_group_tests(tests, pair_unit_begin, pair_unit_end);
}
