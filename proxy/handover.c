#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/imap_id.h"
#include "lib/imap_tok.h"
#include "lib/imap_write.h"
#include "lib/log.h"
#include "lib/route.h"
#include "lib/xalloc.h"

#include "answers.h"
#include "client_id.h"
#include "freeze.h"
#include "handover.h"
#include "opened.h"
#include "parting.h"
#include "prepare.h"
#include "proxy.h"
#include "relay.h"
#include "rest.h"
#include "session_login.h"
#include "views.h"

enum { TAG_BYTES = 8, TOLD_MAX = 64 * 1024, GONE_MAX = 100000 };

enum step { SIGN_IN, VIEW, ASK, JUDGE };
enum ask { ASK_ID, ASK_NAMESPACE, ASK_ENABLE, ASK_SELECT, ASK_LIST, ASK_STATUS, ASK_COUNT };

struct handover {
    struct session *s; /* borrowed */
    bool is_thaw;      /* back to the source */
    bool tells_id;     /* the client has said another ID than the connection was opened with */
    enum step step;
    uint64_t began_ms;
    struct backend_login *dialog; /* SIGN_IN; owned */
    struct stream *stream;        /* from ASK on; owned */
    struct imap_line line;
    char tag[2 * TAG_BYTES + 2]; /* of all commands here, with a letter for which behind it */
    bool asked[ASK_COUNT];       /* and not answered yet */

    /* By which names and numbers are rewritten from here on, from ASK on; NULL: nothing is. A reference. */
    struct view *view;
    struct view_sight sight; /* JUDGE: of the mailbox that is open; of view */

    uint32_t uidvalidity, uidnext, exists;
    bool read_only, empty_list;
    bool asked_uidnext;    /* by STATUS */
    bool no_modseqs;       /* the mailbox has none there */
    struct opened enabled; /* what was enabled there; nothing else of it is used */
    struct view_list list;
    char *namespaces; /* owned */
    struct buf told;  /* FLAGS and PERMANENTFLAGS, for the client */
};

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

static void write_tag(struct handover *h, struct imap_writer *w, enum ask ask)
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
        handover_failed(s, r->rc == LOGIN_REFUSED ? "refused" : "unavailable", r->detail);
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
    random_hex(h->tag + 1, TAG_BYTES);
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
    enum ask which = (enum ask)(r->tag.p[n] - 'a');
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

/* ---- JUDGE ---- */

static const struct view_record *handover_record(const struct handover *h, const struct opened *o)
{
    const struct view *view = views_view(h->s->account);
    return view ? view_record_of(view, buf_span(&o->mailbox)) : NULL;
}

static bool is_identity(const struct view_uid *m)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->runs[i].client != m->runs[i].backend)
            return false;
    return true;
}

/* No UID below it is given out again. Where the server does not tell UIDNEXT at all, it is above each UID that it has. */
static uint32_t least_uidnext(const struct handover *h)
{
    const struct imap_seq *uids = &h->list.uids;
    uint32_t last = uids->n && !h->list.broken ? uids->ranges[uids->n - 1].last : 0;
    return h->uidnext > 0 || last == UINT32_MAX ? h->uidnext : last + 1;
}

/* Whether the migrator found the mailbox to have the same numbers on both sides, or else knows how they are
 * mapped. NULL: it did. */
static const char *judge_record(const struct handover *h, const struct opened *o)
{
    const struct view_record *r = handover_record(h, o);
    if (!r)
        return "no_record";
    if (r->target_uidvalidity != h->uidvalidity || (!h->view && r->source_uidvalidity != h->uidvalidity))
        return "uidvalidity";
    if (!h->sight.map && !is_identity(&r->map))
        return "uids";
    bool source_counts = !h->sight.map && r->source_uidnext > r->target_uidnext;
    uint32_t needed = source_counts ? r->source_uidnext : r->target_uidnext;
    return needed > 0 && least_uidnext(h) >= needed ? NULL : "uidnext";
}

