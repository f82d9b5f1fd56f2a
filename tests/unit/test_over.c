#include "migrator/mailbox/copy.h"
#include "pair_unit.h"

/* Two mailboxes on one pair of connections: the second begins while the bytes of the first are still to come. */

#define DATE "\"21-Jan-2020 00:00:00 +0000\""
#define LIST "UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)"
#define READ_BACK                                                                                            \
    "<NOOP", "<UID FETCH 11:4294967295 (UID FLAGS INTERNALDATE RFC822.SIZE)",                                \
        "<UID FETCH 11 (UID BODY.PEEK[])"
#define OPENED(exists, uidvalidity, uidnext)                                                                 \
    ">* " exists " EXISTS", ">* OK [PERMANENTFLAGS (\\Seen \\Deleted \\*)] so",                              \
        ">* OK [UIDVALIDITY " uidvalidity "] so", ">* OK [UIDNEXT " uidnext "] so"

struct over_world {
    struct pair_world *w;
    struct copy *first, *second;
    enum copy_rc first_rc, second_rc;
    bool given, asked;
    struct ledger *ledger; /* of the second */
    struct findings *findings;
    unsigned ended;
};

static void on_first(void *owner, const struct copy_result *result)
{
    struct over_world *o = owner;
    o->first = NULL;
    o->first_rc = result->rc;
    o->given = result->given;
    o->ended++;
}

static void on_second(void *owner, const struct copy_result *result)
{
    struct over_world *o = owner;
    o->second = NULL;
    o->second_rc = result->rc;
    o->ended++;
}

static struct copy_request request(struct over_world *o, struct ledger *ledger, struct findings *findings,
                                   const char *name)
{
    return (struct copy_request){.loop = o->w->u.loop,
                                 .source = o->w->source_imap,
                                 .target = o->w->target_imap,
                                 .ledger = ledger,
                                 .source_name = name,
                                 .target_name = name,
                                 .verify = VERIFY_FULL,
                                 .seed = "seed",
                                 .findings = findings};
}

static bool go_over(void *owner)
{
    struct over_world *o = owner;
    const struct copy_request r = request(o, o->ledger, o->findings, "b");
    assert_false(o->asked);
    o->asked = true;
    o->second = copy_start(&r, on_second, o);
    return true;
}

static struct over_world *over_run(struct pair_world *w, const char *const *source, const char *const *target)
{
    struct over_world *o = xcalloc(1, sizeof *o);
    o->w = w;
    w->source_imap = pair_unit_dial(w, &w->source, &w->backends[0], "old", source);
    w->target_imap = pair_unit_dial(w, &w->target, &w->backends[1], "new", target);
    pair_unit_await(w, 2);
    o->findings = findings_new(NULL);
    o->ledger = ledger_load(w->u.store, &w->job, "fedcba9876543210", pair_unit_on_ledger, w);
    pair_unit_await(w, 1);
    struct copy_request r = request(o, w->p.ledger, w->findings, "a");
    r.over_to_next = go_over;
    o->first = copy_start(&r, on_first, o);
    UNIT_UNTIL(&w->u, o->ended == 2);
    return o;
}

static void over_end(struct over_world *o)
{
    struct pair_world *w = o->w;
    imapc_free(&w->source_imap);
    imapc_free(&w->target_imap);
    uv_run(&w->u.loop->uv, UV_RUN_NOWAIT);
    io_peer_end(&w->source);
    io_peer_end(&w->target);
    ledger_free(&o->ledger);
    findings_free(&o->findings);
    free(o);
}

#define SOURCE_FIRST                                                                                         \
    PAIR_SIGN_IN(""), "<EXAMINE a", "<" LIST, OPENED("1", "7", "2"), ">%P OK fine",                          \
        PAIR_MESSAGE("1", "1", "", "3"), PAIR_LISTED, "<UID FETCH 1 (UID BODY.PEEK[])",                      \
        PAIR_BODY("1", "1", "x"), ">%T OK read"
#define SOURCE_SECOND                                                                                        \
    "<EXAMINE b", "<" LIST, OPENED("1", "8", "2"), ">%P OK fine", PAIR_MESSAGE("1", "1", "\\Seen", "3"),     \
        PAIR_LISTED, "<UID FETCH 1 (UID BODY.PEEK[])", PAIR_BODY("1", "1", "y"), ">%T OK read"
#define TARGET_FIRST                                                                                         \
    PAIR_SIGN_IN("UIDPLUS LITERAL+"), "<SELECT a", "<" LIST, OPENED("0", "9", "11"), ">%P OK fine",          \
        PAIR_LISTED, "<APPEND a () " DATE " {3+}", "=x", "=", ">%T OK [APPENDUID 9 11] stored", READ_BACK
#define TARGET_SECOND_ENDS                                                                                   \
    ">* 0 EXISTS", ">* OK [PERMANENTFLAGS (\\Seen \\Deleted \\*)] so", ">* OK [UIDVALIDITY 10] so",          \
        ">* OK [UIDNEXT 11] so", ">%P OK fine", PAIR_LISTED, "<APPEND b (\\Seen) " DATE " {3+}", "=y", "=",  \
        ">%T OK [APPENDUID 10 11] stored", READ_BACK, ">* 1 EXISTS", PAIR_MESSAGE("1", "11", "\\Seen", "3"), \
        PAIR_BODY("1", "11", "y")

