#include "migrator/mailbox/fillers.h"
#include "migrator/mailbox/ledger_priv.h"
#include "migrator/mailbox/transfer.h"
#include "pair_unit.h"

/* Copies that get the UIDs of their messages: what that takes, what goes out, and what becomes of it. */

#define DATE "\"21-Jan-2020 00:00:00 +0000\""
#define ID   "ffffffffffffffffffffffffffffffff"
/* A filler inside of an APPEND: `before` is "=" or "<APPEND INBOX". */
#define FILLER(before, number)                                                                               \
    before " (\\Seen \\Deleted) \"01-Jan-2000 00:00:00 +0000\" {131+}",                                      \
        "=Subject: held the place of a message number, may be deleted",                                      \
        "=X-Imapferry-Filler: " ID " 000000000" number, "=", "=."
#define TARGET(uidnext) PAIR_TARGET("LITERAL+ MULTIAPPEND UIDPLUS", "0", uidnext), PAIR_LISTED
/* UIDs 3 and 5 of 1 to 6. */
#define SOURCE()                                                                                             \
    SCRIPT(PAIR_SOURCE("2", "7"), PAIR_MESSAGE("1", "3", "", "3"), PAIR_MESSAGE("2", "5", "", "3"),          \
           PAIR_LISTED, "<UID FETCH 3,5 (UID BODY.PEEK[])", PAIR_BODY("1", "3", "a"),                        \
           PAIR_BODY("2", "5", "b"), ">%T OK read", PAIR_BYE)

struct jumps {
    struct pair_world *w;
    struct numbering n;
    struct numbering_jump *j;
    struct loop_task task;
    struct buf text; /* "3 7 forgotten " */
    bool refuse, later;
};

static void on_jump_task(struct loop_task *task)
{
    struct jumps *x = CONTAINER_OF(task, struct jumps, task);
    numbering_jumped(x->j, x->later ? JUMP_LATER : x->refuse ? JUMP_CANNOT : JUMP_DONE, "not today");
}

static void jump(void *owner, uint32_t uidnext, struct numbering_jump *j)
{
    struct jumps *x = owner;
    buf_printf(&x->text, "%u ", uidnext);
    x->j = j;
    x->task.fn = on_jump_task;
    loop_defer(x->w->u.loop, &x->task);
}

static void forget(void *owner, struct numbering_jump *j)
{
    struct jumps *x = owner;
    assert_ptr_equal(x->j, j);
    loop_undefer(x->w->u.loop, &x->task);
    buf_add_str(&x->text, "forgotten ");
}

static void transfer(struct pair_world *w)
{
    unsigned before = w->answers;
    struct transfer *t = transfer_start(&w->p, pair_unit_on_step, w);
    UNIT_UNTIL(&w->u, w->answers > before);
    transfer_stop(&t);
}

/* fill_max 0: nothing can jump. */
static void begin(struct jumps *x, struct pair_world *w, uint32_t fill_max)
{
    *x = (struct jumps){
        .w = w, .n = {.wanted = true, .gaps_left = 100, .fill_max = fill_max, .forget = forget, .owner = x}};
    x->n.jump = fill_max > 0 ? jump : NULL;
    w->p.numbering = &x->n;
    memcpy(w->p.ledger->filler_id, ID, sizeof ID);
}

static void expect_fillers(struct pair_world *w, const char *open, const char *there)
{
    const struct ledger_fillers *f = ledger_fillers(w->p.ledger);
    struct buf text = {0};
    if (f->open.n > 0)
        imap_seq_write(&text, &f->open);
    assert_string_equal(buf_str(&text), open);
    buf_clear(&text);
    if (f->there.n > 0)
        imap_seq_write(&text, &f->there);
    assert_string_equal(buf_str(&text), there);
    buf_free(&text);
}

static void end(struct jumps *x, struct pair_world *w)
{
    buf_free(&x->text);
    free(w->p.numbers_lost);
    w->p.numbers_lost = NULL;
    w->p.numbering = NULL;
    pair_unit_close(w);
}

static void test_what_it_takes(void **state)
{
    const uint32_t uids[] = {3, 5, 6, 20};
    struct numbering_need n = numbering_need(uids, 4, 1, 25, false, 0);
    (void)state;
    assert_int_equal(n.fillers, 2 + 1 + 13 + 4);
    assert_int_equal(n.jumps + n.too_low, 0);
    n = numbering_need(uids, 4, 1, 25, true, 4);
    assert_int_equal(n.fillers, 2 + 1 + 4);
    assert_int_equal(n.jumps, 1);
    assert_int_equal(numbering_need(uids, 4, 4, 25, false, 0).too_low, 3);
    assert_int_equal(numbering_need(uids, 4, 1, 20, false, 0).too_low, 20);
    assert_int_equal(numbering_need(uids, 0, 7, 7, false, 0).fillers, 0);
    assert_int_equal(
        numbering_need((const uint32_t[]){UINT32_MAX}, 1, UINT32_MAX, UINT32_MAX, false, 0).too_low, 0);
}

