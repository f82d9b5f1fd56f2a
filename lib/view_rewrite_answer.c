/* Status responses: tagged answers, untagged ones, and the codes in both. */
#include <inttypes.h>

#include "view_rewrite_priv.h"
#include "xalloc.h"

/* How often a mailbox that is another one now is looked at anew: each time the store has changed meanwhile. */
enum { STORES_MAX = 5 };

/* ---- tagged answers ---- */

/* The line without its code. */
static enum view_gives without_code(struct span line, const struct imap_resp *resp, struct buf *out)
{
    buf_add(out, line.p, (size_t)(resp->code.p - line.p) - 1);
    buf_add_span(out, resp->text.len ? resp->text : span_str("Done"));
    buf_add_str(out, "\r\n");
    return VIEW_LINES;
}

/* The line with other arguments of its code. */
static void with_code(struct span line, const struct imap_resp *resp, const char *name, struct span args,
                      struct buf *out)
{
    size_t at = (size_t)(resp->code.p - line.p);

    buf_add(out, line.p, at);
    buf_printf(out, "%s ", name);
    buf_add_span(out, args);
    buf_add(out, line.p + at + resp->code.len, line.len - at - resp->code.len);
    buf_add_str(out, "\r\n");
}

/* The first UID of messages that were added; 0: it can't be read. */
static uint32_t first_added(struct span words, enum view_code code)
{
    size_t n = 0;
    uint32_t uid;

    if (code == CODE_COPYUID)
        view_cut_word(&words);
    while (n < words.len && words.p[n] >= '0' && words.p[n] <= '9')
        n++;
    return n && span_u32(span_of(words.p, n), &uid) ? uid : 0;
}

/* c: the command that is answered, or under way; NULL: none that would say such a thing. */
static bool code_args(struct view_rewrite *w, const struct view_command *c, const struct imap_resp *resp,
                      enum view_code code, struct buf *args)
{
    struct view_sight sight;
    struct span rest = resp->code;
    uint32_t uidvalidity;

    view_cut_word(&rest);
    struct span words = rest, word = view_cut_word(&words);
    if (!c || !c->name || (c->verb == VERB_APPEND) != (code == CODE_APPENDUID) ||
        !span_u32(word, &uidvalidity))
        return false;
    if (view_look(w->view, span_str(c->name), uidvalidity, first_added(words, code), &sight) != VIEW_FITS)
        return false;
    view_rewrite_shown(w, span_str(c->name), sight.uidvalidity);
    buf_printf(args, "%u ", sight.uidvalidity);
    if (code == CODE_APPENDUID)
        return view_appenduid(&sight, words, args);
    return w->open.is && view_copyuid(w->open.map, &sight, words, args);
}

/* The HIGHESTMODSEQ of the mailbox that is open. False: the client is told none. It never falls, since
 * clients keep it (RFC 7162 3.1.2.1). */
static bool highest_args(struct view_rewrite *w, struct span code, struct buf *args)
{
    const struct view_sight sight = {
        .modseq_floor = w->open.floor, .modseq_shift = w->open.shift, .modseqs = w->open.modseqs};
    uint64_t n;

    view_cut_word(&code);
    if (!w->open.is || !span_u64(view_cut_word(&code), VIEW_MODSEQ_MAX, &n) ||
        !view_modseq_highest(&sight, n, &n) || n < w->open.highest)
        return false;
    w->open.highest = n;
    buf_printf(args, "%" PRIu64, n);
    return true;
}

/* Which messages a STORE has left alone. Numbers of messages are the same on both sides. */
static enum view_set modified_args(const struct view_rewrite *w, const struct view_command *c,
                                   struct span code, struct buf *args)
{
    bool uids = w->open.map && c && c->verb == VERB_UID_STORE;

    view_cut_word(&code);
    if (!uids)
        buf_add_span(args, code);
    return uids ? view_modified(w->open.map, code, args) : SET_GOOD;
}

