#include <stdarg.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "delta.h"
#include "fillers.h"
#include "readback.h"
#include "recheck.h"
#include "remove.h"

/* A message of the target that no row knows, with the bytes of one that was sent. */
struct recheck_suspect {
    uint32_t uid, source_uid;
};

struct recheck {
    struct pair pair;
    recheck_tell_fn tell;
    step_fn fn;
    void *owner;
    struct loop_task task; /* the end, outside of any callback */
    enum copy_rc rc;
    char *why; /* owned; NULL: it has not ended */
    bool failed;
    unsigned opening;
    struct imap_seq unknown; /* target UIDs to be read: no row knows them */
    /* target UIDs of copies that were sent again; those whose bytes are as copied */
    struct imap_seq firsts, standing;
    struct recheck_suspect *suspects; /* owned */
    size_t n, cap;
    struct fillers *fillers;
    struct readback *reading;
    struct remove *removing;
    struct imap_seq doubles; /* to be removed */
    struct imap_seq told;    /* and not in the ledger yet */
};

bool recheck_is_needed(const struct ledger *l)
{
    size_t unlanded;
    ledger_unlanded(l, &unlanded);
    return ledger_has_open_change(l) || ledger_resent(l)->n > 0 || unlanded > 0 || fillers_may_be_there(l) ||
           ledger_fillers(l)->late.n > 0;
}

void recheck_stop(struct recheck **rp)
{
    struct recheck *r = *rp;
    if (!r)
        return;
    *rp = NULL;
    loop_undefer(r->pair.loop, &r->task);
    fillers_stop(&r->fillers);
    readback_stop(&r->reading);
    remove_stop(&r->removing);
    ledger_forget(r->pair.ledger, r);
    imapc_forget(r->pair.source.imap, r);
    imapc_forget(r->pair.target.imap, r);
    selected_free(&r->pair.source);
    selected_free(&r->pair.target);
    flags_pool_free(&r->pair.flags);
    imap_seq_free(&r->pair.named);
    imap_seq_free(&r->unknown);
    imap_seq_free(&r->firsts);
    imap_seq_free(&r->standing);
    imap_seq_free(&r->doubles);
    imap_seq_free(&r->told);
    free(r->suspects);
    free(r->why);
    free(r);
}

static void recheck_end(struct recheck *r, enum copy_rc rc, const char *why)
{
    if (r->why || r->failed)
        return;
    r->failed = rc != COPY_EQUAL;
    r->rc = rc;
    r->why = xstrdup(why);
    loop_defer(r->pair.loop, &r->task);
}

static void recheck_on_task(struct loop_task *task)
{
    struct recheck *r = CONTAINER_OF(task, struct recheck, task);
    char *why = r->why;
    r->why = NULL;
    r->fn(r->owner, r->rc, why); /* may stop r */
    free(why);
}

