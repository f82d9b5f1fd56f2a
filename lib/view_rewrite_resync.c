/* A client that asks what has vanished (QRESYNC, RFC 7162 3.2), and our own commands that find it out.
 *
 * No QRESYNC parameter goes to the backend: which messages a client knows is told in its UIDs, under the
 * UIDVALIDITY that it was shown, and by a MODSEQ that may be of before the flip. So the mailbox is opened
 * without, and then we ask:
 *
 *   a MODSEQ of now    UID FETCH set (FLAGS) (CHANGEDSINCE n VANISHED): the backend knows
 *   one of before      UID SEARCH: what is there of the set; the rest of it has VANISHED. The backend must
 *                      not be asked for that: UIDs that clients know and that it never had are in none of its
 *                      lists. Then UID FETCH, of all that is there
 *
 * The same is done for a UID FETCH with VANISHED and a MODSEQ of before. The client hears VANISHED before
 * any FETCH, since a client that still counts what is gone takes its number for another message's: what the
 * server tells by itself while it searches comes behind that, unless something else vanishes meanwhile, which
 * would change its numbers, or it becomes too much to keep. Never is a UID named as vanished that is there, and none above UIDNEXT: a client that is told
 * of 1:4294967295 may try to count it. A set is never "1:*", which Cyrus takes for 1 to the last that is
 * there. */
#include <inttypes.h>
#include <stdlib.h>

#include "view_rewrite_priv.h"
#include "xalloc.h"

enum {
    SET_BYTES = 7000,    /* of a set in one of our commands */
    JOINED_RANGES = 300, /* of a set that has to be in one command: others are asked for with it */
    /* Of a line of VANISHED. Servers write it in one, however long, and clients have overlooked a second. */
    LINE_BYTES = 1024 * 1024,
    RANGES_MAX = 500000, /* of what is there */
    LATER_BYTES = 64 * 1024,
};

enum resync_does { RESYNC_NOTHING, RESYNC_SEARCHES, RESYNC_FETCHES, RESYNC_CHANGES };

struct view_resync {
    enum resync_does does;   /* what is under way, or is to be asked next */
    uint32_t uidvalidity;    /* SELECT: which the client knows */
    uint64_t client_modseq;  /* SELECT: as the client has it ... */
    uint64_t modseq;         /* ... RESYNC_CHANGES: as the backend does */
    bool known;              /* SELECT: the client has said which UIDs it knows */
    struct imap_seq client;  /* of which it asks, in its UIDs; owned */
    struct imap_seq backend; /* the same at the backend; owned */
    bool star;               /* and its last message */
    bool answered;           /* RESYNC_SEARCHES: something was said of ... */
    struct imap_seq
        there;        /* ... what is there of them, in the client's UIDs; sorted behind the answer; owned */
    size_t next;      /* RESYNC_FETCHES: the first range that was not asked for yet */
    char *items;      /* ... and what for, with what follows the items; owned */
    char *tag;        /* the client's; owned */
    struct buf held;  /* SELECT: its tagged line, with its CRLF */
    struct buf later; /* RESYNC_SEARCHES: lines of FETCH that wait for VANISHED */
};

void view_resync_free(struct view_resync **rp)
{
    struct view_resync *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    imap_seq_free(&r->client);
    imap_seq_free(&r->backend);
    imap_seq_free(&r->there);
    free(r->items);
    free(r->tag);
    buf_free(&r->held);
    buf_free(&r->later);
    free(r);
}

bool view_resync_asks(const struct view_command *c)
{
    return c->resync && c->resync->does != RESYNC_NOTHING;
}

static const struct view_command *searching(const struct view_rewrite *w)
{
    const struct view_command *c;

    TAILQ_FOREACH(c, &w->commands, link)
    if (c->resync && c->resync->does == RESYNC_SEARCHES)
        return c;
    return NULL;
}

/* ---- VANISHED ---- */

void view_vanished_begin(struct view_vanished *v, bool earlier, struct buf *out)
{
    *v = (struct view_vanished){.out = out, .earlier = earlier};
}

static void vanished_end_line(struct view_vanished *v)
{
    if (v->line)
        buf_add_str(v->out, "\r\n");
    v->line = 0;
}

void view_vanished_add(struct view_vanished *v, uint32_t first, uint32_t last)
{
    if (v->line && v->out->len - v->begin > LINE_BYTES)
        vanished_end_line(v);
    if (!v->line) {
        v->begin = v->out->len;
        buf_add_str(v->out, v->earlier ? "* VANISHED (EARLIER) " : "* VANISHED ");
    }
    buf_printf(v->out, v->line++ ? ",%" PRIu32 : "%" PRIu32, first);
    if (last > first)
        buf_printf(v->out, ":%" PRIu32, last);
    v->any = true;
}

