/* What the tls*.c files share with each other and with nobody else. */
#ifndef IMAPFERRY_TLS_PRIV_H
#define IMAPFERRY_TLS_PRIV_H

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "tls.h"
#include "tls_tickets.h"

struct tls_shown; /* what a server shows: tls_server.c */
struct tls_trust; /* whom a client believes: tls_client.c */

enum { TLS_PIN_SIZE = CONF_PIN_SIZE };

struct tls_policy {
    SSL_CTX *ctx;
    BIO_METHOD *bio;
    bool server;
    struct tls_shown *shown; /* of a server; owned */
    struct tls_trust *trust; /* of a client of a backend or of Redis; owned */
    size_t refs; /* the owner's and one a connection: a connection may be closing still when the owner frees
                    it */
};

/* One connection; the app data of its SSL. */
struct tls {
    struct tls_policy *policy;
    SSL *ssl;
    struct span *in; /* of the call under way, else NULL */
    struct buf *out;
    char *name; /* of the peer, where we are the client; owned */
    struct tls_trust
        *trust; /* of the policy as the connection began; a reference of its own; NULL: there is none */
    uint64_t began_ms;
    bool shows_session; /* an earlier one, to go on with ... */
    uint64_t shown_ms;  /* ... and when the certificate was looked at behind it */
    bool failed;
    char error[160];
};

NORETURN void tls_die(const char *what);

/* --- tls_policy.c --- */
/* A context as all of ours are; for one certificate or for none yet. */
SSL_CTX *tls_ctx_new(bool server, enum tls_version min);
/* Takes ctx. */
struct tls_policy *tls_policy_new(bool server, SSL_CTX *ctx);
void tls_policy_release(struct tls_policy *p);
/* What the first error of OpenSSL's queue means, borrowed. */
const char *tls_queue_text(void);
/* The same for a file, where it tells nobody what was wrong with it; also clears the queue. To free. */
char *tls_file_text(const char *what, const char *file, bool key);

/* --- tls_server.c --- */
void tls_shown_free(struct tls_shown **s);
/* From now on ctx shows the certificate of these files, PEM, with its chain. False: *error is a text to free. */
bool tls_ctx_show(SSL_CTX *ctx, const char *cert_file, const char *key_file, char **error) MUST_CHECK;
/* Borrowed; none (n of 0) where sessions are not resumed. */
struct ticket_keys *tls_shown_tickets(struct tls_shown *s);

/* --- tls_client.c --- */
/* One owner less; frees it after the last. */
void tls_trust_free(struct tls_trust **t);
/* Before the handshake: takes what the policy believes for the whole connection, and shows an earlier session of
 * the peer, if there is one. */
void tls_trust_begin(struct tls *t);
/* The handshake has failed. */
void tls_trust_failed(const struct tls *t);

/* --- tls_tickets.c --- */
/* Gives clients tickets, and takes them. */
void tls_tickets_use(SSL_CTX *ctx);

#endif
