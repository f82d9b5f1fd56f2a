/* Annotations as METADATA and its draft tell them, and whose they are. */
#include "unit.h"

#include "migrator/account/annotations.h"

static bool take(struct annotations *a, const char *word, const char *text, bool of_server)
{
    struct imap_tree *t =
        imap_tree_new(&(struct imap_tree_limits){.depth = 10, .values = 5000, .bytes = 100000});
    struct imap_resp r = {.kind = RESP_DATA, .word = span_str(word)};
    const char *why;

    assert_true(imap_tree_text(t, span_str(text), &why));
    bool ok = annotations_take(a, &r, imap_tree_first(t), of_server);
    imap_tree_free(&t);
    return ok;
}

static const char *value(struct annotations *a, const char *entry)
{
    const struct annotation *x = annotations_find(a, entry);

    return x ? buf_str(&((struct annotation *)x)->value) : NULL;
}

static void metadata(void **state)
{
    struct annotations a = {0};

    (void)state;
    assert_true(take(&a, "METADATA",
                     "INBOX (/private/comment \"mine\" /shared/comment NIL /shared/vendor/kolab/folder-type "
                     "mail /private/specialuse \"\\\\Sent\" /shared/vendor/cmu/cyrus-imapd/size 12)",
                     false));
    assert_true(take(&a, "METADATA", "INBOX (/private/comment again /private/x \"\")", false));
    annotations_sort(&a);
    assert_int_equal(a.n, 3);
    assert_string_equal(value(&a, "/PRIVATE/comment"), "mine");
    assert_string_equal(value(&a, "/shared/vendor/kolab/folder-type"), "mail");
    assert_string_equal(value(&a, "/private/x"), "");
    assert_null(value(&a, "/shared/comment"));
    annotations_free(&a);
}

static void of_the_server_only_what_is_private(void **state)
{
    struct annotations a = {0};

    (void)state;
    assert_true(take(&a, "METADATA",
                     "\"\" (/shared/comment \"the site\" /private/vendor/x \"mine\" /shared/admin a)", true));
    annotations_sort(&a);
    assert_int_equal(a.n, 1);
    assert_string_equal(value(&a, "/private/vendor/x"), "mine");
    annotations_free(&a);
}

static void the_draft(void **state)
{
    struct annotations a = {0};

    (void)state;
    assert_true(take(&a, "ANNOTATION",
                     "INBOX \"/comment\" (\"value.shared\" \"all\" \"value.priv\" \"mine\" \"size.priv\" "
                     "\"4\") \"/sort\" (\"value.priv\" NIL)",
                     false));
    annotations_sort(&a);
    assert_int_equal(a.n, 2);
    assert_string_equal(value(&a, "/private/comment"), "mine");
    assert_string_equal(value(&a, "/shared/comment"), "all");
    annotations_free(&a);
}

static void what_is_none(void **state)
{
    struct annotations a = {0};

    (void)state;
    assert_false(
        take(&a, "METADATA", "INBOX /private/comment", false)); /* the unsolicited form has names alone */
    assert_false(take(&a, "LIST", "INBOX (/private/comment x)", false));
    assert_true(take(&a, "METADATA", "INBOX (comment x /other/y z /private/odd)", false));
    assert_int_equal(a.n, 0);
    annotations_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata),
        cmocka_unit_test(of_the_server_only_what_is_private),
        cmocka_unit_test(the_draft),
        cmocka_unit_test(what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