bool view_vanished_end(struct view_vanished *v)
{
    vanished_end_line(v);
    return v->any;
}

/* UIDs above it no client can know. */
static uint32_t last_known(const struct view_rewrite *w, const struct view_resync *r)
{
    uint32_t found = r->there.n ? r->there.ranges[r->there.n - 1].last : 0;
    bool open_ended = r->client.n && r->client.ranges[r->client.n - 1].last == UINT32_MAX;

    if (!w->open.uidnext)
        return open_ended ? found : UINT32_MAX;
    return found < w->open.uidnext ? w->open.uidnext - 1 : found;
}

/* All that was asked for, without what is there. Both are sorted. */
static void write_vanished(const struct view_rewrite *w, const struct view_resync *r, struct buf *out)
{
    struct view_vanished v;
    uint64_t cap = last_known(w, r);
    size_t k = 0;

    view_vanished_begin(&v, true, out);
    for (size_t i = 0; i < r->client.n; i++) {
        uint64_t at = r->client.ranges[i].first, last = r->client.ranges[i].last;
        last = last < cap ? last : cap;
        while (at <= last) {
            while (k < r->there.n && r->there.ranges[k].last < at)
                k++;
            uint64_t next = k < r->there.n ? r->there.ranges[k].first : UINT64_MAX;
            if (at < next)
                view_vanished_add(&v, (uint32_t)at, (uint32_t)(next <= last ? next - 1 : last));
            at = next <= last ? (uint64_t)r->there.ranges[k].last + 1 : last + 1;
        }
    }
    (void)!view_vanished_end(&v);
}

/* ---- what is asked ---- */

static void set_of_backend(const struct view_rewrite *w, struct view_resync *r)
{
    imap_seq_free(&r->backend);
    if (w->open.map)
        view_uid_set_to_backend(w->open.map, &r->client, &r->backend);
    else
        imap_seq_join(&r->backend, &r->client);
}

static void write_star(const struct view_resync *r, bool any, struct buf *out)
{
    if (r->star)
        buf_add_str(out, any ? ",*" : "*");
}

/* All of it in one command. */
static void write_whole_set(const struct view_resync *r, struct buf *out)
{
    struct imap_seq joined = {0};

    imap_seq_coarsen(&r->backend, JOINED_RANGES, &joined);
    imap_seq_write(out, &joined);
    write_star(r, joined.n > 0, out);
    imap_seq_free(&joined);
}

/* The next part of it. */
static void write_next_set(const struct view_resync *r, struct buf *out, size_t *_next)
{
    size_t begin = out->len, i = r->next;

    for (; i < r->backend.n && out->len - begin < SET_BYTES; i++) {
        struct imap_range a = r->backend.ranges[i];
        buf_printf(out, "%s%" PRIu32, i > r->next ? "," : "", a.first);
        if (a.last > a.first)
            buf_printf(out, ":%" PRIu32, a.last);
    }
    if (i == r->backend.n)
        write_star(r, i > r->next, out);
    *_next = i;
}

static void write_search(const struct view_rewrite *w, const struct view_resync *r, struct buf *out)
{
    buf_add_str(out, w->esearch ? "UID SEARCH RETURN (ALL) UID " : "UID SEARCH UID ");
    write_whole_set(r, out);
}

void view_rewrite_ask(struct view_rewrite *w, const struct view_command *c, struct buf *out)
{
    struct view_resync *r = c->resync;

    if (!r) {
        view_listing_ask(c->list, out);
        return;
    }
    switch (r->does) {
    case RESYNC_SEARCHES:
        write_search(w, r, out);
        break;
    case RESYNC_FETCHES:
        buf_add_str(out, "UID FETCH ");
        write_next_set(r, out, &r->next);
        buf_printf(out, " %s", r->items);
        break;
    case RESYNC_CHANGES:
        buf_add_str(out, "UID FETCH ");
        write_whole_set(r, out);
        buf_printf(out, " (FLAGS) (CHANGEDSINCE %" PRIu64 " VANISHED)", r->modseq);
        break;
    case RESYNC_NOTHING:
        break;
    }
}

/* ---- what was found ---- */

static bool found_wrong(const char **wrong, const char *text)
{
    *wrong = text;
    return false;
}

