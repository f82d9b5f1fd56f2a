/* Responses: lines and literals become trees, bodies are given on as they come, and each response goes to its
 * reader. */

#include <stdio.h>
#include <stdlib.h>

#include "lib/fault.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "imap_client_priv.h"

enum {
    COLLECT_MAX = 64 * 1024,
    TURN_NS = 5 * 1000 * 1000, /* for what one server sent, before others have their turn */
    QUOTED_MAX = 150           /* bytes of an odd response that are told */
};

/* --- what is odd --- */

static void note_raw(struct imapc *c, struct span part)
{
    size_t room = c->raw.len < QUOTED_MAX + 1 ? QUOTED_MAX + 1 - c->raw.len : 0;
    buf_add_span(&c->raw, span_of(part.p, part.len < room ? part.len : room));
}

/* \x is written \\x, so that nobody takes it for an escape. */
void imapc_escape(struct buf *out, struct span line, size_t max)
{
    for (size_t i = 0; i < line.len && i < max; i++) {
        uint8_t byte = line.p[i];
        bool like_escape = byte == '\\' && i + 1 < line.len && line.p[i + 1] == 'x';
        if (byte < ' ' || byte >= 0x7f)
            buf_printf(out, "\\x%02x", byte);
        else
            buf_printf(out, "%s%c", like_escape ? "\\" : "", byte);
    }
    if (line.len > max)
        buf_add_str(out, "...");
}

static bool imapc_is_fetch(const struct imapc *c)
{
    return c->head.kind == RESP_DATA && span_is_ci(c->head.word, "FETCH");
}

static uint32_t told_uid(const struct imapc *c)
{
    uint32_t uid = 0;
    const struct imap_value *items = imapc_is_fetch(c) ? imap_tree_first(c->tree) : NULL;
    return imap_value_u32(imap_value_get(items, "UID"), &uid) ? uid : 0;
}

/* cmd: whose answer it is; NULL: nobody's. */
static void tell_odd(struct imapc *c, const struct imapc_queued *cmd)
{
    struct buf text = {0};
    buf_printf(&text, "%s answers %s by what can't be understood: ", c->name,
               cmd && *cmd->what ? cmd->what : "nothing");
    imapc_escape(&text, buf_span(&c->raw), QUOTED_MAX);
    LOG(WARN, "imap_odd", LOG_S("peer", stream_peer(c->stream)), LOG_S("text", buf_str(&text)));
    const struct imapc_odd odd = {cmd ? cmd->cb.mailbox : NULL, told_uid(c),
                                  imapc_is_fetch(c) ? c->head.number : 0, buf_str(&text)};
    if (cmd && cmd->cb.odd)
        cmd->cb.odd(cmd->cb.owner, &odd);
    else if (c->watch.odd)
        c->watch.odd(c->watch.owner, &odd);
    else if (c->odd)
        c->odd(c->odd_owner, &odd);
    buf_free(&text);
}

static struct imapc_queued *who_asked(struct imapc *c)
{
    struct imapc_queued *cmd;
    TAILQ_FOREACH(cmd, &c->commands, link)
    if (cmd->cb.data && cmd->sent > 0 && !cmd->early)
        return cmd;
    return NULL;
}

/* --- whole responses --- */

/* The one place where an untagged response is given to a reader. True: it was his. */
static bool imapc_hand(struct imapc *c, struct imapc_queued *cmd, imapc_data_fn fn, void *owner,
                       const struct imap_resp *resp, const struct imap_value *data)
{
    enum imapc_taken taken = fn(owner, resp, data);
    if (taken == IMAPC_ODD && !c->freed && c->phase == READY)
        tell_odd(c, cmd);
    return taken != IMAPC_NOT_MINE || c->freed || c->phase != READY;
}

/* Of a STATUS that names the mailbox of cmd alone. */
static bool imapc_names_mailbox_of(const struct imapc_queued *cmd, const struct imap_value *data)
{
    struct span name;
    const char *mailbox = cmd->cb.mailbox;

    if (!mailbox || !imap_value_string(imap_value_at(data, 0), &name))
        return false;
    return span_is(name, mailbox) || (span_is_ci(name, "INBOX") && !strcasecmp(mailbox, "INBOX"));
}