/* The target says nothing of what is read back before it has heard the SELECT of the second. Tags: m1 SELECT, m2 FETCH,
 * m3 APPEND, m4 NOOP, m5 and m6 FETCH, m7 SELECT, m8 FETCH. */
static void test_second_begins_before_the_first_ends(void **state)
{
    struct pair_world *w = *state;
    struct over_world *o =
        over_run(w, SCRIPT(SOURCE_FIRST, SOURCE_SECOND, PAIR_BYE),
                 SCRIPT(TARGET_FIRST, "<SELECT b", "<" LIST, ">* 1 EXISTS", ">m4 OK so",
                        PAIR_MESSAGE("1", "11", "", "3"), ">m5 OK so", PAIR_BODY("1", "11", "x"), ">m6 OK so",
                        TARGET_SECOND_ENDS, ">m10 OK so", ">m11 OK so", ">m12 OK so", PAIR_BYE));
    assert_int_equal(o->first_rc, COPY_EQUAL);
    assert_int_equal(o->second_rc, COPY_EQUAL);
    pair_unit_expect(w, "1>11v");
    over_end(o);
}

/* Other flags would have to be set on a mailbox that is not selected any more: nothing is sent, and the copy is to be done
 * again. */
static void test_first_sends_nothing_more(void **state)
{
    struct pair_world *w = *state;
    struct over_world *o =
        over_run(w, SCRIPT(SOURCE_FIRST, SOURCE_SECOND, PAIR_BYE),
                 SCRIPT(TARGET_FIRST, "<SELECT b", "<" LIST, ">* 1 EXISTS", ">m4 OK so",
                        PAIR_MESSAGE("1", "11", "\\Flagged", "3"), ">m5 OK so", PAIR_BODY("1", "11", "x"),
                        ">m6 OK so", TARGET_SECOND_ENDS, ">m10 OK so", ">m11 OK so", ">m12 OK so", PAIR_BYE));
    assert_int_equal(o->first_rc, COPY_DOWN);
    assert_true(o->given);
    assert_int_equal(o->second_rc, COPY_EQUAL);
    pair_unit_expect(w, "1>11v");
    over_end(o);
}

/* Other bytes: the source shows the second one by now, and is not asked for what the first one wants. */
static void test_first_reads_nothing_a_second_time(void **state)
{
    struct pair_world *w = *state;
    struct over_world *o =
        over_run(w, SCRIPT(SOURCE_FIRST, SOURCE_SECOND, PAIR_BYE),
                 SCRIPT(TARGET_FIRST, "<SELECT b", "<" LIST, ">* 1 EXISTS", ">m4 OK so",
                        PAIR_MESSAGE("1", "11", "", "3"), ">m5 OK so", PAIR_BODY("1", "11", "z"), ">m6 OK so",
                        TARGET_SECOND_ENDS, ">m10 OK so", ">m11 OK so", ">m12 OK so", PAIR_BYE));
    assert_int_equal(o->first_rc, COPY_DOWN);
    assert_true(o->given);
    assert_int_equal(o->second_rc, COPY_EQUAL);
    pair_unit_expect(w, "1>11");
    over_end(o);
}

/* What is missing in a list is asked for again, but not where another mailbox is selected. */
static void test_first_lists_nothing_again(void **state)
{
    struct pair_world *w = *state;
    struct over_world *o =
        over_run(w, SCRIPT(SOURCE_FIRST, SOURCE_SECOND, PAIR_BYE),
                 SCRIPT(TARGET_FIRST, "<SELECT b", "<" LIST, ">* 1 EXISTS", ">m4 OK so", ">m5 OK so",
                        PAIR_BODY("1", "11", "x"), ">m6 OK so", TARGET_SECOND_ENDS, ">m10 OK so",
                        ">m11 OK so", ">m12 OK so", PAIR_BYE));
    assert_int_equal(o->first_rc, COPY_DOWN);
    assert_true(o->given);
    assert_int_equal(o->second_rc, COPY_EQUAL);
    over_end(o);
}

/* It is the first one's answer that can't be understood, though the second one has the connection. */
static void test_odd_answer_is_named_where_it_belongs(void **state)
{
    struct pair_world *w = *state;
    struct over_world *o =
        over_run(w, SCRIPT(SOURCE_FIRST, SOURCE_SECOND, PAIR_BYE),
                 SCRIPT(TARGET_FIRST, "<SELECT b", "<" LIST, ">* 1 EXISTS", ">m4 OK so",
                        PAIR_MESSAGE("1", "11", "((", "3"), ">m5 OK so", PAIR_BODY("1", "11", "x"),
                        ">m6 OK so", TARGET_SECOND_ENDS, ">m10 OK so", ">m11 OK so", ">m12 OK so", PAIR_BYE));
    assert_int_equal(o->second_rc, COPY_EQUAL);
    assert_int_equal(findings_total(o->findings), 0);
    assert_int_not_equal(o->first_rc, COPY_EQUAL);
    over_end(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_second_begins_before_the_first_ends),  PAIR_TEST(test_first_sends_nothing_more),
        PAIR_TEST(test_first_reads_nothing_a_second_time),    PAIR_TEST(test_first_lists_nothing_again),
        PAIR_TEST(test_odd_answer_is_named_where_it_belongs),
    };
    return cmocka_run_group_tests(tests, pair_unit_begin, pair_unit_end);
}
