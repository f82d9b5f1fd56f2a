#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "lib/log.h"
#include "lib/view.h"
#include "lib/xalloc.h"

#include "modseqs.h"
#include "plan.h"
#include "records.h"
#include "tier.h"

enum {
    ID_BYTES = 8,
    RUNS_MAX = 16 * 1024 * 1024, /* of a map that was written by us */
    WRITE_MAX = 200,             /* records in one script */
};

/* A name that clients have seen. It keeps the highest UIDVALIDITY that they were shown under it, also while no mailbox
 * has it. */
struct known_name {
    char *name;             /* owned; the client's */
    struct view_record row; /* that keeps it in the store where there is no other; owned */
    bool changed;           /* Redis has another version of it */
    UT_hash_handle hh;
};

struct records {
    struct store *store;
    const struct route_job *job;
    bool back;
    uint64_t terms;
    struct record *by_name;   /* owned */
    struct known_name *known; /* owned */
    char *spelling;           /* of names, as text; owned; NULL: not known */
    bool spelling_changed;    /* Redis has another one */
    struct buf dropped;       /* names of records, each with a NUL */
    size_t n_dropped;
    struct buf orphans; /* ids of stamps without a record, each with a NUL */
    size_t n_orphans;
    unsigned reading;      /* answers to come */
    enum route_rc read_rc; /* the first failure */
    records_fn fn;         /* of the call under way */
    void *owner;
    struct loop_task task; /* ends a write of nothing */
};

static void free_record(struct record *rec)
{
    view_record_free(&rec->view);
    ledger_free(&rec->ledger);
    findings_free(&rec->findings);
    imap_seq_free(&rec->gone);
    free(rec->numbers.mailbox);
    free(rec);
}

static struct record *new_record(void)
{
    struct record *rec = xcalloc(1, sizeof(*rec));

    rec->findings = findings_new(NULL);
    return rec;
}

static void add_record(struct records *r, struct record *rec)
{
    HASH_ADD_KEYPTR(hh, r->by_name, rec->view.source_name, strlen(rec->view.source_name), rec);
}

static void drop_record(struct records *r, struct record *rec)
{
    HASH_DEL(r->by_name, rec);
    free_record(rec);
}

/* ---- names */

static struct known_name *find_known(const struct records *r, const char *name)
{
    struct known_name *k;

    HASH_FIND_STR(r->known, name, k);
    return k;
}

/* What clients may have been shown of it, as the store has it. */
static uint32_t highest_shown(const struct view_record *v)
{
    bool numbered = v->tier != VIEW_T3 && v->source_uidvalidity > v->highest_uidvalidity;

    return numbered ? v->source_uidvalidity : v->highest_uidvalidity;
}

static struct record_shown shown_of(const struct view_record *v)
{
    return (struct record_shown){v->tier, v->source_uidvalidity, v->target_uidvalidity,
                                 v->highest_uidvalidity};
}

static void records_note_known(struct records *r, const struct view_record *v)
{
    struct known_name *k = find_known(r, v->source_name);
    uint32_t highest = highest_shown(v);

    if (highest == 0)
        return;
    if (!k) {
        k = xcalloc(1, sizeof(*k));
        k->name = xstrdup(v->source_name);
        k->row.source_name = xstrdup(v->source_name);
        k->row.target_name = xstrdup(v->target_name);
        k->row.tier = VIEW_T3;
        HASH_ADD_KEYPTR(hh, r->known, k->name, strlen(k->name), k);
    }
    if (k->row.highest_uidvalidity < highest)
        k->row.highest_uidvalidity = highest;
}

static void free_known(struct records *r)
{
    struct known_name *k, *next;

    HASH_ITER(hh, r->known, k, next)
    {
        HASH_DEL(r->known, k);
        view_record_free(&k->row);
        free(k->name);
        free(k);
    }
}

/* The store keeps a row of its own for it. */
static bool known_is_alone(const struct records *r, const struct known_name *k)
{
    struct record *rec;

    HASH_FIND_STR(r->by_name, k->name, rec);
    return !rec;
}

/* A row of forget_name(), and no mailbox was made anew under it since. Other records of no mailbox have a ledger. */
static bool is_name_alone(const struct view_record *v)
{
    return v->highest_uidvalidity && !v->source_uidvalidity && !v->target_uidvalidity &&
           strlen(v->id) == (size_t)2 * VIEW_NAME_ID_BYTES;
}

static void end_call(struct records *r, enum route_rc rc)
{
    records_fn fn = r->fn;

    r->fn = NULL;
    if (fn)
        fn(r->owner, rc);
}

