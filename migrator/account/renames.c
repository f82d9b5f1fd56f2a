#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "migrator/mailbox/same.h"
#include "renames.h"

struct pair_of_names {
    struct record *record;        /* under the old name */
    const char *from, *to;        /* the old names: the record's */
    const struct plan_item *item; /* what it is now */
};

struct candidates {
    struct pair_of_names *items; /* owned */
    size_t n;
    struct records *records;
    const struct plan *plan;
    const struct mailboxes *target;
};

struct renames {
    struct move *move;
    struct lane *lane;
    renames_fn fn;
    void *owner;
    struct candidates c;
    size_t at;
    struct same *same;
    bool loading;    /* the ledger */
    uint32_t number; /* of RENAME in the ledger */
    struct loop_task task;
    struct renames_result result;
};

/* --- who may have been renamed --- */

static bool renames_exists(const struct mailboxes *m, const char *name)
{
    const struct mailbox *box = mailboxes_find(m, name);
    return box && (box->flags & MAILBOX_LISTED) && !(box->flags & MAILBOX_NO_SELECT);
}

static bool may_be(const struct record *rec, const struct plan_item *item)
{
    const struct stamp_side *was = &rec->stamp.source, *now = &item->source->status;
    return was->uidvalidity > 0 && was->uidvalidity == now->uidvalidity && was->uidnext > 0 &&
           now->uidnext >= was->uidnext && was->messages > 0;
}

/* The target still has it under the old name, or has it under the new one instead. */
static bool can_follow(const struct candidates *c, const struct record *rec, const char *old,
                       const struct plan_item *item)
{
    const struct mailbox *there = mailboxes_find(c->target, item->target_name);
    uint32_t was = rec->stamp.target.uidvalidity;
    if (item->create)
        return renames_exists(c->target, old);
    return !renames_exists(c->target, old) && there && was > 0 && there->status.uidvalidity == was;
}

/* The only one; NULL where there are none or several. */
static const struct plan_item *only_item(const struct candidates *c, const struct record *rec,
                                         const char *old)
{
    const struct plan_item *found = NULL;
    for (size_t i = 0; i < c->plan->n; i++) {
        const struct plan_item *item = &c->plan->items[i];
        if (!may_be(rec, item) || !can_follow(c, rec, old, item) ||
            records_has(c->records, item->source->name))
            continue;
        if (found)
            return NULL;
        found = item;
    }
    return found;
}

static void note_candidate(void *owner, struct record *rec, const char *from, const char *to)
{
    struct candidates *c = owner;
    const struct plan_item *item = rec->not_renamed || rec->twin ? NULL : only_item(c, rec, to);
    if (!item)
        return;
    c->items = xreallocarray(c->items, c->n + 1, sizeof *c->items);
    c->items[c->n++] = (struct pair_of_names){rec, from, to, item};
}

static struct candidates find_candidates(struct records *records, const struct plan *plan,
                                         const struct mailboxes *source, const struct mailboxes *target)
{
    struct candidates c = {.records = records, .plan = plan, .target = target};
    records_each_gone(records, source, note_candidate, &c);
    return c;
}

bool renames_are_needed(struct records *records, const struct plan *plan, const struct mailboxes *source,
                        const struct mailboxes *target)
{
    struct candidates c = find_candidates(records, plan, source, target);
    bool any = c.n > 0;
    free(c.items);
    return any;
}

/* --- twins --- */

static bool exactly_one_exists(const struct records *records, const struct mailboxes *target,
                               struct record *first, struct record **_there)
{
    struct record *rec = first;
    size_t n = 0;
    do {
        if (renames_exists(target, records_to_name(records, rec))) {
            *_there = rec;
            n++;
        }
        rec = rec->twin;
    } while (rec != first);
    return n == 1;
}

static void drop_twins(struct records *records, struct record *first)
{
    struct record *rec, *next;
    for (rec = first->twin; rec != first; rec = next) {
        next = rec->twin;
        records_drop(records, rec);
    }
    records_drop(records, first);
}

void renames_settle(struct records *records, const struct mailboxes *target)
{
    struct record *one, *there;
    while ((one = records_next_twin(records))) {
        if (exactly_one_exists(records, target, one, &there))
            records_keep_twin(records, there);
        else
            drop_twins(records, one);
    }
}

/* --- the steps, one candidate after the other --- */

static void renames_stop(struct renames *r)
{
    loop_undefer(r->move->m->loop, &r->task);
    same_cancel(&r->same);
    imapc_forget(r->lane->target, r);
    records_forget(r->move->records, r);
    if (r->loading)
        ledger_free(&r->c.items[r->at].record->ledger);
    else if (r->at < r->c.n && r->c.items[r->at].record->ledger)
        ledger_forget(r->c.items[r->at].record->ledger, r);
    free(r->c.items);
}

static void renames_end(struct renames *r, enum copy_rc rc, const char *why)
{
    char *text = xstrdup(why);
    renames_stop(r);
    r->result.rc = rc;
    r->result.why = text;
    r->fn(r->owner, &r->result);
    free(text);
    free(r);
}

static void renames_next(struct renames *r)
{
    r->at++;
    loop_defer(r->move->m->loop, &r->task);
}

/* True: dealt with. */
static bool store_failed(struct renames *r, enum route_rc rc)
{
    if (rc == ROUTE_OK)
        return false;
    renames_end(r, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, "Redis does not answer");
    return true;
}