enum view_gives view_rewrite_code(struct view_rewrite *w, const struct view_command *c,
                                  const struct imap_resp *resp, struct span line, struct buf *out)
{
    enum view_code code = view_code_of(resp->code);
    const char *name = NULL;
    struct buf args = {0};
    enum view_set modified = SET_GOOD;

    if (resp->code.len == 0)
        return VIEW_SAME;
    switch (code) {
    case CODE_SAME:
    case CODE_CLOSED:
    case CODE_NOMODSEQ:
    case CODE_INPROGRESS:
        return VIEW_SAME;
    case CODE_APPENDUID:
    case CODE_COPYUID:
        if (code_args(w, c, resp, code, &args))
            name = code == CODE_APPENDUID ? "APPENDUID" : "COPYUID";
        break;
    case CODE_HIGHESTMODSEQ:
        name = highest_args(w, resp->code, &args) ? "HIGHESTMODSEQ" : NULL;
        break;
    case CODE_MODIFIED:
        modified = modified_args(w, c, resp->code, &args);
        name = modified == SET_GOOD ? "MODIFIED" : NULL;
        break;
    case CODE_UIDVALIDITY:
    case CODE_UIDNEXT:
    case CODE_UNKNOWN:
        break;
    }
    if (name)
        with_code(line, resp, name, buf_span(&args), out);
    else
        without_code(line, resp, out);
    buf_free(&args);
    /* Without it the client would think that all was stored. */
    return modified == SET_BAD ? VIEW_WRONG : VIEW_LINES;
}

static enum view_gives rewrite_wrong(const char **wrong, const char *text)
{
    *wrong = text;
    return VIEW_WRONG;
}

/* HIGHESTMODSEQ, or that there is none. */
static void tell_highest(struct view_rewrite *w, const struct view_command *c, const struct view_sight *sight,
                         struct buf *out)
{
    if (!c->nomodseq && view_modseq_highest(sight, c->highest, &w->open.highest)) {
        buf_printf(out, "* OK [HIGHESTMODSEQ %" PRIu64 "] Highest\r\n", w->open.highest);
    } else if (c->nomodseq || c->highest) {
        w->open.modseqs = false;
        if (sight->modseqs)
            buf_add_str(out, "* OK [NOMODSEQ] No permanent MODSEQs\r\n");
    }
}

/* The tagged answer to a SELECT, and before it what has changed where the client has asked for that. */
static enum view_gives selected_is_told(struct view_rewrite *w, struct view_command *c,
                                        const struct imap_resp *resp, struct span line, struct buf *out)
{
    struct buf tagged = {0};

    if (view_rewrite_code(w, NULL, resp, line, &tagged) == VIEW_SAME)
        view_write_line(&tagged, line);
    enum view_gives gives = view_resync_begin(w, c, resp, &tagged, out);
    buf_free(&tagged);
    return gives;
}

/* A mailbox is open. */
static enum view_gives selected(struct view_rewrite *w, struct view_command *c, const struct imap_resp *resp,
                                struct span line, struct buf *out, struct view_changes *changes,
                                const char **wrong)
{
    struct view_sight sight;
    struct span name = span_str(c->name);
    uint32_t uidnext;
    enum view_fit fit = view_look(w->view, name, c->uidvalidity, c->uidnext, &sight);

    if (fit == VIEW_CHANGED && c->stores++ < STORES_MAX && view_void(w->view, name, c->uidvalidity, changes))
        return VIEW_STORE;
    if (fit == VIEW_CHANGED)
        return rewrite_wrong(wrong, "the records of a mailbox change all the time");
    view_rewrite_close(w);
    if (fit == VIEW_UNSEEN) {
        w->open.barred = true;
        buf_add_span(out, resp->tag);
        buf_add_str(out, " NO [UNAVAILABLE] The mailbox can't be shown\r\n");
        return VIEW_LINES;
    }
    view_rewrite_open(w, &sight, c->uidvalidity);
    view_rewrite_shown(w, name, sight.uidvalidity);
    if (sight.uidvalidity)
        buf_printf(out, "* OK [UIDVALIDITY %u] UIDs valid\r\n", sight.uidvalidity);
    if (view_uidnext(sight.map, c->uidnext, &uidnext)) {
        w->open.uidnext = uidnext;
        buf_printf(out, "* OK [UIDNEXT %u] Predicted next UID\r\n", uidnext);
    }
    tell_highest(w, c, &sight, out);
    return selected_is_told(w, c, resp, line, out);
}

