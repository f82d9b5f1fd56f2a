/* view_unit: a relay without streams: commands and responses in any pieces go through imap_line and
 * view_rewrite, as the proxy has them, and what comes out is text. */
#ifndef IMAPFERRY_VIEW_UNIT_H
#define IMAPFERRY_VIEW_UNIT_H

#include "unit.h"

#include "lib/imap_line.h"
#include "lib/view_rewrite.h"

enum { VIEW_UNIT_COMMANDS = 32 };

struct view_unit {
    struct view_rewrite *w;
    struct imap_line up, down;
    struct imap_cmd cmd;
    struct imap_caps shown;
    enum view_takes takes;
    bool refused, waits;
    struct imap_tree *tree; /* of a command, or of a response */
    struct buf literal;
    struct {
        char tag[IMAP_TAG_MAX + 1];
        struct view_command *c;
        bool own; /* ours, for c */
    } commands[VIEW_UNIT_COMMANDS];
    size_t n, asked;
    struct buf line; /* VIEW_JOINED: so far */
    struct buf to_backend, to_client;
    /* of the response under way */
    bool collects, drops;
    struct buf head; /* its first part */
    const char *wrong;
    size_t stores;
    struct view_changes stored; /* the changes that were stored last */
};

/* The view has this record from now on; frees its map. */
static inline void view_unit_record(struct view *v, const char *name, struct view_record *r)
{
    struct buf text = {0};
    view_record_encode(&text, r);
    assert_true(view_take(v, span_str(name), buf_span(&text)));
    buf_free(&text);
    view_uid_free(&r->map);
}

static inline void view_unit_start(struct view_unit *u, struct view *v)
{
    const struct imap_line_limits limits = {
        .line = 1 << 20, .parts = 1000, .literal = UINT64_MAX, .nonsync_max = UINT64_MAX};
    const struct imap_tree_limits tree = {.depth = 100, .values = 100000, .bytes = 1 << 20};
    *u = (struct view_unit){.w = view_rewrite_new(v), .tree = imap_tree_new(&tree)};
    imap_line_init(&u->up, LINE_COMMANDS, &limits);
    imap_line_init(&u->down, LINE_RESPONSES, &limits);
    imap_caps_parse(&u->shown,
                    span_str("UIDPLUS MOVE ESEARCH SORT THREAD=REFERENCES LIST-STATUS MULTIAPPEND IDLE "
                             "NAMESPACE ID ENABLE UNSELECT CHILDREN LIST-EXTENDED SPECIAL-USE "
                             "CREATE-SPECIAL-USE LITERAL+ BINARY QUOTA ACL METADATA WITHIN STATUS=SIZE "
                             "SEARCH=FUZZY"));
}

static inline void view_unit_end(struct view_unit *u)
{
    for (size_t i = 0; i < u->n; i++)
        view_command_free(u->w, &u->commands[i].c);
    view_rewrite_free(&u->w);
    imap_tree_free(&u->tree);
    imap_line_wipe(&u->up);
    imap_line_wipe(&u->down);
    view_changes_free(&u->stored);
    buf_free(&u->literal);
    buf_free(&u->line);
    buf_free(&u->to_backend);
    buf_free(&u->to_client);
    buf_free(&u->head);
}

static inline void view_unit_line(struct buf *out, struct span line)
{
    buf_add_span(out, line);
    buf_add_str(out, "\r\n");
}

static inline void view_unit_store(struct view_unit *u, const struct view_changes *c)
{
    struct view *next = view_apply(view_rewrite_view(u->w), c);
    assert_non_null(next);
    view_rewrite_use(u->w, next);
    view_unref(&next);
    u->stores++;
}

/* A command is on its way to the backend. */
static inline void view_unit_add(struct view_unit *u, struct view_command *c)
{
    if (u->n < VIEW_UNIT_COMMANDS) {
        strcpy(u->commands[u->n].tag, u->cmd.tag);
        u->commands[u->n].own = false;
        u->commands[u->n++].c = c;
    } else {
        view_command_free(u->w, &c);
    }
    if (view_command_changes(c))
        view_unit_store(u, view_command_changes(c));
}

