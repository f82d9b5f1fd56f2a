#include <stdlib.h>

#include "view_rewrite_priv.h"
#include "xalloc.h"

/* A UID that no message has: a server that gave it out could give out none behind it. */
static const char NO_UID[] = "4294967295";

/* ---- life ---- */

struct view_rewrite *view_rewrite_new(struct view *v)
{
    struct view_rewrite *w = xcalloc(1, sizeof *w);

    w->view = view_ref(v);
    TAILQ_INIT(&w->commands);
    return w;
}

void view_rewrite_close(struct view_rewrite *w)
{
    view_unref(&w->open.view);
    memset(&w->open, 0, sizeof w->open);
}

void view_rewrite_unknown(struct view_rewrite *w, const struct view_unknown *unknown)
{
    w->unknown = *unknown;
}

void view_rewrite_shown(struct view_rewrite *w, struct span client, uint32_t uidvalidity)
{
    if (uidvalidity > w->unrecorded && !view_record_of(w->view, client))
        w->unrecorded = uidvalidity;
}

void view_rewrite_free(struct view_rewrite **wp)
{
    struct view_rewrite *w = *wp;

    *wp = NULL;
    if (!w)
        return;
    for (struct view_command *c; (c = TAILQ_FIRST(&w->commands));)
        view_command_free(w, &c);
    view_rewrite_close(w);
    view_unref(&w->view);
    free(w);
}

void view_rewrite_use(struct view_rewrite *w, struct view *v)
{
    struct view *was = w->view;

    w->view = view_ref(v);
    view_unref(&was);
}

struct view *view_rewrite_view(const struct view_rewrite *w)
{
    return w->view;
}

void view_rewrite_open(struct view_rewrite *w, const struct view_sight *sight, uint32_t real)
{
    view_rewrite_close(w);
    w->open.is = true;
    w->open.view = view_ref(w->view);
    w->open.map = sight->map;
    w->open.uidvalidity = sight->uidvalidity;
    w->open.real = real;
    w->open.floor = sight->modseq_floor;
    w->open.shift = sight->modseq_shift;
    w->open.modseqs = sight->modseqs;
}

void view_rewrite_selected(struct view_rewrite *w, struct span client_name, const struct view_sight *sight)
{
    const struct view_record *r = view_record_of(w->view, client_name);

    view_rewrite_open(w, sight, r ? r->target_uidvalidity : sight->uidvalidity);
    if (!view_uidnext(sight->map, sight->uidnext, &w->open.uidnext))
        w->open.uidnext = 0;
}

void view_rewrite_enabled(struct view_rewrite *w, bool qresync, bool esearch)
{
    w->qresync = qresync;
    w->esearch = esearch;
}

bool view_rewrite_is_open(const struct view_rewrite *w)
{
    return w->open.is;
}

struct view_command *view_command_new(struct view_rewrite *w, enum imap_verb verb)
{
    struct view_command *c = xcalloc(1, sizeof *c);

    c->verb = verb;
    TAILQ_INSERT_TAIL(&w->commands, c, link);
    return c;
}

void view_command_free(struct view_rewrite *w, struct view_command **cp)
{
    struct view_command *c = *cp;

    *cp = NULL;
    if (!c)
        return;
    TAILQ_REMOVE(&w->commands, c, link);
    free(c->name);
    free(c->backend);
    view_listing_free(&c->list);
    view_changes_free(&c->begun);
    view_changes_free(&c->voids);
    view_resync_free(&c->resync);
    buf_free(&c->kept);
    free(c);
}

struct view_command *view_command_with(const struct view_rewrite *w, unsigned flags)
{
    struct view_command *c;

    TAILQ_FOREACH(c, &w->commands, link)
    if (view_verbs[c->verb].flags & flags)
        return c;
    return NULL;
}

struct view_command *view_opening(const struct view_rewrite *w)
{
    struct view_command *c = view_command_with(w, OPENS);

    return c && !view_resync_asks(c) ? c : NULL;
}

