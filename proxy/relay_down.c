/* From the backend to the client: responses, with capabilities and codes rewritten. */
#include <inttypes.h>

#include "lib/imap_resp.h"
#include "lib/xalloc.h"

#include "preauth.h"
#include "proxy.h"
#include "relay_priv.h"
#include "rest.h"

/* The oldest of this tag: a client that uses one twice gets the answers in order. */
static struct command *command_find(struct relay *r, struct span tag)
{
    struct command *c;
    TAILQ_FOREACH(c, &r->commands, link)
    if (span_is(tag, c->tag))
        return c;
    return NULL;
}

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
        buf_add_str(out, "CAPABILITY ");
        relay_write_capabilities(out, &r->shown, r->compression == COMPRESS_OFFERED);
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
    if (r->waits == c && (r->mode == UP_IDLE || (r->mode == UP_IDLE_PLUS && r->own_plus)))
        r->stray_done = true;
    if (r->waits == c)
        r->mode = UP_COMMANDS;
    if (c->verb == VERB_LOGOUT && status == STATUS_OK)
        r->finished = true;
    else if (c->verb == VERB_LOGOUT)
        r->logout = false;
    relay_command_remove(r, c);
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
    relay_command_remove(r, c);
    if (own != OWN_NONE)
        rest_answered(s, own, resp->status);
    return true;
}

/* The client does not know yet what is gone: to it there are more messages. */
static void pass_exists(struct relay *r, uint32_t number, struct outlet *o)
{
    struct buf line = {0};
    r->opened.exists = number + (uint32_t)imap_seq_count(&r->gone);
    buf_printf(&line, "* %" PRIu32 " EXISTS", r->opened.exists);
    outlet_line(o, buf_span(&line));
    buf_free(&line);
}

/* What ends the session; END_NONE: it goes on. */
static enum session_end take_untagged(struct session *s, const struct piece *p, const struct imap_resp *resp,
                                      struct outlet *o)
{
    struct relay *r = s->relay;
    bool exists = resp->has_number && span_is_ci(resp->word, "EXISTS");
    if (r->gone.n > 0 && r->n_own == 0 && exists && resp->number <= UINT32_MAX - imap_seq_count(&r->gone)) {
        pass_exists(r, resp->number, o);
        return END_NONE;
    }
    if (r->gone.n > 0 && resp->has_number && !span_is_ci(resp->word, "RECENT"))
        return END_MOVED; /* numbers from behind an EXPUNGE that could not be told */
    if (r->n_own == r->n_commands && rest_withholds(s, resp)) {
        r->hides = p->item.literal;
        return END_NONE;
    }
    opened_heard(&r->opened, resp);
    if (r->n_own > 0 && rest_takes(s, resp, p->item.text)) {
        r->hides = p->item.literal;
    } else if (span_is_ci(resp->word, "ID") && !resp->has_number) {
        /* whose server it is, and that it is another now, is not for clients */
        outlet_line(o, span_str(PREAUTH_ID));
        r->hides = p->item.literal;
    } else if (span_is_ci(resp->word, "CAPABILITY") && !p->item.literal) {
        struct buf line = {0};
        buf_add_str(&line, "* CAPABILITY ");
        relay_write_capabilities(&line, &r->shown, r->compression == COMPRESS_OFFERED);
        outlet_line(o, buf_span(&line));
        buf_free(&line);
    } else {
        outlet_piece(o, p);
    }
    return END_NONE;
}

/* END_BACKEND_PROTOCOL: an answer to a command that we know nothing of. What the backend did then, nobody can
 * tell. */
static enum session_end take_response(struct session *s, const struct piece *p, struct outlet *o)
{
    struct relay *r = s->relay;
    struct imap_resp resp;
    const char *why;
    if (!imap_resp_parse(p->item.text, &resp, &why)) {
        outlet_piece(o, p);
        return END_NONE;
    }
    switch (resp.kind) {
    case RESP_DATA:
        return take_untagged(s, p, &resp, o);
    case RESP_STATUS:
        opened_heard(&r->opened, &resp);
        r->bye |= resp.status == STATUS_BYE;
        pass_status(r, p, &resp, o);
        break;
    case RESP_TAGGED:;
        struct command *c = command_find(r, resp.tag);
        if (!c)
            return END_BACKEND_PROTOCOL;
        if (is_for_us(s, c, &resp))
            break;
        pass_status(r, p, &resp, o);
        command_ended(r, c, resp.status);
        break;
    case RESP_CONTINUE:
        take_plus(r, p, o);
        break;
    }
    return END_NONE;
}

/* "* 3 FETCH", "* LIST", "* SEARCH": nearly all there is, and nothing in it is ours to change. Short lines
 * with a number may be "* 3 EXISTS", and all of them are of interest while a command of ours is under way, or
 * an EXPUNGE waits to be told. */
static bool is_plain_data(const struct relay *r, struct span line)
{
    bool all = r->n_own > 0 || r->gone.n > 0;
    bool counts = line.len > 2 && line.p[2] >= '0' && line.p[2] <= '9' && (all || line.len < 24);
    return line.len > 2 && line.p[0] == '*' && line.p[1] == ' ' && !strchr(" CcIiOoNnBbPp", line.p[2]) &&
           !counts;
}

static const char *detail_of(enum session_end wrong, const struct piece *p)
{
    if (wrong == END_MOVED)
        return "message numbers from behind an EXPUNGE that could not be told";
    return p->rc == LINE_BAD ? p->item.why : "an answer to a command that it was not sent";
}

bool relay_pump_down(struct session *s)
{
    struct relay *r = s->relay;
    struct outlet out = {.to = s->client, .count = &s->bytes_out};
    struct piece p;
    enum session_end wrong = END_NONE;
    while (!wrong && !r->finished && piece_next(&r->down, s->backend, &p)) {
        if (p.rc == LINE_BAD)
            wrong = END_BACKEND_PROTOCOL;
        else if (p.rc == LINE_TEXT && p.item.first && !is_plain_data(r, p.item.text))
            wrong = take_response(s, &p, &out);
        else if (!r->hides)
            outlet_piece(&out, &p);
        r->hides &= r->down.in_command;
        if (r->own.len > 0 && !r->down.in_command) {
            outlet_text(&out, buf_span(&r->own));
            buf_free(&r->own);
        }
    }
    outlet_end(&out);
    if (wrong)
        session_close(s, wrong, detail_of(wrong, &p));
    return !wrong;
}
