/* What is different where a client sees other names or numbers than the backend has: responses are written anew, and
 * what has to be in the store first is asked of it. Commands: relay_view_up.c. */
#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "proxy.h"
#include "relay_view_priv.h"
#include "views.h"

enum {
    ASK_MS = 1000,              /* how long a SELECT waits to hear whether the view is still the same */
    TRIES_MAX = 3,              /* how often the store may have changed meanwhile */
    RESPONSE_MAX = 1024 * 1024, /* of a response that is collected: lists and STATUS of one mailbox */
};

static const struct imap_tree_limits response_limits = {.depth = 64, .values = 100000, .bytes = RESPONSE_MAX};

/* ---- life ---- */

static void view_on_timeout(void *owner);

static struct relay_view *view_new_state(struct session *s, struct view *view)
{
    struct relay_view *v = xcalloc(1, sizeof *v);
    v->s = s;
    v->w = view_rewrite_new(view);
    v->timer = timer_new(s->proxy->loop, view_on_timeout, v);
    imap_writer_init(&v->out, LITERALS_SYNC);
    return v;
}

static void forget_data(struct relay_view *v)
{
    imap_tree_free(&v->data);
    buf_free(&v->head);
    buf_free(&v->body);
}

void relay_view_free(struct relay_view **vp)
{
    struct relay_view *v = *vp;
    if (!v)
        return;
    *vp = NULL;
    views_forget(v->s->account, v);
    relay_view_forget_command(v);
    relay_view_forget_out(v);
    forget_data(v);
    buf_free(&v->tagged);
    timer_free(&v->timer);
    view_rewrite_free(&v->w); /* and what commands became with it */
    free(v);
}

void relay_set_view(struct session *s, struct view *view, const struct view_sight *sight)
{
    struct relay *r = s->relay;
    struct command *c;
    TAILQ_FOREACH(c, &r->commands, link)
    c->view = NULL;
    relay_view_free(&r->view);
    if (view) {
        r->view = view_new_state(s, view);
        relay_view_enabled(s);
    }
    if (view && sight)
        view_rewrite_selected(r->view->w, buf_span(&r->opened.mailbox), sight);
}

void relay_view_enabled(struct session *s)
{
    const struct relay *r = s->relay;
    view_rewrite_enabled(r->view->w, r->opened.qresync, imap_caps_has(&r->shown, CAP_ESEARCH));
}

const struct view *relay_view(const struct session *s, const struct view_uid **_map)
{
    const struct relay_view *v = s->relay->view;
    *_map = v ? view_rewrite_map(v->w) : NULL;
    return v ? view_rewrite_view(v->w) : NULL;
}

/* ---- asking the store ---- */

static void view_ask_after(struct relay_view *v, const struct view_changes *changes);
static void view_answer_again(struct relay_view *v);
static void view_rename_again(struct relay_view *v);
static void current_is_told(struct relay_view *v);

static void asks_enter(struct relay_view *v, enum asking asks)
{
    if (v->asks == ASKS_NOTHING)
        timer_start(v->timer, v->s->proxy->conf->proxy.store_timeout_ms);
    if (asks == ASKS_NOTHING)
        timer_stop(v->timer);
    v->asks = asks;
}

bool relay_view_asks(const struct relay *r)
{
    return r->view->asks != ASKS_NOTHING;
}

bool relay_view_sends(const struct relay *r)
{
    enum asking asks = r->view->asks;
    return r->view->unsent || (asks != ASKS_NOTHING && asks < ASKS_AFTER);
}

bool relay_view_stops(const struct relay *r)
{
    return r->view->asks >= ASKS_AFTER;
}

/* A command that is not sent: nothing has happened. */
static void asks_refused(struct relay_view *v, const char *why)
{
    struct session *s = v->s;
    LOG(WARN, "view_not_changed", LOG_S("session", s->name), LOG_S("user", s->account->key),
        LOG_S("why", why));
    views_forget(s->account, v);
    view_command_free(v->w, &v->became);
    relay_view_forget_command(v);
    relay_view_forget_out(v);
    asks_enter(v, ASKS_NOTHING);
    relay_sayf(s, "%s NO [UNAVAILABLE] Mailboxes can't be %s at the moment, please try again later",
               s->relay->cmd.tag, s->relay->cmd.verb == VERB_DELETE ? "deleted" : "renamed");
    relay_settle(s);
}