/* ---- reading */

static void take_row(struct records *r, struct span name, struct span text)
{
    if (name.len == 0) {
        free(r->spelling);
        r->spelling = xspandup(text);
        return;
    }
    struct record *rec = new_record();
    bool good = view_record_decode(text, RUNS_MAX, &rec->view);

    if (!good || !span_is(name, rec->view.source_name)) {
        LOG(WARN, "view_record_unreadable", LOG_S("user", r->job->user), LOG_SPAN("mailbox", name));
        if (good)
            view_record_free(&rec->view);
        findings_free(&rec->findings);
        free(rec);
        return;
    }
    records_note_known(r, &rec->view);
    rec->stored = shown_of(&rec->view);
    if (view_record_is_of_other(&rec->view)) {
        free_record(rec);
        return;
    }
    if (is_name_alone(&rec->view)) {
        strcpy(find_known(r, rec->view.source_name)->row.id, rec->view.id);
        free_record(rec);
        return;
    }
    add_record(r, rec);
}

static void records_read_one(struct records *r, enum route_rc rc)
{
    if (r->read_rc == ROUTE_OK)
        r->read_rc = rc;
    if (--r->reading == 0)
        end_call(r, r->read_rc);
}

static void on_views(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct records *r = owner;

    for (size_t i = 0; rc == ROUTE_OK && i + 1 < n; i += 2)
        take_row(r, rows[i], rows[i + 1]);
    records_read_one(r, rc);
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp((*(struct record *const *)a)->view.id, (*(struct record *const *)b)->view.id);
}

/* To free. */
static struct record **sorted_by_id(const struct records *r, size_t *_n)
{
    struct record **sorted = xcalloc(HASH_COUNT(r->by_name) + 1, sizeof(*sorted));
    size_t n = 0;

    for (struct record *rec = r->by_name; rec; rec = rec->hh.next)
        sorted[n++] = rec;
    qsort(sorted, n, sizeof(*sorted), compare_ids);
    *_n = n;
    return sorted;
}

static int compare_id(const void *id, const void *rec)
{
    const char *other = (*(struct record *const *)rec)->view.id;
    const struct span *s = id;
    size_t len = strlen(other), n = s->len < len ? s->len : len;
    int by = memcmp(s->p, other, n);

    return by ? by : s->len < len ? -1 : s->len > len;
}

/* Those of one id make a ring: a client may have renamed its mailbox more than once. */
static void link_twins(struct record **sorted, size_t n)
{
    struct record *first;

    for (size_t i = 0, end; i < n; i = end) {
        first = sorted[i];
        for (end = i + 1; end < n && !compare_ids(&sorted[i], &sorted[end]); end++)
            sorted[end - 1]->twin = sorted[end];
        if (end > i + 1)
            sorted[end - 1]->twin = first;
    }
}

static void note_id(struct records *r, struct span id)
{
    buf_add_span(&r->orphans, id);
    buf_add(&r->orphans, "", 1);
    r->n_orphans++;
}

/* The records were asked for before. A stamp that can't be read is as good as none. */
static void on_stamps(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct records *r = owner;
    size_t n_sorted;
    struct record **sorted = sorted_by_id(r, &n_sorted);

    link_twins(sorted, n_sorted);
    for (size_t i = 0; rc == ROUTE_OK && i + 1 < n; i += 2) {
        struct record **rec = bsearch(&rows[i], sorted, n_sorted, sizeof(*sorted), compare_id);
        if (rec && stamp_decode(rows[i + 1], &(*rec)->stamp)) {
            if ((*rec)->stamp.terms != r->terms)
                (*rec)->stamp = (struct stamp){0};
            continue;
        }
        note_id(r, rows[i]);
    }
    free(sorted);
    records_read_one(r, rc);
}

static void records_forget_all(struct records *r)
{
    struct record *rec, *next;

    HASH_ITER(hh, r->by_name, rec, next)
    drop_record(r, rec);
    free_known(r);
}

void records_read(struct records *r, records_fn fn, void *owner)
{
    records_forget_all(r);
    r->fn = fn;
    r->owner = owner;
    r->reading = 2;
    r->read_rc = ROUTE_OK;
    route_views_read(r->store, r->job->user, on_views, r);
    route_stamps_read(r->store, r->job->user, on_stamps, r);
}

