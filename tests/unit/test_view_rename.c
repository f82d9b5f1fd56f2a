/* Rules of the configuration about names: what they mean, what they make, and that it leads back. */
#include "unit.h"

#include "lib/view_name.h"
#include "lib/view_rename.h"

static struct view_place place_of(const char *name, char separator, const char *prefix)
{
    return (struct view_place){.name = span_str(name), .separator = separator, .prefix = prefix};
}

static bool means(const char *pattern, const char *name, char separator, const char *prefix)
{
    const char *why;
    struct view_pattern *p = view_pattern_new(span_str(pattern), &why);
    struct view_place place = place_of(name, separator, prefix);

    assert_non_null(p);
    bool m = view_pattern_means(p, &place);
    view_pattern_free(&p);
    return m;
}

static void patterns_mean_mailboxes_and_what_is_below(void **state)
{
    (void)state;
    assert_true(means("Spam", "Spam", '/', ""));
    assert_true(means("Spam", "Spam/2020/x", '/', ""));
    assert_false(means("Spam", "Spam2", '/', ""));
    assert_false(means("Spam", "spam", '/', ""));
    assert_false(means("Spam", "a/Spam", '/', ""));
    assert_true(means("*Spam", "a/Spam", '/', ""));
    assert_false(means("%Spam", "a/Spam", '/', ""));
    assert_true(means("%/Spam", "a/Spam", '/', ""));
    assert_true(means("a*c%e", "a/b/cde", '/', ""));
    assert_true(means("a*c%e", "abcXXe.f", '.', ""));
    assert_false(means("a*c%e", "abc.e", '.', ""));
    assert_true(means("50\\%", "50%", '/', ""));
    assert_false(means("50\\%", "50x", '/', ""));
    assert_true(means("a\\\\b", "a\\b", '/', ""));
    assert_false(means("Spam", "Spam.x", '\0', ""));
    assert_true(means("*", "anything", '\0', ""));
}

static void the_prefix_may_be_there_or_not(void **state)
{
    (void)state;
    assert_true(means("Sent Items", "INBOX.Sent Items", '.', "INBOX."));
    assert_true(means("INBOX.Sent Items", "INBOX.Sent Items.x", '.', "INBOX."));
    assert_true(means("Sent", "Inbox.Sent", '.', "INBOX."));
    assert_false(means("Sent", "user.ann.Sent", '.', "INBOX."));
    assert_false(means("*", "INBOX", '.', "INBOX."));
    assert_false(means("%", "Inbox", '/', ""));
    assert_true(means("%", "INBOX/x", '/', "")); /* below INBOX, which is its parent by name alone */
}

static void people_write_utf_8(void **state)
{
    (void)state;
    assert_true(means("Entw\xc3\xbcrfe", "Entw&APw-rfe", '/', ""));
    assert_true(means("\xc3\x9c*", "&ANwA5A-x", '/', ""));
    assert_true(means("R&D", "R&-D", '/', ""));
    assert_true(means("R&D", "R&D", '/', "")); /* not valid: as its bytes */
    assert_true(means("\xc3\xbc", "\xc3\xbc", '/', ""));
}

static const char *fault(const char *rule)
{
    const char *why = NULL;
    struct view_renames *r = view_renames_new();
    bool ok = view_renames_add(r, rule, &why);

    view_renames_free(&r);
    return ok ? NULL : why;
}

static void wrong_rules_are_named(void **state)
{
    (void)state;
    assert_null(fault("Sent Items=Sent"));
    assert_null(fault("A/*=B/*"));
    assert_null(fault("a\\=b=c"));
    assert_non_null(strstr(fault("Sent"), "is not \"old name=new name\""));
    assert_non_null(strstr(fault("a=b=c"), "is not"));
    assert_non_null(strstr(fault("=b"), "is empty"));
    assert_non_null(strstr(fault("a="), "is empty"));
    assert_non_null(strstr(fault("a*=b"), "same wildcards"));
    assert_non_null(strstr(fault("a*=b%"), "same wildcards"));
    assert_non_null(strstr(fault("a*%b%=a*%b%"), "side by side"));
    assert_non_null(strstr(fault("a*b*c*d*e*f*g*=x"), "six"));
    assert_non_null(strstr(fault("inbox=x"), "INBOX"));
    assert_non_null(strstr(fault("x=INBOX"), "INBOX"));
    assert_non_null(strstr(fault("x\\"), "is not"));
    assert_non_null(strstr(fault("x=y\\"), "backslash"));
    assert_non_null(strstr(fault("x=\xff"), "UTF-8"));
    assert_non_null(strstr(fault("x\n=y"), "control"));
}

