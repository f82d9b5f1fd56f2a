/* io: what the tests of streams, dials and logins share: a temporary folder with certificates made for this
 * run, a listener on a free port of the loopback, waiting with a deadline, and a scripted peer that owes
 * nothing to the code under test: blocking sockets and OpenSSL in a thread of its own. */
#ifndef IMAPFERRY_TEST_IO_H
#define IMAPFERRY_TEST_IO_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "lib/loop.h"
#include "unit.h"

#define IO_DEADLINE_MS 20000

/* --- a temporary folder --- */

struct io_dir {
    char path[64];
    char *files[32];
    size_t n;
};

static inline void io_dir_make(struct io_dir *d)
{
    memset(d, 0, sizeof *d);
    strcpy(d->path, "/tmp/imapferry-unit-XXXXXX");
    assert_non_null(mkdtemp(d->path));
}

/* The full path of a file there; belongs to d. */
static inline const char *io_file(struct io_dir *d, const char *name)
{
    char *path = xasprintf("%s/%s", d->path, name);
    for (size_t i = 0; i < d->n; i++) {
        if (strcmp(d->files[i], path) == 0) {
            free(path);
            return d->files[i];
        }
    }
    assert_true(d->n < COUNTOF(d->files));
    return d->files[d->n++] = path;
}

static inline void io_dir_remove(struct io_dir *d)
{
    for (size_t i = 0; i < d->n; i++) {
        unlink(d->files[i]);
        free(d->files[i]);
    }
    assert_int_equal(rmdir(d->path), 0);
}

/* --- certificates --- */

struct io_cert {
    X509 *cert;
    EVP_PKEY *key;
};

struct io_cert_wish {
    const char *cn;
    const char *san; /* "DNS:localhost,IP:127.0.0.1", NULL = none */
    bool ca, expired;
};

static inline void io_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
}

/* Signed by issuer, or by itself where that is NULL. */
static inline struct io_cert io_cert_make(const struct io_cert *issuer, const struct io_cert_wish *w)
{
    struct io_cert c = {X509_new(), EVP_EC_gen("P-256")};
    assert_non_null(c.key);
    uint64_t serial = random_u64() >> 1;
    X509_set_version(c.cert, 2);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(c.cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(c.cert), -7200);
    X509_gmtime_adj(X509_getm_notAfter(c.cert), w->expired ? -3600 : 86400);
    X509_set_pubkey(c.cert, c.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c.cert), "CN", MBSTRING_ASC, (const uint8_t *)w->cn, -1,
                               -1, 0);
    X509_set_issuer_name(c.cert, X509_get_subject_name(issuer ? issuer->cert : c.cert));
    io_extension(c.cert, NID_basic_constraints, w->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (w->san)
        io_extension(c.cert, NID_subject_alt_name, w->san);
    assert_true(X509_sign(c.cert, issuer ? issuer->key : c.key, EVP_sha256()) > 0);
    return c;
}

static inline void io_cert_write(const struct io_cert *c, const char *cert_file, const char *key_file)
{
    FILE *f = fopen(cert_file, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, c->cert), 1);
    fclose(f);
    if (!key_file)
        return;
    f = fopen(key_file, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, c->key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
}

static inline void io_cert_free(struct io_cert *c)
{
    X509_free(c->cert);
    EVP_PKEY_free(c->key);
}

/* ca.pem, and for each kind K its K.pem and K.key: good, expired, selfsigned, othername, cnonly. */
static inline void io_certs(struct io_dir *d)
{
    struct io_cert ca = io_cert_make(NULL, &(struct io_cert_wish){.cn = "Test CA", .ca = true});
    io_cert_write(&ca, io_file(d, "ca.pem"), NULL);
    static const char names[] = "DNS:localhost,DNS:imap.example.org,IP:127.0.0.1,IP:::1";
    static const struct {
        const char *kind;
        bool self;
        struct io_cert_wish wish;
    } kinds[] = {
        {"good", false, {.cn = "x", .san = names}},
        {"expired", false, {.cn = "x", .san = names, .expired = true}},
        {"selfsigned", true, {.cn = "x", .san = names}},
        {"othername", false, {.cn = "localhost", .san = "DNS:other.example.org"}},
        {"cnonly", false, {.cn = "localhost"}},
    };
    for (size_t i = 0; i < COUNTOF(kinds); i++) {
        struct io_cert c = io_cert_make(kinds[i].self ? NULL : &ca, &kinds[i].wish);
        char pem[32], key[32];
        snprintf(pem, sizeof pem, "%s.pem", kinds[i].kind);
        snprintf(key, sizeof key, "%s.key", kinds[i].kind);
        io_cert_write(&c, io_file(d, pem), io_file(d, key));
        io_cert_free(&c);
    }
    io_cert_free(&ca);
}

/* --- sockets and waiting --- */

/* A blocking listening socket on a free port. */
static inline int io_listen(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 16), 0);
    socklen_t len = sizeof a;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static inline void io_overdue(void *owner)
{
    *(bool *)owner = true;
}

/* Runs the loop until *done; fails the test at the deadline. */
#define io_wait(loop, done) io_wait_at((loop), (done), __FILE__, __LINE__)
static inline void io_wait_at(struct loop *l, const bool *done, const char *file, int line)
{
    bool overdue = false;
    struct timer *t = timer_new(l, io_overdue, &overdue);
    timer_start(t, IO_DEADLINE_MS);
    while (!*done && !overdue)
        uv_run(&l->uv, UV_RUN_ONCE);
    timer_free(&t);
    if (!*done) {
        fprintf(stderr, "%s:%d: nothing came within %d ms\n", file, line, IO_DEADLINE_MS);
        fail();
    }
}

#endif
