#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/account.h"
#include "lib/buf.h"
#include "lib/mutf7.h"
#include "lib/xalloc.h"

/* "" where it is refused. */
static char *key_of(const struct conf *c, const void *login, size_t len)
{
    const char *why = NULL;
    char *key = account_key(c, span_of(login, len), &why);
    assert_true(!key == !!why);
    return key ? key : xstrdup("");
}

static void gives(const struct conf *c, const char *login, const char *wanted)
{
    char *key = key_of(c, login, strlen(login));
    assert_string_equal(key, wanted);
    free(key);
}

static void test_canonical(void **state)
{
    struct conf c = {0};

    (void)state;
    gives(&c, "Ann", "ann");
    gives(&c, "ANN@Example.ORG", "ann@example.org");
    gives(&c, " ann ", "ann");
    gives(&c, "ann@example.org.", "ann@example.org");
    gives(&c, " ann@example.org. ", "ann@example.org");
    gives(&c, "ann.", "ann.");
    gives(&c, "ann@x..", "ann@x..");
    gives(&c, "ann+tag@x", "ann+tag@x");
    gives(&c, "a n", "a%20n");
    gives(&c, "a:b{c}*?[%n]", "a%3Ab%7Bc%7D%2A%3F%5B%25n%5D");
    gives(&c, "\xc3\x84nne", "%C3%84nne");
    gives(&c, "", "");
    gives(&c, "  ", "");
    gives(&c, "@", "");
    gives(&c, "@x", "");
    gives(&c, "x@", "");
    gives(&c, "x@ ", "");
    gives(&c, "a\xc3", "");
    gives(&c, "a\xc2\x85", "");
}

static void test_default_domain(void **state)
{
    struct conf c = {.migration = {.default_domain = "Example.org"}};

    (void)state;
    gives(&c, "Ann", "ann@example.org");
    gives(&c, "ann ", "ann@example.org");
    gives(&c, "ann@example.org", "ann@example.org");
    gives(&c, "ann@other", "ann@other");
    gives(&c, "ann@", "");
    gives(&c, "", "");
}

/* FRONT-CASES 6 to 14: whatever byte is in a name, the key is made of harmless ones, and leads back to the
 * name. */
