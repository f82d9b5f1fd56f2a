#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/imap_id.h"
#include "lib/imap_tok.h"
#include "lib/imap_write.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/route.h"
#include "lib/xalloc.h"

#include "answers.h"
#include "client_id.h"
#include "freeze.h"
#include "handover_priv.h"
#include "opened.h"
#include "parting.h"
#include "prepare.h"
#include "proxy.h"
#include "relay.h"
#include "rest.h"
#include "session_login.h"
#include "views.h"

enum { TOLD_MAX = 64 * 1024 };

/* ---- the end ---- */

void handover_drop(struct session *s)
{
    struct handover *h = s->handover;
    if (!h)
        return;
    s->handover = NULL;
    backend_login_cancel(&h->dialog);
    stream_close(&h->stream, false);
    imap_line_wipe(&h->line);
    view_list_free(&h->list);
    view_unref(&h->view);
    free(h->namespaces);
    buf_free(&h->told);
    free(h);
}

void handover_failed(struct session *s, const char *why, const char *detail)
{
    struct handover *h = s->handover;
    enum session_end end = h->is_thaw ? END_NOT_BACK : END_MOVED;
    LOG(INFO, "not_handed_over", LOG_S("session", s->name), LOG_S("user", s->account->key),
        LOG_S("backend", s->at->name), LOG_S("why", why), LOG_S("detail", detail));
    tally_add(s->proxy->tally, TALLY_HANDOVERS, why);
    metric_add(METRIC_HANDOVERS, 1, "ended", why);
    session_close(s, end, why);
}

/* ---- ASK ---- */

static bool handover_is_asked(const struct handover *h)
{
    for (int i = 0; i < ASK_COUNT; i++)
        if (h->asked[i])
            return true;
    return false;
}

static void write_tag(struct handover *h, struct imap_writer *w, enum handover_ask ask)
{
    h->asked[ask] = true;
    imap_write_raw(w, "%s%c ", h->tag, 'a' + ask);
}

/* What the client has enabled (RFC 5161), before anything is opened. Without ENABLE, SELECT asks for
 * CONDSTORE. */
static void write_enable(struct handover *h, struct imap_writer *w, const struct opened *o)
{
    if (!o->condstore || !imap_caps_has(relay_shown(h->s), CAP_ENABLE))
        return;
    write_tag(h, w, ASK_ENABLE);
    imap_write_raw(w, "ENABLE %s\r\n", o->qresync ? "QRESYNC" : "CONDSTORE");
}

/* By the name that it has there. */
static void handover_write_name(const struct handover *h, struct imap_writer *w, const struct opened *o)
{
    struct buf name = {0};
    if (!h->view)
        buf_add_span(&name, buf_span(&o->mailbox));
    else if (!view_backend_name(h->view, buf_span(&o->mailbox), &name))
        w->bad = true;
    imap_write_astring(w, buf_span(&name));
    buf_free(&name);
}

/* The flags that the client knows are on its list. */
static bool compares_flags(const struct handover *h)
{
    bool broken;
    const struct view_list *list = rest_list(h->s, &broken);
    return list && list->flags;
}

static void write_select(struct handover *h, struct imap_writer *w, const struct opened *o)
{
    write_tag(h, w, ASK_SELECT);
    imap_write_raw(w, "%s ", o->examined ? "EXAMINE" : "SELECT");
    handover_write_name(h, w, o);
    bool asks = o->condstore && !imap_caps_has(relay_shown(h->s), CAP_ENABLE);
    imap_write_raw(w, asks ? " (CONDSTORE)\r\n" : "\r\n");
    write_tag(h, w, ASK_LIST);
    imap_write_raw(w, compares_flags(h) ? "FETCH 1:* (UID FLAGS)\r\n" : "FETCH 1:* (UID)\r\n");
}

