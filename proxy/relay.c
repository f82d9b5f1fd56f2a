#include <inttypes.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "lib/imap_cmd.h"
#include "lib/imap_resp.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "opened.h"
#include "preauth.h"
#include "proxy.h"
#include "relay.h"
#include "rest.h"

enum { OWN_TAG_BYTES = 8 };

/* What the client's next bytes are. */
enum up_mode {
    UP_COMMANDS,  /* commands, or the rest of the one under way */
    UP_PLUS,      /* not looked at: the backend has to take a synchronizing literal first */
    UP_IDLE_PLUS, /* not looked at: the backend has to take IDLE first */
    UP_IDLE,      /* DONE */
};

/* What becomes of the command under way. */
enum fate {
    FATE_PASSES,
    FATE_REFUSED,  /* swallowed and answered with r->answer; a synchronizing literal is refused */
    FATE_ANSWERED, /* the same, but its literals are taken */
    FATE_OVER,     /* the backend answered it before its non-synchronizing literal: the rest is swallowed */
};

struct command {
    TAILQ_ENTRY(command) link;
    enum imap_verb verb;
    enum relay_own own; /* a command of ours; OWN_NONE: the client's */
    bool reads;         /* changes nothing at the server */
    bool ends_idle;     /* we have sent the DONE: its answer is for us */
    bool takes_name;    /* the literal under way is the name of a mailbox ... */
    struct buf name;    /* ... or it stood in the line: of SELECT and EXAMINE; owned */
    char tag[]; /* with its NUL */
};

struct relay {
    struct imap_line up, down;
    struct imap_caps shown;
    char *shown_words; /* owned */

    TAILQ_HEAD(command_list, command) commands; /* passed on and not answered yet, the oldest first */
    size_t n_commands;
    struct command *current; /* which of them the client is sending; NULL when it was answered already */
    struct command *waits;   /* which of them "+" is waited for, or is in IDLE; NULL when answered */
    enum up_mode mode;
    bool own_plus; /* UP_PLUS: the client does not wait for the "+", we do */
    struct imap_cmd cmd; /* of the command that the client is sending */
    enum fate fate;
    struct buf answer; /* to the command that is swallowed */
    struct buf own;    /* lines of ours that wait for the end of a response */

    bool stray_done; /* the backend ended an IDLE by itself: the client's DONE may be on its way */
    bool logout;     /* passed on: nothing else may follow */
    bool finished;   /* LOGOUT was answered */
    bool bye;        /* the backend said BYE */
    enum why rest;   /* WHY_NONE, or what comes once no command is under way: a freeze, or the end */
    struct opened opened;
    size_t n_own;         /* commands of ours that are under way: what they bring is for us */
    char *idled;          /* tag of the client's IDLE that we have ended; it is to be begun again; owned */
    struct imap_seq gone; /* messages that the client has to be told of as expunged, when it may be */
    bool client_shut, backend_shut; /* not read at the moment */
    uint64_t moved_ms;              /* the loop's clock at the last byte */
};

/* ---- passing bytes on ----
 *
 * Bytes that lie one behind the other go out in one stream_send(), however many lines and literals they are.
 * Only a line that came in pieces, and what is rewritten, goes out on its own; then the stream is corked. */
struct outlet {
    struct stream *to;
    uint64_t *count;
    const uint8_t *from, *end; /* what was passed and not sent yet */
    bool corked;
};

static void outlet_flush(struct outlet *o)
{
    if (o->end > o->from) {
        *o->count += (uint64_t)(o->end - o->from);
        stream_send(o->to, o->from, (size_t)(o->end - o->from));
    }
    o->from = o->end = NULL;
}

static void outlet_range(struct outlet *o, const uint8_t *from, size_t len)
{
    if (from != o->end) {
        outlet_flush(o);
        o->from = from;
    }
    o->end = from + len;
}

static void outlet_text(struct outlet *o, struct span text)
{
    if (!o->corked)
        stream_cork(o->to);
    o->corked = true;
    outlet_flush(o);
    *o->count += text.len;
    stream_send(o->to, text.p, text.len);
}

static void outlet_line(struct outlet *o, struct span line)
{
    outlet_text(o, line);
    outlet_text(o, span_of("\r\n", 2));
}