const struct view_changes *view_command_changes(const struct view_command *c)
{
    return c && c->begun.n ? &c->begun : NULL;
}

bool view_command_does_without(const struct view_command *c)
{
    bool graves = true;

    for (size_t i = 0; i < c->begun.n; i++)
        graves = graves && !c->begun.items[i].was;
    return graves || c->verb == VERB_DELETE;
}

void view_command_drop_changes(struct view_command *c)
{
    view_changes_free(&c->begun);
}

/* ---- writing ---- */

void view_write_value(struct imap_writer *out, const struct imap_value *v)
{
    const char *blank = "";

    switch (v->kind) {
    case IMAP_ATOM:
        buf_add_span(&out->out, v->text);
        break;
    case IMAP_QUOTED:
    case IMAP_LITERAL:
        imap_write_string(out, v->text);
        break;
    case IMAP_LIST:
        buf_add_str(&out->out, "(");
        for (const struct imap_value *e = v->first; e; e = e->next, blank = " ") {
            buf_add_str(&out->out, blank);
            view_write_value(out, e);
        }
        buf_add_str(&out->out, ")");
        break;
    case IMAP_STREAMED:
        out->bad = true;
    }
}

void view_write_line(struct buf *out, struct span line)
{
    buf_add_span(out, line);
    buf_add_str(out, "\r\n");
}

void view_write_name(struct buf *out, struct span name)
{
    struct imap_writer w;

    imap_writer_init(&w, LITERALS_SYNC);
    imap_write_astring(&w, name);
    buf_add_span(out, buf_span(&w.out));
    imap_writer_wipe(&w);
}

enum view_becomes view_answer(struct buf *answer, const struct imap_cmd *cmd, const char *text)
{
    buf_printf(answer, "%s %s\r\n", cmd->tag, text);
    return VIEW_ANSWERED;
}

static enum view_becomes answer_no_name(struct buf *answer, const struct imap_cmd *cmd)
{
    return view_answer(answer, cmd, VIEW_NO_NAME);
}

static enum view_becomes answer_bad_set(struct buf *answer, const struct imap_cmd *cmd)
{
    return view_answer(answer, cmd, "BAD Invalid message set");
}

/* ---- commands ---- */

/* The UIDs of the mailbox that is open are other ones at the backend. */
static bool rewrite_maps(const struct view_rewrite *w)
{
    return w->open.is && w->open.map;
}

enum view_takes view_rewrite_takes(const struct view_rewrite *w, const struct imap_cmd *cmd, struct span part)
{
    const struct view_verb *row = &view_verbs[cmd->verb];

    if (view_is_joined(w, cmd, part))
        return VIEW_JOINED;
    if (!w->open.is && (row->flags & NEEDS_OPEN) && row->takes == VIEW_AS_IS)
        return VIEW_BY_PART; /* to be refused */
    return row->takes;
}

/* The client has no mailbox open: its UIDs are those of none. Whatever the backend has open, behind a SELECT
 * that failed too, the command must not reach it; a CLOSE neither, which would remove messages. */
static bool lacks_mailbox(const struct view_rewrite *w, const struct imap_cmd *cmd)
{
    return !w->open.is && (view_verbs[cmd->verb].flags & NEEDS_OPEN);
}

static bool has_uid_form(enum imap_verb verb)
{
    return imap_verbs[verb].flags & VERB_HAS_UID;
}

/* One is under way behind which nothing may be. */
static bool is_alone(const struct view_rewrite *w)
{
    const struct view_command *c;

    TAILQ_FOREACH(c, &w->commands, link)
    if (c->alone || (view_verbs[c->verb].flags & ALONE))
        return true;
    return false;
}

