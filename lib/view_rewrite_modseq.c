/* MODSEQs (RFC 7162): the conditions of FETCH and STORE, and how numbers go either way.
 *
 * What a client was shown before the flip is at or below the floor; all that it is shown since is above it,
 * and is the backend's number and the shift. So an old number says nothing of what has happened at the
 * backend, and what is asked by it is answered in full: every message, with its MODSEQ, and of what is gone
 * all of it (view_rewrite_resync.c). No number stands for "in full" in a FETCH, since messages may have
 * MODSEQ 1 and servers need not take 0. */
#include <inttypes.h>

#include "view_rewrite_priv.h"

/* ---- numbers ---- */

bool view_modseq_shifts(const struct view_rewrite *w)
{
    return w->open.is && (w->open.shift || !w->open.modseqs);
}

bool view_conditions_matter(const struct view_rewrite *w)
{
    return w->open.is && (w->open.floor || w->open.shift || !w->open.modseqs);
}

enum view_modseq view_modseq_of(const struct view_rewrite *w, uint64_t n, uint64_t *_r)
{
    if (n <= w->open.floor || n <= w->open.shift)
        return MODSEQ_OLD;
    *_r = n - w->open.shift;
    return MODSEQ_NEW;
}

enum view_modseq view_modseq_to_backend(const struct view_rewrite *w, struct span text, uint64_t *_r)
{
    uint64_t n;

    return span_u64(text, VIEW_MODSEQ_MAX, &n) ? view_modseq_of(w, n, _r) : MODSEQ_BAD;
}

bool view_modseq_to_client(const struct view_rewrite *w, struct span text, uint64_t *_r)
{
    uint64_t n;

    if (!span_u64(text, VIEW_MODSEQ_MAX, &n) || n > VIEW_MODSEQ_MAX - w->open.shift)
        return false;
    *_r = n + w->open.shift;
    return true;
}

bool view_modseq_highest(const struct view_sight *sight, uint64_t n, uint64_t *_r)
{
    if (!sight->modseqs || n == 0 || n > VIEW_MODSEQ_MAX || sight->modseq_shift > VIEW_MODSEQ_MAX - n)
        return false;
    n += sight->modseq_shift;
    *_r = n > sight->modseq_floor ? n : sight->modseq_floor;
    return true;
}

/* ---- the words of a part ---- */

struct conditions {
    size_t set, set_end;       /* first part alone */
    size_t items, items_end;   /* FETCH */
    size_t begin, end;         /* the list of them, with its parentheses; both 0: there is none */
    bool since, vanished;      /* CHANGEDSINCE or UNCHANGEDSINCE; VANISHED */
    size_t number, number_end; /* of the first */
    bool others;               /* there is one that is not known here */
    enum view_modseq is;
    uint64_t modseq; /* MODSEQ_NEW: the backend's */
    const char *bad; /* what the client is told */
};

static size_t skip_blanks(struct span p, size_t i)
{
    while (i < p.len && p.p[i] == ' ')
        i++;
    return i;
}

/* To behind the value under way: an atom, which may have a section in it, or a list. */
static size_t value_end(struct span p, size_t i)
{
    unsigned depth = 0;
    bool section = false;

    for (; i < p.len; i++) {
        uint8_t c = p.p[i];
        if (c == '"')
            for (i++; i < p.len && p.p[i] != '"'; i++)
                i += p.p[i] == '\\';
        else if (c == '[' || c == ']')
            section = c == '[';
        else if (c == '(')
            depth++;
        else if (c == ')' && depth > 0 && --depth == 0 && !section)
            return i + 1;
        else if (c == ' ' && depth == 0 && !section)
            return i;
    }
    return p.len;
}

/* The next word within a list, or its end. */
static struct span list_word(struct span p, size_t *at, size_t end)
{
    size_t begin = skip_blanks(p, *at), i = begin;

    while (i < end && p.p[i] != ' ' && p.p[i] != '(' && p.p[i] != ')')
        i++;
    *at = i;
    return span_of(p.p + begin, i - begin);
}

static void read_number(const struct view_rewrite *w, struct span p, size_t *at, struct conditions *c)
{
    struct span word = list_word(p, at, c->end - 1);

    if (c->since)
        c->bad = "BAD Only one MODSEQ is expected";
    c->since = true;
    c->number = (size_t)(word.p - p.p);
    c->number_end = c->number + word.len;
    c->is = view_modseq_to_backend(w, word, &c->modseq);
    if (c->is == MODSEQ_BAD)
        c->bad = "BAD A MODSEQ from 0 to 9223372036854775807 is expected";
}