static void test_filler_has_its_size(void **state)
{
    struct buf text = {0};
    (void)state;
    filler_write(&text, ID, UINT32_MAX);
    assert_int_equal(text.len, FILLER_SIZE);
    buf_free(&text);
}

/* In the same APPEND, in front of the messages, and behind the last one. */
static void test_gaps_are_filled(void **state)
{
    struct pair_world *w = *state;
    struct jumps x;
    pair_unit_open(w, SOURCE(),
                   SCRIPT(TARGET("1"), FILLER("<APPEND INBOX", "1"), FILLER("=", "2"), "= () " DATE " {3+}",
                          "=a", FILLER("=", "4"), "= () " DATE " {3+}", "=b", FILLER("=", "6"), "=",
                          ">%T OK [APPENDUID 9 1:6] so", PAIR_BYE));
    begin(&x, w, 0);
    transfer(w);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_null(w->p.numbers_lost);
    assert_int_equal(x.n.gaps_left, 96);
    pair_unit_expect(w, "3>3 5>5");
    expect_fillers(w, "", "1:2,4,6");
    end(&x, w);
}

/* The numbers are lost, the messages are where the target says that they are. */
static void test_another_uid_than_was_wanted(void **state)
{
    struct pair_world *w = *state;
    struct jumps x;
    pair_unit_open(w, SOURCE(),
                   SCRIPT(TARGET("1"), FILLER("<APPEND INBOX", "1"), FILLER("=", "2"), "= () " DATE " {3+}",
                          "=a", FILLER("=", "4"), "= () " DATE " {3+}", "=b", FILLER("=", "6"), "=",
                          ">%T OK [APPENDUID 9 1:3,5:7] so", PAIR_BYE));
    begin(&x, w, 0);
    transfer(w);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_string_equal(w->p.numbers_lost, "the target gave UID 5 where UID 4 was wanted");
    pair_unit_expect(w, "3>3 5>6");
    expect_fillers(w, "", "1:2,5,7");
    end(&x, w);
}

/* Whichever of both the target has refused: fillers go by themselves from then on. */
static void test_refused_with_fillers_goes_apart(void **state)
{
    struct pair_world *w = *state;
    struct jumps x;
    pair_unit_open(w,
                   SCRIPT(PAIR_SOURCE("1", "4"), PAIR_MESSAGE("1", "3", "", "3"), PAIR_LISTED,
                          "<UID FETCH 3 (UID BODY.PEEK[])", PAIR_BODY("1", "3", "a"), ">%T OK read", "<NOOP",
                          ">%T OK so", "<UID FETCH 3 (UID BODY.PEEK[])", PAIR_BODY("1", "3", "a"),
                          ">%T OK read", PAIR_BYE),
                   SCRIPT(TARGET("1"), FILLER("<APPEND INBOX", "1"), FILLER("=", "2"), "= () " DATE " {3+}",
                          "=a", "=", ">%T NO not this", FILLER("<APPEND INBOX", "1"), FILLER("=", "2"), "=",
                          ">%T OK [APPENDUID 9 1:2] so", "<APPEND INBOX () " DATE " {3+}", "=a", "=",
                          ">%T NO not this", PAIR_BYE));
    begin(&x, w, 0);
    transfer(w);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_null(w->p.numbers_lost);
    pair_unit_expect(w, "");
    expect_fillers(w, "", "1:2");
    assert_int_equal(findings_of(w->findings, FINDING_REFUSED), 1);
    end(&x, w);
}

/* A jump to where the next message lies, and to the end, which is looked at. */
static void test_long_gaps_are_jumped(void **state)
{
    struct pair_world *w = *state;
    struct jumps x;
    pair_unit_open(w,
                   SCRIPT(PAIR_SOURCE("2", "9"), PAIR_MESSAGE("1", "3", "", "3"),
                          PAIR_MESSAGE("2", "5", "", "3"), PAIR_LISTED, "<UID FETCH 3,5 (UID BODY.PEEK[])",
                          PAIR_BODY("1", "3", "a"), PAIR_BODY("2", "5", "b"), ">%T OK read", PAIR_BYE),
                   SCRIPT(TARGET("1"), "<APPEND INBOX () " DATE " {3+}", "=a", FILLER("=", "4"),
                          "= () " DATE " {3+}", "=b", "=", ">%T OK [APPENDUID 9 3:5] so", "<NOOP",
                          "<STATUS INBOX (UIDNEXT)", ">%P OK so", ">* STATUS INBOX (UIDNEXT 9)", ">%T OK so",
                          PAIR_BYE));
    begin(&x, w, 1);
    transfer(w);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_null(w->p.numbers_lost);
    assert_string_equal(buf_str(&x.text), "3 9 ");
    assert_int_equal(x.n.gaps_left, 97);
    pair_unit_expect(w, "3>3 5>5");
    end(&x, w);
}

