#include "migrator/mailbox/hasher.h"
#include "migrator/mailbox/outbox.h"
#include "pair_unit.h"

/* APPENDs, their answers, and the UIDs of what was stored. */

#define DATE "\"21-Jan-2020 00:00:00 +0000\""

struct told {
    struct outbox *o;
    struct buf text; /* "refused", "skipped 3", "limited 3", "failed WHY" */
    unsigned moved;
};

static void on_moved(void *owner)
{
    struct told *t = owner;
    t->moved++;
}

static void on_refused(void *owner)
{
    struct told *t = owner;
    buf_add_str(&t->text, "refused ");
}

static void on_skipped(void *owner, uint32_t uid, const char *text)
{
    struct told *t = owner;
    buf_printf(&t->text, "skipped %u: %s ", uid, text);
}

static void on_limited(void *owner, uint32_t uid, const char *text)
{
    struct told *t = owner;
    buf_printf(&t->text, "limited %u: %s ", uid, text);
}

static void on_failed(void *owner, enum copy_rc rc, const char *why)
{
    struct told *t = owner;
    buf_printf(&t->text, "failed %d: %s ", rc, why);
}

static const struct outbox_fns fns = {on_moved, on_refused, on_skipped, on_limited, on_failed};

static struct told *begin(struct pair_world *w)
{
    struct told *t = xcalloc(1, sizeof *t);
    t->o = outbox_new(&w->p, &fns, t);
    return t;
}

static void end(struct told *t)
{
    outbox_free(&t->o);
    buf_free(&t->text);
    free(t);
}

/* Sends a message of three bytes, and keeps it. uids: what the APPEND is for. */
static void put(struct told *t, struct pair_world *w, uint32_t uid, const char *body, const uint32_t *uids,
                size_t n)
{
    const struct mbox_msg *m = mbox_list_find(&w->p.source.list, uid);
    struct ledger_row row = {.source_uid = uid, .size = 3};
    struct hasher *h = hasher_new();
    hasher_begin(h);
    hasher_add(h, span_str(body));
    hasher_end(h, row.hash);
    hasher_free(&h);
    outbox_begin(t->o, m, 3, uids, n);
    outbox_bytes(t->o, span_str(body));
    outbox_keep(t->o, &row);
}

/* Until the outbox is idle, or stuck; it is settled after each turn of the loop. */
static void run(struct told *t, struct pair_world *w)
{
    UNIT_UNTIL(&w->u, (outbox_settle(t->o), *w->target.why || outbox_is_idle(t->o) || outbox_is_stuck(t->o)));
    assert_string_equal(w->target.why, "");
}

#define TWO()                                                                                                \
    SCRIPT(PAIR_SOURCE("2", "3"), PAIR_MESSAGE("1", "1", "", "3"), PAIR_MESSAGE("2", "2", "", "3"),          \
           PAIR_LISTED, PAIR_BYE)

static const uint32_t both[] = {1, 2};

/* A batch goes out as one APPEND, which ends when the ledger has the hashes. */
static void test_a_batch_is_one_append(void **state)
{
    struct pair_world *w = *state;
    pair_unit_open(w, TWO(),
                   SCRIPT(PAIR_TARGET("LITERAL+ MULTIAPPEND UIDPLUS", "0", "11"), PAIR_LISTED,
                          "<APPEND INBOX () " DATE " {3+}", "=a", "= () " DATE " {3+}", "=b", "=",
                          ">%T OK [APPENDUID 9 11:12] so", PAIR_BYE));
    PAIR_LEDGER(w, ledger_intent, 11, both, 2);
    struct told *t = begin(w);
    put(t, w, 1, "a\r\n", both, 2);
    assert_true(outbox_is_open(t->o));
    put(t, w, 2, "b\r\n", both, 2);
    assert_false(outbox_is_open(t->o));
    assert_false(outbox_may_begin(t->o)); /* until the hashes are kept */
    run(t, w);
    assert_string_equal(buf_str(&t->text), "");
    pair_unit_expect(w, "1>11 2>12");
    assert_int_equal(outbox_first(t->o), 11);
    assert_int_equal(outbox_uidnext(t->o), 13);
    assert_int_equal(outbox_largest(t->o), 3);
    end(t);
    pair_unit_close(w);
}

/* UIDs that don't fit are as good as none, and found out by the bytes: other UIDVALIDITY, a UID that was
 * there before. */
static void test_uids_that_do_not_fit_are_found_by_bytes(void **state)
{
    struct pair_world *w = *state;
    pair_unit_open(w, TWO(),
                   SCRIPT(PAIR_TARGET("LITERAL+ UIDPLUS", "1", "11"), PAIR_MESSAGE("1", "10", "", "3"),
                          PAIR_LISTED, "<APPEND INBOX () " DATE " {3+}", "=a", "=",
                          ">%T OK [APPENDUID 9 10] so", "<NOOP", "<UID FETCH 11:4294967295 (UID BODY.PEEK[])",
                          ">* 2 EXISTS", ">%P OK so", PAIR_BODY("2", "11", "a"), ">%T OK so", PAIR_BYE));
    PAIR_LEDGER(w, ledger_intent, 11, both, 1);
    struct told *t = begin(w);
    put(t, w, 1, "a\r\n", both, 1);
    run(t, w);
    assert_string_equal(buf_str(&t->text), "");
    pair_unit_expect(w, "1>11v"); /* its bytes were read */
    end(t);
    pair_unit_close(w);
}

