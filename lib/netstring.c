#include "netstring.h"

/* A number without leading zeros, and its colon. *_at: where what it counts begins. */
static enum netstring_rc netstring_length(struct span in, size_t max, size_t *_n, size_t *_at)
{
    size_t n = 0, i = 0;

    for (; i < in.len && in.p[i] >= '0' && in.p[i] <= '9'; i++) {
        if (i > 0 && in.p[0] == '0')
            return NETSTRING_BAD;
        n = 10 * n + (size_t)(in.p[i] - '0');
        if (n > max)
            return NETSTRING_BAD;
    }
    if (i == in.len)
        return NETSTRING_MORE;
    *_n = n;
    *_at = i + 1;
    return i > 0 && in.p[i] == ':' ? NETSTRING_DONE : NETSTRING_BAD;
}

enum netstring_rc netstring_take(struct span in, size_t max, struct span *_text, size_t *_used)
{
    size_t n, at;
    enum netstring_rc rc = netstring_length(in, max, &n, &at);

    if (rc != NETSTRING_DONE)
        return rc;
    if (in.len - at <= n)
        return NETSTRING_MORE;
    if (in.p[at + n] != ',')
        return NETSTRING_BAD;
    *_text = span_of(in.p + at, n);
    *_used = at + n + 1;
    return NETSTRING_DONE;
}

void netstring_write(struct buf *out, struct span text)
{
    buf_printf(out, "%zu:", text.len);
    buf_add_span(out, text);
    buf_add_str(out, ",");
}
