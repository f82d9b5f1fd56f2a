#include <assert.h>
#include <stdlib.h>
#include <zlib.h>

#include "deflate.h"
#include "xalloc.h"

enum {
    WINDOW_BITS = -15, /* raw */
    WINDOW = 32 * 1024,
    MEMORY_LEVEL = 8,
    PIECE = 16 * 1024,
    UNPACKER_SIZE = 42 * 1024, /* what zlib takes for one */
    AT_BOUNDARY = 128,         /* data_type in zlib.h: between two blocks, and on a byte */
    LARGE = 8 * 1024,          /* pieces for which it matters how they are packed */
};

struct deflate_works {
    z_stream out;
    z_stream *spare; /* an unpacker that no connection keeps; owned, or NULL */
    uint8_t window[WINDOW];
};

struct deflate {
    struct deflate_works *works; /* borrowed */
    uint8_t sent[DEFLATE_SENT];
    size_t n_sent;
    bool dense;    /* the last large piece hardly became smaller */
    uint8_t *seen; /* owned; not while there is an unpacker */
    size_t n_seen;
    z_stream *in; /* in the middle of a block; owned, or NULL */
};

/* Windows hold mail: zlib's memory is overwritten when it is given back. */
static void *deflate_take(void *opaque, unsigned n, unsigned size)
{
    size_t *mem = xcalloc(1, sizeof *mem * 2 + (size_t)n * size);
    (void)opaque;
    *mem = (size_t)n * size;
    return mem + 2;
}

static void give_back(void *opaque, void *p)
{
    size_t *mem = (size_t *)p - 2;
    (void)opaque;
    wipe(p, *mem);
    free(mem);
}

static z_stream *unpacker_new(void)
{
    z_stream *z = xcalloc(1, sizeof *z);
    z->zalloc = deflate_take;
    z->zfree = give_back;
    int rc = inflateInit2(z, WINDOW_BITS);
    assert(rc == Z_OK); /* memory cannot lack here */
    return z;
}

static void unpacker_free(z_stream **zp)
{
    z_stream *z = *zp;
    *zp = NULL;
    if (!z)
        return;
    inflateEnd(z);
    free(z);
}