static inline void view_unit_became(struct view_unit *u, enum view_becomes is, struct span was,
                                    struct span out, struct buf *answer, struct view_command *c, bool first)
{
    u->refused = is == VIEW_ANSWERED;
    if (is == VIEW_ANSWERED) {
        assert_null(c);
        assert_true(answer->len > 2);
        buf_add_span(&u->to_client, buf_span(answer));
    } else if (is == VIEW_NOOP) {
        buf_printf(&u->to_backend, "%s NOOP\r\n", u->cmd.tag);
    } else {
        view_unit_line(&u->to_backend, is == VIEW_PASSES ? was : out);
    }
    if (first && !u->refused)
        view_unit_add(u, c);
}

static inline void view_unit_by_part(struct view_unit *u, const struct imap_line_item *item)
{
    struct buf out = {0}, answer = {0};
    struct view_command *c = item->first || !u->n ? NULL : u->commands[u->n - 1].c;
    enum view_becomes is = view_rewrite_part(u->w, &u->cmd, item->text, item->first, &out, &answer, &c);
    if (!item->first && u->n)
        u->commands[u->n - 1].c = c;
    view_unit_became(u, is, item->text, buf_span(&out), &answer, c, item->first);
    buf_free(&out);
    buf_free(&answer);
}

static inline void view_unit_joined(struct view_unit *u, const struct imap_line_item *item)
{
    if (item->first)
        buf_clear(&u->line);
    buf_add(&u->line, item->text.p, item->literal ? item->marker : item->text.len);
    if (item->literal)
        return;
    struct imap_line_item all = *item;
    all.text = buf_span(&u->line);
    all.first = true;
    view_unit_by_part(u, &all);
}

static inline void view_unit_whole(struct view_unit *u)
{
    struct imap_writer out;
    struct buf answer = {0};
    struct view_command *c = NULL;
    const char *why;
    imap_writer_init(&out, LITERALS_SYNC);
    enum view_becomes is = VIEW_ANSWERED;
    if (imap_tree_done(u->tree, &why))
        is = view_rewrite_whole(u->w, &u->cmd, imap_tree_first(u->tree), &out, &answer, &c);
    else
        buf_printf(&answer, "%s BAD %s\r\n", u->cmd.tag, why);
    assert_true(is != VIEW_PASSES);
    view_unit_became(u, is, span_of(NULL, 0), buf_span(&out.out), &answer, c, true);
    imap_writer_wipe(&out);
    buf_free(&answer);
    imap_tree_clear(u->tree);
}

/* The name was collected; rest: what stands behind it. */
static inline void view_unit_name(struct view_unit *u, struct span rest)
{
    struct imap_writer out;
    struct buf answer = {0};
    struct view_command *c = NULL;
    struct span name;
    imap_writer_init(&out, LITERALS_SYNC);
    assert_true(imap_value_string(imap_tree_first(u->tree), &name));
    enum view_becomes is = view_rewrite_name(u->w, &u->cmd, name, &out, &answer, &c);
    buf_add_span(&out.out, rest);
    view_unit_became(u, is, span_of(NULL, 0), buf_span(&out.out), &answer, c, true);
    imap_writer_wipe(&out);
    buf_free(&answer);
    imap_tree_clear(u->tree);
    u->takes = VIEW_AS_IS;
}

static inline bool view_unit_tree(struct view_unit *u, struct span text)
{
    const char *why;
    if (imap_tree_text(u->tree, text, &why))
        return true;
    buf_printf(&u->to_client, "%s BAD %s\r\n", u->cmd.tag, why);
    imap_tree_clear(u->tree);
    u->refused = true;
    return false;
}

/* Where the first argument ends. */
static inline size_t view_unit_name_end(struct span text, size_t at)
{
    bool quoted = at < text.len && text.p[at] == '"';
    size_t i = at + quoted;
    while (i < text.len && (quoted ? text.p[i] != '"' : text.p[i] != ' '))
        i += 1 + (quoted && text.p[i] == '\\');
    i += quoted;
    return i < text.len ? i : text.len;
}

