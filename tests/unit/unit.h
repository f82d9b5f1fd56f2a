/* unit: what the unit tests share. Pure parsers are fed at every split point of their input: whole, in two
 * pieces at each place, and byte by byte. Each piece has memory of its own, so that ASan sees a read behind
 * its end and nothing can rely on bytes of an earlier piece. */
#ifndef IMAPFERRY_UNIT_H
#define IMAPFERRY_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/xalloc.h"

/* A string constant with its NULs. */
#define BYTES(s) span_of((s), sizeof(s) - 1)

typedef void (*unit_split_fn)(const struct span *pieces, size_t n, void *arg);

static inline void unit_feed(const struct span *views, size_t n, unit_split_fn fn, void *arg)
{
    struct span *pieces = xcalloc(n, sizeof *pieces);
    for (size_t i = 0; i < n; i++) {
        uint8_t *own = malloc(views[i].len ? views[i].len : 1);
        assert_non_null(own);
        if (views[i].len > 0)
            memcpy(own, views[i].p, views[i].len);
        pieces[i] = span_of(own, views[i].len);
    }
    fn(pieces, n, arg);
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)pieces[i].p);
    free(pieces);
}

static inline void unit_splits(struct span whole, unit_split_fn fn, void *arg)
{
    struct span *views = xcalloc(whole.len + 2, sizeof *views);
    views[0] = whole;
    unit_feed(views, 1, fn, arg);
    for (size_t cut = 0; cut <= whole.len; cut++) {
        views[0] = span_of(whole.p, cut);
        views[1] = span_of(whole.p + cut, whole.len - cut);
        unit_feed(views, 2, fn, arg);
    }
    for (size_t i = 0; i < whole.len; i++)
        views[i] = span_of(whole.p + i, 1);
    unit_feed(views, whole.len, fn, arg);
    free(views);
}

/* For functions that take a whole line: fn sees each prefix of it, in memory of exactly that size. */
static inline void unit_prefixes(struct span whole, void (*fn)(struct span prefix))
{
    for (size_t n = 0; n <= whole.len; n++) {
        uint8_t *own = malloc(n ? n : 1);
        assert_non_null(own);
        memcpy(own, whole.p, n);
        fn(span_of(own, n));
        free(own);
    }
}

/* Compares bytes with a C string; says both where they differ. */
static inline void unit_same(struct span got, const char *want)
{
    char *text = xspandup(got);
    assert_string_equal(text, want);
    assert_int_equal(got.len, strlen(want));
    free(text);
}

#endif