/* A proxy has changed it: what clients see now they have to learn anew on the other server. */
static void merge_record(struct records *r, struct record *rec, const struct view_record *row)
{
    const struct record_shown now = shown_of(row);
    struct view_record *v = &rec->view;

    if (now.tier == rec->stored.tier && now.source == rec->stored.source &&
        now.target == rec->stored.target && now.highest == rec->stored.highest)
        return;
    LOG(INFO, "view_changed_meanwhile", LOG_S("user", r->job->user), LOG_S("mailbox", v->source_name));
    if (v->highest_uidvalidity < highest_shown(v))
        v->highest_uidvalidity = highest_shown(v);
    if (v->highest_uidvalidity < highest_shown(row))
        v->highest_uidvalidity = highest_shown(row);
    v->highest_unflipped = 0;
    v->tier = VIEW_T3;
    if (!r->back)
        v->source_uidvalidity = 0; /* not bound, see record_fold() */
    rec->stored = now;
    rec->changed = true;
}

/* Rows of names alone are known to records_get() from now on. */
static void merge_row(struct records *r, struct span name, struct span text)
{
    struct view_record row;
    struct record *rec;

    if (name.len == 0 || !view_record_decode(text, RUNS_MAX, &row))
        return;
    records_note_known(r, &row);
    struct known_name *k = find_known(r, row.source_name);
    if (is_name_alone(&row))
        strcpy(k->row.id, row.id);
    HASH_FIND_STR(r->by_name, row.source_name, rec);
    if (rec)
        merge_record(r, rec, &row);
    view_record_free(&row);
}

static void records_on_merged(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct records *r = owner;

    for (size_t i = 0; rc == ROUTE_OK && i + 1 < n; i += 2)
        merge_row(r, rows[i], rows[i + 1]);
    end_call(r, rc);
}

void records_merge(struct records *r, records_fn fn, void *owner)
{
    r->fn = fn;
    r->owner = owner;
    route_views_read(r->store, r->job->user, records_on_merged, r);
}

struct record *records_find(const struct records *r, const char *from_name)
{
    struct record *rec;

    if (!r->back) {
        HASH_FIND_STR(r->by_name, from_name, rec);
        return rec;
    }
    for (rec = r->by_name; rec; rec = rec->hh.next)
        if (!strcmp(rec->view.target_name, from_name))
            return rec;
    return NULL;
}

struct record *records_first(const struct records *r)
{
    return r->by_name;
}

struct record *records_get(struct records *r, const char *from_name, const char *to_name)
{
    const char *source_name = r->back ? to_name : from_name, *target_name = r->back ? from_name : to_name;
    struct record *rec;

    HASH_FIND_STR(r->by_name, source_name, rec);
    if (rec && strcmp(rec->view.target_name, target_name)) {
        records_note_known(r, &rec->view);
        drop_record(r, rec);
        rec = NULL;
    }
    if (!rec) {
        rec = new_record();
        random_hex(rec->view.id, ID_BYTES);
        rec->view.source_name = xstrdup(source_name);
        rec->view.target_name = xstrdup(target_name);
        rec->view.tier = VIEW_T3;
        const struct known_name *k = find_known(r, source_name);
        rec->view.highest_uidvalidity = k ? k->row.highest_uidvalidity : 0;
        rec->changed = true;
        add_record(r, rec);
    }
    return rec;
}

void records_each_gone(struct records *r, const struct mailboxes *source, records_gone_fn fn, void *owner)
{
    struct record *rec, *next;

    HASH_ITER(hh, r->by_name, rec, next)
    {
        const char *from = r->back ? rec->view.target_name : rec->view.source_name;
        const char *to = r->back ? rec->view.source_name : rec->view.target_name;
        const struct mailbox *m = mailboxes_find(source, from);
        if (!m || !(m->flags & MAILBOX_LISTED) || (m->flags & MAILBOX_NO_SELECT))
            fn(owner, rec, from, to);
    }
}

bool records_has(const struct records *r, const char *from_name)
{
    for (struct record *rec = r->by_name; r->back && rec; rec = rec->hh.next)
        if (!strcmp(rec->view.target_name, from_name))
            return true;
    struct record *rec = NULL;
    if (!r->back)
        HASH_FIND_STR(r->by_name, from_name, rec);
    return rec != NULL;
}

const char *records_to_name(const struct records *r, const struct record *rec)
{
    return r->back ? rec->view.source_name : rec->view.target_name;
}

const char *records_from_name(const struct records *r, const struct record *rec)
{
    return r->back ? rec->view.target_name : rec->view.source_name;
}

struct record *records_next_twin(const struct records *r)
{
    struct record *rec = r->by_name;

    while (rec && !rec->twin)
        rec = rec->hh.next;
    return rec;
}

