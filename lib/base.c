#include <strings.h>

#include "base.h"

bool span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool span_is(struct span a, const char *s)
{
    return span_eq(a, span_str(s));
}

bool span_is_ci(struct span a, const char *s)
{
    size_t n = strlen(s);
    return a.len == n && strncasecmp((const char *)a.p, s, n) == 0;
}

bool span_u64(struct span a, uint64_t max, uint64_t *_r)
{
    if (a.len == 0 || a.len > 20)
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < a.len; i++) {
        if (a.p[i] < '0' || a.p[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(a.p[i] - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    if (v > max)
        return false;
    *_r = v;
    return true;
}

bool span_u32(struct span a, uint32_t *_r)
{
    uint64_t v;
    if (!span_u64(a, UINT32_MAX, &v))
        return false;
    *_r = (uint32_t)v;
    return true;
}
