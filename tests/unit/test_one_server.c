/* Two names of one server are told by what they reach and resolve to. */
#include "lib/xalloc.h"
#include "migrator/site/one_server.h"
#include "unit.h"

#include <stdlib.h>
#include <unistd.h>

static struct conf_backend backend(const char *url)
{
    struct conf_backend b = {0};
    char *error = NULL;

    assert_true(address_parse(url, &b.address, &error));
    return b;
}

static bool reached(const char *a, const char *a_peer, const char *b, const char *b_peer)
{
    struct conf_backend x = backend(a), y = backend(b);
    bool same = one_server_reached(&x, a_peer, &y, b_peer);

    address_free(&x.address);
    address_free(&y.address);
    return same;
}

static void test_by_what_was_reached(void **state)
{
    (void)state;
    assert_true(reached("imaps://a", "192.0.2.1:993", "imaps://b", "192.0.2.1:993"));
    assert_true(reached("imaps://localhost", "[::1]:993", "imaps://127.0.0.1", "127.0.0.1:993"));
    assert_false(reached("imaps://a", "192.0.2.1:993", "imaps://b", "192.0.2.2:993"));
    assert_false(reached("imaps://a", "192.0.2.1:993", "imap://b", "192.0.2.1:143"));
    assert_false(reached("imaps://a", "unknown", "imaps://b", "unknown"));
    assert_false(reached("imap+unix:///a", "unix", "imap+unix:///b", "unix"));
    assert_false(reached("imap+unix:///a", "unix", "imaps://b", "192.0.2.1:993"));
    assert_true(reached("imap+unix:///a", "unix", "imap+unix:///a", "unix"));
}

static void test_two_paths_of_one_socket(void **state)
{
    char folder[] = "/tmp/one-server-XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(folder));
    char *file = xasprintf("%s/a", folder), *link = xasprintf("%s/b", folder);
    char *a = xasprintf("imap+unix://%s", file), *b = xasprintf("imap+unix://%s", link);
    assert_false(reached(a, "unix", b, "unix"));
    fclose(fopen(file, "w"));
    assert_int_equal(symlink(file, link), 0);
    assert_true(reached(a, "unix", b, "unix"));
    unlink(file);
    unlink(link);
    rmdir(folder);
    free(file);
    free(link);
    free(a);
    free(b);
}

static char *resolved(const char *a, const char *b)
{
    struct conf_backend x = backend(a), y = backend(b);
    char *common = one_server_resolved(&x, &y);

    address_free(&x.address);
    address_free(&y.address);
    return common;
}

static void test_by_name(void **state)
{
    (void)state;
    char *one = resolved("imaps://localhost:4993", "imaps://127.0.0.1:4993");
    assert_string_equal(one, "127.0.0.1:4993");
    free(one);
    one = resolved("imaps://[::ffff:192.0.2.7]:993", "imap+starttls://192.0.2.7:993");
    assert_string_equal(one, "192.0.2.7:993");
    free(one);
    assert_null(resolved("imaps://127.0.0.1:4993", "imaps://127.0.0.1:4994"));
    assert_null(resolved("imaps://192.0.2.1", "imap+unix:///a"));
}

static void test_perhaps_one(void **state)
{
    (void)state;
    assert_true(one_server_is_likely("192.0.2.1:993", "192.0.2.1:143"));
    assert_true(one_server_is_likely("[2001:db8::1]:993", "[2001:db8::1]:143"));
    assert_false(one_server_is_likely("192.0.2.1:993", "192.0.2.11:143"));
    assert_false(one_server_is_likely("127.0.0.1:993", "127.0.0.1:143"));
    assert_false(one_server_is_likely("unix", "unix"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_what_was_reached),
        cmocka_unit_test(test_two_paths_of_one_socket),
        cmocka_unit_test(test_by_name),
        cmocka_unit_test(test_perhaps_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