/* The list that begins at i, if one does. name: of the condition that has a number. */
static void read_conditions(const struct view_rewrite *w, struct span p, size_t i, const char *name,
                            struct conditions *c)
{
    if (i >= p.len || p.p[i] != '(')
        return;
    c->begin = i;
    c->end = value_end(p, i);
    for (size_t at = i + 1; !c->bad && skip_blanks(p, at) < c->end - 1;) {
        struct span word = list_word(p, &at, c->end - 1);
        if (word.len == 0)
            c->bad = "BAD Modifiers without parentheses in them are expected";
        else if (span_is_ci(word, name))
            read_number(w, p, &at, c);
        else if (span_is_ci(word, "VANISHED"))
            c->vanished = true;
        else
            c->others = true;
    }
    if (!c->bad && c->since && !w->open.modseqs)
        c->bad = "BAD This mailbox has no MODSEQs";
}

static bool is_fetch(const struct imap_cmd *cmd)
{
    return cmd->verb == VERB_FETCH || cmd->verb == VERB_UID_FETCH;
}

static void check_vanished(const struct view_rewrite *w, const struct imap_cmd *cmd, struct conditions *c)
{
    if (!c->vanished || c->bad)
        return;
    if (cmd->verb != VERB_UID_FETCH)
        c->bad = "BAD VANISHED is expected in UID FETCH alone";
    else if (!w->qresync)
        c->bad = "BAD VANISHED needs ENABLE QRESYNC first";
    else if (!c->since)
        c->bad = "BAD VANISHED needs CHANGEDSINCE";
}

size_t view_text_end(struct span part)
{
    const uint8_t *brace = part.len && part.p[part.len - 1] == '}' ? memrchr(part.p, '{', part.len) : NULL;

    return brace ? (size_t)(brace - part.p) : part.len;
}

/* Is MODSEQ one of the items? */
static bool asks_modseq(struct span items)
{
    size_t at = items.len && items.p[0] == '(', depth = 0;

    while (at < items.len) {
        struct span word = list_word(items, &at, items.len);
        if (depth == 0 && span_is_ci(word, "MODSEQ"))
            return true;
        if (at < items.len && items.p[at] == '(')
            depth++;
        else if (at < items.len && items.p[at] == ')' && depth > 0)
            depth--;
        at += at < items.len;
    }
    return false;
}

/* A list that is not the last belongs to the item before it: "PREVIEW (LAZY)" (RFC 8970). */
static size_t items_end(struct span p, size_t end)
{
    for (;;) {
        size_t list = skip_blanks(p, end);
        if (list >= p.len || p.p[list] != '(')
            return end;
        size_t behind = value_end(p, list), next = skip_blanks(p, behind);
        if (next >= p.len || p.p[next] != '(')
            return end;
        end = behind;
    }
}

/* The words of a FETCH, all of it in one line. */
static struct conditions read_fetch(const struct view_rewrite *w, const struct imap_cmd *cmd,
                                    struct span text)
{
    struct conditions c = {0};

    c.set = skip_blanks(text, cmd->args < text.len ? cmd->args : text.len);
    for (c.set_end = c.set; c.set_end < text.len && text.p[c.set_end] != ' ';)
        c.set_end++;
    c.items = skip_blanks(text, c.set_end);
    c.items_end = items_end(text, value_end(text, c.items));
    read_conditions(w, text, skip_blanks(text, c.items_end), "CHANGEDSINCE", &c);
    check_vanished(w, cmd, &c);
    if (!c.bad && !w->open.modseqs && asks_modseq(span_of(text.p + c.items, c.items_end - c.items)))
        c.bad = "BAD This mailbox has no MODSEQs";
    return c;
}

bool view_is_joined(const struct view_rewrite *w, const struct imap_cmd *cmd, struct span part)
{
    return is_fetch(cmd) && view_conditions_matter(w) && view_text_end(part) < part.len;
}

bool view_is_resync(const struct view_rewrite *w, const struct imap_cmd *cmd, struct span part)
{
    if (cmd->verb != VERB_UID_FETCH || !view_conditions_matter(w))
        return false;
    if (view_is_joined(w, cmd, part))
        return w->qresync;
    struct conditions c = read_fetch(w, cmd, part);
    return !c.bad && c.vanished && c.is == MODSEQ_OLD;
}

/* ---- FETCH ---- */

/* What the macros stand for (RFC 3501 6.4.5), since one can't stand among other items. */
static const char *macro_items(struct span item)
{
    if (span_is_ci(item, "ALL"))
        return "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE";
    if (span_is_ci(item, "FAST"))
        return "FLAGS INTERNALDATE RFC822.SIZE";
    return span_is_ci(item, "FULL") ? "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY" : NULL;
}

/* The items, with MODSEQ among them. */
static void write_items(struct span items, struct buf *out)
{
    const char *macro = macro_items(items);
    bool list = items.len && items.p[0] == '(', asked = asks_modseq(items);

    buf_add_str(out, list ? "" : "(");
    if (macro)
        buf_add_str(out, macro);
    else
        buf_add(out, items.p, items.len - list);
    buf_add_str(out, asked ? ")" : " MODSEQ)");
}

