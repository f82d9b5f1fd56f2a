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
    if (!c->answered && span_is(tag, c->tag))
        return c;
    return NULL;
}

/* Codes of extensions that are hidden, and those that would lead a client elsewhere. */
static const struct {
    const char *name;
    enum imap_cap unless; /* shown */
} hidden_codes[] = {{"HIGHESTMODSEQ", CAP_CONDSTORE},
                    {"NOMODSEQ", CAP_CONDSTORE},
                    {"MAILBOXID", CAP_NONE},
                    {"REFERRAL", CAP_NONE}};

static bool is_hidden_code(const struct relay *r, struct span code)
{
    for (size_t i = 0; i < COUNTOF(hidden_codes); i++)
        if (imap_code_is(code, hidden_codes[i].name, NULL))
            return !imap_caps_has(&r->shown, hidden_codes[i].unless);
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

/* A status line with its code replaced or cut out, in *room; the line itself where nothing is to be changed;
 * nothing (p is NULL) where an untagged one is all about a code that is hidden. */
static struct span shown_status(const struct relay *r, struct span line, const struct imap_resp *resp,
                                struct buf *room)
{
    bool hidden = is_hidden_code(r, resp->code);
    if (!hidden && !imap_code_is(resp->code, "CAPABILITY", NULL))
        return line;
    if (hidden && resp->kind != RESP_TAGGED)
        return span_of(NULL, 0);
    rewrite_code(r, line, resp, room);
    return buf_span(room);
}

/* How long a control character at p is: one byte, two for those of ISO 6429 that only UTF-8 can say (C1); 0: it is none. */
static size_t control_at(const uint8_t *p, const uint8_t *end)
{
    if (*p < 0x20 || *p == 0x7f)
        return 1;
    return end - p > 1 && p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0 ? 2 : 0;
}

/* The text of a status response is shown to people, by programs that may obey what is in it: a line without its
 * control characters, in *room where there are any. */
static struct span status_without_controls(struct span line, const struct imap_resp *resp, struct buf *room)
{
    const uint8_t *end = line.p + line.len, *kept = line.p;
    for (const uint8_t *p = resp->text.p; p && p < end;) {
        size_t n = control_at(p, end);
        if (n > 0)
            buf_add(room, kept, (size_t)(p - kept));
        p += n > 0 ? n : 1;
        kept = n > 0 ? p : kept;
    }
    if (kept == line.p)
        return line;
    buf_add(room, kept, (size_t)(end - kept));
    return buf_span(room);
}

/* c: the command that is answered, NULL for an untagged line. Where names or numbers are rewritten, that
 * comes behind the codes. */
static enum session_end pass_status(struct session *s, const struct piece *p, const struct imap_resp *resp,
                                    struct command *c, struct outlet *o, const char **wrong)
{
    struct relay *r = s->relay;
    struct buf room = {0}, clean = {0};
    struct imap_resp again, cleaned;
    enum session_end end = END_NONE;
    struct span whole = status_without_controls(p->item.text, resp, &clean);
    if (whole.p != p->item.text.p && imap_resp_parse(whole, &cleaned, wrong))
        resp = &cleaned;
    struct span line = shown_status(r, whole, resp, &room);
    if (!line.p) {
        buf_free(&room);
        buf_free(&clean);
        return END_NONE;
    }
    bool changed = line.p != p->item.text.p;
    if (!r->view && changed)
        outlet_line(o, line);
    else if (!r->view)
        outlet_piece(o, p);
    else if (changed && !imap_resp_parse(line, &again, wrong))
        end = END_VIEW;
    else if (c)
        end = relay_view_tagged(s, c, changed ? &again : resp, line, o, wrong);
    else
        end = relay_view_untagged(s, p, changed ? &again : resp, line, o, wrong);
    buf_free(&room);
    buf_free(&clean);
    if (c && !r->view)
        relay_command_ended(r, c, resp->status);
    return end;
}

void relay_command_ended(struct relay *r, struct command *c, enum imap_status status)
{
    opened_answered(&r->opened, c->verb, buf_span(&c->name), status);
    if (c->condstore)
        opened_asked_modseqs(&r->opened, status);
    if (r->waits == c && r->view && r->mode == UP_PLUS)
        relay_view_unsent(r);
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

static void take_plus(struct session *s, const struct piece *p, struct outlet *o)
{
    struct relay *r = s->relay;
    if (r->mode != UP_PLUS && r->mode != UP_IDLE_PLUS)
        return; /* nobody waits for it, and a client that gets it might send a literal */
    if (r->view && r->mode == UP_PLUS && relay_view_plus(s))
        return;
    bool ours = r->own_plus;
    r->own_plus = false;
    r->mode = r->mode == UP_PLUS ? UP_COMMANDS : UP_IDLE;
    if (r->mode == UP_COMMANDS)
        r->waits = NULL;
    if (!ours)
        outlet_piece(o, p);
}

/* The flags that a hand-over has left to be told. A NO [EXPUNGEISSUED] (RFC 5530) is of messages that are gone. */
static bool flags_are_told(const struct imap_resp *resp)
{
    return resp->status == STATUS_OK ||
           (resp->status == STATUS_NO && imap_code_is(resp->code, "EXPUNGEISSUED", NULL));
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
    r->opened.exists = number + (uint32_t)imap_seq_count(&r->gone.numbers);
    buf_printf(&line, "* %" PRIu32 " EXISTS", r->opened.exists);
    outlet_line(o, buf_span(&line));
    buf_free(&line);
}

/* The client was not told of all messages that came, so which of these it knows is not known, nor how many
 * are left. */
static bool is_of_withheld(struct session *s, const struct imap_resp *resp, struct span line)
{
    uint64_t n;
    return opened_vanished(resp, line, &n) && rest_withheld(s) > s->relay->opened.exists;
}

/* What ends the session; END_NONE: it goes on. */
static enum session_end take_untagged(struct session *s, const struct piece *p, const struct imap_resp *resp,
                                      struct outlet *o, const char **wrong)
{
    struct relay *r = s->relay;
    bool exists = resp->has_number && span_is_ci(resp->word, "EXISTS"), owes = relay_owes_expunges(s);
    if (owes && r->n_own == 0 && exists && resp->number <= UINT32_MAX - imap_seq_count(&r->gone.numbers)) {
        pass_exists(r, resp->number, o);
        return END_NONE;
    }
    if (owes && resp->has_number && !span_is_ci(resp->word, "RECENT"))
        return END_MOVED; /* numbers from behind an EXPUNGE that could not be told */
    if (r->n_own == r->n_commands && is_of_withheld(s, resp, p->item.text)) {
        *wrong = "VANISHED behind messages that it was not told of";
        return END_MOVED;
    }
    if (r->n_own == r->n_commands && rest_withholds(s, resp)) {
        r->hides = p->item.literal;
        return END_NONE;
    }
    opened_heard(&r->opened, resp, p->item.text);
    if (r->view && span_is_ci(resp->word, "ENABLED"))
        relay_view_enabled(s);
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
    } else if (r->view) {
        return relay_view_untagged(s, p, resp, p->item.text, o, wrong);
    } else {
        outlet_piece(o, p);
    }
    return END_NONE;
}

/* END_BACKEND_PROTOCOL: an answer to a command that we know nothing of. What the backend did then, nobody can
 * tell. */
static enum session_end take_response(struct session *s, const struct piece *p, struct outlet *o,
                                      const char **wrong)
{
    struct relay *r = s->relay;
    struct imap_resp resp;
    if (!imap_resp_parse(p->item.text, &resp, wrong)) {
        if (r->view)
            return END_VIEW;
        outlet_piece(o, p);
        return END_NONE;
    }
    switch (resp.kind) {
    case RESP_DATA:
        return take_untagged(s, p, &resp, o, wrong);
    case RESP_STATUS:
        if (!r->view) /* else it counts as it is shown */
            opened_heard(&r->opened, &resp, p->item.text);
        r->bye |= resp.status == STATUS_BYE;
        return pass_status(s, p, &resp, NULL, o, wrong);
    case RESP_TAGGED:;
        struct command *c = command_find(r, resp.tag);
        if (!c)
            return END_BACKEND_PROTOCOL;
        if (c->own == OWN_VIEW) {
            relay_view_asked(s, c, &resp, p->item.text, o);
            break;
        }
        if (c->own == OWN_FLAGS && !flags_are_told(&resp)) {
            *wrong = "flags that it does not tell";
            return END_MOVED;
        }
        if (is_for_us(s, c, &resp))
            break;
        return pass_status(s, p, &resp, c, o, wrong);
    case RESP_CONTINUE:
        take_plus(s, p, o);
        break;
    }
    return END_NONE;
}

/* "* 3 FETCH", "* LIST", "* SEARCH": nearly all there is, and nothing in it is ours to change. Short lines
 * with a number may be "* 3 EXISTS", and all of them are of interest while a command of ours is under way, or
 * an EXPUNGE waits to be told. */
static bool is_plain_data(const struct relay *r, struct span line)
{
    bool all = r->n_own > 0 || r->gone.numbers.n > 0;
    bool counts = line.len > 2 && line.p[2] >= '0' && line.p[2] <= '9' && (all || line.len < 24);
    return line.len > 2 && line.p[0] == '*' && line.p[1] == ' ' && !strchr(" CcIiOoNnBbPpVvEe", line.p[2]) &&
           !counts;
}

static const char *detail_of(enum session_end wrong, const struct piece *p, const char *why)
{
    if (wrong == END_MOVED)
        return why ? why : "message numbers from behind an EXPUNGE that could not be told";
    if (wrong == END_VIEW)
        return why;
    return p->rc == LINE_BAD ? p->item.why : "an answer to a command that it was not sent";
}

/* The next line has to wait. Through a map a short one can become a long one. */
static bool view_keeps(const struct session *s)
{
    return relay_view_stops(s->relay) || stream_full(s->client);
}

bool relay_pump_down(struct session *s)
{
    struct relay *r = s->relay;
    struct outlet out = {.to = s->client, .count = &s->bytes_out, .direction = "out"};
    struct piece p;
    enum session_end wrong = END_NONE;
    const char *why = NULL;
    while (!wrong && !r->finished && !(r->view && view_keeps(s)) && piece_next(&r->down, s->backend, &p)) {
        if (p.rc == LINE_BAD)
            wrong = END_BACKEND_PROTOCOL;
        else if (r->view && p.rc == LINE_TEXT && relay_view_quick(s, &p, &out))
            ;
        else if (p.rc == LINE_TEXT && p.item.first && (r->view || !is_plain_data(r, p.item.text)))
            wrong = take_response(s, &p, &out, &why);
        else if (r->view && (relay_view_collects(r) || (!r->hides && p.rc == LINE_TEXT)))
            wrong = relay_view_more(s, &p, &out, &why);
        else if (!r->hides)
            outlet_piece(&out, &p);
        r->hides &= r->down.in_command;
        if (r->own.len > 0 && !r->down.in_command) {
            outlet_text(&out, buf_span(&r->own));
            buf_free(&r->own);
        }
    }
    outlet_end(&out);
    if (!wrong && r->view && stream_peek(s->backend).len > 0)
        stream_again(s->backend); /* what stopped it may be over before anybody has seen it */
    if (wrong)
        session_close(s, wrong, detail_of(wrong, &p, why));
    return !wrong;
}
