#include <stdatomic.h>
#include <stdlib.h>

#include "account.h"
#include "account_names.h"
#include "xalloc.h"

struct account_names {
    atomic_size_t references;
    char **keys; /* owned; sorted, each once */
    size_t n;
};

/* ---- lines ---- */

/* One at the keyboard may type what a server takes; a whole file of what only might be a name is rather the
 * wrong file. NULL: nothing is wrong. */
static const char *account_names_fault(struct span line)
{
    const uint8_t *at = memchr(line.p, '@', line.len);

    for (size_t i = 0; i < line.len; i++)
        if (strchr(" \t:;,<>()[]\"", line.p[i]) && line.p[i])
            return "is more than a login name: one stands on a line, and nothing else";
    if (at && memchr(at + 1, '@', (size_t)(line.p + line.len - at - 1)))
        return "has two \"@\"";
    return NULL;
}

static struct span account_names_trimmed(struct span s)
{
    while (s.len && strchr(" \t", s.p[0]))
        s = span_of(s.p + 1, s.len - 1);
    while (s.len && strchr(" \t\r", s.p[s.len - 1]))
        s.len--;
    return s;
}

char *account_names_key(const struct conf *c, struct span *line, const char **why)
{
    *line = account_names_trimmed(*line);
    *why = NULL;
    if (line->len == 0 || line->p[0] == '#')
        return NULL;
    *why = account_names_fault(*line);
    return *why ? NULL : account_key(c, *line, why);
}

/* ---- lists ---- */

static int account_names_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void account_names_add(struct account_names *a, char *key)
{
    if ((a->n & (a->n - 1)) == 0)
        a->keys = xreallocarray(a->keys, a->n ? 2 * a->n : 1, sizeof(*a->keys));
    a->keys[a->n++] = key;
}

static void account_names_sort(struct account_names *a)
{
    size_t n = 0;

    if (a->n > 0)
        qsort(a->keys, a->n, sizeof(*a->keys), account_names_compare);
    for (size_t i = 0; i < a->n; i++)
        if (n > 0 && !strcmp(a->keys[n - 1], a->keys[i]))
            free(a->keys[i]);
        else
            a->keys[n++] = a->keys[i];
    a->n = n;
}

static struct span account_names_next(struct span *text)
{
    const uint8_t *feed = memchr(text->p, '\n', text->len);
    size_t len = feed ? (size_t)(feed - text->p) : text->len, used = len + (feed != NULL);
    struct span line = span_of(text->p, len);

    *text = span_of(text->p + used, text->len - used);
    return line;
}

struct account_names *account_names_read(const struct conf *c, struct span text, account_names_fault_fn fn,
                                         void *owner)
{
    struct account_names *a = xcalloc(1, sizeof(*a));
    bool good = true;

    atomic_init(&a->references, 1);
    if (text.len >= 3 && !memcmp(text.p, "\xef\xbb\xbf", 3)) /* what some editors put in front */
        text = span_of(text.p + 3, text.len - 3);
    for (size_t number = 1; text.len; number++) {
        struct span line = account_names_next(&text);
        const char *why;
        char *key = account_names_key(c, &line, &why);
        if (key)
            account_names_add(a, key);
        if (why)
            fn(owner, number, why);
        good = good && !why;
    }
    if (!good)
        account_names_free(&a);
    else
        account_names_sort(a);
    return a;
}

struct account_names *account_names_keep(struct account_names *a)
{
    if (a)
        atomic_fetch_add(&a->references, 1);
    return a;
}

void account_names_free(struct account_names **_a)
{
    struct account_names *a = *_a;

    *_a = NULL;
    if (!a || atomic_fetch_sub(&a->references, 1) > 1)
        return;
    for (size_t i = 0; i < a->n; i++)
        free(a->keys[i]);
    free(a->keys);
    free(a);
}

bool account_names_have(const struct account_names *a, const char *key)
{
    return a && a->n > 0 && bsearch(&key, a->keys, a->n, sizeof(*a->keys), account_names_compare);
}

size_t account_names_count(const struct account_names *a)
{
    return a ? a->n : 0;
}

bool account_names_equal(const struct account_names *a, const struct account_names *b)
{
    if (account_names_count(a) != account_names_count(b))
        return false;
    for (size_t i = 0; i < account_names_count(a); i++)
        if (strcmp(a->keys[i], b->keys[i]))
            return false;
    return true;
}
