#include "migrator/mailbox/mbox_list.h"

#include "unit.h"

struct world {
    struct flags_pool *pool;
    struct mbox_list list;
    struct imap_tree *tree;
};

static void set_up(struct world *w)
{
    static const struct imap_tree_limits limits = {16, 5000, 100000, .lenient = true};
    w->pool = flags_pool_new();
    w->tree = imap_tree_new(&limits);
    mbox_list_init(&w->list, w->pool);
}

static void tear_down(struct world *w)
{
    mbox_list_free(&w->list);
    imap_tree_free(&w->tree);
    flags_pool_free(&w->pool);
}

static const struct imap_value *tree_of(struct world *w, const char *text)
{
    const char *why;
    imap_tree_clear(w->tree);
    assert_true(imap_tree_text(w->tree, span_str(text), &why));
    return imap_tree_first(w->tree);
}

static bool fetch(struct world *w, uint32_t seq, const char *items)
{
    const char *why = NULL;
    bool ok = mbox_list_fetch(&w->list, seq, tree_of(w, items), &why);
    assert_true(ok || why);
    return ok;
}

static uint32_t set_of(struct world *w, const char *text)
{
    uint32_t set;
    const char *why;
    assert_true(flags_add(w->pool, tree_of(w, text), &set, &why));
    return set;
}

static void test_flags(void **state)
{
    (void)state;
    struct world w;
    set_up(&w);
    assert_int_equal(set_of(&w, "()"), FLAGS_NONE);
    assert_int_equal(set_of(&w, "(\\Recent)"), FLAGS_NONE);
    uint32_t set = set_of(&w, "(\\Seen $MDNSent)");
    assert_int_equal(set_of(&w, "($mdnsent \\recent \\SEEN)"), set);
    assert_int_equal(set_of(&w, "($MdnSent $MDNSENT \\Seen)"), set);
    assert_string_equal(flags_text(w.pool, set), "$MDNSent \\Seen");
    assert_int_not_equal(set_of(&w, "(\\Seen)"), set);
    assert_int_not_equal(set_of(&w, "(\\Seen $MDNSen)"), set);
    assert_int_equal(set_of(&w, "($MdnSent \"\\\\Seen\")"), set);
    assert_true(flags_has(w.pool, set, "\\seen"));
    assert_false(flags_has(w.pool, set, "\\See"));
    assert_true(flags_within(w.pool, FLAGS_NONE, set) && flags_within(w.pool, set, set));
    assert_false(flags_within(w.pool, set, FLAGS_NONE));
    uint32_t none;
    const char *why;
    assert_false(flags_add(w.pool, tree_of(&w, "\\Seen"), &none, &why));
    assert_false(flags_add(w.pool, tree_of(&w, "((\\Seen))"), &none, &why));
    assert_false(flags_add(w.pool, tree_of(&w, "(\"Seen\")"), &none, &why));
    assert_false(flags_add(w.pool, tree_of(&w, "(\"\\\\Se en\")"), &none, &why));
    assert_false(flags_add(w.pool, NULL, &none, &why));
    tear_down(&w);
}

/* A number costs the server some bytes, and us none; what was told moves down with EXPUNGE. */
static void test_numbers_cost_nothing(void **state)
{
    (void)state;
    struct world w;
    uint32_t seq;
    const char *why;
    set_up(&w);
    assert_true(mbox_list_exists(&w.list, MBOX_MESSAGES_MAX));
    mbox_list_expunge(&w.list, MBOX_MESSAGES_MAX);
    assert_int_equal(w.list.n, MBOX_MESSAGES_MAX - 1);
    assert_int_equal(w.list.cap, 0);
    assert_null(mbox_list_at(&w.list, 1));
    assert_true(fetch(&w, 2, "(UID 7)") && fetch(&w, 100, "(UID 500)"));
    assert_true(w.list.cap < 1000);
    mbox_list_expunge(&w.list, 1);
    mbox_list_expunge(&w.list, 3000000);
    assert_int_equal(mbox_list_at(&w.list, 1)->uid, 7);
    assert_int_equal(mbox_list_at(&w.list, 99)->uid, 500);
    assert_null(mbox_list_at(&w.list, 100));
    assert_true(mbox_list_exists(&w.list, 99) && mbox_list_exists(&w.list, 101));
    assert_false(mbox_list_check(&w.list, 101, &why, &seq));
    assert_true(fetch(&w, 101, "(UID 501)"));
    assert_int_equal(mbox_list_at(&w.list, 100)->uid, 0);
    tear_down(&w);
}