/* Those of the list that are not known here, with a blank in front. */
static void write_others(struct span part, const struct conditions *c, struct buf *out)
{
    const char *before = " (";

    if (!c->others)
        return;
    for (size_t at = c->begin + 1; skip_blanks(part, at) < c->end - 1;) {
        struct span word = list_word(part, &at, c->end - 1);
        bool since = span_is_ci(word, "CHANGEDSINCE");
        if (since)
            list_word(part, &at, c->end - 1);
        if (since || span_is_ci(word, "VANISHED"))
            continue;
        buf_add_str(out, before);
        buf_add_span(out, word);
        before = " ";
    }
    buf_add_str(out, ")");
}

/* What stands before the items. Where it is asked what has vanished, "n:*" does not end with the last
 * message, as it does in Cyrus, but with the greatest UID: what was above that message may have vanished
 * too. */
static void write_front(struct span part, const struct conditions *c, struct buf *out)
{
    size_t copied = 0;
    bool star = false;

    for (size_t i = c->set; c->vanished && i < c->set_end; i++) {
        bool range = (i > c->set && part.p[i - 1] == ':') || (i + 1 < c->set_end && part.p[i + 1] == ':');
        if (part.p[i] != '*' || !range)
            continue;
        buf_add(out, part.p + copied, i - copied);
        buf_printf(out, "%" PRIu32, UINT32_MAX);
        copied = i + 1;
        star = true;
    }
    buf_add(out, part.p + copied, c->set_end - copied);
    buf_add_str(out, star ? ",*" : "");
    buf_add(out, part.p + c->set_end, c->items - c->set_end);
}

/* The part as it goes on; in full: without the condition. */
static void write_fetch(struct span part, const struct conditions *c, struct buf *out)
{
    write_front(part, c, out);
    if (c->is == MODSEQ_OLD) {
        write_items(span_of(part.p + c->items, c->items_end - c->items), out);
        write_others(part, c, out);
        return;
    }
    buf_add(out, part.p + c->items, c->number - c->items);
    buf_printf(out, "%" PRIu64, c->modseq);
    buf_add(out, part.p + c->number_end, part.len - c->number_end);
}

static enum view_becomes resync(struct view_rewrite *w, const struct imap_cmd *cmd, struct span part,
                                const struct conditions *c, struct buf *out, struct buf *answer,
                                struct view_command **_c)
{
    struct buf items = {0};

    write_items(span_of(part.p + c->items, c->items_end - c->items), &items);
    write_others(part, c, &items);
    enum view_becomes is = view_resync_fetch(w, cmd, span_of(part.p + c->set, c->set_end - c->set),
                                             buf_span(&items), out, answer, _c);
    buf_free(&items);
    return is;
}

static enum view_becomes fetch_conditions(struct view_rewrite *w, const struct imap_cmd *cmd,
                                          struct span part, struct buf *out, struct buf *answer,
                                          struct view_command **_c)
{
    struct conditions c = read_fetch(w, cmd, part);

    if (c.bad)
        return view_answer(answer, cmd, c.bad);
    if (!c.since)
        return VIEW_PASSES;
    if (c.vanished && c.is == MODSEQ_OLD)
        return resync(w, cmd, part, &c, out, answer, _c);
    write_fetch(part, &c, out);
    return VIEW_WRITTEN;
}

/* ---- STORE ---- */

/* Of a message that has changed since an old MODSEQ, as far as anybody knows, nothing is stored: 0 says so
 * (RFC 7162 3.1.3). */
static enum view_becomes store_conditions(const struct view_rewrite *w, const struct imap_cmd *cmd,
                                          struct span part, struct buf *out, struct buf *answer)
{
    struct conditions c = {0};
    size_t i = skip_blanks(part, cmd->args < part.len ? cmd->args : part.len);

    while (i < part.len && part.p[i] != ' ')
        i++;
    read_conditions(w, part, skip_blanks(part, i), "UNCHANGEDSINCE", &c);
    if (c.bad)
        return view_answer(answer, cmd, c.bad);
    if (!c.since)
        return VIEW_PASSES;
    buf_add(out, part.p, c.number);
    buf_printf(out, "%" PRIu64, c.is == MODSEQ_OLD ? 0 : c.modseq);
    buf_add(out, part.p + c.number_end, part.len - c.number_end);
    return VIEW_WRITTEN;
}

enum view_becomes view_conditions(struct view_rewrite *w, const struct imap_cmd *cmd, struct span part,
                                  bool first, struct buf *out, struct buf *answer, struct view_command **_c)
{
    bool store = cmd->verb == VERB_STORE || cmd->verb == VERB_UID_STORE;

    if (!view_conditions_matter(w) || !first)
        return VIEW_PASSES;
    if (is_fetch(cmd))
        return fetch_conditions(w, cmd, part, out, answer, _c);
    return store ? store_conditions(w, cmd, part, out, answer) : VIEW_PASSES;
}
