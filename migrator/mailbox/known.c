#include <stdlib.h>

#include "lib/xalloc.h"

#include "known.h"
#include "readback.h"

/* LATE: what came late, by its bytes; it is compared with the rows. COPIES: the target's copies of messages
 * whose hash was folded away; ORIGINALS: the source's, where the copy is gone. */
enum known_state { LATE, COPIES, ORIGINALS };

struct known {
    struct pair *p; /* borrowed */
    step_fn fn;
    void *owner;
    struct loop_task task; /* nothing to read */
    enum known_state state;
    struct readback *reading;
    struct readback_item *late; /* that no row knows by its hash, with the bytes that they have; owned */
    size_t n_late, cap;
};

void known_stop(struct known **kp)
{
    struct known *k = *kp;
    if (!k)
        return;
    *kp = NULL;
    loop_undefer(k->p->loop, &k->task);
    readback_stop(&k->reading);
    free(k->late);
    free(k);
}

static bool ledger_has(const struct ledger *l, const struct readback_item *item)
{
    size_t n;
    const struct ledger_row *rows = ledger_rows(l, &n);
    for (size_t i = 0; i < n; i++)
        if (!rows[i].bare && rows[i].size == item->size && memcmp(rows[i].hash, item->hash, HASH_SIZE) == 0)
            return true;
    return false;
}

static void add_late(struct known *k, const struct readback_item *item)
{
    if (k->n_late == k->cap) {
        k->cap = k->cap ? 2 * k->cap : 16;
        k->late = xreallocarray(k->late, k->cap, sizeof *k->late);
    }
    k->late[k->n_late++] = *item;
}

static void got_late(struct known *k, const struct readback_item *item)
{
    if (ledger_has(k->p->ledger, item))
        imap_seq_add(&k->p->known, item->uid, item->uid);
    else
        add_late(k, item);
}

static void got_old(struct known *k, const struct readback_item *item)
{
    for (size_t i = 0; i < k->n_late; i++)
        if (k->late[i].size == item->size && memcmp(k->late[i].hash, item->hash, HASH_SIZE) == 0)
            imap_seq_add(&k->p->known, k->late[i].uid, k->late[i].uid);
}

static void known_got(void *owner, const struct readback_item *item)
{
    struct known *k = owner;
    if (k->state == LATE)
        got_late(k, item);
    else
        got_old(k, item);
}

/* May the bytes of the one be those of a late one? Servers lie about sizes, and give other dates to what they
 * restore: one of both has to fit. */
static bool may_be_late(const struct known *k, const struct mbox_msg *old)
{
    for (size_t i = 0; i < k->n_late; i++) {
        const struct mbox_msg *m = mbox_list_find(&k->p->source.list, k->late[i].uid);
        if (k->late[i].size == old->size || (m && m->instant == old->instant))
            return true;
    }
    return false;
}

static void known_on_read(void *owner, enum copy_rc rc, const char *why);

/* Of rows without a hash; false: there is nothing to read. */
static bool read_old(struct known *k, enum known_state state)
{
    struct pair *p = k->p;
    struct imap_seq uids = {0};
    size_t n;
    const struct ledger_row *rows = ledger_rows(p->ledger, &n);
    k->state = state;
    for (size_t i = 0; i < n && k->n_late > 0; i++) {
        const struct mbox_msg *copy = mbox_list_find(&p->target.list, rows[i].target_uid);
        const struct mbox_msg *m =
            state == COPIES ? copy : mbox_list_find(&p->source.list, rows[i].source_uid);
        if (rows[i].bare && m && (state == COPIES || !copy) && may_be_late(k, m))
            imap_seq_add(&uids, m->uid, m->uid);
    }
    bool any = uids.n > 0;
    if (any)
        k->reading =
            readback_start(state == COPIES ? &p->target : &p->source, &uids, known_got, known_on_read, k);
    imap_seq_free(&uids);
    return any;
}

static void known_on_read(void *owner, enum copy_rc rc, const char *why)
{
    struct known *k = owner;
    readback_stop(&k->reading);
    if (rc == COPY_EQUAL && k->state == LATE && read_old(k, COPIES))
        return;
    if (rc == COPY_EQUAL && k->state != ORIGINALS && read_old(k, ORIGINALS))
        return;
    k->fn(k->owner, rc, why); /* may stop k */
}

static void known_on_task(struct loop_task *task)
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
    k->task.fn = known_on_task;
    if (n > 0)
        k->reading = readback_start(&p->source, &set, known_got, known_on_read, k);
    else
        loop_defer(p->loop, &k->task);
    imap_seq_free(&set);
    free(uids);
    return k;
}
