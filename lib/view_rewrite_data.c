/* Untagged responses. */
#include <inttypes.h>
#include <stdlib.h>

#include "view_rewrite_priv.h"

/* How many mailboxes of one STATUS or LIST are recorded as others than they were. */
enum { VOIDS_MAX = 64 };

static enum view_gives drop(struct view_rewrite *w)
{
    w->rest = REST_NOTHING;
    return VIEW_NOTHING;
}

static enum view_gives data_wrong(const char **wrong, const char *text)
{
    *wrong = text;
    return VIEW_WRONG;
}

/* ---- of the mailbox that is open ---- */

/* Is the UID form under way, of a search whose answers don't say which they are? */
static bool finds_uids(const struct view_rewrite *w)
{
    const struct view_command *c = view_command_with(w, FINDS);

    return c && (imap_verbs[c->verb].flags & VERB_HAS_UID);
}

static enum view_gives data_numbers(struct view_rewrite *w, enum view_data data, const struct imap_resp *resp,
                                    struct span part, bool literal, struct buf *out, const char **wrong)
{
    if (data == DATA_FETCH && !w->open.map && !view_modseq_shifts(w))
        return VIEW_SAME;
    if (data == DATA_FETCH)
        return view_fetch(w, part, resp->rest, true, literal, out, wrong);
    if (literal)
        return data_wrong(wrong, "a literal among numbers");
    if (data == DATA_ESEARCH)
        return view_esearch(w, part, resp->rest, finds_uids(w), out, wrong);
    if (data == DATA_VANISHED)
        return w->open.map ? view_vanished(w, part, resp->rest, out, wrong) : VIEW_SAME;
    if (!view_command_with(w, FINDS))
        return drop(w); /* nobody has asked */
    bool uids = w->open.map && finds_uids(w);
    return uids || view_conditions_matter(w) ? view_found(w, part, resp->rest, uids, out, wrong) : VIEW_SAME;
}

/* What is about the mailbox that is open, and has UIDs in it. While a SELECT is under way it may be about the
 * one before, and the client does not need it. */
static enum view_gives data_of_open(struct view_rewrite *w, enum view_data data, const struct imap_resp *resp,
                                    struct span part, bool literal, struct buf *out, const char **wrong)
{
    if (view_opening(w) || !w->open.is)
        return drop(w);
    enum view_gives ours = view_resync_data(w, data, resp, part, literal, wrong);
    if (ours != VIEW_SAME)
        return ours == VIEW_NOTHING ? drop(w) : ours;
    if (!w->open.map && !view_conditions_matter(w))
        return VIEW_SAME;
    return view_resync_later(w, data, part, literal, data_numbers(w, data, resp, part, literal, out, wrong),
                             out);
}

/* ---- names ---- */

/* Reads an atom or a quoted string that begins at *at. */
static bool read_name(struct span part, size_t *at, struct buf *name)
{
    size_t i = *at;

    if (i < part.len && part.p[i] == '"') {
        for (i++; i < part.len && part.p[i] != '"'; i++) {
            i += part.p[i] == '\\';
            if (i < part.len)
                buf_add(name, &part.p[i], 1);
        }
        *at = i + 1;
        return i < part.len;
    }
    while (i < part.len && part.p[i] != ' ' && part.p[i] != '(' && part.p[i] != ')')
        i++;
    buf_add(name, part.p + *at, i - *at);
    *at = i;
    return name->len > 0;
}

/* A name comes first, and what is behind it passes. */
static enum view_gives data_named(struct view_rewrite *w, const struct imap_resp *resp, struct span part,
                                  bool literal, struct buf *out, const char **wrong)
{
    struct buf backend = {0}, client = {0};
    size_t at = resp->rest;

    const uint8_t *brace = literal ? memrchr(part.p, '{', part.len) : NULL;

    if (brace && part.p + at <= brace && part.p + at + 1 >= brace)
        return VIEW_COLLECT;
    bool ok = read_name(part, &at, &backend);
    bool server = ok && backend.len == 0; /* METADATA of the server itself */
    bool shown = ok && !server && view_client_name(w->view, buf_span(&backend), &client);
    if (shown) {
        buf_add(out, part.p, resp->rest);
        view_write_name(out, buf_span(&client));
        buf_add(out, part.p + at, part.len - at);
        buf_add_str(out, "\r\n");
    }
    buf_free(&backend);
    buf_free(&client);
    if (!ok)
        return data_wrong(wrong, "a response without a mailbox name");
    return shown ? VIEW_LINES : server ? VIEW_SAME : drop(w);
}

