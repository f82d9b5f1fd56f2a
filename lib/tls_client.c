/* Policies for connections that we make: who is trusted, and sessions that are gone on with.
 *
 * A server gives tickets behind a handshake, and a connection that shows one needs no certificate and no
 * signature. So a policy of a backend keeps the newest few; one of TLS 1.3 is used once (RFC 8446 section
 * C.4). An hour after the certificate was looked at none is gone on with, so that it is looked at anew, and where
 * a handshake fails that has shown one, none is shown for an hour: there are servers that give what they don't
 * understand. A server may give one at any time, also long after the policy was renewed: it is kept with what the
 * connection believes, which is what it began with. */
#include <stdio.h>
#include <stdlib.h>

#include <openssl/x509v3.h>

#include "base64.h"
#include "loop.h"
#include "tls_priv.h"
#include "xalloc.h"

enum { SESSIONS_MAX = 16, SESSIONS_MS = 60 * 60 * 1000 };

struct kept_session {
    SSL_SESSION *session; /* owned */
    char *name;           /* of the peer, as it was verified; owned */
    uint64_t looked_ms;   /* when that was */
};

struct tls_trust {
    size_t refs;                   /* the policy's and one a connection */
    uint8_t (*pins)[TLS_PIN_SIZE]; /* owned */
    size_t n_pins;
    bool pins_alone; /* nothing but the key counts */
    bool resumes;
    struct kept_session kept[SESSIONS_MAX]; /* the newest last */
    size_t n_kept;
    uint64_t not_before_ms; /* when sessions are gone on with again */
};

/* --- old servers --- */

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

/* --- pins --- */

/* SHA-256 of the SubjectPublicKeyInfo (RFC 7469 section 2.4). */
static bool pin_of(X509 *cert, uint8_t pin[TLS_PIN_SIZE])
{
    uint8_t *der = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    bool ok = len > 0 && EVP_Digest(der, (size_t)len, pin, NULL, EVP_sha256(), NULL) == 1;
    OPENSSL_free(der);
    return ok;
}

static bool is_pinned(const struct tls_trust *trust, const uint8_t pin[TLS_PIN_SIZE])
{
    for (size_t i = 0; i < trust->n_pins; i++)
        if (memcmp(trust->pins[i], pin, TLS_PIN_SIZE) == 0)
            return true;
    return false;
}

static void tell_pin(struct tls *t, const uint8_t pin[TLS_PIN_SIZE])
{
    struct buf text = {0};
    base64_encode(&text, span_of(pin, TLS_PIN_SIZE));
    snprintf(t->error, sizeof(t->error), "its key is \"sha256//%s\", and that is not in pin", buf_str(&text));
    buf_free(&text);
}

static int verify_pinned(X509_STORE_CTX *ctx, void *arg)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *t = SSL_get_app_data(ssl);
    const struct tls_trust *trust = t->trust;
    X509 *cert = X509_STORE_CTX_get0_cert(ctx);
    uint8_t pin[TLS_PIN_SIZE];
    (void)arg;
    if (!trust->pins_alone && X509_verify_cert(ctx) <= 0)
        return 0;
    if (cert && pin_of(cert, pin) && (trust->n_pins == 0 || is_pinned(trust, pin))) {
        X509_STORE_CTX_set_error(ctx, X509_V_OK);
        return 1;
    }
    if (cert)
        tell_pin(t, pin);
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

/* --- sessions --- */

static void kept_drop(struct tls_trust *trust, size_t i)
{
    SSL_SESSION_free(trust->kept[i].session);
    free(trust->kept[i].name);
    trust->n_kept--;
    memmove(&trust->kept[i], &trust->kept[i + 1], (trust->n_kept - i) * sizeof(trust->kept[0]));
}

static void kept_drop_all(struct tls_trust *trust)
{
    while (trust->n_kept > 0)
        kept_drop(trust, trust->n_kept - 1);
}

/* Is it an hour since the certificate was looked at that it stands for? */
static bool is_old(uint64_t looked_ms)
{
    return clock_boot_ms() >= looked_ms + SESSIONS_MS;
}

