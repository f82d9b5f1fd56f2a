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
    rights_map(&m, &r, &self, &(struct rights_way){.map = map}, NULL);
    assert_int_equal(m.n, 3);
    assert_string_equal(rights_find(&m, "robert@example.org")->letters, "lr");
    assert_string_equal(rights_find(&m, "-david")->letters, "i");
    assert_string_equal(rights_find(&m, "anyone")->letters, "lr");
    rights_free(&r);
    rights_free(&m);
    view_renames_free(&map);
}

/* What a list of one server becomes on another: "WHO RIGHTS ..." and what it can't say. */
static void becomes(const char *list, const struct rights_way *way, const char *wanted,
                    const char *unsaid_wanted)
{
    struct rights r = take(list, false), m = {0}, unsaid = {0};
    struct buf text = {0}, lost = {0};

    rights_map(&m, &r, &self, way, &unsaid);
    for (size_t i = 0; i < m.n; i++)
        buf_printf(&text, "%s%s %s", i ? " " : "", m.entries[i].who, m.entries[i].letters);
    for (size_t i = 0; i < unsaid.n; i++)
        buf_printf(&lost, "%s%s", i ? " " : "", unsaid.entries[i].who);
    assert_string_equal(buf_str(&text), wanted);
    assert_string_equal(buf_str(&lost), unsaid_wanted);
    buf_free(&text);
    buf_free(&lost);
    rights_free(&r);
    rights_free(&m);
    rights_free(&unsaid);
}

static void identities_of_one_server_on_another(void **state)
{
    const char
        *dovecot = "INBOX anyone lr -anyone s authenticated lr $sales lrs -$sales s !$it lrs #bob lr bob lr "
                   "anonymous l group:x l",
        *cyrus = "INBOX anyone lr anonymous l group:sales lrs -group:it s bob lrn $money lr authenticated r";

    (void)state;
    becomes(
        dovecot, &(struct rights_way){.from = RIGHTS_OF_DOVECOT, .to = RIGHTS_OF_DOVECOT},
        "!$it lrs #bob lr $sales lrs -$sales s -anyone s anonymous l anyone lr authenticated lr bob lr group:x l",
        "");
    becomes(dovecot, &(struct rights_way){.from = RIGHTS_OF_DOVECOT, .to = RIGHTS_OF_CYRUS},
            "-anyone s -group:sales s anyone lr bob lr group:sales lrs",
            "!$it #bob anonymous authenticated group:x");
    becomes(cyrus, &(struct rights_way){.from = RIGHTS_OF_CYRUS, .to = RIGHTS_OF_DOVECOT},
            "$sales lrs -$it s anyone lr bob lr", "$money anonymous authenticated");
    becomes(dovecot, &(struct rights_way){.from = RIGHTS_OF_DOVECOT},
            "-anyone s anonymous l anyone lr bob lr group:x l", "!$it #bob $sales -$sales authenticated");
    becomes("INBOX user=bob lr group=sales l anyone r", &(struct rights_way){.to = RIGHTS_OF_DOVECOT},
            "$sales l anyone r bob lr", "");
}

static void rules_of_the_site_go_before_that(void **state)
{
    struct view_renames *map = view_renames_new();
    const char *why;

    (void)state;
    assert_true(view_renames_add(map, "authenticated=anyone", &why));
    becomes("INBOX authenticated lr -authenticated s anyone p",
            &(struct rights_way){.from = RIGHTS_OF_DOVECOT, .to = RIGHTS_OF_CYRUS, .map = map},
            "-anyone s anyone lr", "");
    view_renames_free(&map);
}

/* By what each calls the account itself. */
static void users_with_and_without_their_domain(void **state)
{
    struct rights full = take("INBOX ann@example.org lrs", false), local = take("Work ANN lrs", false),
                  neither = take("INBOX owner lrs bob lr", false);
    struct rights_way way = {.form_from = rights_form(&local, &self), .form_to = rights_form(&full, &self)},
                      back = {.form_from = way.form_to, .form_to = way.form_from},
                      unknown = {.form_from = rights_form(&neither, &self), .form_to = way.form_to};

    (void)state;
    becomes("INBOX bob lr -carl s dora@other.org l anyone r bob@example.org s", &way,
            "-carl@example.org s anyone r bob@example.org lrs dora@other.org l", "");
    becomes("INBOX bob@example.org lr dora@other.org l -carl@EXAMPLE.org s", &back,
            "-carl s bob lr dora@other.org l", "");
    becomes("INBOX bob lr", &unknown, "bob lr", "");
    assert_int_equal(rights_form(&full, &(struct rights_self){{"ann", "ann"}}), RIGHTS_FORM_UNKNOWN);
    rights_free(&full);
    rights_free(&local);
    rights_free(&neither);
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
        cmocka_unit_test(letters_of_both_ages),
        cmocka_unit_test(nobody_gets_more_at_an_old_server),
        cmocka_unit_test(lists_that_are_none),
        cmocka_unit_test(grants_are_what_others_have),
        cmocka_unit_test(identities_of_one_server_on_another),
        cmocka_unit_test(rules_of_the_site_go_before_that),
        cmocka_unit_test(users_with_and_without_their_domain),
        cmocka_unit_test(what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
