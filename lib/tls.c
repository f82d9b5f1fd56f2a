/* One connection's engine is an SSL over a BIO of our own, which reads from the span and writes to the buffer
 * of the call under way and keeps nothing. (A memory BIO keeps what its largest record needed, for ever.) */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/decodererr.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "buf_room.h"
#include "log.h"
#include "tls.h"
#include "xalloc.h"

struct tls_policy {
    SSL_CTX *ctx;
    BIO_METHOD *bio;
    bool server;
    size_t refs; /* the owner's and one a connection: a connection may be closing still when the owner frees
                    it */
};

struct tls {
    struct tls_policy *policy;
    SSL *ssl;
    struct span *in; /* of the call under way, else NULL */
    struct buf *out;
    bool failed;
    char error[160];
};

static NORETURN void tls_die(const char *what)
{
    LOG(ERROR, "fatal", LOG_S("what", what));
    abort();
}

/* --- the BIO --- */

static int bio_read(BIO *bio, char *to, int size)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (size <= 0)
        return 0;
    if (!t->in || t->in->len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = t->in->len < (size_t)size ? t->in->len : (size_t)size;
    memcpy(to, t->in->p, n);
    t->in->p += n;
    t->in->len -= n;
    return (int)n;
}

static int bio_write(BIO *bio, const char *bytes, int size)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (!t->out || size < 0)
        return -1;
    buf_add(t->out, bytes, (size_t)size);
    return size;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *arg)
{
    (void)bio;
    (void)num;
    (void)arg;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "imapferry");
    if (!m)
        tls_die("BIO_meth_new");
    BIO_meth_set_read(m, bio_read);
    BIO_meth_set_write(m, bio_write);
    BIO_meth_set_ctrl(m, bio_ctrl);
    return m;
}

/* --- policies --- */

/* An encrypted key must be an error, not a question on the terminal. arg: a bool that says that it was
 * asked. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
    (void)to;
    (void)size;
    (void)writing;
    if (arg)
        *(bool *)arg = true;
    return 0;
}

/* A client that says what it speaks must speak IMAP: a certificate shared with a web server is no way to send
 * us its requests. Saying nothing is fine. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                       unsigned in_len, void *arg)
{
    (void)ssl;
    (void)arg;
    for (unsigned i = 0; i < in_len; i += 1u + in[i]) {
        if (in[i] == 4 && i + 4 < in_len && memcmp(in + i + 1, "imap", 4) == 0) {
            *out = in + i + 1;
            *out_len = 4;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Security bits of a key of 1024 bits, and of a signature by SHA-1; MD5 has 39. */
enum { LEAST_KEY_BITS = 80, LEAST_SIGNATURE_BITS = 60 };

/* X509_V_OK: an old certificate that is good enough. The signature of the last one is trusted, whoever made
 * it. */
static int old_fault(X509 *cert, int depth, bool last)
{
    int bits = 0;
    if (EVP_PKEY_get_security_bits(X509_get0_pubkey(cert)) < LEAST_KEY_BITS)
        return depth == 0 ? X509_V_ERR_EE_KEY_TOO_SMALL : X509_V_ERR_CA_KEY_TOO_SMALL;
    if (last || (X509_get_signature_info(cert, NULL, NULL, &bits, NULL) == 1 && bits >= LEAST_SIGNATURE_BITS))
        return X509_V_OK;
    return X509_V_ERR_CA_MD_TOO_WEAK;
}

/* OpenSSL's own security levels know nothing between all and too little. */
static int verify_old(int ok, X509_STORE_CTX *ctx)
{
    int depth = X509_STORE_CTX_get_error_depth(ctx);
    X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
    if (!ok || !cert)
        return ok;
    int fault = old_fault(cert, depth, depth + 1 == sk_X509_num(X509_STORE_CTX_get0_chain(ctx)));
    if (fault != X509_V_OK)
        X509_STORE_CTX_set_error(ctx, fault);
    return fault == X509_V_OK;
}

static void take_old(SSL_CTX *ctx)
{
    if (SSL_CTX_set_cipher_list(ctx, "DEFAULT:!RC4:!3DES:@SECLEVEL=0") != 1)
        tls_die("SSL_CTX_set_cipher_list");
    SSL_CTX_set_options(ctx, SSL_OP_LEGACY_SERVER_CONNECT);
}