/* Servers may answer a STATUS before they have ended what was sent ahead of it, whose reader may know no name. */
static bool imapc_offer_status(struct imapc *c, const struct imap_resp *resp, const struct imap_value *data)
{
    struct imapc_queued *cmd;

    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "STATUS"))
        return false;
    TAILQ_FOREACH(cmd, &c->commands, link)
    {
        if (cmd->sent == 0)
            return false;
        if (cmd->cb.data && !cmd->early && imapc_names_mailbox_of(cmd, data) &&
            imapc_hand(c, cmd, cmd->cb.data, cmd->cb.owner, resp, data))
            return true;
    }
    return false;
}

static void imapc_offer(struct imapc *c, const struct imap_resp *resp, const struct imap_value *data)
{
    struct imapc_queued *cmd;
    if (imapc_offer_status(c, resp, data))
        return;
    TAILQ_FOREACH(cmd, &c->commands, link)
    {
        if (cmd->sent == 0)
            break; /* what wasn't asked yet isn't answered */
        if (cmd->cb.data && !cmd->early && imapc_hand(c, cmd, cmd->cb.data, cmd->cb.owner, resp, data))
            return;
    }
    if (c->watch.news && imapc_hand(c, NULL, c->watch.news, c->watch.owner, resp, data))
        return;
    if (c->news)
        imapc_hand(c, NULL, c->news, c->owner, resp, data);
}

/* Nobody knows where the next response begins. */
static void imapc_garbled(struct imapc *c, const char *why)
{
    c->garbled = true;
    tell_odd(c, who_asked(c));
    if (!c->freed)
        imapc_broken(c, "a response that is none: %s", why);
}

static void imapc_take_status(struct imapc *c, const struct imap_resp *resp)
{
    if (imap_code_is(resp->code, "ALERT", NULL))
        LOG(WARN, "imap_alert", LOG_S("peer", stream_peer(c->stream)), LOG_SPAN("text", resp->text));
    if (resp->status != STATUS_BYE)
        return;
    struct buf text = {0};
    imap_write_text(&text, resp->text);
    free(c->bye);
    c->bye = xasprintf("BYE %s", buf_str(&text));
    buf_free(&text);
}

static void imapc_take_tagged(struct imapc *c, const struct imap_resp *resp)
{
    struct imapc_queued *cmd = imapc_find_command(c, resp->tag);
    if (!cmd) {
        imapc_broken(c, "an answer to no command");
        return;
    }
    bool limit = !strcmp(cmd->what, "APPEND") && imap_code_is(resp->code, "LIMIT", NULL);
    imapc_take_status(c, resp);
    imapc_note_hint(c, limit ? (struct span){0} : resp->code, resp);
    if (cmd == c->sending && resp->status == STATUS_OK) {
        imapc_broken(c, "OK to a command that was not sent whole");
        return;
    }
    if (cmd == c->sending)
        imapc_cut_short(c, cmd);
    FAULT_POINT("command", cmd->what, "answered");
    struct imapc_end end = {.code = resp->code, .text = resp->text};
    end.rc = resp->status == STATUS_OK ? IMAPC_OK : resp->status == STATUS_NO ? IMAPC_NO : IMAPC_BAD;
    if (cmd == TAILQ_FIRST(&c->commands))
        imapc_end_command(c, cmd, &end);
    else
        imapc_keep_early(cmd, &end);
    imapc_end_early(c);
    if (c->freed)
        return;
    imapc_pump(c);
    imapc_tell_drained(c);
}

static void take_continue(struct imapc *c)
{
    if (!c->waiting)
        return; /* some servers say it to a literal that they did not have to allow */
    c->waiting = false;
    c->sending->next_wait++;
    imapc_pump(c);
    imapc_tell_drained(c);
}

/* --- bodies --- */

static bool is_body_name(const struct imap_value *v)
{
    return imap_value_is(v, "BODY[]") || imap_value_is(v, "BODY[HEADER]") || imap_value_is(v, "RFC822");
}

static struct imapc_queued *body_command(struct imapc *c, const struct imap_value *name)
{
    bool header = imap_value_is(name, "BODY[HEADER]");
    struct imapc_queued *cmd;
    TAILQ_FOREACH(cmd, &c->commands, link)
    if (cmd->cb.body && cmd->sent > 0 && !cmd->early && cmd->cb.body->header == header)
        return cmd;
    return NULL;
}

/* What is left of the response is passed over. */
static void give_up_response(struct imapc *c)
{
    c->malformed = true;
    buf_free(&c->collected);
}

