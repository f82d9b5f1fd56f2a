#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/imap_id.h"
#include "lib/imap_write.h"
#include "lib/log.h"
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

enum step { SIGN_IN, ASK, JUDGE };
enum ask { ASK_ID, ASK_NAMESPACE, ASK_SELECT, ASK_LIST, ASK_COUNT };

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

    uint32_t uidvalidity, uidnext, exists;
    bool read_only, empty_list;
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
    return h->asked[ASK_ID] || h->asked[ASK_NAMESPACE] || h->asked[ASK_SELECT] || h->asked[ASK_LIST];
}

static void write_tag(struct handover *h, struct imap_writer *w, enum ask ask)
{
    h->asked[ask] = true;
    imap_write_raw(w, "%s%c ", h->tag, 'a' + ask);
}

static void write_select(struct handover *h, struct imap_writer *w, const struct opened *o)
{
    write_tag(h, w, ASK_SELECT);
    imap_write_raw(w, "%s ", o->examined ? "EXAMINE" : "SELECT");
    imap_write_astring(w, buf_span(&o->mailbox));
    imap_write_raw(w, "\r\n");
    write_tag(h, w, ASK_LIST);
    imap_write_raw(w, "FETCH 1:* (UID)\r\n");
}

static void handover_stream_event(struct stream *stream, enum stream_event ev, void *owner);

static void handover_ask(struct handover *h)
{
    struct session *s = h->s;
    const struct opened *o = relay_opened(s);
    struct imap_caps caps = backends_caps(s->proxy->backends, s->at);
    struct imap_writer w;
    h->step = ASK;
    stream_set_owner(h->stream, handover_stream_event, h);
    imap_writer_init(&w, imap_literals_of(&caps));
    if (h->tells_id && client_id_is_heard(s, s->at)) {
        write_tag(h, &w, ASK_ID); /* its answer is of no interest */
        imap_id_write(&w, buf_span(&s->client_id));
        imap_write_raw(&w, "\r\n");
    }
    if (rest_namespaces(s) && !h->is_thaw) {
        write_tag(h, &w, ASK_NAMESPACE);
        imap_write_raw(&w, "NAMESPACE\r\n");
    }
    if (o->selected)
        write_select(h, &w, o);
    bool good = !w.bad && w.n_waits == 0; /* a literal that it wants to be asked for can't be */
    if (good)
        stream_send(h->stream, buf_span(&w.out).p, w.out.len);
    imap_writer_wipe(&w);
    if (!good)
        handover_failed(s, "mailbox", "its name can't be sent");
    else
        handover_step(s);
}

/* ---- SIGN_IN ---- */

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
        handover_ask(h);
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
        handover_ask(h);
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
    if (which == ASK_SELECT && !ok)
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
    else if (imap_code_is(r->code, "PERMANENTFLAGS", NULL))
        handover_keep_told(h, line);
}

/* False: data that say that what we look at is no list. */
static bool handover_take_data(struct handover *h, const struct imap_resp *r, struct span line)
{
    struct span rest = span_of(line.p + r->rest, line.len - r->rest);
    if (r->has_number && span_is_ci(r->word, "FETCH"))
        view_list_take(&h->list, r->number, rest);
    else if (r->has_number && span_is_ci(r->word, "EXPUNGE"))
        return false;
    else if (r->has_number && span_is_ci(r->word, "EXISTS") && r->number < h->exists)
        return false;
    else if (r->has_number && span_is_ci(r->word, "EXISTS"))
        h->exists = r->number;
    else if (span_is_ci(r->word, "FLAGS"))
        handover_keep_told(h, line);
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

/* Whether the migrator found the mailbox to have the same numbers on both sides. NULL: it did. */
static const char *judge_record(const struct handover *h, const struct opened *o)
{
    const struct view_record *r = handover_record(h, o);
    if (!r)
        return "no_record";
    if (r->source_uidvalidity != h->uidvalidity || r->target_uidvalidity != h->uidvalidity)
        return "uidvalidity";
    if (!is_identity(&r->map))
        return "uids";
    uint32_t needed = r->source_uidnext > r->target_uidnext ? r->source_uidnext : r->target_uidnext;
    return needed > 0 && h->uidnext >= needed ? NULL : "uidnext";
}

static const char *judge_names(const struct handover *h, const struct opened *o)
{
    const char *source = rest_namespaces(h->s);
    const struct view *view = views_view(h->s->account);
    if (!o->names || h->is_thaw)
        return NULL;
    bool alike = source && h->namespaces && strcmp(source, h->namespaces) == 0 &&
                 views_has_records(h->s->account) && view_names_alike(view);
    return alike ? NULL : "names";
}

static const char *judge_mailbox(const struct handover *h, const struct opened *o)
{
    bool broken;
    if (!rest_list(h->s, &broken) || broken)
        return "list";
    if (h->read_only && !o->examined)
        return "read_only";
    if (h->uidvalidity == 0 || h->uidvalidity != o->uidvalidity)
        return "uidvalidity";
    return h->is_thaw ? NULL : judge_record(h, o);
}

static void handover_finish(struct handover *h, struct view_list_change *change)
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
        LOG_U("arrived", change->arrived), LOG_U("gone", imap_seq_count(&change->gone)),
        LOG_U("ms", clock_boot_ms() - h->began_ms));
    tally_add(s->proxy->tally, TALLY_HANDOVERS, h->is_thaw ? "back_at_the_source" : "moved");
    handover_drop(s);
    rest_over(s);
    prepare_drop(s);
    relay_attach(s, stream, s->at, buf_span(&lines), &change->gone, exists);
    buf_free(&lines);
    freeze_session(s); /* what was heard of the account meanwhile */
}

static void handover_judge(struct handover *h)
{
    struct session *s = h->s;
    const struct opened *o = relay_opened(s);
    struct view_list_change change = {0};
    bool broken;
    const char *why = judge_names(h, o);
    if (!why && o->selected)
        why = judge_mailbox(h, o);
    if (!why && o->selected && !view_list_compare(rest_list(s, &broken), &h->list, &change))
        why = "uids";
    if (!why && imap_seq_count(&change.gone) > GONE_MAX)
        why = "uids";
    if (!why && o->selected && h->exists > 0 && h->exists < h->list.n)
        why = "uids"; /* it lists more than it has */
    if (why) {
        imap_seq_free(&change.gone);
        handover_failed(s, why, NULL);
        return;
    }
    if (o->selected && h->exists > h->list.n) /* they came behind the list */
        change.arrived += h->exists - h->list.n;
    handover_finish(h, &change);
}

void handover_step(struct session *s)
{
    struct handover *h = s->handover;
    struct account *a = s->account;
    bool needs_views = !h->is_thaw && (relay_opened(s)->selected || relay_opened(s)->names);
    if (h->step == SIGN_IN || handover_is_asked(h))
        return;
    h->step = JUDGE;
    if (needs_views && views_state(a) == VIEWS_READING)
        return;
    if (needs_views && !views_is_current(a, s->at->name))
        handover_failed(s, "unavailable", "no records of the account");
    else if (registration_may_pass(s)) /* else when the lease allows it, or the deadline */
        handover_judge(h);
}
