/* One connection's engine is an SSL over a BIO of our own, which reads from the span and writes to the buffer
 * of the call under way and keeps nothing. (A memory BIO keeps what its largest record needed, for ever.) */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/x509v3.h>

#include "buf_room.h"
#include "tls_priv.h"
#include "xalloc.h"

static bool is_ip(const char *name)
{
    struct in6_addr to;
    return inet_pton(AF_INET, name, &to) == 1 || inet_pton(AF_INET6, name, &to) == 1;
}

/* The name stands in subjectAltName or nowhere: no look at the common name, no "f*.example.org". */
static bool expect_name(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                               X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    char host[256];
    size_t len = strcspn(name, "%"); /* a zone is ours, not the peer's */
    if (len == 0 || len >= sizeof(host))
        return false;
    memcpy(host, name, len);
    host[len] = '\0';
    if (is_ip(host))
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    if (len > 1 && host[len - 1] == '.')
        host[len - 1] = '\0';
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct tls *tls_new(struct tls_policy *p, const char *name)
{
    struct tls *t = xcalloc(1, sizeof(*t));
    t->policy = p;
    p->refs++;
    ERR_clear_error();
    t->ssl = SSL_new(p->ctx);
    BIO *bio = BIO_new(p->bio);
    if (!t->ssl || !bio)
        tls_die("SSL_new");
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio); /* takes it */
    SSL_set_app_data(t->ssl, t);
    if (p->server) {
        SSL_set_accept_state(t->ssl);
        return t;
    }
    SSL_set_connect_state(t->ssl);
    if (name && expect_name(t->ssl, name)) {
        t->name = xstrdup(name);
        tls_trust_begin(t);
        return t;
    }
    t->failed = true;
    snprintf(t->error, sizeof(t->error), "no certificate can be for the name %.80s", name ? name : "(none)");
    return t;
}

void tls_free(struct tls **t)
{
    if (!*t)
        return;
    /* Else OpenSSL takes the end for a fault of the session, with which others are to go on. */
    if (!(*t)->failed)
        SSL_set_shutdown((*t)->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free((*t)->ssl);
    tls_trust_free(&(*t)->trust);
    free((*t)->name);
    tls_policy_release((*t)->policy);
    free(*t);
    *t = NULL;
}

static void tls_begin(struct tls *t, struct span *in, struct buf *out)
{
    ERR_clear_error();
    t->in = in;
    t->out = out;
}

#define OLD_HINT ": the peer is old, or its certificate (see tls_min)"

/* What to look at where a certificate was not believed. */
static const char *verify_hint(long verify)
{
    switch (verify) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return ": who signed it is not trusted here (see ca_file)";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return ": it is for other names than the address has";
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return OLD_HINT;
    default:
        return "";
    }
}

/* What to look at where the handshake itself failed: what else an old peer does. */
static const char *handshake_hint(void)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);
    if (ERR_GET_LIB(code) != ERR_LIB_SSL)
        return "";
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_DH_KEY_TOO_SMALL:
    case SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED:
    case SSL_R_WRONG_SIGNATURE_TYPE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_LEGACY_SIGALG_DISALLOWED_OR_UNSUPPORTED:
        return OLD_HINT;
    default:
        return "";
    }
}

static enum tls_rc tls_fail(struct tls *t)
{
    long verify = SSL_get_verify_result(t->ssl);
    bool distrusted = verify != X509_V_OK;
    t->failed = true;
    if (verify == X509_V_ERR_APPLICATION_VERIFICATION && *t->error)
        return TLS_FAILED; /* told */
    snprintf(t->error, sizeof(t->error), "%s%s",
             distrusted ? X509_verify_cert_error_string(verify) : tls_queue_text(),
             distrusted ? verify_hint(verify) : handshake_hint());
    return TLS_FAILED;
}

/* Ends a call whose result was rc <= 0. */
static enum tls_rc classify(struct tls *t, int rc)
{
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    default:
        return tls_fail(t);
    }
}

static enum tls_rc tls_end(struct tls *t, enum tls_rc rc)
{
    t->in = NULL;
    t->out = NULL;
    ERR_clear_error();
    return rc;
}

enum tls_rc tls_handshake(struct tls *t, struct span *in, struct buf *out)
{
    if (t->failed)
        return TLS_FAILED;
    tls_begin(t, in, out);
    int ok = SSL_do_handshake(t->ssl);
    enum tls_rc rc = ok == 1 ? TLS_OK : classify(t, ok);
    if (rc == TLS_FAILED)
        tls_trust_failed(t);
    if (rc != TLS_OK)
        return tls_end(t, rc);
    if (!t->policy->server && SSL_get_verify_result(t->ssl) != X509_V_OK)
        return tls_end(t, tls_fail(t));
    return tls_end(t, TLS_OK);
}

void tls_was_left(struct tls *t)
{
    t->failed = true;
    tls_trust_failed(t);
}

enum tls_rc tls_read(struct tls *t, struct span *in, struct buf *out, uint8_t *plain, size_t cap, size_t *len)
{
    *len = 0;
    if (t->failed)
        return TLS_FAILED;
    tls_begin(t, in, out);
    enum tls_rc rc = TLS_OK;
    while (rc == TLS_OK && *len < cap) {
        size_t n = 0;
        int ok = SSL_read_ex(t->ssl, plain + *len, cap - *len, &n);
        *len += n;
        if (ok != 1)
            rc = classify(t, ok);
    }
    /* What was decrypted is given out first; a close or a failure is found again by the next call. */
    return tls_end(t, *len > 0 ? TLS_OK : rc);
}

enum tls_rc tls_write(struct tls *t, struct span plain, struct buf *out)
{
    if (t->failed)
        return TLS_FAILED;
    if (plain.len == 0)
        return TLS_OK;
    tls_begin(t, NULL, out);
    buf_room(out, plain.len + (plain.len / SSL3_RT_MAX_PLAIN_LENGTH + 1) * 64);
    size_t n = 0;
    int ok = SSL_write_ex(t->ssl, plain.p, plain.len, &n);
    return tls_end(t, ok == 1 && n == plain.len ? TLS_OK : tls_fail(t));
}

void tls_close_notify(struct tls *t, struct buf *out)
{
    if (t->failed || !SSL_is_init_finished(t->ssl))
        return;
    tls_begin(t, NULL, out);
    SSL_shutdown(t->ssl);
    tls_end(t, TLS_OK);
}

void tls_without_secrets(struct tls *t)
{
    SSL_clear_options(t->ssl, SSL_OP_CLEANSE_PLAINTEXT);
}

const char *tls_error(const struct tls *t)
{
    return t->error;
}