static void imapc_body_begin(struct imapc *c, uint64_t size)
{
    uint32_t uid = 0;
    const struct imap_value *v = imap_value_get(imap_tree_first(c->tree), "UID");
    if (!imap_value_u32(v, &uid))
        uid = 0;
    if (c->body_of)
        c->body_of->cb.body->begin(c->body_of->cb.owner, c->head.number, uid, size);
    imapc_keep_pace(c, 1, 0);
}

/* The literal that begins: is it a body that streams? */
static void begin_literal(struct imapc *c, uint64_t size)
{
    bool fetch = span_is_ci(c->head.word, "FETCH") && !c->malformed;
    const struct imap_value *last = imap_tree_last(c->tree);
    c->literal_size = size;
    c->body_of = fetch && is_body_name(last) ? body_command(c, last) : NULL;
    c->streaming = c->body_of != NULL;
    if (c->streaming)
        imapc_body_begin(c, size);
    else if (size > COLLECT_MAX)
        give_up_response(c); /* nobody asked for so much */
}

static bool literal_piece(struct imapc *c, struct span bytes)
{
    if (!c->streaming && !c->malformed)
        buf_add_span(&c->collected, bytes);
    else if (c->body_of && bytes.len > 0)
        c->body_of->cb.body->piece(c->body_of->cb.owner, bytes);
    if (c->streaming)
        imapc_keep_pace(c, 0, bytes.len);
    return !c->freed && c->phase == READY;
}

static void end_literal(struct imapc *c)
{
    const char *why;
    bool ok;
    if (c->malformed)
        return;
    if (c->streaming) {
        if (c->body_of)
            c->body_of->cb.body->end(c->body_of->cb.owner);
        c->whole_of = c->body_of;
        if (c->freed || c->phase != READY)
            return;
        ok = imap_tree_stream(c->tree, c->literal_size, &why);
    } else {
        ok = imap_tree_literal(c->tree, buf_span(&c->collected), &why);
        buf_free(&c->collected);
    }
    c->streaming = false;
    if (!ok)
        give_up_response(c);
}

/* The name of a body that is a quoted string. */
static const struct imap_value *quoted_body(struct imapc *c)
{
    const struct imap_value *list = imap_tree_first(c->tree);
    const struct imap_value *v = list && list->kind == IMAP_LIST ? list->first : NULL;
    for (; v && v->next; v = v->next->next)
        if (is_body_name(v) && v->next->kind == IMAP_QUOTED)
            return v;
    return NULL;
}

static void end_response(struct imapc *c)
{
    struct imapc_queued *cmd = c->whole_of;
    const struct imap_value *data = c->malformed ? NULL : imap_tree_first(c->tree);
    c->whole_of = NULL;
    /* Servers may answer commands in any order, so an older one might take what is not meant for it. */
    if (cmd && cmd->cb.data && imapc_hand(c, cmd, cmd->cb.data, cmd->cb.owner, &c->head, data))
        return;
    imapc_offer(c, &c->head, data);
}

/* One step of a body that came as a quoted string; then the response as a whole. */
void imapc_step_quoted(struct imapc *c)
{
    struct span text = quoted_body(c)->next->text;
    struct imapc_queued *cmd = c->body_of;
    switch (c->quoted++) {
    case QUOTED_BEGIN:
        imapc_body_begin(c, text.len);
        break;
    case QUOTED_PIECE:
        if (cmd && text.len > 0)
            cmd->cb.body->piece(cmd->cb.owner, text);
        imapc_keep_pace(c, 0, text.len);
        break;
    default:
        c->quoted = QUOTED_NONE;
        if (cmd)
            cmd->cb.body->end(cmd->cb.owner);
        c->whole_of = c->body_of;
        if (!c->freed && c->phase == READY)
            end_response(c);
    }
}

/* --- lines --- */

/* A part of a response with data: the words before its literal, or all of it. */
static void take_part(struct imapc *c, struct span part, const struct imap_line_item *item)
{
    const char *why;
    note_raw(c, part);
    if (!c->malformed && !imap_tree_text(c->tree, part, &why))
        give_up_response(c);
    if (item->literal) {
        note_raw(c, span_of(item->text.p + item->marker, item->text.len - item->marker));
        begin_literal(c, item->size);
        return;
    }
    if (!c->malformed && !imap_tree_done(c->tree, &why))
        give_up_response(c);
    bool fetch = span_is_ci(c->head.word, "FETCH") && !c->malformed;
    const struct imap_value *name = fetch ? quoted_body(c) : NULL;
    c->body_of = name ? body_command(c, name) : NULL;
    c->quoted = c->body_of ? QUOTED_BEGIN : QUOTED_NONE;
    if (!c->body_of)
        end_response(c);
}

