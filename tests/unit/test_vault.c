#include "unit.h"

#include "proxy/vault.h"

static struct secret *keep(struct vault *v, struct span name, struct span password)
{
    struct credential c = {.mechanism = SASL_PLAIN, .authcid = name, .secret = password};
    return vault_keep(v, &c);
}

static void test_keeps_and_gives_back(void **state)
{
    (void)state;
    struct vault *v = vault_new();
    struct secret *a = keep(v, BYTES("ann"), BYTES("secret"));
    struct secret *b = keep(v, BYTES("bob"), BYTES(""));
    unit_same(secret_credential(a).authcid, "ann");
    unit_same(secret_credential(a).secret, "secret");
    unit_same(secret_credential(b).authcid, "bob");
    unit_same(secret_credential(b).secret, "");
    vault_drop(v, &a);
    assert_null(a);
    vault_drop(v, &a);
    vault_drop(v, &b);
    struct credential all = {
        .mechanism = SASL_PLAIN, .authcid = BYTES("adm"), .authzid = BYTES("ann"), .secret = BYTES("a\0b")};
    struct secret *s = vault_keep(v, &all);
    struct credential back = secret_credential(s);
    assert_ptr_equal(back.mechanism, SASL_PLAIN);
    unit_same(back.authcid, "adm");
    unit_same(back.authzid, "ann");
    assert_true(span_eq(back.secret, BYTES("a\0b")));
    vault_drop(v, &s);
    vault_free(&v);
    vault_free(&v);
}

/* The memory stays mapped while another entry lies in it. */
static void test_overwrites_what_is_dropped(void **state)
{
    (void)state;
    struct vault *v = vault_new();
    struct secret *a = keep(v, BYTES("ann"), BYTES("correct horse battery staple"));
    struct secret *b = keep(v, BYTES("bob"), BYTES("x"));
    const uint8_t *name = secret_credential(a).authcid.p, *password = secret_credential(a).secret.p;
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
            all[i] = keep(v, BYTES("name"), buf_span(&text));
        }
    }
    for (size_t i = 0; i < MANY; i++) {
        write_password(&text, i);
        unit_same(secret_credential(all[i]).secret, buf_str(&text));
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
        s[i] = keep(v, BYTES("a"), span_of(password, VAULT_SECRET_MAX - 1));
    for (size_t i = 0; i < COUNTOF(s); i++) {
        assert_int_equal(secret_credential(s[i]).secret.len, VAULT_SECRET_MAX - 1);
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
