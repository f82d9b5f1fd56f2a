#include "unit.h"

#include "lib/view_list.h"

/* "1:3,7" as a list. */
static struct view_list list_of(const char *uids)
{
    struct view_list l = {0};
    if (*uids)
        assert_true(imap_seq_parse(&l.uids, span_str(uids), 0, 1000));
    l.n = (uint32_t)imap_seq_count(&l.uids);
    return l;
}

static void test_draws(void **state)
{
    (void)state;
    struct view_list l = {0};
    struct buf text = {0};
    assert_int_equal(view_list_take(&l, 1, BYTES("(UID 3)")), VIEW_LIST_ALONE);
    assert_int_equal(view_list_take(&l, 2, BYTES("(uid 4)")), VIEW_LIST_ALONE);
    assert_int_equal(view_list_take(&l, 1, BYTES("(FLAGS (\\Seen))")), VIEW_LIST_OTHER);
    assert_int_equal(view_list_take(&l, 1, BYTES("(UID 3 FLAGS (\\Seen))")), VIEW_LIST_OTHER);
    assert_int_equal(view_list_take(&l, 3, BYTES("(FLAGS (UID \\Seen) UID 9)")), VIEW_LIST_MORE);
    assert_int_equal(view_list_take(&l, 4, BYTES("(ENVELOPE (\"UID 5\" \"\\\"UID 6\") UID 4294967295 X)")),
                     VIEW_LIST_MORE);
    assert_false(l.broken);
    imap_seq_write(&text, &l.uids);
    assert_string_equal(buf_str(&text), "3:4,9,4294967295");
    assert_int_equal(l.n, 4);
    buf_free(&text);
    view_list_free(&l);
}

static void no_crash(struct span items)
{
    struct view_list l = {0};
    view_list_take(&l, 1, items);
    view_list_free(&l);
}

static void test_what_is_no_list(void **state)
{
    (void)state;
    static const struct {
        uint32_t number;
        const char *items;
    } rows[] = {{3, "(UID 9)"}, {2, "(UID 5)"}, {2, "(UID 4)"}};
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct view_list l = {0}, other = list_of("");
        struct view_list_change change;
        view_list_take(&l, 1, BYTES("(UID 5)"));
        assert_int_equal(view_list_take(&l, rows[i].number, span_str(rows[i].items)), VIEW_LIST_ALONE);
        assert_true(l.broken);
        assert_false(view_list_compare(&l, &other, &change));
        assert_false(view_list_compare(&other, &l, &change));
        view_list_free(&l);
    }
    static const char *const odd[] = {"",
                                      "(",
                                      ")",
                                      "UID 7",
                                      "(UID)",
                                      "(UID )",
                                      "(UID x)",
                                      "(UID 0)",
                                      "(UID 4294967296)",
                                      "(XUID 7)",
                                      "(BODY[] UID7)",
                                      "((UID 7))",
                                      "\"(UID 7)\""};
    for (size_t i = 0; i < COUNTOF(odd); i++) {
        struct view_list l = {0};
        assert_int_equal(view_list_take(&l, 1, span_str(odd[i])), VIEW_LIST_OTHER);
        view_list_free(&l);
    }
    unit_prefixes(BYTES("(FLAGS (\\Seen \"q\\\"\") UID 12 X \"\\"), no_crash);
}

static void test_compares(void **state)
{
    (void)state;
    static const struct {
        const char *client, *now, *gone; /* gone NULL: can't be told */
        uint32_t arrived;
    } rows[] = {
        {"", "", "", 0},
        {"", "1:3", "", 3},
        {"1:5", "1:5", "", 0},
        {"1:5", "1:7,9", "", 3},
        {"1:5", "2:4", "1,5", 0},
        {"1:5", "", "1:5", 0},
        {"1:5", "6", "1:5", 1},
        {"10,20,30:40", "20,35:36,50", "1,3:7,10:13", 1},
        {"10,20,30:40", "10,20,30:40,41", "", 1},
        {"10,20,30", "10,15,20,30", NULL, 0}, /* a message where there was none */
        {"10,20,30", "1,10,20,30", NULL, 0},
        {"10,20,30", "15", NULL, 0},
        {"5:9", "1:5", NULL, 0}, /* the same number of messages, other UIDs */
        {"4294967290:4294967295", "4294967294:4294967295", "1:4", 0},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct view_list client = list_of(rows[i].client), now = list_of(rows[i].now);
        struct view_list_change change = {0};
        struct buf text = {0};
        assert_int_equal(view_list_compare(&client, &now, &change), rows[i].gone != NULL);
        if (rows[i].gone) {
            if (change.gone.n > 0)
                imap_seq_write(&text, &change.gone);
            assert_string_equal(buf_str(&text), rows[i].gone);
            assert_int_equal(change.arrived, rows[i].arrived);
        }
        imap_seq_free(&change.gone);
        buf_free(&text);
        view_list_free(&client);
        view_list_free(&now);
    }
}

