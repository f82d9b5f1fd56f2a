#include <stdlib.h>

#include "imap_tok.h"
#include "xalloc.h"

enum { CHUNK = 4096, DEPTH_MAX = 1024 };

static const char *const WHY_DEPTH = "too many open parentheses";
static const char *const WHY_VALUES = "too many words";
static const char *const WHY_BYTES = "words too long";

struct chunk {
    struct chunk *next;
    size_t size, used;
    _Alignas(struct imap_value) uint8_t mem[];
};

struct imap_tree {
    struct imap_tree_limits limits;
    struct chunk *chunks;       /* the newest first; owned */
    struct imap_value *first;   /* outermost level */
    struct imap_value *last;    /* added last, at whatever depth */
    struct imap_value ***hooks; /* per open level, where its next value will hang; owned, limits.depth + 1 */
    size_t depth;
    size_t values, bytes;
    bool glue; /* the next value touches the one before it */
};

struct imap_tree *imap_tree_new(const struct imap_tree_limits *limits)
{
    struct imap_tree *t = xcalloc(1, sizeof *t);
    t->limits = *limits;
    if (t->limits.depth > DEPTH_MAX)
        t->limits.depth = DEPTH_MAX;
    t->hooks = xcalloc(t->limits.depth + 1, sizeof *t->hooks);
    t->hooks[0] = &t->first;
    return t;
}

void imap_tree_clear(struct imap_tree *t)
{
    /* The arguments of a LOGIN may have been in there. */
    while (t->chunks && t->chunks->next) {
        struct chunk *c = t->chunks;
        t->chunks = c->next;
        wipe(c->mem, c->used);
        free(c);
    }
    if (t->chunks) {
        wipe(t->chunks->mem, t->chunks->used);
        t->chunks->used = 0;
    }
    t->first = t->last = NULL;
    t->hooks[0] = &t->first;
    t->depth = t->values = t->bytes = 0;
    t->glue = false;
}

void imap_tree_free(struct imap_tree **t)
{
    if (!*t)
        return;
    imap_tree_clear(*t);
    free((*t)->chunks);
    free((*t)->hooks);
    free(*t);
    *t = NULL;
}

static void *take_memory(struct imap_tree *t, size_t n)
{
    n = (n + _Alignof(struct imap_value) - 1) / _Alignof(struct imap_value) * _Alignof(struct imap_value);
    if (!t->chunks || t->chunks->size - t->chunks->used < n) {
        size_t size = n > CHUNK ? n : CHUNK;
        struct chunk *c = xmalloc(sizeof *c + size);
        c->size = size;
        c->used = 0;
        c->next = t->chunks;
        t->chunks = c;
    }
    void *p = t->chunks->mem + t->chunks->used;
    t->chunks->used += n;
    return p;
}

static bool tok_refuse(const char **why, const char *text)
{
    *why = text;
    return false;
}

static struct imap_value *tok_add_value(struct imap_tree *t, enum imap_kind kind, const char **why)
{
    if (t->values >= t->limits.values) {
        tok_refuse(why, WHY_VALUES);
        return NULL;
    }
    t->values++;
    struct imap_value *v = take_memory(t, sizeof *v);
    *v = (struct imap_value){.kind = kind, .glued = t->glue};
    t->glue = false;
    *t->hooks[t->depth] = v;
    t->hooks[t->depth] = &v->next;
    t->last = v;
    return v;
}

/* Adds a value with a copy of s; with escapes, each backslash gives way to the byte behind it. */
static bool add_text(struct imap_tree *t, enum imap_kind kind, struct span s, bool escapes, const char **why)
{
    if (s.len > t->limits.bytes - t->bytes)
        return tok_refuse(why, WHY_BYTES);
    struct imap_value *v = tok_add_value(t, kind, why);
    if (!v)
        return false;
    uint8_t *copy = take_memory(t, s.len);
    size_t n = 0;
    if (!escapes && s.len > 0)
        memcpy(copy, s.p, n = s.len);
    for (size_t i = 0; escapes && i < s.len; i++) {
        if (s.p[i] == '\\')
            i++; /* never the last one: that would have escaped the closing quote */
        copy[n++] = s.p[i];
    }
    t->bytes += s.len;
    v->text = span_of(copy, n);
    return true;
}