static struct tls_policy *policy_new(bool server, enum tls_version min)
{
    static const int versions[] = {[TLS_1_0] = TLS1_VERSION,
                                   [TLS_1_1] = TLS1_1_VERSION,
                                   [TLS_1_2] = TLS1_2_VERSION,
                                   [TLS_1_3] = TLS1_3_VERSION};
    ERR_clear_error();
    struct tls_policy *p = xcalloc(1, sizeof(*p));
    p->refs = 1;
    p->server = server;
    p->bio = bio_method();
    p->ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!p->ctx || SSL_CTX_set_min_proto_version(p->ctx, versions[min]) != 1)
        tls_die("SSL_CTX_new");
    /* Sessions are not resumed: tickets cost memory on each connection, and two listeners never mix up
     * sessions. */
    SSL_CTX_set_session_cache_mode(p->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(p->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
                                    SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_mode(p->ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_default_passwd_cb(p->ctx, no_passphrase);
    if (min < TLS_1_2)
        take_old(p->ctx);
    return p;
}

static void policy_release(struct tls_policy *p)
{
    if (--p->refs > 0)
        return;
    SSL_CTX_free(p->ctx);
    BIO_meth_free(p->bio);
    free(p);
}

static const char *queue_text(void)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);
    if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
        (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST))
        return "the peer does not speak TLS here";
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    return text ? text : ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : "TLS failed";
}

/* Takes the text. */
static struct tls_policy *policy_say(struct tls_policy *p, char *text, char **error)
{
    *error = text;
    ERR_clear_error();
    policy_release(p);
    return NULL;
}

static bool is_mismatch(void)
{
    unsigned long code = ERR_peek_last_error();
    return ERR_GET_LIB(code) == ERR_LIB_X509 && (ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH ||
                                                 ERR_GET_REASON(code) == X509_R_KEY_TYPE_MISMATCH);
}

/* What OpenSSL says of a file with something else in it ("no start line", "unsupported") tells nobody
 * what. */
static const char *file_text(const char *file, bool key)
{
    unsigned long code = ERR_peek_error();
    struct stat st;
    if (stat(file, &st) == 0 && S_ISDIR(st.st_mode))
        return "is a folder, not a file";
    if (key && (ERR_GET_LIB(code) == ERR_LIB_OSSL_DECODER || ERR_GET_LIB(code) == ERR_LIB_PEM))
        return "holds no private key in PEM (\"-----BEGIN PRIVATE KEY-----\")";
    if (!key && ERR_GET_LIB(code) == ERR_LIB_PEM)
        return "holds no certificate in PEM (\"-----BEGIN CERTIFICATE-----\")";
    return queue_text();
}

static struct tls_policy *policy_fail(struct tls_policy *p, const char *what, const char *file, char **error)
{
    *error = xasprintf("%s %s: %s", what, file, file_text(file, !strcmp(what, "key")));
    ERR_clear_error();
    policy_release(p);
    return NULL;
}