/* The answer without what the store does not have. */
static void asks_unstored(struct relay_view *v, const char *why)
{
    struct session *s = v->s;
    struct imap_resp resp;
    struct buf out = {0};
    const char *wrong;
    views_forget(s->account, v);
    if (!imap_resp_parse(buf_span(&v->tagged), &resp, &wrong) ||
        view_rewrite_unstored(v->w, &v->answered->view, &resp, buf_span(&v->tagged), &out, &wrong) !=
            VIEW_LINES) {
        buf_free(&out);
        session_close(s, END_VIEW_STORE, why);
        return;
    }
    LOG(WARN, "view_not_changed", LOG_S("session", s->name), LOG_S("user", s->account->key),
        LOG_S("why", why));
    buf_free(&v->tagged);
    v->tagged = out;
    v->goes_on = false;
    asks_enter(v, ASKS_GIVE);
    relay_settle(s);
}

static void asks_failed(struct relay_view *v, const char *why)
{
    if (v->asks < ASKS_AFTER)
        asks_refused(v, why);
    else if (v->asks < ASKS_GIVE)
        asks_unstored(v, why);
    else
        session_close(v->s, END_VIEW_STORE, why);
}

static void view_on_timeout(void *owner)
{
    struct relay_view *v = owner;
    if (v->asks == ASKS_CURRENT)
        current_is_told(v);
    else
        asks_failed(v, "no answer of the store");
}

static void view_on_kept(void *owner, enum route_rc rc, const char *detail)
{
    struct relay_view *v = owner;
    struct session *s = v->s;
    (void)detail;
    if (rc != ROUTE_OK) {
        asks_failed(v, "the replicas of Redis do not keep up");
        return;
    }
    asks_enter(v, ASKS_SEND);
    if (s->state == IN_RELAY)
        relay_settle(s);
}

/* What was to be changed before the command is in the store. */
static void asks_keep(struct relay_view *v)
{
    if (view_command_does_without(v->became)) {
        asks_enter(v, ASKS_SEND);
        return;
    }
    asks_enter(v, ASKS_KEPT);
    if (!views_keep(v->s->account, view_on_kept, v))
        asks_failed(v, "the replicas of Redis do not keep up");
}

static void view_on_changed(void *owner, enum route_rc rc, const char *detail)
{
    struct relay_view *v = owner;
    struct session *s = v->s;
    bool before = v->asks == ASKS_BEFORE;
    if (rc == ROUTE_AGAIN && ++v->tries < TRIES_MAX) {
        asks_enter(v, before ? ASKS_VIEW_BEFORE : ASKS_VIEW_AFTER); /* relay_view_is() comes */
        return;
    }
    if (rc == ROUTE_REFUSED && before && view_command_does_without(v->became)) {
        view_command_drop_changes(v->became);
        asks_enter(v, ASKS_SEND);
        relay_settle(s);
        return;
    }
    if (rc != ROUTE_OK) {
        asks_failed(v, rc == ROUTE_DOWN || rc == ROUTE_NO_STORE ? "no answer of the store" : detail);
        return;
    }
    if (!views_view(s->account)) { /* read meanwhile: there is none any more */
        session_close(s, END_VIEW_STORE, "the account has no view any more");
        return;
    }
    view_rewrite_use(v->w, views_view(s->account));
    if (before)
        asks_keep(v);
    else
        view_answer_again(v); /* may end the session */
    if (s->state == IN_RELAY)
        relay_settle(s);
}

/* Where the account has been moved meanwhile, there is nothing to wait for. */
static void asks_store(struct relay_view *v, const struct view_changes *changes)
{
    struct session *s = v->s;
    if (!views_change(s->account, s->at->name, changes, view_on_changed, v))
        timer_start(v->timer, 1);
}

void relay_view_is(struct session *s)
{
    struct relay_view *v = s->relay->view;
    struct account *a = s->account;
    if (!v || views_state(a) == VIEWS_READING)
        return;
    bool good = views_is_current(a, s->at->name) && views_view(a);
    if (good)
        view_rewrite_use(v->w, views_view(a));
    if (v->asks == ASKS_VIEW_BEFORE || v->asks == ASKS_VIEW_AFTER) {
        if (!good) {
            asks_failed(v, "the records of the account can't be read");
            return;
        }
        if (v->asks == ASKS_VIEW_BEFORE)
            view_rename_again(v);
        else
            view_answer_again(v);
    }
    if (s->state == IN_RELAY)
        relay_settle(s);
}

