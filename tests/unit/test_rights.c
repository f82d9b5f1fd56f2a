/* Access control lists of old and of new servers, and who is meant. */
#include "unit.h"

#include "migrator/account/rights.h"

static const struct rights_self self = {{"ann@example.org", "ann", "admin"}};

static struct imap_tree *tree_of(const char *text)
{
    struct imap_tree *t =
        imap_tree_new(&(struct imap_tree_limits){.depth = 10, .values = 3000, .bytes = 100000});
    const char *why;

    assert_true(imap_tree_text(t, span_str(text), &why));
    return t;
}

static struct rights take(const char *text, bool old)
{
    struct imap_tree *t = tree_of(text);
    struct rights r = {0};

    assert_true(rights_take(&r, imap_tree_first(t), old));
    imap_tree_free(&t);
    return r;
}

static void letters_of_both_ages(void **state)
{
    (void)state;
    struct rights r = take("INBOX ann lrswipkxtecda bob lrs \"-carl x\" lr", false);
    assert_int_equal(r.n, 3);
    assert_string_equal(rights_find(&r, "ann")->letters,
                        "aeiklprstwx"); /* c and d are there for old clients */
    assert_string_equal(rights_find(&r, "bob")->letters, "lrs");
    assert_string_equal(rights_find(&r, "-carl x")->letters, "lr");
    assert_null(rights_find(&r, "carl x"));
    rights_free(&r);
    r = take("INBOX ann lrswipcda bob lrd carl lrc", true);
    assert_string_equal(rights_find(&r, "ann")->letters, "aeiklprstwx");
    assert_string_equal(rights_find(&r, "bob")->letters, "elrt");
    assert_string_equal(rights_find(&r, "carl")->letters, "klrx");
    rights_free(&r);
}

static const char *written(const char *letters, bool old, const char *lost_wanted)
{
    static char text[RIGHTS_LETTERS_MAX];
    char lost[RIGHTS_LETTERS_MAX];
    struct buf out = {0};

    rights_write(&out, letters, old, lost);
    strcpy(text, buf_str(&out));
    assert_string_equal(lost, lost_wanted);
    buf_free(&out);
    return text;
}

static void nobody_gets_more_at_an_old_server(void **state)
{
    (void)state;
    assert_string_equal(written("elrt", false, ""), "elrt");
    assert_string_equal(written("elrt", true, ""), "lrd");
    assert_string_equal(written("aeiklprstwx", true, ""), "ailprswcd");
    assert_string_equal(written("klr", true, "k"), "lr");
    assert_string_equal(written("ex", true, "ex"), "");
}

static void lists_that_are_none(void **state)
{
    static const char *const bad[] = {"INBOX ann", "INBOX ann (lr)", "INBOX (ann) lr", "INBOX \"\" lr"};
    struct rights r = {0};

    (void)state;
    for (size_t i = 0; i < COUNTOF(bad); i++) {
        struct imap_tree *t = tree_of(bad[i]);
        assert_false(rights_take(&r, imap_tree_first(t), false));
        assert_int_equal(r.n, 0);
        imap_tree_free(&t);
    }
    assert_false(rights_take(&r, NULL, false));
    struct buf many = {0};
    buf_add_str(&many, "INBOX");
    for (size_t i = 0; i <= RIGHTS_ENTRIES_MAX; i++)
        buf_add_str(&many, " x l");
    struct imap_tree *t = tree_of(buf_str(&many));
    assert_false(rights_take(&r, imap_tree_first(t), false));
    imap_tree_free(&t);
    buf_free(&many);
}

static void grants_are_what_others_have(void **state)
{
    (void)state;
    struct rights r = take("INBOX ANN lrs owner lrs admin lrs anyone p user=ann lr administrators l "
                           "bob lr anyone lr -dave i empty \"\"",
                           false);
    struct rights m = {0};
    const char *why;
    struct view_renames *map = view_renames_new();

    assert_true(view_renames_add(map, "bob=robert@example.org", &why));
    assert_true(view_renames_add(map, "dave=david", &why));
    rights_map(&m, &r, &self, map);
    assert_int_equal(m.n, 3);
    assert_string_equal(rights_find(&m, "robert@example.org")->letters, "lr");
    assert_string_equal(rights_find(&m, "-david")->letters, "i");
    assert_string_equal(rights_find(&m, "anyone")->letters, "lr");
    rights_free(&r);
    rights_free(&m);
    view_renames_free(&map);
}

static void what_is_missing(void **state)
{
    char missing[RIGHTS_LETTERS_MAX];

    (void)state;
    rights_missing("lrs", "lr", missing);
    assert_string_equal(missing, "s");
    rights_missing("lr", "lrswi", missing);
    assert_string_equal(missing, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_of_both_ages), cmocka_unit_test(nobody_gets_more_at_an_old_server),
        cmocka_unit_test(lists_that_are_none),  cmocka_unit_test(grants_are_what_others_have),
        cmocka_unit_test(what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
