/* How bytes go on. */
#include "lib/metrics.h"

#include "relay_priv.h"

enum {
    SMALL = 4 * 1024, /* costs less to be copied than to be sent on its own */
    TEXTS_MAX = 32 * 1024,
};

static void outlet_send(struct outlet *o, const uint8_t *from, size_t len)
{
    *o->count += len;
    metric_add(METRIC_SESSION_BYTES, len, o->direction, NULL);
    stream_send(o->to, from, len);
}

static void outlet_flush(struct outlet *o)
{
    if (o->texts.len > 0)
        outlet_send(o, buf_span(&o->texts).p, o->texts.len);
    buf_clear(&o->texts);
    if (o->end > o->from)
        outlet_send(o, o->from, (size_t)(o->end - o->from));
    o->from = o->end = NULL;
}

static void outlet_gather(struct outlet *o, struct span text)
{
    if (o->texts.len >= TEXTS_MAX)
        outlet_flush(o);
    buf_add_span(&o->texts, text);
}

void outlet_range(struct outlet *o, const uint8_t *from, size_t len)
{
    if (from == o->end && o->from) {
        o->end = from + len;
        return;
    }
    if (o->end > o->from)
        outlet_flush(o);
    if (o->texts.len > 0 && len < SMALL) {
        outlet_gather(o, span_of(from, len));
        return;
    }
    o->from = from;
    o->end = from + len;
}

void outlet_text(struct outlet *o, struct span text)
{
    size_t pending = (size_t)(o->end - o->from);
    struct span range = span_of(o->from, pending);
    if (pending >= SMALL) {
        outlet_flush(o);
    } else if (pending > 0) { /* behind the texts that are there */
        o->from = o->end = NULL;
        outlet_gather(o, range);
    }
    outlet_gather(o, text);
}

struct buf *outlet_room(struct outlet *o)
{
    outlet_text(o, span_of("", 0));
    return &o->texts;
}

void outlet_line(struct outlet *o, struct span line)
{
    outlet_text(o, line);
    outlet_text(o, span_of("\r\n", 2));
}

void outlet_end(struct outlet *o)
{
    outlet_flush(o);
    buf_free(&o->texts);
}

bool piece_next(struct imap_line *lines, struct stream *from, struct piece *p)
{
    struct span data = stream_peek(from);
    p->held = lines->part.len > 0 && !lines->give_out;
    p->at = data.p;
    p->rc = imap_line_feed(lines, data.p, data.len, &p->len, &p->item);
    stream_eat(from, p->len);
    return p->rc != LINE_MORE;
}

void outlet_piece(struct outlet *o, const struct piece *p)
{
    if (p->held && p->rc == LINE_TEXT)
        outlet_line(o, p->item.text);
    else if (p->len > 0)
        outlet_range(o, p->at, p->len);
}