void records_twin(struct records *r, struct record *rec, const char *from_name, const char *to_name)
{
    struct record *twin = records_get(r, from_name, to_name);

    strcpy(twin->view.id, rec->view.id);
    twin->twin = rec;
    rec->twin = twin;
}

/* Its name stays known, should a mailbox be made anew under it. */
static void forget_name(struct records *r, struct record *rec)
{
    records_note_known(r, &rec->view);
    struct known_name *k = find_known(r, rec->view.source_name);

    if (k) {
        random_hex(k->row.id, VIEW_NAME_ID_BYTES);
        k->changed = true;
    } else {
        buf_add_str(&r->dropped, rec->view.source_name);
        buf_add(&r->dropped, "", 1);
        r->n_dropped++;
    }
    drop_record(r, rec);
}

void records_keep_twin(struct records *r, struct record *rec)
{
    struct record *other, *next;

    for (other = rec->twin; other != rec; other = next) {
        next = other->twin;
        if (!rec->ledger) {
            rec->ledger = other->ledger;
            other->ledger = NULL;
        }
        if (other->stamp.equal)
            rec->stamp = other->stamp;
        forget_name(r, other);
    }
    rec->stamp.equal = rec->whole = false;
    rec->stamp_changed = true;
    rec->twin = NULL;
}

static void on_ledger_dropped(void *owner, enum route_rc rc, const char *detail)
{
    (void)owner, (void)rc, (void)detail;
}

void records_drop(struct records *r, struct record *rec)
{
    note_id(r, span_str(rec->view.id));
    route_ledger_drop(r->store, r->job, rec->view.id, on_ledger_dropped, r);
    forget_name(r, rec);
}

void records_begin_attempt(struct records *r)
{
    for (struct record *rec = r ? r->by_name : NULL; rec; rec = rec->hh.next)
        rec->whole = false;
}

bool records_counted(const struct records *r)
{
    for (const struct record *rec = r->by_name; rec; rec = rec->hh.next)
        if (rec->counted || rec->stamp.equal)
            return true;
    return false;
}

/* ---- writing */

static void records_write_some(struct records *r);

static void records_on_written(void *owner, enum route_rc rc, const char *detail)
{
    struct records *r = owner;

    (void)detail;
    if (rc == ROUTE_OK)
        records_write_some(r);
    else
        end_call(r, rc);
}

/* Marked as written when it is sent: after a failure the job reads all of them anew. */
static void records_write_some(struct records *r)
{
    struct span pairs[2 * WRITE_MAX + 2], drop[WRITE_MAX];
    struct buf texts[WRITE_MAX] = {{0}};
    size_t n = 0, n_drop = 0, at = 0;
    struct record *rec, *next;
    struct known_name *k, *k_next;
    const char *names = (const char *)buf_span(&r->dropped).p;

    for (; n_drop < r->n_dropped && n_drop < WRITE_MAX; n_drop++) {
        drop[n_drop] = span_str(names + at);
        at += drop[n_drop].len + 1;
    }

    HASH_ITER(hh, r->by_name, rec, next)
    {
        if (!rec->changed || n == WRITE_MAX)
            continue;
        view_record_encode(&texts[n], &rec->view);
        pairs[2 * n] = span_str(rec->view.source_name);
        pairs[2 * n + 1] = buf_span(&texts[n]);
        rec->changed = false;
        rec->stored = shown_of(&rec->view);
        n++;
    }
    HASH_ITER(hh, r->known, k, k_next)
    {
        if (!k->changed || n == WRITE_MAX)
            continue;
        k->changed = false;
        if (!known_is_alone(r, k))
            continue;
        view_record_encode(&texts[n], &k->row);
        pairs[2 * n] = span_str(k->name);
        pairs[2 * n + 1] = buf_span(&texts[n]);
        n++;
    }
    size_t n_pairs = n;
    if (r->spelling_changed) {
        pairs[2 * n_pairs] = span_str("");
        pairs[2 * n_pairs + 1] = span_str(r->spelling);
        r->spelling_changed = false;
        n_pairs++;
    }
    if (n_pairs + n_drop > 0)
        route_views_write(r->store, r->job, drop, n_drop, pairs, n_pairs, records_on_written, r);
    else
        end_call(r, ROUTE_OK);
    buf_eat(&r->dropped, at);
    r->n_dropped -= n_drop;
    for (size_t i = 0; i < n; i++)
        buf_free(&texts[i]);
}

static void write_soon(struct loop_task *task)
{
    records_write_some(CONTAINER_OF(task, struct records, task));
}

void records_write(struct records *r, records_fn fn, void *owner)
{
    r->fn = fn;
    r->owner = owner;
    loop_defer(store_loop(r->store), &r->task);
}

