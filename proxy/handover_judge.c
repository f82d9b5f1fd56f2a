/* JUDGE: can the client go on with what the other server has shown of its mailbox? */
#include <inttypes.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/xalloc.h"

#include "freeze.h"
#include "handover_priv.h"
#include "prepare.h"
#include "proxy.h"
#include "relay.h"
#include "rest.h"
#include "views.h"

enum { GONE_MAX = 100000 };

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
    const char *result = h->is_thaw ? "thawed" : "moved";
    h->told = (struct buf){0};
    h->stream = NULL;
    if (change->arrived > 0)
        buf_printf(&lines, "* %" PRIu32 " EXISTS\r\n", exists);
    LOG(INFO, h->is_thaw ? "back_at_the_source" : "handed_over", LOG_S("session", s->name),
        LOG_S("user", s->account->key), LOG_S("backend", s->at->name), LOG_U("messages", exists),
        LOG_U("arrived", change->arrived), LOG_U("gone", imap_seq_count(&gone->numbers)),
        LOG_U("reflagged", imap_seq_count(reflagged)), LOG_U("ms", clock_boot_ms() - h->began_ms));
    tally_add(s->proxy->tally, TALLY_HANDOVERS, h->is_thaw ? "back_at_the_source" : "moved");
    metric_add(METRIC_HANDOVERS, 1, result, "");
    metric_observe(METRIC_HANDOVER_DURATION, 1000 * (clock_boot_ms() - h->began_ms), NULL, NULL);
    if (!h->is_thaw)
        relay_set_view(s, h->view, o->selected ? &h->sight : NULL);
    handover_owe_flags(s, reflagged);
    handover_drop(s);
    rest_over(s, result);
    prepare_drop(s);
    relay_attach(s, stream, s->at, buf_span(&lines), gone, exists);
    buf_free(&lines);
    if (s->state == IN_RELAY)
        relay_view_is(s); /* it may be a newer one by now */
    freeze_session(s);    /* what was heard of the account meanwhile */
}

void handover_judge(struct handover *h)
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
