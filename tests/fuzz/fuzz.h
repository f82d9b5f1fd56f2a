/* fuzz: what the fuzz targets share. Each file fuzz_*.c feeds one pure module with any bytes and checks what
 * must hold of every answer; a broken promise ends the process, as a sanitizer does.
 *
 *   clang -fsanitize=fuzzer,address,undefined ...   a fuzzer (libFuzzer), which takes corpus/<name> as its
 * start with standalone.c                               replays the files that are its arguments, with any
 * compiler */
#ifndef IMAPFERRY_FUZZ_H
#define IMAPFERRY_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "lib/buf.h"
#include "lib/xalloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Unlike assert() never compiled away. */
#define MUST(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                          \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* Memory of exactly that size, so that a read behind the end is seen; to free. */
static inline uint8_t *fuzz_copy(struct span s)
{
    uint8_t *own = xmalloc(s.len);
    if (s.len > 0)
        memcpy(own, s.p, s.len);
    return own;
}

/* Eats up to the next separator, or to the end. */
static inline struct span fuzz_cut(struct span *in, uint8_t separator)
{
    const uint8_t *at = in->len > 0 ? memchr(in->p, separator, in->len) : NULL;
    struct span head = span_of(in->p, at ? (size_t)(at - in->p) : in->len);
    size_t eaten = head.len + (at ? 1 : 0);
    *in = span_of(in->p + eaten, in->len - eaten);
    return head;
}

/* Eats a byte; 0 at the end. */
static inline uint8_t fuzz_byte(struct span *in)
{
    if (in->len == 0)
        return 0;
    uint8_t c = in->p[0];
    *in = span_of(in->p + 1, in->len - 1);
    return c;
}

/* The part of a span that lies in another, or none of it. */
static inline bool fuzz_within(struct span part, struct span whole)
{
    return part.len == 0 || (part.p >= whole.p && part.len <= whole.len &&
                             part.p - whole.p <= (ptrdiff_t)(whole.len - part.len));
}

#endif