/* What a rule makes of a name, and that it leads back where it changed something. */
static void check(const char *rule, const char *name, const char *wanted, char separator, const char *prefix)
{
    const char *why;
    struct view_renames *r = view_renames_new();
    struct buf there = {0}, back = {0};

    assert_true(view_renames_add(r, rule, &why));
    struct view_place place = place_of(name, separator, prefix);
    size_t n = view_rename(r, &place, false, &there);
    assert_string_equal(buf_str(&there), wanted);
    assert_int_equal(n, strcmp(name, wanted) != 0);
    if (n) {
        place = place_of(buf_str(&there), separator, prefix);
        assert_int_equal(view_rename(r, &place, true, &back), 1);
        assert_string_equal(buf_str(&back), name);
    }
    buf_free(&there);
    buf_free(&back);
    view_renames_free(&r);
}

static void names_are_changed_and_lead_back(void **state)
{
    (void)state;
    check("Sent Items=Sent", "Sent Items", "Sent", '/', "");
    check("Sent Items=Sent", "Sent Items/2020/x", "Sent/2020/x", '/', "");
    check("Sent Items=Sent", "Sent Itemsx", "Sent Itemsx", '/', "");
    check("Sent Items=Sent", "INBOX.Sent Items.a", "INBOX.Sent.a", '.', "INBOX.");
    check("INBOX.Sent Items=INBOX.Sent", "INBOX.Sent Items.a", "INBOX.Sent.a", '.', "INBOX.");
    check("INBOX.Sent Items=Sent", "INBOX.Sent Items", "INBOX.Sent", '.', "INBOX.");
    check("Sent Items=INBOX.Sent", "INBOX.Sent Items", "INBOX.Sent", '.', "INBOX.");
    check("Archive/*=Old/*", "Archive/2020/x", "Old/2020/x", '/', "");
    check("Archive/*=Old/*", "Archive", "Archive", '/', "");
    check("Projects %=Projects/%", "Projects 7/a", "Projects/7/a", '/', "");
    check("%-*=%+*", "a-b/c-d", "a+b/c-d", '/', "");
    check("Entw\xc3\xbcrfe=Drafts", "Entw&APw-rfe/&ANw-", "Drafts/&ANw-", '/', "");
    check("Drafts=Entw\xc3\xbcrfe", "Drafts", "Entw&APw-rfe", '/', "");
    check("x=R&D", "x/a", "R&-D/a", '/', "");
    check("x=R&D", "x/&", "R&D/&", '/', ""); /* no modified UTF-7: as its bytes */
    check("x=\xc3\xbc", "x/\xc3\xa4", "\xc3\xbc/\xc3\xa4", '/',
          ""); /* as a server with 8-bit names has them */
    check("\xc3\x9c*=\xc3\x9c/*", "&ANwA5A-", "&ANw-/&AOQ-", '/', "");
}

static void the_first_rule_that_means_a_name_is_its_rule(void **state)
{
    const char *why;
    struct view_renames *r = view_renames_new();
    struct buf out = {0};

    (void)state;
    assert_true(view_renames_add(r, "a/b=x", &why));
    assert_true(view_renames_add(r, "a=y", &why));
    assert_true(view_renames_add(r, "x=z", &why));
    struct view_place place = place_of("a/b/c", '/', "");
    assert_int_equal(view_rename(r, &place, false, &out), 1);
    assert_string_equal(buf_str(&out), "x/c");
    buf_clear(&out);
    place = place_of("a/c", '/', "");
    assert_int_equal(view_rename(r, &place, false, &out), 2);
    assert_string_equal(buf_str(&out), "y/c");
    buf_clear(&out);
    assert_int_equal(view_rename(NULL, &place, false, &out), 0);
    assert_string_equal(buf_str(&out), "a/c");
    buf_free(&out);
    view_renames_free(&r);
}

static void renames_go_before_separators(void **state)
{
    const char *why;
    struct view_renames *r = view_renames_new();
    struct view_names names = {.source = {.separator = '.', .prefix = "INBOX."},
                               .target = {.separator = '/', .prefix = ""},
                               .renames = r};
    struct buf out = {0}, back = {0};

    (void)state;
    assert_true(view_renames_add(r, "Sent Items=Sent", &why));
    assert_true(view_name_to_target(&names, span_str("INBOX.Sent Items.a/b"), &out));
    assert_string_equal(buf_str(&out), "Sent/a=2Fb");
    assert_true(view_name_to_source(&names, buf_span(&out), &back));
    assert_string_equal(buf_str(&back), "INBOX.Sent Items.a/b");
    buf_free(&out);
    buf_free(&back);
    view_renames_free(&r);
}

/* Names of a hostile user: the work stays small. */
static void many_wildcards_end_soon(void **state)
{
    char name[2001];

    (void)state;
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_false(means("*a*a*a*a*a*b", name, '/', ""));
    assert_false(means("%a%a%a*a*a*b", name, '/', ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_mean_mailboxes_and_what_is_below),
        cmocka_unit_test(the_prefix_may_be_there_or_not),
        cmocka_unit_test(people_write_utf_8),
        cmocka_unit_test(wrong_rules_are_named),
        cmocka_unit_test(names_are_changed_and_lead_back),
        cmocka_unit_test(the_first_rule_that_means_a_name_is_its_rule),
        cmocka_unit_test(renames_go_before_separators),
        cmocka_unit_test(many_wildcards_end_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
