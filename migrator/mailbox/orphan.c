#include <stdlib.h>

#include "lib/xalloc.h"

#include "delta.h"
#include "fillers.h"
#include "foreign.h"
#include "orphan.h"
#include "pair.h"
#include "remove.h"
#include "touch.h"

enum orphan_step { PROBE, OPEN, UNFILL, MOVE, REMOVE, LEAVE, DELETE };

struct orphan {
    struct orphan_request r;
    orphan_fn fn;
    void *owner;
    struct pair pair; /* of which only the target is opened */
    enum orphan_step step;
    struct fillers *fillers;
    struct foreign *foreign;
    struct remove *remove;
    struct touch_run *touch; /* of DELETE */
    bool empty;              /* as STATUS says */
    struct orphan_result result;
};

static void orphan_stop(struct orphan *o)
{
    imapc_forget(o->r.source, o);
    imapc_forget(o->r.target, o);
    fillers_stop(&o->fillers);
    foreign_stop(&o->foreign);
    remove_stop(&o->remove);
    touch_stop(&o->touch);
    selected_free(&o->pair.target);
    flags_pool_free(&o->pair.flags);
}

static void orphan_end(void *owner, enum copy_rc rc, const char *why)
{
    struct orphan *o = owner;
    char *text = xstrdup(why); /* it may be of what is stopped here */
    orphan_stop(o);
    o->result.rc = rc;
    o->result.why = text;
    o->fn(o->owner, &o->result);
    free(text);
    free(o);
}

static void orphan_send_name(struct orphan *o, struct imapc *c, const char *verb, const char *name,
                             const char *behind, imapc_data_fn data, imapc_end_fn fn)
{
    const struct imapc_command cmd = {.data = data, .end = fn, .owner = o, .mailbox = name};
    imapc_send_named(c, &cmd, verb, name, behind);
}

/* --- DELETE, LEAVE --- */

static void on_deleted(void *owner, const struct imapc_end *e)
{
    struct orphan *o = owner;
    if (e->rc == IMAPC_DOWN) {
        orphan_end(o, COPY_DOWN, imapc_error(o->r.target));
        return;
    }
    o->result.stays = e->rc != IMAPC_OK;
    touch_end(o->touch, orphan_end);
}

/* Executed late it would take away what the user has made of that name since. */
static void orphan_on_ready(void *owner, uint64_t modseq)
{
    struct orphan *o = owner;
    (void)modseq;
    orphan_send_name(o, o->r.target, "DELETE", o->r.target_name, "", NULL, on_deleted);
}

static enum imapc_taken orphan_on_status_data(void *owner, const struct imap_resp *resp,
                                              const struct imap_value *data)
{
    struct orphan *o = owner;
    uint32_t messages;
    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "STATUS"))
        return IMAPC_NOT_MINE;
    o->empty = imap_value_u32(imap_value_get(imap_value_at(data, 1), "MESSAGES"), &messages) && messages == 0;
    return stamp_status_is_whole(data) ? IMAPC_TAKEN : IMAPC_ODD;
}

static void orphan_on_counted(void *owner, const struct imapc_end *e)
{
    struct orphan *o = owner;
    if (e->rc == IMAPC_DOWN) {
        orphan_end(o, COPY_DOWN, imapc_error(o->r.target));
    } else if (e->rc != IMAPC_OK || !o->empty) {
        o->result.stays = true;
        orphan_end(o, COPY_EQUAL, "");
    } else {
        o->step = DELETE;
        o->touch = touch_start(&o->pair, NULL, 0, orphan_on_ready, orphan_end, o);
    }
}

static void orphan_on_left(void *owner, const struct imapc_end *e)
{
    struct orphan *o = owner;
    if (e->rc == IMAPC_DOWN)
        orphan_end(o, COPY_DOWN, imapc_error(o->r.target));
    else
        orphan_send_name(o, o->r.target, "STATUS", o->r.target_name, " (MESSAGES)", orphan_on_status_data,
                         orphan_on_counted);
}

/* What is selected can't be deleted everywhere, and CLOSE removes what is marked, whosever it is. */
static void orphan_leave(struct orphan *o)
{
    const struct imapc_command cmd = {.end = orphan_on_left, .owner = o};
    bool unselect = imap_caps_has(imapc_caps(o->r.target), CAP_UNSELECT);
    o->result.stays = !o->r.made || o->r.has_children || o->pair.target.list.n > 0;
    if (o->result.stays) {
        orphan_end(o, COPY_EQUAL, "");
        return;
    }
    o->step = LEAVE;
    imapc_watch(o->r.target, NULL, NULL, NULL, NULL);
    imapc_sendf(o->r.target, &cmd, "%s", unselect ? "UNSELECT" : "EXAMINE INBOX");
}

/* --- REMOVE --- */

static void orphan_on_removed(void *owner, enum copy_rc rc, const char *why)
{
    struct orphan *o = owner;
    if (rc == COPY_EQUAL)
        orphan_leave(o);
    else
        orphan_end(o, rc, why);
}

/* Is it the mailbox of which the ledger speaks? */
static bool orphan_is_bound(const struct orphan *o)
{
    uint32_t source, target;
    return ledger_bound(o->r.ledger, &source, &target) && target == o->pair.target.uidvalidity;
}

