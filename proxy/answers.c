#include "answers.h"

static enum answers_rc answers_take_text(const struct imap_line_item *item, answers_fn fn, void *owner,
                                         const char **wrong)
{
    struct imap_resp r;
    if (!item->first || item->literal)
        return ANSWERS_MORE;
    if (!imap_resp_parse(item->text, &r, wrong))
        return ANSWERS_WRONG;
    if (r.kind == RESP_STATUS && r.status == STATUS_BYE) {
        *wrong = "BYE";
        return ANSWERS_WRONG;
    }
    return fn(owner, &r, item->text, wrong);
}

enum answers_rc answers_read(struct imap_line *lines, struct stream *stream, answers_fn fn, void *owner,
                             const char **wrong)
{
    enum answers_rc rc = ANSWERS_MORE;
    while (rc == ANSWERS_MORE) {
        struct span in = stream_peek(stream);
        struct imap_line_item item;
        size_t used;
        enum imap_line_rc line = imap_line_feed(lines, in.p, in.len, &used, &item);
        stream_eat(stream, used);
        if (line == LINE_MORE)
            return ANSWERS_MORE;
        if (line == LINE_BAD) {
            *wrong = item.why;
            return ANSWERS_WRONG;
        }
        if (line == LINE_TEXT)
            rc = answers_take_text(&item, fn, owner, wrong);
    }
    return rc;
}
