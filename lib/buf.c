#include <stdio.h>
#include <stdlib.h>

#include "buf.h"
#include "xalloc.h"

/* Bytes are moved to the front only where at least half as many were eaten since, else the memory doubles: a
 * queue that is nearly full must not move all of its bytes for each that comes in. */
static void buf_reserve(struct buf *b, size_t n)
{
    if (b->cap - b->off - b->len >= n)
        return;
    bool worth_it = b->off >= b->len / 2;
    if (b->off > 0 && b->len > 0)
        memmove(b->mem, b->mem + b->off, b->len);
    b->off = 0;
    if (b->cap - b->len >= n && worth_it)
        return;
    size_t want = b->cap ? b->cap * 2 : 256;
    while (want - b->len < n)
        want *= 2;
    b->mem = xrealloc(b->mem, want);
    b->cap = want;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    buf_reserve(b, n);
    memcpy(b->mem + b->off + b->len, p, n);
    b->len += n;
}

void buf_add_span(struct buf *b, struct span s)
{
    buf_add(b, s.p, s.len);
}

void buf_add_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n > 0) {
        buf_reserve(b, (size_t)n + 1);
        vsnprintf((char *)b->mem + b->off + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_eat(struct buf *b, size_t n)
{
    b->off += n;
    b->len -= n;
    if (b->len == 0)
        b->off = 0;
}

struct span buf_span(const struct buf *b)
{
    return span_of(b->mem ? b->mem + b->off : NULL, b->len);
}

const char *buf_str(struct buf *b)
{
    buf_reserve(b, 1);
    b->mem[b->off + b->len] = '\0';
    return (const char *)b->mem + b->off;
}

void buf_clear(struct buf *b)
{
    b->off = b->len = 0;
}

void buf_free(struct buf *b)
{
    free(b->mem);
    *b = (struct buf){0};
}

void buf_wipe(struct buf *b)
{
    if (b->mem)
        wipe(b->mem, b->cap);
    buf_free(b);
}
