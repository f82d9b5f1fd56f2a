#include "imap_line.h"
#include "buf_room.h"
#include "imap_resp.h"

/* A part buffer larger than this is given back once its line was given out: thousands of sessions idle. */
enum { PART_KEEP = 1024 };
/* Of a line that is too long: its beginning has the tag in it, its end the marker of a literal. */
enum { HEAD = 128, TAIL = 64 };

static const char *const WHY_NUL = "NUL in a line";
static const char *const WHY_CR = "CR without LF";
static const char *const WHY_LF = "LF without CR";
static const char *const WHY_LONG = "line too long";
static const char *const WHY_PARTS = "too many literals";
static const char *const WHY_MARKER = "malformed literal";
static const char *const WHY_SIZE = "literal too large";
static const char *const WHY_NONSYNC = "non-synchronizing literal too large";

struct marker {
    size_t at;         /* offset of "{", or of the "~" before it */
    bool sync, binary; /* also of a malformed one: would its sender wait for "+"? */
    bool overflow;     /* size does not fit */
    uint64_t size;
};
enum marker_rc { MARKER_NONE, MARKER_GOOD, MARKER_MALFORMED };

void imap_line_init(struct imap_line *l, enum imap_line_side side, const struct imap_line_limits *limits)
{
    *l = (struct imap_line){.side = side, .limits = *limits};
    if (l->limits.line > SIZE_MAX / 4)
        l->limits.line = SIZE_MAX / 4;
}

static enum imap_line_rc say_bad(struct imap_line *l, struct imap_line_item *item, const char *why)
{
    l->bad = item->why = why;
    item->refusable = l->refusable;
    return LINE_BAD;
}

/* Lines that came in pieces may have held a password. */
static void drop_part(struct imap_line *l)
{
    l->give_out = false;
    if (l->part.cap > PART_KEEP) {
        buf_wipe(&l->part);
        return;
    }
    wipe(l->part.mem, l->part.cap);
    buf_clear(&l->part);
}

static bool part_ends_in_cr(const struct imap_line *l)
{
    struct span part = buf_span(&l->part);
    return part.len > 0 && part.p[part.len - 1] == '\r';
}

/* Looks at p[0..n), which holds no LF that would end a line and comes behind l->part; ended: a LF comes
 * behind it. The first fault in the order of the stream is named, so that it is the same however the stream
 * was cut. */
static const char *line_find_fault(const struct imap_line *l, const uint8_t *p, size_t n, bool ended)
{
    bool cr_last = part_ends_in_cr(l), is_text = l->side == LINE_RESPONSES;
    if (n > 0) {
        if (cr_last && !is_text)
            return WHY_CR;
        size_t room = l->limits.line + 1 - l->part.len; /* the CR counted */
        size_t look = n < room ? n : room;
        const uint8_t *nul = look > 0 && !is_text ? memchr(p, '\0', look) : NULL;
        const uint8_t *cr = look > 0 && !is_text ? memchr(p, '\r', look) : NULL;
        cr_last = p[n - 1] == '\r';
        if (cr && cr != p + n - 1 && (!nul || cr < nul))
            return WHY_CR;
        if (nul)
            return WHY_NUL;
        if (n > room)
            return WHY_LONG;
    }
    if (l->part.len + n - (cr_last ? 1 : 0) > l->limits.line)
        return WHY_LONG;
    return ended && !cr_last ? WHY_LF : NULL;
}

/* RFC 3501 9 "quoted": is the end of text behind a quote that was not closed? */
static bool ends_in_quotes(const uint8_t *p, size_t n)
{
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '"')
            quoted = !quoted;
        else if (p[i] == '\\' && quoted)
            i++;
    }
    return quoted;
}

static bool all_digits(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.len > 0;
}

/* Something that another parser might take for a number. */
static bool like_a_number(struct span s)
{
    return s.len == 0 || strchr("0123456789+- \t", s.p[0]) != NULL;
}

