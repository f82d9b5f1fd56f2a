#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "delta.h"
#include "doubles.h"
#include "readback.h"
#include "remove.h"

struct doubles {
    struct pair *p; /* borrowed */
    step_fn fn;
    void *owner;
    struct loop_task task; /* nothing to do */
    struct imap_seq asked, found;
    struct readback *reading;
    struct remove *removing;
};

void doubles_stop(struct doubles **dp)
{
    struct doubles *d = *dp;
    if (!d)
        return;
    *dp = NULL;
    loop_undefer(d->p->loop, &d->task);
    readback_stop(&d->reading);
    remove_stop(&d->removing);
    imap_seq_free(&d->asked);
    imap_seq_free(&d->found);
    free(d);
}

/* Dates, on the target, of copies that were sent twice: a double has the same. Sorted; to free. */
static int64_t *resent_dates(const struct pair *p, size_t *_n)
{
    size_t n_rows, n = 0;
    const struct ledger_row *rows = ledger_rows(p->ledger, &n_rows);
    int64_t *dates = xcalloc(n_rows ? n_rows : 1, sizeof *dates);
    for (size_t i = 0; i < n_rows; i++) {
        const struct mbox_msg *m = mbox_list_find(&p->target.list, rows[i].target_uid);
        if (m && imap_seq_has(ledger_resent(p->ledger), rows[i].source_uid))
            dates[n++] = m->instant;
    }
    qsort(dates, n, sizeof *dates, mbox_compare_instants);
    *_n = n;
    return dates;
}

static void doubles_choose(struct doubles *d)
{
    struct pair *p = d->p;
    struct delta delta = {.source = &p->source.list, .target = &p->target.list};
    struct imap_seq unknown = {0};
    size_t n;
    int64_t *dates = resent_dates(p, &n);
    delta.rows = ledger_rows(p->ledger, &delta.n_rows);
    delta_foreign(&delta, 1, &unknown);
    for (size_t i = 0; n > 0 && unknown.n > 0 && i < p->target.list.listed; i++) {
        const struct mbox_msg *m = &p->target.list.msgs[i];
        if (imap_seq_has(&unknown, m->uid) &&
            bsearch(&m->instant, dates, n, sizeof *dates, mbox_compare_instants))
            imap_seq_add(&d->asked, m->uid, m->uid);
    }
    free(dates);
    imap_seq_free(&unknown);
}

static void doubles_end(struct doubles *d, enum copy_rc rc, const char *why)
{
    d->fn(d->owner, rc, why); /* may stop d */
}

static void doubles_on_removed(void *owner, enum copy_rc rc, const char *why)
{
    struct doubles *d = owner;
    remove_stop(&d->removing);
    doubles_end(d, rc, why);
}

static void doubles_got(void *owner, const struct readback_item *item)
{
    struct doubles *d = owner;
    const struct imap_seq *resent = ledger_resent(d->p->ledger);
    size_t n;
    const struct ledger_row *rows = ledger_rows(d->p->ledger, &n);
    if (!imap_seq_has(&d->asked, item->uid))
        return;
    for (size_t i = 0; i < n; i++)
        if (imap_seq_has(resent, rows[i].source_uid) && memcmp(rows[i].hash, item->hash, HASH_SIZE) == 0) {
            imap_seq_add(&d->found, item->uid, item->uid);
            return;
        }
}

static void doubles_on_read(void *owner, enum copy_rc rc, const char *why)
{
    struct doubles *d = owner;
    readback_stop(&d->reading);
    if (rc != COPY_EQUAL || d->found.n == 0) {
        doubles_end(d, rc, why);
        return;
    }
    LOG(WARN, "late_doubles", LOG_S("mailbox", d->p->target.name), LOG_U("count", imap_seq_count(&d->found)));
    d->removing = remove_start(d->p, &d->found, doubles_on_removed, d);
}

static void doubles_on_task(struct loop_task *task)
{
    doubles_end(CONTAINER_OF(task, struct doubles, task), COPY_EQUAL, "");
}

struct doubles *doubles_start(struct pair *p, step_fn fn, void *owner)
{
    struct doubles *d = xcalloc(1, sizeof *d);
    d->p = p;
    d->fn = fn;
    d->owner = owner;
    d->task.fn = doubles_on_task;
    if (ledger_resent(p->ledger)->n > 0)
        doubles_choose(d);
    if (d->asked.n > 0)
        d->reading = readback_start(&p->target, &d->asked, doubles_got, doubles_on_read, d);
    else
        loop_defer(p->loop, &d->task);
    return d;
}
