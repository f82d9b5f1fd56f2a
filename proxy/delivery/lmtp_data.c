#include "lmtp_data.h"

static const char held_bytes[] = ".\r";

void lmtp_data_init(struct lmtp_data *d)
{
    *d = (struct lmtp_data){.last = {'\r', '\n'}};
}

/* The byte that is so far before in[at]; 1 is the one right before it. from: where the input follows on d->last. */
static uint8_t data_before(const struct lmtp_data *d, struct span in, size_t from, size_t at, size_t back)
{
    size_t have = at - from;

    return back <= have ? in.p[at - back] : d->last[2 - (back - have)];
}

static void data_pass(struct lmtp_data *d, struct span in, size_t from, size_t to, struct lmtp_data_piece *_r)
{
    uint8_t second = data_before(d, in, from, to, 1), first = data_before(d, in, from, to, 2);

    _r->rest = span_of(in.p + from, to - from);
    d->last[0] = first;
    d->last[1] = second;
}

/* What is held turned out to be text. */
static void data_release(struct lmtp_data *d, struct lmtp_data_piece *_r)
{
    _r->first = span_of(held_bytes, d->held);
    d->last[0] = d->held == 1 ? '\n' : '.';
    d->last[1] = d->held == 1 ? '.' : '\r';
    d->held = 0;
}

/* Goes on with a dot that began a line, at the beginning of new bytes. Returns how many were taken. */
static size_t data_resolve(struct lmtp_data *d, struct span in, struct lmtp_data_piece *_r)
{
    size_t at = 0;

    if (d->held == 1 && in.p[0] == '\r') {
        d->held = 2;
        at = 1;
    }
    if (at == in.len)
        return at;
    if (d->held == 2 && in.p[at] == '\n') {
        _r->end = true;
        return at + 1;
    }
    d->odd = d->odd || d->held == 2 || in.p[at] == '\n' || in.p[at] == '\0';
    data_release(d, _r);
    return at;
}

/* in[at] is a dot that begins a line. How many bytes behind it belong to the end or may do so; the dot is text where it is
 * neither the end nor held. */
static size_t data_line_dot(struct lmtp_data *d, struct span in, size_t at, struct lmtp_data_piece *_r)
{
    size_t left = in.len - at - 1;
    uint8_t next = left > 0 ? in.p[at + 1] : 0;

    if (left == 0 || (left == 1 && next == '\r')) {
        d->held = 1 + (unsigned)left;
        return left;
    }
    if (next == '\r' && in.p[at + 2] == '\n') {
        _r->end = true;
        return 2;
    }
    d->odd = d->odd || next == '\r' || next == '\n' || next == '\0';
    return 0;
}

size_t lmtp_data_feed(struct lmtp_data *d, struct span in, struct lmtp_data_piece *_r)
{
    *_r = (struct lmtp_data_piece){.end = false};
    size_t from = d->held > 0 && in.len > 0 ? data_resolve(d, in, _r) : 0, at = from;

    while (!_r->end && d->held == 0 && at < in.len) {
        const uint8_t *dot = memchr(in.p + at, '.', in.len - at);
        if (!dot)
            break;
        at = (size_t)(dot - in.p);
        uint8_t before = data_before(d, in, from, at, 1);
        if (before == '\n' && data_before(d, in, from, at, 2) == '\r') {
            size_t more = data_line_dot(d, in, at, _r);
            if (_r->end || d->held > 0) {
                data_pass(d, in, from, at, _r);
                return at + 1 + more;
            }
        } else {
            d->odd = d->odd || before == '\n' || before == '\r' || before == '\0';
        }
        at++;
    }
    if (_r->end || d->held > 0)
        return from;
    data_pass(d, in, from, in.len, _r);
    return in.len;
}