static bool found_set(const struct view_rewrite *w, struct view_resync *r, struct span text,
                      const char **wrong)
{
    struct imap_seq found = {0}, client = {0};
    bool ok = imap_seq_parse(&found, text, 0, RANGES_MAX);

    if (ok && w->open.map)
        ok = view_uid_set_to_client(w->open.map, &found, RANGES_MAX, &client);
    const struct imap_seq *add = w->open.map ? &client : &found;
    for (size_t i = 0; ok && i < add->n; i++)
        imap_seq_push(&r->there, add->ranges[i].first, add->ranges[i].last);
    imap_seq_free(&found);
    imap_seq_free(&client);
    return ok && r->there.n <= RANGES_MAX ? true : found_wrong(wrong, "UIDs that can't be read");
}

/* "(TAG "x") UID ALL set"; without ALL nothing was found. */
static bool found_esearch(const struct view_rewrite *w, struct view_resync *r, struct span part, size_t at,
                          const char **wrong)
{
    struct span rest;

    if (!view_esearch_head(part, at, &rest))
        return rest.len == 0 || found_wrong(wrong, "numbers of messages in place of UIDs");
    while (rest.len) {
        struct span item = view_cut_word(&rest), value = view_cut_word(&rest);
        if (span_is_ci(item, "ALL") && !found_set(w, r, value, wrong))
            return false;
    }
    return true;
}

/* One word after the other: it may be a long line. */
static bool found_search(const struct view_rewrite *w, struct view_resync *r, struct span part, size_t at,
                         const char **wrong)
{
    struct span rest = span_of(part.p + at, part.len - at);
    size_t near = 0;

    while (rest.len) {
        struct span word = view_cut_word(&rest);
        uint32_t uid, client;
        if (word.len == 0)
            break;
        if (word.p[0] == '(')
            return true; /* (MODSEQ n) */
        if (!span_u32(word, &uid) || uid == 0)
            return found_wrong(wrong, "UIDs that can't be read");
        client = uid;
        if (w->open.map && !view_uid_to_client_near(w->open.map, uid, &near, &client))
            continue; /* it is no message of the client's */
        imap_seq_push(&r->there, client, client);
        if (r->there.n > RANGES_MAX)
            return found_wrong(wrong, "too many UIDs");
    }
    return true;
}

enum view_gives view_resync_data(struct view_rewrite *w, enum view_data data, const struct imap_resp *resp,
                                 struct span part, bool literal, const char **wrong)
{
    const struct view_command *c = searching(w);
    bool found = data == DATA_FOUND && span_is_ci(resp->word, "SEARCH"), ok;

    if (!c || !(found || data == DATA_ESEARCH))
        return VIEW_SAME;
    if (literal)
        ok = found_wrong(wrong, "a literal among numbers");
    else if (found)
        ok = found_search(w, c->resync, part, resp->rest, wrong);
    else
        ok = found_esearch(w, c->resync, part, resp->rest, wrong);
    c->resync->answered = true;
    return ok ? VIEW_NOTHING : VIEW_WRONG;
}

/* ---- what the server tells by itself meanwhile ---- */

bool view_resync_keeps(const struct view_rewrite *w)
{
    return searching(w) != NULL;
}

static void later_is_told(struct view_resync *r, struct buf *out)
{
    buf_add_span(out, buf_span(&r->later));
    buf_free(&r->later);
}

enum view_gives view_resync_later(struct view_rewrite *w, enum view_data data, struct span part, bool literal,
                                  enum view_gives gives, struct buf *out)
{
    const struct view_command *c = searching(w);

    if (!c || (gives != VIEW_SAME && gives != VIEW_LINES))
        return gives;
    struct buf *later = &c->resync->later;
    bool waits = data == DATA_FETCH && !literal && later->len + out->len + part.len < LATER_BYTES;
    if (!waits && later->len == 0)
        return gives;
    if (gives == VIEW_LINES)
        buf_add_span(later, buf_span(out));
    else
        view_write_line(later, part);
    buf_clear(out);
    if (waits) {
        w->rest = REST_NOTHING;
        return VIEW_NOTHING;
    }
    later_is_told(c->resync, out);
    return VIEW_LINES;
}

/* ---- the turns ---- */

/* What the client is told at last. */
static void finish(struct view_rewrite *w, struct view_command *c, const struct imap_resp *resp,
                   struct span line, struct buf *out)
{
    struct view_resync *r = c->resync;
    struct buf text = {0};

    if (r->held.len) {
        buf_add_span(out, buf_span(&r->held));
        return;
    }
    if (view_rewrite_code(w, c, resp, line, &text) == VIEW_SAME)
        view_write_line(&text, line);
    buf_add_str(out, r->tag);
    buf_add(out, text.mem + text.off + resp->tag.len, text.len - resp->tag.len);
    buf_free(&text);
}