/* Against the plain way: every subset of eight UIDs with every other. */
static void test_all_small_lists(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++) {
            struct view_list client = {0}, now = {0};
            struct view_list_change change = {0};
            unsigned highest = 0, arrived = 0;
            bool possible = true;
            for (unsigned u = 0; u < 8; u++) {
                if (a >> u & 1) {
                    imap_seq_add(&client.uids, u + 1, u + 1);
                    client.n++;
                    highest = u + 1;
                }
                if (b >> u & 1) {
                    imap_seq_add(&now.uids, u + 1, u + 1);
                    now.n++;
                }
            }
            for (unsigned u = 0; u < 8; u++)
                if ((b & ~a) >> u & 1) {
                    possible = possible && u + 1 > highest;
                    arrived++;
                }
            assert_int_equal(view_list_compare(&client, &now, &change), possible);
            for (unsigned u = 0, n = 0; possible && u < 8; u++) {
                n += a >> u & 1;
                if (a >> u & 1)
                    assert_int_equal(imap_seq_has(&change.gone, n), !(b >> u & 1));
            }
            if (possible)
                assert_int_equal(change.arrived, arrived);
            imap_seq_free(&change.gone);
            view_list_free(&client);
            view_list_free(&now);
        }
}

static void test_uids_of_numbers(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"4:6,9,20:30", "1", "4"},           {"4:6,9,20:30", "2:5", "5:6,9,20"},
        {"4:6,9,20:30", "1,4,15", "4,9,30"}, {"4:6,9,20:30", "14:99", "29:30"},
        {"4:6,9,20:30", "16:20", ""},        {"", "1:5", ""},
    };
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct view_list l = list_of(rows[i][0]), numbers = list_of(rows[i][1]);
        struct imap_seq uids = {0};
        struct buf text = {0};
        view_list_uids(&l, &numbers.uids, &uids);
        imap_seq_write(&text, &uids);
        assert_string_equal(buf_str(&text), rows[i][2]);
        buf_free(&text);
        imap_seq_free(&uids);
        view_list_free(&l);
        view_list_free(&numbers);
    }
}

static void flags(struct view_list *l, uint32_t number, const char *items, enum view_list_flags is)
{
    assert_int_equal(view_list_take_flags(l, number, span_str(items)), is);
}

static void test_flags(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "", "(", "(FLAGS", "(FLAGS (", "(FLAGS (a", "(X (FLAGS (a)))", "(\"FLAGS (a)\")", "(UID 3)"};
    struct view_list l = list_of("4,9:10"), now = list_of("4,10:12");
    struct imap_seq numbers = {0};
    struct buf text = {0};
    for (size_t i = 0; i < COUNTOF(odd); i++)
        flags(&l, 1, odd[i], VIEW_FLAGS_NONE);
    flags(&l, 4, "(FLAGS ())", VIEW_FLAGS_NONE);
    flags(&l, 0, "(FLAGS ())", VIEW_FLAGS_NONE);
    view_list_reflagged(&l, &now, &numbers);
    assert_int_equal(numbers.n, 0); /* nothing is known of any */
    flags(&l, 1, "(FLAGS (\\Seen $A  \\Recent))", VIEW_FLAGS_FIRST);
    flags(&l, 1, "(FLAGS (\\Seen $A))", VIEW_FLAGS_NEWS);
    flags(&l, 3, "(UID 10 FLAGS (\\Seen))", VIEW_FLAGS_NEWS);
    flags(&now, 1, "(FLAGS ($a \\SEEN) UID 4)", VIEW_FLAGS_NEWS);
    flags(&now, 2, "(FLAGS (\\Seen))", VIEW_FLAGS_FIRST);
    flags(&now, 3, "(FLAGS (\\Seen))", VIEW_FLAGS_FIRST);
    view_list_reflagged(&l, &now, &numbers);
    assert_int_equal(numbers.n, 0);
    flags(&now, 2, "(FLAGS ())", VIEW_FLAGS_NEWS);
    flags(&now, 1, "(FLAGS ($A))", VIEW_FLAGS_NEWS);
    view_list_reflagged(&l, &now, &numbers);
    imap_seq_write(&text, &numbers);
    assert_string_equal(buf_str(&text), "1:2");
    view_list_drop_flags(&l);
    imap_seq_free(&numbers);
    view_list_reflagged(&l, &now, &numbers);
    assert_int_equal(numbers.n, 0);
    buf_free(&text);
    view_list_free(&l);
    view_list_free(&now);
}

/* Of one message the source has told none: then it is told. */
static void test_flags_that_are_not_known(void **state)
{
    (void)state;
    struct view_list l = list_of("1:300"), now = list_of("2:300");
    struct imap_seq numbers = {0};
    struct buf text = {0};
    for (uint32_t n = 1; n <= 300; n++)
        if (n != 150 && n != 300)
            flags(&l, n, "(FLAGS (a b))", VIEW_FLAGS_FIRST);
    for (uint32_t n = 1; n < 300; n++)
        flags(&now, n, "(FLAGS (b a))", VIEW_FLAGS_FIRST);
    view_list_reflagged(&l, &now, &numbers);
    imap_seq_write(&text, &numbers);
    assert_string_equal(buf_str(&text), "149,299");
    buf_free(&text);
    imap_seq_free(&numbers);
    view_list_free(&l);
    view_list_free(&now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draws),
        cmocka_unit_test(test_what_is_no_list),
        cmocka_unit_test(test_compares),
        cmocka_unit_test(test_uids_of_numbers),
        cmocka_unit_test(test_all_small_lists),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_flags_that_are_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
