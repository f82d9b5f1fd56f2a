/* From the client to the backend: commands, held to the allow-list. */
#include <inttypes.h>

#include "lib/imap_id.h"
#include "lib/log.h"

#include "client_id.h"
#include "preauth.h"
#include "proxy.h"
#include "relay_priv.h"

#define TOO_LONG "[LIMIT] A line of a command may have 1 MiB"

static void answer_with(struct relay *r, enum fate fate, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void answer_with(struct relay *r, enum fate fate, const char *fmt, ...)
{
    va_list ap;
    r->fate = fate;
    buf_clear(&r->answer);
    va_start(ap, fmt);
    buf_vprintf(&r->answer, fmt, ap);
    va_end(ap);
    buf_add_str(&r->answer, "\r\n");
}

/* What the client is shown goes to the backend. */
static void decide_enable(struct relay *r, const struct imap_line_item *item, struct buf *rewritten)
{
    struct span args = span_of(item->text.p + r->cmd.args, item->text.len - r->cmd.args);
    if (args.len == 0 || item->literal) {
        answer_with(r, FATE_REFUSED, "%s BAD Expected ENABLE with names of capabilities", r->cmd.tag);
        return;
    }
    struct buf names = {0};
    imap_cmd_filter_enable(&names, args, &r->shown);
    if (names.len > 0)
        buf_printf(rewritten, "%s ENABLE %s", r->cmd.tag, buf_str(&names));
    else
        answer_with(r, FATE_ANSWERED, "* ENABLED\r\n%s OK Nothing to enable", r->cmd.tag);
    buf_free(&names);
}

/* ---- ID ---- */

static const struct imap_tree_limits id_limits = {
    .depth = 2, .values = 2 * IMAP_ID_PAIRS + 1, .bytes = LIMIT_ID_LINE};

static void id_drop(struct relay *r)
{
    imap_tree_free(&r->id);
    buf_free(&r->id_literal);
}

static void id_text(struct relay *r, const struct imap_line_item *item)
{
    size_t begin = item->first ? r->cmd.args : 0, end = item->literal ? item->marker : item->text.len;
    const char *why;
    if (item->first) {
        id_drop(r);
        r->id = imap_tree_new(&id_limits);
        r->id_bad = false;
    }
    if (!r->id_bad && begin < end)
        r->id_bad = !imap_tree_text(r->id, span_of(item->text.p + begin, end - begin), &why);
}

static void id_literal(struct relay *r, const struct imap_line_item *item)
{
    const char *why;
    r->id_bad = r->id_bad || r->id_literal.len + item->text.len > IMAP_ID_VALUE;
    if (!r->id_bad)
        buf_add_span(&r->id_literal, item->text);
    if (!r->id_bad && item->left == 0)
        r->id_bad = !imap_tree_literal(r->id, buf_span(&r->id_literal), &why);
    if (item->left == 0)
        buf_free(&r->id_literal);
}

/* Written anew, in one line, with what a client may say; its answer is the server's but for what that says of
 * itself. */
static void id_pass(struct session *s, struct outlet *o)
{
    struct relay *r = s->relay;
    struct imap_writer w;
    if (relay_owes_expunges(s))
        relay_tell_gone(s);              /* it is a command without numbers */
    imap_writer_init(&w, LITERALS_SYNC); /* it needs none */
    imap_write_raw(&w, "%s ", r->cmd.tag);
    imap_id_write(&w, buf_span(&s->client_id));
    outlet_line(o, buf_span(&w.out));
    imap_writer_wipe(&w);
    relay_command_add(r, r->cmd.tag, VERB_ID)->reads = true;
}

static void id_end(struct session *s, struct outlet *o)
{
    struct relay *r = s->relay;
    struct buf pairs = {0};
    const char *why;
    bool good = !r->id_bad && imap_tree_done(r->id, &why) && imap_id_read(imap_tree_first(r->id), &pairs);
    id_drop(r);
    if (good)
        client_id_said(s, &pairs);
    buf_free(&pairs);
    if (!good)
        relay_sayf(s, "%s BAD " PREAUTH_ID_EXPECTED, r->cmd.tag);
    else if (client_id_is_heard(s, s->at) && s->said_id)
        id_pass(s, o);
    else
        relay_sayf(s, PREAUTH_ID "\r\n%s OK ID completed", r->cmd.tag);
}

/* ---- COMPRESS ---- */

static void decide_compress(struct relay *r, const struct imap_line_item *item)
{
    struct span args = span_of(item->text.p + r->cmd.args, item->text.len - r->cmd.args);
    if (item->literal || !span_is_ci(args, "DEFLATE"))
        answer_with(r, FATE_REFUSED, "%s BAD Expected COMPRESS DEFLATE", r->cmd.tag);
    else if (r->compression == COMPRESS_ACTIVE)
        answer_with(r, FATE_REFUSED, "%s NO [COMPRESSIONACTIVE] It is compressed by COMPRESS already",
                    r->cmd.tag);
    else
        answer_with(r, FATE_WAITS, "%s OK It is compressed from here on", r->cmd.tag);
}

void relay_compress(struct session *s)
{
    struct relay *r = s->relay;
    if (r->mode != UP_COMPRESS || r->n_commands > 0 || !relay_at_boundary(s) || !registration_may_pass(s))
        return;
    if (stream_peek(s->client).len > 0) {
        session_close(s, END_BEHIND_COMPRESS, NULL);
        return;
    }
    relay_say_own(s);
    relay_say(s, buf_span(&r->answer));
    buf_free(&r->answer);
    stream_compress(s->client);
    r->mode = UP_COMMANDS;
    r->compression = COMPRESS_ACTIVE;
    LOG(INFO, "compressed", LOG_S("session", s->name), LOG_S("user", s->account->key));
}

/* The first part of a command decides whether it passes. */
static void up_decide(struct session *s, const struct imap_line_item *item, struct buf *rewritten)
{
    struct relay *r = s->relay;
    const char *why;
    r->fate = FATE_PASSES;
    if (!imap_cmd_parse(item->text, &r->cmd, &why))
        answer_with(r, FATE_REFUSED, "%s BAD %s", r->cmd.tag, why);
    else if (r->mode == UP_IDLE)
        answer_with(r, FATE_REFUSED, "%s BAD Expected DONE", r->cmd.tag);
    else if (r->cmd.verb == VERB_ID)
        r->fate = FATE_COLLECTS;
    else if (r->cmd.verb == VERB_COMPRESS && r->compression != COMPRESS_NEVER)
        decide_compress(r, item);
    else if (!imap_cmd_allowed(&r->cmd, item->text, true, &r->shown, &why))
        answer_with(r, FATE_REFUSED, "%s BAD %s", r->cmd.tag, why);
    else if (r->cmd.verb == VERB_ENABLE)
        decide_enable(r, item, rewritten);
}

void relay_command_begins(struct session *s, struct span part, bool literal)
{
    struct relay *r = s->relay;
    r->current = relay_command_add(r, r->cmd.tag, r->cmd.verb);
    r->current->reads = imap_cmd_reads(&r->cmd, part);
    r->current->condstore = r->cmd.condstore;
    opened_said(&r->opened, &r->cmd, part, &r->current->name);
    bool selects = r->cmd.verb == VERB_SELECT || r->cmd.verb == VERB_EXAMINE;
    r->current->takes_name = selects && literal && r->current->name.len == 0;
}

static void pass_command(struct session *s, const struct imap_line_item *item)
{
    struct relay *r = s->relay;
    if (item->first) {
        relay_command_begins(s, item->text, item->literal);
    } else if (r->current) {
        r->current->takes_name = false;
        r->current->condstore = r->cmd.condstore;
    }
    if (!r->current) {
        /* It was answered before it was whole. Nobody knows what the backend takes the next bytes for. */
        session_close(s, END_BAD_PART, "a command goes on after its answer");
    } else if (item->literal) {
        r->mode = UP_PLUS;
        r->own_plus = !item->sync;
        r->waits = r->current;
    } else if (item->first && r->cmd.verb == VERB_IDLE) {
        r->mode = UP_IDLE_PLUS;
        r->own_plus = false;
        r->waits = r->current;
    } else if (item->first && r->cmd.verb == VERB_LOGOUT) {
        r->logout = true;
        relay_expect_end(s);
    }
}

static void up_swallow(struct session *s, const struct imap_line_item *item)
{
    struct relay *r = s->relay;
    if (item->literal && !item->sync)
        return;
    if (item->literal && r->fate == FATE_ANSWERED) {
        relay_say(s, span_str("+ OK\r\n"));
        return;
    }
    if (item->literal)
        imap_line_refuse(&r->up);
    if (r->fate == FATE_OVER)
        return;
    relay_say(s, buf_span(&r->answer));
    buf_free(&r->answer);
}

/* The line with its "{n+}" as "{n}". A server that gives a command up at such a line takes the body for
 * commands (RFC 7888 section 8 warns of it, Dovecot 2.3 does it), which nobody would know of: neither the
 * list of commands under way nor a freeze. So a body is sent only when the backend has said that it takes it.
 */
void relay_ask_for_literal(const struct imap_line_item *item, struct buf *out)
{
    buf_add(out, item->text.p, item->marker);
    buf_printf(out, "%s{%" PRIu64 "}", item->binary ? "~" : "", item->size);
}

void relay_up_answered(struct session *s, const struct imap_line_item *item)
{
    s->relay->fate = FATE_REFUSED;
    up_swallow(s, item);
}

/* True where the line is a DONE, or one that comes too late to mean anything. */
static bool take_done(struct relay *r, const struct piece *p, struct outlet *o)
{
    if (!p->item.first || p->item.literal || !span_is_ci(p->item.text, "DONE"))
        return false;
    if (r->mode == UP_IDLE) {
        r->mode = UP_COMMANDS;
        outlet_piece(o, p);
        return true;
    }
    bool stray = r->stray_done;
    r->stray_done = false;
    return stray;
}

/* The body of a literal, as far as it is of interest. */
static void note_literal(struct relay *r, struct span body)
{
    struct command *c = r->current;
    if (c && c->takes_name && c->name.len + body.len <= OPENED_NAME_MAX)
        buf_add_span(&c->name, body);
}

void relay_tell_gone(struct session *s)
{
    struct relay *r = s->relay;
    const struct imap_seq *numbers = &r->gone.numbers;
    struct buf lines = {0};
    r->opened.exists -= (uint32_t)imap_seq_count(numbers);
    if (r->opened.qresync) {
        buf_add_str(&lines, "* VANISHED ");
        imap_seq_write(&lines, &r->gone.uids);
        buf_add_str(&lines, "\r\n");
    }
    for (size_t i = r->opened.qresync ? 0 : numbers->n; i-- > 0;)
        for (uint32_t n = numbers->ranges[i].last; n >= numbers->ranges[i].first; n--)
            buf_printf(&lines, "* %" PRIu32 " EXPUNGE\r\n", n);
    relay_say(s, buf_span(&lines));
    buf_free(&lines);
    relay_gone_free(&r->gone);
    if (r->opened.exists == 0) { /* there are none to be told: no command waits for that */
        free(r->owes_flags);
        r->owes_flags = NULL;
    }
}

/* The client begins a command: now it may hear of what is gone, unless the command's numbers are those from
 * before. False: that ends the session. */
static bool tell_gone_at(struct session *s, const struct imap_line_item *item)
{
    struct relay *r = s->relay;
    if (!relay_owes_expunges(s))
        return true;
    if (imap_cmd_uses_numbers(&r->cmd, item->text)) {
        LOG(INFO, "handed_over_in_vain", LOG_S("session", s->name), LOG_S("user", s->account->key),
            LOG_S("why", "message_numbers"));
        session_close(s, END_MOVED, "message numbers from before an EXPUNGE that could not be told");
        return false;
    }
    relay_tell_gone(s);
    return true;
}

/* A literal's body is waited for, or it is whole. */
static void id_go_on(struct session *s, const struct imap_line_item *item, struct outlet *o)
{
    if (!item->literal)
        id_end(s, o);
    else if (item->sync)
        relay_say(s, span_str("+ OK\r\n"));
}

/* A part of a command that passes; rewritten: in its place, where it is not empty. */
static void up_pass(struct session *s, const struct piece *p, struct buf *rewritten, struct outlet *o)
{
    struct relay *r = s->relay;
    struct view_command *became = !p->item.first && r->current ? r->current->view : NULL;
    enum relay_view_part part = r->view ? relay_view_part(s, &p->item, rewritten, &became) : PART_PASSES;
    if (part == PART_COLLECTS) {
        r->fate = FATE_VIEW;
        relay_view_text(s, &p->item, o);
        return;
    }
    if (part == PART_ANSWERED && !p->item.first) { /* its first half is at the backend */
        relay_say(s, buf_span(&r->answer));
        session_close(s, END_BAD_PART, "UIDs behind a literal");
        return;
    }
    if (part == PART_ANSWERED) {
        relay_up_answered(s, &p->item);
        return;
    }
    if (p->item.literal && !p->item.sync && rewritten->len == 0)
        relay_ask_for_literal(&p->item, rewritten);
    if (rewritten->len > 0)
        outlet_line(o, buf_span(rewritten));
    else
        outlet_piece(o, p);
    pass_command(s, &p->item);
    if (s->state == IN_RELAY && r->current)
        r->current->view = became;
}

static void up_hold(struct relay *r, const struct imap_line_item *item)
{
    r->holds = true;
    r->held_item = *item;
    buf_clear(&r->held);
    buf_add_span(&r->held, item->text);
}

/* A line that is too long was read over. What there is of its command is not at the backend, or the session
 * ends. */
static void take_up_too_long(struct session *s, const struct imap_line_item *item)
{
    struct relay *r = s->relay;
    const char *why = TOO_LONG;
    if (item->first && !imap_cmd_parse(item->text, &r->cmd, &why) && r->cmd.tag[0] == '*') {
        relay_sayf(s, "* BAD %s", why);
        session_close(s, END_BAD_LINE, TOO_LONG);
    } else if (!item->first && r->fate == FATE_PASSES) {
        relay_sayf(s, "%s BAD " TOO_LONG, r->cmd.tag);
        session_close(s, END_BAD_PART, TOO_LONG);
    } else {
        bool answered = !item->first && (r->fate == FATE_REFUSED || r->fate == FATE_OVER);
        if (!answered)
            answer_with(r, FATE_REFUSED, "%s BAD " TOO_LONG, r->cmd.tag);
        up_swallow(s, item);
    }
}

static void take_up_text(struct session *s, const struct piece *p, struct outlet *o)
{
    struct relay *r = s->relay;
    const char *why;
    if (p->item.too_long) {
        take_up_too_long(s, &p->item);
        return;
    }
    if (take_done(r, p, o))
        return;
    struct buf rewritten = {0};
    bool passes = !p->item.first && (r->fate == FATE_PASSES || r->fate == FATE_VIEW);
    if (p->item.first) {
        up_decide(s, &p->item, &rewritten);
        if (r->fate == FATE_PASSES && r->view && relay_view_waits(s, p->item.text)) {
            up_hold(r, &p->item);
            buf_free(&rewritten);
            return;
        }
        if (r->fate == FATE_PASSES && !tell_gone_at(s, &p->item)) {
            buf_free(&rewritten);
            return;
        }
        if (r->fate == FATE_PASSES && r->owes_flags) { /* now they can be told */
            up_hold(r, &p->item);
            buf_free(&rewritten);
            return;
        }
    } else if (passes && !imap_cmd_allowed(&r->cmd, p->item.text, false, &r->shown, &why)) {
        if (r->fate == FATE_VIEW) { /* nothing of it is at the backend */
            answer_with(r, FATE_REFUSED, "%s BAD %s", r->cmd.tag, why);
            up_swallow(s, &p->item);
            return;
        }
        relay_sayf(s, "%s BAD %s", r->cmd.tag, why);
        session_close(s, END_BAD_PART, why); /* its first half is at the backend */
        return;
    }
    if (r->fate == FATE_COLLECTS) {
        id_text(r, &p->item);
        id_go_on(s, &p->item, o);
    } else if (r->fate == FATE_WAITS) {
        r->mode = UP_COMPRESS;
    } else if (r->fate == FATE_VIEW) {
        relay_view_text(s, &p->item, o);
    } else if (r->fate != FATE_PASSES) {
        up_swallow(s, &p->item);
    } else {
        up_pass(s, p, &rewritten, o);
    }
    buf_free(&rewritten);
}

static void take_up_bad(struct session *s, const struct imap_line_item *item)
{
    struct relay *r = s->relay;
    const char *why;
    if (item->first && !imap_cmd_parse(item->text, &r->cmd, &why))
        (void)why; /* its tag is usable all the same */
    bool has_tag = item->text.len > 0 || r->up.in_command;
    relay_sayf(s, "%s BAD %s", has_tag ? r->cmd.tag : "*", item->why);
    if (item->first && item->refusable)
        imap_line_refuse(&r->up);
    else
        session_close(s, END_BAD_LINE, item->why);
}

static bool up_is_open(const struct session *s)
{
    const struct relay *r = s->relay;
    bool may_begin = r->rest == END_NONE || (r->up.in_command && !r->holds);
    /* A command may be answered here: not while the client does not take what it was answered before. What
     * belongs to one that passes does not wait: a client may send all of it before it reads. */
    bool answers_wait = stream_full(s->client) && !(r->up.in_command && r->fate == FATE_PASSES);
    bool owes_flags = r->owes_flags && !relay_owes_expunges(s);
    return s->state == IN_RELAY && (r->mode == UP_COMMANDS || r->mode == UP_IDLE) && may_begin && !r->idled &&
           !owes_flags && r->n_own == 0 && !(r->waits && r->waits->ends_idle) && !r->logout &&
           r->n_commands < LIMIT_PIPELINED && r->own.len < LIMIT_OWN_WORDS && !answers_wait &&
           !stream_full(s->backend) && !(r->view && relay_view_asks(r)) && registration_may_pass(s);
}

bool relay_up_open(const struct session *s)
{
    return up_is_open(s) && !s->relay->holds;
}

bool relay_held_may_go(const struct session *s)
{
    const struct relay *r = s->relay;
    return r->holds && up_is_open(s) && !(r->view && relay_view_waits(s, buf_span(&r->held)));
}

/* The next piece. That of a command that waited is kept in *held as long as it is looked at. */
static bool up_next(struct session *s, struct piece *p, struct buf *held)
{
    struct relay *r = s->relay;
    if (!r->holds)
        return relay_up_open(s) && piece_next(&r->up, s->client, p);
    if (!relay_held_may_go(s))
        return false;
    buf_free(held);
    *held = r->held;
    r->held = (struct buf){0};
    r->holds = false;
    *p = (struct piece){.rc = LINE_TEXT, .item = r->held_item, .held = true};
    p->item.text = buf_span(held);
    return true;
}

/* Lines cost work, and refused ones an answer each: beyond so many it is the turn of others. A line that is longer than
 * what a round has is paid for by the next ones. */
static bool may_look(struct session *s)
{
    struct relay *r = s->relay;
    if (r->round != s->proxy->loop->round) {
        r->lines = 0;
        r->line_bytes -= r->line_bytes < LIMIT_LINE_BYTES_A_ROUND ? r->line_bytes : LIMIT_LINE_BYTES_A_ROUND;
    }
    r->round = s->proxy->loop->round;
    return r->lines < LIMIT_LINES_A_ROUND && r->line_bytes < LIMIT_LINE_BYTES_A_ROUND;
}

static void take_up(struct session *s, const struct piece *p, struct outlet *o)
{
    struct relay *r = s->relay;
    if (p->rc != LINE_LITERAL) {
        r->lines++;
        r->line_bytes += p->item.text.len;
    }
    if (p->rc == LINE_TEXT) {
        take_up_text(s, p, o);
    } else if (p->rc == LINE_BAD) {
        take_up_bad(s, &p->item);
    } else if (r->fate == FATE_PASSES) {
        note_literal(r, p->item.text);
        outlet_piece(o, p);
    } else if (r->fate == FATE_COLLECTS) {
        id_literal(r, &p->item);
    } else if (r->fate == FATE_VIEW) {
        relay_view_literal(s, &p->item);
    }
}

void relay_pump_up(struct session *s)
{
    struct outlet out = {.to = s->backend, .count = &s->bytes_in, .direction = "in"};
    struct piece p;
    struct buf held = {0};
    stream_cork(s->client); /* the answers to what came at once go out at once */
    while (may_look(s) && up_next(s, &p, &held)) {
        take_up(s, &p, &out);
        if (s->state != IN_RELAY)
            break; /* both streams are gone */
    }
    buf_free(&held);
    if (s->state != IN_RELAY) {
        buf_free(&out.texts);
        return;
    }
    outlet_end(&out);
    stream_uncork(s->client);
    if (!may_look(s))
        stream_again(s->client);
}
