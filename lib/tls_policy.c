/* What is the same for all policies, and their life. */
#include <stdlib.h>
#include <sys/stat.h>

#include <openssl/decodererr.h>

#include "log.h"
#include "tls_priv.h"
#include "xalloc.h"

NORETURN void tls_die(const char *what)
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

/* --- contexts --- */

static void take_old(SSL_CTX *ctx)
{
    if (SSL_CTX_set_cipher_list(ctx, "DEFAULT:!RC4:!3DES:@SECLEVEL=0") != 1)
        tls_die("SSL_CTX_set_cipher_list");
    SSL_CTX_set_options(ctx, SSL_OP_LEGACY_SERVER_CONNECT);
}

SSL_CTX *tls_ctx_new(bool server, enum tls_version min)
{
    static const int versions[] = {[TLS_1_0] = TLS1_VERSION,
                                   [TLS_1_1] = TLS1_1_VERSION,
                                   [TLS_1_2] = TLS1_2_VERSION,
                                   [TLS_1_3] = TLS1_3_VERSION};
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, versions[min]) != 1)
        tls_die("SSL_CTX_new");
    /* Sessions are resumed only where a policy says so (tls_tickets.h, tls_client.c). */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    if (min < TLS_1_2)
        take_old(ctx);
    return ctx;
}

/* --- policies --- */

struct tls_policy *tls_policy_new(bool server, SSL_CTX *ctx)
{
    struct tls_policy *p = xcalloc(1, sizeof(*p));
    p->refs = 1;
    p->server = server;
    p->bio = bio_method();
    p->ctx = ctx;
    return p;
}

void tls_policy_release(struct tls_policy *p)
{
    if (--p->refs > 0)
        return;
    tls_shown_free(&p->shown);
    tls_trust_free(&p->trust);
    SSL_CTX_free(p->ctx);
    BIO_meth_free(p->bio);
    free(p);
}

void tls_policy_free(struct tls_policy **p)
{
    if (*p)
        tls_policy_release(*p);
    *p = NULL;
}

struct tls_policy *tls_policy_hold(struct tls_policy *p)
{
    p->refs++;
    return p;
}

/* Each SSL has its own reference to the context that it was made from. */
void tls_policy_renew(struct tls_policy *p, struct tls_policy **fresh)
{
    SSL_CTX *ctx = p->ctx;
    struct tls_shown *shown = p->shown;
    struct tls_trust *trust = p->trust;
    p->ctx = (*fresh)->ctx;
    p->shown = (*fresh)->shown;
    p->trust = (*fresh)->trust;
    (*fresh)->ctx = ctx;
    (*fresh)->shown = shown;
    (*fresh)->trust = trust;
    tls_policy_free(fresh);
}

/* --- texts --- */

const char *tls_queue_text(void)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);
    if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
        (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST))
        return "the peer does not speak TLS here";
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    return text ? text : ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : "TLS failed";
}

/* What OpenSSL says of a file with something else in it ("no start line", "unsupported") tells nobody
 * what. */
static const char *file_fault(const char *file, bool key)
{
    unsigned long code = ERR_peek_error();
    struct stat st;
    if (stat(file, &st) == 0 && S_ISDIR(st.st_mode))
        return "is a folder, not a file";
    if (key && (ERR_GET_LIB(code) == ERR_LIB_OSSL_DECODER || ERR_GET_LIB(code) == ERR_LIB_PEM))
        return "holds no private key in PEM (\"-----BEGIN PRIVATE KEY-----\")";
    if (!key && ERR_GET_LIB(code) == ERR_LIB_PEM)
        return "holds no certificate in PEM (\"-----BEGIN CERTIFICATE-----\")";
    return tls_queue_text();
}

char *tls_file_text(const char *what, const char *file, bool key)
{
    char *text = xasprintf("%s %s: %s", what, file, file_fault(file, key));
    ERR_clear_error();
    return text;
}
