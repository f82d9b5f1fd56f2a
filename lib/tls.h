/* tls: TLS over a stream. Its files (tls*.c) alone include OpenSSL's SSL headers. Owners of connections see
 * struct tls_policy alone; the rest is for stream.c.
 *
 * A policy says which is the oldest version that is taken; 1.2 is what everybody speaks today. Older ones are
 * for old servers and old clients, and bring what these have: signatures by SHA-1 (TLS 1.0 and 1.1 sign
 * handshakes with it, and OpenSSL takes it at its security level 0 alone), RSA keys from 1024 bits on, DH
 * groups from 1024 bits on, and servers that don't know RFC 5746. Since level 0 would take everything else
 * too, this file refuses what is weaker than that: MD5, and shorter keys in a certificate. */
#ifndef IMAPFERRY_TLS_H
#define IMAPFERRY_TLS_H

#include "buf.h"
#include "conf.h"

struct ticket_keys;
struct tls_policy; /* what is asked of the peer and shown to it; shared by many connections of one thread */

/* For connections that we make: the certificate and the name in it (subjectAltName alone) are always
 * verified. ca_file: PEM, or "" for the system's store. A certificate in ca_file is trusted whether it is a
 * root or not. NULL: *error is a text to free. */
struct tls_policy *tls_policy_client(const char *ca_file, enum tls_version min, char **error);
/* The same for a backend: by its ca_file, tls_min and pin. With pins and no ca_file only the key counts: no
 * chain, no name and no date. Sessions are gone on with where the server lets us. b is borrowed for the
 * call. */
struct tls_policy *tls_policy_backend(const struct conf_backend *b, char **error);
/* The same for Redis and its Sentinels: by ca_file and pin of c, and with the certificate of tls_cert for those that ask for
 * one. c is borrowed for the call. */
struct tls_policy *tls_policy_redis(const struct conf_redis *c, char **error);
/* Has it a certificate to show? */
bool tls_policy_shows(const struct tls_policy *p);
/* For connections that we take: certificates with their chains and keys, PEM, as the section proxy names them
 * (conf_certificate()). By the name that a client asks for it is shown one that is for it, else the first
 * one; cert_names.h has the rules. A client that names protocols (ALPN) and not "imap" is refused. Sessions are
 * resumed by tickets (tls_tickets.h) with the keys of tls_ticket_files or, where there are none, with own,
 * which is copied; NULL: they are not. NULL: *error is a text to free. */
struct tls_policy *tls_policy_server(const struct conf_proxy *c, const struct ticket_keys *own, char **error);
/* The same, and clients are asked for a certificate of tls_client_ca (tls_peer()), which they must show where
 * tls_client_required says so. Nothing is resumed, nor is a session of the policy above taken here. */
struct tls_policy *tls_policy_server_asking(const struct conf_proxy *c, char **error);
/* Makes the next ticket keys of a policy for connections that we take, where it is time (ticket_keys_age()): a handshake
 * does so, too, but old ones are to go where none comes. */
void tls_policy_age(struct tls_policy *p, uint64_t now_ms);
/* Whether the two files, as PEM, are a certificate with its chain and the key that belongs to it. False:
 * *error is a text to free. */
bool tls_pair_check(const char *cert_file, const char *key_file, char **error) MUST_CHECK;
/* Frees a policy; connections that were made with it keep what they need of it. */
void tls_policy_free(struct tls_policy **p);
/* Handshakes from now on go by fresh, a policy of the same side, which is freed; pointers to p stay good. */
void tls_policy_renew(struct tls_policy *p, struct tls_policy **fresh);

/* From when to when a certificate and all of its chain are valid, in seconds since 1970. */
struct tls_term {
    const char *file; /* borrowed from the policy */
    int64_t begins, ends;
};
/* Of the nth certificate of a policy for connections that we take. False: there is none. */
bool tls_policy_term(const struct tls_policy *p, size_t nth, struct tls_term *_r) MUST_CHECK;
/* Why nobody believes it at the time now, as a text for people; NULL: it is valid then. */
const char *tls_term_fault(const struct tls_term *term, int64_t now);

/* Who the peer is, by the certificate that it has shown and that was verified. */
struct tls_peer {
    char *subject;     /* as RFC 4514 writes it; owned */
    char *common_name; /* the last one of the subject; "" = none; owned */
    char **emails;     /* rfc822Name of subjectAltName, in their order; owned */
    size_t n_emails;
};
void tls_peer_free(struct tls_peer *p);

/* --- for stream.c --- */
struct tls; /* one connection's engine over a custom BIO: bytes in, bytes out, no descriptor */
enum tls_rc { TLS_OK, TLS_WANT_MORE, TLS_CLOSED, TLS_FAILED };

/* Adds an owner of the policy, who calls tls_policy_free() too. */
struct tls_policy *tls_policy_hold(struct tls_policy *p);
struct tls *tls_new(struct tls_policy *p, const char *name);
void tls_free(struct tls **t);
/* *in is ciphertext of the peer, borrowed for the call: tls_handshake() and tls_read() eat from it. What
 * OpenSSL wants sent is appended to *out. */
enum tls_rc tls_handshake(struct tls *t, struct span *in, struct buf *out) MUST_CHECK;
/* The peer has closed the connection in the handshake. */
void tls_was_left(struct tls *t);
/* Decrypts up to cap bytes into plain; *len is how many came. TLS_WANT_MORE: none came, and *in is used
 * up. */
enum tls_rc tls_read(struct tls *t, struct span *in, struct buf *out, uint8_t *plain, size_t cap,
                     size_t *len) MUST_CHECK;
enum tls_rc tls_write(struct tls *t, struct span plain, struct buf *out) MUST_CHECK;
void tls_close_notify(struct tls *t, struct buf *out);
/* Until this is called, OpenSSL's own copy of what was decrypted is overwritten each time. */
void tls_without_secrets(struct tls *t);
/* False: it has shown none, or none that is believed. */
bool tls_peer(const struct tls *t, struct tls_peer *_r) MUST_CHECK;
/* What failed, as a text for people ("certificate has expired"), borrowed. */
const char *tls_error(const struct tls *t);

#endif
