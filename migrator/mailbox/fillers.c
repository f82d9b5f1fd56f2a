#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "fillers.h"
#include "readback.h"
#include "remove.h"

/* What a filler with this number looks like. */
struct fillers_hash {
    uint8_t hash[HASH_SIZE];
    uint32_t number;
};

struct fillers {
    struct pair *p; /* borrowed */
    bool unanswered, bound;
    step_fn fn;
    void *owner;
    struct loop_task task;
    struct imap_seq asked;          /* target UIDs that may be fillers */
    struct imap_seq numbers, found; /* those that are, and their UIDs */
    struct imap_seq all;            /* UIDs to be removed */
    struct imap_seq others;         /* UIDs at which the ledger has fillers, and the target has not */
    struct fillers_hash *hashes;    /* sorted; owned */
    size_t n_hashes;
    struct readback *reading;
    struct remove *removing;
    unsigned writing;
    enum copy_rc rc;
    char *why; /* owned */
};

bool fillers_may_be_there(const struct ledger *l)
{
    return ledger_fillers(l)->open.n > 0 || ledger_fillers(l)->there.n > 0;
}

uint64_t fillers_removed(const struct fillers *f)
{
    return imap_seq_count(&f->all);
}

void fillers_stop(struct fillers **fp)
{
    struct fillers *f = *fp;
    if (!f)
        return;
    *fp = NULL;
    loop_undefer(f->p->loop, &f->task);
    ledger_forget(f->p->ledger, f);
    readback_stop(&f->reading);
    remove_stop(&f->removing);
    imap_seq_free(&f->asked);
    imap_seq_free(&f->numbers);
    imap_seq_free(&f->found);
    imap_seq_free(&f->all);
    imap_seq_free(&f->others);
    free(f->hashes);
    free(f->why);
    free(f);
}

static void fillers_end(struct fillers *f, enum copy_rc rc, const char *why)
{
    if (f->rc == COPY_EQUAL) {
        f->rc = rc;
        free(f->why);
        f->why = xstrdup(why);
    }
    loop_defer(f->p->loop, &f->task);
}

static void fillers_on_task(struct loop_task *task)
{
    struct fillers *f = CONTAINER_OF(task, struct fillers, task);
    if (f->writing == 0 || f->rc != COPY_EQUAL)
        f->fn(f->owner, f->rc, f->why ? f->why : ""); /* may stop f */
}

static void fillers_on_written(void *owner, enum route_rc rc)
{
    struct fillers *f = owner;
    f->writing--;
    fillers_end(f,
                rc == ROUTE_OK     ? COPY_EQUAL
                : rc == ROUTE_LOST ? COPY_LOST
                                   : COPY_DOWN,
                ledger_error(f->p->ledger));
}

/* ---- what is gone, and what never came */

static struct imap_seq fillers_gone(const struct fillers *f)
{
    const struct imap_seq *there = &ledger_fillers(f->p->ledger)->there;
    struct imap_seq gone = {0};
    if (!f->bound)
        return gone;
    imap_seq_join(&gone, there);
    for (size_t i = 0; gone.n > 0 && i < f->p->target.list.listed; i++)
        imap_seq_remove(&gone, f->p->target.list.msgs[i].uid, f->p->target.list.msgs[i].uid);
    imap_seq_join(&gone, &f->others);
    return gone;
}

/* All that is on the target was seen. */
static void fillers_note(struct fillers *f)
{
    struct imap_seq gone = fillers_gone(f), open = {0};
    struct ledger *l = f->p->ledger;
    imap_seq_join(&open, &ledger_fillers(l)->open);
    f->writing = 1;
    if (gone.n > 0) {
        f->writing++;
        ledger_unfilled(l, &gone, fillers_on_written, f);
    }
    if (f->bound && open.n > 0) {
        f->writing++;
        if (f->unanswered)
            ledger_latefill(l, &open, imapc_timeout_ms(f->p->target.imap), fillers_on_written, f);
        else
            ledger_refused(l, &open, fillers_on_written, f);
    }
    imap_seq_free(&gone);
    imap_seq_free(&open);
    f->writing--;
    fillers_end(f, COPY_EQUAL, "");
}

static void fillers_on_removed(void *owner, enum copy_rc rc, const char *why)
{
    struct fillers *f = owner;
    if (rc == COPY_EQUAL)
        fillers_note(f);
    else
        fillers_end(f, rc, why);
    remove_stop(&f->removing); /* why was its own */
}

static void fillers_remove(struct fillers *f)
{
    imap_seq_join(&f->all, &f->found);
    if (f->all.n == 0) {
        fillers_note(f);
        return;
    }
    LOG(INFO, "fillers_removed", LOG_S("mailbox", f->p->target.name),
        LOG_U("count", imap_seq_count(&f->all)));
    f->removing = remove_start(f->p, &f->all, fillers_on_removed, f);
}

/* ---- those that are known by their bytes alone */

static int fillers_compare(const void *a, const void *b)
{
    return memcmp(((const struct fillers_hash *)a)->hash, ((const struct fillers_hash *)b)->hash, HASH_SIZE);
}