static void outlet_end(struct outlet *o)
{
    outlet_flush(o);
    if (o->corked)
        stream_uncork(o->to);
}

/* A piece of input: what it is, and where its bytes are. */
struct piece {
    enum imap_line_rc rc;
    struct imap_line_item item;
    bool held; /* it came in pieces: its bytes are in the buffer of imap_line, without CRLF */
    const uint8_t *at;
    size_t len;
};

/* False: nothing whole is left. */
static bool next_piece(struct imap_line *lines, struct stream *from, struct piece *p)
{
    struct span data = stream_peek(from);
    p->held = lines->part.len > 0 && !lines->give_out;
    p->at = data.p;
    p->rc = imap_line_feed(lines, data.p, data.len, &p->len, &p->item);
    stream_eat(from, p->len);
    return p->rc != LINE_MORE;
}

static void outlet_piece(struct outlet *o, const struct piece *p)
{
    if (p->held && p->rc == LINE_TEXT)
        outlet_line(o, p->item.text);
    else if (p->len > 0)
        outlet_range(o, p->at, p->len);
}

/* ---- words of ours ---- */

bool relay_at_boundary(const struct session *s)
{
    return !s->relay->down.in_command;
}

/* Lines for the client, CRLF and all: at once, or when the response that is being sent has ended. */
static void say(struct session *s, struct span lines)
{
    struct relay *r = s->relay;
    if (relay_at_boundary(s) && r->own.len == 0) {
        s->bytes_out += lines.len;
        stream_send(s->client, lines.p, lines.len);
    } else {
        buf_add_span(&r->own, lines);
    }
}

static void sayf(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void sayf(struct session *s, const char *fmt, ...)
{
    struct buf line = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&line, fmt, ap);
    va_end(ap);
    buf_add_str(&line, "\r\n");
    say(s, buf_span(&line));
    buf_free(&line);
}

/* ---- commands under way ---- */

static struct command *command_add(struct relay *r, const char *tag, enum imap_verb verb)
{
    size_t n = strlen(tag) + 1;
    struct command *c = xcalloc(1, sizeof *c + n);
    c->verb = verb;
    memcpy(c->tag, tag, n);
    TAILQ_INSERT_TAIL(&r->commands, c, link);
    r->n_commands++;
    return c;
}

static void command_remove(struct relay *r, struct command *c)
{
    TAILQ_REMOVE(&r->commands, c, link);
    r->n_commands--;
    if (r->waits == c)
        r->waits = NULL;
    if (r->current == c)
        r->current = NULL;
    r->n_own -= c->own != OWN_NONE;
    buf_free(&c->name);
    free(c);
}

/* The oldest of this tag: a client that uses one twice gets the answers in order. */
static struct command *command_find(struct relay *r, struct span tag)
{
    struct command *c;
    TAILQ_FOREACH(c, &r->commands, link)
    if (span_is(tag, c->tag))
        return c;
    return NULL;
}

/* Is there something under way that a BYE would cut off? An IDLE is not. */
static bool is_busy(const struct relay *r)
{
    if (r->fate == FATE_PASSES && r->up.in_command)
        return true;
    return r->n_commands > (r->mode == UP_IDLE && r->waits ? 1 : 0);
}

bool relay_only_reads(const struct session *s)
{
    const struct relay *r = s->relay;
    const struct command *c;
    if (r->fate == FATE_PASSES && r->up.in_command)
        return false;
    TAILQ_FOREACH(c, &r->commands, link)
    if (!c->reads)
        return false;
    return true;
}

bool relay_is_quiet(const struct session *s)
{
    const struct relay *r = s->relay;
    return !(r->fate == FATE_PASSES && r->up.in_command) && r->n_commands == 0 && relay_at_boundary(s);
}

/* The client stays in its IDLE: DONE is for the server alone. */
static void end_idle(struct session *s)
{
    struct relay *r = s->relay;
    if (r->mode != UP_IDLE || !r->waits || r->waits->ends_idle || !session_may_pass(s))
        return;
    r->waits->ends_idle = true;
    stream_send(s->backend, "DONE\r\n", 6);
}

