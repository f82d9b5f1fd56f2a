/* Lines of either side (the first byte), as trees. */
#include "lib/imap_line.h"
#include "lib/imap_tok.h"

#include "fuzz.h"

static const struct imap_line_limits line_limits = {
    .line = 4096, .parts = 100, .literal = 1000, .nonsync_max = 1000};
static const struct imap_tree_limits tree_limits = {.depth = 20, .values = 300, .bytes = 2000};

struct count {
    size_t values, bytes;
};

static void walk(const struct imap_value *v, size_t depth, struct count *c)
{
    MUST(depth <= tree_limits.depth);
    for (; v; v = v->next) {
        uint64_t number;
        struct span s;
        c->values++;
        bool has_text = imap_value_string(v, &s);
        MUST(has_text == (v->kind != IMAP_LIST && v->kind != IMAP_STREAMED));
        if (has_text) {
            free(fuzz_copy(s)); /* reads each byte */
            c->bytes += s.len;
        }
        if (imap_value_u64(v, &number))
            MUST(v->kind == IMAP_ATOM && s.len > 0);
        MUST(!imap_value_is_nil(v) || imap_value_is(v, "nil"));
        imap_value_get(v, "UID");
        if (v->kind == IMAP_LIST)
            walk(v->first, depth + 1, c);
    }
}

/* A part and its literal; the size decides whether the literal is collected. */
static bool add(struct imap_tree *t, const struct imap_line_item *item)
{
    const char *why = NULL;
    struct span text = item->text;
    if (item->literal)
        text.len = item->marker;
    bool ok = imap_tree_text(t, text, &why) &&
              (!item->literal || item->size % 2 == 0 || imap_tree_stream(t, item->size, &why));
    MUST(ok == (why == NULL));
    MUST(!ok || !item->literal || item->size % 2 == 0 || imap_tree_last(t)->size == item->size);
    return ok;
}

static bool collect(struct imap_tree *t, struct buf *body, const struct imap_line_item *item)
{
    const char *why = NULL;
    buf_add_span(body, item->text);
    if (item->left > 0)
        return true;
    bool ok = body->len % 2 == 1 || imap_tree_literal(t, buf_span(body), &why);
    buf_clear(body);
    return ok;
}

static void finish(struct imap_tree *t)
{
    const char *why = NULL;
    struct count c = {0};
    bool ok = imap_tree_done(t, &why);
    MUST(ok == (why == NULL));
    walk(imap_tree_first(t), 0, &c);
    MUST(c.values <= tree_limits.values && c.bytes <= tree_limits.bytes);
    imap_tree_clear(t);
    MUST(!imap_tree_first(t) && !imap_tree_last(t));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct span in = span_of(data, len);
    struct imap_line l;
    uint8_t how = fuzz_byte(&in);
    struct imap_tree_limits limits = tree_limits;
    limits.lenient = how & 2;
    struct imap_tree *t = imap_tree_new(&limits);
    struct buf body = {0};
    imap_line_init(&l, how & 1 ? LINE_RESPONSES : LINE_COMMANDS, &line_limits);
    for (bool ok = true;;) {
        struct imap_line_item item;
        size_t used;
        enum imap_line_rc rc = imap_line_feed(&l, in.p, in.len, &used, &item);
        in = span_of(in.p + used, in.len - used);
        if (rc == LINE_MORE || rc == LINE_BAD)
            break;
        if (ok)
            ok = rc == LINE_TEXT ? add(t, &item) : collect(t, &body, &item);
        if (rc == LINE_TEXT && !item.literal) {
            if (ok)
                finish(t);
            imap_tree_clear(t);
            ok = true;
        }
    }
    imap_tree_free(&t);
    MUST(!t);
    imap_line_wipe(&l);
    buf_free(&body);
    return 0;
}