/* Sends what was written. A literal that the server wants to be asked for can't be. */
static bool handover_send(struct handover *h, struct imap_writer *w)
{
    bool good = !w->bad && w->n_waits == 0;
    if (good)
        stream_send(h->stream, buf_span(&w->out).p, w->out.len);
    imap_writer_wipe(w);
    return good;
}

static struct imap_writer handover_writer(const struct handover *h)
{
    struct imap_caps caps = backends_caps(h->s->proxy->backends, h->s->at);
    struct imap_writer w;
    imap_writer_init(&w, imap_literals_of(&caps));
    return w;
}

/* Courier says UIDNEXT in STATUS alone. True: it is asked for it. */
static bool asks_uidnext(struct handover *h)
{
    const struct opened *o = relay_opened(h->s);
    if (!o->selected || h->is_thaw || h->uidnext > 0 || h->asked_uidnext)
        return false;
    struct imap_writer w = handover_writer(h);
    h->asked_uidnext = true;
    write_tag(h, &w, ASK_STATUS);
    imap_write_raw(&w, "STATUS ");
    handover_write_name(h, &w, o);
    imap_write_raw(&w, " (UIDNEXT)\r\n");
    h->asked[ASK_STATUS] = handover_send(h, &w);
    return h->asked[ASK_STATUS];
}

static void handover_stream_event(struct stream *stream, enum stream_event ev, void *owner);

static void handover_ask(struct handover *h)
{
    struct session *s = h->s;
    const struct opened *o = relay_opened(s);
    struct imap_writer w = handover_writer(h);
    h->step = ASK;
    if (h->tells_id && client_id_is_heard(s, s->at)) {
        write_tag(h, &w, ASK_ID); /* its answer is of no interest */
        imap_id_write(&w, buf_span(&s->client_id));
        imap_write_raw(&w, "\r\n");
    }
    if (rest_namespaces(s) && !h->is_thaw) {
        write_tag(h, &w, ASK_NAMESPACE);
        imap_write_raw(&w, "NAMESPACE\r\n");
    }
    write_enable(h, &w, o);
    if (o->selected)
        write_select(h, &w, o);
    if (!handover_send(h, &w))
        handover_failed(s, "mailbox", "its name can't be sent");
    else
        handover_step(s);
}

/* ---- VIEW ---- */

/* Where nothing is to be rewritten, records are of use for what the client has open or knows alone, and for
 * what is known of MODSEQs. */
static bool needs_view(const struct handover *h)
{
    const struct opened *o = relay_opened(h->s);
    const char *view = h->s->account->view;
    bool needed = o->selected || o->names || !view || route_view_is_needed(view);
    return !h->is_thaw && (needed || imap_caps_has(relay_shown(h->s), CAP_CONDSTORE));
}

static void handover_choose_view(struct handover *h)
{
    struct session *s = h->s;
    const struct view_uid *map;
    const struct view *view = h->is_thaw                   ? relay_view(s, &map)
                              : views_rewrites(s->account) ? views_view(s->account)
                                                           : NULL;
    h->view = view ? view_ref((struct view *)view) : NULL;
}

/* What it is, or that it can't be had, is told by handover_step(). */
static void handover_see(struct handover *h)
{
    struct account *a = h->s->account;
    if (needs_view(h) && views_state(a) == VIEWS_READING)
        return;
    if (needs_view(h) && !views_is_current(a, h->s->at->name)) {
        handover_failed(h->s, "unavailable", "no records of the account");
        return;
    }
    handover_choose_view(h);
    handover_ask(h);
}

/* ---- SIGN_IN ---- */

static void handover_connected(struct handover *h)
{
    h->step = VIEW;
    stream_set_owner(h->stream, handover_stream_event, h);
    handover_see(h);
}

static void handover_on_signed_in(void *owner, const struct login_result *r)
{
    struct handover *h = owner;
    struct session *s = h->s;
    h->dialog = NULL;
    if (r->rc != LOGIN_OK) {
        handover_failed(s, r->rc == LOGIN_REFUSED || r->rc == LOGIN_NO_MECHANISM ? "refused" : "unavailable",
                        r->detail);
        return;
    }
    h->stream = r->stream;
    if (session_login_has_what_is_shown(s, &r->caps))
        handover_connected(h);
    else
        handover_failed(s, "capabilities", NULL);
}