/* Taken, and not to be found there. */
static void test_what_was_taken_has_to_be_there(void **state)
{
    struct pair_world *w = *state;
    pair_unit_open(w, TWO(),
                   SCRIPT(PAIR_TARGET("LITERAL+", "0", "11"), PAIR_LISTED, "<APPEND INBOX () " DATE " {3+}",
                          "=a", "=", ">%T OK so", "<NOOP", "<UID FETCH 11:4294967295 (UID BODY.PEEK[])",
                          ">%P OK so", PAIR_BODY("1", "11", "z"), ">%T OK so", PAIR_BYE));
    PAIR_LEDGER(w, ledger_intent, 11, both, 1);
    struct told *t = begin(w);
    put(t, w, 1, "a\r\n", both, 1);
    UNIT_UNTIL(&w->u, t->text.len > 0 || (outbox_settle(t->o), false));
    assert_non_null(
        strstr(buf_str(&t->text), "UID 1 to 1: the target took it, but not all of it can be found there"));
    pair_unit_expect(w, "; doubt 1");
    end(t);
    pair_unit_close(w);
}

/* A batch that is refused is stuck: the next one, which was stored behind it, is taken back by its UID. */
static void test_undo_removes_what_was_stored_behind(void **state)
{
    struct pair_world *w = *state;
    pair_unit_open(
        w,
        SCRIPT(PAIR_SOURCE("3", "4"), PAIR_MESSAGE("1", "1", "", "3"), PAIR_MESSAGE("2", "2", "", "3"),
               PAIR_MESSAGE("3", "3", "", "3"), PAIR_LISTED, PAIR_BYE),
        SCRIPT(PAIR_TARGET("LITERAL+ MULTIAPPEND UIDPLUS", "0", "11"), PAIR_LISTED,
               "<APPEND INBOX () " DATE " {3+}", "=a", "= () " DATE " {3+}", "=b", "=",
               "<APPEND INBOX () " DATE " {3+}", "=c", "=", ">%P NO no", ">* 1 EXISTS",
               ">%T OK [APPENDUID 9 11] so", "<UID STORE 11 +FLAGS.SILENT (\\Deleted)", "<UID EXPUNGE 11",
               "<NOOP", ">m5 OK so", ">* 1 EXPUNGE", ">%P OK so", ">%T OK so", PAIR_BYE));
    const uint32_t third[] = {3};
    PAIR_LEDGER(w, ledger_intent, 11, both, 2);
    PAIR_LEDGER(w, ledger_intent, 11, third, 1);
    struct told *t = begin(w);
    put(t, w, 1, "a\r\n", both, 2);
    put(t, w, 2, "b\r\n", both, 2);
    UNIT_UNTIL(&w->u, outbox_may_begin(t->o));
    put(t, w, 3, "c\r\n", third, 1);
    run(t, w);
    assert_true(outbox_is_stuck(t->o));
    assert_string_equal(buf_str(&t->text), "refused ");
    assert_int_equal(outbox_refusal(t->o).messages, 2);
    assert_int_equal(outbox_refusal(t->o).last_uid, 2);
    assert_string_equal(outbox_refusal(t->o).text, "no");
    outbox_undo(t->o);
    UNIT_UNTIL(&w->u, outbox_is_idle(t->o));
    pair_unit_expect(w, "; doubt 1:3"); /* no row says that any of them is there */
    end(t);
    pair_unit_close(w);
}

/* One message that is refused is left out, and what came behind it stays. */
static void test_one_refused_message_is_skipped(void **state)
{
    struct pair_world *w = *state;
    pair_unit_open(w, TWO(),
                   SCRIPT(PAIR_TARGET("LITERAL+ UIDPLUS", "0", "11"), PAIR_LISTED,
                          "<APPEND INBOX () " DATE " {3+}", "=a", "=", "<APPEND INBOX () " DATE " {3+}", "=b",
                          "=", ">%P NO [LIMIT] too much", ">%T OK [APPENDUID 9 11] so", PAIR_BYE));
    PAIR_LEDGER(w, ledger_intent, 11, both, 2);
    struct told *t = begin(w);
    put(t, w, 1, "a\r\n", both, 1);
    UNIT_UNTIL(&w->u, outbox_may_begin(t->o));
    put(t, w, 2, "b\r\n", both + 1, 1);
    run(t, w);
    assert_string_equal(buf_str(&t->text), "limited 1: [LIMIT] too much ");
    pair_unit_expect(w, "2>11; doubt 1"); /* it is for the owner to say that it is none */
    end(t);
    pair_unit_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_a_batch_is_one_append),
        PAIR_TEST(test_uids_that_do_not_fit_are_found_by_bytes),
        PAIR_TEST(test_what_was_taken_has_to_be_there),
        PAIR_TEST(test_undo_removes_what_was_stored_behind),
        PAIR_TEST(test_one_refused_message_is_skipped),
    };
    return cmocka_run_group_tests(tests, pair_unit_begin, pair_unit_end);
}