/* What of the ledger is still there. */
static struct imap_seq orphan_copies(const struct orphan *o)
{
    struct imap_seq uids = {0};
    size_t n;
    const struct ledger_row *rows = ledger_rows(o->r.ledger, &n);
    if (!orphan_is_bound(o))
        return uids;
    for (size_t i = 0; i < n; i++)
        if (mbox_list_find(&o->pair.target.list, rows[i].target_uid))
            imap_seq_add(&uids, rows[i].target_uid, rows[i].target_uid);
    return uids;
}

static bool is_allowed(struct orphan *o, uint64_t n)
{
    uint64_t all = ledger_sums(o->r.ledger)->rows, open = findings_open(o->r.findings);
    if (!delta_is_large_share(n, all, o->r.delete_share))
        return true;
    findings_add(o->r.findings, FINDING_SHARE, o->r.source_name, 0,
                 "the source has it no more: %llu copies are not removed unasked", (unsigned long long)n);
    return findings_open(o->r.findings) == open;
}

static void orphan_remove(struct orphan *o)
{
    struct imap_seq uids = orphan_copies(o);
    o->step = REMOVE;
    o->result.removed = imap_seq_count(&uids);
    if (uids.n == 0)
        orphan_leave(o);
    else if (is_allowed(o, o->result.removed))
        o->remove = remove_start(&o->pair, &uids, orphan_on_removed, o);
    else
        orphan_end(o, COPY_DIFFERS, "");
    imap_seq_free(&uids);
}

/* --- UNFILL, MOVE --- */

static void orphan_on_moved(void *owner, enum copy_rc rc, const char *why)
{
    struct orphan *o = owner;
    o->result.pending = rc == COPY_EQUAL && foreign_outcome(o->foreign).pending;
    if (rc != COPY_EQUAL)
        orphan_end(o, rc, why);
    else if (o->result.pending)
        orphan_end(o, COPY_DIFFERS, "");
    else
        orphan_remove(o);
}

static void orphan_on_unfilled(void *owner, enum copy_rc rc, const char *why)
{
    struct orphan *o = owner;
    const struct foreign_terms terms = {.calm = o->r.calm};
    size_t half_moved;
    ledger_moves(o->r.ledger, &half_moved);
    if (rc != COPY_EQUAL) {
        orphan_end(o, rc, why);
    } else if (half_moved > 0 && orphan_is_bound(o)) {
        o->step = MOVE;
        o->foreign = foreign_start(&o->pair, &terms, orphan_on_moved, o);
    } else {
        orphan_remove(o);
    }
}

static void orphan_on_opened(void *owner, enum copy_rc rc, const char *why)
{
    struct orphan *o = owner;
    if (rc != COPY_EQUAL && selected_vanished(&o->pair.target)) {
        orphan_end(o, COPY_EQUAL, "");
        return;
    }
    if (rc != COPY_EQUAL) {
        orphan_end(o, rc, why);
        return;
    }
    o->step = UNFILL;
    o->fillers = fillers_start(&o->pair, true, orphan_on_unfilled, o);
}

/* --- PROBE --- */

static enum imapc_taken on_probe_data(void *owner, const struct imap_resp *resp,
                                      const struct imap_value *data)
{
    (void)owner;
    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "STATUS"))
        return IMAPC_NOT_MINE;
    return stamp_status_is_whole(data) ? IMAPC_TAKEN : IMAPC_ODD;
}

static enum imapc_taken orphan_on_news(void *owner, const struct imap_resp *resp,
                                       const struct imap_value *data)
{
    struct orphan *o = owner;
    return selected_data(&o->pair.target, resp, data);
}

static void orphan_on_probed(void *owner, const struct imapc_end *e)
{
    struct orphan *o = owner;
    if (e->rc == IMAPC_DOWN) {
        orphan_end(o, COPY_DOWN, imapc_error(o->r.source));
    } else if (e->rc == IMAPC_OK || imapc_end_temporary(e)) {
        orphan_end(o, COPY_DIFFERS, "the source does not list it, and has it");
    } else {
        o->step = OPEN;
        imapc_watch(o->r.target, NULL, orphan_on_news, NULL, o);
        selected_open(&o->pair.target, NULL, orphan_on_opened, o);
    }
}

struct orphan *orphan_start(const struct orphan_request *request, orphan_fn fn, void *owner)
{
    struct orphan *o = xcalloc(1, sizeof *o);
    o->r = *request;
    o->fn = fn;
    o->owner = owner;
    o->pair.loop = request->loop;
    o->pair.ledger = request->ledger;
    o->pair.flags = flags_pool_new();
    selected_init(&o->pair.target, request->target, o->pair.flags, request->target_name, "target", false);
    orphan_send_name(o, request->source, "STATUS", request->source_name, " (MESSAGES)", on_probe_data,
                     orphan_on_probed);
    return o;
}

void orphan_cancel(struct orphan **op)
{
    struct orphan *o = *op;
    *op = NULL;
    if (!o)
        return;
    orphan_stop(o);
    free(o);
}
