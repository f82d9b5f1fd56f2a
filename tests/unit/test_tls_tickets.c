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

/* ---- how long a session goes on */

static uint64_t wall_s; /* 0: it is now */

/* In place of the one of loop.c. OpenSSL has a clock of its own, which is right. */
uint64_t clock_wall_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return wall_s > 0 ? wall_s * 1000 : (uint64_t)ts.tv_sec * 1000;
}

/* A client's program, which keeps its session. */
struct program {
    SSL_CTX *ctx;
    SSL_SESSION *session; /* owned */
};

static struct program *listening;

static int program_on_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(listening->session);
    listening->session = session;
    return 1;
}

static struct program program_new(int version)
{
    struct program p = {.ctx = SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_min_proto_version(p.ctx, version);
    SSL_CTX_set_max_proto_version(p.ctx, version);
    SSL_CTX_set_session_cache_mode(p.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(p.ctx, program_on_session);
    return p;
}

static void program_free(struct program *p)
{
    SSL_SESSION_free(p->session);
    SSL_CTX_free(p->ctx);
}

/* A handshake of both; then each says something. Did it go on with its session? */
static bool program_comes(struct program *p, struct tls_policy *policy)
{
    SSL *client = SSL_new(p->ctx);
    struct tls *server = tls_new(policy, NULL);
    enum tls_rc rc = TLS_WANT_MORE;
    listening = p;
    SSL_set_bio(client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(client);
    if (p->session)
        SSL_set_session(client, p->session);
    for (int i = 0; i < 10 && (rc == TLS_WANT_MORE || !SSL_is_init_finished(client)); i++) {
        struct buf out = {0};
        char *bytes;
        SSL_do_handshake(client);
        ERR_clear_error();
        long len = BIO_get_mem_data(SSL_get_wbio(client), &bytes);
        struct span in = span_of(bytes, (size_t)len);
        if (rc == TLS_WANT_MORE)
            rc = tls_handshake(server, &in, &out);
        (void)BIO_reset(SSL_get_wbio(client));
        if (out.len > 0)
            BIO_write(SSL_get_rbio(client), out.mem + out.off, (int)out.len);
        buf_free(&out);
    }
    assert_int_equal(rc, TLS_OK);
    char plain[16];
    (void)SSL_read(client, plain, sizeof plain); /* the ticket of TLS 1.3 stands behind the handshake */
    ERR_clear_error();
    bool reused = SSL_session_reused(client);
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(client);
    tls_free(&server);
    return reused;
}

static void goes_on_for_a_day(struct tls_policy *policy, struct tls_policy *other, int version)
{
    const uint64_t begin = 1800000000, hour = 3600;
    struct program p = program_new(version);
    wall_s = begin;
    assert_false(program_comes(&p, policy));
    for (uint64_t h = 1; h < 24; h++) { /* from ticket to ticket, here and at another proxy */
        wall_s = begin + h * hour;
        assert_true(program_comes(&p, h % 2 ? policy : other));
    }
    wall_s = begin + 24 * hour;
    assert_false(program_comes(&p, policy));
    wall_s += 23 * hour; /* that was the beginning of another one */
    assert_true(program_comes(&p, other));
    wall_s -= 23 * hour + TICKET_CLOCKS_S - 1; /* a clock that is behind */
    assert_true(program_comes(&p, other));
    wall_s -= 1; /* or was set back */
    assert_false(program_comes(&p, policy));
    wall_s += 1;
    assert_true(program_comes(&p, policy));
    program_free(&p);
    wall_s = 0;
}

static void test_a_session_goes_on_for_a_day(void **state)
{
    struct io_dir d;
    struct ticket_keys own;
    char *error = NULL;
    (void)state;
    io_dir_make(&d);
    io_certs(&d);
    ticket_keys_make(&own, clock_boot_ms());
    const struct conf_proxy c = {.tls_cert = (char *)io_file(&d, "good.pem"),
                                 .tls_key = (char *)io_file(&d, "good.key"),
                                 .tls_min = TLS_1_2};
    struct tls_policy *p = tls_policy_server(&c, &own, &error), *q = tls_policy_server(&c, &own, &error);
    assert_non_null(p);
    assert_non_null(q);
    goes_on_for_a_day(p, q, TLS1_2_VERSION);
    goes_on_for_a_day(p, q, TLS1_3_VERSION);
    tls_policy_free(&p);
    tls_policy_free(&q);
    io_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_agree), cmocka_unit_test(test_a_policy_ages_without_handshakes),
        cmocka_unit_test(test_a_file), cmocka_unit_test(test_a_session_goes_on_for_a_day)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
