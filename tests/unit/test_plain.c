#include "unit.h"

#include "migrator/mailbox/plain.h"

struct wanted {
    struct span text;
    bool plain;
};

static void test_feed(const struct span *pieces, size_t n, void *arg)
{
    const struct wanted *wanted = arg;
    struct plain p = {0};

    for (size_t i = 0; i < n; i++)
        plain_add(&p, pieces[i]);
    assert_int_equal(plain_is(&p), wanted->plain);
}

static void check(struct span text, bool plain)
{
    struct wanted wanted = {text, plain};

    unit_splits(text, test_feed, &wanted);
}

static void test_what_every_server_takes(void **state)
{
    (void)state;
    check(BYTES("Subject: x\r\n\r\ntext\r\n"), true);
    check(BYTES("Subject: x\r\n\tfolded\r\n more\r\nTo: b\r\n\r\nno last line end"), true);
    check(BYTES("From ann Tue Mar  3 10:00:00 2015\r\nTo : b\r\n\r\n"), true);
    check(BYTES("Subject: \xfc\r\n\r\n\xff\x80\r\n"), true);
    check(BYTES("Subject: x\r\n\r\na\rb\r\r\n\r\n\r\n"), true);
    check(BYTES("Subject: no empty line\r\n"), true);
    check(BYTES("\r\nbody alone, and no colon\r\n"), true);
}

static void test_nul(void **state)
{
    (void)state;
    check(BYTES("Subject: x\r\n\r\na\0b\r\n"), false);
    check(BYTES("Subject: x\0\r\n\r\nb\r\n"), false);
    check(BYTES("\0"), false);
    check(BYTES("Subject: x\r\n\r\nb\r\n\0\0"), false);
}

static void test_bare_lf(void **state)
{
    (void)state;
    check(BYTES("Subject: x\r\n\r\na\nb\r\n"), false);
    check(BYTES("Subject: x\n\r\nb\r\n"), false);
    check(BYTES("Subject: x\r\n\nb\r\n"), false);
    check(BYTES("\nb\r\n"), false);
}

static void test_header_that_is_none(void **state)
{
    (void)state;
    check(BYTES("no header at all\r\n"), false);
    check(BYTES("Subject: x\r\nno colon\r\n\r\n"), false);
    check(BYTES(" folded: with nothing before\r\n\r\n"), false);
    check(BYTES("Sub\xfcject: x\r\n\r\n"), false);
    check(BYTES(": no name\r\n\r\n"), false);
    check(BYTES("cut off in a name"), false);
    check(BYTES(""), false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_every_server_takes),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_bare_lf),
        cmocka_unit_test(test_header_that_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