static void test_split(void **state)
{
    (void)state;
    static const struct {
        const char *permanent; /* NULL: not said */
        bool any;
        const char *set, *kept, *lost;
    } rows[] = {
        {NULL, false, "(\\Seen foo)", "(\\Seen foo)", "()"},
        {NULL, false, "(\\Seen \\JUNK foo)", "(\\Seen foo)", "(\\JUNK)"},
        {"(\\Seen \\Deleted)", true, "(\\Seen foo)", "(\\Seen foo)", "()"},
        {"(\\Seen \\Deleted)", true, "(\\Seen \\Flagged foo)", "(\\Seen foo)", "(\\Flagged)"},
        {"(\\Seen foo)", false, "(\\Seen FOO bar)", "(\\Seen foo)", "(bar)"},
        {"()", false, "(\\Seen bar)", "()", "(\\Seen bar)"},
        {"(\\Seen \\JUNK)", true, "(\\Junk a.b)", "(\\Junk a.b)", "()"},
        {"(\\Seen)", true, "(a]b)", "()", "(a]b)"},
        {"(\\Seen)", true, "(n\xc3\xa4h ok)", "(ok)", "(n\xc3\xa4h)"},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct world w;
        set_up(&w);
        struct flags_policy policy = {.given = rows[i].permanent != NULL, .any_keyword = rows[i].any};
        if (rows[i].permanent)
            policy.listed = set_of(&w, rows[i].permanent);
        uint32_t kept, lost;
        flags_split(w.pool, &policy, set_of(&w, rows[i].set), &kept, &lost);
        assert_int_equal(kept, set_of(&w, rows[i].kept));
        assert_int_equal(lost, set_of(&w, rows[i].lost));
        tear_down(&w);
    }
}

static void test_listing(void **state)
{
    (void)state;
    struct world w;
    const char *why;
    uint32_t seq;
    set_up(&w);
    assert_true(mbox_list_exists(&w.list, 3));
    assert_false(mbox_list_check(&w.list, 3, &why, &seq));
    assert_int_equal(seq, 1);
    assert_true(
        fetch(&w, 1, "(UID 5 FLAGS (\\Seen) INTERNALDATE \" 1-Jan-2020 00:00:00 +0100\" RFC822.SIZE 77)"));
    /* Items may come in several responses and any order. */
    assert_true(fetch(&w, 2, "(INTERNALDATE \"01-Jan-2020 00:00:00 +0000\" RFC822.SIZE 99999999999)"));
    assert_true(fetch(&w, 2, "(FLAGS () X-GM-MSGID 17 UID 4294967295)"));
    assert_false(mbox_list_check(&w.list, 3, &why, &seq));
    assert_int_equal(seq, 3);
    assert_true(mbox_list_check(&w.list, 2, &why, &seq));
    assert_int_equal(w.list.msgs[0].size, 77);
    assert_int_equal(w.list.msgs[0].zone, 60);
    assert_int_equal(w.list.msgs[0].instant, 1577836800 - 3600);
    assert_int_equal(w.list.msgs[1].size, UINT32_MAX);
    assert_ptr_equal(mbox_list_find(&w.list, 5), &w.list.msgs[0]);
    assert_ptr_equal(mbox_list_find(&w.list, UINT32_MAX), &w.list.msgs[1]);
    assert_null(mbox_list_find(&w.list, 6));
    assert_int_equal(mbox_list_from(&w.list, 6), 1);
    /* The third is not listed yet, and does not confuse the search. */
    assert_true(mbox_list_exists(&w.list, 4));
    assert_ptr_equal(mbox_list_find(&w.list, 5), &w.list.msgs[0]);
    mbox_list_expunge(&w.list, 1);
    assert_null(mbox_list_find(&w.list, 5));
    assert_ptr_equal(mbox_list_find(&w.list, UINT32_MAX), &w.list.msgs[0]);
    assert_int_equal(w.list.n, 3);
    tear_down(&w);
}