static void imapc_take_data(struct imapc *c, const struct imap_resp *resp, const struct imap_line_item *item)
{
    c->head = *resp;
    snprintf(c->word, sizeof c->word, "%.*s", (int)resp->word.len, (const char *)resp->word.p);
    c->head.word = span_str(c->word); /* the line goes before the response ends */
    c->whole_of = NULL;
    imap_tree_clear(c->tree);
    size_t end = item->literal ? item->marker : item->text.len;
    size_t begin = resp->rest < end ? resp->rest : end;
    buf_clear(&c->raw);
    note_raw(c, span_of(item->text.p, begin));
    take_part(c, span_of(item->text.p + begin, end - begin), item);
}

/* An untagged line that has no name, or a number that is none, is one line all the same. */
static void take_no_response(struct imapc *c, const struct imap_line_item *item, const char *why)
{
    bool untagged = item->text.len >= 2 && item->text.p[0] == '*' && item->text.p[1] == ' ';
    c->head = (struct imap_resp){.kind = RESP_DATA};
    buf_clear(&c->raw);
    note_raw(c, item->text);
    if (!untagged || item->literal)
        imapc_garbled(c, why);
    else
        tell_odd(c, who_asked(c));
}

static void take_first(struct imapc *c, const struct imap_line_item *item)
{
    struct imap_resp resp;
    const char *why;
    c->malformed = false;
    if (!imap_resp_parse(item->text, &resp, &why)) {
        take_no_response(c, item, why);
        return;
    }
    switch (resp.kind) {
    case RESP_TAGGED:
        imapc_take_tagged(c, &resp);
        break;
    case RESP_STATUS:
        buf_clear(&c->raw);
        note_raw(c, item->text);
        imapc_take_status(c, &resp);
        imapc_note_hint(c, resp.code, &resp);
        imapc_offer(c, &resp, NULL);
        break;
    case RESP_CONTINUE:
        take_continue(c);
        break;
    case RESP_DATA:
        imapc_take_data(c, &resp, item);
        break;
    }
}

static void take_bad_line(struct imapc *c, const char *why)
{
    buf_clear(&c->raw);
    note_raw(c, buf_span(&c->line.part));
    imapc_garbled(c, why);
}

static void imapc_take_item(struct imapc *c, enum imap_line_rc rc, const struct imap_line_item *item)
{
    if (rc == LINE_BAD)
        take_bad_line(c, item->why);
    else if (rc == LINE_LITERAL && literal_piece(c, item->text) && item->left == 0)
        end_literal(c);
    else if (rc == LINE_TEXT && item->first)
        take_first(c, item);
    else if (rc == LINE_TEXT)
        take_part(c, span_of(item->text.p, item->literal ? item->marker : item->text.len), item);
}

bool imapc_can_receive(const struct imapc *c)
{
    return c->phase == READY && !c->freed && !c->paused && !c->slowed;
}

void imapc_receive(struct imapc *c)
{
    uint64_t began = uv_hrtime();
    c->stamp_ms = clock_boot_ms();
    while (imapc_can_receive(c)) {
        if (c->quoted != QUOTED_NONE) {
            imapc_step_quoted(c);
            continue;
        }
        struct span in = stream_peek(c->stream);
        struct imap_line_item item;
        size_t used;
        enum imap_line_rc rc = imap_line_feed(&c->line, in.p, in.len, &used, &item);
        stream_eat(c->stream, used);
        if (rc == LINE_MORE)
            break;
        imapc_take_item(c, rc, &item);
        if (uv_hrtime() - began > TURN_NS && imapc_can_receive(c) && c->quoted == QUOTED_NONE) {
            stream_again(c->stream);
            break;
        }
    }
}

void imapc_read_on(struct imapc *c)
{
    if (c->paused || c->slowed)
        return;
    c->stamp_ms = clock_boot_ms();
    if (c->quoted != QUOTED_NONE)
        loop_defer(c->loop, &c->task);
    if (c->stream)
        stream_resume(c->stream);
}