static void on_stamps_written(void *owner, enum route_rc rc, const char *detail)
{
    (void)owner, (void)rc, (void)detail;
}

void records_write_stamps(struct records *r)
{
    struct span drop[WRITE_MAX], pairs[2 * WRITE_MAX];
    struct buf texts[WRITE_MAX] = {{0}};
    size_t n = 0, n_drop = 0, at = 0;
    struct span orphans = buf_span(&r->orphans);

    for (; n_drop < r->n_orphans && n_drop < WRITE_MAX; n_drop++) {
        drop[n_drop] = span_str((const char *)orphans.p + at);
        at += drop[n_drop].len + 1;
    }
    for (struct record *rec = r->by_name; rec && n < WRITE_MAX; rec = rec->hh.next) {
        if (!rec->stamp_changed)
            continue;
        struct stamp stamp = rec->stamp;
        stamp.equal = stamp.equal && rec->gone.n == 0;
        stamp_encode(&texts[n], &stamp);
        pairs[2 * n] = span_str(rec->view.id);
        pairs[2 * n + 1] = buf_span(&texts[n]);
        rec->stamp_changed = false;
        n++;
    }
    if (n + n_drop > 0)
        route_stamps_write(r->store, r->job, drop, n_drop, pairs, n, on_stamps_written, r);
    for (size_t i = 0; i < n; i++)
        buf_free(&texts[i]);
    buf_eat(&r->orphans, at);
    r->n_orphans -= n_drop;
    if (n == WRITE_MAX || r->n_orphans > 0)
        records_write_stamps(r);
}

void records_forget(struct records *r, void *owner)
{
    if (r->owner == owner)
        r->fn = NULL;
}

/* ---- the flip */

/* The clients' side of the record is where the ledger's pair goes to on the way back. Without order on both
 * sides it is no map. */
static bool fold_rows(struct view_uid *map, const struct ledger_row *rows, size_t n, bool back)
{
    for (size_t i = 0; i < n; i++)
        if (!(back ? view_uid_add(map, rows[i].target_uid, rows[i].source_uid)
                   : view_uid_add(map, rows[i].source_uid, rows[i].target_uid)))
            return false;
    return true;
}

static void note_shown(struct view_record *v, uint32_t uidvalidity)
{
    if (v->highest_uidvalidity < uidvalidity)
        v->highest_uidvalidity = uidvalidity;
}

enum view_tier record_tier(const struct record *rec, const struct copy_result *last, char *why,
                           size_t why_size)
{
    struct view_uid map = {0};
    struct tier_held h = {.source_uidvalidity = last->source_uidvalidity,
                          .source_uidnext = last->source_uidnext,
                          .target_uidvalidity = last->target_uidvalidity,
                          .target_uidnext = last->target_uidnext,
                          .first_foreign = last->first_foreign};

    h.rows = ledger_rows(rec->ledger, &h.n);
    enum view_tier tier = tier_of(&h, &map, why, why_size);
    view_uid_free(&map);
    return tier;
}

/* T3: clients are shown a UIDVALIDITY that they have not seen, the target's own where that is greater. */
static void show_another(struct view_record *v, uint32_t real)
{
    if (real > v->highest_uidvalidity)
        v->highest_uidvalidity = real;
    else if (v->highest_uidvalidity < UINT32_MAX)
        v->highest_uidvalidity++;
}

/* Where an attempt did not come to its flip, nobody was shown what its record was to be shown by. */
static void forget_unflipped(struct view_record *v, bool unseen)
{
    if (unseen && v->highest_unflipped)
        v->highest_uidvalidity = v->highest_unflipped;
    v->highest_unflipped = 0;
}

/* unseen: not before the account is flipped. */
static void show_another_later(struct view_record *v, uint32_t real, bool unseen)
{
    uint32_t was = v->highest_uidvalidity;

    show_another(v, real);
    if (unseen && was < v->highest_uidvalidity)
        v->highest_unflipped = was;
}

/* T2: has each message the UID at home by which clients know it, and is nothing else there that they might take for
 * one? */
static bool shown_is_at_home(const struct record *rec, const struct copy_result *last)
{
    const struct view_uid *map = &rec->view.map;
    uint32_t shown;
    size_t n;
    const struct ledger_row *rows = ledger_rows(rec->ledger, &n);

    for (size_t i = 0; i < n; i++)
        if (!view_uid_to_client(map, rows[i].source_uid, &shown) || shown != rows[i].target_uid)
            return false;
    return last->source_uidnext > 0 && view_uid_to_client(map, last->source_uidnext, &shown) &&
           shown <= last->target_uidnext && (last->first_foreign == 0 || last->first_foreign >= shown);
}

