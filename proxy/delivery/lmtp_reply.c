#include "lmtp_reply.h"

/* A line without its end. False: it is none of an answer. */
static bool reply_take_line(struct lmtp_reply *r, struct span line)
{
    unsigned code = 0;

    if (line.len > 0 && line.p[line.len - 1] == '\r')
        line.len--;
    if (line.len < 3 || (line.len > 3 && line.p[3] != '-' && line.p[3] != ' '))
        return false;
    for (size_t i = 0; i < 3; i++) {
        if (line.p[i] < '0' || line.p[i] > '9')
            return false;
        code = code * 10 + (unsigned)(line.p[i] - '0');
    }
    if (code < 200 || code > 599 || (r->lines > 0 && code != r->code) || r->lines == LMTP_REPLY_LINES)
        return false;
    r->code = code;
    r->lines++;
    r->done = line.len == 3 || line.p[3] == ' ';
    for (size_t i = 4; i < line.len; i++) {
        char c = (char)(line.p[i] < ' ' || line.p[i] > '~' ? '?' : line.p[i]);
        buf_add(&r->text, &c, 1);
    }
    buf_add_str(&r->text, "\n");
    return true;
}

static void reply_begin(struct lmtp_reply *r)
{
    r->done = false;
    r->lines = 0;
    r->code = 0;
    buf_clear(&r->text);
}

enum lmtp_reply_rc lmtp_reply_feed(struct lmtp_reply *r, struct span in, size_t *used)
{
    *used = 0;
    if (r->done)
        reply_begin(r);
    while (*used < in.len) {
        struct span rest = span_of(in.p + *used, in.len - *used);
        const uint8_t *lf = memchr(rest.p, '\n', rest.len);
        size_t n = lf ? (size_t)(lf - rest.p) : rest.len;
        if (r->line.len + n > LMTP_REPLY_LINE)
            return LMTP_REPLY_BAD;
        buf_add(&r->line, rest.p, n);
        *used += n + (lf ? 1 : 0);
        if (!lf)
            break;
        bool good = reply_take_line(r, buf_span(&r->line));
        buf_clear(&r->line);
        if (!good)
            return LMTP_REPLY_BAD;
        if (r->done)
            return LMTP_REPLY_DONE;
    }
    return LMTP_REPLY_MORE;
}

void lmtp_reply_free(struct lmtp_reply *r)
{
    buf_free(&r->text);
    buf_free(&r->line);
    *r = (struct lmtp_reply){.code = 0};
}

struct span lmtp_reply_first(const struct lmtp_reply *r)
{
    struct span all = buf_span(&r->text);
    const uint8_t *lf = all.len > 0 ? memchr(all.p, '\n', all.len) : NULL;

    return span_of(all.p, lf ? (size_t)(lf - all.p) : all.len);
}

/* "1.23.456", and a blank or nothing behind it; how long it is, 0: there is none of this class. */
static size_t reply_status_len(struct span text, char class)
{
    size_t at = 2;

    if (text.len < 5 || text.p[0] != (uint8_t) class || text.p[1] != '.')
        return 0;
    for (unsigned part = 0; part < 2; part++) {
        size_t digits = 0;
        for (; at < text.len && text.p[at] >= '0' && text.p[at] <= '9' && digits < 3; digits++)
            at++;
        if (digits == 0 || (part == 0 && (at == text.len || text.p[at++] != '.')))
            return 0;
    }
    return at == text.len || text.p[at] == ' ' ? at : 0;
}

/* One that says another class than the code would contradict it: it is left off. */
static void reply_write_line(struct buf *out, struct span text, unsigned code, bool last,
                             const char *otherwise)
{
    char class = (char)('0' + code / 100);
    bool has = reply_status_len(text, class) > 0;

    for (char other = '2'; other <= '5' && !has; other++) {
        size_t n = reply_status_len(text, other);
        while (n > 0 && n < text.len && text.p[n] == ' ')
            n++;
        text = span_of(text.p + n, text.len - n);
    }
    if (text.len > LMTP_REPLY_TEXT)
        text.len = LMTP_REPLY_TEXT;
    buf_printf(out, "%u%c", code, last ? ' ' : '-');
    if (!has)
        buf_printf(out, "%s ", otherwise);
    buf_add_span(out, text);
    buf_add_str(out, "\r\n");
}

void lmtp_reply_write(struct buf *out, const struct lmtp_reply *r, unsigned code, const char *otherwise)
{
    struct span rest = buf_span(&r->text);

    for (size_t i = 0; i < r->lines; i++) {
        const uint8_t *lf = memchr(rest.p, '\n', rest.len);
        size_t n = (size_t)(lf - rest.p);
        reply_write_line(out, span_of(rest.p, n), code, i + 1 == r->lines, otherwise);
        rest = span_of(rest.p + n + 1, rest.len - n - 1);
    }
}