bool view_rewrite_waits(const struct view_rewrite *w, const struct imap_cmd *cmd, struct span part)
{
    unsigned flags = view_verbs[cmd->verb].flags;
    const struct view_command *c;

    if ((flags & ALONE) || is_alone(w) || view_is_resync(w, cmd, part))
        return true;
    if (flags & MOVES)
        return view_command_with(w, MOVES) != NULL;
    TAILQ_FOREACH(c, &w->commands, link)
    {
        unsigned under_way = view_verbs[c->verb].flags;
        if ((flags & under_way & FINDS) && has_uid_form(c->verb) != has_uid_form(cmd->verb))
            return true;
        bool lists = (flags | under_way) & LISTS, status = cmd->verb == VERB_STATUS || c->verb == VERB_STATUS;
        if (!view_names_alike(w->view) && lists && ((flags & under_way & LISTS) || status))
            return true;
    }
    return false;
}

/* What stands before the arguments. */
static void write_head(struct buf *out, const struct imap_cmd *cmd)
{
    buf_printf(out, "%s %s", cmd->tag, imap_verbs[cmd->verb].name);
}

/* The first part, with its set of UIDs. */
static enum view_becomes rewrite_set(struct view_rewrite *w, const struct imap_cmd *cmd, struct span part,
                                     struct buf *out, struct buf *answer, struct view_command **_c)
{
    size_t begin = cmd->args < part.len ? cmd->args : part.len, end;
    bool literal = part.len > 0 && part.p[part.len - 1] == '}';

    while (begin < part.len && part.p[begin] == ' ')
        begin++;
    for (end = begin; end < part.len && part.p[end] != ' ';)
        end++;
    buf_add(out, part.p, begin);
    enum view_set is = view_set_to_backend(w->open.map, span_of(part.p + begin, end - begin), out);
    if (is == SET_BAD) {
        view_command_free(w, _c);
        return answer_bad_set(answer, cmd);
    }
    if (is == SET_EMPTY && !literal) {
        if (!*_c)
            *_c = view_command_new(w, cmd->verb);
        (*_c)->noop = true;
        return VIEW_NOOP;
    }
    if (is == SET_EMPTY) /* more of the command follows */
        buf_add_str(out, NO_UID);
    buf_add(out, part.p + end, part.len - end);
    return VIEW_WRITTEN;
}

static enum view_becomes rewrite_keys(struct view_rewrite *w, const struct imap_cmd *cmd, struct span part,
                                      bool first, struct buf *out, struct buf *answer,
                                      struct view_command **_c)
{
    const char *bad = "BAD Too late";

    if (first)
        *_c = view_command_new(w, cmd->verb);
    if (*_c && view_keys_to_backend(w, *_c, cmd, part, first, out, &bad))
        return VIEW_WRITTEN;
    view_command_free(w, _c); /* NULL: it was answered before it was whole */
    return view_answer(answer, cmd, bad);
}

/* The first part, whose set is in the client's UIDs; *_c may be set. */
static enum view_becomes rewrite_uids(struct view_rewrite *w, const struct imap_cmd *cmd, struct span part,
                                      struct buf *out, struct buf *answer, struct view_command **_c)
{
    if (cmd->verb == VERB_UID_STORE && !*_c)
        *_c = view_command_new(w, cmd->verb); /* its answer may say which were MODIFIED */
    return rewrite_set(w, cmd, part, out, answer, _c);
}

/* A part with conditions, a set of UIDs, or both. */
static enum view_becomes rewrite_message_part(struct view_rewrite *w, const struct imap_cmd *cmd,
                                              struct span part, bool first, struct buf *out,
                                              struct buf *answer, struct view_command **_c)
{
    struct buf changed = {0};
    enum view_becomes is = view_conditions(w, cmd, part, first, &changed, answer, _c);
    bool uids = first && w->open.map && (view_verbs[cmd->verb].flags & TAKES_UIDS);

    if (is == VIEW_ANSWERED)
        view_command_free(w, _c);
    if (is == VIEW_WRITTEN)
        part = buf_span(&changed);
    if (uids && (is == VIEW_PASSES || is == VIEW_WRITTEN) && !(*_c && (*_c)->resync))
        is = rewrite_uids(w, cmd, part, out, answer, _c);
    else if (is == VIEW_WRITTEN)
        buf_add_span(out, part);
    buf_free(&changed);
    return is;
}