static inline void view_unit_command_text(struct view_unit *u, const struct imap_line_item *item)
{
    const char *why = "";
    size_t begin = item->first ? u->cmd.args : 0, end = item->literal ? item->marker : item->text.len;
    if (item->first) {
        u->refused = !imap_cmd_parse(item->text, &u->cmd, &why);
        u->refused = u->refused || !imap_cmd_allowed(&u->cmd, item->text, true, &u->shown, &why);
        if (u->refused)
            buf_printf(&u->to_client, "%s BAD %s\r\n", u->cmd.tag, why);
        else
            u->takes = view_rewrite_takes(u->w, &u->cmd, item->text);
        if (!u->refused)
            u->waits = view_rewrite_waits(u->w, &u->cmd, item->text);
        begin = u->cmd.args;
    } else if (!u->refused && !imap_cmd_allowed(&u->cmd, item->text, false, &u->shown, &why)) {
        buf_printf(&u->to_client, "%s BAD %s\r\n", u->cmd.tag, why);
        u->refused = true;
    }
    if (u->refused)
        return;
    if (u->takes == VIEW_BY_PART) {
        view_unit_by_part(u, item);
    } else if (u->takes == VIEW_JOINED) {
        view_unit_joined(u, item);
    } else if (u->takes == VIEW_AS_IS) {
        view_unit_line(&u->to_backend, item->text);
        if (item->first)
            view_unit_add(u, NULL);
    } else if (u->takes == VIEW_NAME && !(item->literal && item->first && begin == end)) {
        size_t stop = item->first ? view_unit_name_end(item->text, begin) : 0;
        if (!item->first || view_unit_tree(u, span_of(item->text.p + begin, stop - begin)))
            view_unit_name(u, span_of(item->text.p + stop, item->text.len - stop));
    } else if (begin <= end && view_unit_tree(u, span_of(item->text.p + begin, end - begin)) &&
               !item->literal) {
        view_unit_whole(u);
    }
}

static inline void view_unit_command_literal(struct view_unit *u, const struct imap_line_item *item)
{
    const char *why;
    bool collects =
        !u->refused && (u->takes == VIEW_WHOLE || u->takes == VIEW_NAME || u->takes == VIEW_JOINED);
    if (!collects && !u->refused)
        buf_add_span(&u->to_backend, item->text);
    if (!collects)
        return;
    buf_add_span(&u->literal, item->text);
    if (item->left > 0)
        return;
    if (u->takes == VIEW_JOINED)
        assert_true(view_rewrite_join(&u->line, buf_span(&u->literal)));
    else if (!imap_tree_literal(u->tree, buf_span(&u->literal), &why))
        u->refused = true;
    buf_free(&u->literal);
}

/* False: LINE_BAD. */
static inline bool view_unit_commands(struct view_unit *u, struct span in)
{
    for (;;) {
        struct imap_line_item item;
        size_t used;
        enum imap_line_rc rc = imap_line_feed(&u->up, in.p, in.len, &used, &item);
        in = span_of(in.p + used, in.len - used);
        if (rc == LINE_TEXT)
            view_unit_command_text(u, &item);
        else if (rc == LINE_LITERAL)
            view_unit_command_literal(u, &item);
        else
            return rc == LINE_MORE;
    }
}

/* ---- responses ---- */

static inline void view_unit_gave(struct view_unit *u, enum view_gives is, struct span part, struct span out)
{
    u->drops = is == VIEW_NOTHING;
    if (is == VIEW_SAME)
        view_unit_line(&u->to_client, part);
    else if (is == VIEW_LINES)
        buf_add_span(&u->to_client, out);
    else if (is == VIEW_COLLECT)
        u->collects = true;
    else
        assert_true(is == VIEW_NOTHING || is == VIEW_WRONG);
    assert_true((is == VIEW_WRONG) == (u->wrong != NULL));
}

/* A command of ours goes to the backend: "Q1 ..." */
static inline void view_unit_ask(struct view_unit *u, struct view_command *c)
{
    size_t was = u->to_backend.len;
    assert_true(u->n < VIEW_UNIT_COMMANDS);
    snprintf(u->commands[u->n].tag, sizeof u->commands[0].tag, "Q%zu", ++u->asked);
    buf_printf(&u->to_backend, "%s ", u->commands[u->n].tag);
    u->commands[u->n].own = true;
    u->commands[u->n++].c = c;
    view_rewrite_ask(u->w, c, &u->to_backend);
    assert_true(u->to_backend.len - was < 8000);
    buf_add_str(&u->to_backend, "\r\n");
}

