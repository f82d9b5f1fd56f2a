/* UIDs in commands: sets, and SEARCH keys with sets at any depth. */
#include <inttypes.h>

#include "view_rewrite_priv.h"

/* ---- writing sets ---- */

static void set_flush(struct view_set_writer *s)
{
    if (s->first == 0)
        return;
    buf_printf(s->out, "%s%u", s->out->len > s->begin ? "," : "", s->first);
    if (s->last > s->first)
        buf_printf(s->out, ":%u", s->last);
    s->first = 0;
}

void view_set_write(struct view_set_writer *s, uint32_t first, uint32_t last)
{
    if (s->first && s->last < first && first - s->last == 1) {
        s->last = last;
        return;
    }
    set_flush(s);
    s->first = first;
    s->last = last;
}

bool view_set_end(struct view_set_writer *s)
{
    set_flush(s);
    return s->out->len > s->begin;
}

/* ---- sets ---- */

enum { STAR = 0 };

/* A number, or "*". */
static bool set_number(struct span s, uint32_t *_r)
{
    *_r = STAR;
    return span_is(s, "*") || (s.len > 0 && s.p[0] != '0' && span_u32(s, _r));
}

/* From first up to the last message, which is always meant (RFC 3501 9 seq-range). */
static void set_open_end(const struct view_uid *map, uint32_t first, struct view_set_writer *s)
{
    struct imap_range r;

    set_flush(s);
    buf_add_str(s->out, s->out->len > s->begin ? "," : "");
    if (view_uid_range_to_backend(map, first, UINT32_MAX, &r))
        buf_printf(s->out, "%u:", r.first);
    buf_add_str(s->out, "*");
}

static bool set_element(const struct view_uid *map, struct span one, struct view_set_writer *s)
{
    const uint8_t *colon = one.len ? memchr(one.p, ':', one.len) : NULL;
    size_t n = colon ? (size_t)(colon - one.p) : one.len;
    uint32_t a, b;
    struct imap_range r;

    if (!set_number(span_of(one.p, n), &a))
        return false;
    b = a;
    if (colon && !set_number(span_of(colon + 1, one.len - n - 1), &b))
        return false;
    if (a == STAR && b == STAR) {
        set_flush(s);
        buf_add_str(s->out, s->out->len > s->begin ? ",*" : "*");
    } else if (a == STAR || b == STAR) {
        set_open_end(map, a + b, s);
    } else if (view_uid_range_to_backend(map, a < b ? a : b, a < b ? b : a, &r)) {
        view_set_write(s, r.first, r.last);
    }
    return true;
}

enum view_set view_set_to_backend(const struct view_uid *map, struct span set, struct buf *out)
{
    struct view_set_writer s = {.out = out, .begin = out->len};

    for (;;) {
        const uint8_t *comma = set.len ? memchr(set.p, ',', set.len) : NULL;
        size_t n = comma ? (size_t)(comma - set.p) : set.len;
        if (!set_element(map, span_of(set.p, n), &s))
            return SET_BAD;
        if (!comma)
            return view_set_end(&s) ? SET_GOOD : SET_EMPTY;
        set = span_of(comma + 1, set.len - n - 1);
    }
}

/* ---- keys ----
 *
 * What comes here was held to the allow-list, so it is well-formed: words are cut here as they were there. */

struct keys {
    const struct view_rewrite *w;
    struct span part;
    size_t at;
    size_t copied; /* up to here the part was written */
    unsigned due;
    struct buf *out;
    const char *bad;
    size_t bad_at; /* where the word begins that is none */
};

/* The next word; empty at the end. Parentheses are words. */
static struct span keys_word(struct keys *k)
{
    struct span p = k->part;

    while (k->at < p.len && p.p[k->at] == ' ')
        k->at++;
    size_t begin = k->at, i = begin;
    if (i < p.len && p.p[i] == '"') {
        for (i++; i < p.len && p.p[i] != '"'; i++)
            i += p.p[i] == '\\';
        i = i < p.len ? i + 1 : p.len;
    } else if (i < p.len && (p.p[i] == '(' || p.p[i] == ')')) {
        i++;
    } else {
        while (i < p.len && p.p[i] != ' ' && p.p[i] != '(' && p.p[i] != ')')
            i++;
    }
    k->at = i;
    return span_of(p.p + begin, i - begin);
}

static void keys_skip_list(struct keys *k)
{
    struct span word = keys_word(k);
    size_t depth = 0;

    while (word.len) {
        depth += span_is(word, "(");
        if (span_is(word, ")") && --depth == 0)
            return;
        if (depth == 0)
            return;
        word = keys_word(k);
    }
}