/* Back where the numbers come from. Another tier than before is T3 alone: should the account stay after all, that is
 * right on the other server too. */
static enum view_tier tier_back(const struct record *rec, const struct copy_result *last)
{
    char why[200];
    enum view_tier was = rec->view.tier, now = record_tier(rec, last, why, sizeof(why));

    if (was == VIEW_T2 && shown_is_at_home(rec, last))
        return VIEW_T2;
    return (was == VIEW_T0 || was == VIEW_T1) && (now == VIEW_T0 || now == VIEW_T1) ? was : VIEW_T3;
}

/* The record is still as it held until now. */
static struct modseqs_facts modseqs_before(const struct record *rec, const struct copy_result *last,
                                           const struct record_terms *terms)
{
    const struct view_record *v = &rec->view;
    const struct stamp_base *base = &rec->stamp.base;
    struct modseqs_facts f = {.condstore = terms->condstore,
                              .held = terms->viewed && v->modseqs && v->tier != VIEW_T3,
                              .source = last->source_modseq,
                              .target = last->target_modseq,
                              .given = ledger_gave_all(rec->ledger, last->source_uidnext)};

    if (f.held) {
        f.floor = v->modseq_floor;
        f.shift = v->modseq_shift;
    }
    if (!terms->back && base->uidvalidity == last->target_uidvalidity)
        f.base = base->modseq;
    return f;
}

void record_fold(struct record *rec, const struct copy_result *last, const struct record_terms *terms)
{
    const struct modseqs_facts modseqs = modseqs_before(rec, last, terms);
    bool back = terms->back;
    struct view_record *v = &rec->view;
    struct view_uid map = {0};
    size_t n;
    char why[200];
    const struct ledger_row *rows = ledger_rows(rec->ledger, &n);
    char *clash = record_uid_clash(rec, last, back);
    bool unseen = !back && !terms->viewed;
    bool bound = v->source_uidvalidity == last->source_uidvalidity; /* forward */

    forget_unflipped(v, unseen);
    /* With a map clients would see right messages, but some day the proxy is taken away. */
    v->tier = clash ? VIEW_T3 : back ? tier_back(rec, last) : record_tier(rec, last, why, sizeof(why));
    free(clash);
    v->source_uidvalidity = back ? last->target_uidvalidity : last->source_uidvalidity;
    v->target_uidvalidity = back ? last->source_uidvalidity : last->target_uidvalidity;
    v->source_uidnext = back ? last->target_uidnext : last->source_uidnext;
    v->target_uidnext = back ? last->source_uidnext : last->target_uidnext;
    /* A message of the target's own that lies behind the copies is one that clients have not seen. */
    uint32_t tail =
        !back && last->first_foreign && v->tier == VIEW_T2 ? last->first_foreign : v->target_uidnext;
    /* T3 does without. */
    if (!fold_rows(&map, rows, n, back) || !view_uid_set_tail(&map, v->source_uidnext, tail))
        view_uid_free(&map);
    view_uid_free(&v->map);
    v->map = map;
    if (v->tier == VIEW_T2 && !v->map.tail_client)
        v->tier = VIEW_T3;
    /* Back at home, or by a client's RENAME, it was shown by another UIDVALIDITY than its own, or another mailbox was
     * shown by that one: under it clients may know UIDs as other messages. */
    if (!back && (v->highest_uidvalidity > v->source_uidvalidity ||
                  (v->highest_uidvalidity == v->source_uidvalidity && !bound)))
        v->tier = VIEW_T3;
    note_shown(v, last->source_uidvalidity);
    if (v->tier == VIEW_T3)
        show_another_later(v, back ? v->source_uidvalidity : v->target_uidvalidity, unseen);
    modseqs_go_on(v, &modseqs);
    rec->changed = true;
}

void record_void(struct record *rec, bool back)
{
    struct view_record *v = &rec->view;
    uint64_t now_s = clock_wall_ms() / 1000;

    note_shown(v, v->source_uidvalidity);
    note_shown(v, v->target_uidvalidity);
    /* Of a mailbox that was in no flip yet nobody has noted what clients were shown; it lies in the past. */
    if (v->highest_uidvalidity < now_s && now_s <= UINT32_MAX)
        v->highest_uidvalidity = (uint32_t)now_s;
    else if (v->highest_uidvalidity < UINT32_MAX)
        v->highest_uidvalidity++; /* also where the account stays after all */
    v->highest_unflipped = 0;
    v->tier = VIEW_T3;
    modseqs_go_on(v, &(struct modseqs_facts){0});
    view_uid_free(&v->map);
    if (back)
        v->source_uidvalidity = v->source_uidnext = 0;
    else
        v->target_uidvalidity = v->target_uidnext = 0;
    rec->changed = true;
}