/* How the client is to see the mailbox. NULL: as it knows it. */
static const char *judge_sight(struct handover *h, const struct opened *o)
{
    struct span name = buf_span(&o->mailbox);
    h->sight = (struct view_sight){.uidvalidity = h->uidvalidity, .modseqs = true};
    if (h->view && view_look(h->view, name, h->uidvalidity, h->uidnext, &h->sight) != VIEW_FITS) {
        const struct view_record *r = view_record_of(h->view, name);
        bool anew = r && r->target_uidvalidity == h->uidvalidity && h->uidnext < r->target_uidnext;
        return anew ? "uidnext" : "uidvalidity";
    }
    return h->sight.uidvalidity > 0 && h->sight.uidvalidity == o->uidvalidity ? NULL : "uidvalidity";
}

/* The personal namespaces by which the client knows its mailboxes. To free; NULL: not known. */
static char *known_namespaces(const struct session *s)
{
    const struct view_uid *map;
    const struct view *view = relay_view(s, &map);
    char separator = view ? view_client_separator(view) : '\0';
    if (!view)
        return xstrdup(rest_namespaces(s));
    return separator ? xasprintf("((\"%s\" \"%c\"))", view_client_prefix(view), separator) : NULL;
}

static const char *judge_names(const struct handover *h, const struct opened *o)
{
    const struct view *view = views_view(h->s->account);
    if (!o->names || h->is_thaw)
        return NULL;
    if (h->view && !view_names_alike(h->view)) /* it has to know how both servers spell names */
        return view_client_separator(h->view) || view_backend_separator(h->view) ? NULL : "names";
    char *known = known_namespaces(h->s);
    bool alike = known && h->namespaces && strcmp(known, h->namespaces) == 0 &&
                 views_has_records(h->s->account) && view_names_alike(view);
    free(known);
    return alike ? NULL : "names";
}

static const char *judge_mailbox(struct handover *h, const struct opened *o)
{
    bool broken;
    const char *why = NULL;
    if (!rest_list(h->s, &broken) || broken)
        return "list";
    if (h->read_only && !o->examined)
        return "read_only";
    why = judge_sight(h, o);
    return why || h->is_thaw ? why : judge_record(h, o);
}

/* A list in the client's UIDs. False: there are messages that it can't know. */
static bool list_to_client(const struct view_uid *map, const struct view_list *from, struct view_list *out)
{
    *out = (struct view_list){.broken = from->broken};
    if (map && !view_uid_set_to_client(map, &from->uids, VIEW_LIST_MAX, &out->uids))
        return false;
    for (size_t i = 0; !map && i < from->uids.n; i++)
        imap_seq_add(&out->uids, from->uids.ranges[i].first, from->uids.ranges[i].last);
    out->n = (uint32_t)imap_seq_count(&out->uids);
    out->flags = from->flags_cap ? xmalloc(from->flags_cap * sizeof *out->flags) : NULL;
    out->flags_cap = from->flags_cap;
    if (out->flags)
        memcpy(out->flags, from->flags, from->flags_cap * sizeof *out->flags);
    return out->n == from->n;
}

/* MODSEQs that the client was shown have to go on, or may come to be asked for. NULL: they do. */
static const char *judge_modseqs(const struct handover *h, const struct opened *o)
{
    if (!imap_caps_has(relay_shown(h->s), CAP_CONDSTORE))
        return NULL;
    bool go_on = h->is_thaw || views_has_modseqs(h->s->account);
    return go_on && !(o->condstore && h->no_modseqs) ? NULL : "modseqs";
}

/* The messages whose flags are others than the client knows, by their UIDs there. */
static void compare_flags(const struct handover *h, const struct view_list *client,
                          const struct view_list *now, struct imap_seq *reflagged)
{
    struct imap_seq numbers = {0};
    view_list_reflagged(client, now, &numbers);
    view_list_uids(&h->list, &numbers, reflagged);
    imap_seq_free(&numbers);
}