/* After anything that may have ended the last command. */
static void check_end(struct session *s)
{
    struct relay *r = s->relay;
    if (s->state != IN_RELAY)
        return;
    if (r->finished)
        session_close(s, WHY_LOGOUT, NULL);
    else if (s->client_eof && !is_busy(r) && stream_peek(s->client).len == 0)
        session_close(s, WHY_CLIENT_GONE, NULL);
    else if (r->rest == WHY_FREEZE) {
        end_idle(s);
        rest_step(s);
    } else if (r->rest != WHY_NONE && !is_busy(r))
        session_close(s, r->rest, NULL);
}

/* ---- client to backend ---- */

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

/* None of what clients ask for today may be enabled (imap_caps.c); what may one day goes to the backend. */
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

/* The first part of a command decides whether it passes. */
static void decide(struct relay *r, const struct imap_line_item *item, struct buf *rewritten)
{
    const char *why;
    r->fate = FATE_PASSES;
    if (!imap_cmd_parse(item->text, &r->cmd, &why))
        answer_with(r, FATE_REFUSED, "%s BAD %s", r->cmd.tag, why);
    else if (r->mode == UP_IDLE)
        answer_with(r, FATE_REFUSED, "%s BAD Expected DONE", r->cmd.tag);
    else if (r->cmd.verb == VERB_ID) /* what a client says of itself is not passed on, see preauth.c */
        answer_with(r, FATE_ANSWERED, PREAUTH_ID "\r\n%s OK ID completed", r->cmd.tag);
    else if (!imap_cmd_allowed(&r->cmd, item->text, true, &r->shown, &why))
        answer_with(r, FATE_REFUSED, "%s BAD %s", r->cmd.tag, why);
    else if (r->cmd.verb == VERB_ENABLE)
        decide_enable(r, item, rewritten);
}

static void pass_command(struct session *s, const struct imap_line_item *item)
{
    struct relay *r = s->relay;
    if (item->first) {
        r->current = command_add(r, r->cmd.tag, r->cmd.verb);
        r->current->reads = imap_cmd_reads(&r->cmd, item->text);
        opened_said(&r->opened, &r->cmd, item->text, &r->current->name);
        bool selects = r->cmd.verb == VERB_SELECT || r->cmd.verb == VERB_EXAMINE;
        r->current->takes_name = selects && item->literal && r->current->name.len == 0;
    } else if (r->current) {
        r->current->takes_name = false;
    }
    if (!r->current) {
        /* It was answered before it was whole. Nobody knows what the backend takes the next bytes for. */
        session_close(s, WHY_BAD_PART, "a command goes on after its answer");
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
    }
}

static void swallow(struct session *s, const struct imap_line_item *item)
{
    struct relay *r = s->relay;
    if (item->literal && !item->sync)
        return;
    if (item->literal && r->fate == FATE_ANSWERED) {
        say(s, span_str("+ OK\r\n"));
        return;
    }
    if (item->literal)
        imap_line_refuse(&r->up);
    if (r->fate == FATE_OVER)
        return;
    say(s, buf_span(&r->answer));
    buf_free(&r->answer);
}

/* The line with its "{n+}" as "{n}". A server that gives a command up at such a line takes the body for commands
 * (RFC 7888 section 8 warns of it, Dovecot 2.3 does it), which nobody would know of: neither the list of commands
 * under way nor a freeze. So a body is sent only when the backend has said that it takes it. */