/* RENAME and DELETE. What is left to do is asked again by each newer view, since others may have changed the same
 * records. */
static enum view_gives renamed(struct view_rewrite *w, struct view_command *c, const struct imap_resp *resp,
                               struct span line, struct buf *out, struct view_changes *changes)
{
    bool ok = resp->status == STATUS_OK, deletes = c->verb == VERB_DELETE;
    bool none = imap_code_is(resp->code, "NONEXISTENT", NULL);

    if (c->begun.n && c->stores < STORES_MAX) {
        if (deletes)
            view_delete_end(w->view, &c->begun,
                            ok     ? VIEW_DELETED
                            : none ? VIEW_NOT_THERE
                                   : VIEW_NOT_DELETED,
                            c->stores == 0, changes);
        else
            view_rename_end(w->view, &c->begun, ok, changes);
        c->stores++;
        if (changes->n)
            return VIEW_STORE;
    }
    return view_rewrite_code(w, NULL, resp, line, out);
}

/* STATUS: mailboxes of which a greater UIDVALIDITY than that of the record is to be told. */
static bool tell_voids(struct view_command *c, struct view_changes *changes)
{
    if (c->voids.n == 0 || c->stores++ > 0)
        return false;
    changes->items = xcalloc(c->voids.n, sizeof *changes->items);
    changes->n = changes->cap = c->voids.n;
    for (size_t i = 0; i < c->voids.n; i++)
        changes->items[i] = (struct view_change){.field = xstrdup(c->voids.items[i].field),
                                                 .was = xstrdup(c->voids.items[i].was),
                                                 .is = xstrdup(c->voids.items[i].is)};
    return true;
}

/* Has another session recorded something else meanwhile? */
static bool voids_are_stored(const struct view_rewrite *w, const struct view_command *c)
{
    bool same = true;

    for (size_t i = 0; same && i < c->voids.n; i++) {
        const struct view_record *r = view_record_of(w->view, span_str(c->voids.items[i].field));
        struct buf text = {0};
        if (r)
            view_record_encode(&text, r);
        same = span_is(buf_span(&text), c->voids.items[i].is);
        buf_free(&text);
    }
    return same;
}

static enum view_gives answer_later(const struct imap_resp *resp, struct buf *out)
{
    buf_add_span(out, resp->tag);
    buf_add_str(out,
                " NO [UNAVAILABLE] The mailbox can't be shown at the moment, please try again later\r\n");
    return VIEW_LINES;
}

/* Is there more to ask before the client is told? */
static bool listing_asks(struct view_rewrite *w, struct view_command *c, const struct imap_resp *resp,
                         struct span line)
{
    struct buf tagged = {0};

    if (!c->list || resp->status != STATUS_OK)
        return false;
    if (view_rewrite_code(w, c, resp, line, &tagged) == VIEW_SAME)
        view_write_line(&tagged, line);
    bool asks = view_listing_asks(c->list, &tagged);
    buf_free(&tagged);
    return asks;
}

/* All that was kept, and the tagged line. */
static enum view_gives with_kept(struct view_rewrite *w, struct view_command *c, const struct imap_resp *resp,
                                 struct span line, struct buf *out)
{
    if (c->list)
        view_listing_end(c->list, out);
    buf_add_span(out, buf_span(&c->kept));
    if (view_rewrite_code(w, c, resp, line, out) == VIEW_SAME)
        view_write_line(out, line);
    return VIEW_LINES;
}

/* The lines that were kept can't be told. A LIST does without them (RFC 5819 2). */
static enum view_gives without_kept(struct view_rewrite *w, struct view_command *c,
                                    const struct imap_resp *resp, struct span line, struct buf *out)
{
    buf_clear(&c->kept);
    return c->verb == VERB_STATUS ? answer_later(resp, out) : with_kept(w, c, resp, line, out);
}

/* A SELECT that goes nowhere. A backend that does not say NO still has a mailbox open, or has
 * opened another one. */
