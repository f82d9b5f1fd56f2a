#include <stdlib.h>

#include "lib/xalloc.h"

#include "headers.h"
#include "readback.h"
#include "sample.h"

enum { CHUNK = 2000 /* messages whose hashes are kept at a time */ };

struct headers_item {
    uint32_t source_uid, target_uid;
    uint8_t hash[HASH_SIZE]; /* of the source's header */
    bool read, same;
};

struct headers {
    struct pair *p; /* borrowed */
    step_fn fn;
    void *owner;
    struct loop_task task;      /* takes the next chunk, or ends */
    struct headers_item *items; /* of the chunk, ascending by source UID; owned */
    size_t n;
    size_t next;   /* where the next answer of the target is expected */
    uint32_t done; /* source UIDs up to here had their turn */
    struct readback *reading;
};

void headers_stop(struct headers **hp)
{
    struct headers *h = *hp;
    if (!h)
        return;
    *hp = NULL;
    loop_undefer(h->p->loop, &h->task);
    ledger_forget(h->p->ledger, h);
    readback_stop(&h->reading);
    free(h->items);
    free(h);
}

static void headers_end(struct headers *h, enum copy_rc rc, const char *why)
{
    h->fn(h->owner, rc, why); /* may stop h */
}

static void headers_on_noted(void *owner, enum route_rc rc)
{
    struct headers *h = owner;
    pair_count_done(h->p);
    if (rc == ROUTE_OK)
        loop_defer(h->p->loop, &h->task);
    else
        headers_end(h, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, ledger_error(h->p->ledger));
}

static void note_same(struct headers *h)
{
    uint32_t uids[CHUNK];
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++)
        if (h->items[i].same)
            uids[n++] = h->items[i].source_uid;
    if (n > 0)
        ledger_headers(h->p->ledger, uids, n, headers_on_noted, h);
    else
        loop_defer(h->p->loop, &h->task);
}

static void headers_got_target(void *owner, const struct readback_item *item)
{
    struct headers *h = owner;
    for (size_t i = 0; i < h->n; i++) {
        struct headers_item *x = &h->items[(h->next + i) % h->n];
        if (x->target_uid != item->uid)
            continue;
        x->same = x->read && memcmp(x->hash, item->hash, HASH_SIZE) == 0;
        h->next = (h->next + i + 1) % h->n;
        return;
    }
}

static void headers_on_target(void *owner, enum copy_rc rc, const char *why)
{
    struct headers *h = owner;
    readback_stop(&h->reading);
    if (rc == COPY_EQUAL)
        note_same(h);
    else
        headers_end(h, rc, why);
}

static int headers_compare(const void *a, const void *b)
{
    const struct headers_item *x = a, *y = b;
    return x->source_uid < y->source_uid ? -1 : x->source_uid > y->source_uid;
}

static void headers_got_source(void *owner, const struct readback_item *item)
{
    struct headers *h = owner;
    const struct headers_item key = {.source_uid = item->uid};
    struct headers_item *x = bsearch(&key, h->items, h->n, sizeof key, headers_compare);
    if (!x)
        return;
    x->read = true;
    memcpy(x->hash, item->hash, HASH_SIZE);
}

static void headers_on_source(void *owner, enum copy_rc rc, const char *why)
{
    struct headers *h = owner;
    struct imap_seq uids = {0};
    readback_stop(&h->reading);
    if (rc != COPY_EQUAL) {
        headers_end(h, rc, why);
        return;
    }
    for (size_t i = 0; i < h->n; i++)
        imap_seq_add(&uids, h->items[i].target_uid, h->items[i].target_uid);
    h->reading = readback_headers(&h->p->target, &uids, headers_got_target, headers_on_target, h);
    imap_seq_free(&uids);
}

static bool headers_is_due(const struct pair *p, const struct ledger_row *row)
{
    const struct mbox_msg *target = mbox_list_find(&p->target.list, row->target_uid);
    return !row->verified && !row->header && target && sample_size_fits(row, target) &&
           mbox_list_find(&p->source.list, row->source_uid);
}

static void headers_choose(struct headers *h)
{
    size_t n;
    const struct ledger_row *rows = ledger_rows(h->p->ledger, &n);
    h->n = h->next = 0;
    for (size_t i = 0; i < n && h->n < CHUNK; i++) {
        if (rows[i].source_uid <= h->done || !headers_is_due(h->p, &rows[i]))
            continue;
        h->items[h->n++] =
            (struct headers_item){.source_uid = rows[i].source_uid, .target_uid = rows[i].target_uid};
    }
}

static void headers_on_task(struct loop_task *task)
{
    struct headers *h = CONTAINER_OF(task, struct headers, task);
    struct imap_seq uids = {0};
    if (h->p->sample.mode == VERIFY_HEADERS)
        headers_choose(h);
    if (h->n == 0) {
        headers_end(h, COPY_EQUAL, "");
        return;
    }
    h->done = h->items[h->n - 1].source_uid;
    for (size_t i = 0; i < h->n; i++)
        imap_seq_add(&uids, h->items[i].source_uid, h->items[i].source_uid);
    h->reading = readback_headers(&h->p->source, &uids, headers_got_source, headers_on_source, h);
    imap_seq_free(&uids);
}

struct headers *headers_start(struct pair *p, step_fn fn, void *owner)
{
    struct headers *h = xcalloc(1, sizeof *h);
    h->p = p;
    h->fn = fn;
    h->owner = owner;
    h->task.fn = headers_on_task;
    h->items = xcalloc(CHUNK, sizeof *h->items);
    loop_defer(p->loop, &h->task);
    return h;
}
