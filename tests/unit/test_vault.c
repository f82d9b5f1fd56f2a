#include "unit.h"

#include "proxy/vault.h"

static void test_keeps_and_gives_back(void **state)
{
    (void)state;
    struct vault *v = vault_new();
    struct secret *a = vault_keep(v, BYTES("ann"), BYTES("secret"));
    struct secret *b = vault_keep(v, BYTES("bob"), BYTES(""));
    assert_string_equal(secret_name(a), "ann");
    assert_string_equal(secret_password(a), "secret");
    assert_string_equal(secret_name(b), "bob");
    assert_string_equal(secret_password(b), "");
    vault_drop(v, &a);
    assert_null(a);
    vault_drop(v, &a);
    vault_drop(v, &b);
    vault_free(&v);
    vault_free(&v);
}

/* The memory stays mapped while another entry lies in it. */
static void test_overwrites_what_is_dropped(void **state)
{
    (void)state;
    struct vault *v = vault_new();
    struct secret *a = vault_keep(v, BYTES("ann"), BYTES("correct horse battery staple"));
    struct secret *b = vault_keep(v, BYTES("bob"), BYTES("x"));
    const char *name = secret_name(a), *password = secret_password(a);
    vault_drop(v, &a);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(name[i], 0);
    for (size_t i = 0; i < 28; i++)
        assert_int_equal(password[i], 0);
    vault_drop(v, &b);
    vault_free(&v);
}

enum { MANY = 5000 };

static void write_password(struct buf *text, size_t i)
{
    buf_clear(text);
    for (size_t n = 0; n <= i % 400; n++)
        buf_printf(text, "%zu.", i);
}

/* More than a chunk holds, of all sizes, dropped and kept again in another order. */
static void test_many_of_all_sizes(void **state)
{
    (void)state;
    struct vault *v = vault_new();
    struct buf text = {0};
    static struct secret *all[MANY];
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < MANY; i += round + 1) {
            write_password(&text, i);
            vault_drop(v, &all[i]);
            all[i] = vault_keep(v, BYTES("name"), buf_span(&text));
        }
    }
    for (size_t i = 0; i < MANY; i++) {
        write_password(&text, i);
        assert_string_equal(secret_password(all[i]), buf_str(&text));
        vault_drop(v, &all[i]);
    }
    buf_free(&text);
    vault_free(&v);
}

static void test_the_largest(void **state)
{
    (void)state;
    struct vault *v = vault_new();
    char *password = xmalloc(VAULT_SECRET_MAX - 1);
    memset(password, 'p', VAULT_SECRET_MAX - 1);
    struct secret *s[3];
    for (size_t i = 0; i < COUNTOF(s); i++)
        s[i] = vault_keep(v, BYTES("a"), span_of(password, VAULT_SECRET_MAX - 1));
    for (size_t i = 0; i < COUNTOF(s); i++) {
        assert_int_equal(strlen(secret_password(s[i])), VAULT_SECRET_MAX - 1);
        vault_drop(v, &s[i]);
    }
    free(password);
    vault_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_and_gives_back),
        cmocka_unit_test(test_overwrites_what_is_dropped),
        cmocka_unit_test(test_many_of_all_sizes),
        cmocka_unit_test(test_the_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
