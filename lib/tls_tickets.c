#include "tls_tickets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/rand.h>

#include "loop.h"
#include "tls_priv.h"
#include "xalloc.h"

enum { NEXT_MS = 8 * 60 * 60 * 1000, HASH_SIZE = 32 };

_Static_assert(sizeof(struct ticket_key) == TICKET_KEY_SIZE, "as it is in a file");

/* ---- of this process ---- */

void ticket_keys_make(struct ticket_keys *_r, uint64_t now_ms)
{
    *_r = (struct ticket_keys){.n = 1, .next_ms = now_ms + NEXT_MS};
    random_bytes(&_r->keys[0], sizeof(_r->keys[0]));
}

/* Its bytes are hashes of a number and those of the key before. */
static struct ticket_key next_key(const struct ticket_key *before)
{
    uint8_t from[1 + sizeof(*before)], made[3 * HASH_SIZE];
    struct ticket_key next;
    memcpy(from + 1, before, sizeof(*before));
    for (uint8_t i = 0; i < 3; i++) {
        from[0] = i;
        if (EVP_Digest(from, sizeof(from), made + i * HASH_SIZE, NULL, EVP_sha256(), NULL) != 1)
            tls_die("EVP_Digest");
    }
    memcpy(&next, made, sizeof(next));
    wipe(from, sizeof(from));
    wipe(made, sizeof(made));
    return next;
}

/* The oldest goes where there is no room. */
static void ticket_keys_push(struct ticket_keys *k, struct ticket_key key)
{
    k->n += k->n < TICKET_KEYS_MAX;
    memmove(&k->keys[1], &k->keys[0], (k->n - 1) * sizeof(k->keys[0]));
    k->keys[0] = key;
}

void ticket_keys_age(struct ticket_keys *k, uint64_t now_ms)
{
    for (; k->next_ms > 0 && now_ms >= k->next_ms; k->next_ms += NEXT_MS)
        ticket_keys_push(k, next_key(&k->keys[0]));
}

const struct ticket_key *ticket_keys_find(const struct ticket_keys *k, const uint8_t name[16])
{
    for (size_t i = 0; i < k->n; i++)
        if (memcmp(k->keys[i].name, name, sizeof(k->keys[i].name)) == 0)
            return &k->keys[i];
    return NULL;
}

/* ---- of files ---- */

static bool tickets_fail(char **error, const char *file, const char *what)
{
    *error = xasprintf("%s: %s", file, what);
    return false;
}

/* Fills bytes up to size; returns how many there are, -1 for an error of errno. */
static ssize_t tickets_read_whole(int fd, uint8_t *bytes, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, bytes + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

static const char *mode_fault(const struct stat *st)
{
    if (!S_ISREG(st->st_mode))
        return "is no file";
    if (st->st_mode & (S_IRWXO | S_IWGRP))
        return "others than its owner and its group can get at it, or the group may write it: see chmod 640";
    return NULL;
}

/* Appends the keys of a file. */
static bool load_file(const char *file, struct ticket_keys *k, char **error)
{
    uint8_t bytes[TICKET_KEYS_MAX * TICKET_KEY_SIZE + 1];
    struct stat st;
    const char *why = NULL;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0)
        why = strerror(errno);
    else
        why = mode_fault(&st);
    ssize_t n = why ? 0 : tickets_read_whole(fd, bytes, sizeof(bytes));
    if (n < 0)
        why = strerror(errno);
    if (fd >= 0)
        close(fd);
    if (!why && (n == 0 || n % TICKET_KEY_SIZE != 0))
        why = "is not 80, 160 or 240 bytes long, one to three keys; make it with \"imapferryctl ticket-key\"";
    else if (!why && k->n + (size_t)n / TICKET_KEY_SIZE > TICKET_KEYS_MAX)
        why = "is one key too many: at most three are kept";
    if (!why) {
        memcpy(&k->keys[k->n], bytes, (size_t)n);
        k->n += (size_t)n / TICKET_KEY_SIZE;
    }
    wipe(bytes, sizeof(bytes));
    return why ? tickets_fail(error, file, why) : true;
}

bool ticket_keys_load(char *const *files, size_t n, struct ticket_keys *_r, char **error)
{
    bool ok = true;
    *_r = (struct ticket_keys){.n = 0};
    for (size_t i = 0; i < n && ok; i++)
        ok = load_file(files[i], _r, error);
    if (!ok)
        wipe(_r, sizeof(*_r));
    return ok;
}

/* ---- a new key ---- */

static bool tickets_write_whole(int fd, const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        bytes += done;
        n -= (size_t)done;
    }
    return true;
}

/* like: whose owner and mode it gets; NULL: as it is made. A file of another owner that can't be kept so
 * becomes ours. */
static bool write_file(const char *file, const struct ticket_keys *k, const struct stat *like, char **error)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    bool ok = fd >= 0;
    if (ok && like && fchown(fd, like->st_uid, like->st_gid) == 0)
        ok = fchmod(fd, like->st_mode & (S_IRUSR | S_IWUSR | S_IRGRP)) == 0;
    ok = ok && tickets_write_whole(fd, (const uint8_t *)k->keys, k->n * TICKET_KEY_SIZE) && fsync(fd) == 0;
    int saved = errno;
    if (fd >= 0)
        close(fd);
    return ok || tickets_fail(error, file, strerror(saved));
}

