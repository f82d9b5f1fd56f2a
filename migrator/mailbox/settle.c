#include <stdlib.h>

#include "lib/xalloc.h"

#include "match.h"
#include "settle.h"

enum {
    ROWS_PER_ENTRY = 500,
    ENTRIES_AHEAD = 8 /* not answered: half a million rows as text would be 30 MiB */
};

struct items {
    struct readback_item *items;
    size_t n, cap;
    uint64_t max; /* as many as were asked for: no server makes us keep more */
};

struct settle {
    struct pair *p; /* borrowed */
    step_fn fn;
    void *owner;
    struct loop_task task;            /* nothing to do: the end, from the loop */
    struct imap_seq sources, targets; /* what is read */
    struct readback *reading_source, *reading_target;
    struct items source_items, target_items;
    struct ledger_row *rows; /* what matched; owned */
    size_t n_rows, written;
    unsigned outstanding;
    bool in_doubt, settled;
    enum copy_rc rc; /* of what failed first */
    char *why;
};

static void free_items(struct settle *s)
{
    free(s->source_items.items);
    free(s->target_items.items);
    s->source_items = s->target_items = (struct items){0};
}

void settle_stop(struct settle **sp)
{
    struct settle *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    loop_undefer(s->p->loop, &s->task);
    ledger_forget(s->p->ledger, s);
    readback_stop(&s->reading_source);
    readback_stop(&s->reading_target);
    imap_seq_free(&s->sources);
    imap_seq_free(&s->targets);
    free_items(s);
    free(s->rows);
    free(s->why);
    free(s);
}

static void settle_note(struct settle *s, enum copy_rc rc, const char *why)
{
    if (rc == COPY_EQUAL || s->rc != COPY_EQUAL)
        return;
    s->rc = rc;
    s->why = xstrdup(why);
}

static void settle_end(struct settle *s)
{
    s->fn(s->owner, s->rc, s->why ? s->why : ""); /* may stop s */
}

/* --- what to read --- */

struct settle_keys {
    uint32_t *sizes;
    int64_t *instants;
    size_t n;
};

/* Sizes and dates of those messages whose UIDs are in the set. */
static struct settle_keys keys_of(const struct mbox_list *l, const struct imap_seq *uids)
{
    struct settle_keys k = {xcalloc(l->listed ? l->listed : 1, sizeof(uint32_t)),
                            xcalloc(l->listed ? l->listed : 1, sizeof(int64_t)), 0};
    for (size_t i = 0; i < l->listed; i++) {
        if (!imap_seq_has(uids, l->msgs[i].uid))
            continue;
        k.sizes[k.n] = l->msgs[i].size;
        k.instants[k.n++] = l->msgs[i].instant;
    }
    qsort(k.sizes, k.n, sizeof *k.sizes, mbox_compare_sizes);
    qsort(k.instants, k.n, sizeof *k.instants, mbox_compare_instants);
    return k;
}

static void keys_free(struct settle_keys *k)
{
    free(k->sizes);
    free(k->instants);
}

static bool settle_keys_have(const struct settle_keys *k, const struct mbox_msg *m)
{
    return bsearch(&m->size, k->sizes, k->n, sizeof *k->sizes, mbox_compare_sizes) ||
           bsearch(&m->instant, k->instants, k->n, sizeof *k->instants, mbox_compare_instants);
}

/* Adds to *out those of the set that could be one of the others. */
static void settle_choose(const struct mbox_list *l, const struct imap_seq *set,
                          const struct mbox_list *other, const struct imap_seq *others, struct imap_seq *out)
{
    struct settle_keys keys = keys_of(other, others);
    for (size_t i = 0; i < l->listed; i++)
        if (imap_seq_has(set, l->msgs[i].uid) && settle_keys_have(&keys, &l->msgs[i]))
            imap_seq_add(out, l->msgs[i].uid, l->msgs[i].uid);
    keys_free(&keys);
}

static uint32_t highest_target(const struct ledger_row *rows, size_t n)
{
    uint32_t highest = 0;
    for (size_t i = 0; i < n; i++)
        if (rows[i].target_uid > highest)
            highest = rows[i].target_uid;
    return highest;
}

/* Adds those of from that the list has. */
static void add_listed(struct imap_seq *to, const struct imap_seq *from, const struct mbox_list *l,
                       uint32_t from_uid)
{
    for (size_t i = mbox_list_from(l, from_uid); i < l->listed; i++)
        if (imap_seq_has(from, l->msgs[i].uid))
            imap_seq_add(to, l->msgs[i].uid, l->msgs[i].uid);
}