/* What stands before the keys. */
static void keys_skip_head(struct keys *k, enum imap_verb verb)
{
    size_t begin = k->at;

    switch (verb) {
    case VERB_SORT:
    case VERB_UID_SORT:
        keys_skip_list(k);
        keys_word(k);
        break;
    case VERB_THREAD:
    case VERB_UID_THREAD:
        keys_word(k);
        keys_word(k);
        break;
    default:
        if (span_is_ci(keys_word(k), "RETURN"))
            keys_skip_list(k);
        else
            k->at = begin;
    }
}

/* The word that was cut last is none, or can't be meant. */
static bool keys_bad(struct keys *k, struct span word, const char *text)
{
    k->bad = text;
    k->bad_at = (size_t)(word.p - k->part.p);
    return false;
}

/* MODSEQ [entry type] number (RFC 7162 3.1.5). An old one fits all messages, and so does 0. */
static bool keys_modseq(struct keys *k)
{
    struct span word = keys_word(k);
    uint64_t n = 0;

    if (!k->w->open.modseqs)
        return keys_bad(k, word, "BAD This mailbox has no MODSEQs");
    if (word.len >= 2 && word.p[0] == '"') {
        word = keys_word(k);
        if (!span_is_ci(word, "priv") && !span_is_ci(word, "shared") && !span_is_ci(word, "all"))
            return keys_bad(k, word, "BAD priv, shared or all is expected behind the entry of MODSEQ");
        word = keys_word(k);
    }
    if (view_modseq_to_backend(k->w, word, &n) == MODSEQ_BAD)
        return keys_bad(k, word, "BAD A MODSEQ from 0 to 9223372036854775807 is expected");
    buf_add(k->out, k->part.p + k->copied, (size_t)(word.p - k->part.p) - k->copied);
    buf_printf(k->out, "%" PRIu64, n);
    k->copied = k->at;
    return true;
}

/* The set of the key that begins at `key`. An empty one is a key that fits no message. */
static bool keys_set(struct keys *k, size_t key)
{
    struct buf set = {0};
    struct span word = keys_word(k), text = word;
    size_t begin = (size_t)(word.p - k->part.p);

    if (word.len >= 2 && word.p[0] == '"')
        text = span_of(word.p + 1, word.len - 2);
    enum view_set is = view_set_to_backend(k->w->open.map, text, &set);
    if (is == SET_GOOD) {
        buf_add(k->out, k->part.p + k->copied, begin - k->copied);
        buf_add_span(k->out, buf_span(&set));
    } else if (is == SET_EMPTY) {
        buf_add(k->out, k->part.p + k->copied, key - k->copied);
        buf_add_str(k->out, "(NOT ALL)");
    }
    buf_free(&set);
    if (is == SET_BAD)
        return keys_bad(k, word, "BAD Invalid message set");
    k->copied = k->at;
    return true;
}

static bool keys_walk(struct keys *k)
{
    struct span word;

    while ((word = keys_word(k)).len) {
        unsigned args;
        bool set;
        if (k->due > 0)
            k->due--;
        else if (span_is_ci(word, "MODSEQ") && view_conditions_matter(k->w)) {
            if (!keys_modseq(k))
                return false;
        } else if (imap_cmd_search_key(word, &args, &set)) {
            k->due = args;
            if (set && k->w->open.map) {
                k->due = 0;
                if (!keys_set(k, (size_t)(word.p - k->part.p)))
                    return false;
            }
        }
    }
    return true;
}

/* Half of the command is at the backend, which is to refuse the rest: nothing of it is meant, but for a literal that the
 * backend has to be asked for. */
static void keys_spoil(struct keys *k)
{
    size_t marker = view_text_end(k->part);

    buf_add(k->out, k->part.p + k->copied, k->bad_at - k->copied);
    buf_add_str(k->out, k->bad_at == k->part.len ? " bad" : marker < k->part.len ? "bad " : "bad");
    buf_add(k->out, k->part.p + marker, k->part.len - marker);
}

bool view_keys_to_backend(const struct view_rewrite *w, struct view_command *c, const struct imap_cmd *cmd,
                          struct span part, bool first, struct buf *out, const char **bad)
{
    struct keys k = {.w = w, .part = part, .out = out};

    if (first) {
        k.at = cmd->args < part.len ? cmd->args : part.len;
        keys_skip_head(&k, cmd->verb);
    } else {
        k.due = c->due;
    }
    bool ok = keys_walk(&k);
    c->due = k.due;
    if (ok)
        buf_add(out, part.p + k.copied, part.len - k.copied);
    else if (!first)
        keys_spoil(&k);
    else
        *bad = k.bad;
    return ok || !first;
}
