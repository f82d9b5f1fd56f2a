#include <sys/stat.h>

#include "io.h"
#include "lib/tls_priv.h"

enum { HOUR = 60 * 60 * 1000 };

static bool keys_equal(const struct ticket_keys *a, const struct ticket_keys *b)
{
    return a->n == b->n && a->next_ms == b->next_ms &&
           memcmp(a->keys, b->keys, a->n * sizeof a->keys[0]) == 0;
}

/* Threads that look at other times, one of them not for days, have the same keys. */
static void test_copies_agree(void **state)
{
    struct ticket_keys seldom, often, first;
    (void)state;
    ticket_keys_make(&first, 1000);
    assert_int_equal(first.n, 1);
    seldom = often = first;
    ticket_keys_age(&often, 1000 + 8 * HOUR - 1);
    assert_true(keys_equal(&often, &first));
    for (uint64_t h = 8; h <= 60; h++) {
        ticket_keys_age(&often, 1000 + h * HOUR);
        assert_int_equal(often.n, h < 16 ? 2 : 3);
        assert_true(h >= 24 || ticket_keys_find(&often, first.keys[0].name) == &often.keys[h / 8]);
    }
    assert_null(ticket_keys_find(&often, first.keys[0].name));
    ticket_keys_age(&seldom, 1000 + 60 * HOUR);
    assert_true(keys_equal(&seldom, &often));
    assert_memory_not_equal(often.keys[0].aes, often.keys[1].aes, 32);
    assert_memory_not_equal(often.keys[0].hmac, often.keys[1].hmac, 32);
}

/* Where nobody has come for days, the keys of the first day are gone all the same. */
static void test_a_policy_ages_without_handshakes(void **state)
{
    struct io_dir d;
    struct ticket_keys own;
    char *error = NULL;
    (void)state;
    io_dir_make(&d);
    io_certs(&d);
    ticket_keys_make(&own, 1000);
    const struct conf_proxy c = {.tls_cert = (char *)io_file(&d, "good.pem"),
                                 .tls_key = (char *)io_file(&d, "good.key"),
                                 .tls_min = TLS_1_2};
    struct tls_policy *p = tls_policy_server(&c, &own, &error);
    assert_non_null(p);
    tls_policy_age(p, 1000 + 8 * HOUR - 1);
    assert_non_null(ticket_keys_find(tls_shown_tickets(p->shown), own.keys[0].name));
    tls_policy_age(p, 1000 + 60 * HOUR);
    assert_null(ticket_keys_find(tls_shown_tickets(p->shown), own.keys[0].name));
    struct ticket_keys copy = own;
    ticket_keys_age(&copy, 1000 + 60 * HOUR);
    assert_true(keys_equal(tls_shown_tickets(p->shown), &copy));
    tls_policy_free(&p);
    io_dir_remove(&d);
}

static void test_a_file(void **state)
{
    struct io_dir d;
    struct ticket_keys k[4], both;
    char *error = NULL;
    struct stat st;
    (void)state;
    io_dir_make(&d);
    char *files[2] = {(char *)io_file(&d, "a.key"), (char *)io_file(&d, "b.key")};
    for (size_t i = 0; i < 4; i++) {
        assert_true(ticket_keys_rotate(files[0], &error));
        assert_true(ticket_keys_load(files, 1, &k[i], &error));
        assert_int_equal(k[i].n, i < 3 ? i + 1 : 3);
        assert_int_equal(k[i].next_ms, 0);
        ticket_keys_age(&k[i], UINT64_MAX / 2);
        assert_memory_equal(&k[i].keys[1], &k[i > 0 ? i - 1 : 0].keys[0], i > 0 ? TICKET_KEY_SIZE : 0);
    }
    assert_null(ticket_keys_find(&k[3], k[0].keys[0].name));
    assert_non_null(ticket_keys_find(&k[3], k[1].keys[0].name));
    assert_int_equal(stat(files[0], &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    assert_true(ticket_keys_rotate(files[1], &error));
    assert_false(ticket_keys_load(files, 2, &both, &error)); /* four */
    assert_non_null(strstr(error, "b.key: is one key too many"));
    free(error);
    assert_int_equal(truncate(files[0], 2 * TICKET_KEY_SIZE), 0);
    assert_true(ticket_keys_load(files, 2, &both, &error));
    assert_int_equal(both.n, 3);
    assert_memory_equal(&both.keys[0], &k[3].keys[0], TICKET_KEY_SIZE);

    assert_int_equal(truncate(files[0], TICKET_KEY_SIZE - 1), 0);
    assert_false(ticket_keys_rotate(files[0], &error)); /* what is damaged is not replaced in silence */
    assert_non_null(strstr(error, "80, 160 or 240 bytes"));
    free(error);
    assert_int_equal(stat(files[0], &st), 0);
    assert_int_equal(st.st_size, TICKET_KEY_SIZE - 1);
    io_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_copies_agree),
                                       cmocka_unit_test(test_a_policy_ages_without_handshakes),
                                       cmocka_unit_test(test_a_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