/* "{" ... "}" at the end of text, whatever stands before it. */
static enum marker_rc read_braces(struct span text, struct marker *m)
{
    if (text.len < 2 || text.p[text.len - 1] != '}')
        return MARKER_NONE;
    const uint8_t *brace = memrchr(text.p, '{', text.len);
    if (!brace)
        return MARKER_NONE;
    *m = (struct marker){.at = (size_t)(brace - text.p), .sync = true};
    struct span digits = span_of(brace + 1, text.len - m->at - 2);
    struct span inside = digits;
    if (digits.len > 0 && digits.p[digits.len - 1] == '+') {
        m->sync = false;
        digits.len--;
    }
    if (!all_digits(digits)) {
        m->sync = inside.len == 0 || !strchr("+-", inside.p[inside.len - 1]);
        return like_a_number(inside) ? MARKER_MALFORMED : MARKER_NONE;
    }
    while (digits.len > 20 && digits.p[0] == '0')
        digits = span_of(digits.p + 1, digits.len - 1);
    m->overflow = !span_u64(digits, UINT64_MAX, &m->size);
    if (m->at > 0 && text.p[m->at - 1] == '~') {
        m->binary = true;
        m->at--;
    }
    return MARKER_GOOD;
}

/* rc: of read_braces(), where it does not stand in quotes. */
static enum marker_rc read_command_marker_at(struct span text, enum marker_rc rc, const struct marker *m)
{
    if (rc != MARKER_GOOD)
        return rc;
    if (m->at == 0)
        return MARKER_MALFORMED;
    const uint8_t *digits = text.p + m->at + (m->binary ? 2 : 1);
    bool leading_zero = digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9';
    bool own_word = text.p[m->at - 1] == ' ' || text.p[m->at - 1] == '(';
    return leading_zero || !own_word ? MARKER_MALFORMED : MARKER_GOOD;
}

static enum marker_rc read_command_marker(struct span text, struct marker *m)
{
    enum marker_rc rc = read_braces(text, m);
    if (rc == MARKER_NONE || ends_in_quotes(text.p, m->at))
        return MARKER_NONE;
    return read_command_marker_at(text, rc, m);
}

static enum marker_rc read_response_marker(struct span text, bool first, struct marker *m)
{
    enum marker_rc rc = read_braces(text, m);
    if (rc != MARKER_GOOD || (first && imap_resp_is_text(text)))
        return MARKER_NONE;
    m->sync = false; /* nobody waits for us */
    return MARKER_GOOD;
}

static const char *check_marker(struct imap_line *l, const struct marker *m)
{
    if (++l->parts > l->limits.parts)
        return WHY_PARTS;
    bool too_large = m->overflow || m->size > l->limits.literal;
    if (l->side == LINE_RESPONSES)
        return too_large ? WHY_SIZE : NULL;
    if (!m->sync)
        return too_large || m->size > l->limits.nonsync_max || l->limits.nonsync_max == 0 ? WHY_NONSYNC
                                                                                          : NULL;
    l->refusable = too_large;
    return too_large ? WHY_SIZE : NULL;
}

/* rc, m: the marker at the end of the line. */
static enum imap_line_rc end_line_at(struct imap_line *l, enum marker_rc rc, const struct marker *m,
                                     struct imap_line_item *item)
{
    l->in_command = true;
    if (rc == MARKER_MALFORMED) {
        l->refusable = m->sync;
        return say_bad(l, item, WHY_MARKER);
    }
    if (rc == MARKER_NONE) {
        l->in_command = false;
        l->parts = 0;
        return LINE_TEXT;
    }
    item->sync = m->sync;
    item->binary = m->binary;
    item->size = m->size;
    item->marker = item->too_long ? item->text.len : m->at;
    const char *why = check_marker(l, m);
    if (why)
        return say_bad(l, item, why);
    item->literal = true;
    l->in_literal = true;
    l->literal_left = m->size;
    return LINE_TEXT;
}

static enum imap_line_rc end_line(struct imap_line *l, struct span text, struct imap_line_item *item)
{
    struct marker m = {0};
    item->text = text;
    item->first = !l->in_command;
    enum marker_rc rc = l->side == LINE_COMMANDS ? read_command_marker(text, &m)
                                                 : read_response_marker(text, item->first, &m);
    return end_line_at(l, rc, &m, item);
}

