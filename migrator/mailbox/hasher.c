#include <assert.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "lib/xalloc.h"

#include "hasher.h"

struct hasher {
    EVP_MD *md; /* fetched once: a look-up at each message costs more than a small message */
    EVP_MD_CTX *ctx;
};

static struct hasher *hasher_of(const char *name)
{
    struct hasher *h = xcalloc(1, sizeof *h);
    h->md = EVP_MD_fetch(NULL, name, NULL);
    h->ctx = EVP_MD_CTX_new();
    assert(h->md && h->ctx);
    return h;
}

struct hasher *hasher_new(void)
{
    return hasher_of("SHA256");
}

struct hasher *hasher_new_sha1(void)
{
    return hasher_of("SHA1");
}

void hasher_free(struct hasher **hp)
{
    struct hasher *h = *hp;
    if (!h)
        return;
    *hp = NULL;
    EVP_MD_CTX_free(h->ctx);
    EVP_MD_free(h->md);
    free(h);
}

/* None of these can fail but for want of memory. */
void hasher_begin(struct hasher *h)
{
    int ok = EVP_DigestInit_ex2(h->ctx, h->md, NULL);
    assert(ok == 1);
}

void hasher_add(struct hasher *h, struct span bytes)
{
    int ok = EVP_DigestUpdate(h->ctx, bytes.p, bytes.len);
    assert(ok == 1);
}

static void hasher_final(struct hasher *h, uint8_t *hash, unsigned size)
{
    unsigned len = 0;
    assert(EVP_MD_get_size(h->md) == (int)size);
    int ok = EVP_DigestFinal_ex(h->ctx, hash, &len);
    assert(ok == 1 && len == size);
}

void hasher_end(struct hasher *h, uint8_t hash[HASH_SIZE])
{
    hasher_final(h, hash, HASH_SIZE);
}

void hasher_end_sha1(struct hasher *h, uint8_t hash[HASH_SHA1_SIZE])
{
    hasher_final(h, hash, HASH_SHA1_SIZE);
}
