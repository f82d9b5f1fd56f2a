#include <stdio.h>

#include "allowance.h"

enum { CALL = 1000 };

static struct allowance_name *allowance_find(struct allowance *a, const char *name)
{
    struct allowance_name *at = &a->of[0];

    for (size_t i = 0; i < ALLOWANCE_NAMES; i++) {
        if (!strcmp(a->of[i].name, name))
            return &a->of[i];
        if (a->of[i].since_ms < at->since_ms)
            at = &a->of[i];
    }
    *at = (struct allowance_name){0};
    snprintf(at->name, sizeof(at->name), "%s", name);
    return at;
}

bool allowance_take(struct allowance *a, const char *name, uint64_t now_ms)
{
    struct allowance_name *n = allowance_find(a, name);
    uint64_t good =
        (now_ms - n->since_ms) * ALLOWANCE_PER_SECOND; /* a call is a thousand, and so is a second */

    n->used = n->used > good ? n->used - good : 0;
    n->since_ms = now_ms;
    if (n->used + CALL > (uint64_t)ALLOWANCE_AT_ONCE * CALL)
        return false;
    n->used += CALL;
    return true;
}