static void fillers_hash_all(struct fillers *f)
{
    const struct imap_seq *sent = &ledger_fillers(f->p->ledger)->sent;
    const char *id = ledger_filler_id(f->p->ledger);
    struct hasher *h = hasher_new();
    struct buf text = {0};
    f->hashes = xcalloc(imap_seq_count(sent) + 1, sizeof *f->hashes);
    for (size_t r = 0; r < sent->n; r++) {
        for (uint64_t number = sent->ranges[r].first; number <= sent->ranges[r].last; number++) {
            struct fillers_hash *one = &f->hashes[f->n_hashes++];
            one->number = (uint32_t)number;
            buf_clear(&text);
            filler_write(&text, id, one->number);
            hasher_begin(h);
            hasher_add(h, buf_span(&text));
            hasher_end(h, one->hash);
        }
    }
    qsort(f->hashes, f->n_hashes, sizeof *f->hashes, fillers_compare);
    hasher_free(&h);
    buf_free(&text);
}

static void fillers_got(void *owner, const struct readback_item *item)
{
    struct fillers *f = owner;
    struct fillers_hash key, *one;
    memcpy(key.hash, item->hash, HASH_SIZE);
    if (!imap_seq_has(&f->asked, item->uid))
        return;
    imap_seq_remove(&f->asked, item->uid, item->uid);
    one = bsearch(&key, f->hashes, f->n_hashes, sizeof key, fillers_compare);
    if (!one)
        return;
    imap_seq_add(&f->numbers, one->number, one->number);
    imap_seq_add(&f->found, item->uid, item->uid);
}

static void fillers_on_found(void *owner, enum route_rc rc)
{
    struct fillers *f = owner;
    if (rc == ROUTE_OK)
        fillers_remove(f);
    else
        fillers_end(f, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, ledger_error(f->p->ledger));
}

static void fillers_keep_found(struct fillers *f)
{
    bool twice = imap_seq_count(&f->numbers) != imap_seq_count(&f->found); /* as nobody can note it */
    if (f->found.n > 0 && f->bound && !twice)
        ledger_filled(f->p->ledger, &f->numbers, &f->found, fillers_on_found, f);
    else
        fillers_remove(f);
}

/* Whatever is of that size, is not ours otherwise, and does not come, could be one. */
static void fillers_on_read(void *owner, enum copy_rc rc, const char *why)
{
    struct fillers *f = owner;
    readback_stop(&f->reading);
    for (size_t i = 0; rc == COPY_EQUAL && f->asked.n > 0 && i < f->p->target.list.listed; i++) {
        if (!imap_seq_has(&f->asked, f->p->target.list.msgs[i].uid))
            continue;
        fillers_end(f, COPY_DIFFERS, "a message on the target that may be a filler of ours can't be read");
        return;
    }
    if (rc == COPY_EQUAL)
        fillers_keep_found(f);
    else
        fillers_end(f, rc, why);
}

/* ---- what there is */

/* A target that tells wrong UIDs may have made a row for one. */
static void fillers_choose_one(struct fillers *f, const struct mbox_msg *m)
{
    const struct ledger *l = f->p->ledger;
    bool ours = f->bound && imap_seq_has(&ledger_fillers(l)->there, m->uid);
    const struct ledger_row *row = f->bound && m->size == FILLER_SIZE ? ledger_find_target(l, m->uid) : NULL;
    if (row && row->verified)
        return;
    if (m->size == FILLER_SIZE)
        imap_seq_add(ours ? &f->all : &f->asked, m->uid, m->uid);
    else if (ours)
        imap_seq_add(&f->others, m->uid, m->uid);
}

static void fillers_choose(struct fillers *f)
{
    struct pair *p = f->p;
    for (size_t i = 0; i < p->target.list.listed; i++)
        fillers_choose_one(f, &p->target.list.msgs[i]);
    if (f->others.n > 0)
        pair_lose_numbers(p, "where the target said that it has put a filler, at UID %u, is another message",
                          f->others.ranges[0].first);
}

struct fillers *fillers_start(struct pair *p, bool unanswered, step_fn fn, void *owner)
{
    struct fillers *f = xcalloc(1, sizeof *f);
    uint32_t source, target;
    f->p = p;
    f->unanswered = unanswered;
    f->fn = fn;
    f->owner = owner;
    f->task.fn = fillers_on_task;
    f->rc = COPY_EQUAL;
    f->bound = ledger_bound(p->ledger, &source, &target) && target == p->target.uidvalidity;
    if (ledger_fillers(p->ledger)->sent.n == 0) {
        fillers_end(f, COPY_EQUAL, "");
        return f;
    }
    fillers_choose(f);
    if (p->target.given && f->asked.n + f->all.n > 0) {
        fillers_end(f, COPY_DOWN, SELECTED_GIVEN);
        return f;
    }
    if (f->asked.n == 0) {
        fillers_remove(f);
        return f;
    }
    fillers_hash_all(f);
    f->reading = readback_start(&p->target, &f->asked, fillers_got, fillers_on_read, f);
    return f;
}