/* ---- a RENAME, before it is sent ---- */

void relay_view_ask_before(struct relay_view *v)
{
    v->tries = 0;
    asks_enter(v, ASKS_BEFORE);
    asks_store(v, view_command_changes(v->became));
}

/* By the records that were read meanwhile. */
static void view_rename_again(struct relay_view *v)
{
    struct relay *r = v->s->relay;
    view_command_free(v->w, &v->became);
    relay_view_forget_out(v);
    buf_clear(&r->answer);
    enum view_becomes is =
        view_rewrite_whole(v->w, &r->cmd, imap_tree_first(v->args), &v->out, &r->answer, &v->became);
    if (is != VIEW_WRITTEN) {
        asks_refused(v, "its mailbox is another one now");
        return;
    }
    buf_add_str(&v->out.out, "\r\n");
    if (!view_command_changes(v->became)) {
        asks_enter(v, ASKS_SEND);
        return;
    }
    asks_enter(v, ASKS_BEFORE);
    asks_store(v, view_command_changes(v->became));
}

/* ---- responses ---- */

/* What the client is told counts for where it stands, as it is told. The tagged line's status, if there is
 * one. */
static enum imap_status note_told(struct relay *r, struct span lines)
{
    enum imap_status status = STATUS_NONE;
    while (lines.len > 0) {
        const uint8_t *lf = memchr(lines.p, '\n', lines.len);
        size_t n = lf ? (size_t)(lf - lines.p) + 1 : lines.len;
        struct span line = span_of(lines.p, n >= 2 ? n - 2 : 0);
        struct imap_resp resp;
        const char *why;
        bool known = imap_resp_parse(line, &resp, &why);
        if (known && resp.kind == RESP_TAGGED)
            status = resp.status;
        else if (known && resp.kind == RESP_STATUS)
            opened_heard(&r->opened, &resp, line);
        lines = span_of(lines.p + n, lines.len - n);
    }
    return status;
}

static enum session_end give(struct session *s, enum view_gives gives, const struct piece *p,
                             struct span line, const struct buf *out, struct outlet *o)
{
    struct relay *r = s->relay;
    switch (gives) {
    case VIEW_SAME:
        if (line.p == p->item.text.p)
            outlet_piece(o, p);
        else
            outlet_line(o, line);
        break;
    case VIEW_LINES:
        outlet_text(o, buf_span(out));
        break;
    case VIEW_NOTHING:
        r->hides = p->item.literal;
        break;
    default:
        return END_VIEW;
    }
    return END_NONE;
}

/* ---- responses that are collected ---- */

bool relay_view_collects(const struct relay *r)
{
    return r->view->data != NULL;
}

static enum session_end data_is_there(struct session *s, const struct piece *p, struct outlet *o,
                                      const char **wrong)
{
    struct relay_view *v = s->relay->view;
    struct imap_resp resp;
    struct buf out = {0};
    enum session_end end = END_VIEW;
    if (imap_tree_done(v->data, wrong) && imap_resp_parse(buf_span(&v->head), &resp, wrong)) {
        enum view_gives gives = view_rewrite_collected(v->w, &resp, imap_tree_first(v->data), &out, wrong);
        bool gone = gives == VIEW_SAME && !p->item.first; /* its first line is not there any more */
        end = gone ? END_VIEW : give(s, gives, p, p->item.text, &out, o);
    }
    buf_free(&out);
    forget_data(v);
    return end;
}

static enum session_end collect_data(struct session *s, const struct piece *p, size_t begin, struct outlet *o,
                                     const char **wrong)
{
    struct relay_view *v = s->relay->view;
    const struct imap_line_item *item = &p->item;
    if (p->rc == LINE_LITERAL) {
        buf_add_span(&v->body, item->text);
        if (item->left > 0)
            return END_NONE;
        bool good = imap_tree_literal(v->data, buf_span(&v->body), wrong);
        buf_free(&v->body);
        return good ? END_NONE : END_VIEW;
    }
    size_t end = item->literal ? item->marker : item->text.len;
    *wrong = "a response that is too long";
    if (item->literal && item->size > RESPONSE_MAX)
        return END_VIEW;
    if (begin < end && !imap_tree_text(v->data, span_of(item->text.p + begin, end - begin), wrong))
        return END_VIEW;
    return item->literal ? END_NONE : data_is_there(s, p, o, wrong);
}

