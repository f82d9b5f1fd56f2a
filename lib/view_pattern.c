/* A pattern is a row of tokens: texts and wildcards by turns. What is compared is UTF-8, or the bytes of a
 * name that is no modified UTF-7; a result is written in the way in which its name came. */
#include <stdlib.h>
#include <strings.h>

#include "mutf7.h"
#include "view_pattern.h"
#include "xalloc.h"

enum token_kind { TEXT, LEVEL /* % */, ANY /* * */ };

enum { TOKENS_MAX = 2 * VIEW_WILDS_MAX + 1 };

struct view_pattern {
    struct token {
        enum token_kind kind;
        struct buf text; /* owned; of TEXT */
    } tokens[TOKENS_MAX];
    size_t n, n_wilds;
};

void view_pattern_free(struct view_pattern **pp)
{
    struct view_pattern *p = *pp;

    *pp = NULL;
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        buf_free(&p->tokens[i].text);
    free(p);
}

static void add_byte(struct view_pattern *p, uint8_t c)
{
    if (p->n == 0 || p->tokens[p->n - 1].kind != TEXT)
        p->tokens[p->n++].kind = TEXT;
    buf_add(&p->tokens[p->n - 1].text, &c, 1);
}

/* Two wildcards side by side could share what they match in many ways. */
static const char *add_wild(struct view_pattern *p, uint8_t c)
{
    if (p->n > 0 && p->tokens[p->n - 1].kind != TEXT)
        return "has two wildcards side by side";
    if (p->n_wilds == VIEW_WILDS_MAX)
        return "has more than six wildcards";
    p->tokens[p->n++].kind = c == '*' ? ANY : LEVEL;
    p->n_wilds++;
    return NULL;
}

static const char *pattern_parse(struct view_pattern *p, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.p[i];
        const char *why = NULL;
        if (c < ' ' || c == 0x7f)
            return "holds a control character";
        if (c == '\\' && ++i == text.len)
            return "ends with a single backslash";
        if (c == '*' || c == '%')
            why = add_wild(p, c);
        else
            add_byte(p, text.p[i]);
        if (why)
            return why;
    }
    if (p->n == 0)
        return "is empty";
    if (p->n == 1 && p->tokens[0].kind == TEXT && span_is_ci(buf_span(&p->tokens[0].text), "INBOX"))
        return "is INBOX, which can neither be left out nor be called something else";
    return NULL;
}

struct view_pattern *view_pattern_new(struct span text, const char **why)
{
    struct view_pattern *p;

    if (text.len > VIEW_PATTERN_MAX || !utf8_is_valid(text)) {
        *why = text.len > VIEW_PATTERN_MAX ? "is longer than 1000 bytes" : "is not UTF-8";
        return NULL;
    }
    p = xcalloc(1, sizeof(*p));
    *why = pattern_parse(p, text);
    if (*why)
        view_pattern_free(&p);
    return p;
}

/* ---- matching */

/* What the wildcards of a match stand for, and where what lies below begins. */
struct match {
    struct span name;
    char separator;
    size_t from[TOKENS_MAX], to[TOKENS_MAX]; /* by token */
    size_t rest;
};

static bool match_from(const struct view_pattern *p, struct match *m, size_t token, size_t at,
                       uint8_t *failed);

/* Tries the lengths of a wildcard from none on. */
static bool match_wild(const struct view_pattern *p, struct match *m, size_t token, size_t at,
                       uint8_t *failed)
{
    m->from[token] = at;
    for (size_t end = at;; end++) {
        m->to[token] = end;
        if (match_from(p, m, token + 1, end, failed))
            return true;
        if (end == m->name.len)
            return false;
        if (p->tokens[token].kind == LEVEL && m->separator && m->name.p[end] == (uint8_t)m->separator)
            return false;
    }
}

/* failed has a bit for each token and offset that led nowhere before: no pair is tried twice. */
static bool match_from(const struct view_pattern *p, struct match *m, size_t token, size_t at,
                       uint8_t *failed)
{
    size_t bit = token * (m->name.len + 1) + at;
    bool ok;

    if (token == p->n) {
        m->rest = at;
        return at == m->name.len || (m->separator && m->name.p[at] == (uint8_t)m->separator);
    }
    if (failed[bit / 8] & 1u << bit % 8)
        return false;
    if (p->tokens[token].kind == TEXT) {
        struct span text = buf_span(&p->tokens[token].text);
        ok = m->name.len - at >= text.len && !memcmp(m->name.p + at, text.p, text.len) &&
             match_from(p, m, token + 1, at + text.len, failed);
    } else {
        ok = match_wild(p, m, token, at, failed);
    }
    if (!ok)
        failed[bit / 8] |= (uint8_t)(1u << bit % 8);
    return ok;
}

