#include "io.h"
#include "lib/base64.h"

/* A server that gives a session when the test says so, and a client of a backend's policy, without a network. */
struct talk {
    SSL *server;
    struct tls *client;
};

static struct buf pin_text;

static const char *pin_of(const struct io_cert *c)
{
    uint8_t *der = NULL, pin[CONF_PIN_SIZE];
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c->cert), &der);
    assert_true(len > 0 && EVP_Digest(der, (size_t)len, pin, NULL, EVP_sha256(), NULL) == 1);
    OPENSSL_free(der);
    buf_free(&pin_text);
    buf_add_str(&pin_text, "sha256//");
    base64_encode(&pin_text, span_of(pin, sizeof pin));
    return buf_str(&pin_text);
}

/* That believes this certificate's key alone. */
static struct tls_policy *pinning(const struct io_cert *c)
{
    char *pins[] = {(char *)pin_of(c)}, *error = NULL;
    struct conf_backend b = {.tls_min = TLS_1_2, .ca_file = "", .pin = {.items = pins, .n = 1}};
    struct tls_policy *p = tls_policy_backend(&b, &error);
    assert_non_null(p);
    return p;
}

static struct talk talk_new(SSL_CTX *server, struct tls_policy *client)
{
    struct talk t = {SSL_new(server), tls_new(client, "localhost")};
    SSL_set_bio(t.server, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(t.server);
    return t;
}

static void talk_free(struct talk *t)
{
    SSL_set_shutdown(t->server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->server);
    tls_free(&t->client);
}

/* What the server has written. */
static struct span talk_said(struct talk *t)
{
    char *bytes;
    long len = BIO_get_mem_data(SSL_get_wbio(t->server), &bytes);
    return span_of(bytes, (size_t)len);
}

static enum tls_rc talk_shake(struct talk *t)
{
    enum tls_rc rc = TLS_WANT_MORE;
    for (int i = 0; i < 10 && rc == TLS_WANT_MORE; i++) {
        struct buf out = {0};
        struct span in = talk_said(t);
        rc = tls_handshake(t->client, &in, &out);
        (void)BIO_reset(SSL_get_wbio(t->server));
        BIO_write(SSL_get_rbio(t->server), out.mem + out.off, (int)out.len);
        buf_free(&out);
        SSL_do_handshake(t->server);
        ERR_clear_error();
    }
    return rc;
}

/* The client hears what the server says, a session too. */
static void talk_hear(struct talk *t)
{
    uint8_t plain[64];
    size_t len;
    struct buf out = {0};
    SSL_write(t->server, "* OK", 4);
    struct span in = talk_said(t);
    assert_int_equal(tls_read(t->client, &in, &out, plain, sizeof plain, &len), TLS_OK);
    assert_int_equal(len, 4);
    buf_free(&out);
    (void)BIO_reset(SSL_get_wbio(t->server));
}

static SSL_CTX *server_of(const struct io_cert *c)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(ctx, c->cert);
    SSL_CTX_use_PrivateKey(ctx, c->key);
    SSL_CTX_set_num_tickets(ctx, 0);
    return ctx;
}

/* Its key was taken out of the configuration while a connection was open, over which it gives sessions. */
static void test_a_late_ticket_is_no_way_round_new_pins(void **state)
{
    struct io_cert old = io_cert_make(NULL, &(struct io_cert_wish){.cn = "x", .san = "DNS:localhost"}),
                   other = io_cert_make(NULL, &(struct io_cert_wish){.cn = "x", .san = "DNS:localhost"});
    SSL_CTX *server = server_of(&old);
    struct tls_policy *policy = pinning(&old), *fresh = pinning(&other);
    (void)state;

    struct talk first = talk_new(server, policy);
    assert_int_equal(talk_shake(&first), TLS_OK);
    SSL_new_session_ticket(first.server);
    talk_hear(&first);
    struct talk again = talk_new(server, policy);
    assert_int_equal(talk_shake(&again), TLS_OK);
    assert_true(SSL_session_reused(again.server)); /* so it would be */
    talk_free(&again);

    tls_policy_renew(policy, &fresh);
    for (int i = 0; i < 2; i++) {
        struct talk next = talk_new(server, policy);
        assert_int_equal(talk_shake(&next), TLS_FAILED);
        assert_non_null(strstr(tls_error(next.client), "not in pin"));
        talk_free(&next);
        SSL_new_session_ticket(first.server);
        talk_hear(&first);
    }
    talk_free(&first);

    tls_policy_free(&policy);
    SSL_CTX_free(server);
    io_cert_free(&old);
    io_cert_free(&other);
    buf_free(&pin_text);
}

/* A handshake under way when the policy is renewed ends by what it began with, not by half of either. */
static void test_a_handshake_keeps_what_it_began_with(void **state)
{
    struct io_cert old = io_cert_make(NULL, &(struct io_cert_wish){.cn = "x", .san = "DNS:localhost"}),
                   other = io_cert_make(NULL, &(struct io_cert_wish){.cn = "x", .san = "DNS:localhost"});
    SSL_CTX *server = server_of(&old);
    struct tls_policy *policy = pinning(&old), *fresh = pinning(&other);
    (void)state;
    struct talk before = talk_new(server, policy);
    tls_policy_renew(policy, &fresh);
    struct talk after = talk_new(server, policy);
    assert_int_equal(talk_shake(&after), TLS_FAILED);
    assert_int_equal(talk_shake(&before), TLS_OK);
    tls_policy_free(&policy); /* connections keep what they need */
    talk_hear(&before);
    talk_free(&before);
    talk_free(&after);
    SSL_CTX_free(server);
    io_cert_free(&old);
    io_cert_free(&other);
    buf_free(&pin_text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_late_ticket_is_no_way_round_new_pins),
                                       cmocka_unit_test(test_a_handshake_keeps_what_it_began_with)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
