#include <stdlib.h>

#include "lib/xalloc.h"

#include "limit.h"

enum {
    LIMIT_MIN = 4096, /* bytes; no server has so low a limit */
    ASKED_MAX = 3     /* refused while none was taken, until the smallest is tried */
};

void limits_add(struct limits *l, uint32_t uid, uint32_t size, const char *text)
{
    l->items = xreallocarray(l->items, l->n + 1, sizeof *l->items);
    l->items[l->n++] = (struct limited){uid, size, xstrdup(text)};
    if (l->smallest.text && l->smallest.size <= size)
        return;
    free(l->smallest.text);
    l->smallest = (struct limited){uid, size, xstrdup(text)};
}

void limits_clear(struct limits *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->items[i].text);
    l->n = 0;
}

void limits_free(struct limits *l)
{
    limits_clear(l);
    free(l->items);
    free(l->smallest.text);
    *l = (struct limits){0};
}

const struct limited *limits_throttled(const struct limits *l, uint64_t largest)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i].size <= (largest > LIMIT_MIN ? largest : LIMIT_MIN))
            return &l->items[i];
    return NULL;
}

bool limits_want_smallest(const struct limits *l, uint64_t largest)
{
    return largest == 0 && l->n >= ASKED_MAX;
}