void handover_begin(struct session *s)
{
    struct account *a = s->account;
    struct handover *h = s->handover = xcalloc(1, sizeof *h);
    const struct conf_backend *at = conf_backend(s->proxy->conf, a->backend);
    const char *unfit = NULL;
    h->s = s;
    h->is_thaw = at == s->at;
    h->began_ms = clock_boot_ms();
    h->tag[0] = 'F';
    random_hex(h->tag + 1, HANDOVER_TAG_BYTES);
    imap_line_init(&h->line, LINE_RESPONSES, &limits_of_backend);
    parting_add(s->proxy->parting, &s->backend);
    if (!at || !s->secret) {
        handover_failed(s, !at ? "no_such_backend" : "no_credentials", NULL);
        return;
    }
    s->at = at;
    session_enter(s, IN_HANDOVER);
    registration_ask(s); /* with the new backend, where the lease lapsed meanwhile */
    if (!h->is_thaw) {
        views_want(a, a->backend, a->view ? a->view : "", true);
        h->stream = prepare_take(s, at, &unfit);
        h->tells_id = h->stream && !prepare_knows_id(s);
    }
    if (unfit)
        handover_failed(s, unfit, NULL);
    else if (h->stream)
        handover_connected(h);
    else
        h->dialog = session_login_again(s, at, handover_on_signed_in, h);
}

/* ---- answers ---- */

static bool handover_take_tagged(struct handover *h, const struct imap_resp *r)
{
    size_t n = strlen(h->tag);
    if (r->tag.len != n + 1 || memcmp(r->tag.p, h->tag, n) != 0)
        return false;
    enum handover_ask which = (enum handover_ask)(r->tag.p[n] - 'a');
    if (which >= ASK_COUNT || !h->asked[which])
        return false;
    h->asked[which] = false;
    bool ok = r->status == STATUS_OK;
    const struct opened *o = relay_opened(h->s);
    bool enabled = h->enabled.condstore && (h->enabled.qresync || !o->qresync);
    if (which == ASK_ENABLE && !(ok && enabled))
        handover_failed(h->s, "modseqs", "it does not enable them");
    else if (which == ASK_SELECT && !ok)
        handover_failed(h->s, "mailbox", NULL);
    else if (which == ASK_SELECT)
        h->read_only = imap_code_is(r->code, "READ-ONLY", NULL);
    else if (which == ASK_LIST && !ok && h->exists > 0)
        handover_failed(h->s, "unavailable", "no list of messages");
    return true;
}

static void handover_keep_told(struct handover *h, struct span line)
{
    if (h->told.len + line.len > TOLD_MAX)
        return;
    buf_add_span(&h->told, line);
    buf_add_str(&h->told, "\r\n");
}

static void handover_take_status(struct handover *h, const struct imap_resp *r, struct span line)
{
    struct span args;
    uint32_t n;
    if (imap_code_is(r->code, "UIDVALIDITY", &args) && span_u32(args, &n))
        h->uidvalidity = n;
    else if (imap_code_is(r->code, "UIDNEXT", &args) && span_u32(args, &n))
        h->uidnext = n;
    else if (imap_code_is(r->code, "NOMODSEQ", NULL))
        h->no_modseqs = true;
    else if (imap_code_is(r->code, "PERMANENTFLAGS", NULL))
        handover_keep_told(h, line);
}

/* "* STATUS name (UIDNEXT n)" of the only mailbox that was asked for. */
static void take_uidnext(struct handover *h, struct span rest)
{
    static const struct imap_tree_limits limits = {.depth = 4, .values = 50, .bytes = 8192, .lenient = true};
    struct imap_tree *t = imap_tree_new(&limits);
    const char *why;
    if (h->asked[ASK_STATUS] && imap_tree_text(t, rest, &why) && imap_tree_done(t, &why)) {
        const struct imap_value *items = imap_value_at(imap_tree_first(t), 1);
        if (!imap_value_u32(imap_value_get(items, "UIDNEXT"), &h->uidnext))
            h->uidnext = 0;
    }
    imap_tree_free(&t);
}