static bool open_list(struct imap_tree *t, const char **why)
{
    if (t->depth >= t->limits.depth)
        return tok_refuse(why, WHY_DEPTH);
    struct imap_value *list = tok_add_value(t, IMAP_LIST, why);
    if (!list)
        return false;
    t->hooks[++t->depth] = &list->first;
    return true;
}

static bool is_delimiter(uint8_t c, const char *set)
{
    return c != '\0' && strchr(set, c);
}

static bool ends_value(struct span part, size_t i)
{
    return i >= part.len || is_delimiter(part.p[i], " )");
}

/* Behind a value: the end, a blank or a parenthesis; anything else touches it. v: the value; NULL: a list. */
static bool check_glue(struct imap_tree *t, struct span part, size_t i, struct imap_value *v,
                       const char **why, const char *text)
{
    bool opens = i < part.len && part.p[i] == '(';
    if (ends_value(part, i) || (opens && (!t->limits.lenient || !v)))
        return true;
    if (!t->limits.lenient)
        return tok_refuse(why, text);
    t->glue = true;
    if (v)
        v->glued = true;
    return true;
}

/* "\" as a string of one character, as servers write it that know no escapes: where it can't be the beginning
 * of another string. */
static bool is_bare_backslash(struct span part, size_t i, size_t end)
{
    bool alone = i + 2 < part.len && part.p[i + 1] == '\\' && part.p[i + 2] == '"' && ends_value(part, i + 3);
    return alone && (end >= part.len || !ends_value(part, end + 1));
}

/* Reads the quoted string that begins at part.p[*i]. */
static bool tok_read_quoted(struct imap_tree *t, struct span part, size_t *i, const char **why)
{
    size_t begin = *i + 1, end = begin;
    bool escapes = false;
    while (end < part.len && part.p[end] != '"') {
        if (part.p[end] == '\\') {
            escapes = true;
            end++;
        }
        end++;
    }
    if (t->limits.lenient && is_bare_backslash(part, *i, end)) {
        *i += 3;
        return add_text(t, IMAP_QUOTED, span_of(part.p + begin, 1), false, why);
    }
    if (end >= part.len)
        return tok_refuse(why, "unclosed quoted string");
    *i = end + 1;
    return add_text(t, IMAP_QUOTED, span_of(part.p + begin, end - begin), escapes, why) &&
           check_glue(t, part, *i, t->last, why, "no blank behind a quoted string");
}

/* Does s name what can have a section: BODY[...], BODY.PEEK[...], BINARY[...], ...? */
static bool has_section(struct span s)
{
    static const char *const names[] = {"BODY", "BODY.PEEK", "BINARY", "BINARY.PEEK", "BINARY.SIZE"};
    for (size_t i = 0; i < COUNTOF(names); i++)
        if (span_is_ci(s, names[i]))
            return true;
    return false;
}

size_t imap_section_end(struct span part, size_t at)
{
    bool quoted = false;
    for (size_t i = at; i < part.len; i++) {
        if (quoted && part.p[i] == '\\')
            i++;
        else if (part.p[i] == '"')
            quoted = !quoted;
        else if (part.p[i] == ']' && !quoted)
            return i + 1;
    }
    return 0;
}

