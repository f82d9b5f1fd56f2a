#include <stdlib.h>

#include "lib/xalloc.h"

#include "delta.h"
#include "reflag.h"
#include "touch.h"

enum { IN_FLIGHT = 50 };

struct reflag {
    struct pair *p; /* borrowed */
    step_fn fn;
    void *owner;
    struct loop_task task;
    struct delta_flags *groups; /* owned */
    size_t n, next;
    struct uidset_place at; /* in groups[next] */
    struct imap_seq changed;
    struct touch_run *touch;
    uint64_t modseq;
    unsigned in_flight;
    bool down, listing;
};

void reflag_stop(struct reflag **rp)
{
    struct reflag *r = *rp;
    if (!r)
        return;
    *rp = NULL;
    loop_undefer(r->p->loop, &r->task);
    imapc_forget(r->p->target.imap, r);
    touch_stop(&r->touch);
    if (r->listing)
        imapc_forget(r->p->target.imap, &r->p->target);
    delta_flags_free(r->groups, r->n);
    imap_seq_free(&r->changed);
    free(r);
}

static enum imapc_taken reflag_on_data(void *owner, const struct imap_resp *resp,
                                       const struct imap_value *data)
{
    struct reflag *r = owner;
    return selected_data(&r->p->target, resp, data);
}

static void reflag_on_listed(void *owner, enum copy_rc rc, const char *why)
{
    struct reflag *r = owner;
    r->listing = false;
    r->fn(r->owner, rc, why); /* may stop r */
}

static void store_some(struct reflag *r);

static void reflag_on_stored(void *owner, const struct imapc_end *e)
{
    struct reflag *r = owner;
    r->in_flight--;
    /* A refusal shows as a difference that stays. */
    r->down = r->down || e->rc == IMAPC_DOWN;
    store_some(r);
}

static void reflag_on_failed(void *owner, enum copy_rc rc, const char *why)
{
    struct reflag *r = owner;
    r->fn(r->owner, rc, why); /* may stop r */
}

static void reflag_on_ended(void *owner, enum copy_rc rc, const char *why)
{
    struct reflag *r = owner;
    if (rc != COPY_EQUAL) {
        r->fn(r->owner, rc, why); /* may stop r */
        return;
    }
    r->listing = true;
    selected_refresh(&r->p->target, &r->changed, reflag_on_listed, r);
}

static void reflag_finish(struct reflag *r)
{
    if (r->down)
        r->fn(r->owner, COPY_DOWN, imapc_error(r->p->target.imap)); /* may stop r */
    else
        touch_end(r->touch, reflag_on_ended);
}

static void store_some(struct reflag *r)
{
    const struct imapc_command cmd = {.data = reflag_on_data, .end = reflag_on_stored, .owner = r};
    struct buf set = {0}, condition = {0};
    touch_write_condition(&condition, r->modseq);
    while (!r->down && r->next < r->n && r->in_flight < IN_FLIGHT) {
        const struct delta_flags *g = &r->groups[r->next];
        if (!uidset_next(&g->uids, &r->at, 0, &set)) {
            r->next++;
            r->at = (struct uidset_place){0};
            continue;
        }
        r->in_flight++;
        imapc_sendf(selected_imap(&r->p->target), &cmd, "UID STORE %s%s FLAGS.SILENT (%s)", buf_str(&set),
                    buf_str(&condition), flags_text(r->p->flags, g->set));
    }
    buf_free(&set);
    buf_free(&condition);
    if (r->in_flight == 0)
        reflag_finish(r);
}

static void reflag_on_ready(void *owner, uint64_t modseq)
{
    struct reflag *r = owner;
    r->modseq = modseq;
    store_some(r);
}

static void touch_groups(struct reflag *r)
{
    struct ledger_change *changes = xcalloc(r->n, sizeof *changes);
    for (size_t i = 0; i < r->n; i++)
        changes[i] = (struct ledger_change){&r->groups[i].uids, flags_text(r->p->flags, r->groups[i].set)};
    r->touch = touch_start(r->p, changes, r->n, reflag_on_ready, reflag_on_failed, r);
    free(changes);
}

static void reflag_on_task(struct loop_task *task)
{
    struct reflag *r = CONTAINER_OF(task, struct reflag, task);
    if (r->changed.n == 0)
        r->fn(r->owner, COPY_EQUAL, ""); /* may stop r */
    else if (r->p->target.given)
        r->fn(r->owner, COPY_DOWN, SELECTED_GIVEN); /* may stop r */
    else
        touch_groups(r);
}

struct reflag *reflag_start(struct pair *p, step_fn fn, void *owner)
{
    struct reflag *r = xcalloc(1, sizeof *r);
    struct delta d = {
        .source = &p->source.list, .target = &p->target.list, .permanent = &p->target.permanent};
    d.rows = ledger_rows(p->ledger, &d.n_rows);
    r->p = p;
    r->fn = fn;
    r->owner = owner;
    r->task.fn = reflag_on_task;
    r->groups = delta_flags(&d, &r->n);
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->groups[i].uids.n; k++) {
            struct imap_range range = r->groups[i].uids.ranges[k];
            imap_seq_add(&r->changed, range.first, range.last);
        }
    if (!p->target.given)
        p->counts.stored += imap_seq_count(&r->changed);
    loop_defer(p->loop, &r->task);
    return r;
}
