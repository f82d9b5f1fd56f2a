#include <stdlib.h>

#include "delta.h"
#include "lib/xalloc.h"
#include "reflag.h"

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
    if (r->listing)
        imapc_forget(r->p->target.imap, &r->p->target);
    delta_flags_free(r->groups, r->n);
    imap_seq_free(&r->changed);
    free(r);
}

static enum imapc_taken on_data(void *owner, const struct imap_resp *resp, const struct imap_value *data)
{
    struct reflag *r = owner;
    return selected_data(&r->p->target, resp, data);
}

static void on_listed(void *owner, enum copy_rc rc, const char *why)
{
    struct reflag *r = owner;
    r->listing = false;
    r->fn(r->owner, rc, why); /* may stop r */
}

static void store_some(struct reflag *r);

static void on_stored(void *owner, const struct imapc_end *e)
{
    struct reflag *r = owner;
    r->in_flight--;
    /* A refusal shows as a difference that stays. */
    r->down = r->down || e->rc == IMAPC_DOWN;
    store_some(r);
}

static void finish(struct reflag *r)
{
    if (r->down) {
        r->fn(r->owner, COPY_DOWN, imapc_error(r->p->target.imap)); /* may stop r */
    } else if (r->changed.n > 0) {
        r->listing = true;
        selected_refresh(&r->p->target, &r->changed, on_listed, r);
    } else {
        r->fn(r->owner, COPY_EQUAL, "");
    }
}

static void store_some(struct reflag *r)
{
    const struct imapc_command cmd = {.data = on_data, .end = on_stored, .owner = r};
    struct buf set = {0};
    while (!r->down && r->next < r->n && r->in_flight < IN_FLIGHT) {
        const struct delta_flags *g = &r->groups[r->next];
        if (!uidset_next(&g->uids, &r->at, 0, &set)) {
            r->next++;
            r->at = (struct uidset_place){0};
            continue;
        }
        r->in_flight++;
        imapc_sendf(r->p->target.imap, &cmd, "UID STORE %s FLAGS.SILENT (%s)", buf_str(&set),
                    flags_text(r->p->flags, g->set));
    }
    buf_free(&set);
    if (r->in_flight == 0)
        finish(r);
}

static void on_task(struct loop_task *task)
{
    store_some(CONTAINER_OF(task, struct reflag, task));
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
    r->task.fn = on_task;
    r->groups = delta_flags(&d, &r->n);
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->groups[i].uids.n; k++) {
            struct imap_range range = r->groups[i].uids.ranges[k];
            imap_seq_add(&r->changed, range.first, range.last);
        }
    p->counts.stored += imap_seq_count(&r->changed);
    loop_defer(p->loop, &r->task);
    return r;
}