static bool tok_read_atom(struct imap_tree *t, struct span part, size_t *i, const char **why)
{
    size_t begin = *i, end = begin;
    while (end < part.len && !is_delimiter(part.p[end], " ()\"")) {
        if (!t->limits.lenient && (part.p[end] < 0x20 || part.p[end] == 0x7f))
            return tok_refuse(why, "control character");
        if (part.p[end] == '[' && has_section(span_of(part.p + begin, end - begin))) {
            end = imap_section_end(part, end);
            if (end == 0)
                return tok_refuse(why, "unclosed section");
            continue;
        }
        end++;
    }
    *i = end;
    if (!t->limits.lenient && end < part.len && part.p[end] == '"')
        return tok_refuse(why, "quote inside a word");
    return add_text(t, IMAP_ATOM, span_of(part.p + begin, end - begin), false, why) &&
           check_glue(t, part, end, t->last, why, "quote inside a word");
}

static bool close_list(struct imap_tree *t, struct span part, size_t *i, const char **why)
{
    if (t->depth == 0)
        return tok_refuse(why, "unbalanced parenthesis");
    t->depth--;
    ++*i;
    return check_glue(t, part, *i, NULL, why, "no blank behind a parenthesis");
}

static bool read_value(struct imap_tree *t, struct span part, size_t *i, const char **why)
{
    switch (part.p[*i]) {
    case ' ':
        ++*i;
        return true;
    case '(':
        ++*i;
        return open_list(t, why);
    case ')':
        return close_list(t, part, i, why);
    case '"':
        return tok_read_quoted(t, part, i, why);
    default:
        return tok_read_atom(t, part, i, why);
    }
}

bool imap_tree_text(struct imap_tree *t, struct span part, const char **why)
{
    if (!t->limits.lenient && part.len > 0 && memchr(part.p, '\0', part.len))
        return tok_refuse(why, "NUL in a line");
    bool behind_literal = t->last && (t->last->kind == IMAP_LITERAL || t->last->kind == IMAP_STREAMED);
    if (behind_literal && !check_glue(t, part, 0, t->last, why, "no blank behind a literal"))
        return false;
    for (size_t i = 0; i < part.len;)
        if (!read_value(t, part, &i, why))
            return false;
    return true;
}

bool imap_tree_literal(struct imap_tree *t, struct span body, const char **why)
{
    return add_text(t, IMAP_LITERAL, body, false, why);
}

bool imap_tree_stream(struct imap_tree *t, uint64_t size, const char **why)
{
    struct imap_value *v = tok_add_value(t, IMAP_STREAMED, why);
    if (v)
        v->size = size;
    return v != NULL;
}

const struct imap_value *imap_tree_last(const struct imap_tree *t)
{
    return t->last;
}

bool imap_tree_done(const struct imap_tree *t, const char **why)
{
    return t->depth == 0 || tok_refuse(why, "unclosed parenthesis");
}

const struct imap_value *imap_tree_first(const struct imap_tree *t)
{
    return t->first;
}

const struct imap_value *imap_value_at(const struct imap_value *v, size_t i)
{
    while (v && i-- > 0)
        v = v->next;
    return v;
}

bool imap_value_is(const struct imap_value *v, const char *word)
{
    return v && v->kind == IMAP_ATOM && span_is_ci(v->text, word);
}

bool imap_value_is_nil(const struct imap_value *v)
{
    return imap_value_is(v, "NIL");
}

bool imap_value_string(const struct imap_value *v, struct span *_r)
{
    if (!v || v->kind == IMAP_STREAMED || v->kind == IMAP_LIST)
        return false;
    *_r = v->text;
    return true;
}

bool imap_value_u32(const struct imap_value *v, uint32_t *_r)
{
    return v && v->kind == IMAP_ATOM && span_u32(v->text, _r);
}

bool imap_value_u64(const struct imap_value *v, uint64_t *_r)
{
    return v && v->kind == IMAP_ATOM && span_u64(v->text, UINT64_MAX, _r);
}

const struct imap_value *imap_value_get(const struct imap_value *list, const char *name)
{
    const struct imap_value *v = list && list->kind == IMAP_LIST ? list->first : NULL;
    for (; v && v->next; v = v->next->next)
        if (imap_value_is(v, name))
            return v->next;
    return NULL;
}