static enum view_gives nowhere(struct view_rewrite *w, const struct view_command *c,
                               const struct imap_resp *resp, struct buf *out)
{
    view_rewrite_close(w);
    w->open.barred = resp->status != STATUS_NO;
    buf_add_span(out, resp->tag);
    buf_printf(out, " %s\r\n", c->nowhere);
    return VIEW_LINES;
}

static enum view_gives answered(struct view_rewrite *w, struct view_command *c, const struct imap_resp *resp,
                                struct span line, struct buf *out, struct view_changes *changes,
                                const char **wrong)
{
    unsigned flags = view_verbs[c->verb].flags;

    if (c->nowhere)
        return nowhere(w, c, resp, out);
    if (view_resync_asks(c))
        return view_resync_answered(w, c, resp, line, out);
    if (c->noop && resp->status == STATUS_OK) {
        view_resync_noop(w, c, out);
        buf_add_span(out, resp->tag);
        buf_add_str(out, " OK No such messages\r\n");
        return VIEW_LINES;
    }
    if (tell_voids(c, changes))
        return VIEW_STORE;
    if (!voids_are_stored(w, c))
        return without_kept(w, c, resp, line, out);
    if ((flags & OPENS) && resp->status == STATUS_OK)
        return selected(w, c, resp, line, out, changes, wrong);
    /* A BAD has done nothing: what was open is still (RFC 3501 6.3.1 says so of a NO alone). */
    if ((flags & OPENS) && resp->status == STATUS_NO)
        view_rewrite_close(w);
    if (c->begun.n)
        return renamed(w, c, resp, line, out, changes);
    if (listing_asks(w, c, resp, line))
        return VIEW_ASK;
    if (c->list || c->kept.len)
        return with_kept(w, c, resp, line, out);
    enum view_gives gives = view_rewrite_code(w, c, resp, line, out);
    if (gives == VIEW_WRONG)
        *wrong = "a set of MODIFIED that can't be read";
    if ((flags & LEAVES) && resp->status == STATUS_OK)
        view_rewrite_close(w); /* a code is still about the mailbox that was open (RFC 7162 3.2.8) */
    return gives;
}

enum view_gives view_rewrite_tagged(struct view_rewrite *w, struct view_command **c,
                                    const struct imap_resp *resp, struct span line, struct buf *out,
                                    struct view_changes *changes, const char **wrong)
{
    enum view_gives gives =
        *c ? answered(w, *c, resp, line, out, changes, wrong) : view_rewrite_code(w, NULL, resp, line, out);

    if (gives != VIEW_STORE && gives != VIEW_ASK)
        view_command_free(w, c);
    return gives;
}

static enum view_gives unstored(struct view_rewrite *w, struct view_command *c, const struct imap_resp *resp,
                                struct span line, struct buf *out, const char **wrong)
{
    bool ok = resp->status == STATUS_OK;

    if ((view_verbs[c->verb].flags & OPENS) && ok) {
        view_rewrite_close(w);
        w->open.barred = true;
        return answer_later(resp, out);
    }
    if (c->voids.n)
        return without_kept(w, c, resp, line, out);
    if (c->verb == VERB_RENAME && ok)
        return rewrite_wrong(wrong, "a RENAME that is not in the store");
    return with_kept(w, c, resp, line, out);
}

enum view_gives view_rewrite_unstored(struct view_rewrite *w, struct view_command **c,
                                      const struct imap_resp *resp, struct span line, struct buf *out,
                                      const char **wrong)
{
    enum view_gives gives = unstored(w, *c, resp, line, out, wrong);

    view_command_free(w, c);
    return gives;
}

/* ---- untagged status ---- */

/* What is said of a mailbox that is being opened waits for the tagged answer, since only all of it says how
 * the mailbox is seen. */
static void opening_number(struct view_command *opens, enum view_code code, struct span code_text)
{
    uint64_t n;

    view_cut_word(&code_text);
    if (code == CODE_NOMODSEQ)
        opens->nomodseq = true;
    else if (!span_u64(view_cut_word(&code_text), UINT64_MAX, &n))
        return;
    else if (code == CODE_HIGHESTMODSEQ)
        opens->highest = n;
    else if (n <= UINT32_MAX)
        *(code == CODE_UIDNEXT ? &opens->uidnext : &opens->uidvalidity) = (uint32_t)n;
}

