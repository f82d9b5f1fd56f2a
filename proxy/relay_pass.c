/* How bytes go on. */
#include "relay_priv.h"

enum { TEXTS_MAX = 32 * 1024 };

static void outlet_flush(struct outlet *o)
{
    if (o->end > o->from) {
        *o->count += (uint64_t)(o->end - o->from);
        stream_send(o->to, o->from, (size_t)(o->end - o->from));
    }
    if (o->texts.len > 0) {
        *o->count += o->texts.len;
        stream_send(o->to, buf_span(&o->texts).p, o->texts.len);
        buf_clear(&o->texts);
    }
    o->from = o->end = NULL;
}

void outlet_range(struct outlet *o, const uint8_t *from, size_t len)
{
    if (from != o->end || o->texts.len > 0) {
        outlet_flush(o);
        o->from = from;
    }
    o->end = from + len;
}

void outlet_text(struct outlet *o, struct span text)
{
    if (!o->corked)
        stream_cork(o->to);
    o->corked = true;
    if (o->end > o->from || o->texts.len >= TEXTS_MAX)
        outlet_flush(o);
    buf_add_span(&o->texts, text);
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
    if (o->corked)
        stream_uncork(o->to);
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