/* The rest of the text is appended by the caller. */
static void begin_clash(struct buf *text, const struct record *rec, uint32_t uidvalidity)
{
    plan_show_name(text, rec->view.source_name);
    buf_printf(text, " has UIDVALIDITY %" PRIu32 " on both servers, but ", uidvalidity);
}

static void write_clash(struct buf *text, const struct record *rec, const struct copy_result *last)
{
    size_t n;
    const struct ledger_row *rows = ledger_rows(rec->ledger, &n);

    for (size_t i = 0; i < n; i++) {
        if (rows[i].source_uid != rows[i].target_uid) {
            begin_clash(text, rec, last->source_uidvalidity);
            buf_printf(text, "UID %" PRIu32 " of the one that it leaves is UID %" PRIu32 " of the other",
                       rows[i].source_uid, rows[i].target_uid);
            return;
        }
    }
    /* UIDs below the source's UIDNEXT may be known to a client, and the target would give them out again. */
    if (last->target_uidnext < last->source_uidnext) {
        begin_clash(text, rec, last->source_uidvalidity);
        buf_printf(text, "the one that it leaves goes on at UID %" PRIu32 " and the other at UID %" PRIu32,
                   last->source_uidnext, last->target_uidnext);
    }
}

/* On the way back: both servers have given out the same UIDs since the flip, the one that it goes to for
 * messages that are none of ours. */
static void write_late_clash(struct buf *text, const struct record *rec, const struct copy_result *last)
{
    const struct view_record *v = &rec->view;
    uint64_t ours = 0, given;
    size_t n;
    const struct ledger_row *rows = ledger_rows(rec->ledger, &n);

    if (text->len || v->source_uidnext == 0 || last->source_uidnext <= v->source_uidnext)
        return;
    for (size_t i = 0; i < n; i++)
        ours += rows[i].target_uid >= v->source_uidnext;
    given = last->target_uidnext > v->source_uidnext ? last->target_uidnext - v->source_uidnext : 0;
    if (given > ours) {
        begin_clash(text, rec, last->source_uidvalidity);
        buf_printf(text, "both have given out UID %" PRIu32 " and up since the account was moved",
                   v->source_uidnext);
    }
}

char *record_uid_clash(const struct record *rec, const struct copy_result *last, bool back)
{
    struct buf text = {0};

    if (last->source_uidvalidity != last->target_uidvalidity || last->source_uidvalidity == 0)
        return NULL;
    write_clash(&text, rec, last);
    if (back)
        write_late_clash(&text, rec, last);
    char *clash = text.len ? xstrdup(buf_str(&text)) : NULL;
    buf_free(&text);
    return clash;
}

static int records_compare_rows(const void *a, const void *b)
{
    return strcmp((*(const struct view_record *const *)a)->source_name,
                  (*(const struct view_record *const *)b)->source_name);
}

/* All that the store has, one a line, by name. */
static void write_all(const struct records *r, struct buf *out)
{
    size_t n = 0;
    const struct view_record **rows =
        xcalloc(HASH_COUNT(r->by_name) + HASH_COUNT(r->known) + 1, sizeof(*rows));

    for (const struct record *rec = r->by_name; rec; rec = rec->hh.next)
        rows[n++] = &rec->view;
    for (const struct known_name *k = r->known; k; k = k->hh.next)
        if (known_is_alone(r, k))
            rows[n++] = &k->row;
    qsort(rows, n, sizeof(*rows), records_compare_rows);
    for (size_t i = 0; i < n; i++) {
        view_record_encode(out, rows[i]);
        buf_add_str(out, "\n");
    }
    free(rows);
}

bool records_are_spelled(const struct records *r)
{
    return r->spelling != NULL;
}

/* A proxy can't tell how the other server spells a name (views_home.h). */
static void spell_known(struct records *r, const struct view_names *names)
{
    struct buf name = {0};

    for (struct known_name *k = r->known; k; k = k->hh.next) {
        buf_clear(&name);
        if (!known_is_alone(r, k) || !view_name_to_target(names, span_str(k->name), &name) ||
            span_is(buf_span(&name), k->row.target_name))
            continue;
        free(k->row.target_name);
        k->row.target_name = xspandup(buf_span(&name));
        k->changed = k->row.id[0] != '\0';
    }
    buf_free(&name);
}