static void handover_take_fetch(struct handover *h, const struct imap_resp *r, struct span items)
{
    view_list_take(&h->list, r->number, items);
    if (compares_flags(h))
        view_list_take_flags(&h->list, r->number, items);
}

/* False: data that say that what we look at is no list. */
static bool handover_take_data(struct handover *h, const struct imap_resp *r, struct span line)
{
    struct span rest = span_of(line.p + r->rest, line.len - r->rest);
    uint64_t gone;
    if (opened_vanished(r, line, &gone))
        return false;
    if (r->has_number && span_is_ci(r->word, "FETCH"))
        handover_take_fetch(h, r, rest);
    else if (r->has_number && span_is_ci(r->word, "EXPUNGE"))
        return false;
    else if (r->has_number && span_is_ci(r->word, "EXISTS") && r->number < h->exists)
        return false;
    else if (r->has_number && span_is_ci(r->word, "EXISTS"))
        h->exists = r->number;
    else if (span_is_ci(r->word, "FLAGS"))
        handover_keep_told(h, line);
    else if (span_is_ci(r->word, "ENABLED"))
        opened_heard(&h->enabled, r, line);
    else if (span_is_ci(r->word, "STATUS"))
        take_uidnext(h, rest);
    else if (span_is_ci(r->word, "NAMESPACE") && !h->namespaces)
        h->namespaces = imap_personal_namespaces(line, r);
    return h->exists <= VIEW_LIST_MAX;
}

static enum answers_rc handover_take_response(void *owner, const struct imap_resp *r, struct span line,
                                              const char **wrong)
{
    struct handover *h = owner;
    struct session *s = h->s;
    if (r->kind == RESP_STATUS)
        handover_take_status(h, r, line);
    else if (r->kind == RESP_DATA && !handover_take_data(h, r, line))
        *wrong = "an EXPUNGE, fewer messages without one, or more than can be";
    else if (r->kind == RESP_TAGGED && !handover_take_tagged(h, r))
        *wrong = "an answer to a command that it was not sent";
    if (s->state != IN_HANDOVER)
        return ANSWERS_GONE;
    return *wrong ? ANSWERS_WRONG : handover_is_asked(h) ? ANSWERS_MORE : ANSWERS_DONE;
}

static void handover_read_answers(struct session *s)
{
    struct handover *h = s->handover;
    const char *wrong = NULL;
    enum answers_rc rc = answers_read(&h->line, h->stream, handover_take_response, h, &wrong);
    if (rc == ANSWERS_WRONG)
        handover_failed(s, "unavailable", wrong);
    else if (rc == ANSWERS_DONE)
        handover_step(s);
}

static void handover_stream_event(struct stream *stream, enum stream_event ev, void *owner)
{
    struct handover *h = owner;
    (void)stream;
    if (ev == STREAM_EOF || ev == STREAM_ERROR)
        handover_failed(h->s, "unavailable",
                        ev == STREAM_EOF ? "it closed the connection" : stream_error(h->stream));
    else if (ev == STREAM_DATA && handover_is_asked(h))
        handover_read_answers(h->s);
}

/* ---- the steps ---- */

void handover_step(struct session *s)
{
    struct handover *h = s->handover;
    if (h->step == VIEW)
        handover_see(h);
    if (s->state != IN_HANDOVER || s->handover != h || h->step < ASK || handover_is_asked(h))
        return;
    if (h->step == ASK && asks_uidnext(h))
        return;
    h->step = JUDGE;
    if (registration_may_pass(s)) /* else when the lease allows it, or the deadline */
        handover_judge(h);
}