static bool match_span(const struct view_pattern *p, struct match *m)
{
    uint8_t *failed = xcalloc((p->n * (m->name.len + 1) + 7) / 8 + 1, 1);
    bool ok = !span_is_ci(m->name, "INBOX") && match_from(p, m, 0, 0, failed);

    free(failed);
    return ok;
}

/* ---- names */

/* A name as it is compared. */
struct shown {
    struct buf text; /* owned */
    bool decoded;    /* it was modified UTF-7 */
    size_t prefix;   /* bytes of the prefix at its beginning, 0 = it has none */
};

static size_t prefix_of(const struct view_place *place, struct span text)
{
    size_t n = strlen(place->prefix);
    size_t any_case = n > 5 && !strncasecmp(place->prefix, "INBOX", 5) ? 5 : 0;
    bool has = n > 0 && text.len > n && !strncasecmp((const char *)text.p, place->prefix, any_case) &&
               !memcmp(text.p + any_case, place->prefix + any_case, n - any_case);

    return has ? n : 0;
}

static void pattern_show(const struct view_place *place, struct shown *s)
{
    s->decoded = mutf7_to_utf8(&s->text, place->name);
    if (!s->decoded)
        buf_add_span(&s->text, place->name);
    s->prefix = prefix_of(place, buf_span(&s->text));
}

/* As it is spelled, else without the prefix. *skip: bytes of the name that the match does not know. */
static bool pattern_find(const struct view_pattern *p, const struct view_place *place, const struct shown *s,
                         struct match *m, size_t *skip)
{
    struct span text = buf_span(&s->text);

    *m = (struct match){.name = text, .separator = place->separator};
    *skip = 0;
    if (span_is_ci(text, "INBOX"))
        return false;
    if (match_span(p, m))
        return true;
    *skip = s->prefix;
    m->name = span_of(text.p + s->prefix, text.len - s->prefix);
    return s->prefix > 0 && match_span(p, m);
}

bool view_pattern_means(const struct view_pattern *p, const struct view_place *place)
{
    struct shown s = {0};
    struct match m;
    size_t skip;

    pattern_show(place, &s);
    bool means = pattern_find(p, place, &s, &m, &skip);
    buf_free(&s.text);
    return means;
}

bool view_pattern_pairs(const struct view_pattern *a, const struct view_pattern *b)
{
    size_t i = 0, k = 0;

    for (;;) {
        while (i < a->n && a->tokens[i].kind == TEXT)
            i++;
        while (k < b->n && b->tokens[k].kind == TEXT)
            k++;
        if (i == a->n || k == b->n)
            return i == a->n && k == b->n;
        if (a->tokens[i++].kind != b->tokens[k++].kind)
            return false;
    }
}

static void write_swapped(struct buf *out, const struct view_pattern *from, const struct view_pattern *to,
                          const struct match *m)
{
    size_t wild = 0;

    for (size_t i = 0; i < to->n; i++) {
        if (to->tokens[i].kind == TEXT) {
            buf_add_span(out, buf_span(&to->tokens[i].text));
            continue;
        }
        while (from->tokens[wild].kind == TEXT)
            wild++;
        buf_add(out, m->name.p + m->from[wild], m->to[wild] - m->from[wild]);
        wild++;
    }
    buf_add(out, m->name.p + m->rest, m->name.len - m->rest);
}

bool view_pattern_swap(const struct view_pattern *from, const struct view_pattern *to,
                       const struct view_place *place, struct buf *out)
{
    struct shown s = {0};
    struct buf text = {0};
    struct match m;
    size_t skip;

    pattern_show(place, &s);
    bool ok = pattern_find(from, place, &s, &m, &skip);
    if (ok) {
        /* `to` may be spelled with the prefix too. */
        struct buf made = {0};
        write_swapped(&made, from, to, &m);
        if (prefix_of(place, buf_span(&made)) == 0)
            buf_add(&text, buf_span(&s.text).p, s.prefix);
        buf_add_span(&text, buf_span(&made));
        buf_free(&made);
        ok = text.len > 0 && (!s.decoded || mutf7_from_utf8(out, buf_span(&text)));
        if (ok && !s.decoded)
            buf_add_span(out, buf_span(&text));
    }
    buf_free(&s.text);
    buf_free(&text);
    return ok;
}