static void recheck_tell(struct recheck *r, uint32_t target_uid, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void recheck_tell(struct recheck *r, uint32_t target_uid, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    buf_printf(&text, "UID %u here ", target_uid);
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    imap_seq_add(&r->told, target_uid, target_uid);
    r->tell(r->owner, buf_str(&text));
    buf_free(&text);
}

/* ---- what was told is told once */

static void recheck_on_told(void *owner, enum route_rc rc)
{
    struct recheck *r = owner;
    if (rc == ROUTE_OK)
        recheck_end(r, COPY_EQUAL, "");
    else
        recheck_end(r, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, ledger_error(r->pair.ledger));
}

static void recheck_keep_told(struct recheck *r)
{
    if (r->told.n > 0)
        ledger_told(r->pair.ledger, &r->told, recheck_on_told, r);
    else
        recheck_end(r, COPY_EQUAL, "");
}

/* ---- doubles: a double has the date or the size of what was sent */

struct recheck_keys {
    uint32_t *sizes;
    int64_t *instants;
    size_t n_sizes, n_instants;
};

static uint32_t recheck_clip(uint64_t size)
{
    return size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
}

static bool was_sent_again(const struct recheck *r, const struct ledger_row *row)
{
    return !row->bare && imap_seq_has(ledger_resent(r->pair.ledger), row->source_uid);
}

/* Fills firsts too. */
static struct recheck_keys keys_make(struct recheck *r)
{
    size_t n_rows, n_sent;
    const struct ledger_row *rows = ledger_rows(r->pair.ledger, &n_rows);
    const struct ledger_row *sent = ledger_unlanded(r->pair.ledger, &n_sent);
    struct recheck_keys k = {.sizes = xcalloc(n_rows + n_sent + 1, sizeof *k.sizes),
                             .instants = xcalloc(n_rows + 1, sizeof *k.instants)};
    for (size_t i = 0; i < n_sent; i++)
        k.sizes[k.n_sizes++] = recheck_clip(sent[i].size);
    for (size_t i = 0; i < n_rows; i++) {
        const struct mbox_msg *m = mbox_list_find(&r->pair.target.list, rows[i].target_uid);
        if (!was_sent_again(r, &rows[i]))
            continue;
        k.sizes[k.n_sizes++] = recheck_clip(rows[i].size);
        if (!m)
            continue;
        k.instants[k.n_instants++] = m->instant;
        imap_seq_add(&r->firsts, m->uid, m->uid);
    }
    qsort(k.sizes, k.n_sizes, sizeof *k.sizes, mbox_compare_sizes);
    qsort(k.instants, k.n_instants, sizeof *k.instants, mbox_compare_instants);
    return k;
}

static bool recheck_keys_have(const struct recheck_keys *k, const struct mbox_msg *m)
{
    return bsearch(&m->size, k->sizes, k->n_sizes, sizeof *k->sizes, mbox_compare_sizes) ||
           bsearch(&m->instant, k->instants, k->n_instants, sizeof *k->instants, mbox_compare_instants);
}

static void choose_unknown(struct recheck *r)
{
    struct pair *p = &r->pair;
    struct delta d = {.source = &p->source.list, .target = &p->target.list};
    struct imap_seq foreign = {0};
    struct recheck_keys k = keys_make(r);
    d.rows = ledger_rows(p->ledger, &d.n_rows);
    delta_foreign(&d, 1, &foreign);
    for (size_t i = 0; foreign.n > 0 && i < p->target.list.listed; i++) {
        const struct mbox_msg *m = &p->target.list.msgs[i];
        if (imap_seq_has(&foreign, m->uid) && !ledger_was_told(p->ledger, m->uid) && recheck_keys_have(&k, m))
            imap_seq_add(&r->unknown, m->uid, m->uid);
    }
    imap_seq_free(&foreign);
    free(k.sizes);
    free(k.instants);
}

static const struct ledger_row *find_hash(const struct recheck *r, const uint8_t *hash)
{
    size_t n;
    const struct ledger_row *rows = ledger_rows(r->pair.ledger, &n);
    for (size_t i = 0; i < n; i++)
        if (was_sent_again(r, &rows[i]) && memcmp(rows[i].hash, hash, HASH_SIZE) == 0)
            return &rows[i];
    rows = ledger_unlanded(r->pair.ledger, &n);
    for (size_t i = 0; i < n; i++)
        if (memcmp(rows[i].hash, hash, HASH_SIZE) == 0)
            return &rows[i];
    return NULL;
}

static void recheck_add_suspect(struct recheck *r, uint32_t uid, uint32_t source_uid)
{
    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 16;
        r->suspects = xreallocarray(r->suspects, r->cap, sizeof *r->suspects);
    }
    r->suspects[r->n++] = (struct recheck_suspect){uid, source_uid};
}

static void recheck_got(void *owner, const struct readback_item *item)
{
    struct recheck *r = owner;
    const struct ledger_row *row;
    if (imap_seq_has(&r->unknown, item->uid)) {
        imap_seq_remove(&r->unknown, item->uid, item->uid); /* one that comes twice counts once */
        if ((row = find_hash(r, item->hash)))
            recheck_add_suspect(r, item->uid, row->source_uid);
    } else if (imap_seq_has(&r->firsts, item->uid)) {
        row = ledger_find_target(r->pair.ledger, item->uid);
        if (row && memcmp(row->hash, item->hash, HASH_SIZE) == 0)
            imap_seq_add(&r->standing, item->uid, item->uid);
    }
}

/* The first copy of what a suspect doubles, with all flags that the suspect has; NULL: why tells what is
 * so. */
static const struct mbox_msg *find_first(const struct recheck *r, const struct recheck_suspect *s,
                                         const struct mbox_msg *m, const char **why)
{
    const struct ledger_row *row = ledger_find(r->pair.ledger, s->source_uid);
    const struct mbox_msg *first = row ? mbox_list_find(&r->pair.target.list, row->target_uid) : NULL;
    *why = "its first copy is not there as it was copied";
    if (!first || !imap_seq_has(&r->standing, first->uid) ||
        flags_has(r->pair.flags, first->flags, "\\Deleted"))
        return NULL;
    *why = "it has flags that its first copy lacks";
    return flags_within(r->pair.flags, m->flags, first->flags) ? first : NULL;
}