/* The same, where the name was a literal. */
static enum view_gives named_collected(struct view_rewrite *w, const struct imap_resp *resp,
                                       const struct imap_value *data, struct buf *out, const char **wrong)
{
    struct buf client = {0};
    struct imap_writer line;
    struct span backend;

    if (!imap_value_string(data, &backend))
        return data_wrong(wrong, "a response without a mailbox name");
    bool shown = view_client_name(w->view, backend, &client);
    imap_writer_init(&line, LITERALS_SYNC);
    buf_add_str(&line.out, "* ");
    buf_add_span(&line.out, resp->word);
    buf_add_str(&line.out, " ");
    imap_write_astring(&line, buf_span(&client));
    for (const struct imap_value *v = data->next; v; v = v->next) {
        buf_add_str(&line.out, " ");
        view_write_value(&line, v);
    }
    buf_add_str(&line.out, "\r\n");
    bool bad = line.bad;
    if (shown && !bad)
        buf_add_span(out, buf_span(&line.out));
    imap_writer_wipe(&line);
    buf_free(&client);
    if (shown && bad)
        return data_wrong(wrong, "a response with a NUL");
    return shown ? VIEW_LINES : VIEW_NOTHING;
}

static void write_namespace(struct imap_writer *line, const char *prefix, char separator)
{
    char text[] = {separator, '\0'};

    if (!prefix) {
        buf_add_str(&line->out, " NIL");
        return;
    }
    buf_add_str(&line->out, " ((");
    imap_write_quoted(line, span_str(prefix));
    buf_add_str(&line->out, " ");
    if (separator)
        imap_write_quoted(line, span_str(text));
    else
        buf_add_str(&line->out, "NIL");
    buf_add_str(&line->out, "))");
}

/* Those that are on both servers. */
static enum view_gives data_namespace(struct view_rewrite *w, struct buf *out)
{
    const struct view_spaces *spaces = view_spaces_of(w->view);
    char separator = view_client_separator(w->view);
    struct imap_writer line;

    imap_writer_init(&line, LITERALS_SYNC);
    buf_add_str(&line.out, "* NAMESPACE");
    write_namespace(&line, view_client_prefix(w->view), separator);
    write_namespace(&line, spaces->users[VIEW_CLIENT], separator);
    write_namespace(&line, spaces->shared[VIEW_CLIENT], separator);
    buf_add_str(&line.out, "\r\n");
    buf_add_span(out, buf_span(&line.out));
    imap_writer_wipe(&line);
    return VIEW_LINES;
}

/* ---- STATUS ---- */

/* The STATUS, or the LIST with STATUS, that this is the answer to; NULL: none, or who knows which. */
static struct view_command *status_command(const struct view_rewrite *w, struct span backend)
{
    struct view_command *c;

    TAILQ_FOREACH(c, &w->commands, link)
    {
        bool inbox = c->backend && view_name_is_inbox(backend) && view_name_is_inbox(span_str(c->backend));
        if (c->verb == VERB_STATUS && c->backend && (inbox || span_is(backend, c->backend)))
            return c;
    }
    return view_command_with(w, LISTS);
}

/* How the mailbox is seen now. Where it is another one, it is seen as it will be once that is recorded,
 * which the command's tagged answer sees to. */
static bool status_sight(struct view_rewrite *w, struct view_command *c, struct span client,
                         uint32_t uidvalidity, uint32_t uidnext, struct view_sight *_r)
{
    enum view_fit fit = view_look(w->view, client, uidvalidity, uidnext, _r);
    size_t n = c ? c->voids.n : VOIDS_MAX;

    if (fit != VIEW_CHANGED)
        return fit == VIEW_FITS;
    if (n >= VOIDS_MAX || c->stores || !view_void(w->view, client, uidvalidity, &c->voids))
        return false;
    struct view *next = view_apply(w->view, &c->voids);
    bool ok = next && view_look(next, client, uidvalidity, uidnext, _r) == VIEW_FITS && !_r->map;
    view_unref(&next);
    return ok;
}

/* A HIGHESTMODSEQ is shown of the mailbox that it is told of, never as 0 where clients have seen another: to
 * them that says that it has none, and they forget what they know. */
static bool status_highest(const struct imap_value *value, const struct view_record *r,
                           const struct view_sight *sight, uint64_t *_r)
{
    if (!imap_value_u64(value, _r))
        return false;
    if (!r)
        return *_r <= VIEW_MODSEQ_MAX;
    return view_modseq_highest(sight, *_r, _r);
}

static bool status_number(const struct imap_value *items, const char *name, uint32_t *_r)
{
    const struct imap_value *v = imap_value_get(items, name);

    *_r = 0;
    return v && imap_value_u32(v, _r);
}

static void status_item(struct imap_writer *line, struct span name, const struct imap_value *value,
                        const char **blank)
{
    buf_add_str(&line->out, *blank);
    buf_add_span(&line->out, name);
    buf_add_str(&line->out, " ");
    view_write_value(line, value);
    *blank = " ";
}