static bool replace_file(const char *file, const struct ticket_keys *k, const struct stat *like, char **error)
{
    char *fresh = xasprintf("%s.new", file);
    unlink(fresh); /* of one that was ended here */
    bool ok = write_file(fresh, k, like, error);
    if (ok && rename(fresh, file) != 0)
        ok = tickets_fail(error, file, strerror(errno));
    if (!ok)
        unlink(fresh);
    free(fresh);
    return ok;
}

bool ticket_keys_rotate(const char *file, char **error)
{
    struct ticket_keys k = {.n = 0};
    struct ticket_key fresh;
    struct stat st;
    bool there = stat(file, &st) == 0;
    if (there && !load_file(file, &k, error))
        return false;
    random_bytes(&fresh, sizeof(fresh));
    ticket_keys_push(&k, fresh);
    bool ok = replace_file(file, &k, there ? &st : NULL, error);
    wipe(&k, sizeof(k));
    wipe(&fresh, sizeof(fresh));
    return ok;
}

/* ---- what OpenSSL asks for ---- */

static int ticket_prepare(const struct ticket_key *key, const uint8_t *iv, EVP_CIPHER_CTX *cipher,
                          EVP_MAC_CTX *mac, int encrypt)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->hmac,
                                          sizeof(key->hmac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv, encrypt) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* 1: the ticket can be opened; 2: and the client gets another one, in TLS 1.3 each time, since it shows each
 * only once (RFC 8446 section C.4); 0: a handshake as if there were no ticket. */
static int ticket_open(SSL *ssl, const struct ticket_keys *k, const uint8_t *name, const uint8_t *iv,
                       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    const struct ticket_key *key = ticket_keys_find(k, name);
    if (!key || !ticket_prepare(key, iv, cipher, mac, 0))
        return 0;
    return SSL_version(ssl) >= TLS1_3_VERSION || key != &k->keys[0] ? 2 : 1;
}

static int ticket_seal(const struct ticket_keys *k, uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher,
                       EVP_MAC_CTX *mac)
{
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
        return -1;
    memcpy(name, k->keys[0].name, sizeof(k->keys[0].name));
    return ticket_prepare(&k->keys[0], iv, cipher, mac, 1) ? 1 : -1;
}

/* The policy may have been renewed since the connection came: then these are the keys of now. */
static int tickets_on_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                          EVP_MAC_CTX *mac, int encrypt)
{
    struct tls *t = SSL_get_app_data(ssl);
    struct ticket_keys *k = tls_shown_tickets(t->policy->shown);
    if (k->n == 0)
        return 0;
    ticket_keys_age(k, clock_boot_ms());
    return encrypt ? ticket_seal(k, name, iv, cipher, mac) : ticket_open(ssl, k, name, iv, cipher, mac);
}

/* ---- how long a session goes on */

enum { BEGAN_SIZE = 8 };

bool ticket_goes_on(uint64_t began_s, uint64_t now_s)
{
    return began_s < now_s + TICKET_CLOCKS_S && now_s < began_s + TICKET_LIFE_S;
}

/* When it began stands in each of its tickets, encrypted with the rest. */
static bool ticket_began(SSL_SESSION *session, uint64_t *_s)
{
    uint8_t *bytes;
    size_t len;
    uint64_t s = 0;
    if (SSL_SESSION_get0_ticket_appdata(session, (void **)&bytes, &len) != 1 || len != BEGAN_SIZE)
        return false;
    for (size_t i = 0; i < BEGAN_SIZE; i++)
        s = s << 8 | bytes[i];
    *_s = s;
    return true;
}

/* A session that is gone on with has it from its ticket. */
static int tickets_on_give(SSL *ssl, void *arg)
{
    SSL_SESSION *session = SSL_get_session(ssl);
    uint64_t s = clock_wall_ms() / 1000, began;
    uint8_t bytes[BEGAN_SIZE];
    (void)arg;
    if (SSL_session_reused(ssl) && ticket_began(session, &began))
        return 1;
    for (size_t i = BEGAN_SIZE; i-- > 0; s >>= 8)
        bytes[i] = (uint8_t)s;
    return SSL_SESSION_set1_ticket_appdata(session, bytes, sizeof(bytes));
}

/* Where it is not gone on with, the handshake is whole, and gives another ticket. One that does not say when it began
 * was given by a release of before. */
static SSL_TICKET_RETURN tickets_on_take(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                         size_t len, SSL_TICKET_STATUS status, void *arg)
{
    bool opened = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
    uint64_t began;
    (void)ssl, (void)name, (void)len, (void)arg;
    if (!opened || !ticket_began(session, &began) || !ticket_goes_on(began, clock_wall_ms() / 1000))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

void tls_policy_age(struct tls_policy *p, uint64_t now_ms)
{
    ticket_keys_age(tls_shown_tickets(p->shown), now_ms);
}

void tls_tickets_use(SSL_CTX *ctx)
{
    SSL_CTX_clear_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_timeout(ctx, TICKET_LIFE_S);
    if (SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, tickets_on_key) != 1)
        tls_die("SSL_CTX_set_tlsext_ticket_key_evp_cb");
    if (SSL_CTX_set_session_ticket_cb(ctx, tickets_on_give, tickets_on_take, NULL) != 1)
        tls_die("SSL_CTX_set_session_ticket_cb");
}