static void see_quote(struct imap_line *l, uint8_t c)
{
    if (l->escaped)
        l->escaped = false;
    else if (c == '"')
        l->quoted = !l->quoted;
    else
        l->escaped = c == '\\' && l->quoted;
}

/* RFC 3501 9 "quoted": is data[n], which comes behind l->part, in a string? Looks at each byte of a line
 * once. */
static bool is_in_string(struct imap_line *l, const uint8_t *data, size_t n)
{
    const uint8_t *part = buf_span(&l->part).p;
    size_t len = l->part.len;
    for (; l->quotes_seen < len + n; l->quotes_seen++)
        see_quote(l, l->quotes_seen < len ? part[l->quotes_seen] : data[l->quotes_seen - len]);
    return l->quoted;
}

/* The LF that ends the line, with a CR before it or not. */
static const uint8_t *find_lf(struct imap_line *l, const uint8_t *data, size_t len)
{
    const uint8_t *lf = len > 0 ? memchr(data, '\n', len) : NULL;
    while (lf && l->side == LINE_RESPONSES) {
        size_t n = (size_t)(lf - data);
        bool behind_cr = n > 0 ? lf[-1] == '\r' : part_ends_in_cr(l);
        if (behind_cr || !is_in_string(l, data, n))
            break;
        lf = n + 1 < len ? memchr(lf + 1, '\n', len - n - 1) : NULL;
    }
    return lf;
}

/* ---- lines that are too long ---- */

/* Keeps HEAD bytes of the line's beginning, and of the rest the last TAIL. */
static void skip_keep(struct imap_line *l, const uint8_t *p, size_t n)
{
    if (n == 0) /* p is NULL, maybe */
        return;
    struct buf *part = &l->part;
    size_t head = part->len >= HEAD ? 0 : n < HEAD - part->len ? n : HEAD - part->len;
    buf_add(part, p, head);
    p += head;
    n -= head;
    if (n > TAIL) {
        p += n - TAIL;
        n = TAIL;
    }
    if (part->len + n > HEAD + TAIL) {
        uint8_t *tail = part->mem + part->off + HEAD;
        size_t drop = part->len + n - HEAD - TAIL;
        memmove(tail, tail + drop, part->len - HEAD - drop);
        part->len -= drop;
    }
    buf_add(part, p, n);
}

/* What of it can't be trusted; NULL: nothing. */
static const char *skip_bytes(struct imap_line *l, const uint8_t *p, size_t n)
{
    size_t room = l->limits.line + 1 + l->limits.skip - l->skipped, look = n < room ? n : room;
    for (size_t i = 0; i < look; i++) {
        if (l->skipped_cr)
            return WHY_CR;
        if (p[i] == '\0')
            return WHY_NUL;
        l->skipped_cr = p[i] == '\r';
        see_quote(l, p[i]);
    }
    if (n > room)
        return WHY_LONG;
    l->skipped += n;
    skip_keep(l, p, n - (n > 0 && l->skipped_cr ? 1 : 0));
    return NULL;
}

/* The line that has begun is too long: only its ends are kept from here on. */
static void skip_begin(struct imap_line *l)
{
    struct buf part = l->part;
    l->part = (struct buf){0};
    l->quoted = l->escaped = l->skipped_cr = false;
    (void)skip_bytes(l, buf_span(&part).p, part.len); /* they were looked at */
    buf_wipe(&part);
}

/* A marker is a word of its own and short; a "}" without its "{" in what was kept may be anything. */
static enum marker_rc read_skipped_marker(const struct imap_line *l, struct marker *m)
{
    struct span kept = buf_span(&l->part);
    size_t bytes = l->skipped - 1; /* without the CR */
    struct span tail = bytes > kept.len ? span_of(kept.p + HEAD, kept.len - HEAD) : kept;
    if (l->quoted || tail.len == 0 || tail.p[tail.len - 1] != '}')
        return MARKER_NONE;
    if (!memrchr(tail.p, '{', tail.len))
        return MARKER_MALFORMED; /* m->sync: false, so nobody goes on behind it */
    return read_command_marker_at(tail, read_braces(tail, m), m);
}