/* Both lists are drawn from servers that may number messages in different ways. In *gone: which of the
 * client's are gone, with their UIDs where it is told of these. False: they don't fit. */
static bool compare_lists(const struct handover *h, struct view_list_change *change, struct relay_gone *gone,
                          struct imap_seq *reflagged)
{
    struct view_list client = {0}, now = {0};
    const struct view_uid *map;
    bool broken;
    relay_view(h->s, &map);
    bool good = list_to_client(map, rest_list(h->s, &broken), &client) &&
                list_to_client(h->sight.map, &h->list, &now) && view_list_compare(&client, &now, change);
    gone->numbers = change->gone;
    change->gone = (struct imap_seq){0};
    if (relay_opened(h->s)->qresync)
        view_list_uids(&client, &gone->numbers, &gone->uids);
    compare_flags(h, &client, &now, reflagged);
    view_list_free(&client);
    view_list_free(&now);
    return good;
}

/* One that goes by MODSEQs is told all: the next one that it hears lies above those of all changes. */
static void handover_owe_flags(struct session *s, const struct imap_seq *reflagged)
{
    const struct opened *o = relay_opened(s);
    if (o->selected && o->condstore)
        relay_owe_flags(s, NULL, true);
    else if (reflagged->n > 0)
        relay_owe_flags(s, reflagged, false);
}

static void handover_finish(struct handover *h, struct view_list_change *change, struct relay_gone *gone,
                            const struct imap_seq *reflagged)
{
    struct session *s = h->s;
    const struct opened *o = relay_opened(s);
    struct buf lines = h->told;
    struct stream *stream = h->stream;
    uint32_t exists = o->exists + change->arrived;
    h->told = (struct buf){0};
    h->stream = NULL;
    if (change->arrived > 0)
        buf_printf(&lines, "* %" PRIu32 " EXISTS\r\n", exists);
    LOG(INFO, h->is_thaw ? "back_at_the_source" : "handed_over", LOG_S("session", s->name),
        LOG_S("user", s->account->key), LOG_S("backend", s->at->name), LOG_U("messages", exists),
        LOG_U("arrived", change->arrived), LOG_U("gone", imap_seq_count(&gone->numbers)),
        LOG_U("reflagged", imap_seq_count(reflagged)), LOG_U("ms", clock_boot_ms() - h->began_ms));
    tally_add(s->proxy->tally, TALLY_HANDOVERS, h->is_thaw ? "back_at_the_source" : "moved");
    if (!h->is_thaw)
        relay_set_view(s, h->view, o->selected ? &h->sight : NULL);
    handover_owe_flags(s, reflagged);
    handover_drop(s);
    rest_over(s);
    prepare_drop(s);
    relay_attach(s, stream, s->at, buf_span(&lines), gone, exists);
    buf_free(&lines);
    if (s->state == IN_RELAY)
        relay_view_is(s); /* it may be a newer one by now */
    freeze_session(s);    /* what was heard of the account meanwhile */
}

static void handover_judge(struct handover *h)
{
    struct session *s = h->s;
    const struct opened *o = relay_opened(s);
    struct view_list_change change = {0};
    struct relay_gone gone = {0};
    struct imap_seq reflagged = {0};
    const char *why = judge_names(h, o);
    if (!why)
        why = judge_modseqs(h, o);
    if (!why && o->selected)
        why = judge_mailbox(h, o);
    if (!why && o->selected && !compare_lists(h, &change, &gone, &reflagged))
        why = "uids";
    if (!why && imap_seq_count(&gone.numbers) > GONE_MAX)
        why = "uids";
    if (!why && o->selected && h->exists > 0 && h->exists < h->list.n)
        why = "uids";                         /* it lists more than it has */
    if (o->selected && h->exists > h->list.n) /* they came behind the list */
        change.arrived += h->exists - h->list.n;
    if (!why)
        handover_finish(h, &change, &gone, &reflagged);
    else
        handover_failed(s, why, NULL);
    imap_seq_free(&reflagged);
    relay_gone_free(&gone);
}

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