static void test_bad_answers(void **state)
{
    (void)state;
    struct world w;
    const char *why;
    uint32_t seq;
    set_up(&w);
    assert_false(mbox_list_exists(&w.list, UINT32_MAX));
    assert_true(mbox_list_exists(&w.list, 2));
    assert_true(fetch(&w, 4000000000U, "(UID 5)"));
    assert_true(fetch(&w, 0, "(UID 5)"));
    assert_false(fetch(&w, 1, "(UID 0)"));
    assert_false(fetch(&w, 1, "(UID 4294967296)"));
    assert_false(fetch(&w, 1, "(UID x)"));
    assert_false(fetch(&w, 1, "(RFC822.SIZE -1)"));
    assert_false(fetch(&w, 1, "(FLAGS \\Seen)"));
    assert_false(fetch(&w, 1, "UID 5"));
    assert_true(fetch(&w, 1, "(UID 5 FLAGS () INTERNALDATE NIL RFC822.SIZE 0)"));
    assert_true(w.list.msgs[0].date_bad);
    /* What can be set apart is taken. */
    assert_false(fetch(&w, 1, "(UID 5 FLAGS (\\Seen a(b)c \"q\" x\001y z) X)"));
    assert_string_equal(flags_text(w.pool, w.list.msgs[0].flags), "\\Seen z");
    assert_false(fetch(&w, 1, "(UID 5) more"));
    assert_false(fetch(&w, 1, "(\"UID\" 5)"));
    assert_false(w.list.contradicts);
    /* A message does not change its UID. */
    assert_false(fetch(&w, 1, "(UID 6)"));
    assert_true(w.list.contradicts);
    assert_true(fetch(&w, 1, "(UID 5 FLAGS (\\Seen))"));
    assert_true(fetch(&w, 2, "(UID 5 FLAGS () INTERNALDATE \"\" RFC822.SIZE 0)"));
    assert_false(mbox_list_check(&w.list, 2, &why, &seq));
    assert_int_equal(seq, 2);
    mbox_list_expunge(&w.list, 3);
    mbox_list_expunge(&w.list, 0);
    assert_int_equal(w.list.n, 2);
    tear_down(&w);
}

static struct imap_seq set(const char *text)
{
    struct imap_seq s = {0};
    assert_true(imap_seq_parse(&s, span_str(text), 0, 100));
    return s;
}

static bool knew(void *owner, uint32_t uid, uint32_t *size)
{
    (void)owner;
    *size = uid * 10;
    return uid == 2 || uid == 5 || uid == 8 || uid == 9;
}

/* The UIDs by themselves, and what an earlier listing knew of them. */
static void test_kept(void **state)
{
    (void)state;
    struct world w;
    const char *why;
    uint32_t seq;
    set_up(&w);
    assert_true(mbox_list_exists(&w.list, 3));
    struct imap_seq two = set("5,8"), three = set("5,8,11"), other = set("5,9,11");
    assert_false(mbox_list_uids(&w.list, &two));
    assert_true(mbox_list_uids(&w.list, &three));
    assert_false(mbox_list_uids(&w.list, &other));
    assert_true(fetch(&w, 2, "(UID 8 FLAGS (\\Seen))"));
    mbox_list_keep(&w.list, knew, NULL, MBOX_DATE | MBOX_SIZE);
    /* Flags were not to be kept, and the last one nobody knew. */
    assert_false(mbox_list_check(&w.list, 3, &why, &seq));
    assert_int_equal(seq, 1);
    mbox_list_keep(&w.list, knew, NULL, MBOX_DATE | MBOX_SIZE | MBOX_FLAGS);
    assert_false(mbox_list_check(&w.list, 3, &why, &seq));
    assert_int_equal(seq, 3);
    assert_true(fetch(&w, 3, "(UID 11 FLAGS () INTERNALDATE \"01-Jan-2020 00:00:00 +0000\" RFC822.SIZE 7)"));
    assert_true(mbox_list_check(&w.list, 3, &why, &seq));
    assert_int_equal(w.list.msgs[0].size, 50);
    assert_true(mbox_msg_kept(&w.list.msgs[0], MBOX_FLAGS));
    assert_false(mbox_msg_kept(&w.list.msgs[1], MBOX_FLAGS));
    assert_true(mbox_msg_kept(&w.list.msgs[1], MBOX_DATE));
    assert_false(mbox_msg_kept(&w.list.msgs[2], MBOX_DATE));
    /* What is told later is no more what it was. */
    assert_true(fetch(&w, 1, "(FLAGS (x))"));
    assert_false(mbox_msg_kept(&w.list.msgs[0], MBOX_FLAGS));
    imap_seq_free(&two);
    imap_seq_free(&three);
    imap_seq_free(&other);
    tear_down(&w);
}

static void test_size(void **state)
{
    (void)state;
    assert_true(sizeof(struct mbox_msg) <= 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags),       cmocka_unit_test(test_numbers_cost_nothing),
        cmocka_unit_test(test_split),       cmocka_unit_test(test_listing),
        cmocka_unit_test(test_bad_answers), cmocka_unit_test(test_size),
        cmocka_unit_test(test_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