static enum imap_line_rc skip_end(struct imap_line *l, struct imap_line_item *item)
{
    struct marker m = {0};
    enum marker_rc rc = read_skipped_marker(l, &m);
    struct span text = buf_span(&l->part);
    l->skipped = 0;
    l->quoted = l->escaped = false;
    l->give_out = true;
    item->text = span_of(text.p, text.len < HEAD ? text.len : HEAD);
    item->first = !l->in_command;
    item->too_long = true;
    return end_line_at(l, rc, &m, item);
}

static enum imap_line_rc skip_text(struct imap_line *l, const uint8_t *data, size_t n, bool ended,
                                   struct imap_line_item *item)
{
    if (l->skipped == 0)
        skip_begin(l);
    const char *why = skip_bytes(l, data, n);
    if (!why && ended && !l->skipped_cr)
        why = WHY_LF;
    if (why)
        return say_bad(l, item, why);
    return ended ? skip_end(l, item) : LINE_MORE;
}

static enum imap_line_rc feed_text(struct imap_line *l, const uint8_t *data, size_t len, size_t *used,
                                   struct imap_line_item *item)
{
    const uint8_t *lf = find_lf(l, data, len);
    size_t n = lf ? (size_t)(lf - data) : len;
    *used = lf ? n + 1 : len;
    const char *why = l->skipped ? WHY_LONG : line_find_fault(l, data, n, lf != NULL);
    if (why == WHY_LONG && l->limits.skip > 0 && l->side == LINE_COMMANDS)
        return skip_text(l, data, n, lf != NULL, item);
    if (why)
        return say_bad(l, item, why);
    if (lf) {
        l->quotes_seen = 0;
        l->quoted = l->escaped = false;
    }
    if (lf && l->part.len == 0)
        return end_line(l, span_of(data, n - 1), item);
    if (n > 0) {
        buf_room(&l->part, n);
        buf_add(&l->part, data, n);
    }
    if (!lf)
        return LINE_MORE;
    l->give_out = true;
    struct span text = buf_span(&l->part);
    return end_line(l, span_of(text.p, text.len - 1), item);
}

static enum imap_line_rc feed_literal(struct imap_line *l, const uint8_t *data, size_t len, size_t *used,
                                      struct imap_line_item *item)
{
    size_t n = len < l->literal_left ? len : (size_t)l->literal_left;
    if (n == 0 && l->literal_left > 0)
        return LINE_MORE;
    *used = n;
    l->literal_left -= n;
    l->in_literal = l->literal_left > 0;
    item->text = span_of(data, n);
    item->left = l->literal_left;
    return LINE_LITERAL;
}

enum imap_line_rc imap_line_feed(struct imap_line *l, const uint8_t *data, size_t len, size_t *used,
                                 struct imap_line_item *item)
{
    *item = (struct imap_line_item){0};
    *used = 0;
    if (l->bad)
        return say_bad(l, item, l->bad);
    if (l->give_out)
        drop_part(l);
    if (l->in_literal)
        return feed_literal(l, data, len, used, item);
    return feed_text(l, data, len, used, item);
}

void imap_line_forget(struct imap_line *l)
{
    if (l->give_out)
        drop_part(l);
}

bool imap_line_idle(const struct imap_line *l)
{
    return !l->bad && !l->in_command && (l->give_out || l->part.len == 0);
}

void imap_line_refuse(struct imap_line *l)
{
    if (l->bad && !l->refusable)
        return;
    l->bad = NULL;
    l->refusable = false;
    l->in_literal = false;
    l->literal_left = 0;
    l->in_command = false;
    l->parts = 0;
}

void imap_line_wipe(struct imap_line *l)
{
    buf_wipe(&l->part);
    wipe(l, sizeof *l);
}