static void ask_for_literal(const struct imap_line_item *item, struct buf *rewritten)
{
    buf_add(rewritten, item->text.p, item->marker);
    buf_printf(rewritten, "%s{%" PRIu64 "}", item->binary ? "~" : "", item->size);
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

/* Messages that are gone, the last one first, so that no number changes before it was told (RFC 3501 7.4.1). */
static void tell_gone(struct session *s)
{
    struct relay *r = s->relay;
    struct buf lines = {0};
    for (size_t i = r->gone.n; i-- > 0;)
        for (uint32_t n = r->gone.ranges[i].last; n >= r->gone.ranges[i].first; n--) {
            buf_printf(&lines, "* %" PRIu32 " EXPUNGE\r\n", n);
            r->opened.exists--;
        }
    say(s, buf_span(&lines));
    buf_free(&lines);
    imap_seq_free(&r->gone);
}

/* The client begins a command: now it may hear of what is gone, unless the command's numbers are those from before. False:
 * that ends the session. */
static bool tell_gone_at(struct session *s, const struct imap_line_item *item)
{
    struct relay *r = s->relay;
    if (r->gone.n == 0)
        return true;
    if (imap_cmd_uses_numbers(&r->cmd, item->text)) {
        LOG(INFO, "handed_over_in_vain", LOG_S("session", s->name), LOG_S("user", s->account->key),
            LOG_S("why", "message_numbers"));
        session_close(s, WHY_MOVED, "message numbers from before an EXPUNGE that could not be told");
        return false;
    }
    tell_gone(s);
    return true;
}

static void take_up_text(struct session *s, const struct piece *p, struct outlet *o)
{
    struct relay *r = s->relay;
    const char *why;
    if (take_done(r, p, o))
        return;
    struct buf rewritten = {0};
    if (p->item.first) {
        decide(r, &p->item, &rewritten);
        if (r->fate == FATE_PASSES && !tell_gone_at(s, &p->item))
            return;
    } else if (r->fate == FATE_PASSES && !imap_cmd_allowed(&r->cmd, p->item.text, false, &r->shown, &why)) {
        sayf(s, "%s BAD %s", r->cmd.tag, why);
        session_close(s, WHY_BAD_PART, why); /* its first half is at the backend */
        return;
    }
    if (r->fate != FATE_PASSES) {
        swallow(s, &p->item);
    } else {
        if (p->item.literal && !p->item.sync)
            ask_for_literal(&p->item, &rewritten);
        if (rewritten.len > 0)
            outlet_line(o, buf_span(&rewritten));
        else
            outlet_piece(o, p);
        pass_command(s, &p->item);
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
    sayf(s, "%s BAD %s", has_tag ? r->cmd.tag : "*", item->why);
    if (item->first && item->refusable)
        imap_line_refuse(&r->up);
    else
        session_close(s, WHY_BAD_LINE, item->why);
}

/* May the client's next piece be looked at? */
static bool up_open(const struct session *s)
{
    const struct relay *r = s->relay;
    bool may_begin = r->rest == WHY_NONE || r->up.in_command;
    return s->state == IN_RELAY && (r->mode == UP_COMMANDS || r->mode == UP_IDLE) && may_begin && !r->idled &&
           r->n_own == 0 && !(r->waits && r->waits->ends_idle) &&
           !r->logout && r->n_commands < LIMIT_PIPELINED && r->own.len < LIMIT_OWN_WORDS &&
           !stream_full(s->backend) && session_may_pass(s);
}

static void pump_up(struct session *s)
{
    struct relay *r = s->relay;
    struct outlet out = {.to = s->backend, .count = &s->bytes_in};
    struct piece p;
    while (up_open(s) && next_piece(&r->up, s->client, &p)) {
        if (p.rc == LINE_TEXT)
            take_up_text(s, &p, &out);
        else if (p.rc == LINE_BAD)
            take_up_bad(s, &p.item);
        else if (r->fate == FATE_PASSES) {
            note_literal(r, p.item.text);
            outlet_piece(&out, &p);
        }
        if (s->state != IN_RELAY)
            return; /* the backend's stream is gone */
    }
    outlet_end(&out);
}

/* ---- backend to client ---- */

/* Codes of extensions that are hidden, and those that would lead a client elsewhere. */
static const char *const hidden_codes[] = {"HIGHESTMODSEQ", "NOMODSEQ", "MAILBOXID", "REFERRAL"};

static bool is_hidden_code(struct span code)
{
    for (size_t i = 0; i < COUNTOF(hidden_codes); i++)
        if (imap_code_is(code, hidden_codes[i], NULL))
            return true;
    return false;
}

/* Writes a status response anew. */
static void rewrite_code(const struct relay *r, struct span line, const struct imap_resp *resp,
                         struct buf *out)
{
    size_t at = (size_t)(resp->code.p - line.p);
    if (imap_code_is(resp->code, "CAPABILITY", NULL)) {
        buf_add(out, line.p, at);
        buf_printf(out, "CAPABILITY %s", r->shown_words);
        buf_add(out, line.p + at + resp->code.len, line.len - at - resp->code.len);
    } else {
        buf_add(out, line.p, at - 1);
        buf_add_span(out, resp->text.len > 0 ? resp->text : span_str("Done"));
    }
}

/* Passes a status line, its code replaced, cut out, or (where an untagged one is all about its code) not at
 * all. */
static void pass_status(struct relay *r, const struct piece *p, const struct imap_resp *resp,
                        struct outlet *o)
{
    bool hidden = is_hidden_code(resp->code);
    if (!hidden && !imap_code_is(resp->code, "CAPABILITY", NULL)) {
        outlet_piece(o, p);
    } else if (!hidden || resp->kind == RESP_TAGGED) {
        struct buf line = {0};
        rewrite_code(r, p->item.text, resp, &line);
        outlet_line(o, buf_span(&line));
        buf_free(&line);
    }
}

/* The answer to a command was passed. */
static void command_ended(struct relay *r, struct command *c, enum imap_status status)
{
    opened_answered(&r->opened, c->verb, buf_span(&c->name), status);
    if (r->waits == c && r->mode == UP_PLUS && r->own_plus)
        r->fate = FATE_OVER;
    else if (r->waits == c && r->mode == UP_PLUS)
        imap_line_refuse(&r->up); /* the literal will not come */
    if (r->waits == c && r->mode == UP_IDLE)
        r->stray_done = true;
    if (r->waits == c)
        r->mode = UP_COMMANDS;
    if (c->verb == VERB_LOGOUT && status == STATUS_OK)
        r->finished = true;
    else if (c->verb == VERB_LOGOUT)
        r->logout = false;
    command_remove(r, c);
}

static void take_plus(struct relay *r, const struct piece *p, struct outlet *o)
{
    if (r->mode != UP_PLUS && r->mode != UP_IDLE_PLUS)
        return; /* nobody waits for it, and a client that gets it might send a literal */
    bool ours = r->own_plus;
    r->own_plus = false;
    r->mode = r->mode == UP_PLUS ? UP_COMMANDS : UP_IDLE;
    if (r->mode == UP_COMMANDS)
        r->waits = NULL;
    if (!ours)
        outlet_piece(o, p);
}

/* The answer to a command of ours, or to an IDLE that we have ended. */
static bool is_for_us(struct session *s, struct command *c, const struct imap_resp *resp)
{
    struct relay *r = s->relay;
    enum relay_own own = c->own;
    if (own == OWN_NONE && !(c->ends_idle && resp->status == STATUS_OK))
        return false;
    if (own == OWN_NONE)
        r->idled = xstrdup(c->tag);
    command_remove(r, c);
    if (own != OWN_NONE)
        rest_answered(s, own, resp->status);
    return true;
}

/* False: an answer to a command that we know nothing of. What the backend did then, nobody can tell. */
static bool take_response(struct session *s, const struct piece *p, struct outlet *o)
{
    struct relay *r = s->relay;
    struct imap_resp resp;
    const char *why;
    if (!imap_resp_parse(p->item.text, &resp, &why)) {
        outlet_piece(o, p);
        return true;
    }
    switch (resp.kind) {
    case RESP_DATA:
        opened_heard(&r->opened, &resp);
        if (r->n_own > 0 && rest_takes(s, &resp, p->item.text))
            break;
        if (span_is_ci(resp.word, "CAPABILITY") && !p->item.literal) {
            outlet_text(o, span_str("* CAPABILITY "));
            outlet_line(o, span_str(r->shown_words));
        } else {
            outlet_piece(o, p);
        }
        break;
    case RESP_STATUS:
        opened_heard(&r->opened, &resp);
        r->bye |= resp.status == STATUS_BYE;
        pass_status(r, p, &resp, o);
        break;
    case RESP_TAGGED:;
        struct command *c = command_find(r, resp.tag);
        if (!c)
            return false;
        if (is_for_us(s, c, &resp))
            break;
        pass_status(r, p, &resp, o);
        command_ended(r, c, resp.status);
        break;
    case RESP_CONTINUE:
        take_plus(r, p, o);
        break;
    }
    return true;
}

/* "* 3 FETCH", "* LIST", "* SEARCH": nearly all there is, and nothing in it is ours to change. Short lines with a number may be
 * "* 3 EXISTS", and all of them are of interest while a command of ours is under way. */
static bool is_plain_data(const struct relay *r, struct span line)
{
    bool counts = line.len > 2 && line.p[2] >= '0' && line.p[2] <= '9' && (r->n_own > 0 || line.len < 24);
    return line.len > 2 && line.p[0] == '*' && line.p[1] == ' ' && !strchr(" CcOoNnBbPp", line.p[2]) && !counts;
}

static bool pump_down(struct session *s)
{
    struct relay *r = s->relay;
    struct outlet out = {.to = s->client, .count = &s->bytes_out};
    struct piece p;
    const char *wrong = NULL;
    while (!wrong && !r->finished && next_piece(&r->down, s->backend, &p)) {
        if (p.rc == LINE_BAD)
            wrong = p.item.why;
        else if (p.rc != LINE_TEXT || !p.item.first || is_plain_data(r, p.item.text))
            outlet_piece(&out, &p);
        else if (!take_response(s, &p, &out))
            wrong = "an answer to a command that it was not sent";
        if (r->own.len > 0 && !r->down.in_command) {
            outlet_text(&out, buf_span(&r->own));
            buf_free(&r->own);
        }
    }
    outlet_end(&out);
    if (wrong)
        session_close(s, WHY_BACKEND_PROTOCOL, wrong);
    return !wrong;
}

/* ---- flow ---- */

static void set_shut(struct stream *stream, bool *shut, bool want)
{
    if (*shut == want)
        return;
    *shut = want;
    if (want)
        stream_pause(stream);
    else
        stream_resume(stream);
}

static void idle_again(struct session *s)
{
    struct relay *r = s->relay;
    struct command *c = command_add(r, r->idled, VERB_IDLE);
    struct buf line = {0};
    c->reads = true;
    r->waits = c;
    r->mode = UP_IDLE_PLUS;
    r->own_plus = true; /* the client had its "+" */
    buf_printf(&line, "%s IDLE\r\n", r->idled);
    stream_send(s->backend, line.mem + line.off, line.len);
    buf_free(&line);
    free(r->idled);
    r->idled = NULL;
}

/* What a hand-over or a thaw has left to be said, once something may pass. */
static void go_on(struct session *s)
{
    struct relay *r = s->relay;
    if (r->rest != WHY_NONE || !session_may_pass(s))
        return;
    if (r->idled && r->gone.n > 0)
        tell_gone(s); /* an IDLE is a command under way */
    if (r->own.len > 0 && relay_at_boundary(s)) {
        s->bytes_out += r->own.len;
        stream_send(s->client, buf_span(&r->own).p, r->own.len);
        buf_free(&r->own);
    }
    if (r->idled && r->n_commands == 0)
        idle_again(s);
}

void relay_flow(struct session *s)
{
    struct relay *r = s->relay;
    if (s->state == IN_FROZEN) { /* the end of the server's connection is of interest still */
        set_shut(s->client, &r->client_shut, true);
        if (s->backend)
            set_shut(s->backend, &r->backend_shut, false);
    }
    if (s->state != IN_RELAY)
        return;
    go_on(s);
    set_shut(s->client, &r->client_shut, !up_open(s));
    set_shut(s->backend, &r->backend_shut, stream_full(s->client) || !session_may_pass(s));
}

static void moved(struct session *s)
{
    s->relay->moved_ms = uv_now(&s->proxy->loop->uv);
}

/* After the client's bytes, and after those of the backend: each may have opened the way of the other. */
void relay_settle(struct session *s)
{
    check_end(s);
    relay_flow(s);
}

void relay_rest(struct session *s, enum why why)
{
    struct relay *r = s->relay;
    if (r->rest == WHY_SHUTDOWN)
        return; /* a thaw does not take that back */
    r->rest = why;
    relay_settle(s);
}

void relay_send_own(struct session *s, enum relay_own own, const char *text)
{
    struct relay *r = s->relay;
    struct buf line = {0};
    char tag[2 + 2 * OWN_TAG_BYTES] = "F";
    random_hex(tag + 1, OWN_TAG_BYTES);
    struct command *c = command_add(r, tag, VERB_UNKNOWN);
    c->own = own;
    c->reads = true;
    r->n_own++;
    buf_printf(&line, "%s %s\r\n", tag, text);
    stream_send(s->backend, line.mem + line.off, line.len);
    buf_free(&line);
}

const struct opened *relay_opened(const struct session *s)
{
    return &s->relay->opened;
}

void relay_attach(struct session *s, struct stream *stream, const struct conf_backend *at, struct span lines,
                  struct imap_seq *gone, uint32_t exists)
{
    struct relay *r = s->relay;
    stream_close(&s->backend, false);
    session_take_backend(s, stream, at);
    stream_without_secrets(stream);
    imap_line_wipe(&r->down);
    imap_line_init(&r->down, LINE_RESPONSES, &limits_of_backend);
    r->backend_shut = r->bye = false;
    r->rest = WHY_NONE;
    r->opened.exists = exists;
    imap_seq_free(&r->gone);
    r->gone = *gone;
    *gone = (struct imap_seq){0};
    buf_add_span(&r->own, lines);
    session_enter(s, IN_RELAY);
    moved(s);
    relay_settle(s);
}

void relay_client_event(struct session *s, enum stream_event ev)
{
    switch (ev) {
    case STREAM_DATA:
        moved(s);
        pump_up(s);
        break;
    case STREAM_EOF:
        s->client_eof = true;
        if (s->relay->mode == UP_IDLE) {
            session_close(s, WHY_CLIENT_GONE, NULL);
            return;
        }
        timer_start(s->timer, s->proxy->conf->proxy.backend_timeout_ms); /* for the answers still to come */
        break;
    case STREAM_DRAINED:
        break;
    default:
        return;
    }
    relay_settle(s);
}

void relay_backend_event(struct session *s, enum stream_event ev)
{
    struct relay *r = s->relay;
    switch (ev) {
    case STREAM_DATA:
        moved(s);
        /* The clock is read after the bytes: what the backend did before it is covered by the lease. */
        if (session_may_pass(s) && !pump_down(s))
            return;
        break;
    case STREAM_EOF:
        session_close(s,
                      r->bye && r->logout ? WHY_LOGOUT
                      : r->bye            ? WHY_BACKEND_BYE
                                          : WHY_BACKEND_GONE,
                      NULL);
        return;
    case STREAM_ERROR:
        session_close(s, WHY_BACKEND_BROKEN, stream_error(s->backend));
        return;
    case STREAM_DRAINED:
        break;
    default:
        return;
    }
    relay_settle(s);
}

void relay_timeout(struct session *s)
{
    uint64_t limit = s->proxy->conf->proxy.idle_timeout_ms;
    uint64_t idle = uv_now(&s->proxy->loop->uv) - s->relay->moved_ms;
    if (s->client_eof)
        session_close(s, WHY_CLIENT_GONE, "answers that did not come");
    else if (idle >= limit)
        session_close(s, WHY_IDLE, NULL);
    else
        timer_start(s->timer, limit - idle);
}

/* ---- life ---- */

void relay_begin(struct session *s, const struct imap_caps *shown)
{
    struct relay *r = s->relay = xcalloc(1, sizeof *r);
    struct buf words = {0};
    bool plus = imap_caps_has(shown, CAP_LITERAL_PLUS), minus = imap_caps_has(shown, CAP_LITERAL_MINUS);
    struct imap_line_limits up = limits_after_login(plus ? UINT64_MAX : minus ? LIMIT_NONSYNC : 0);
    imap_line_init(&r->up, LINE_COMMANDS, &up);
    imap_line_init(&r->down, LINE_RESPONSES, &limits_of_backend);
    TAILQ_INIT(&r->commands);
    r->shown = *shown;
    imap_caps_write(&words, shown);
    r->shown_words = xstrdup(buf_str(&words));
    buf_free(&words);
    session_enter(s, IN_RELAY);
    moved(s);
    if (s->client_eof)
        timer_start(s->timer, s->proxy->conf->proxy.backend_timeout_ms);
    stream_without_secrets(s->client);
    stream_without_secrets(s->backend);
    stream_again(s->client); /* what was pipelined behind the login */
    stream_again(s->backend);
}

const struct imap_caps *relay_shown(const struct session *s)
{
    return &s->relay->shown;
}

void relay_free(struct relay **rp)
{
    struct relay *r = *rp;
    if (!r)
        return;
    *rp = NULL;
    while (!TAILQ_EMPTY(&r->commands))
        command_remove(r, TAILQ_FIRST(&r->commands));
    imap_line_wipe(&r->up);
    imap_line_wipe(&r->down);
    buf_free(&r->answer);
    buf_free(&r->own);
    opened_free(&r->opened);
    imap_seq_free(&r->gone);
    free(r->idled);
    free(r->shown_words);
    free(r);
}