static enum session_end collect_begin(struct session *s, const struct piece *p, const struct imap_resp *resp,
                                      struct outlet *o, const char **wrong)
{
    struct relay_view *v = s->relay->view;
    forget_data(v);
    v->data = imap_tree_new(&response_limits);
    buf_add_span(&v->head, p->item.text);
    return collect_data(s, p, resp->rest, o, wrong);
}

/* ---- untagged ones ---- */

enum session_end relay_view_untagged(struct session *s, const struct piece *p, const struct imap_resp *resp,
                                     struct span line, struct outlet *o, const char **wrong)
{
    struct relay *r = s->relay;
    struct buf out = {0};
    enum session_end end;
    enum view_gives gives = view_rewrite_response(r->view->w, resp, line, p->item.literal, &out, wrong);
    if (gives == VIEW_COLLECT)
        end = collect_begin(s, p, resp, o, wrong);
    else
        end = give(s, gives, p, line, &out, o);
    if (resp->kind == RESP_STATUS && gives == VIEW_SAME)
        opened_heard(&r->opened, resp, line);
    else if (resp->kind == RESP_STATUS && gives == VIEW_LINES)
        note_told(r, buf_span(&out));
    buf_free(&out);
    return end;
}

bool relay_view_quick(struct session *s, const struct piece *p, struct outlet *o)
{
    const struct relay *r = s->relay;
    bool usual =
        p->item.first && !p->item.literal && r->n_own == 0 && r->n_commands > 0 && r->gone.numbers.n == 0;
    return usual && view_rewrite_quick(r->view->w, p->item.text, outlet_room(o));
}

enum session_end relay_view_more(struct session *s, const struct piece *p, struct outlet *o,
                                 const char **wrong)
{
    struct buf out = {0};
    if (relay_view_collects(s->relay))
        return collect_data(s, p, 0, o, wrong);
    enum view_gives gives =
        view_rewrite_response(s->relay->view->w, NULL, p->item.text, p->item.literal, &out, wrong);
    enum session_end end = give(s, gives, p, p->item.text, &out, o);
    buf_free(&out);
    return end;
}

/* ---- commands of ours between a client's and its answer ---- */

/* The next one. */
static void ask_send(struct relay_view *v, struct command *client)
{
    struct session *s = v->s;
    struct buf line = {0};
    client->answered = true;
    v->asks_for = client;
    view_rewrite_ask(v->w, client->view, &line);
    relay_command_own(s, OWN_VIEW, buf_span(&line));
    buf_free(&line);
}

void relay_view_asked(struct session *s, struct command *own, const struct imap_resp *resp, struct span line,
                      struct outlet *o)
{
    struct relay *r = s->relay;
    struct relay_view *v = r->view;
    struct command *client = v->asks_for;
    struct buf out = {0};
    enum view_gives gives = view_rewrite_asked(v->w, &client->view, resp, line, &out);
    relay_command_remove(r, own);
    v->asks_for = NULL;
    outlet_text(o, buf_span(&out));
    enum imap_status status = note_told(r, buf_span(&out));
    if (gives == VIEW_ASK)
        ask_send(v, client);
    else
        relay_command_ended(r, client, status);
    buf_free(&out);
}

/* ---- is the view still the same? ---- */

/* Or nobody says so; then it is, as long as the session has its lease. */
static void current_is_told(struct relay_view *v)
{
    struct session *s = v->s;
    views_forget(s->account, v);
    timer_start(v->timer, s->proxy->conf->proxy.store_timeout_ms);
    if (views_state(s->account) == VIEWS_READING) {
        asks_enter(v, ASKS_VIEW_AFTER); /* relay_view_is() comes */
        return;
    }
    if (views_view(s->account) && views_is_current(s->account, s->at->name))
        view_rewrite_use(v->w, views_view(s->account));
    view_answer_again(v); /* may end the session */
    if (s->state == IN_RELAY)
        relay_settle(s);
}

static void view_on_current(void *owner, enum route_rc rc, const char *detail)
{
    (void)rc, (void)detail;
    current_is_told(owner);
}