static bool is_lost(const struct settle *s, const struct ledger_row *sent)
{
    return !mbox_list_find(&s->p->source.list, sent->source_uid) &&
           !ledger_find(s->p->ledger, sent->source_uid);
}

/* Messages that went out, of which nothing more is known, and which the source has expunged since: those that
 * are on the target are ours all the same, to be removed again. */
static void choose_lost(struct settle *s)
{
    struct pair *p = s->p;
    struct delta d = {.source = &p->source.list, .target = &p->target.list};
    struct imap_seq unknown = {0};
    size_t n, n_sizes = 0;
    const struct ledger_row *sent = ledger_unlanded(p->ledger, &n);
    uint32_t *sizes = xcalloc(n ? n : 1, sizeof *sizes);
    for (size_t i = 0; i < n; i++)
        if (is_lost(s, &sent[i]))
            sizes[n_sizes++] = sent[i].size < UINT32_MAX ? (uint32_t)sent[i].size : UINT32_MAX;
    qsort(sizes, n_sizes, sizeof *sizes, mbox_compare_sizes);
    d.rows = ledger_rows(p->ledger, &d.n_rows);
    if (n_sizes > 0)
        delta_foreign(&d, 1, &unknown);
    for (size_t i = 0; i < p->target.list.listed && unknown.n > 0; i++) {
        const struct mbox_msg *m = &p->target.list.msgs[i];
        if (imap_seq_has(&unknown, m->uid) &&
            bsearch(&m->size, sizes, n_sizes, sizeof *sizes, mbox_compare_sizes))
            imap_seq_add(&s->targets, m->uid, m->uid);
    }
    free(sizes);
    imap_seq_free(&unknown);
}

/* Fills sources and targets; both stay empty where nothing can be there. */
static void choose_both(struct settle *s)
{
    struct pair *p = s->p;
    struct delta d = {.source = &p->source.list, .target = &p->target.list};
    struct imap_seq unknown = {0}, missing = {0}, doubtful = {0};
    uint32_t doubt_from, from, *uids;
    size_t n;
    d.rows = ledger_rows(p->ledger, &d.n_rows);
    s->in_doubt = ledger_in_doubt(p->ledger, &doubt_from);
    from = highest_target(d.rows, d.n_rows);
    from = ledger_was_turned(p->ledger) ? 1 : from == UINT32_MAX ? from : from + 1;
    delta_foreign(&d, s->in_doubt && doubt_from < from ? doubt_from : from, &unknown);
    uids = pair_missing(p, &n);
    missing = uidset_of(uids, n);
    if (unknown.n > 0 && missing.n > 0) {
        settle_choose(d.source, &missing, d.target, &unknown, &s->sources);
        settle_choose(d.target, &unknown, d.source, &missing, &s->targets);
        ledger_doubtful(p->ledger, &doubtful);
        add_listed(&s->sources, &doubtful, d.source, 0);
        if (s->in_doubt)
            add_listed(&s->targets, &unknown, d.target, doubt_from);
    }
    choose_lost(s);
    free(uids);
    imap_seq_free(&unknown);
    imap_seq_free(&missing);
    imap_seq_free(&doubtful);
}

/* --- the steps --- */

static void settle_go_on(struct settle *s);

static void settle_on_ledger(void *owner, enum route_rc rc)
{
    struct settle *s = owner;
    if (rc != ROUTE_OK)
        settle_note(s, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, ledger_error(s->p->ledger));
    s->outstanding--;
    settle_go_on(s);
}

static void settle_write_some(struct settle *s)
{
    while (s->rc == COPY_EQUAL && s->written < s->n_rows && s->outstanding < ENTRIES_AHEAD) {
        size_t left = s->n_rows - s->written, n = left < ROWS_PER_ENTRY ? left : ROWS_PER_ENTRY;
        s->outstanding++;
        ledger_done(s->p->ledger, s->rows + s->written, n, settle_on_ledger, s);
        s->written += n;
    }
}

/* Behind the last row: what was in doubt and has no row by now has not arrived. */
static void settle_go_on(struct settle *s)
{
    settle_write_some(s);
    if (s->outstanding > 0)
        return;
    if (s->rc == COPY_EQUAL && s->in_doubt && !s->settled) {
        s->settled = true;
        s->outstanding++;
        ledger_settled(s->p->ledger, imapc_timeout_ms(s->p->target.imap), settle_on_ledger, s);
    } else {
        settle_end(s);
    }
}

