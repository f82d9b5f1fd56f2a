/* Commands, where a client sees other names or numbers than the backend has: they are written anew, some of them
 * whole. */
#include "lib/log.h"

#include "proxy.h"
#include "relay_view_priv.h"
#include "views.h"

enum {
    LITERAL_MAX = 64 * 1024, /* of a command that is collected ... */
    FIELD_MAX = 4096,        /* ... the name of a header field */
};

/* To a command that needs records which can't be read. */
#define OUTDATED "NO [UNAVAILABLE] Please try again later"

static const struct imap_tree_limits command_limits = {
    .depth = 64, .values = 20000, .bytes = LIMIT_RELAY_LINE + LITERAL_MAX};

void relay_view_forget_command(struct relay_view *v)
{
    v->collects = COLLECTS_NOTHING;
    buf_free(&v->first);
    imap_tree_free(&v->args);
    buf_free(&v->literal);
    buf_free(&v->name);
    v->bad_literal = false;
}

void relay_view_forget_out(struct relay_view *v)
{
    imap_writer_wipe(&v->out);
    v->sent = v->next = 0;
    v->unsent = v->tail = v->tail_sync = false;
}

/* ---- sending what was written ---- */

static bool opens_mailbox(const struct relay *r)
{
    return r->cmd.verb == VERB_SELECT || r->cmd.verb == VERB_EXAMINE;
}

/* Sends up to where "+" is waited for next, or all of it. */
static void send_piece(struct relay_view *v, struct outlet *o)
{
    struct relay *r = v->s->relay;
    bool waits = v->next < v->out.n_waits;
    size_t end = waits ? v->out.waits[v->next++] : v->out.out.len;
    struct span all = buf_span(&v->out.out);
    outlet_text(o, span_of(all.p + v->sent, end - v->sent));
    v->sent = end;
    bool tail = !waits && v->tail, sync = v->tail_sync;
    v->unsent = waits;
    r->mode = waits || tail ? UP_PLUS : UP_COMMANDS;
    r->own_plus = waits || (tail && !sync);
    r->waits = waits || tail ? r->current : NULL;
    if (!waits)
        relay_view_forget_out(v);
}

/* A command that was written into v->out; it becomes one of those under way. */
static void send_written(struct relay_view *v, struct outlet *o)
{
    struct relay *r = v->s->relay;
    relay_command_begins(v->s, buf_span(&v->first), false);
    r->current->view = v->became;
    v->became = NULL;
    if (opens_mailbox(r) && r->current->name.len == 0 && v->name.len <= OPENED_NAME_MAX)
        buf_add_span(&r->current->name, buf_span(&v->name));
    send_piece(v, o);
    relay_view_forget_command(v);
    r->fate = FATE_PASSES;
}

/* Outside of relay_pump_up(). */
static void send_now(struct relay_view *v, void (*what)(struct relay_view *v, struct outlet *o))
{
    struct outlet out = {.to = v->s->backend, .count = &v->s->bytes_in, .direction = "in"};
    what(v, &out);
    outlet_end(&out);
}

void relay_view_send(struct relay_view *v)
{
    send_now(v, send_written);
}

bool relay_view_plus(struct session *s)
{
    struct relay_view *v = s->relay->view;
    if (!v->unsent)
        return false;
    send_now(v, send_piece);
    return true;
}

void relay_view_unsent(struct relay *r)
{
    struct relay_view *v = r->view;
    if (!v->unsent)
        return;
    r->own_plus = v->tail && !v->tail_sync;
    if (!v->tail) /* all of it came from the client */
        r->mode = UP_COMMANDS;
    relay_view_forget_out(v);
}

/* ---- commands ---- */

bool relay_view_waits(const struct session *s, struct span part)
{
    const struct relay *r = s->relay;
    if (view_rewrite_takes(r->view->w, &r->cmd, part) != VIEW_AS_IS &&
        views_state(s->account) == VIEWS_READING)
        return true;
    return r->n_commands > 0 && view_rewrite_waits(r->view->w, &r->cmd, part);
}

/* Older records than the route speaks of are there, and the store does not tell the new ones. */
static bool is_outdated(struct session *s)
{
    struct account *a = s->account;
    if (views_state(a) != VIEWS_FAILED)
        return false;
    views_try_again(a);
    return true;
}

static enum relay_view_part part_becomes(struct session *s, const struct imap_line_item *item,
                                         struct buf *line, struct view_command **_c)
{
    struct relay *r = s->relay;
    struct buf asked = {0}, out = {0};
    enum relay_view_part part = PART_PASSES;
    struct span text = item->text;
    if (item->literal && !item->sync) {
        relay_ask_for_literal(item, &asked);
        text = buf_span(&asked);
    }
    buf_clear(&r->answer);
    switch (view_rewrite_part(r->view->w, &r->cmd, text, item->first, &out, &r->answer, _c)) {
    case VIEW_PASSES:
        break;
    case VIEW_WRITTEN:
        buf_add_span(line, buf_span(&out));
        break;
    case VIEW_NOOP:
        buf_printf(line, "%s NOOP", r->cmd.tag);
        break;
    case VIEW_ANSWERED:
        part = PART_ANSWERED;
        break;
    }
    buf_free(&asked);
    buf_free(&out);
    return part;
}