/* The half of an answer must not pass for all of it. */
static void failed(struct view_rewrite *w, struct view_command *c, const struct imap_resp *resp,
                   struct span line, struct buf *out)
{
    struct view_resync *r = c->resync;

    if (r->held.len == 0)
        later_is_told(r, out);
    if (r->held.len == 0 && resp->status != STATUS_OK) {
        finish(w, c, resp, line, out);
        return;
    }
    if (r->held.len) {
        view_rewrite_close(w);
        w->open.barred = true;
    }
    buf_printf(out, "%s NO [UNAVAILABLE] What has changed can't be told at the moment\r\n", r->tag);
}

/* An OK that says nothing of what is there would make all of it vanish. A NO [EXPUNGEISSUED] (RFC 5530): what
 * is still there was told; the rest is told as expunged. */
static bool is_good(const struct view_resync *r, const struct imap_resp *resp)
{
    if (r->does == RESYNC_SEARCHES)
        return resp->status == STATUS_OK && r->answered;
    return resp->status == STATUS_OK ||
           (resp->status == STATUS_NO && imap_code_is(resp->code, "EXPUNGEISSUED", NULL));
}

/* True: there is more to ask. */
static bool turn(struct view_rewrite *w, struct view_resync *r, struct buf *out)
{
    if (r->does == RESYNC_SEARCHES) {
        write_vanished(w, r, out);
        later_is_told(r, out);
        if (r->there.n == 0)
            return false;
        r->does = RESYNC_FETCHES;
        return true;
    }
    return r->does == RESYNC_FETCHES && r->next < r->backend.n;
}

enum view_gives view_resync_answered(struct view_rewrite *w, struct view_command *c,
                                     const struct imap_resp *resp, struct span line, struct buf *out)
{
    struct view_resync *r = c->resync;

    if (r->does == RESYNC_SEARCHES)
        imap_seq_sort(&r->there);
    if (!is_good(r, resp)) {
        failed(w, c, resp, line, out);
        return VIEW_LINES;
    }
    if (turn(w, r, out))
        return VIEW_ASK;
    finish(w, c, resp, line, out);
    return VIEW_LINES;
}

enum view_gives view_rewrite_asked(struct view_rewrite *w, struct view_command **c,
                                   const struct imap_resp *resp, struct span line, struct buf *out)
{
    enum view_gives gives = VIEW_LINES;

    if ((*c)->resync)
        gives = view_resync_answered(w, *c, resp, line, out);
    else
        view_listing_answered((*c)->list,
                              out); /* whatever the answer: a LIST does without STATUS (RFC 5819 2) */
    if (gives != VIEW_ASK)
        view_command_free(w, c);
    return gives;
}

/* ---- UID FETCH ---- */

/* A set with "*" or without, to *r. */
static bool read_set(struct view_resync *r, struct span text)
{
    r->star = text.len && memchr(text.p, '*', text.len);
    return imap_seq_parse(&r->client, text, UINT32_MAX, RANGES_MAX);
}

void view_resync_noop(struct view_rewrite *w, struct view_command *c, struct buf *out)
{
    if (c->resync)
        write_vanished(w, c->resync, out);
}

enum view_becomes view_resync_fetch(struct view_rewrite *w, const struct imap_cmd *cmd, struct span set,
                                    struct span items, struct buf *out, struct buf *answer,
                                    struct view_command **_c)
{
    struct view_resync *r = xcalloc(1, sizeof *r);

    if (!read_set(r, set)) {
        view_resync_free(&r);
        return view_answer(answer, cmd, "BAD Invalid message set");
    }
    struct view_command *c = *_c = view_command_new(w, cmd->verb);
    c->resync = r;
    c->alone = true;
    r->tag = xstrdup(cmd->tag);
    r->items = xspandup(items);
    set_of_backend(w, r);
    if (r->backend.n == 0 && !r->star) {
        c->noop = true;
        return VIEW_NOOP;
    }
    r->does = RESYNC_SEARCHES;
    buf_printf(out, "%s ", cmd->tag);
    write_search(w, r, out);
    return VIEW_WRITTEN;
}

/* ---- SELECT ---- */

/* Known UIDs, of which "*" is none. */
static bool is_set(const struct imap_value *v, struct imap_seq *out)
{
    return v && v->kind == IMAP_ATOM && imap_seq_parse(out, v->text, 0, RANGES_MAX);
}

