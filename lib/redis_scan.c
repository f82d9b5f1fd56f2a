#include "redis_scan.h"

static bool fail(const char **why, const char *text)
{
    *why = text;
    return false;
}

static void element_done(struct redis_scan *s)
{
    while (s->depth > 0 && --s->open[s->depth - 1] == 0)
        s->depth--;
    if (s->depth == 0)
        s->count = s->bytes = 0;
}

/* "$12", "*3", "$-1": -1 and 0 alike have nothing behind them but, of a string, the line end. */
static bool take_length(const struct redis_scan *s, uint64_t max, bool *nil, uint64_t *n)
{
    struct span digits = span_of(s->head + 1, s->line - 1);
    *nil = span_is(digits, "-1");
    *n = 0;
    return *nil || span_u64(digits, max, n);
}

static bool take_string(struct redis_scan *s, const struct redis_limits *limits, const char **why)
{
    bool nil = false;
    uint64_t n = 0;
    if (!take_length(s, limits->element_max, &nil, &n))
        return fail(why, "a string of wrong or too great a length");
    if (nil)
        element_done(s);
    else
        s->skip = n + 2;
    return true;
}

static bool take_array(struct redis_scan *s, const struct redis_limits *limits, const char **why)
{
    bool nil = false;
    uint64_t n = 0;
    if (!take_length(s, limits->count_max, &nil, &n) || s->count + n > limits->count_max)
        return fail(why, "an array of wrong or too great a length");
    s->count += n;
    if (n == 0) {
        element_done(s);
    } else {
        if (s->depth == COUNTOF(s->open))
            return fail(why, "arrays nested too deep");
        s->open[s->depth++] = n;
    }
    return true;
}

/* A line is whole, without its end. */
static bool take_line(struct redis_scan *s, const struct redis_limits *limits, const char **why)
{
    bool good = true;
    if (s->depth == 0)
        s->open[s->depth++] = 1;
    if (s->line == 0)
        return fail(why, "an empty line");
    if (s->head[0] == '$' || s->head[0] == '*') {
        if (s->line > sizeof(s->head))
            return fail(why, "a length of too many digits");
        good = s->head[0] == '$' ? take_string(s, limits, why) : take_array(s, limits, why);
    } else if (s->head[0] == '+' || s->head[0] == '-' || s->head[0] == ':') {
        element_done(s);
    } else {
        return fail(why, "a type that RESP 2 does not have");
    }
    s->line = 0;
    return good;
}

static void skip_string(struct redis_scan *s, struct span *rest)
{
    size_t n = rest->len < s->skip ? rest->len : (size_t)s->skip;
    s->skip -= n;
    *rest = span_of(rest->p + n, rest->len - n);
    if (s->skip == 0)
        element_done(s);
}

bool redis_scan_feed(struct redis_scan *s, const struct redis_limits *limits, struct span bytes,
                     const char **why)
{
    struct span rest = bytes;
    while (rest.len > 0) {
        size_t before = rest.len;
        if (s->skip > 0) {
            skip_string(s, &rest);
        } else {
            uint8_t c = rest.p[0];
            rest = span_of(rest.p + 1, rest.len - 1);
            if (c == '\n') {
                if (!take_line(s, limits, why))
                    return false;
            } else if (c != '\r') {
                if (s->line < sizeof(s->head))
                    s->head[s->line] = (char)c;
                if (++s->line > limits->line_max)
                    return fail(why, "too long a line");
            }
        }
        s->bytes += s->depth > 0 ? before - rest.len : 0;
        if (s->bytes > limits->bytes_max)
            return fail(why, "too long an answer");
    }
    return true;
}