static inline void view_unit_tagged(struct view_unit *u, const struct imap_resp *resp, struct span line)
{
    struct buf out = {0};
    struct view_changes changes = {0};
    struct view_command *c = NULL;
    size_t i = 0;
    bool own = false;
    while (i < u->n && !span_is(resp->tag, u->commands[i].tag))
        i++;
    if (i < u->n) {
        c = u->commands[i].c;
        own = u->commands[i].own;
        memmove(&u->commands[i], &u->commands[i + 1], (u->n - i - 1) * sizeof u->commands[0]);
        u->n--;
    }
    enum view_gives is = own ? view_rewrite_asked(u->w, &c, resp, line, &out)
                             : view_rewrite_tagged(u->w, &c, resp, line, &out, &changes, &u->wrong);
    while (is == VIEW_STORE) {
        assert_int_equal(out.len, 0);
        view_unit_store(u, &changes);
        view_changes_free(&u->stored);
        u->stored = changes;
        changes = (struct view_changes){0};
        is = view_rewrite_tagged(u->w, &c, resp, line, &out, &changes, &u->wrong);
    }
    assert_true((is == VIEW_ASK) == (c != NULL));
    assert_int_equal(changes.n, 0);
    if (c) {
        buf_add_span(&u->to_client, buf_span(&out));
        buf_free(&out);
        view_unit_ask(u, c);
        return;
    }
    view_unit_gave(u, is, line, buf_span(&out));
    buf_free(&out);
}

/* All of a response that is collected has come. */
static inline void view_unit_collected(struct view_unit *u)
{
    struct imap_resp resp;
    struct buf out = {0};
    const char *why;
    assert_true(imap_resp_parse(buf_span(&u->head), &resp, &why));
    if (!imap_tree_done(u->tree, &u->wrong))
        return;
    enum view_gives is = view_rewrite_collected(u->w, &resp, imap_tree_first(u->tree), &out, &u->wrong);
    view_unit_gave(u, is, span_of(NULL, 0), buf_span(&out));
    buf_free(&out);
    imap_tree_clear(u->tree);
}

static inline void view_unit_response_text(struct view_unit *u, const struct imap_line_item *item)
{
    struct imap_resp resp;
    struct buf out = {0};
    size_t begin = 0, end = item->literal ? item->marker : item->text.len;
    if (item->first) {
        u->collects = false;
        imap_tree_clear(u->tree);
        if (!imap_resp_parse(item->text, &resp, &u->wrong))
            return;
        if (resp.kind == RESP_TAGGED) {
            view_unit_tagged(u, &resp, item->text);
            return;
        }
        begin = resp.rest;
    }
    if (!u->collects) {
        enum view_gives is = view_rewrite_response(u->w, item->first ? &resp : NULL, item->text,
                                                   item->literal, &out, &u->wrong);
        view_unit_gave(u, is, item->text, buf_span(&out));
    }
    buf_free(&out);
    if (!u->collects || u->wrong)
        return;
    if (item->first) {
        buf_clear(&u->head);
        buf_add_span(&u->head, item->text);
    }
    if (begin <= end && imap_tree_text(u->tree, span_of(item->text.p + begin, end - begin), &u->wrong) &&
        !item->literal)
        view_unit_collected(u);
}

static inline void view_unit_response_literal(struct view_unit *u, const struct imap_line_item *item)
{
    if (!u->collects && !u->drops)
        buf_add_span(&u->to_client, item->text);
    if (!u->collects)
        return;
    buf_add_span(&u->literal, item->text);
    if (item->left > 0)
        return;
    if (!imap_tree_literal(u->tree, buf_span(&u->literal), &u->wrong))
        u->collects = false;
    buf_free(&u->literal);
}

/* Stops at what is wrong. */
static inline void view_unit_responses(struct view_unit *u, struct span in)
{
    while (!u->wrong) {
        struct imap_line_item item;
        size_t used;
        enum imap_line_rc rc = imap_line_feed(&u->down, in.p, in.len, &used, &item);
        in = span_of(in.p + used, in.len - used);
        if (rc == LINE_TEXT)
            view_unit_response_text(u, &item);
        else if (rc == LINE_LITERAL)
            view_unit_response_literal(u, &item);
        else if (rc == LINE_BAD)
            u->wrong = item.why;
        else
            return;
    }
}

#endif