void records_spell(struct records *r, const struct view_names *names, const struct view_spaces *spaces)
{
    struct view_spelling s = {.client_separator = names->source.separator,
                              .backend_separator = names->target.separator,
                              .client_prefix = (char *)names->source.prefix,
                              .backend_prefix = (char *)names->target.prefix,
                              .avoid = (char *)(names->target.avoid ? names->target.avoid : ""),
                              .spaces = *spaces};
    struct buf text = {0};

    view_spelling_encode(&text, &s);
    if (!r->spelling || strcmp(r->spelling, buf_str(&text)) != 0) {
        free(r->spelling);
        r->spelling = xstrdup(buf_str(&text));
        r->spelling_changed = true;
    }
    buf_free(&text);
    spell_known(r, names);
}

/* A mailbox that is deleted and made anew gets a UIDVALIDITY of its server, mostly the second of then: one that
 * is not below that has to be remembered. */
static bool records_are_past(const struct records *r)
{
    uint64_t now_s = clock_wall_ms() / 1000;

    for (const struct record *rec = r->by_name; rec; rec = rec->hh.next)
        if (rec->view.highest_uidvalidity >= now_s)
            return false;
    for (const struct known_name *k = r->known; k; k = k->hh.next)
        if (k->row.highest_uidvalidity >= now_s)
            return false;
    return true;
}

static bool records_are_home(const struct records *r)
{
    for (const struct record *rec = r->by_name; rec; rec = rec->hh.next)
        if (rec->view.tier == VIEW_T3 || rec->view.modseq_shift > 0)
            return false;
    return true;
}

/* As view_has_modseqs(). */
static bool records_have_modseqs(const struct records *r)
{
    for (const struct record *rec = r->by_name; rec; rec = rec->hh.next)
        if (rec->view.tier != VIEW_T3 && !rec->view.modseqs)
            return false;
    return true;
}

/* Is there nothing to be rewritten? Renames of the site show in the records' names. */
static bool records_are_plain(const struct records *r)
{
    struct view *v = view_new(NULL);
    bool ok = r->spelling && view_take(v, span_str(""), span_str(r->spelling));

    for (const struct record *rec = r->by_name; rec && ok; rec = rec->hh.next) {
        struct buf text = {0};
        view_record_encode(&text, &rec->view);
        ok = !strcmp(rec->view.source_name, rec->view.target_name) &&
             view_take(v, span_str(rec->view.source_name), buf_span(&text));
        buf_free(&text);
    }
    ok = ok && view_is_plain(v);
    view_unref(&v);
    return ok;
}

/* Is the account shown mailboxes of others, whose records count for it as well? */
static bool records_have_owners(const struct records *r)
{
    struct view_spelling s;
    bool have = false;

    if (r->spelling && view_spelling_decode(span_str(r->spelling), &s)) {
        have = s.spaces.n_owners > 0;
        view_spelling_free(&s);
    }
    return have;
}

static const char *records_version(const struct records *r)
{
    bool plain = (r->back ? records_are_home(r) : records_are_plain(r)) && records_are_past(r);

    if (plain && records_have_owners(r))
        return r->back ? "1<:" : "1=+:";
    if (plain)
        return records_have_modseqs(r) ? "1=:m" : "1=:";
    return r->back ? "1<:" : "1:";
}

void records_digest(const struct records *r, char out[40])
{
    struct buf text = {0};
    unsigned char hash[EVP_MAX_MD_SIZE] = {0};

    write_all(r, &text);
    struct span s = buf_span(&text);
    EVP_Digest(s.p ? (const void *)s.p : "", s.len, hash, NULL, EVP_sha256(), NULL);
    strcpy(out, records_version(r));
    size_t at = strlen(out);
    for (size_t i = 0; i < 16; i++)
        snprintf(out + at + 2 * i, 3, "%02x", hash[i]);
    buf_free(&text);
}

uint64_t records_terms(const struct records *r)
{
    return r->terms;
}

struct records *records_new(struct store *s, const struct route_job *job, bool back, uint64_t terms)
{
    struct records *r = xcalloc(1, sizeof(*r));

    r->back = back;
    r->terms = terms;
    r->store = s;
    r->job = job;
    r->task.fn = write_soon;
    return r;
}

void records_free(struct records **rp)
{
    struct records *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    store_forget(r->store, r);
    loop_undefer(store_loop(r->store), &r->task);
    records_forget_all(r);
    buf_free(&r->orphans);
    buf_free(&r->dropped);
    free(r->spelling);
    free(r);
}
