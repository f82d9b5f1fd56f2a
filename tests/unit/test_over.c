#include "migrator/mailbox/copy.h"
#include "pair_unit.h"

/* Two mailboxes on one pair of connections: the second begins while the bytes of the first are still to come; at the
 * source it may begin before those have gone to the target. */

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
    bool source_asked, unread;
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
    if (o->second)
        copy_take_target(o->second);
}

static void on_second(void *owner, const struct copy_result *result)
{
    struct over_world *o = owner;
    o->second = NULL;
    o->second_rc = result->rc;
    o->unread = result->unread;
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

static bool source_goes_over(void *owner)
{
    struct over_world *o = owner;
    struct copy_request r = request(o, o->ledger, o->findings, "b");
    assert_false(o->source_asked);
    o->source_asked = r.target_waits = true;
    o->second = copy_start(&r, on_second, o);
    return true;
}

static bool target_goes_over(void *owner)
{
    struct over_world *o = owner;
    if (o->second)
        copy_take_target(o->second);
    return o->second != NULL;
}

static struct over_world *over_begin(struct pair_world *w, const char *const *source,
                                     const char *const *target)
{
    struct over_world *o = xcalloc(1, sizeof *o);
    o->w = w;
    w->source_imap = pair_unit_dial(w, &w->source, &w->backends[0], "old", source);
    w->target_imap = pair_unit_dial(w, &w->target, &w->backends[1], "new", target);
    w->target.other = &w->source;
    pair_unit_await(w, 2);
    o->findings = findings_new(NULL);
    o->ledger = ledger_load(w->u.store, &w->job, "fedcba9876543210", pair_unit_on_ledger, w);
    pair_unit_await(w, 1);
    return o;
}

static struct over_world *over_run(struct pair_world *w, const char *const *source, const char *const *target)
{
    struct over_world *o = over_begin(w, source, target);
    struct copy_request r = request(o, w->p.ledger, w->findings, "a");
    r.over_to_next = go_over;
    o->first = copy_start(&r, on_first, o);
    UNIT_UNTIL(&w->u, o->ended == 2);
    return o;
}

/* The source first, then the target. */
static struct over_world *over_run_apart(struct pair_world *w, const char *const *source,
                                         const char *const *target)
{
    struct over_world *o = over_begin(w, source, target);
    struct copy_request r = request(o, w->p.ledger, w->findings, "a");
    r.source_to_next = source_goes_over;
    r.over_to_next = target_goes_over;
    o->first = copy_start(&r, on_first, o);
    UNIT_UNTIL(&w->u, o->ended == 2);
    assert_true(o->source_asked);
    return o;
}

/* Rows of the second, and whether anything of it is in doubt. */
static void expect_second(const struct over_world *o, size_t rows)
{
    uint32_t uidnext;
    size_t n;
    ledger_rows(o->ledger, &n);
    assert_int_equal(n, rows);
    assert_false(ledger_in_doubt(o->ledger, &uidnext));
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

/* ---- The source goes over first. It has to have been asked for the bodies of the second (its mark) before the target
 * answers the APPEND of the first. */

#define SOURCE_SECOND_AHEAD                                                                                  \
    "<EXAMINE b", "<" LIST, OPENED("1", "8", "2"), ">%P OK fine", PAIR_MESSAGE("1", "1", "\\Seen", "3"),     \
        PAIR_LISTED, "<UID FETCH 1 (UID BODY.PEEK[])", "!mark"
#define TARGET_FIRST_SENT(caps)                                                                              \
    PAIR_SIGN_IN(caps), "<SELECT a", "<" LIST, OPENED("0", "9", "11"), ">%P OK fine", PAIR_LISTED,           \
        "<APPEND a () " DATE " {3+}", "=x", "=", "!other"
#define TARGET_FIRST_STORED TARGET_FIRST_SENT("UIDPLUS LITERAL+"), ">%T OK [APPENDUID 9 11] stored", READ_BACK
#define TARGET_FIRST_READ                                                                                    \
    ">* 1 EXISTS", ">m4 OK so", PAIR_MESSAGE("1", "11", "", "3"), ">m5 OK so", PAIR_BODY("1", "11", "x"),    \
        ">m6 OK so"

static void test_bodies_of_the_second_are_asked_for_ahead(void **state)
{
    struct pair_world *w = *state;
    struct over_world *o = over_run_apart(
        w, SCRIPT(SOURCE_FIRST, SOURCE_SECOND_AHEAD, PAIR_BODY("1", "1", "y"), ">%T OK read", PAIR_BYE),
        SCRIPT(TARGET_FIRST_STORED, "<SELECT b", "<" LIST, TARGET_FIRST_READ, TARGET_SECOND_ENDS,
               ">m10 OK so", ">m11 OK so", ">m12 OK so", PAIR_BYE));
    assert_int_equal(o->first_rc, COPY_EQUAL);
    assert_int_equal(o->second_rc, COPY_EQUAL);
    pair_unit_expect(w, "1>11v");
    expect_second(o, 1);
    over_end(o);
}

/* What was asked for comes for nobody. */
static void test_target_does_not_open_the_second(void **state)
{
    struct pair_world *w = *state;
    struct over_world *o =
        over_run_apart(w, SCRIPT(SOURCE_FIRST, SOURCE_SECOND_AHEAD, "!wait"),
                       SCRIPT(TARGET_FIRST_STORED, "<SELECT b", "<" LIST, TARGET_FIRST_READ,
                              ">m7 NO not that one", ">m8 BAD nothing is open", PAIR_BYE));
    assert_int_equal(o->first_rc, COPY_EQUAL);
    assert_int_equal(o->second_rc, COPY_DIFFERS);
    assert_true(o->unread);
    expect_second(o, 0);
    over_end(o);
}

/* It may be what was asked for, which is thrown away. The source is read to find out, and then for the copy. */
static void test_target_of_the_second_is_not_empty(void **state)
{
    struct pair_world *w = *state;
    struct over_world *o = over_run_apart(
        w,
        SCRIPT(SOURCE_FIRST, SOURCE_SECOND_AHEAD, PAIR_BODY("1", "1", "y"), ">%T OK read",
               "<UID FETCH 1 (UID BODY.PEEK[])", PAIR_BODY("1", "1", "y"), ">%T OK compared", "<NOOP",
               ">%T OK so", "<UID FETCH 1 (UID BODY.PEEK[])", PAIR_BODY("1", "1", "y"), ">%T OK read",
               PAIR_BYE),
        SCRIPT(TARGET_FIRST_STORED, "<SELECT b", "<" LIST, TARGET_FIRST_READ, OPENED("1", "10", "11"),
               ">m7 OK fine", PAIR_MESSAGE("1", "5", "", "9"), ">m8 OK listed",
               "<UID FETCH 5 (UID BODY.PEEK[])", ">* 1 FETCH (UID 5 BODY[] {9}", "}another\r\n", ">)",
               ">%T OK compared", "<APPEND b (\\Seen) " DATE " {3+}", "=y", "=",
               ">%T OK [APPENDUID 10 11] stored", READ_BACK, ">* 2 EXISTS",
               PAIR_MESSAGE("2", "11", "\\Seen", "3"), PAIR_BODY("2", "11", "y"), ">m11 OK so", ">m12 OK so",
               ">m13 OK so", PAIR_BYE));
    assert_int_equal(o->first_rc, COPY_EQUAL);
    assert_int_equal(o->second_rc, COPY_EQUAL);
    expect_second(o, 1);
    over_end(o);
}

/* The source ends while it is held: nothing of the second is in the ledger, and the first does not need it. */
static void test_source_ends_ahead(void **state)
{
    struct pair_world *w = *state;
    struct over_world *o = over_run_apart(w, SCRIPT(SOURCE_FIRST, SOURCE_SECOND_AHEAD, "!close"),
                                          SCRIPT(TARGET_FIRST_STORED, TARGET_FIRST_READ, "!wait"));
    assert_int_equal(o->first_rc, COPY_EQUAL);
    assert_int_equal(o->second_rc, COPY_DOWN);
    pair_unit_expect(w, "1>11v");
    expect_second(o, 0);
    over_end(o);
}

/* It is named, and the first does not need the source for that. */
static void test_target_refuses_the_first(void **state)
{
    struct pair_world *w = *state;
    struct over_world *o = over_run_apart(
        w, SCRIPT(SOURCE_FIRST, SOURCE_SECOND_AHEAD, PAIR_BODY("1", "1", "y"), ">%T OK read", PAIR_BYE),
        SCRIPT(TARGET_FIRST_SENT("UIDPLUS LITERAL+"), ">%T NO I do not like it", "<SELECT b", "<" LIST,
               TARGET_SECOND_ENDS, ">m7 OK so", ">m8 OK so", ">m9 OK so", PAIR_BYE));
    assert_int_equal(o->first_rc, COPY_CANNOT);
    assert_false(o->given);
    assert_int_equal(findings_of(w->findings, FINDING_REFUSED), 1);
    assert_int_equal(o->second_rc, COPY_EQUAL);
    expect_second(o, 1);
    over_end(o);
}

/* Which of them it is would have to be found out, for which they have to be read once more. */
static void test_target_refuses_a_batch_of_the_first(void **state)
{
    struct pair_world *w = *state;
    struct over_world *o = over_run_apart(
        w,
        SCRIPT(PAIR_SIGN_IN(""), "<EXAMINE a", "<" LIST, OPENED("2", "7", "3"), ">%P OK fine",
               PAIR_MESSAGE("1", "1", "", "3"), PAIR_MESSAGE("2", "2", "", "3"), PAIR_LISTED,
               "<UID FETCH 1:2 (UID BODY.PEEK[])", PAIR_BODY("1", "1", "x"), PAIR_BODY("2", "2", "z"),
               ">%T OK read", SOURCE_SECOND_AHEAD, PAIR_BODY("1", "1", "y"), ">%T OK read", PAIR_BYE),
        SCRIPT(PAIR_SIGN_IN("UIDPLUS LITERAL+ MULTIAPPEND"), "<SELECT a", "<" LIST, OPENED("0", "9", "11"),
               ">%P OK fine", PAIR_LISTED, "<APPEND a () " DATE " {3+}", "=x", "= () " DATE " {3+}", "=z",
               "=", "!other", ">%T NO I do not like one of them", "<SELECT b", "<" LIST, TARGET_SECOND_ENDS,
               ">m7 OK so", ">m8 OK so", ">m9 OK so", PAIR_BYE));
    assert_int_equal(o->first_rc, COPY_DOWN);
    assert_true(o->given);
    assert_int_equal(findings_total(w->findings), 0);
    assert_int_equal(o->second_rc, COPY_EQUAL);
    expect_second(o, 1);
    over_end(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_second_begins_before_the_first_ends),
        PAIR_TEST(test_first_sends_nothing_more),
        PAIR_TEST(test_first_reads_nothing_a_second_time),
        PAIR_TEST(test_first_lists_nothing_again),
        PAIR_TEST(test_odd_answer_is_named_where_it_belongs),
        PAIR_TEST(test_bodies_of_the_second_are_asked_for_ahead),
        PAIR_TEST(test_target_does_not_open_the_second),
        PAIR_TEST(test_target_of_the_second_is_not_empty),
        PAIR_TEST(test_source_ends_ahead),
        PAIR_TEST(test_target_refuses_the_first),
        PAIR_TEST(test_target_refuses_a_batch_of_the_first),
    };
    return cmocka_run_group_tests(tests, pair_unit_begin, pair_unit_end);
}