struct tls_policy *tls_policy_client(const char *ca_file, enum tls_version min, char **error)
{
    struct tls_policy *p = policy_new(false, min);
    SSL_CTX_set_verify(p->ctx, SSL_VERIFY_PEER, min < TLS_1_2 ? verify_old : NULL);
    if (!ca_file || !*ca_file) {
        if (SSL_CTX_set_default_verify_paths(p->ctx) != 1)
            return policy_fail(p, "certificates of", "the system", error);
        return p;
    }
    if (SSL_CTX_load_verify_locations(p->ctx, ca_file, NULL) != 1)
        return policy_fail(p, "CA file", ca_file, error);
    /* What the site names is trusted as it stands, an intermediate or the server's own certificate too. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(p->ctx), X509_V_FLAG_PARTIAL_CHAIN);
    return p;
}

struct tls_policy *tls_policy_server(const char *cert_file, const char *key_file, enum tls_version min,
                                     char **error)
{
    struct tls_policy *p = policy_new(true, min);
    SSL_CTX_set_num_tickets(p->ctx, 0);
    SSL_CTX_set_alpn_select_cb(p->ctx, choose_alpn, NULL);
    if (SSL_CTX_use_certificate_chain_file(p->ctx, cert_file) != 1)
        return policy_fail(p, "certificate", cert_file, error);
    bool encrypted = false;
    SSL_CTX_set_default_passwd_cb_userdata(p->ctx, &encrypted);
    bool ok = SSL_CTX_use_PrivateKey_file(p->ctx, key_file, SSL_FILETYPE_PEM) == 1;
    SSL_CTX_set_default_passwd_cb_userdata(p->ctx, NULL);
    if (!ok && encrypted)
        return policy_say(
            p,
            xasprintf(
                "key %s: is encrypted, and nobody is there to be asked for a passphrase; expected one without",
                key_file),
            error);
    if (!ok && is_mismatch())
        return policy_say(p, xasprintf("key %s: does not belong to the certificate %s", key_file, cert_file),
                          error);
    if (!ok)
        return policy_fail(p, "key", key_file, error);
    if (SSL_CTX_check_private_key(p->ctx) != 1)
        return policy_fail(p, "key", key_file, error);
    return p;
}

void tls_policy_free(struct tls_policy **p)
{
    if (*p)
        policy_release(*p);
    *p = NULL;
}

void tls_policy_renew(struct tls_policy *p, struct tls_policy **fresh)
{
    SSL_CTX *before = p->ctx;
    p->ctx = (*fresh)->ctx;
    (*fresh)->ctx = before; /* each SSL has its own reference */
    tls_policy_free(fresh);
}

/* In seconds since 1970; otherwise: where it can't be read. */
static int64_t tls_time_of(const ASN1_TIME *t, int64_t otherwise)
{
    struct tm tm;
    return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : otherwise;
}

/* Of the n-th certificate that is shown, its own first; NULL behind the last. */
static const X509 *tls_shown(const struct tls_policy *p, int n)
{
    STACK_OF(X509) *chain = NULL;
    if (n == 0)
        return SSL_CTX_get0_certificate(p->ctx);
    return SSL_CTX_get0_chain_certs(p->ctx, &chain) == 1 && n - 1 < sk_X509_num(chain)
               ? sk_X509_value(chain, n - 1)
               : NULL;
}

int64_t tls_policy_ends(const struct tls_policy *p)
{
    int64_t first = INT64_MAX, ends;
    const X509 *cert;
    for (int i = 0; (cert = tls_shown(p, i)); i++)
        if ((ends = tls_time_of(X509_get0_notAfter(cert), INT64_MAX)) < first)
            first = ends;
    return first;
}

int64_t tls_policy_begins(const struct tls_policy *p)
{
    int64_t last = INT64_MIN, begins;
    const X509 *cert;
    for (int i = 0; (cert = tls_shown(p, i)); i++)
        if ((begins = tls_time_of(X509_get0_notBefore(cert), INT64_MIN)) > last)
            last = begins;
    return last;
}

const char *tls_policy_untimely(const struct tls_policy *p, int64_t now)
{
    if (tls_policy_ends(p) <= now)
        return "the certificate, or one of its chain, has expired";
    return tls_policy_begins(p) > now ? "the certificate, or one of its chain, is not valid yet" : NULL;
}

struct tls_policy *tls_policy_hold(struct tls_policy *p)
{
    p->refs++;
    return p;
}

/* --- connections --- */

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
    if (p->server) {
        SSL_set_accept_state(t->ssl);
        return t;
    }
    SSL_set_connect_state(t->ssl);
    if (!name || !expect_name(t->ssl, name)) {
        t->failed = true;
        snprintf(t->error, sizeof(t->error), "no certificate can be for the name %.80s",
                 name ? name : "(none)");
    }
    return t;
}

void tls_free(struct tls **t)
{
    if (!*t)
        return;
    SSL_free((*t)->ssl);
    policy_release((*t)->policy);
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
    snprintf(t->error, sizeof(t->error), "%s%s",
             distrusted ? X509_verify_cert_error_string(verify) : queue_text(),
             distrusted ? verify_hint(verify) : handshake_hint());
    t->failed = true;
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
    int rc = SSL_do_handshake(t->ssl);
    if (rc != 1)
        return tls_end(t, classify(t, rc));
    if (!t->policy->server && SSL_get_verify_result(t->ssl) != X509_V_OK)
        return tls_end(t, tls_fail(t));
    return tls_end(t, TLS_OK);
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
