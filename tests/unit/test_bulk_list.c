#include "unit.h"

#include "lib/xalloc.h"
#include "migrator/admin/bulk_list.h"

static struct conf_alias aliases[] = {{"a@x", "ann@x", 0}};
static const struct conf conf = {
    .migration = {.default_domain = "x", .alias_table = aliases, .n_alias_table = 1}};

/* "1 ann@x; ! 3 text: why" */
static void expect(const char *text, size_t len, const char *want)
{
    struct bulk_list l;
    struct buf out = {0};

    bulk_list_read(&l, &conf, span_of(text, len));
    for (size_t i = 0; i < l.n_accounts; i++)
        buf_printf(&out, "%zu %s%s%s; ", l.accounts[i].number, l.accounts[i].text,
                   l.accounts[i].as_key ? " or " : "", l.accounts[i].as_key ? l.accounts[i].as_key : "");
    for (size_t i = 0; i < l.n_problems; i++)
        buf_printf(&out, "!%s %zu %s: %s; ", l.problems[i].twice ? "!" : "", l.problems[i].number,
                   l.problems[i].text, l.problems[i].why);
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
    bulk_list_free(&l);
}
#define EXPECT(text, want) expect(text, sizeof(text) - 1, want)

static void test_lines(void **state)
{
    (void)state;
    EXPECT("", "");
    EXPECT("\n\n", "");
    EXPECT("Ann", "1 ann@x; ");
    EXPECT("\xef\xbb\xbf"
           "ann\r\n# all of b\r\n  # too\r\n\r\n\tBob@y \r\n",
           "1 ann@x; 5 bob@y; ");
    EXPECT("ann\nbob\nANN@X\nbob\n a",
           "1 ann@x; 2 bob@x; !! 3 ann@x: is on line 1 already; "
           "!! 4 bob@x: is on line 2 already; !! 5 ann@x: is on line 1 already; ");
    EXPECT("#\n@\nx\0y\nok", "4 ok@x; ! 2 @: the name begins or ends with \"@\"; "
                             "! 3 x?y: the name holds control characters; ");
}

/* What a file has that is no list of names. */
static void test_no_names(void **state)
{
    (void)state;
    EXPECT(
        "root:x:0:0:root:/root:/bin/bash\nann,10 GB\n\"bob\"\nAnn <ann@x>\na b\nc@x@y\nk.o+x-y_z'1/2@x",
        "7 k.o+x-y_z%271%2F2@x; "
        "! 1 root:x:0:0:root:/root:/bin/bash: is more than a login name: one stands on a line, and nothing else; "
        "! 2 ann,10 GB: is more than a login name: one stands on a line, and nothing else; "
        "! 3 \"bob\": is more than a login name: one stands on a line, and nothing else; "
        "! 4 Ann <ann@x>: is more than a login name: one stands on a line, and nothing else; "
        "! 5 a b: is more than a login name: one stands on a line, and nothing else; "
        "! 6 c@x@y: has two \"@\"; ");
}

/* What `list` shows may be meant as it is shown, if it is what `list` could show. */
static void test_keys(void **state)
{
    (void)state;
    EXPECT(
        "sp%20ace@y\n50%off@y\nann%2Bx@y\nsp%2520ace@y\nsp%20ACE@y\n",
        "1 sp%2520ace@y or sp%20ace@y; 2 50%25off@y; 3 ann%252bx@y; 4 sp%252520ace@y or sp%2520ace@y; !! 5 sp%2520ace@y: is on line 1 "
        "already; ");
    EXPECT("a%20b", "1 a%2520b@x or a%20b@x; ");
}

static void test_bare_names(void **state)
{
    struct conf none = {.migration = {.default_domain = ""}};
    struct bulk_list l;

    (void)state;
    bulk_list_read(&l, &none, span_str("ann\nbob@x\neve\n"));
    assert_int_equal(l.n_bare, 2);
    bulk_list_free(&l);
    bulk_list_read(&l, &conf, span_str("ann\n"));
    assert_int_equal(l.n_bare, 0);
    bulk_list_free(&l);
}

static void test_long_line(void **state)
{
    char line[2000], want[200];

    (void)state;
    memset(line, 'x', sizeof(line));
    snprintf(want, sizeof(want), "! 1 %.80s...: the name is too long; ", line);
    expect(line, sizeof(line), want);
}

static void test_many(void **state)
{
    struct buf text = {0};
    struct bulk_list l;

    (void)state;
    for (unsigned i = 0; i < 100000; i++)
        buf_printf(&text, "user%u\n", i % 99999);
    bulk_list_read(&l, &conf, buf_span(&text));
    assert_int_equal(l.n_accounts, 99999);
    assert_int_equal(l.n_problems, 1);
    assert_string_equal(l.accounts[99998].text, "user99998@x");
    bulk_list_free(&l);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),      cmocka_unit_test(test_no_names),  cmocka_unit_test(test_keys),
        cmocka_unit_test(test_bare_names), cmocka_unit_test(test_long_line), cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