static void test_jump_that_fails(void **state)
{
    struct pair_world *w = *state;
    struct jumps x;
    pair_unit_open(w, SOURCE(),
                   SCRIPT(TARGET("1"), "<APPEND INBOX () " DATE " {3+}", "=a", "= () " DATE " {3+}", "=b",
                          "=", ">%T OK [APPENDUID 9 1:2] so", PAIR_BYE));
    begin(&x, w, 1);
    x.refuse = true;
    transfer(w);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_string_equal(w->p.numbers_lost, "the target's next UID can't be set to 3: not today");
    pair_unit_expect(w, "3>1 5>2");
    end(&x, w);
}

static void test_jump_that_has_to_wait(void **state)
{
    struct pair_world *w = *state;
    struct jumps x;
    pair_unit_open(w, SCRIPT(PAIR_SOURCE("0", "9"), PAIR_LISTED, PAIR_BYE), SCRIPT(TARGET("1"), PAIR_BYE));
    begin(&x, w, 1);
    x.later = true;
    transfer(w);
    assert_int_equal(w->rc, COPY_DOWN);
    assert_null(w->p.numbers_lost);
    end(&x, w);
}

static void test_jump_that_lies(void **state)
{
    struct pair_world *w = *state;
    struct jumps x;
    pair_unit_open(w, SCRIPT(PAIR_SOURCE("0", "9"), PAIR_LISTED, PAIR_BYE),
                   SCRIPT(TARGET("1"), "<NOOP", "<STATUS INBOX (UIDNEXT)", ">%P OK so",
                          ">* STATUS INBOX (UIDNEXT 1)", ">%T OK so", PAIR_BYE));
    begin(&x, w, 1);
    transfer(w);
    assert_string_equal(w->p.numbers_lost, "the target's next UID is 1, and was to be 9");
    end(&x, w);
}

static void test_stopped_in_a_jump(void **state)
{
    struct pair_world *w = *state;
    struct jumps x;
    pair_unit_open(w, SCRIPT(PAIR_SOURCE("0", "9"), PAIR_LISTED, PAIR_BYE), SCRIPT(TARGET("1"), PAIR_BYE));
    begin(&x, w, 1);
    struct transfer *t = transfer_start(&w->p, pair_unit_on_step, w);
    UNIT_UNTIL(&w->u, x.text.len > 0);
    transfer_stop(&t);
    assert_string_equal(buf_str(&x.text), "9 forgotten ");
    end(&x, w);
}

static void reload(struct pair_world *w)
{
    ledger_free(&w->p.ledger);
    w->p.ledger = ledger_load(w->u.store, &w->job, "0123456789abcdef", pair_unit_on_ledger, w);
    pair_unit_await(w, 1);
    assert_int_equal(w->ledger_rc, ROUTE_OK);
}

static struct imap_seq set_of(const char *text)
{
    struct imap_seq set = {0};
    assert_true(imap_seq_parse(&set, span_str(text), 0, 100));
    return set;
}

/* What is loaded is what was written; a changed UIDVALIDITY leaves what they can be known by. */
static void test_ledger_keeps_fillers(void **state)
{
    struct pair_world *w = *state;
    struct imap_seq sent = set_of("1:5,9"), some = set_of("1:2"), uids = set_of("11:12"), one = set_of("11"),
                    refused = set_of("9"), late = set_of("3:4");
    memcpy(w->p.ledger->filler_id, ID, sizeof ID);
    assert_false(fillers_may_be_there(w->p.ledger));
    PAIR_LEDGER(w, ledger_fill, &sent);
    PAIR_LEDGER(w, ledger_filled, &some, &uids);
    PAIR_LEDGER(w, ledger_unfilled, &one);
    PAIR_LEDGER(w, ledger_refused, &refused);
    PAIR_LEDGER(w, ledger_latefill, &late, 1000);
    expect_fillers(w, "5", "12");
    reload(w);
    expect_fillers(w, "5", "12");
    assert_string_equal(ledger_filler_id(w->p.ledger), ID);
    assert_true(fillers_may_be_there(w->p.ledger));
    assert_true(imap_seq_has(&ledger_fillers(w->p.ledger)->late, 4));
    PAIR_LEDGER(w, ledger_void);
    expect_fillers(w, "1:5,9", "");
    assert_string_equal(ledger_filler_id(w->p.ledger), ID);
    imap_seq_free(&sent), imap_seq_free(&some), imap_seq_free(&uids), imap_seq_free(&one);
    imap_seq_free(&refused), imap_seq_free(&late);
}

