#include <assert.h>
#include <stdlib.h>
#include <zlib.h>

#include "deflate.h"
#include "xalloc.h"

enum { WINDOW_BITS = -15 /* raw */, MEMORY_LEVEL = 8, PIECE = 16 * 1024 };

struct deflate {
    z_stream out, in;
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

struct deflate *deflate_new(void)
{
    struct deflate *d = xcalloc(1, sizeof *d);
    d->out.zalloc = d->in.zalloc = deflate_take;
    d->out.zfree = d->in.zfree = give_back;
    int out = deflateInit2(&d->out, Z_BEST_SPEED, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
    int in = inflateInit2(&d->in, WINDOW_BITS);
    assert(out == Z_OK && in == Z_OK); /* memory cannot lack here */
    return d;
}

void deflate_free(struct deflate **dp)
{
    struct deflate *d = *dp;
    *dp = NULL;
    if (!d)
        return;
    deflateEnd(&d->out);
    inflateEnd(&d->in);
    free(d);
}

/* zlib wants no const, and does not write there. */
static void set_input(z_stream *z, struct span bytes)
{
    z->next_in = (Bytef *)(uintptr_t)bytes.p;
    z->avail_in = bytes.len < UINT32_MAX ? (unsigned)bytes.len : UINT32_MAX;
}

void deflate_pack(struct deflate *d, struct span plain, struct buf *out)
{
    uint8_t piece[PIECE];
    assert(plain.len < UINT32_MAX);
    set_input(&d->out, plain);
    do {
        d->out.next_out = piece;
        d->out.avail_out = sizeof piece;
        int rc = deflate(&d->out, Z_SYNC_FLUSH);
        assert(rc == Z_OK || rc == Z_BUF_ERROR); /* Z_BUF_ERROR: there was nothing left to say */
        buf_add(out, piece, sizeof piece - d->out.avail_out);
    } while (d->out.avail_out == 0);
    wipe(piece, sizeof piece);
}

bool deflate_unpack(struct deflate *d, struct span *in, uint8_t *plain, size_t cap, size_t *len,
                    const char **why)
{
    set_input(&d->in, *in);
    size_t given = d->in.avail_in;
    d->in.next_out = plain;
    d->in.avail_out = (unsigned)cap;
    int rc = inflate(&d->in, Z_SYNC_FLUSH);
    *len = cap - d->in.avail_out;
    size_t eaten = given - d->in.avail_in;
    *in = span_of(in->p + eaten, in->len - eaten);
    if (rc == Z_OK ||
        rc == Z_BUF_ERROR) /* Z_BUF_ERROR: nothing can be done without more bytes, or more room */
        return true;
    *why =
        rc == Z_STREAM_END ? "the peer ended its compressed data" : "the peer sends damaged compressed data";
    return false;
}