static void test_every_byte(void **state)
{
    struct conf c = {0};

    (void)state;
    for (int b = 0; b < 256; b++) {
        uint8_t login[] = {'a', (uint8_t)b, 'z'};
        char *key = key_of(&c, login, sizeof(login));
        if (b < ' ' || b >= 0x7f) {
            assert_string_equal(key, "");
        } else {
            assert_int_equal(strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789@._-+=%ABCDEF"), strlen(key));
            if (b >= 'A' && b <= 'Z')
                login[1] = (uint8_t)(b + 'a' - 'A');
            char *back = account_login(key);
            assert_non_null(back);
            assert_int_equal(strlen(back), sizeof(login));
            assert_memory_equal(back, login, sizeof(login));
            free(back);
        }
        free(key);
    }
}

/* No two names that differ in more than case share a key. */
static void test_pairs_of_bytes(void **state)
{
    struct conf c = {0};
    size_t taken = 0;

    (void)state;
    for (unsigned n = 0; n < 65536; n++) {
        uint8_t login[] = {'x', (uint8_t)(n >> 8), (uint8_t)n, 'x'};
        char *key = key_of(&c, login, sizeof(login));
        if (*key) {
            char *back = account_login(key);
            assert_non_null(back);
            for (size_t i = 0; i < sizeof(login); i++)
                if (login[i] >= 'A' && login[i] <= 'Z')
                    login[i] = (uint8_t)(login[i] + 'a' - 'A');
            assert_memory_equal(back, login, sizeof(login));
            assert_int_equal(strlen(back), sizeof(login));
            free(back);
            taken++;
        }
        free(key);
    }
    /* 95 printable ones each, and the characters U+00A0 to U+07FF of two bytes */
    assert_int_equal(taken, 95 * 95 + (0x800 - 0xa0));
}

static void test_length(void **state)
{
    struct conf c = {0};
    char name[ACCOUNT_LOGIN_MAX + 2];

    (void)state;
    memset(name, 'a', sizeof(name));
    char *key = key_of(&c, name, ACCOUNT_LOGIN_MAX);
    assert_int_equal(strlen(key), ACCOUNT_LOGIN_MAX);
    free(key);
    key = key_of(&c, name, ACCOUNT_LOGIN_MAX + 1);
    assert_string_equal(key, "");
    free(key);
    c.migration.default_domain = "d";
    key = key_of(&c, name, ACCOUNT_LOGIN_MAX - 2);
    assert_int_equal(strlen(key), ACCOUNT_LOGIN_MAX);
    free(key);
    key = key_of(&c, name, ACCOUNT_LOGIN_MAX - 1);
    assert_string_equal(key, "");
    free(key);
}

static void test_master_separator(void **state)
{
    struct conf_backend backends[] = {
        {.master_login = "%u*%m"}, {.master_login = ""}, {.master_login = NULL}};
    struct conf c = {.backends = backends, .n_backends = COUNTOF(backends)};

    (void)state;
    gives(&c, "ann*admin", "");
    gives(&c, "ann*", "");
    gives(&c, "ann#admin", "ann%23admin");
    gives(&c, "ann", "ann");
    backends[1].master_login = "%m#%u!x";
    gives(&c, "ann#admin", "");
    gives(&c, "ann!x", "");
    gives(&c, "annx", "annx");
}

static void login_is(const char *key, const char *wanted)
{
    char *login = account_login(key);
    if (!login != !wanted || (login && strcmp(login, wanted)))
        fail_msg("%s gives %s", key, login ? login : "nothing");
    free(login);
}

static void test_login(void **state)
{
    (void)state;
    login_is("ann@example.org", "ann@example.org");
    login_is("%C3%84nne", "\xc3\x84nne");
    login_is("a%20b", "a b");
    login_is("a%2Ab%25", "a*b%");
    login_is("", NULL);
    login_is("Ann", NULL);   /* a key has no capitals, */
    login_is("%41nn", NULL); /* nor hidden ones, */
    login_is("%61nn", NULL); /* nor what needs no encoding, */
    login_is("%2an", NULL);  /* nor small hex digits, */
    login_is("a b", NULL);   /* nor what needs one */
    login_is("a*b", NULL);
    login_is("%", NULL);
    login_is("%2", NULL);
    login_is("a%2", NULL);
    login_is("a%00b", NULL);
    login_is("a%0Ab", NULL);
    login_is("a%7Fb", NULL);
    login_is("a%C3", NULL);
    login_is("a\xc3\xa4", NULL);
    login_is("%20a", NULL);
    login_is("a%20", NULL);
    login_is("a@x.", NULL);
    login_is("a@", NULL);
}

/* --- aliases --- */

static void note_fault(void *owner, size_t nth, const char *text)
{
    char **all = owner, *before = *all;

    *all = xasprintf("%s%zu: %s; ", before ? before : "", nth, text);
    free(before);
}

/* NULL where they are taken. */
static char *load(struct conf *c, char **items, size_t n)
{
    char *error = NULL;
    c->migration.aliases = (struct conf_list){items, n};
    bool ok = account_load_aliases(c, note_fault, &error);
    assert_true(ok == !error);
    return error;
}

static void aliases_refused(char **items, size_t n, const char *why)
{
    struct conf c = {0};
    char *error = load(&c, items, n);

    assert_non_null(error);
    if (!strstr(error, why))
        fail_msg("unexpected text: %s", error);
    free(error);
    account_free_aliases(&c);
}

static void test_aliases(void **state)
{
    char *items[] = {"Sales=Bob", "postmaster@x=ann@Y.", "a*b=c*d", "sales2 = bob"};
    struct conf c = {.migration = {.default_domain = "x"}};

    (void)state;
    assert_null(load(&c, items, COUNTOF(items)));
    gives(&c, "SALES", "bob@x");
    gives(&c, "sales@x", "bob@x");
    gives(&c, "sales@y", "sales@y");
    gives(&c, "sales2", "bob@x");
    gives(&c, "postmaster", "ann@y");
    gives(&c, "a*b", "c%2Ad@x");
    gives(&c, "bob", "bob@x");
    account_free_aliases(&c);
    gives(&c, "sales", "sales@x");
}

static void test_aliases_refused(void **state)
{
    (void)state;
    aliases_refused((char *[]){"a"}, 1, "expected \"alias=account\"");
    aliases_refused((char *[]){"a="}, 1, "empty");
    aliases_refused((char *[]){"=a"}, 1, "empty");
    aliases_refused((char *[]){"a\x01=b"}, 1, "control");
    aliases_refused((char *[]){"a=A"}, 1, "same account");
    aliases_refused((char *[]){"a=b", "A =c"}, 2, "1: \"a\" is given twice");
    aliases_refused(
        (char *[]){"x", "y=z", "v=V", "y=w"}, 4,
        "0: \"x\" has no \"=\"; expected \"alias=account\"; 2: \"v=V\": both sides are the same account; "
        "3: \"y\" is given twice; ");
    aliases_refused((char *[]){"a=b", "b=a"}, 2, "an alias itself");
    aliases_refused((char *[]){"a=b", "b=c"}, 2, "an alias itself");
    aliases_refused((char *[]){"c=a", "a=b", "b=c"}, 3, "an alias itself");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical),       cmocka_unit_test(test_default_domain),
        cmocka_unit_test(test_every_byte),      cmocka_unit_test(test_pairs_of_bytes),
        cmocka_unit_test(test_length),          cmocka_unit_test(test_master_separator),
        cmocka_unit_test(test_login),           cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_aliases_refused),
    };
    return cmocka_run_group_tests_name("account", tests, NULL, NULL);
}