static void renames_on_answered(void *owner, enum route_rc rc)
{
    struct renames *r = owner;
    if (!store_failed(r, rc))
        renames_next(r);
}

static void on_renamed(void *owner, const struct imapc_end *e)
{
    struct renames *r = owner;
    struct pair_of_names *p = &r->c.items[r->at];
    if (e->rc == IMAPC_DOWN) {
        renames_end(r, COPY_DOWN, imapc_error(r->lane->target));
        return;
    }
    LOG(INFO, "mailbox_renamed", LOG_S("user", r->move->user), LOG_S("from", p->from),
        LOG_S("to", p->item->source->name), LOG_S("on_target", e->rc == IMAPC_OK ? "too" : "refused"));
    p->record->not_renamed = e->rc != IMAPC_OK;
    ledger_touched(p->record->ledger, r->number, renames_on_answered, r);
}

/* Executed late it would rename what the user has made of that name since. */
static void on_touch(void *owner, enum route_rc rc)
{
    struct renames *r = owner;
    struct pair_of_names *p = &r->c.items[r->at];
    struct imap_writer w;
    if (store_failed(r, rc))
        return;
    imap_writer_init(&w, imapc_literals(r->lane->target));
    imap_write_raw(&w, "RENAME ");
    imap_write_astring(&w, span_str(p->to));
    imap_write_raw(&w, " ");
    imap_write_astring(&w, span_str(p->item->target_name));
    imapc_send(r->lane->target, &w, &(struct imapc_command){.end = on_renamed, .owner = r});
}

static void renames_on_intent(void *owner, enum route_rc rc)
{
    struct renames *r = owner;
    struct pair_of_names *p = &r->c.items[r->at];
    if (store_failed(r, rc))
        return;
    r->result.renamed = true; /* also where it is refused: the twin is to be settled */
    if (p->item->create)
        r->number = ledger_touch(p->record->ledger, NULL, 0, imapc_timeout_ms(r->lane->target), on_touch, r);
    else
        renames_next(r);
}

static void renames_on_same(void *owner, enum copy_rc rc, const char *why)
{
    struct renames *r = owner;
    struct pair_of_names *p = &r->c.items[r->at];
    r->same = NULL;
    if (rc == COPY_EQUAL) {
        records_twin(r->move->records, p->record, p->item->source->name, p->item->target_name);
        records_write(r->move->records, renames_on_intent, r);
    } else if (rc == COPY_DIFFERS) {
        p->record->not_renamed = true;
        renames_next(r);
    } else {
        renames_end(r, rc, why);
    }
}

static void renames_prove(struct renames *r)
{
    struct pair_of_names *p = &r->c.items[r->at];
    r->same = same_start(r->lane->source, p->item->source->name, r->lane->target,
                         p->item->create ? p->to : p->item->target_name, p->record->ledger,
                         p->record->stamp.source.uidnext, renames_on_same, r);
}

static void renames_on_ledger(void *owner, enum route_rc rc)
{
    struct renames *r = owner;
    struct record *rec = r->c.items[r->at].record;
    r->loading = false;
    if (rc != ROUTE_OK) {
        ledger_free(&rec->ledger);
        renames_end(r, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, "Redis does not answer");
    } else if (ledger_is_of(rec->ledger, r->move->source_name, r->move->target_name)) {
        renames_prove(r);
    } else {
        rec->not_renamed = true;
        renames_next(r);
    }
}

/* RENAME takes what lies below along (RFC 3501 6.3.5): that is settled by the lists that are read then. */
static bool lies_below_an_earlier_one(const struct renames *r)
{
    for (size_t i = 0; i < r->at; i++) {
        size_t len = strlen(r->c.items[i].to);
        if (!strncmp(r->c.items[r->at].to, r->c.items[i].to, len) && r->c.items[r->at].to[len] != '\0')
            return true;
    }
    return false;
}

static int renames_compare_names(const void *a, const void *b)
{
    return strcmp(((const struct pair_of_names *)a)->to, ((const struct pair_of_names *)b)->to);
}

static void renames_on_task(struct loop_task *task)
{
    struct renames *r = CONTAINER_OF(task, struct renames, task);
    while (r->at < r->c.n && lies_below_an_earlier_one(r))
        r->at++;
    if (r->at == r->c.n) {
        renames_end(r, COPY_EQUAL, "");
        return;
    }
    struct record *rec = r->c.items[r->at].record;
    if (rec->ledger) {
        renames_prove(r);
    } else {
        r->loading = true;
        rec->ledger = ledger_load(r->move->m->store, &r->move->job, rec->view.id, renames_on_ledger, r);
    }
}

struct renames *renames_start(struct move *move, struct lane *lane, const struct plan *plan,
                              const struct mailboxes *source, const struct mailboxes *target, renames_fn fn,
                              void *owner)
{
    struct renames *r = xcalloc(1, sizeof *r);
    r->move = move;
    r->lane = lane;
    r->fn = fn;
    r->owner = owner;
    r->task.fn = renames_on_task;
    r->c = find_candidates(move->records, plan, source, target);
    if (r->c.n > 1)
        qsort(r->c.items, r->c.n, sizeof *r->c.items, renames_compare_names);
    loop_defer(move->m->loop, &r->task);
    return r;
}

void renames_cancel(struct renames **rp)
{
    struct renames *r = *rp;
    *rp = NULL;
    if (!r)
        return;
    renames_stop(r);
    free(r);
}
