/* seal: credentials that the proxies hand to the migrators through Redis. They are sealed to the migrators'
 * public key, so that a proxy can't open what it sealed. The algorithms are ephemeral X25519, HKDF-SHA256 and
 * AES-256-GCM; key id, account, backend, purpose and expiry are associated data. Several private keys may be
 * loaded, so that they can be rotated. */
#ifndef IMAPFERRY_SEAL_H
#define IMAPFERRY_SEAL_H

#include "buf.h"

struct seal_public;
struct seal_private; /* a ring of keys */

/* Loads PEM files as `imapferryctl seal-key` writes them. NULL: *error is a text to free. */
struct seal_public *seal_public_load(const char *file, char **error) MUST_CHECK;
void seal_public_free(struct seal_public **k);
struct seal_private *seal_private_load(char *const *files, size_t n, char **error) MUST_CHECK;
void seal_private_free(struct seal_private **k);
/* Makes a pair of keys. The private file gets mode 0600 and must not exist before. False: *error is a text to
 * free. */
bool seal_key_make(const char *private_file, const char *public_file, char **error) MUST_CHECK;

struct seal_context {
    const char *user, *backend, *purpose; /* purpose: of sasl.h */
    uint64_t expires_ms;                  /* wall clock, since 1970 */
};
/* Appends the sealed form (printable). */
void seal_close(struct buf *out, const struct seal_public *k, const struct seal_context *c,
                struct span secret);
/* Appends the secret; false: *why is a fixed text (unknown key, expired, ...), seal_not_this where it was altered, or is for
 * another account, backend or purpose. */
extern const char seal_not_this[];
bool seal_open(struct buf *out, const struct seal_private *k, const char *user, const char *backend,
               const char *purpose, uint64_t now_ms, struct span sealed, const char **why) MUST_CHECK;

#endif