enum relay_view_part relay_view_part(struct session *s, const struct imap_line_item *item, struct buf *line,
                                     struct view_command **_c)
{
    struct relay *r = s->relay;
    struct relay_view *v = r->view;
    if (item->first) {
        *_c = NULL;
        v->takes = view_rewrite_takes(v->w, &r->cmd, item->text);
        bool numbers = r->cmd.verb == VERB_STATUS || r->cmd.verb == VERB_RENAME;
        if (numbers && is_outdated(s)) {
            buf_clear(&r->answer);
            buf_printf(&r->answer, "%s " OUTDATED "\r\n", r->cmd.tag);
            return PART_ANSWERED;
        }
    }
    switch (v->takes) {
    case VIEW_BY_PART:
        return part_becomes(s, item, line, _c);
    case VIEW_JOINED:
    case VIEW_NAME:
    case VIEW_WHOLE:
        return PART_COLLECTS;
    case VIEW_AS_IS:
        break;
    }
    return PART_PASSES;
}

/* ---- commands that are collected ---- */

/* What came of it so far goes nowhere, and neither does the rest. */
static void collect_refuse(struct relay_view *v, const struct imap_line_item *item, const char *status,
                           const char *text)
{
    struct relay *r = v->s->relay;
    relay_view_forget_command(v);
    buf_clear(&r->answer);
    buf_printf(&r->answer, "%s %s %s\r\n", r->cmd.tag, status, text);
    relay_up_answered(v->s, item);
}

/* The first argument, where it is in the line: *_end is behind it. False: it is a literal, or there is
 * none. */
static bool name_in_line(struct span line, size_t at, const struct imap_line_item *item, struct buf *name,
                         size_t *_end)
{
    while (at < line.len && line.p[at] == ' ')
        at++;
    if (at >= line.len || (item->literal && at == item->marker))
        return false;
    bool quoted = line.p[at] == '"';
    for (at += quoted; at < line.len && line.p[at] != (quoted ? '"' : ' '); at++) {
        at += quoted && line.p[at] == '\\' && at + 1 < line.len;
        buf_add(name, line.p + at, 1);
    }
    *_end = at + quoted;
    return *_end <= line.len;
}

/* The name is there: the command goes on with the backend's, and with what stands behind it in the line. */
static void name_is_there(struct relay_view *v, struct span name, const struct imap_line_item *item,
                          size_t at, struct outlet *o)
{
    struct relay *r = v->s->relay;
    struct buf tail = {0};
    if (item->literal)
        relay_ask_for_literal(item, &tail);
    else
        buf_add_span(&tail, item->text);
    buf_clear(&r->answer);
    relay_view_forget_out(v);
    if (view_rewrite_name(v->w, &r->cmd, name, &v->out, &r->answer, &v->became) == VIEW_ANSWERED) {
        relay_view_forget_command(v);
        relay_up_answered(v->s, item);
    } else {
        buf_add(&v->out.out, buf_span(&tail).p + at, tail.len - at);
        buf_add_str(&v->out.out, "\r\n");
        v->tail = item->literal;
        v->tail_sync = item->sync;
        v->takes = VIEW_AS_IS; /* all that follows */
        send_written(v, o);
    }
    buf_free(&tail);
}

static void collect_name(struct relay_view *v, const struct imap_line_item *item, struct outlet *o)
{
    struct relay *r = v->s->relay;
    struct buf name = {0};
    size_t end;
    if (!item->first) {
        name_is_there(v, buf_span(&v->literal), item, 0, o);
    } else if (name_in_line(item->text, r->cmd.args, item, &name, &end)) {
        name_is_there(v, buf_span(&name), item, end, o);
    } else if (!item->literal) {
        collect_refuse(v, item, "BAD", "Expected the name of a mailbox");
    } else if (item->size > VIEW_NAME_MAX) {
        collect_refuse(v, item, "NO", "[CANNOT] No mailbox can have this name");
    } else if (item->sync) {
        relay_say(v->s, span_str("+ OK\r\n"));
    }
    buf_free(&name);
}

/* Servers give a mailbox the second in which it is made as UIDVALIDITY, or less. */
static void tell_unknown(struct relay_view *v)
{
    uint64_t now_s = clock_wall_ms() / 1000;
    struct view_unknown unknown = {.highest = now_s < UINT32_MAX ? (uint32_t)now_s : UINT32_MAX};
    random_hex(unknown.id, VIEW_NAME_ID_BYTES);
    view_rewrite_unknown(v->w, &unknown);
}

