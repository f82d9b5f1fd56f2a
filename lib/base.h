/* base: the few types and macros that every file uses.
 *
 * Ownership, everywhere in this tree: who declares a pointer frees it; what a callback gets as an argument is
 * borrowed until the callback returns; a function that keeps a pointer has "take" in its name or says so.
 * x_free() takes a pointer to the pointer and nulls it. */
#ifndef IMAPFERRY_BASE_H
#define IMAPFERRY_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MUST_CHECK                    __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a)             __attribute__((format(printf, f, a)))
#define NORETURN                      __attribute__((noreturn))
#define COUNTOF(a)                    (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* Some bytes that belong to somebody else. Not terminated; may hold any byte. */
struct span {
    const uint8_t *p;
    size_t len;
};

static inline struct span span_of(const void *p, size_t len)
{
    struct span s = {(const uint8_t *)p, len};
    return s;
}

static inline struct span span_str(const char *s)
{
    return span_of(s, s ? strlen(s) : 0);
}

/* True where both have the same bytes. */
bool span_eq(struct span a, struct span b);
/* True where a has the bytes of a C string; span_is_ci() folds ASCII letters. */
bool span_is(struct span a, const char *s);
bool span_is_ci(struct span a, const char *s);
/* Reads a decimal number that consists of digits alone and is at most max. False: it is empty, signed, too
 * long or too large. */
bool span_u64(struct span a, uint64_t max, uint64_t *_r) MUST_CHECK;
bool span_u32(struct span a, uint32_t *_r) MUST_CHECK;

#endif