/* To be asked behind the backend's answer: whoever renames tells the store before. */
static bool asks_whether_current(struct relay_view *v, struct command *c, const struct imap_resp *resp)
{
    struct session *s = v->s;
    bool opens = c->verb == VERB_SELECT || c->verb == VERB_EXAMINE;
    if (!opens || !c->view || resp->status != STATUS_OK ||
        !views_ask(s->account, s->at->name, view_on_current, v))
        return false;
    asks_enter(v, ASKS_CURRENT);
    timer_start(v->timer, ASK_MS);
    return true;
}

static void answer_waits(struct relay_view *v, struct command *c, struct span line)
{
    v->answered = c;
    v->tries = 0;
    buf_clear(&v->tagged);
    buf_add_span(&v->tagged, line);
}

/* ---- tagged ones ---- */

enum session_end relay_view_tagged(struct session *s, struct command *c, const struct imap_resp *resp,
                                   struct span line, struct outlet *o, const char **wrong)
{
    struct relay *r = s->relay;
    struct relay_view *v = r->view;
    struct buf out = {0};
    struct view_changes changes = {0};
    enum imap_status status = resp->status;
    enum session_end end = END_NONE;
    if (asks_whether_current(v, c, resp)) {
        answer_waits(v, c, line);
        return END_NONE;
    }
    enum view_gives gives = view_rewrite_tagged(v->w, &c->view, resp, line, &out, &changes, wrong);
    if (gives == VIEW_STORE) {
        answer_waits(v, c, line);
        view_ask_after(v, &changes);
    } else if (gives == VIEW_LINES) {
        outlet_text(o, buf_span(&out));
        status = note_told(r, buf_span(&out));
    } else if (gives == VIEW_ASK) {
        outlet_text(o, buf_span(&out));
        note_told(r, buf_span(&out));
        ask_send(v, c);
    } else if (gives == VIEW_SAME) {
        outlet_line(o, line);
    } else {
        end = END_VIEW;
    }
    if (gives == VIEW_LINES || gives == VIEW_SAME)
        relay_command_ended(r, c, status);
    view_changes_free(&changes);
    buf_free(&out);
    return end;
}

static void view_ask_after(struct relay_view *v, const struct view_changes *changes)
{
    asks_enter(v, ASKS_AFTER);
    asks_store(v, changes);
}

/* The records are as they have to be, or were read anew: the same answer is looked at once more. */
static void view_answer_again(struct relay_view *v)
{
    struct imap_resp resp;
    const char *wrong = "a tagged answer";
    struct buf out = {0};
    struct view_changes changes = {0};
    enum view_gives gives = VIEW_WRONG;
    if (imap_resp_parse(buf_span(&v->tagged), &resp, &wrong))
        gives = view_rewrite_tagged(v->w, &v->answered->view, &resp, buf_span(&v->tagged), &out, &changes,
                                    &wrong);
    if (gives == VIEW_STORE) {
        view_ask_after(v, &changes);
    } else if (gives == VIEW_LINES || gives == VIEW_SAME || gives == VIEW_ASK) {
        v->goes_on = gives == VIEW_ASK;
        if (gives == VIEW_SAME)
            buf_add_str(&v->tagged, "\r\n");
        else {
            buf_free(&v->tagged);
            v->tagged = out;
            out = (struct buf){0};
        }
        asks_enter(v, ASKS_GIVE);
    } else {
        session_close(v->s, END_VIEW, wrong);
    }
    view_changes_free(&changes);
    buf_free(&out);
}

static void give_answer(struct relay_view *v)
{
    struct session *s = v->s;
    struct relay *r = s->relay;
    struct span lines = buf_span(&v->tagged);
    s->bytes_out += lines.len;
    stream_send(s->client, lines.p, lines.len);
    enum imap_status status = note_told(r, lines);
    if (v->goes_on)
        ask_send(v, v->answered);
    else
        relay_command_ended(r, v->answered, status);
    v->answered = NULL;
    buf_free(&v->tagged);
    asks_enter(v, ASKS_NOTHING);
}

void relay_view_go_on(struct session *s)
{
    struct relay_view *v = s->relay->view;
    if (v->asks == ASKS_SEND) {
        asks_enter(v, ASKS_NOTHING);
        relay_view_send(v);
    } else if (v->asks == ASKS_GIVE) {
        give_answer(v);
    }
}