enum view_becomes view_rewrite_part(struct view_rewrite *w, const struct imap_cmd *cmd, struct span part,
                                    bool first, struct buf *out, struct buf *answer, struct view_command **_c)
{
    unsigned flags = view_verbs[cmd->verb].flags;

    if (first)
        *_c = NULL;
    if (first && lacks_mailbox(w, cmd))
        return view_answer(answer, cmd, "BAD No mailbox selected");
    if (first && (flags & ALONE))
        *_c = view_command_new(w, cmd->verb);
    if (!w->open.is || !(w->open.map || view_conditions_matter(w)))
        return VIEW_PASSES;
    if (flags & TAKES_KEYS)
        return rewrite_keys(w, cmd, part, first, out, answer, _c);
    return rewrite_message_part(w, cmd, part, first, out, answer, _c);
}

enum view_becomes view_rewrite_name(struct view_rewrite *w, const struct imap_cmd *cmd, struct span name,
                                    struct imap_writer *out, struct buf *answer, struct view_command **_c)
{
    struct buf backend = {0};
    bool server = name.len == 0 && cmd->verb == VERB_SETMETADATA; /* RFC 5464 4.3: of the server */

    *_c = NULL;
    if (!server && !view_backend_name(w->view, name, &backend))
        return answer_no_name(answer, cmd);
    write_head(&out->out, cmd);
    buf_add_str(&out->out, " ");
    imap_write_astring(out, buf_span(&backend));
    buf_free(&backend);
    if (cmd->verb == VERB_APPEND) {
        *_c = view_command_new(w, cmd->verb);
        (*_c)->name = xspandup(name);
    }
    return VIEW_WRITTEN;
}

/* ---- commands that are collected ---- */

bool view_rewrite_join(struct buf *line, struct span literal)
{
    struct imap_writer out;
    bool word = literal.len > 0;

    for (size_t i = 0; word && i < literal.len; i++) {
        uint8_t c = literal.p[i];
        word = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    }
    imap_writer_init(&out, LITERALS_SYNC);
    if (word)
        buf_add_span(&out.out, literal);
    else
        imap_write_quoted(&out, literal);
    bool good = !out.bad;
    if (good)
        buf_add_span(line, buf_span(&out.out));
    imap_writer_wipe(&out);
    return good;
}

bool view_write_status_items(struct imap_writer *out, const struct imap_value *list)
{
    bool needs = false, uidvalidity = false;
    const char *blank = "";

    for (const struct imap_value *e = list->first; e; e = e->next) {
        needs |= imap_value_is(e, "UIDNEXT") || imap_value_is(e, "HIGHESTMODSEQ");
        uidvalidity |= imap_value_is(e, "UIDVALIDITY");
    }
    buf_add_str(&out->out, "(");
    for (const struct imap_value *e = list->first; e; e = e->next, blank = " ") {
        buf_add_str(&out->out, blank);
        view_write_value(out, e);
    }
    buf_add_str(&out->out, needs && !uidvalidity ? " UIDVALIDITY)" : ")");
    return needs && !uidvalidity;
}

enum { NAMES_MAX = 2 };

/* A command that was collected. */
struct whole {
    struct view_rewrite *w;
    const struct imap_cmd *cmd;
    struct span names[NAMES_MAX]; /* the client's; borrowed */
    struct buf backend[NAMES_MAX];
    size_t n;
    struct buf set;
    bool has_set;
    struct view_resync *resync; /* of a SELECT */
};

/* A CREATE whose name ends with the separator says that mailboxes will be below it (RFC 3501 6.3.3). */
static bool create_name(const struct view *v, struct span name, struct buf *out)
{
    char separator = view_client_separator(v), there = view_backend_separator(v);
    bool ends = separator && name.len > 1 && name.p[name.len - 1] == (uint8_t)separator;

    if (!view_backend_name(v, ends ? span_of(name.p, name.len - 1) : name, out))
        return false;
    buf_add(out, &there, ends && there ? 1 : 0);
    return true;
}

