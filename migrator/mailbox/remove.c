#include <stdlib.h>

#include "lib/xalloc.h"

#include "remove.h"
#include "touch.h"

struct remove {
    struct pair *p;           /* borrowed */
    bool (*may)(void *owner); /* may be NULL */
    step_fn fn;
    void *owner;
    struct imap_seq uids;
    struct loop_task task; /* the end that is there before the beginning */
    struct touch_run *touch;
    unsigned outstanding;
    char *refused; /* owned */
    bool down, unanswered;
};

void remove_stop(struct remove **rp)
{
    struct remove *r = *rp;
    if (!r)
        return;
    *rp = NULL;
    imapc_forget(r->p->target.imap, r);
    touch_stop(&r->touch);
    loop_undefer(r->p->loop, &r->task);
    imap_seq_free(&r->uids);
    free(r->refused);
    free(r);
}

static enum imapc_taken remove_on_data(void *owner, const struct imap_resp *resp,
                                       const struct imap_value *data)
{
    struct remove *r = owner;
    return selected_data(&r->p->target, resp, data);
}

/* One that is still in the list, 0 = none. */
static uint32_t find_left(const struct remove *r)
{
    const struct mbox_list *l = &r->p->target.list;
    for (size_t i = 0; i < r->uids.n; i++) {
        size_t at = mbox_list_from(l, r->uids.ranges[i].first);
        if (at < l->listed && l->msgs[at].uid <= r->uids.ranges[i].last)
            return l->msgs[at].uid;
    }
    return 0;
}

static void remove_finish(struct remove *r)
{
    uint32_t left = find_left(r);
    char *why = NULL;
    enum copy_rc rc = COPY_EQUAL;
    if (r->down) {
        rc = COPY_DOWN;
        why = xasprintf("target: %s", r->refused);
    } else if (left) {
        rc = COPY_DIFFERS;
        why = xasprintf("target UID %u has to be removed and is still there%s%s", left,
                        r->refused ? ": " : "", r->refused ? r->refused : "");
    }
    r->fn(r->owner, rc, why ? why : ""); /* may stop r */
    free(why);
}

/* A command that was answered, by whatever word, is over. */
static void remove_on_ended(void *owner, enum copy_rc rc, const char *why)
{
    struct remove *r = owner;
    if (rc == COPY_EQUAL)
        remove_finish(r);
    else
        r->fn(r->owner, rc, why); /* may stop r */
}

static void remove_on_end(void *owner, const struct imapc_end *e)
{
    struct remove *r = owner;
    r->outstanding--;
    r->unanswered = r->unanswered || e->rc == IMAPC_DOWN;
    r->down = r->down || e->rc == IMAPC_DOWN || (e->rc != IMAPC_OK && imapc_end_temporary(e));
    if (e->rc != IMAPC_OK && !r->refused)
        r->refused = e->rc == IMAPC_DOWN ? xstrdup(imapc_error(r->p->target.imap)) : imapc_end_text(e);
    if (r->outstanding > 0)
        return;
    if (r->unanswered)
        remove_finish(r);
    else
        touch_end(r->touch, remove_on_ended);
}

static void remove_on_ready(void *owner, uint64_t modseq)
{
    struct remove *r = owner;
    const struct imapc_command cmd = {.data = remove_on_data, .end = remove_on_end, .owner = r};
    struct buf set = {0}, condition = {0};
    struct uidset_place at = {0};
    if (r->may && !r->may(r->owner)) {
        touch_end(r->touch, remove_on_ended);
        return;
    }
    touch_write_condition(&condition, modseq);
    while (uidset_next(&r->uids, &at, 0, &set)) {
        r->outstanding += 2;
        imapc_sendf(selected_imap(&r->p->target), &cmd, "UID STORE %s%s +FLAGS.SILENT (\\Deleted)",
                    buf_str(&set), buf_str(&condition));
        imapc_sendf(selected_imap(&r->p->target), &cmd, "UID EXPUNGE %s", buf_str(&set));
    }
    r->outstanding++;
    imapc_sendf(selected_imap(&r->p->target), &cmd, "NOOP");
    buf_free(&set);
    buf_free(&condition);
}

static void remove_on_failed(void *owner, enum copy_rc rc, const char *why)
{
    struct remove *r = owner;
    r->fn(r->owner, rc, why); /* may stop r */
}

static void touch_all(struct remove *r)
{
    const struct ledger_change change = {.target_uids = &r->uids};
    r->touch = touch_start(r->p, &change, 1, remove_on_ready, remove_on_failed, r);
}

static void remove_refuse(struct loop_task *task)
{
    struct remove *r = CONTAINER_OF(task, struct remove, task);
    char *why = xasprintf("target UID %u has to be removed, which the target can't do without UIDPLUS",
                          r->uids.ranges[0].first);
    r->fn(r->owner, COPY_CANNOT, why);
    free(why);
}

struct remove *remove_start(struct pair *p, const struct imap_seq *uids, step_fn fn, void *owner)
{
    return remove_start_if(p, uids, NULL, fn, owner);
}

struct remove *remove_start_if(struct pair *p, const struct imap_seq *uids, bool (*may)(void *owner),
                               step_fn fn, void *owner)
{
    struct remove *r = xcalloc(1, sizeof *r);
    r->p = p;
    r->may = may;
    r->fn = fn;
    r->owner = owner;
    r->task.fn = remove_refuse;
    imap_seq_join(&r->uids, uids);
    if (imap_caps_has(imapc_caps(p->target.imap), CAP_UIDPLUS))
        touch_all(r);
    else
        loop_defer(p->loop, &r->task);
    return r;
}