/* One whose UID is known, one that is known by its bytes, and a message of the same size that is none. */
static void test_fillers_are_removed(void **state)
{
    struct pair_world *w = *state;
    struct imap_seq sent = set_of("1:3"), first = set_of("1"), uid = set_of("11");
    pair_unit_open(
        w, SCRIPT(PAIR_SOURCE("0", "9"), PAIR_LISTED, PAIR_BYE),
        SCRIPT(PAIR_TARGET("LITERAL+ UIDPLUS", "3", "14"), PAIR_MESSAGE("1", "11", "\\Deleted", "131"),
               PAIR_MESSAGE("2", "12", "", "131"), PAIR_MESSAGE("3", "13", "", "131"), PAIR_LISTED,
               "<UID FETCH 12:13 (UID BODY.PEEK[])", ">* 2 FETCH (UID 12 BODY[] {131}",
               "}Subject: held the place of a message number, may be deleted\r\nX-Imapferry-Filler: " ID
               " 0000000002\r\n\r\n.\r\n",
               ">)", PAIR_BODY("3", "13", "x"), ">%T OK so", "<UID STORE 11:12 +FLAGS.SILENT (\\Deleted)",
               "<UID EXPUNGE 11:12", ">%P OK so", ">* 1 EXPUNGE", ">* 1 EXPUNGE", ">%T OK so", "<NOOP",
               ">%T OK so", PAIR_BYE));
    memcpy(w->p.ledger->filler_id, ID, sizeof ID);
    PAIR_LEDGER(w, ledger_fill, &sent);
    PAIR_LEDGER(w, ledger_filled, &first, &uid);
    struct fillers *f = fillers_start(&w->p, true, pair_unit_on_step, w);
    pair_unit_await(w, 1);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_int_equal(fillers_removed(f), 2);
    fillers_stop(&f);
    expect_fillers(w, "", "");
    assert_true(imap_seq_has(&ledger_fillers(w->p.ledger)->late, 3));
    assert_false(imap_seq_has(&ledger_fillers(w->p.ledger)->late, 2));
    imap_seq_free(&sent), imap_seq_free(&first), imap_seq_free(&uid);
    pair_unit_close(w);
}

/* Where the target said that it has put one, another message lies. */
static void test_what_is_none_stays(void **state)
{
    struct pair_world *w = *state;
    struct imap_seq sent = set_of("1"), uid = set_of("11");
    struct jumps x;
    pair_unit_open(w, SCRIPT(PAIR_SOURCE("0", "9"), PAIR_LISTED, PAIR_BYE),
                   SCRIPT(PAIR_TARGET("LITERAL+ UIDPLUS", "1", "12"), PAIR_MESSAGE("1", "11", "", "4000"),
                          PAIR_LISTED, PAIR_BYE));
    begin(&x, w, 0);
    PAIR_LEDGER(w, ledger_fill, &sent);
    PAIR_LEDGER(w, ledger_filled, &sent, &uid);
    struct fillers *f = fillers_start(&w->p, false, pair_unit_on_step, w);
    pair_unit_await(w, 1);
    assert_int_equal(w->rc, COPY_EQUAL);
    assert_int_equal(fillers_removed(f), 0);
    fillers_stop(&f);
    expect_fillers(w, "", "");
    assert_non_null(strstr(w->p.numbers_lost, "at UID 11, is another message"));
    imap_seq_free(&sent), imap_seq_free(&uid);
    end(&x, w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_it_takes),
        cmocka_unit_test(test_filler_has_its_size),
        PAIR_TEST(test_gaps_are_filled),
        PAIR_TEST(test_another_uid_than_was_wanted),
        PAIR_TEST(test_refused_with_fillers_goes_apart),
        PAIR_TEST(test_long_gaps_are_jumped),
        PAIR_TEST(test_jump_that_fails),
        PAIR_TEST(test_jump_that_has_to_wait),
        PAIR_TEST(test_jump_that_lies),
        PAIR_TEST(test_stopped_in_a_jump),
        PAIR_TEST(test_ledger_keeps_fillers),
        PAIR_TEST(test_fillers_are_removed),
        PAIR_TEST(test_what_is_none_stays),
    };
    return cmocka_run_group_tests(tests, pair_unit_begin, pair_unit_end);
}