/* Is the i-th argument a name? */
static bool is_name(const struct whole *h, size_t i)
{
    return i < 8 && (view_verbs[h->cmd->verb].names >> i & 1);
}

/* GETMETADATA may have options before the name, and its name may be "" (RFC 5464). */
static const struct imap_value *first_argument(const struct imap_cmd *cmd, const struct imap_value *args)
{
    while (cmd->verb == VERB_GETMETADATA && args && args->kind == IMAP_LIST)
        args = args->next;
    return args;
}

/* Has each name that the verb takes been found? Else it would go to the backend as the client spells it. */
static bool has_its_names(const struct whole *h)
{
    return h->n == (size_t)__builtin_popcount(view_verbs[h->cmd->verb].names);
}

/* False: a name that no mailbox of the backend can have. */
static bool whole_names(struct whole *h, const struct imap_value *args)
{
    size_t i = 0;
    bool ok = true;

    for (const struct imap_value *v = first_argument(h->cmd, args); ok && v; v = v->next, i++) {
        struct span name;
        if (!is_name(h, i) || h->n == NAMES_MAX || !imap_value_string(v, &name))
            continue;
        struct buf *out = &h->backend[h->n];
        h->names[h->n++] = name;
        if (h->cmd->verb == VERB_GETMETADATA && name.len == 0)
            continue;
        ok = h->cmd->verb == VERB_CREATE ? create_name(h->w->view, name, out)
                                         : view_backend_name(h->w->view, name, out);
    }
    return ok;
}

static enum view_set whole_set(struct whole *h, const struct imap_value *args)
{
    if (!(view_verbs[h->cmd->verb].flags & TAKES_UIDS) || !rewrite_maps(h->w) || !args)
        return SET_GOOD;
    h->has_set = true;
    return args->kind == IMAP_ATOM ? view_set_to_backend(h->w->open.map, args->text, &h->set) : SET_BAD;
}

/* Does STATUS of this mailbox say more than was asked for? Its UIDNEXT and HIGHESTMODSEQ mean nothing without
 * UIDVALIDITY. */
static bool status_needs_more(const struct whole *h)
{
    const struct view_record *r = h->n ? view_record_of(h->w->view, h->names[0]) : NULL;

    return h->cmd->verb == VERB_STATUS && r && (r->tier == VIEW_T2 || r->modseqs);
}

static bool is_select(const struct whole *h)
{
    return view_verbs[h->cmd->verb].flags & OPENS;
}

/* True: UIDVALIDITY was added. */
static bool whole_write(const struct whole *h, const struct imap_value *args, struct imap_writer *out)
{
    const struct imap_value *first = first_argument(h->cmd, args);
    size_t i = 0, n = 0;
    bool counts = false, adds = false, more = status_needs_more(h);

    write_head(&out->out, h->cmd);
    for (const struct imap_value *v = args; v; v = v->next) {
        counts |= v == first;
        buf_add_str(&out->out, " ");
        if (h->has_set && v == args)
            buf_add_span(&out->out, buf_span(&h->set));
        else if (counts && is_name(h, i) && n < h->n && v->kind != IMAP_LIST)
            imap_write_astring(out, buf_span(&h->backend[n++]));
        else if (more && v->kind == IMAP_LIST)
            adds = view_write_status_items(out, v);
        else if (is_select(h) && v->kind == IMAP_LIST)
            buf_add_str(&out->out, "(CONDSTORE)"); /* QRESYNC is ours (view_rewrite_resync.c) */
        else
            view_write_value(out, v);
        i += counts;
    }
    return adds;
}

/* What has to be known of it when its answers come. */
static struct view_command *whole_command(struct whole *h)
{
    struct view_command *c;
    struct span name = h->n ? h->names[h->n - 1] : span_of(NULL, 0);
    struct view_unknown unknown = h->w->unknown;

