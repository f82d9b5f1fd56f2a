/* The sealed form is text, four words with dots between them:
 *
 *   1 . key id . expiry . hex of: ephemeral public key (32), ciphertext, tag (16)
 *
 * The key id is the first 8 bytes of the SHA-256 of the public key. Key and nonce come from HKDF-SHA256 over
 * the shared secret, with both public keys as salt: an ephemeral key is used once, so the nonce is. What is
 * encrypted is the length of the secret and the secret, filled up to a multiple of 64, so that the length
 * doesn't tell much. All the words, account, backend and purpose are associated data, each with its length.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/pem.h>

#include "buf_room.h"
#include "log.h"
#include "percent.h"
#include "seal.h"
#include "xalloc.h"

enum { KEY = 32, TAG = 16, NONCE = 12, ID = 16 /* hex digits */, BLOCK = 64, SECRET_MAX = 64 * 1024 - 1 };

struct seal_public {
    EVP_PKEY *key;
    uint8_t raw[KEY];
    char id[ID + 1];
};

struct seal_private {
    struct seal_public *keys; /* owned; pairs */
    size_t n;
};

/* ---- files ---- */

static bool seal_fail(char **error, const char *file, const char *what)
{
    *error = xasprintf("%s: %s", file, what);
    return false;
}

static bool name_key(struct seal_public *k)
{
    uint8_t sum[EVP_MAX_MD_SIZE];
    size_t len = KEY;
    if (EVP_PKEY_get_base_id(k->key) != EVP_PKEY_X25519 ||
        EVP_PKEY_get_raw_public_key(k->key, k->raw, &len) != 1 || len != KEY ||
        EVP_Digest(k->raw, KEY, sum, NULL, EVP_sha256(), NULL) != 1)
        return false;
    for (size_t i = 0; i < ID / 2; i++)
        snprintf(k->id + 2 * i, 3, "%02x", sum[i]);
    return true;
}

/* A PEM file; a passphrase is never asked for. */
static bool load_key(const char *file, bool private_key, struct seal_public *k, char **error)
{
    FILE *f = fopen(file, "re");
    struct stat st;
    if (!f)
        return seal_fail(error, file, strerror(errno));
    if (fstat(fileno(f), &st) == 0 && private_key && (st.st_mode & S_IRWXO))
        LOG(WARN, "seal_key_open", LOG_S("file", file), LOG_S("why", "others may read this private key"));
    char none[] = "";
    k->key = private_key ? PEM_read_PrivateKey(f, NULL, NULL, none) : PEM_read_PUBKEY(f, NULL, NULL, none);
    fclose(f);
    if (k->key && name_key(k))
        return true;
    EVP_PKEY_free(k->key);
    k->key = NULL;
    return seal_fail(error, file,
                     private_key ? "no X25519 private key in PEM form (imapferryctl seal-key makes one)"
                                 : "no X25519 public key in PEM form (imapferryctl seal-key makes one)");
}

struct seal_public *seal_public_load(const char *file, char **error)
{
    struct seal_public *k = xcalloc(1, sizeof(*k));
    if (load_key(file, false, k, error))
        return k;
    free(k);
    return NULL;
}

void seal_public_free(struct seal_public **kp)
{
    struct seal_public *k = *kp;
    *kp = NULL;
    if (!k)
        return;
    EVP_PKEY_free(k->key);
    free(k);
}

struct seal_private *seal_private_load(char *const *files, size_t n, char **error)
{
    struct seal_private *ring = xcalloc(1, sizeof(*ring));
    ring->keys = xcalloc(n + 1, sizeof(*ring->keys));
    for (size_t i = 0; i < n; i++) {
        if (!load_key(files[i], true, &ring->keys[i], error)) {
            seal_private_free(&ring);
            return NULL;
        }
        ring->n++;
    }
    return ring;
}

void seal_private_free(struct seal_private **rp)
{
    struct seal_private *ring = *rp;
    *rp = NULL;
    if (!ring)
        return;
    for (size_t i = 0; i < ring->n; i++)
        EVP_PKEY_free(ring->keys[i].key);
    free(ring->keys);
    free(ring);
}

/* A new file of ours with a key in it, on disk when this returns. */
static bool write_key(const char *file, mode_t mode, EVP_PKEY *key, char **error)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f) {
        seal_fail(error, file, strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool good = mode == 0600 ? PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1
                             : PEM_write_PUBKEY(f, key) == 1;
    good = fflush(f) == 0 && fsync(fd) == 0 && good;
    good = fclose(f) == 0 && good;
    if (good)
        return true;
    unlink(file);
    return seal_fail(error, file, "can't be written");
}

bool seal_key_make(const char *private_file, const char *public_file, char **error)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    bool good = false;
    if (!key) {
        *error = xstrdup("this OpenSSL makes no X25519 keys");
        return false;
    }
    if (write_key(private_file, 0600, key, error)) {
        good = write_key(public_file, 0644, key, error);
        if (!good)
            unlink(private_file);
    }
    EVP_PKEY_free(key);
    return good;
}