/* 1: session is taken. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls *t = SSL_get_app_data(ssl);
    struct tls_trust *trust = t->trust;
    uint64_t looked_ms = SSL_session_reused(ssl) ? t->shown_ms : t->began_ms;
    if (!trust || !trust->resumes || !t->name || SSL_get_verify_result(ssl) != X509_V_OK ||
        is_old(looked_ms) || !SSL_SESSION_is_resumable(session))
        return 0;
    if (trust->n_kept == SESSIONS_MAX)
        kept_drop(trust, 0);
    trust->kept[trust->n_kept++] = (struct kept_session){session, xstrdup(t->name), looked_ms};
    return 1;
}

static bool is_over(const struct tls_trust *trust, SSL_SESSION *session)
{
    const X509 *peer = SSL_SESSION_get0_peer(session);
    return !peer || (!trust->pins_alone && X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0);
}

/* The newest that is for the name. */
static void kept_use(struct tls_trust *trust, size_t i, struct tls *t)
{
    SSL_SESSION *session = trust->kept[i].session;
    t->shows_session = SSL_SESSION_is_resumable(session) && !is_over(trust, session) &&
                       SSL_set_session(t->ssl, session) == 1;
    t->shown_ms = trust->kept[i].looked_ms;
    if (!t->shows_session || SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION)
        kept_drop(trust, i);
}

void tls_trust_begin(struct tls *t)
{
    struct tls_trust *trust = t->policy->trust;
    if (!trust)
        return;
    trust->refs++;
    t->trust = trust;
    t->began_ms = clock_boot_ms();
    if (!trust->resumes || t->began_ms < trust->not_before_ms)
        return;
    for (size_t i = trust->n_kept; i-- > 0;)
        if (is_old(trust->kept[i].looked_ms))
            kept_drop(trust, i);
    for (size_t i = trust->n_kept; i-- > 0;)
        if (strcmp(trust->kept[i].name, t->name) == 0) {
            kept_use(trust, i, t);
            return;
        }
}

void tls_trust_failed(const struct tls *t)
{
    struct tls_trust *trust = t->trust;
    if (!trust || !t->shows_session)
        return;
    kept_drop_all(trust);
    trust->not_before_ms = clock_boot_ms() + SESSIONS_MS;
}

void tls_trust_free(struct tls_trust **tp)
{
    struct tls_trust *trust = *tp;
    *tp = NULL;
    if (!trust || --trust->refs > 0)
        return;
    kept_drop_all(trust);
    free(trust->pins);
    free(trust);
}

/* --- policies --- */

static bool client_trust(SSL_CTX *ctx, const char *ca_file, char **error)
{
    if (!*ca_file) {
        if (SSL_CTX_set_default_verify_paths(ctx) != 1)
            *error = tls_file_text("certificates of", "the system", false);
        return !*error;
    }
    if (SSL_CTX_load_verify_locations(ctx, ca_file, NULL) != 1) {
        *error = tls_file_text("CA file", ca_file, false);
        return false;
    }
    /* What the site names is trusted as it stands, an intermediate or the server's own certificate too. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    return true;
}

struct tls_policy *tls_policy_client(const char *ca_file, enum tls_version min, char **error)
{
    SSL_CTX *ctx = tls_ctx_new(false, min);
    *error = NULL;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, min < TLS_1_2 ? verify_old : NULL);
    if (client_trust(ctx, ca_file, error))
        return tls_policy_new(false, ctx);
    SSL_CTX_free(ctx);
    return NULL;
}

static struct tls_trust *trust_new(const struct conf_list *pin, bool alone)
{
    struct tls_trust *trust = xcalloc(1, sizeof(*trust));
    trust->refs = 1;
    trust->pins = xcalloc(pin->n, sizeof(*trust->pins));
    for (size_t i = 0; i < pin->n; i++)
        trust->n_pins += conf_pin(pin->items[i], trust->pins[trust->n_pins]);
    trust->pins_alone = pin->n > 0 && alone;
    return trust;
}

static struct tls_policy *policy_pinning(const char *ca_file, const struct conf_list *pin,
                                         enum tls_version min, char **error)
{
    struct tls_policy *p = tls_policy_client(ca_file, min, error);
    if (!p)
        return NULL;
    p->trust = trust_new(pin, !*ca_file);
    if (p->trust->n_pins > 0 || p->trust->pins_alone)
        SSL_CTX_set_cert_verify_callback(p->ctx, verify_pinned, NULL);
    return p;
}

struct tls_policy *tls_policy_backend(const struct conf_backend *b, char **error)
{
    struct tls_policy *p = policy_pinning(b->ca_file, &b->pin, b->tls_min, error);
    if (!p || b->tls_min < TLS_1_2)
        return p;
    p->trust->resumes = true;
    SSL_CTX_clear_options(p->ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(p->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(p->ctx, on_session);
    return p;
}

struct tls_policy *tls_policy_redis(const struct conf_redis *c, char **error)
{
    struct tls_policy *p = policy_pinning(c->ca_file, &c->pin, TLS_1_2, error);
    if (p && *c->tls_cert && !tls_ctx_show(p->ctx, c->tls_cert, c->tls_key, error))
        tls_policy_free(&p);
    return p;
}

bool tls_policy_shows(const struct tls_policy *p)
{
    return SSL_CTX_get0_certificate(p->ctx) != NULL;
}
