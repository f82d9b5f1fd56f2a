/* io: what the tests of streams, dials and logins share: a temporary folder with certificates made for this
 * run, a listener on a free port of the loopback, waiting with a deadline, and a scripted peer that owes
 * nothing to the code under test: blocking sockets and OpenSSL in a thread of its own. */
#ifndef IMAPFERRY_TEST_IO_H
#define IMAPFERRY_TEST_IO_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "lib/loop.h"
#include "lib/tls.h"
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
    unsigned rsa;         /* bits of an RSA key; 0: another kind */
    const EVP_MD *digest; /* of the signature; NULL: SHA-256 */
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
    struct io_cert c = {X509_new(), w->rsa ? EVP_RSA_gen(w->rsa) : EVP_EC_gen("P-256")};
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
    assert_true(X509_sign(c.cert, issuer ? issuer->key : c.key, w->digest ? w->digest : EVP_sha256()) > 0);
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

/* A server's policy with one certificate. */
static inline struct tls_policy *io_server_policy(const char *cert, const char *key, enum tls_version min,
                                                  char **error)
{
    const struct conf_proxy c = {.tls_cert = (char *)cert, .tls_key = (char *)key, .tls_min = min};
    return tls_policy_server(&c, NULL, error);
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

/* --- the scripted peer --- */

/* A script is a row of steps, ended by NULL. "%T" stands for the tag of the last command that was read,
 * "%P" for that of the one before it.
 *   ">text"   sends text and CRLF             "}text"  sends text as it is
 *   "<text"   reads a line: a tag, a blank, text
 *   "=text"   reads a line: text
 *   "!tls"    handshake as server             "!close" "!reset"
 *   "!some"   reads what comes first
 *   "!mark"   lets io_peer_marked() go on    "!other"  waits for the "!mark" of p->other
 *   "!wait"   reads until the other side ends; what comes is noted as p->extra */
struct io_peer {
    const char *const *script;
    int listener, fd;
    uint16_t port;
    pthread_t thread;
    SSL_CTX *ctx;
    SSL *ssl;
    char tag[64], before[64], why[512];
    size_t extra;
    atomic_bool marked;
    struct io_peer *other; /* to be set behind io_peer_start(), before it is dialed */
};

static inline void io_peer_fault(struct io_peer *p, const char *step, const char *what)
{
    if (!*p->why)
        snprintf(p->why, sizeof p->why, "at step \"%.100s\": %.300s", step, what);
}

static inline ssize_t io_peer_recv(struct io_peer *p, void *to, size_t n)
{
    return p->ssl ? SSL_read(p->ssl, to, (int)n) : recv(p->fd, to, n, 0);
}

static inline void io_peer_send(struct io_peer *p, const char *text, const char *end)
{
    struct buf out = {0};
    for (const char *at; (at = strchr(text, '%'));) {
        const char *tag = at[1] == 'T' ? p->tag : at[1] == 'P' ? p->before : NULL;
        buf_add(&out, text, (size_t)(at - text));
        buf_add_str(&out, tag ? tag : "%");
        text = at + (tag ? 2 : 1);
    }
    buf_add_str(&out, text);
    buf_add_str(&out, end);
    /* The other side may have closed; whether it should have, the rest of the test says. */
    if (p->ssl)
        SSL_write(p->ssl, out.mem, (int)out.len);
    else if (send(p->fd, out.mem, out.len, MSG_NOSIGNAL) < 0)
        p->extra = 0;
    buf_free(&out);
}

static inline bool io_peer_line(struct io_peer *p, struct buf *line)
{
    for (char c; io_peer_recv(p, &c, 1) == 1;) {
        if (c == '\n')
            return line->len > 0 && line->mem[--line->len] == '\r';
        buf_add(line, &c, 1);
    }
    return false;
}

static inline void io_peer_expect(struct io_peer *p, const char *step)
{
    struct buf line = {0};
    if (!io_peer_line(p, &line)) {
        io_peer_fault(p, step, "the other side ended instead");
        buf_free(&line);
        return;
    }
    const char *text = buf_str(&line);
    if (step[0] == '<') {
        size_t n = strcspn(text, " ");
        memcpy(p->before, p->tag, sizeof p->before);
        snprintf(p->tag, sizeof p->tag, "%.*s", (int)n, text);
        text += text[n] ? n + 1 : n;
    }
    if (strcmp(text, step + 1) != 0)
        io_peer_fault(p, step, text);
    buf_free(&line);
}

static inline void io_peer_special(struct io_peer *p, const char *step)
{
    struct linger hard = {.l_onoff = 1};
    char sink[4096];
    if (strcmp(step, "!tls") == 0) {
        p->ssl = SSL_new(p->ctx);
        SSL_set_fd(p->ssl, p->fd);
        if (SSL_accept(p->ssl) != 1)
            p->extra = 0; /* the other side's verdict is what the test looks at */
    } else if (strcmp(step, "!wait") == 0) {
        for (ssize_t n; (n = io_peer_recv(p, sink, sizeof sink)) > 0;)
            p->extra += (size_t)n;
    } else if (strcmp(step, "!some") == 0) {
        if (io_peer_recv(p, sink, sizeof sink) <= 0)
            io_peer_fault(p, step, "the other side ended instead");
    } else if (strcmp(step, "!mark") == 0) {
        atomic_store(&p->marked, true);
    } else if (strcmp(step, "!other") == 0) {
        uint64_t end = clock_boot_ms() + IO_DEADLINE_MS;
        while (!atomic_load(&p->other->marked) && clock_boot_ms() < end)
            uv_sleep(1);
        if (!atomic_load(&p->other->marked))
            io_peer_fault(p, step, "the other peer did not come so far");
    } else if (strcmp(step, "!reset") == 0) {
        setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    } else if (strcmp(step, "!close") != 0) {
        io_peer_fault(p, step, "no such step");
    }
}

static inline void *io_peer_run(void *arg)
{
    struct io_peer *p = arg;
    p->fd = accept(p->listener, NULL, NULL);
    if (p->fd < 0)
        return NULL;
    struct timeval limit = {.tv_sec = IO_DEADLINE_MS / 1000};
    setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    for (const char *const *step = p->script; *step && !*p->why; step++) {
        if (**step == '>' || **step == '}')
            io_peer_send(p, *step + 1, **step == '>' ? "\r\n" : "");
        else if (**step == '!')
            io_peer_special(p, *step);
        else
            io_peer_expect(p, *step);
    }
    if (p->ssl) {
        SSL_shutdown(p->ssl);
        SSL_free(p->ssl);
    }
    close(p->fd);
    ERR_clear_error();
    return NULL;
}

/* cert and key may be NULL where the script has no "!tls". */
static inline void io_peer_start(struct io_peer *p, const char *const *script, const char *cert,
                                 const char *key)
{
    memset(p, 0, sizeof *p);
    p->script = script;
    p->listener = io_listen(&p->port);
    if (cert) {
        p->ctx = SSL_CTX_new(TLS_server_method());
        assert_int_equal(SSL_CTX_use_certificate_chain_file(p->ctx, cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(p->ctx, key, SSL_FILETYPE_PEM), 1);
    }
    assert_int_equal(pthread_create(&p->thread, NULL, io_peer_run, p), 0);
}

/* Runs the loop until the script is at its "!mark". */
static inline void io_peer_marked(struct io_peer *p, struct loop *l)
{
    uint64_t end = clock_boot_ms() + IO_DEADLINE_MS;
    while (!atomic_load(&p->marked) && clock_boot_ms() < end) {
        uv_run(&l->uv, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    assert_true(atomic_load(&p->marked));
}

/* Waits for the end of the script; fails the test where the other side did not keep to it. */
static inline void io_peer_end(struct io_peer *p)
{
    shutdown(p->listener, SHUT_RDWR); /* ends an accept() that nobody came to */
    pthread_join(p->thread, NULL);
    close(p->listener);
    SSL_CTX_free(p->ctx);
    if (*p->why)
        fail_msg("%s", p->why);
}

#endif