/* ---- keys of one sealing ---- */

struct material {
    uint8_t key[KEY], nonce[NONCE];
};

static bool agree(EVP_PKEY *mine, EVP_PKEY *theirs, uint8_t *secret)
{
    size_t len = KEY;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(mine, NULL);
    bool good = c && EVP_PKEY_derive_init(c) == 1 && EVP_PKEY_derive_set_peer(c, theirs) == 1 &&
                EVP_PKEY_derive(c, secret, &len) == 1 && len == KEY;
    EVP_PKEY_CTX_free(c);
    return good;
}

static bool stretch(uint8_t *secret, const uint8_t *ephemeral, const uint8_t *recipient, struct material *out)
{
    static const char info[] = "imapferry seal 1";
    uint8_t salt[2 * KEY], both[KEY + NONCE];
    memcpy(salt, ephemeral, KEY);
    memcpy(salt + KEY, recipient, KEY);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret, KEY),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt, sizeof(salt)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info, sizeof(info) - 1),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *c = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    bool good = c && EVP_KDF_derive(c, both, sizeof(both), params) == 1;
    if (good) {
        memcpy(out->key, both, KEY);
        memcpy(out->nonce, both + KEY, NONCE);
    }
    wipe(both, sizeof(both));
    EVP_KDF_CTX_free(c);
    EVP_KDF_free(kdf);
    return good;
}

static bool seal_derive(EVP_PKEY *mine, EVP_PKEY *theirs, const uint8_t *ephemeral, const uint8_t *recipient,
                        struct material *out)
{
    uint8_t secret[KEY];
    bool good = agree(mine, theirs, secret) && stretch(secret, ephemeral, recipient, out);
    wipe(secret, sizeof(secret));
    return good;
}

static void seal_add_word(struct buf *b, const char *text)
{
    buf_printf(b, "%zu:%s,", strlen(text), text);
}

static void bind_data(struct buf *b, const char *id, const char *user, const char *backend,
                      const char *purpose, uint64_t expires_ms)
{
    buf_add_str(b, "imapferry seal 1,");
    seal_add_word(b, id);
    seal_add_word(b, user);
    seal_add_word(b, backend);
    seal_add_word(b, purpose);
    buf_printf(b, "%" PRIu64, expires_ms);
}

/* AES-256-GCM over a whole buffer, in place. The tag is written when sealing, compared when opening. */
static bool seal_encrypt(const struct material *m, struct span bound, uint8_t *text, size_t len, uint8_t *tag,
                         bool sealing)
{
    int n = 0;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool good = c && EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, m->key, m->nonce, sealing) == 1 &&
                EVP_CipherUpdate(c, NULL, &n, bound.p, (int)bound.len) == 1 &&
                EVP_CipherUpdate(c, text, &n, text, (int)len) == 1 && n == (int)len;
    if (good && !sealing)
        good = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1;
    good = good && EVP_CipherFinal_ex(c, text + len, &n) == 1;
    if (good && sealing)
        good = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG, tag) == 1;
    EVP_CIPHER_CTX_free(c);
    return good;
}

/* ---- sealing ---- */

static void add_hex(struct buf *out, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "%02x", p[i]);
}

static void seal_must(bool good, const char *what)
{
    if (good)
        return;
    LOG(ERROR, "fatal", LOG_S("what", what));
    abort();
}

void seal_close(struct buf *out, const struct seal_public *k, const struct seal_context *c,
                struct span secret)
{
    struct material m = {0};
    struct buf bound = {0};
    uint8_t ephemeral[KEY], tag[TAG];
    size_t raw = KEY, len;

    seal_must(secret.len <= SECRET_MAX, "seal_close: a secret of more than 64 KiB");
    len = (2 + secret.len + BLOCK - 1) / BLOCK * BLOCK;
    uint8_t *text = xcalloc(1, len);
    text[0] = (uint8_t)(secret.len >> 8);
    text[1] = (uint8_t)(secret.len & 0xff);
    if (secret.len > 0)
        memcpy(text + 2, secret.p, secret.len);
    EVP_PKEY *once = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    seal_must(once && EVP_PKEY_get_raw_public_key(once, ephemeral, &raw) == 1, "seal_close: no key");
    seal_must(seal_derive(once, k->key, ephemeral, k->raw, &m), "seal_close: no shared secret");
    bind_data(&bound, k->id, c->user, c->backend, c->purpose, c->expires_ms);
    seal_must(seal_encrypt(&m, buf_span(&bound), text, len, tag, true), "seal_close: AES-256-GCM");
    buf_printf(out, "1.%s.%" PRIu64 ".", k->id, c->expires_ms);
    add_hex(out, ephemeral, KEY);
    add_hex(out, text, len);
    add_hex(out, tag, TAG);
    EVP_PKEY_free(once);
    wipe(&m, sizeof(m));
    wipe(text, len);
    free(text);
    buf_free(&bound);
}

