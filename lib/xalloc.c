#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "xalloc.h"

static NORETURN void out_of_memory(size_t n)
{
    fprintf(stderr, "level=error event=out_of_memory bytes=%zu\n", n);
    abort();
}

void *xmalloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (!p)
        out_of_memory(n);
    return p;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        out_of_memory(n);
    return p;
}

void *xrealloc(void *p, size_t n)
{
    void *q = realloc(p, n ? n : 1);
    if (!q)
        out_of_memory(n);
    return q;
}

void *xreallocarray(void *p, size_t n, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(n, size, &total))
        out_of_memory(SIZE_MAX);
    return xrealloc(p, total);
}

char *xstrdup(const char *s)
{
    return s ? xspandup(span_str(s)) : NULL;
}

char *xspandup(struct span s)
{
    char *copy = xmalloc(s.len + 1);
    if (s.len > 0)
        memcpy(copy, s.p, s.len);
    copy[s.len] = '\0';
    for (size_t n = strlen(copy); n < s.len; n += strlen(copy + n))
        copy[n] = XSPANDUP_NUL;
    return copy;
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = NULL;
    if (vasprintf(&s, fmt, ap) < 0)
        out_of_memory(0);
    va_end(ap);
    return s;
}

void xtrim(void)
{
    malloc_trim(0);
}

/* The pages stay out of core files when they are the heap's again; that harms nobody. */
char *xsecret(struct span s)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (s.len + page) / page * page;
    char *text = aligned_alloc(page, size);

    if (!text)
        out_of_memory(size);
    (void)!mlock(text, size);
    (void)!madvise(text, size, MADV_DONTDUMP);
    for (size_t i = 0; i < s.len; i++)
        text[i] = s.p[i] ? (char)s.p[i] : XSPANDUP_NUL;
    text[s.len] = '\0';
    return text;
}

void wipe(void *p, size_t n)
{
    if (n > 0)
        explicit_bzero(p, n);
}

void wipe_free(char **s)
{
    if (!*s)
        return;
    wipe(*s, strlen(*s));
    free(*s);
    *s = NULL;
}
