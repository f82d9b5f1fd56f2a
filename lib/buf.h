/* buf: a queue of bytes, which are appended at the end and eaten at the front. It owns its memory; {0} is an
 * empty one. */
#ifndef IMAPFERRY_BUF_H
#define IMAPFERRY_BUF_H

#include <stdarg.h>

#include "base.h"

struct buf {
    uint8_t *mem; /* owned */
    size_t off;   /* first unread byte */
    size_t len;   /* unread bytes */
    size_t cap;
};

void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_span(struct buf *b, struct span s);
void buf_add_str(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
/* Drops n bytes at the front; n is at most b->len. */
void buf_eat(struct buf *b, size_t n);
/* The unread bytes, borrowed until the next call. */
struct span buf_span(const struct buf *b);
/* The unread bytes as a C string (a NUL is put behind them); borrowed. */
const char *buf_str(struct buf *b);
/* Empties, keeps the memory. */
void buf_clear(struct buf *b);
/* Empties and gives the memory back; buf_wipe() overwrites it first. */
void buf_free(struct buf *b);
void buf_wipe(struct buf *b);

#endif