/* ---- opening ---- */

struct sealed {
    char id[ID + 1];
    uint64_t expires_ms;
    uint8_t *bytes; /* owned: ephemeral key, ciphertext, tag */
    size_t len;
};

static bool seal_next_word(struct span *rest, struct span *word)
{
    const uint8_t *dot = rest->len ? memchr(rest->p, '.', rest->len) : NULL;
    if (!dot)
        return false;
    *word = span_of(rest->p, (size_t)(dot - rest->p));
    *rest = span_of(dot + 1, rest->len - word->len - 1);
    return true;
}

static bool take_hex(struct span hex, uint8_t *out)
{
    for (size_t i = 0; i + 1 < hex.len; i += 2) {
        int byte = hex_byte(span_of(hex.p + i, 2), HEX_SMALL);
        if (byte < 0)
            return false;
        out[i / 2] = (uint8_t)byte;
    }
    return true;
}

/* True: s->bytes is to be freed. */
static bool parse_sealed(struct span text, struct sealed *s)
{
    struct span version, id, expires, hex = text;
    if (!seal_next_word(&hex, &version) || !seal_next_word(&hex, &id) || !seal_next_word(&hex, &expires) ||
        !span_is(version, "1") || id.len != ID || !span_u64(expires, UINT64_MAX, &s->expires_ms) ||
        hex.len % 2 != 0)
        return false;
    s->len = hex.len / 2;
    if (s->len < KEY + BLOCK + TAG || (s->len - KEY - TAG) % BLOCK != 0 || s->len > 2 * SECRET_MAX)
        return false;
    memcpy(s->id, id.p, ID);
    s->id[ID] = '\0';
    s->bytes = xmalloc(s->len);
    if (take_hex(hex, s->bytes))
        return true;
    free(s->bytes);
    return false;
}

static bool decrypt(struct sealed *s, const struct seal_public *k, struct span bound)
{
    struct material m = {0};
    EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, s->bytes, KEY);
    bool good = theirs && seal_derive(k->key, theirs, s->bytes, k->raw, &m) &&
                seal_encrypt(&m, bound, s->bytes + KEY, s->len - KEY - TAG, s->bytes + s->len - TAG, false);
    EVP_PKEY_free(theirs);
    wipe(&m, sizeof(m));
    return good;
}

const char seal_not_this[] = "it was altered, or is for another account, backend or purpose";

static const struct seal_public *find_key(const struct seal_private *ring, const char *id)
{
    for (size_t i = 0; i < ring->n; i++)
        if (strcmp(ring->keys[i].id, id) == 0)
            return &ring->keys[i];
    return NULL;
}

static const char *open_parsed(struct buf *out, const struct seal_private *ring, struct sealed *s,
                               struct span bound, uint64_t now_ms)
{
    const struct seal_public *k = find_key(ring, s->id);
    if (!k)
        return "it was sealed to a key that is not here";
    if (!decrypt(s, k, bound))
        return seal_not_this;
    if (now_ms >= s->expires_ms)
        return "it has expired";
    size_t len = (size_t)s->bytes[KEY] << 8 | s->bytes[KEY + 1];
    if (len + 2 > s->len - KEY - TAG)
        return seal_not_this;
    buf_room(out, len + 1); /* for a NUL too: a buffer that moves leaves its bytes behind */
    buf_add(out, s->bytes + KEY + 2, len);
    return NULL;
}

bool seal_open(struct buf *out, const struct seal_private *k, const char *user, const char *backend,
               const char *purpose, uint64_t now_ms, struct span sealed, const char **why)
{
    struct sealed s = {0};
    struct buf bound = {0};

    if (!parse_sealed(sealed, &s)) {
        *why = "it is not of the form that we seal in";
        return false;
    }
    bind_data(&bound, s.id, user, backend, purpose, s.expires_ms);
    const char *fault = open_parsed(out, k, &s, buf_span(&bound), now_ms);
    wipe(s.bytes, s.len);
    free(s.bytes);
    buf_free(&bound);
    if (fault)
        *why = fault;
    return !fault;
}
