#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "fold.h"

enum { IDS_AT_ONCE = 200 };

struct fold {
    struct move *move;
    fold_fn fn;
    void *owner;
    struct loop_task task;
    struct record *next; /* whose ledger is not asked about yet */
    char **ids;          /* of ledgers to be folded; owned */
    size_t n, at, folded;
    struct ledger *ledger; /* owned */
};

static void ids_free(struct fold *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->ids[i]);
    free(f->ids);
    f->ids = NULL;
    f->n = f->at = 0;
}

void fold_cancel(struct fold **fp)
{
    struct fold *f = *fp;

    *fp = NULL;
    if (!f)
        return;
    loop_undefer(f->move->m->loop, &f->task);
    store_forget(f->move->m->store, f);
    if (f->move->records)
        records_forget(f->move->records, f);
    ledger_free(&f->ledger);
    ids_free(f);
    free(f);
}

static void fold_end(struct fold *f, enum route_rc rc)
{
    fold_fn fn = f->fn;
    void *owner = f->owner;

    if (f->folded > 0)
        LOG(INFO, "ledgers_folded", LOG_S("user", f->move->user), LOG_U("mailboxes", f->folded));
    fold_cancel(&f);
    fn(owner, rc);
}

static void fold_next(struct fold *f)
{
    ledger_free(&f->ledger);
    f->at++;
    loop_defer(f->move->m->loop, &f->task);
}

/* True: dealt with. What only this ledger refuses leaves it as it is. */
static bool fold_failed(struct fold *f, enum route_rc rc)
{
    if (rc == ROUTE_OK)
        return false;
    if (rc != ROUTE_REFUSED && rc != ROUTE_AGAIN) {
        fold_end(f, rc);
        return true;
    }
    LOG(WARN, "ledger_not_folded", LOG_S("user", f->move->user), LOG_S("record", f->ids[f->at]),
        LOG_S("why", ledger_error(f->ledger)));
    fold_next(f);
    return true;
}

static void fold_on_folded(void *owner, enum route_rc rc)
{
    struct fold *f = owner;

    if (fold_failed(f, rc))
        return;
    f->folded++;
    fold_next(f);
}

static void fold_on_ledger(void *owner, enum route_rc rc)
{
    struct fold *f = owner;

    if (fold_failed(f, rc))
        return;
    bool unseen = f->move->doubted && ledger_has_open_change(f->ledger);
    if (ledger_may_fold(f->ledger) && !unseen)
        ledger_fold(f->ledger, fold_on_folded, f);
    else
        fold_next(f);
}

static void on_unfolded(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct fold *f = owner;

    if (rc != ROUTE_OK) {
        fold_end(f, rc);
        return;
    }
    ids_free(f);
    f->ids = xcalloc(n + 1, sizeof(*f->ids));
    for (; f->n < n; f->n++)
        f->ids[f->n] = xspandup(rows[f->n]);
    loop_defer(f->move->m->loop, &f->task);
}

static void ask_for_some(struct fold *f)
{
    struct span ids[IDS_AT_ONCE];
    size_t n = 0;

    for (; f->next && n < IDS_AT_ONCE; f->next = f->next->hh.next)
        ids[n++] = span_str(f->next->view.id);
    if (n > 0)
        route_ledger_unfolded(f->move->m->store, f->move->user, ids, n, on_unfolded, f);
    else
        fold_end(f, ROUTE_OK);
}

static void fold_on_task(struct loop_task *task)
{
    struct fold *f = CONTAINER_OF(task, struct fold, task);

    if (f->at < f->n)
        f->ledger = ledger_load(f->move->m->store, &f->move->job, f->ids[f->at], fold_on_ledger, f);
    else
        ask_for_some(f);
}

static void fold_on_records(void *owner, enum route_rc rc)
{
    struct fold *f = owner;

    if (rc != ROUTE_OK) {
        fold_end(f, rc);
        return;
    }
    f->next = records_first(f->move->records);
    ask_for_some(f);
}

struct fold *fold_start(struct move *m, fold_fn fn, void *owner)
{
    struct fold *f = xcalloc(1, sizeof(*f));

    f->move = m;
    f->fn = fn;
    f->owner = owner;
    f->task.fn = fold_on_task;
    m->records = records_new(m->m->store, &m->job, m->back, stamp_terms(m->source_name, m->target_name));
    records_read(m->records, fold_on_records, f);
    return f;
}