/* All that came before it was of the mailbox before (RFC 7162 3.2.11). */
static void opening_anew(struct view_command *opens)
{
    opens->uidvalidity = opens->uidnext = 0;
    opens->highest = 0;
    opens->nomodseq = false;
}

/* UIDVALIDITY or UIDNEXT of the mailbox that is open. */
static enum view_gives untagged_number(struct view_rewrite *w, const struct imap_resp *resp, struct span line,
                                       enum view_code code, struct buf *out, const char **wrong)
{
    struct span rest = resp->code, word;
    uint32_t n;
    struct buf text = {0};

    view_cut_word(&rest);
    word = view_cut_word(&rest);
    if (!span_u32(word, &n) || n == 0)
        return VIEW_NOTHING;
    if (!w->open.is)
        return VIEW_NOTHING;
    if (code == CODE_UIDVALIDITY && w->open.real && n != w->open.real)
        return rewrite_wrong(wrong, "another UIDVALIDITY in an open mailbox");
    if (code == CODE_UIDVALIDITY)
        n = w->open.uidvalidity ? w->open.uidvalidity : n;
    else if (!view_uidnext(w->open.map, n, &n))
        return VIEW_NOTHING;
    else
        w->open.uidnext = n;
    buf_printf(&text, "%u", n);
    with_code(line, resp, code == CODE_UIDNEXT ? "UIDNEXT" : "UIDVALIDITY", buf_span(&text), out);
    buf_free(&text);
    return VIEW_LINES;
}

static bool is_number(enum view_code code)
{
    return code == CODE_UIDVALIDITY || code == CODE_UIDNEXT || code == CODE_HIGHESTMODSEQ ||
           code == CODE_NOMODSEQ;
}

/* A code with arguments that are rewritten, or no code. */
static enum view_gives untagged_code(struct view_rewrite *w, const struct imap_resp *resp, struct span line,
                                     enum view_code code, struct buf *out)
{
    struct buf args = {0};
    const char *name = NULL;

    if (code == CODE_COPYUID && code_args(w, view_command_with(w, MOVES), resp, code, &args))
        name = "COPYUID";
    else if (code == CODE_HIGHESTMODSEQ && highest_args(w, resp->code, &args))
        name = "HIGHESTMODSEQ";
    if (name)
        with_code(line, resp, name, buf_span(&args), out);
    else if (resp->status != STATUS_OK)
        without_code(line, resp, out);
    buf_free(&args);
    /* An OK is all about its code. */
    return name || resp->status != STATUS_OK ? VIEW_LINES : VIEW_NOTHING;
}

/* A command of ours is under way. */
static bool asks(const struct view_rewrite *w)
{
    const struct view_command *c;

    TAILQ_FOREACH(c, &w->commands, link)
    if (view_resync_asks(c))
        return true;
    return false;
}

enum view_gives view_untagged_status(struct view_rewrite *w, const struct imap_resp *resp, struct span line,
                                     struct buf *out, const char **wrong)
{
    enum view_code code = view_code_of(resp->code);
    struct view_command *opens = view_opening(w);

    if (resp->code.len == 0 || code == CODE_SAME)
        return VIEW_SAME;
    if (opens && code == CODE_CLOSED)
        opening_anew(opens);
    if (code == CODE_CLOSED)
        return VIEW_SAME;
    if (code == CODE_INPROGRESS)
        return asks(w) ? VIEW_NOTHING : VIEW_SAME;
    if (opens && is_number(code)) {
        opening_number(opens, code, resp->code);
        return VIEW_NOTHING;
    }
    if (code == CODE_NOMODSEQ) {
        w->open.modseqs = false;
        return w->open.is ? VIEW_SAME : VIEW_NOTHING;
    }
    if (code == CODE_UIDVALIDITY || code == CODE_UIDNEXT)
        return untagged_number(w, resp, line, code, out, wrong);
    return untagged_code(w, resp, line, code, out);
}