static struct deflate_works *works_new(void)
{
    struct deflate_works *w = xcalloc(1, sizeof *w);
    w->out.zalloc = deflate_take;
    w->out.zfree = give_back;
    int rc = deflateInit2(&w->out, Z_BEST_SPEED, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
    assert(rc == Z_OK);
    return w;
}

void deflate_works_free(struct deflate_works **wp)
{
    struct deflate_works *w = *wp;
    *wp = NULL;
    if (!w)
        return;
    deflateEnd(&w->out);
    unpacker_free(&w->spare);
    wipe(w->window, sizeof w->window);
    free(w);
}

struct deflate *deflate_new(struct deflate_works **works)
{
    struct deflate *d = xcalloc(1, sizeof *d);
    if (!*works)
        *works = works_new();
    d->works = *works;
    return d;
}

static void forget_seen(struct deflate *d)
{
    if (d->seen)
        wipe(d->seen, d->n_seen);
    free(d->seen);
    d->seen = NULL;
    d->n_seen = 0;
}

void deflate_free(struct deflate **dp)
{
    struct deflate *d = *dp;
    *dp = NULL;
    if (!d)
        return;
    unpacker_free(&d->in);
    forget_seen(d);
    wipe(d->sent, sizeof d->sent);
    free(d);
}

size_t deflate_kept(const struct deflate *d)
{
    return sizeof *d + d->n_seen + (d->in ? UNPACKER_SIZE : 0);
}

/* zlib wants no const, and does not write there. */
static void set_input(z_stream *z, struct span bytes)
{
    z->next_in = (Bytef *)(uintptr_t)bytes.p;
    z->avail_in = bytes.len < UINT32_MAX ? (unsigned)bytes.len : UINT32_MAX;
}

/* ---- packing ---- */

static void remember_sent(struct deflate *d, struct span plain)
{
    size_t fresh = plain.len < DEFLATE_SENT ? plain.len : DEFLATE_SENT;
    size_t stays = d->n_sent < DEFLATE_SENT - fresh ? d->n_sent : DEFLATE_SENT - fresh;
    memmove(d->sent, d->sent + d->n_sent - stays, stays);
    memcpy(d->sent + stays, plain.p + plain.len - fresh, fresh);
    d->n_sent = stays + fresh;
}

/* A fresh start that knows what the peer has. */
static void pack_from_here(struct deflate *d, z_stream *z, int strategy)
{
    int rc = deflateReset(z);
    if (rc == Z_OK)
        rc = deflateParams(z, Z_BEST_SPEED, strategy);
    if (rc == Z_OK && d->n_sent > 0)
        rc = deflateSetDictionary(z, d->sent, (unsigned)d->n_sent);
    assert(rc == Z_OK);
}

/* A picture or an archive in base64 becomes 24 % smaller by its small alphabet alone, and not by a byte more
 * where repetitions are looked for, which takes four times as long. So it is not done behind a large piece that
 * has not become smaller than that, until one has. */
void deflate_pack(struct deflate *d, struct span plain, struct buf *out)
{
    z_stream *z = &d->works->out;
    bool large = plain.len >= LARGE;
    size_t before = out->len;
    uint8_t piece[PIECE];
    assert(plain.len < UINT32_MAX);
    if (plain.len == 0)
        return;
    pack_from_here(d, z, large && d->dense ? Z_HUFFMAN_ONLY : Z_DEFAULT_STRATEGY);
    set_input(z, plain);
    do {
        z->next_out = piece;
        z->avail_out = sizeof piece;
        int rc = deflate(z, Z_SYNC_FLUSH);
        assert(rc == Z_OK || rc == Z_BUF_ERROR); /* Z_BUF_ERROR: there was nothing left to say */
        buf_add(out, piece, sizeof piece - z->avail_out);
    } while (z->avail_out == 0);
    wipe(piece, sizeof piece);
    if (large)
        d->dense = out->len - before >= plain.len / 4 * 3;
    remember_sent(d, plain);
}

/* ---- unpacking ---- */

/* An unpacker that knows what the peer may point back at. */
static z_stream *unpacker_of(struct deflate *d)
{
    struct deflate_works *w = d->works;
    if (d->in)
        return d->in;
    z_stream *z = w->spare ? w->spare : unpacker_new();
    w->spare = NULL;
    int rc = inflateReset(z);
    if (rc == Z_OK && d->n_seen > 0)
        rc = inflateSetDictionary(z, d->seen, (unsigned)d->n_seen);
    assert(rc == Z_OK);
    return z;
}

/* Keeps what it has to know instead of the unpacker itself. */
static void let_go(struct deflate *d, z_stream *z)
{
    struct deflate_works *w = d->works;
    unsigned n = 0;
    int rc = inflateGetDictionary(z, w->window, &n);
    assert(rc == Z_OK && n <= WINDOW);
    if (n != d->n_seen) {
        forget_seen(d);
        d->seen = xmalloc(n);
        d->n_seen = n;
    }
    if (n > 0)
        memcpy(d->seen, w->window, n);
    d->in = NULL;
    if (!w->spare)
        w->spare = z;
    else
        unpacker_free(&z);
}

enum deflate_rc deflate_unpack(struct deflate *d, struct span *in, uint8_t *plain, size_t cap, size_t *len)
{
    z_stream *z = unpacker_of(d);
    set_input(z, *in);
    size_t given = z->avail_in;
    z->next_out = plain;
    z->avail_out = (unsigned)cap;
    int rc = inflate(z, Z_SYNC_FLUSH);
    *len = cap - z->avail_out;
    size_t eaten = given - z->avail_in;
    *in = span_of(in->p + eaten, in->len - eaten);
    /* Z_BUF_ERROR: nothing can be done without more bytes, or more room */
    bool good = rc == Z_OK || rc == Z_BUF_ERROR;
    if (good && *len < cap && z->data_type == AT_BOUNDARY) {
        let_go(d, z);
    } else {
        d->in = z;
        forget_seen(d);
    }
    return good ? DEFLATE_OK : rc == Z_STREAM_END ? DEFLATE_ENDED : DEFLATE_BAD;
}
