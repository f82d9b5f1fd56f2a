#include <inttypes.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "touch.h"
#include "uidset.h"

struct touch_run {
    struct pair *p; /* borrowed */
    touch_ready_fn ready;
    step_fn failed, ended;
    void *owner;
    uint32_t number; /* of the ledger */
    unsigned outstanding;
    uint64_t modseq; /* the highest of the messages */
    enum copy_rc rc;
    char *why; /* owned */
};

void touch_stop(struct touch_run **tp)
{
    struct touch_run *t = *tp;
    if (!t)
        return;
    *tp = NULL;
    imapc_forget(t->p->target.imap, t);
    ledger_forget(t->p->ledger, t);
    free(t->why);
    free(t);
}

static void touch_note(struct touch_run *t, enum copy_rc rc, const char *why)
{
    if (t->rc != COPY_EQUAL)
        return;
    t->rc = rc;
    t->why = xstrdup(why);
}

static void note_ledger(struct touch_run *t, enum route_rc rc)
{
    if (rc != ROUTE_OK)
        touch_note(t, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, ledger_error(t->p->ledger));
}

/* Intent and MODSEQs are asked for at once. */
static void touch_arrived(struct touch_run *t)
{
    if (--t->outstanding > 0)
        return;
    if (t->rc == COPY_EQUAL)
        t->ready(t->owner, t->modseq); /* may stop t */
    else
        t->failed(t->owner, t->rc, t->why); /* may stop t */
}

static void touch_on_intent(void *owner, enum route_rc rc)
{
    struct touch_run *t = owner;
    note_ledger(t, rc);
    touch_arrived(t);
}

/* MODSEQ (17) */
static enum imapc_taken touch_on_data(void *owner, const struct imap_resp *resp,
                                      const struct imap_value *data)
{
    struct touch_run *t = owner;
    const struct imap_value *list = span_is_ci(resp->word, "FETCH") ? imap_value_get(data, "MODSEQ") : NULL;
    uint64_t modseq;
    if (list && list->kind == IMAP_LIST && imap_value_u64(list->first, &modseq) && modseq > t->modseq)
        t->modseq = modseq;
    return selected_data(&t->p->target, resp, data);
}

/* Where it is refused there is no condition. */
static void on_modseqs(void *owner, const struct imapc_end *e)
{
    struct touch_run *t = owner;
    if (e->rc == IMAPC_DOWN)
        touch_note(t, COPY_DOWN, imapc_error(t->p->target.imap));
    touch_arrived(t);
}

static void ask_modseqs(struct touch_run *t, const struct imap_seq *uids)
{
    const struct imapc_command cmd = {.data = touch_on_data, .end = on_modseqs, .owner = t};
    struct uidset_place at = {0};
    struct buf set = {0};
    while (uidset_next(uids, &at, 0, &set)) {
        t->outstanding++;
        imapc_sendf(selected_imap(&t->p->target), &cmd, "UID FETCH %s (UID FLAGS MODSEQ)", buf_str(&set));
    }
    buf_free(&set);
}

struct touch_run *touch_start(struct pair *p, const struct ledger_change *changes, size_t n,
                              touch_ready_fn ready, step_fn failed, void *owner)
{
    struct touch_run *t = xcalloc(1, sizeof *t);
    t->p = p;
    t->ready = ready;
    t->failed = failed;
    t->owner = owner;
    t->outstanding = 1;
    t->number = ledger_touch(p->ledger, changes, n, imapc_timeout_ms(p->target.imap), touch_on_intent, t);
    for (size_t i = 0; p->target.seen.modseq > 0 && i < n; i++)
        ask_modseqs(t, changes[i].target_uids);
    return t;
}

static void touch_on_answered(void *owner, enum route_rc rc)
{
    struct touch_run *t = owner;
    note_ledger(t, rc);
    t->ended(t->owner, t->rc, t->why ? t->why : ""); /* may stop t */
}

void touch_end(struct touch_run *t, step_fn fn)
{
    t->ended = fn;
    ledger_touched(t->p->ledger, t->number, touch_on_answered, t);
}

void touch_write_condition(struct buf *out, uint64_t modseq)
{
    if (modseq > 0)
        buf_printf(out, " (UNCHANGEDSINCE %" PRIu64 ")", modseq);
}
