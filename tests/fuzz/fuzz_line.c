/* The first byte: which side, and how the rest is cut. However it is cut, imap_line says the same. */
#include "lib/imap_line.h"

#include "fuzz.h"

static const struct imap_line_limits limits = {
    .line = 60, .skip = 400, .parts = 6, .literal = 40, .nonsync_max = 20};
enum { ENDS = 192 }; /* kept of a line that is too long */

static void note(struct buf *trace, enum imap_line_rc rc, const struct imap_line_item *item)
{
    if (rc == LINE_LITERAL) {
        buf_add_span(trace, item->text);
        if (item->left == 0)
            buf_add_str(trace, ".");
        return;
    }
    buf_printf(trace, "<%d %d%d%d%d%d%d %llu %zu %s ", rc, item->first, item->literal, item->sync,
               item->binary, item->refusable, item->too_long, (unsigned long long)item->size, item->marker,
               item->why ? item->why : "");
    buf_add_span(trace, item->text);
    buf_add_str(trace, ">");
}

/* Refuses some literals, by what is known of them, as an owner may. */
static bool refuses(const struct imap_line_item *item)
{
    return item->refusable || (item->literal && item->sync && item->size % 3 == 1);
}

static bool feed(struct imap_line *l, struct span piece, struct buf *trace)
{
    uint8_t *own = fuzz_copy(piece);
    bool good = true;
    for (size_t off = 0; good;) {
        struct imap_line_item item;
        size_t used;
        enum imap_line_rc rc = imap_line_feed(l, own + off, piece.len - off, &used, &item);
        off += used;
        MUST(off <= piece.len);
        MUST(l->part.len <= ENDS);
        if (rc == LINE_MORE) {
            MUST(off == piece.len);
            break;
        }
        note(trace, rc, &item);
        MUST(rc != LINE_TEXT ||
             ((item.too_long || item.text.len <= limits.line) && item.marker <= item.text.len));
        MUST(!item.literal || item.size <= limits.literal);
        good = rc != LINE_BAD || item.refusable;
        if (rc != LINE_LITERAL && refuses(&item))
            imap_line_refuse(l);
    }
    free(own);
    return good;
}

static void run(enum imap_line_side side, struct span data, size_t piece, struct buf *trace)
{
    struct imap_line l;
    imap_line_init(&l, side, &limits);
    bool good = true;
    while (good && data.len > 0) {
        size_t n = piece < data.len ? piece : data.len;
        good = feed(&l, span_of(data.p, n), trace);
        data = span_of(data.p + n, data.len - n);
    }
    if (good)
        buf_add_str(trace, imap_line_idle(&l) ? "idle" : "busy");
    imap_line_wipe(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    uint8_t how = fuzz_byte(&in);
    struct buf whole = {0}, cut = {0};
    enum imap_line_side side = how & 1 ? LINE_RESPONSES : LINE_COMMANDS;
    run(side, in, SIZE_MAX, &whole);
    run(side, in, 1 + how / 2 % 8, &cut);
    MUST(span_eq(buf_span(&whole), buf_span(&cut)));
    buf_free(&whole);
    buf_free(&cut);
    return 0;
}