static void judge_one(struct recheck *r, const struct recheck_suspect *s, const struct mbox_msg *m)
{
    const char *why;
    if (!find_first(r, s, m, &why)) {
        recheck_tell(r, s->uid,
                     "has the bytes of UID %u there, of which a copy may have come late, and stays: %s",
                     s->source_uid, why);
    } else if (!imap_caps_has(imapc_caps(r->pair.target.imap), CAP_UIDPLUS)) {
        recheck_tell(r, s->uid,
                     "has the bytes of UID %u there, of which a copy may have come late, and stays: the "
                     "server can't remove it "
                     "(UIDPLUS)",
                     s->source_uid);
    } else {
        imap_seq_add(&r->doubles, s->uid, s->uid);
        recheck_tell(r, s->uid,
                     "has the bytes of UID %u there, of which a copy may have come late, and is removed: the "
                     "first copy stands",
                     s->source_uid);
    }
}

static void recheck_judge(struct recheck *r)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct mbox_msg *m = mbox_list_find(&r->pair.target.list, r->suspects[i].uid);
        if (m)
            judge_one(r, &r->suspects[i], m);
    }
    recheck_end(r, COPY_EQUAL, "");
}

static void recheck_refresh(struct recheck *r, step_fn fn)
{
    struct imap_seq uids = {0};
    imap_seq_join(&uids, &r->firsts);
    for (size_t i = 0; i < r->n; i++)
        imap_seq_add(&uids, r->suspects[i].uid, r->suspects[i].uid);
    selected_refresh(&r->pair.target, &uids, fn, r);
    imap_seq_free(&uids);
}

/* What the user has done while bytes were read. */
static void on_refreshed(void *owner, enum copy_rc rc, const char *why)
{
    struct recheck *r = owner;
    if (rc == COPY_EQUAL)
        recheck_judge(r);
    else
        recheck_end(r, rc, why);
}

static void recheck_on_read(void *owner, enum copy_rc rc, const char *why)
{
    struct recheck *r = owner;
    if (rc != COPY_EQUAL) {
        recheck_end(r, rc, why);
        return;
    }
    if (r->n > 0)
        recheck_refresh(r, on_refreshed);
    else
        recheck_end(r, COPY_EQUAL, "");
}

static void look_for_doubles(struct recheck *r)
{
    struct imap_seq uids = {0};
    choose_unknown(r);
    if (r->unknown.n == 0) {
        recheck_end(r, COPY_EQUAL, "");
        return;
    }
    imap_seq_join(&uids, &r->unknown);
    imap_seq_join(&uids, &r->firsts);
    r->reading = readback_start(&r->pair.target, &uids, recheck_got, recheck_on_read, r);
    imap_seq_free(&uids);
}

/* ---- changes without an answer */

static void compare_removed(struct recheck *r, const struct imap_seq *target_uids)
{
    size_t n;
    const struct ledger_row *rows = ledger_rows(r->pair.ledger, &n);
    for (size_t i = 0; i < n; i++) {
        uint32_t uid = rows[i].target_uid;
        if (imap_seq_has(target_uids, uid) && !mbox_list_find(&r->pair.target.list, uid) &&
            !ledger_was_told(r->pair.ledger, uid) && !imap_seq_has(&r->told, uid))
            recheck_tell(
                r, uid,
                "(UID %u there) is gone, by the user, or by a removal of ours that was never answered",
                rows[i].source_uid);
    }
}

static bool has_what_was_stored(struct recheck *r, const struct mbox_msg *m, const struct mbox_msg *there,
                                uint32_t stored)
{
    uint32_t kept, lost;
    flags_split(r->pair.flags, &r->pair.target.permanent, there->flags, &kept, &lost);
    return m->flags == stored && kept != stored;
}

static void recheck_compare_flags(struct recheck *r, const struct imap_seq *target_uids, const char *flags)
{
    struct pair *p = &r->pair;
    const char *why;
    uint32_t stored;
    if (!flags_add_text(p->flags, span_str(flags), &stored, &why))
        return;
    for (size_t i = 0; i < p->target.list.listed; i++) {
        const struct mbox_msg *m = &p->target.list.msgs[i];
        const struct ledger_row *row =
            imap_seq_has(target_uids, m->uid) ? ledger_find_target(p->ledger, m->uid) : NULL;
        const struct mbox_msg *there = row ? mbox_list_find(&p->source.list, row->source_uid) : NULL;
        if (there && has_what_was_stored(r, m, there, stored) && !ledger_was_told(p->ledger, m->uid) &&
            !imap_seq_has(&r->told, m->uid))
            recheck_tell(r, m->uid,
                         "(UID %u there) has the flags (%s), by the user, or by a change of ours that was "
                         "never answered; "
                         "there it has (%s)",
                         row->source_uid, flags, flags_text(p->flags, there->flags));
    }
}

static void compare_change(void *owner, const struct imap_seq *target_uids, const char *flags)
{
    struct recheck *r = owner;
    if (!flags)
        compare_removed(r, target_uids);
    else
        recheck_compare_flags(r, target_uids, flags);
}