/* True: it is of a mailbox that is another one now. */
static bool status_items(struct view_rewrite *w, struct view_command *c, struct span client,
                         const struct imap_value *items, struct imap_writer *line)
{
    const struct view_record *r = view_record_of(w->view, client);
    struct view_sight sight = {0};
    uint32_t uidvalidity, uidnext, n;
    const char *blank = "";
    size_t voids = c ? c->voids.n : 0;

    status_number(items, "UIDNEXT", &uidnext);
    bool seen = status_number(items, "UIDVALIDITY", &uidvalidity) && uidvalidity &&
                status_sight(w, c, client, uidvalidity, uidnext, &sight);
    for (const struct imap_value *v = items->first; v && v->next; v = v->next->next) {
        if (v->kind != IMAP_ATOM)
            continue;
        if (view_status_passes(v->text)) {
            status_item(line, v->text, v->next, &blank);
            continue;
        }
        uint64_t highest;
        if (imap_value_is(v, "HIGHESTMODSEQ") && (seen || !r) &&
            status_highest(v->next, r, &sight, &highest)) {
            buf_printf(&line->out, "%sHIGHESTMODSEQ %" PRIu64, blank, highest);
            blank = " ";
            continue;
        }
        n = 0;
        if (imap_value_is(v, "UIDVALIDITY") && !(c && c->adds)) {
            n = sight.uidvalidity;
            view_rewrite_shown(w, client, n);
        } else if (imap_value_is(v, "UIDNEXT") && (seen || !r || r->tier != VIEW_T2) &&
                   !view_uidnext(sight.map, uidnext, &n))
            n = 0;
        if (n == 0)
            continue;
        buf_add_str(&line->out, blank);
        buf_add_span(&line->out, v->text);
        buf_printf(&line->out, " %u", n);
        blank = " ";
    }
    return c && c->voids.n > voids;
}

static enum view_gives status_collected(struct view_rewrite *w, const struct imap_value *data,
                                        struct buf *out, const char **wrong)
{
    struct imap_writer line;
    struct buf client = {0};
    struct span backend;

    if (!imap_value_string(data, &backend) || !data->next || data->next->kind != IMAP_LIST)
        return data_wrong(wrong, "a STATUS that can't be read");
    struct view_command *c = status_command(w, backend);
    bool shown = view_client_name(w->view, backend, &client);
    struct buf *to = out;
    if (shown && c && c->list)
        to = view_listing_status(c->list, buf_span(&client));
    if (shown && to) {
        imap_writer_init(&line, LITERALS_SYNC);
        buf_add_str(&line.out, "* STATUS ");
        imap_write_astring(&line, buf_span(&client));
        buf_add_str(&line.out, " (");
        if (status_items(w, c, buf_span(&client), data->next, &line))
            to = &c->kept;
        buf_add_str(&line.out, ")\r\n");
        buf_add_span(to, buf_span(&line.out));
        imap_writer_wipe(&line);
    }
    buf_free(&client);
    return shown && to == out ? VIEW_LINES : VIEW_NOTHING;
}

/* ---- all ---- */

static enum view_gives data_first(struct view_rewrite *w, const struct imap_resp *resp, struct span part,
                                  bool literal, struct buf *out, const char **wrong)
{
    enum view_data data = view_data_of(resp);

    switch (data) {
    case DATA_SAME:
        return VIEW_SAME;
    case DATA_MAILBOX:
        return w->open.barred && !view_opening(w) ? drop(w) : VIEW_SAME;
    case DATA_FETCH:
    case DATA_FOUND:
    case DATA_ESEARCH:
    case DATA_VANISHED:
        return data_of_open(w, data, resp, part, literal, out, wrong);
    case DATA_STATUS:
        return VIEW_COLLECT;
    case DATA_LIST:
        return view_names_alike(w->view) ? VIEW_SAME : VIEW_COLLECT;
    case DATA_NAMESPACE:
        if (view_namespaces_alike(w->view))
            return VIEW_SAME; /* also where nobody knows how names are spelled */
        return literal ? VIEW_COLLECT : data_namespace(w, out);
    case DATA_NAMED:
        return view_names_alike(w->view) ? VIEW_SAME : data_named(w, resp, part, literal, out, wrong);
    case DATA_UNKNOWN:
        break;
    }
    return drop(w);
}

enum view_gives view_rewrite_response(struct view_rewrite *w, const struct imap_resp *resp, struct span part,
                                      bool literal, struct buf *out, const char **wrong)
{
    if (!resp && w->rest == REST_FETCH)
        return view_fetch(w, part, 0, false, literal, out, wrong);
    if (!resp)
        return w->rest == REST_NOTHING ? VIEW_NOTHING : VIEW_SAME;
    w->rest = REST_SAME;
    if (resp->kind == RESP_CONTINUE)
        return VIEW_SAME;
    if (resp->kind == RESP_DATA)
        return data_first(w, resp, part, literal, out, wrong);
    return view_untagged_status(w, resp, part, out, wrong);
}

enum view_gives view_rewrite_collected(struct view_rewrite *w, const struct imap_resp *resp,
                                       const struct imap_value *data, struct buf *out, const char **wrong)
{
    switch (view_data_of(resp)) {
    case DATA_STATUS:
        return status_collected(w, data, out, wrong);
    case DATA_LIST:
        return view_listing_line(w, resp, data, out, wrong);
    case DATA_NAMED:
        return named_collected(w, resp, data, out, wrong);
    case DATA_NAMESPACE:
        return data_namespace(w, out);
    default:
        return data_wrong(wrong, "a response that was not to be collected");
    }
}