    if (unknown.highest && unknown.highest < h->w->unrecorded)
        unknown.highest = h->w->unrecorded;

    switch (h->cmd->verb) {
    case VERB_SELECT:
    case VERB_EXAMINE:
    case VERB_STATUS:
    case VERB_COPY:
    case VERB_UID_COPY:
    case VERB_MOVE:
    case VERB_UID_MOVE:
        c = view_command_new(h->w, h->cmd->verb);
        c->name = xspandup(name);
        c->backend = xspandup(buf_span(&h->backend[h->n - 1]));
        c->resync = h->resync;
        h->resync = NULL;
        return c;
    case VERB_DELETE:
        c = view_command_new(h->w, h->cmd->verb);
        view_delete_begin(h->w->view, h->names[0], &unknown, &c->begun);
        return c;
    case VERB_RENAME:
        c = view_command_new(h->w, h->cmd->verb);
        view_rename_begin(h->w->view, h->names[0], h->names[1], &unknown, &c->begun);
        return c;
    default:
        return NULL;
    }
}

void view_rewrite_nowhere(struct view_rewrite *w, const struct imap_cmd *cmd, const char *answer,
                          struct imap_writer *out, struct view_command **_c)
{
    write_head(&out->out, cmd);
    buf_add_str(&out->out, " \"\"");
    *_c = view_command_new(w, cmd->verb);
    (*_c)->nowhere = answer;
}

static enum view_becomes rewrite_whole(struct whole *h, const struct imap_value *args,
                                       struct imap_writer *out, struct buf *answer, struct view_command **_c)
{
    bool named = whole_names(h, args);
    if (!named && !is_select(h))
        return answer_no_name(answer, h->cmd);
    if (!has_its_names(h))
        return view_answer(answer, h->cmd, "BAD Invalid arguments");
    const char *bad = is_select(h) ? view_resync_select(h->w, args, &h->resync) : NULL;
    if (bad)
        return view_answer(answer, h->cmd, bad);
    if (!named) {
        view_rewrite_nowhere(h->w, h->cmd, VIEW_NO_NAME, out, _c);
        return VIEW_WRITTEN;
    }
    switch (whole_set(h, args)) {
    case SET_BAD:
        return answer_bad_set(answer, h->cmd);
    case SET_EMPTY:
        *_c = view_command_new(h->w, h->cmd->verb);
        (*_c)->noop = true;
        return VIEW_NOOP;
    case SET_GOOD:
        break;
    }
    bool adds = whole_write(h, args, out);
    if (out->bad)
        return view_answer(answer, h->cmd, "BAD Invalid arguments");
    *_c = whole_command(h);
    if (*_c)
        (*_c)->adds = adds;
    if (h->cmd->verb == VERB_RENAME && !view_rename_fits(h->w->view, &(*_c)->begun)) {
        view_command_free(h->w, _c);
        return view_answer(answer, h->cmd, "NO [LIMIT] Mailboxes were renamed too often");
    }
    return VIEW_WRITTEN;
}

enum view_becomes view_rewrite_whole(struct view_rewrite *w, const struct imap_cmd *cmd,
                                     const struct imap_value *args, struct imap_writer *out,
                                     struct buf *answer, struct view_command **_c)
{
    struct whole h = {.w = w, .cmd = cmd};

    *_c = NULL;
    if (lacks_mailbox(w, cmd))
        return view_answer(answer, cmd, "BAD No mailbox selected");
    if (view_verbs[cmd->verb].flags & LISTS)
        return view_listing_command(w, cmd, args, out, answer, _c);
    enum view_becomes is = rewrite_whole(&h, args, out, answer, _c);
    for (size_t i = 0; i < NAMES_MAX; i++)
        buf_free(&h.backend[i]);
    buf_free(&h.set);
    view_resync_free(&h.resync);
    return is;
}

const struct view_uid *view_rewrite_map(const struct view_rewrite *w)
{
    return w->open.is ? w->open.map : NULL;
}