static void note_flags(void *owner, const struct imap_seq *target_uids, const char *flags)
{
    bool *any = owner;
    (void)target_uids;
    *any = *any || flags;
}

/* ---- what was told is done */

static void recheck_on_removed(void *owner, enum copy_rc rc, const char *why)
{
    struct recheck *r = owner;
    if (rc == COPY_EQUAL)
        recheck_keep_told(r);
    else
        recheck_end(r, rc, why);
}

/* What the user has done while it was told: what is no double any more is judged by the next look. */
static void forget_others(struct recheck *r)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct recheck_suspect *s = &r->suspects[i];
        const struct mbox_msg *m = mbox_list_find(&r->pair.target.list, s->uid);
        const char *why;
        if (!imap_seq_has(&r->doubles, s->uid) || (m && find_first(r, s, m, &why)))
            continue;
        imap_seq_remove(&r->doubles, s->uid, s->uid);
        imap_seq_remove(&r->told, s->uid, s->uid);
    }
}

static void on_refreshed_again(void *owner, enum copy_rc rc, const char *why)
{
    struct recheck *r = owner;
    if (rc != COPY_EQUAL) {
        recheck_end(r, rc, why);
        return;
    }
    forget_others(r);
    if (r->doubles.n == 0) {
        recheck_keep_told(r);
        return;
    }
    LOG(WARN, "late_doubles", LOG_S("mailbox", r->pair.target.name),
        LOG_U("count", imap_seq_count(&r->doubles)));
    r->removing = remove_start(&r->pair, &r->doubles, recheck_on_removed, r);
}

void recheck_finish(struct recheck *r, step_fn fn)
{
    r->fn = fn;
    if (r->doubles.n > 0)
        recheck_refresh(r, on_refreshed_again);
    else
        recheck_keep_told(r);
}

/* ---- both sides */

static bool is_bound(const struct recheck *r)
{
    uint32_t source, target;
    return ledger_bound(r->pair.ledger, &source, &target) && target == r->pair.target.uidvalidity &&
           (!r->pair.source.uidvalidity || source == r->pair.source.uidvalidity);
}

static void recheck_on_unfilled(void *owner, enum copy_rc rc, const char *why)
{
    struct recheck *r = owner;
    if (rc == COPY_EQUAL) {
        ledger_each_open_change(r->pair.ledger, compare_change, r);
        look_for_doubles(r);
    } else {
        recheck_end(r, rc, why);
    }
    fillers_stop(&r->fillers); /* why was its own */
}

static void recheck_on_opened(void *owner, enum copy_rc rc, const char *why)
{
    struct recheck *r = owner;
    struct pair *p = &r->pair;
    if (selected_vanished(&p->target) || selected_vanished(&p->source))
        rc = COPY_EQUAL;
    if (rc != COPY_EQUAL) {
        recheck_end(r, rc, why);
        return;
    }
    if (--r->opening > 0)
        return;
    if (selected_vanished(&p->target) || !is_bound(r)) {
        recheck_end(r, COPY_EQUAL, "");
        return;
    }
    r->fillers = fillers_start(p, true, recheck_on_unfilled, r);
}

static enum imapc_taken recheck_on_source_news(void *owner, const struct imap_resp *resp,
                                               const struct imap_value *data)
{
    struct recheck *r = owner;
    return selected_data(&r->pair.source, resp, data);
}

static enum imapc_taken recheck_on_target_news(void *owner, const struct imap_resp *resp,
                                               const struct imap_value *data)
{
    struct recheck *r = owner;
    return selected_data(&r->pair.target, resp, data);
}

static void ignore_progress(struct pair *p)
{
    (void)p;
}

struct recheck *recheck_start(const struct recheck_request *request, recheck_tell_fn tell_fn, step_fn fn,
                              void *owner)
{
    struct recheck *r = xcalloc(1, sizeof *r);
    struct pair *p = &r->pair;
    bool flags = false;
    r->tell = tell_fn;
    r->fn = fn;
    r->owner = owner;
    r->task.fn = recheck_on_task;
    p->loop = request->loop;
    p->ledger = request->ledger;
    p->findings = request->findings;
    p->flags = flags_pool_new();
    p->progress = ignore_progress;
    selected_init(&p->source, request->source, p->flags, request->source_name, "source", true);
    selected_init(&p->target, request->target, p->flags, request->target_name, "target", false);
    imapc_watch(request->source, NULL, recheck_on_source_news, NULL, r);
    imapc_watch(request->target, NULL, recheck_on_target_news, NULL, r);
    ledger_each_open_change(p->ledger, note_flags, &flags);
    r->opening = 1 + flags;
    selected_open(&p->target, NULL, recheck_on_opened, r);
    if (flags)
        selected_open(&p->source, NULL, recheck_on_opened, r);
    return r;
}