/* What a command has become, all of which was collected, is in v->out, or its answer in r->answer. */
static void collected_becomes(struct relay_view *v, enum view_becomes is, struct outlet *o)
{
    struct relay *r = v->s->relay;
    if (is == VIEW_ANSWERED) {
        relay_view_forget_command(v);
        relay_say(v->s, buf_span(&r->answer));
        buf_free(&r->answer);
        return;
    }
    if (is == VIEW_NOOP)
        imap_write_raw(&v->out, "%s NOOP", r->cmd.tag);
    buf_add_str(&v->out.out, "\r\n");
    if (view_command_changes(v->became))
        relay_view_ask_before(v);
    else
        send_written(v, o);
}

static enum view_becomes whole_becomes(struct relay_view *v, const struct imap_value *args)
{
    struct relay *r = v->s->relay;
    if (r->cmd.verb == VERB_RENAME || r->cmd.verb == VERB_DELETE)
        tell_unknown(v);
    if (!opens_mailbox(r) || !is_outdated(v->s))
        return view_rewrite_whole(v->w, &r->cmd, args, &v->out, &r->answer, &v->became);
    view_rewrite_nowhere(v->w, &r->cmd, OUTDATED, &v->out, &v->became);
    return VIEW_WRITTEN;
}

static void whole_is_there(struct relay_view *v, struct outlet *o)
{
    struct relay *r = v->s->relay;
    const struct imap_value *args = imap_tree_first(v->args);
    struct span name;
    buf_clear(&r->answer);
    relay_view_forget_out(v);
    enum view_becomes is = whole_becomes(v, args);
    if (is != VIEW_ANSWERED && args && imap_value_string(args, &name))
        buf_add_span(&v->name, name);
    collected_becomes(v, is, o);
}

static void collect_whole(struct relay_view *v, const struct imap_line_item *item, struct outlet *o)
{
    const char *why = "Too long";
    size_t begin = item->first ? v->s->relay->cmd.args : 0,
           end = item->literal ? item->marker : item->text.len;
    bool good = !item->literal || item->size <= LITERAL_MAX;
    if (good && begin < end)
        good = imap_tree_text(v->args, span_of(item->text.p + begin, end - begin), &why);
    if (good && !item->literal)
        good = imap_tree_done(v->args, &why);
    if (!good)
        collect_refuse(v, item, "BAD", why);
    else if (!item->literal)
        whole_is_there(v, o);
    else if (item->sync)
        relay_say(v->s, span_str("+ OK\r\n"));
}

static void line_is_there(struct relay_view *v, struct outlet *o)
{
    struct relay *r = v->s->relay;
    struct span line = buf_span(&v->first);
    buf_clear(&r->answer);
    relay_view_forget_out(v);
    enum view_becomes is = view_rewrite_part(v->w, &r->cmd, line, true, &v->out.out, &r->answer, &v->became);
    if (is == VIEW_PASSES)
        buf_add_span(&v->out.out, line);
    collected_becomes(v, is, o);
}

static void collect_line(struct relay_view *v, const struct imap_line_item *item, struct outlet *o)
{
    buf_add(&v->first, item->text.p, item->literal ? item->marker : item->text.len);
    bool fits = v->first.len <= LIMIT_RELAY_LINE && (!item->literal || item->size <= FIELD_MAX);
    if (v->bad_literal)
        collect_refuse(v, item, "BAD", "No header field can have this name");
    else if (!fits)
        collect_refuse(v, item, "BAD", "Too long");
    else if (!item->literal)
        line_is_there(v, o);
    else if (item->sync)
        relay_say(v->s, span_str("+ OK\r\n"));
}

static void collect_begin_command(struct relay_view *v, const struct imap_line_item *item)
{
    relay_view_forget_command(v);
    v->collects = v->takes == VIEW_NAME     ? COLLECTS_NAME
                  : v->takes == VIEW_JOINED ? COLLECTS_LINE
                                            : COLLECTS_WHOLE;
    if (v->collects != COLLECTS_LINE) {
        buf_add_span(&v->first, item->text);
        v->args = imap_tree_new(&command_limits);
    }
}

void relay_view_text(struct session *s, const struct imap_line_item *item, struct outlet *o)
{
    struct relay_view *v = s->relay->view;
    if (item->first)
        collect_begin_command(v, item);
    if (v->collects == COLLECTS_NAME)
        collect_name(v, item, o);
    else if (v->collects == COLLECTS_LINE)
        collect_line(v, item, o);
    else
        collect_whole(v, item, o);
}

void relay_view_literal(struct session *s, const struct imap_line_item *item)
{
    struct relay_view *v = s->relay->view;
    const char *why;
    buf_add_span(&v->literal, item->text);
    if (item->left > 0 || v->collects == COLLECTS_NAME)
        return;
    if (v->collects == COLLECTS_LINE)
        v->bad_literal |= !view_rewrite_join(&v->first, buf_span(&v->literal));
    /* Where it does not fit, the tree says so of the next part too. */
    else if (!imap_tree_literal(v->args, buf_span(&v->literal), &why))
        LOG(DEBUG, "literal_refused", LOG_S("session", s->name), LOG_S("why", why));
    buf_free(&v->literal);
}