static void match_rows(struct settle *s)
{
    size_t room = s->source_items.n;
    s->rows = xcalloc(room ? room : 1, sizeof *s->rows);
    s->n_rows = match_items(s->source_items.items, s->source_items.n, s->target_items.items,
                            s->target_items.n, s->rows);
    free_items(s);
}

static bool has_item(const struct items *sorted, uint32_t uid)
{
    const struct readback_item key = {.uid = uid};
    return sorted->n > 0 && bsearch(&key, sorted->items, sorted->n, sizeof key, match_by_uid);
}

/* A message that was asked for, is still there and did not come could be the one that is looked for. */
static bool all_came(struct settle *s, const struct selected *side, const struct imap_seq *asked,
                     struct items *came)
{
    if (came->n > 1)
        qsort(came->items, came->n, sizeof *came->items, match_by_uid);
    for (size_t i = 0; i < side->list.listed; i++) {
        uint32_t uid = side->list.msgs[i].uid;
        if (!imap_seq_has(asked, uid) || has_item(came, uid))
            continue;
        char *why = xasprintf("%s UID %u can't be read", side->side, uid);
        settle_note(s, COPY_DIFFERS, why);
        free(why);
        return false;
    }
    return true;
}

static void put_item(struct items *to, const struct readback_item *item)
{
    if (to->n == to->cap) {
        to->cap = to->cap ? 2 * to->cap : 64;
        to->items = xreallocarray(to->items, to->cap, sizeof *to->items);
    }
    to->items[to->n++] = *item;
}

/* Their hashes are known, though the source has them no more. */
static void add_lost(struct settle *s)
{
    size_t n;
    const struct ledger_row *sent = ledger_unlanded(s->p->ledger, &n);
    for (size_t i = 0; i < n; i++) {
        struct readback_item item = {.uid = sent[i].source_uid, .size = sent[i].size};
        if (!is_lost(s, &sent[i]))
            continue;
        memcpy(item.hash, sent[i].hash, HASH_SIZE);
        put_item(&s->source_items, &item);
    }
}

static void both_read(struct settle *s)
{
    if (s->rc != COPY_EQUAL || !all_came(s, &s->p->source, &s->sources, &s->source_items) ||
        !all_came(s, &s->p->target, &s->targets, &s->target_items)) {
        settle_end(s);
        return;
    }
    add_lost(s);
    match_rows(s);
    settle_go_on(s);
}

static void settle_on_read(struct settle *s, enum copy_rc rc, const char *why)
{
    settle_note(s, rc, why);
    if (--s->outstanding == 0)
        both_read(s);
}

static void on_source_read(void *owner, enum copy_rc rc, const char *why)
{
    struct settle *s = owner;
    readback_stop(&s->reading_source);
    settle_on_read(s, rc, why);
}

static void on_target_read(void *owner, enum copy_rc rc, const char *why)
{
    struct settle *s = owner;
    readback_stop(&s->reading_target);
    settle_on_read(s, rc, why);
}

static void settle_add_item(struct items *to, const struct imap_seq *asked, const struct readback_item *item)
{
    if (to->n < to->max && imap_seq_has(asked, item->uid))
        put_item(to, item);
}

static void settle_got_source(void *owner, const struct readback_item *item)
{
    struct settle *s = owner;
    settle_add_item(&s->source_items, &s->sources, item);
}

static void settle_got_target(void *owner, const struct readback_item *item)
{
    struct settle *s = owner;
    settle_add_item(&s->target_items, &s->targets, item);
}

/* Nothing has to be read. */
static void settle_on_task(struct loop_task *task)
{
    settle_go_on(CONTAINER_OF(task, struct settle, task));
}

struct settle *settle_start(struct pair *p, step_fn fn, void *owner)
{
    struct settle *s = xcalloc(1, sizeof *s);
    s->p = p;
    s->fn = fn;
    s->owner = owner;
    s->rc = COPY_EQUAL;
    s->task.fn = settle_on_task;
    choose_both(s);
    if (s->targets.n == 0) {
        loop_defer(p->loop, &s->task);
        return s;
    }
    s->source_items.max = imap_seq_count(&s->sources);
    s->target_items.max = imap_seq_count(&s->targets);
    if (s->sources.n > 0) {
        s->outstanding++;
        s->reading_source = readback_start(&p->source, &s->sources, settle_got_source, on_source_read, s);
    }
    s->outstanding++;
    s->reading_target = readback_start(&p->target, &s->targets, settle_got_target, on_target_read, s);
    return s;
}
