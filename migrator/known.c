#include <stdlib.h>

#include "known.h"
#include "lib/xalloc.h"
#include "readback.h"

struct known {
    struct pair *p; /* borrowed */
    step_fn fn;
    void *owner;
    struct loop_task task; /* nothing to read */
    struct readback *reading;
};

void known_stop(struct known **kp)
{
    struct known *k = *kp;
    if (!k)
        return;
    *kp = NULL;
    loop_undefer(k->p->loop, &k->task);
    readback_stop(&k->reading);
    free(k);
}

static bool ledger_has(const struct ledger *l, const struct readback_item *item)
{
    size_t n;
    const struct ledger_row *rows = ledger_rows(l, &n);
    for (size_t i = 0; i < n; i++)
        if (rows[i].size == item->size && memcmp(rows[i].hash, item->hash, HASH_SIZE) == 0)
            return true;
    return false;
}

static void got(void *owner, const struct readback_item *item)
{
    struct known *k = owner;
    if (ledger_has(k->p->ledger, item))
        imap_seq_add(&k->p->known, item->uid, item->uid);
}

static void on_read(void *owner, enum copy_rc rc, const char *why)
{
    struct known *k = owner;
    readback_stop(&k->reading);
    k->fn(k->owner, rc, why); /* may stop k */
}

static void on_task(struct loop_task *task)
{
    struct known *k = CONTAINER_OF(task, struct known, task);
    k->fn(k->owner, COPY_EQUAL, "");
}

struct known *known_start(struct pair *p, step_fn fn, void *owner)
{
    struct known *k = xcalloc(1, sizeof *k);
    size_t n;
    uint32_t *uids = pair_missing(p, &n);
    struct imap_seq set = uidset_of(uids, n);
    k->p = p;
    k->fn = fn;
    k->owner = owner;
    k->task.fn = on_task;
    if (n > 0)
        k->reading = readback_start(&p->source, &set, got, on_read, k);
    else
        loop_defer(p->loop, &k->task);
    imap_seq_free(&set);
    free(uids);
    return k;
}
