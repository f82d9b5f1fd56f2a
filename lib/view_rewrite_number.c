/* Numbers in responses. A UID that the map does not know is VIEW_WRONG: a wrong message must never be shown,
 * and a message without a number can't be. */
#include <inttypes.h>
#include <stdlib.h>

#include "view_rewrite_priv.h"
#include "xalloc.h"

/* A set of a response may fall apart: each of its ranges is a line of that many bytes. */
enum { RANGES_MAX = 500000, PAIRS_MAX = 1000000 };

static const char *const UNKNOWN_UID = "a UID that the map does not know";
static const char *const MALFORMED = "a response that can't be read";

static enum view_gives number_wrong(const char **wrong, const char *text)
{
    *wrong = text;
    return VIEW_WRONG;
}

struct span view_cut_word(struct span *rest)
{
    size_t i = 0, end;

    while (i < rest->len && rest->p[i] == ' ')
        i++;
    for (end = i; end < rest->len && rest->p[end] != ' ';)
        end++;
    struct span word = span_of(rest->p + i, end - i);
    while (end < rest->len && rest->p[end] == ' ')
        end++;
    *rest = span_of(rest->p + end, rest->len - end);
    return word;
}

/* Decimal, the shortest way. */
static void number_write(struct buf *out, uint32_t n)
{
    char digits[10];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    buf_add(out, digits + at, sizeof digits - at);
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* ---- FETCH ----
 *
 * "(" name value name value ... ")": on the outermost level names and values take turns. A literal is always
 * a value, or the name of a header's field in a section. What lies deeper is only stepped over. */

struct fetching {
    struct view_rewrite *w;
    struct span part;
    size_t end; /* of the text: behind it there is only the marker of a literal */
    bool literal;
    size_t key;    /* where the name under way begins */
    size_t copied; /* up to here the part was written */
    bool cut;      /* an item was left out */
    struct buf *out;
    const char *wrong;
};

static bool fetch_wrong(struct fetching *f, const char *text)
{
    f->wrong = text;
    return false;
}

/* To behind the quoted string that begins at i. */
static bool fetch_quoted(struct fetching *f, size_t *i)
{
    for (size_t at = *i + 1; at < f->end; at++) {
        if (f->part.p[at] == '\\')
            at++;
        else if (f->part.p[at] == '"') {
            *i = at + 1;
            return true;
        }
    }
    return fetch_wrong(f, MALFORMED);
}

/* In a section, to behind its "]", or to the end where a literal is in it. */
static bool fetch_section(struct fetching *f, size_t *i)
{
    while (*i < f->end) {
        uint8_t c = f->part.p[*i];
        if (c == '"') {
            if (!fetch_quoted(f, i))
                return false;
            continue;
        }
        ++*i;
        if (c == ']') {
            f->w->fetch.at = FETCH_KEY;
            return true;
        }
    }
    f->w->fetch.at = FETCH_SECTION;
    return f->literal || fetch_wrong(f, MALFORMED);
}

/* Ends words: blanks, parentheses, quotes. */
static bool fetch_is_end(uint8_t c)
{
    return c == ' ' || c == '(' || c == ')' || c == '"';
}

/* The rest of a name behind a section, or all of it. */
static bool fetch_name(struct fetching *f, size_t *i)
{
    size_t begin = *i;

    while (*i < f->end && !fetch_is_end(f->part.p[*i])) {
        if (f->part.p[(*i)++] != '[')
            continue;
        if (!fetch_section(f, i))
            return false;
        if (f->w->fetch.at == FETCH_SECTION)
            return true;
    }
    struct span name = span_of(f->part.p + begin, *i - begin);
    f->w->fetch.item = span_is_ci(name, "UID")      ? ITEM_UID
                       : span_is_ci(name, "MODSEQ") ? ITEM_MODSEQ
                                                    : ITEM_OTHER;
    f->w->fetch.at = FETCH_VALUE;
    f->key = begin;
    return true;
}

static bool fetch_uid(struct fetching *f, size_t begin, size_t end)
{
    struct span text = span_of(f->part.p + begin, end - begin);
    uint32_t uid, client;

    if (!span_u32(text, &uid))
        return fetch_wrong(f, MALFORMED);
    if (!f->w->open.map)
        return true;
    if (!view_uid_to_client(f->w->open.map, uid, &client))
        return fetch_wrong(f, UNKNOWN_UID);
    buf_add(f->out, f->part.p + f->copied, begin - f->copied);
    number_write(f->out, client);
    f->copied = end;
    return true;
}

/* The item that was read last goes, and one blank with it. end: behind it. */
static void fetch_cut(struct fetching *f, size_t end)
{
    size_t begin = f->key;

    if (end < f->end && f->part.p[end] == ' ')
        end++;
    else if (begin > f->copied && f->part.p[begin - 1] == ' ')
        begin--;
    buf_add(f->out, f->part.p + f->copied, begin - f->copied);
    f->copied = end;
    f->cut = true;
}

/* "(n)", from its parenthesis on. One that is no MODSEQ is left out: servers have said -1. */
static bool fetch_modseq(struct fetching *f, size_t *i)
{
    size_t begin = *i + 1, end = begin;
    uint64_t n;

    while (end < f->end && !fetch_is_end(f->part.p[end]))
        end++;
    if (end == begin || end == f->end || f->part.p[end] != ')' || f->part.p[*i] != '(')
        return fetch_wrong(f, MALFORMED);
    *i = end + 1;
    struct span text = span_of(f->part.p + begin, end - begin);
    if (!f->w->open.modseqs || !view_modseq_to_client(f->w, text, &n) || n == f->w->open.shift) {
        fetch_cut(f, *i);
        return true;
    }
    buf_add(f->out, f->part.p + f->copied, begin - f->copied);
    buf_printf(f->out, "%" PRIu64, n);
    f->copied = end;
    return true;
}

static bool fetch_value(struct fetching *f, size_t *i)
{
    size_t begin = *i;
    uint8_t c = f->part.p[begin];
    bool uid = f->w->fetch.item == ITEM_UID, modseq = f->w->fetch.item == ITEM_MODSEQ;

    f->w->fetch.at = FETCH_KEY;
    f->w->fetch.item = ITEM_OTHER;
    if (c == ')' || (uid && !is_digit(c)))
        return fetch_wrong(f, MALFORMED);
    if (modseq && view_modseq_shifts(f->w))
        return fetch_modseq(f, i);
    if (c == '"')
        return fetch_quoted(f, i);
    if (c == '(') {
        f->w->fetch.depth++;
        ++*i;
        return true;
    }
    while (*i < f->end && !fetch_is_end(f->part.p[*i]))
        ++*i;
    return !uid || fetch_uid(f, begin, *i);
}

/* Deeper than the outermost level. */
static bool fetch_deep(struct fetching *f, size_t *i)
{
    while (*i < f->end && f->w->fetch.depth > 1) {
        uint8_t c = f->part.p[*i];
        if (c == '"') {
            if (!fetch_quoted(f, i))
                return false;
            continue;
        }
        f->w->fetch.depth += c == '(' ? 1u : c == ')' ? -1u : 0u;
        ++*i;
    }
    return true;
}

static bool fetch_step(struct fetching *f, size_t *i)
{
    struct view_rewrite *w = f->w;
    uint8_t c = f->part.p[*i];

    if (w->fetch.at == FETCH_SECTION)
        return fetch_section(f, i) && (w->fetch.at == FETCH_SECTION || fetch_name(f, i));
    if (w->fetch.depth > 1)
        return fetch_deep(f, i);
    if (c == ' ') {
        ++*i;
        return true;
    }
    if (w->fetch.at == FETCH_VALUE)
        return fetch_value(f, i);
    if (w->fetch.depth == 0 && c == '(' && w->fetch.at == FETCH_KEY) {
        w->fetch.depth = 1;
    } else if (w->fetch.depth == 1 && c == ')') {
        w->fetch.depth = 0;
        w->fetch.at = FETCH_DONE;
    } else {
        return w->fetch.depth == 1 && c != '(' && c != '"' ? fetch_name(f, i) : fetch_wrong(f, MALFORMED);
    }
    ++*i;
    return true;
}

/* A literal stands at the end of the part: as a value, deeper, or in a section. */
static bool fetch_literal(struct fetching *f)
{
    struct view_rewrite *w = f->w;

    if (w->fetch.at == FETCH_SECTION || w->fetch.depth > 1)
        return true;
    if (w->fetch.depth == 0 || w->fetch.at != FETCH_VALUE || w->fetch.item != ITEM_OTHER)
        return fetch_wrong(f, MALFORMED);
    w->fetch.at = FETCH_KEY;
    return true;
}

static bool fetch_walk(struct fetching *f, size_t at)
{
    while (at < f->end)
        if (!fetch_step(f, &at))
            return false;
    if (f->literal)
        return fetch_literal(f);
    return f->w->fetch.at == FETCH_DONE || fetch_wrong(f, MALFORMED);
}

/* Is there a "UID", or the end of "MODSEQ", at all? */
static bool has_item(const struct view_rewrite *w, struct span s)
{
    bool uid = w->open.map, modseq = view_modseq_shifts(w);

    if (!uid && !modseq)
        return false;
    for (size_t i = 2; i < s.len; i++) {
        uint8_t a = s.p[i - 2] | 0x20, b = s.p[i - 1] | 0x20, c = s.p[i] | 0x20;
        if ((uid && c == 'd' && b == 'i' && a == 'u') || (modseq && c == 'q' && b == 'e' && a == 's'))
            return true;
    }
    return false;
}

/* Nothing was left of a line of one item. */
static bool is_empty(const struct fetching *f, bool first)
{
    static const char end[] = " FETCH ()";
    size_t n = sizeof end - 1;
    struct span s = buf_span(f->out);

    return f->cut && first && !f->literal && s.len > n && memcmp(s.p + s.len - n, end, n) == 0;
}

static size_t marker_of(struct span part)
{
    const uint8_t *brace = part.len ? memrchr(part.p, '{', part.len) : NULL;
    size_t at = brace ? (size_t)(brace - part.p) : part.len;

    return at > 0 && at < part.len && part.p[at - 1] == '~' ? at - 1 : at;
}

enum view_gives view_fetch(struct view_rewrite *w, struct span part, size_t at, bool first, bool literal,
                           struct buf *out, const char **wrong)
{
    struct fetching f = {.w = w, .part = part, .literal = literal, .out = out};

    w->rest = REST_FETCH;
    /* Nothing in it, and nothing behind it for which to know where it has ended. */
    if (!literal && !has_item(w, part) && (first || w->fetch.item == ITEM_OTHER))
        return VIEW_SAME;
    if (first) {
        w->fetch.at = FETCH_KEY;
        w->fetch.depth = 0;
        w->fetch.item = ITEM_OTHER;
    }
    f.end = literal ? marker_of(part) : part.len;
    if (!fetch_walk(&f, at))
        return number_wrong(wrong, f.wrong);
    if (f.copied == 0)
        return VIEW_SAME;
    buf_add(out, part.p + f.copied, part.len - f.copied);
    if (is_empty(&f, first))
        return VIEW_NOTHING;
    buf_add_str(out, "\r\n");
    return VIEW_LINES;
}

/* ---- SEARCH, SORT, THREAD ---- */

/* "(MODSEQ n)" at the end of what was found (RFC 7162 3.1.5), from *i on. False: it is not that. any:
 * something was found; else there is no MODSEQ of it (Cyrus then says 1). */
static bool found_modseq(const struct view_rewrite *w, struct span part, bool any, size_t *i, size_t *copied,
                         struct buf *out)
{
    static const char head[] = "(MODSEQ ";
    size_t n = sizeof head - 1, begin = *i + n, end = begin;
    uint64_t modseq;

    if (part.len < begin || !span_is_ci(span_of(part.p + *i, n), head))
        return false;
    while (end < part.len && is_digit(part.p[end]))
        end++;
    if (end + 1 != part.len || part.p[end] != ')' ||
        !view_modseq_to_client(w, span_of(part.p + begin, end - begin), &modseq))
        return false;
    bool told = w->open.modseqs && any;
    if (!told)
        begin = *i > *copied && part.p[*i - 1] == ' ' ? *i - 1 : *i;
    buf_add(out, part.p + *copied, begin - *copied);
    if (told)
        buf_printf(out, "%" PRIu64 ")", modseq);
    *i = *copied = part.len;
    return true;
}

/* Numbers, blanks and parentheses, nothing else. */
enum view_gives view_found(struct view_rewrite *w, struct span part, size_t at, bool uids, struct buf *out,
                           const char **wrong)
{
    size_t i = at, copied = 0;
    bool any = false;

    while (i < part.len) {
        size_t begin = i;
        uint32_t uid, client;
        while (i < part.len && is_digit(part.p[i]))
            i++;
        if (i == begin) {
            if (part.p[i] == '(' && found_modseq(w, part, any, &i, &copied, out))
                break;
            if (!memchr(" ()", part.p[i++], 3))
                return number_wrong(wrong, MALFORMED);
            continue;
        }
        any = true;
        if (!uids)
            continue;
        if (!span_u32(span_of(part.p + begin, i - begin), &uid))
            return number_wrong(wrong, MALFORMED);
        if (!view_uid_to_client(w->open.map, uid, &client))
            return number_wrong(wrong, UNKNOWN_UID);
        buf_add(out, part.p + copied, begin - copied);
        number_write(out, client);
        copied = i;
    }
    buf_add(out, part.p + copied, part.len - copied);
    buf_add_str(out, "\r\n");
    return VIEW_LINES;
}

/* ---- sets of responses ---- */

/* Adds a set in the client's UIDs to *client. False: *why says what is wrong. What the map does not know is
 * left out: a set may name UIDs at which there is nothing. */
static bool set_to_seq(const struct view_uid *map, struct span text, struct imap_seq *client,
                       const char **why)
{
    struct imap_seq backend = {0};
    bool ok = false;

    *why = MALFORMED;
    if (imap_seq_parse(&backend, text, 0, RANGES_MAX)) {
        *why = "a set of too many UIDs";
        ok = view_uid_set_to_client(map, &backend, RANGES_MAX, client);
    }
    imap_seq_free(&backend);
    return ok;
}

/* Appends it. *_n: how many ranges it has, none where nothing was appended. */
static bool set_to_client(const struct view_uid *map, struct span text, struct buf *out, size_t *_n,
                          const char **why)
{
    struct imap_seq client = {0};
    bool ok = set_to_seq(map, text, &client, why);

    *_n = client.n;
    if (ok && client.n)
        imap_seq_write(out, &client);
    imap_seq_free(&client);
    return ok;
}

enum view_set view_modified(const struct view_uid *map, struct span set, struct buf *out)
{
    const char *why;
    size_t n;

    if (!set_to_client(map, set, out, &n, &why))
        return SET_BAD;
    return n ? SET_GOOD : SET_EMPTY;
}

/* The words of ESEARCH (RFC 4731): an item and its value, which may be in parentheses. */
static struct span esearch_value(struct span *rest)
{
    struct span whole = *rest;

    if (whole.len == 0 || whole.p[0] != '(')
        return view_cut_word(rest);
    const uint8_t *end = memchr(whole.p, ')', whole.len);
    if (!end)
        return span_of(NULL, 0);
    size_t n = (size_t)(end - whole.p) + 1;
    *rest = span_of(whole.p + n, whole.len - n);
    while (rest->len && rest->p[0] == ' ')
        *rest = span_of(rest->p + 1, rest->len - 1);
    return span_of(whole.p, n);
}

static bool esearch_modseq(const struct view_rewrite *w, struct span item, struct span value, struct buf *out)
{
    uint64_t n;

    if (!w->open.modseqs)
        return true;
    if (!view_modseq_to_client(w, value, &n))
        return false;
    buf_add_str(out, " ");
    buf_add_span(out, item);
    buf_printf(out, " %" PRIu64, n);
    return true;
}

/* uids: its numbers are UIDs. */
static bool esearch_item(struct view_rewrite *w, struct span item, struct span value, bool uids,
                         struct buf *out, const char **why)
{
    bool one = span_is_ci(item, "MIN") || span_is_ci(item, "MAX"), all = span_is_ci(item, "ALL");
    bool same = span_is_ci(item, "COUNT") || span_is_ci(item, "RELEVANCY") || (!uids && (one || all));
    size_t was = out->len, n = 0;
    uint32_t uid, client;

    *why = MALFORMED;
    if (span_is_ci(item, "MODSEQ"))
        return esearch_modseq(w, item, value, out);
    if (value.len == 0 || !(one || all || same))
        return false;
    buf_add_str(out, " ");
    buf_add_span(out, item);
    buf_add_str(out, " ");
    if (same)
        buf_add_span(out, value);
    if (same)
        return true;
    if (all && !set_to_client(w->open.map, value, out, &n, why))
        return false;
    if (all && n == 0)
        out->len = was; /* no item at all is how an empty result is said */
    if (!one)
        return true;
    if (!span_u32(value, &uid))
        return false;
    *why = UNKNOWN_UID;
    if (!view_uid_to_client(w->open.map, uid, &client))
        return false;
    number_write(out, client);
    return true;
}

bool view_esearch_head(struct span part, size_t at, struct span *rest)
{
    bool quoted = false;
    size_t i = at;

    while (i < part.len && part.p[i] == ' ')
        i++;
    if (i < part.len && part.p[i] == '(') {
        for (; i < part.len && (quoted || part.p[i] != ')'); i++) {
            if (quoted && part.p[i] == '\\')
                i++;
            else if (part.p[i] == '"')
                quoted = !quoted;
        }
        i = i < part.len ? i + 1 : part.len;
    }
    *rest = span_of(part.p + i, part.len - i);
    struct span word = view_cut_word(rest);
    if (span_is_ci(word, "UID"))
        return true;
    *rest = span_of(part.p + i, part.len - i);
    return false;
}

/* Without "UID" only what names no UID may pass: a COUNT or a MODSEQ, and of a search that was not for UIDs
 * all items. One that is anywhere else was not read as its sender has meant it. */
static bool esearch_may_pass(struct span rest, bool finds_uids)
{
    while (rest.len) {
        struct span item = view_cut_word(&rest);
        bool no_uid = span_is_ci(item, "COUNT") || span_is_ci(item, "MODSEQ");
        if (span_is_ci(item, "UID") || (finds_uids && !no_uid))
            return false;
        view_cut_word(&rest);
    }
    return true;
}

enum view_gives view_esearch(struct view_rewrite *w, struct span part, size_t at, bool finds_uids,
                             struct buf *out, const char **wrong)
{
    struct span rest;

    bool uids = view_esearch_head(part, at, &rest);
    if (!uids && w->open.map && !esearch_may_pass(rest, finds_uids))
        return number_wrong(wrong, MALFORMED);
    uids = uids && w->open.map;
    if (!uids && !view_modseq_shifts(w))
        return VIEW_SAME;
    size_t head = (size_t)(rest.p - part.p);
    while (head > 0 && part.p[head - 1] == ' ')
        head--;
    buf_add(out, part.p, head);
    while (rest.len) {
        struct span item = view_cut_word(&rest);
        const char *why;
        if (!esearch_item(w, item, esearch_value(&rest), uids, out, &why))
            return number_wrong(wrong, why);
    }
    buf_add_str(out, "\r\n");
    return VIEW_LINES;
}

enum view_gives view_vanished(struct view_rewrite *w, struct span part, size_t at, struct buf *out,
                              const char **wrong)
{
    struct span rest = span_of(part.p + at, part.len - at), word = view_cut_word(&rest);
    bool earlier = span_is_ci(word, "(EARLIER)");
    struct imap_seq client = {0};
    struct view_vanished v;
    const char *why;

    if (earlier)
        word = view_cut_word(&rest);
    if (rest.len)
        return number_wrong(wrong, MALFORMED);
    if (word.len == 0)
        return VIEW_NOTHING; /* nothing has: some servers say so */
    bool ok = set_to_seq(w->open.map, word, &client, &why);
    view_vanished_begin(&v, earlier, out);
    for (size_t i = 0; ok && i < client.n; i++)
        view_vanished_add(&v, client.ranges[i].first, client.ranges[i].last);
    bool any = view_vanished_end(&v);
    imap_seq_free(&client);
    if (!ok)
        return number_wrong(wrong, why);
    return any ? VIEW_LINES : VIEW_NOTHING;
}

/* ---- codes ---- */

bool view_uidnext(const struct view_uid *map, uint32_t uidnext, uint32_t *_r)
{
    *_r = uidnext;
    return uidnext && (!map || (uidnext >= map->tail_backend && view_uid_to_client(map, uidnext, _r)));
}

/* A set whose order matters. */
struct ordered {
    const struct view_uid *map;
    struct view_set_writer writer;
    size_t n;
    bool bad;
};

static void ordered_each(void *arg, uint32_t uid)
{
    struct ordered *o = arg;
    uint32_t client = uid;

    o->bad = o->bad || (o->map && !view_uid_to_client(o->map, uid, &client));
    if (!o->bad)
        view_set_write(&o->writer, client, client);
    o->n++;
}

static bool ordered_set(const struct view_uid *map, struct span set, struct buf *out, size_t *_n)
{
    struct ordered o = {.map = map, .writer = {.out = out, .begin = out->len}};
    bool ok = imap_seq_each(set, PAIRS_MAX, ordered_each, &o) && !o.bad;

    *_n = o.n;
    return view_set_end(&o.writer) && ok;
}

bool view_appenduid(const struct view_sight *at, struct span args, struct buf *out)
{
    size_t n;
    struct span set = view_cut_word(&args);

    return args.len == 0 && ordered_set(at->map, set, out, &n);
}

bool view_copyuid(const struct view_uid *from, const struct view_sight *to, struct span args, struct buf *out)
{
    size_t n_from, n_to;
    struct span source = view_cut_word(&args), destination = view_cut_word(&args);

    if (args.len || !ordered_set(from, source, out, &n_from))
        return false;
    buf_add_str(out, " ");
    return ordered_set(to->map, destination, out, &n_to) && n_from == n_to;
}