/* (known-sequence-set known-uid-set), which tells a server that keeps no list of its expunges from where on
 * to look. We look at all. */
static bool is_match_data(const struct imap_value *v)
{
    struct imap_seq numbers = {0}, uids = {0};
    const struct imap_value *first = v->first;
    bool ok = first && first->next && !first->next->next && is_set(first, &numbers) &&
              is_set(first->next, &uids) && imap_seq_count(&numbers) == imap_seq_count(&uids);

    imap_seq_free(&numbers);
    imap_seq_free(&uids);
    return ok;
}

/* (uidvalidity modseq [known-uids] [match data]). NULL: it is good, else the text of a BAD. */
static const char *read_qresync(const struct imap_value *list, struct view_resync *r)
{
    const struct imap_value *v = list && list->kind == IMAP_LIST ? list->first : NULL;

    if (!v || !imap_value_u32(v, &r->uidvalidity) || r->uidvalidity == 0)
        return "BAD QRESYNC: a UIDVALIDITY from 1 to 4294967295 is expected";
    v = v->next;
    if (!v || !imap_value_u64(v, &r->client_modseq) || r->client_modseq > VIEW_MODSEQ_MAX)
        return "BAD QRESYNC: a MODSEQ from 0 to 9223372036854775807 is expected";
    v = v->next;
    if (v && v->kind != IMAP_LIST) {
        if (!is_set(v, &r->client))
            return "BAD QRESYNC: a set of known UIDs without * is expected";
        r->known = true;
        v = v->next;
    }
    if (v && (v->kind != IMAP_LIST || !is_match_data(v)))
        return "BAD QRESYNC: (known numbers, as many known UIDs) is expected";
    return v && v->next ? "BAD QRESYNC: nothing more is expected" : NULL;
}

/* The list of a SELECT. NULL: it is good. */
static const char *read_parameters(const struct view_rewrite *w, const struct imap_value *list,
                                   struct view_resync **_r)
{
    for (const struct imap_value *v = list->first; v; v = v->next) {
        if (imap_value_is(v, "CONDSTORE"))
            continue;
        if (!imap_value_is(v, "QRESYNC") || *_r)
            return "BAD CONDSTORE or one QRESYNC is expected";
        if (!w->qresync)
            return "BAD QRESYNC needs ENABLE QRESYNC first";
        *_r = xcalloc(1, sizeof **_r);
        const char *bad = read_qresync(v->next, *_r);
        if (bad)
            return bad;
        v = v->next;
    }
    return list->first ? NULL : "BAD A parameter is expected";
}

const char *view_resync_select(const struct view_rewrite *w, const struct imap_value *args,
                               struct view_resync **_r)
{
    const struct imap_value *list = args ? args->next : NULL;

    *_r = NULL;
    if (!list)
        return NULL;
    if (list->kind != IMAP_LIST || list->next)
        return "BAD A list of parameters is expected";
    const char *bad = read_parameters(w, list, _r);
    if (bad)
        view_resync_free(_r);
    return bad;
}

/* What the client knows is of this mailbox, and what has happened to that can be told. */
static bool resync_applies(const struct view_rewrite *w, struct view_resync *r)
{
    return r && w->open.modseqs && w->open.highest && r->uidvalidity == w->open.uidvalidity;
}

static void known_uids(const struct view_rewrite *w, struct view_resync *r)
{
    if (!r->known)
        imap_seq_add(&r->client, 1, UINT32_MAX);
    set_of_backend(w, r);
}

enum view_gives view_resync_begin(struct view_rewrite *w, struct view_command *c,
                                  const struct imap_resp *resp, struct buf *tagged, struct buf *out)
{
    struct view_resync *r = c->resync;

    if (!resync_applies(w, r)) {
        buf_add_span(out, buf_span(tagged));
        return VIEW_LINES;
    }
    known_uids(w, r);
    enum view_modseq is = view_modseq_of(w, r->client_modseq, &r->modseq);
    if (r->client_modseq > w->open.highest)
        is = MODSEQ_OLD; /* a server that has lost its MODSEQs: it would find nothing changed */
    if (r->backend.n == 0) {
        if (is == MODSEQ_OLD)
            write_vanished(w, r, out);
        buf_add_span(out, buf_span(tagged));
        return VIEW_LINES;
    }
    r->does = is == MODSEQ_OLD ? RESYNC_SEARCHES : RESYNC_CHANGES;
    r->tag = xspandup(resp->tag);
    r->items = xstrdup("(FLAGS MODSEQ)");
    buf_add_span(&r->held, buf_span(tagged));
    return VIEW_ASK;
}
