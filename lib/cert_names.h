/* cert_names: which certificate a client is shown, by the name that it asks for in its TLS handshake (SNI,
 * RFC 6066 section 3).
 *
 * A certificate is a number, from 0 on; 0 is the default: for clients that ask for no name, for one that no
 * certificate has, or for an address. A smaller number goes before a larger one. Each certificate has a kind,
 * which is that of its key. A name may have one certificate of each kind (ECDSA beside RSA): together they
 * are its choice, and the handshake takes of them what the client can verify.
 *
 * Names are those of the certificates (dNSName, RFC 5280 section 4.2.1.6). "*.example.org" stands for one
 * label, a whole one (RFC 6125 section 6.4.3); a name that stands there as it is goes before it, and is only
 * helped out by it with kinds that it has no certificate of itself. Small and capital letters are the same.
 * Pure. */
#ifndef IMAPFERRY_CERT_NAMES_H
#define IMAPFERRY_CERT_NAMES_H

#include "base.h"

enum { CERT_KINDS_MAX = 8 };

/* At least one certificate but where nothing was added, each of another kind. */
struct cert_choice {
    unsigned certs[CERT_KINDS_MAX];
    size_t n;
};

struct cert_names;
struct cert_names *cert_names_new(void);
void cert_names_free(struct cert_names **n);

/* Adds a certificate with the next number. kind: any number. */
void cert_names_add(struct cert_names *n, int kind);
/* Adds a name to the certificate that was added last. False: nobody asks for such a name (it is an address,
 * has an empty label, a star elsewhere than as its first label, or bytes that no host name has). */
bool cert_names_add_name(struct cert_names *n, struct span name);
/* Makes the choices; nothing is added from here on. There is at least one certificate. */
void cert_names_settle(struct cert_names *n);

/* The choices, from 0 to the number of them. Choice 0 is the default certificate, with those of other kinds
 * that are for all of its names. */
size_t cert_names_count(const struct cert_names *n);
const struct cert_choice *cert_names_choice(const struct cert_names *n, size_t i);
/* The choice for a name as a client sends it, of any bytes. *known: whether a certificate has it, and 0 is
 * not just the default. */
size_t cert_names_find(const struct cert_names *n, struct span asked, bool *known);

#endif
