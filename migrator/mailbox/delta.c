#include <stdlib.h>

#include "lib/imap_write.h"
#include "lib/xalloc.h"

#include "delta.h"

uint32_t *delta_missing(const struct delta *d, size_t *_n)
{
    size_t n = 0, row = 0;
    uint32_t *uids = xcalloc(d->source->listed ? d->source->listed : 1, sizeof *uids);
    for (size_t i = 0; i < d->source->listed; i++) {
        uint32_t uid = d->source->msgs[i].uid;
        while (row < d->n_rows && d->rows[row].source_uid < uid)
            row++;
        if (row == d->n_rows || d->rows[row].source_uid != uid)
            uids[n++] = uid;
    }
    *_n = n;
    return uids;
}

enum { REMOVED_FREELY = 100 /* copies that go whatever their share is */ };

bool delta_is_large_share(uint64_t gone, uint64_t all, uint32_t share)
{
    return gone > REMOVED_FREELY && gone * 100 > all * share;
}

static bool may_go(const struct delta *d, uint32_t source_uid)
{
    return !d->removable || imap_seq_has(d->removable, source_uid);
}

void delta_gone(const struct delta *d, struct imap_seq *sources, struct imap_seq *targets)
{
    for (size_t i = 0; i < d->n_rows; i++) {
        const struct ledger_row *row = &d->rows[i];
        if (mbox_list_find(d->source, row->source_uid) || !may_go(d, row->source_uid))
            continue;
        imap_seq_add(sources, row->source_uid, row->source_uid);
        if (mbox_list_find(d->target, row->target_uid))
            imap_seq_add(targets, row->target_uid, row->target_uid);
    }
}

static bool both_listed(const struct mbox_msg *s, const struct mbox_msg *t, enum mbox_has item)
{
    return (s->has & t->has & item) != 0;
}

/* Where both are what they were, they are as equal as they were. */
static bool neither_listed(const struct mbox_msg *s, const struct mbox_msg *t, enum mbox_has item)
{
    return ((s->has | t->has) & item) == 0;
}

/* Has the one something to be compared with what is not known of the other? */
static bool delta_lopsided(const struct mbox_msg *listed, const struct mbox_msg *other)
{
    return ((listed->has & (MBOX_FLAGS | MBOX_DATE)) & ~(unsigned)other->has) != 0;
}

void delta_unlisted(const struct delta *d, struct imap_seq *sources, struct imap_seq *targets)
{
    for (size_t i = 0; i < d->n_rows; i++) {
        const struct mbox_msg *s = mbox_list_find(d->source, d->rows[i].source_uid);
        const struct mbox_msg *t = mbox_list_find(d->target, d->rows[i].target_uid);
        if (s && t && delta_lopsided(t, s))
            imap_seq_add(sources, s->uid, s->uid);
        if (s && t && delta_lopsided(s, t))
            imap_seq_add(targets, t->uid, t->uid);
    }
}

void delta_misplaced(const struct delta *d, struct imap_seq *sources)
{
    uint32_t highest = 0;
    bool misplaced = false;
    for (size_t i = 0; i < d->n_rows; i++) {
        const struct ledger_row *row = &d->rows[i];
        if (!mbox_list_find(d->source, row->source_uid))
            continue; /* its copy goes */
        misplaced = misplaced || row->target_uid < highest;
        highest = row->target_uid > highest ? row->target_uid : highest;
        if (misplaced)
            imap_seq_add(sources, row->source_uid, row->source_uid);
    }
}

static int compare_uids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The rows' target UIDs, sorted; to free. */
static uint32_t *sorted_targets(const struct delta *d)
{
    uint32_t *uids = xcalloc(d->n_rows ? d->n_rows : 1, sizeof *uids);
    bool sorted = true;
    for (size_t i = 0; i < d->n_rows; i++) {
        uids[i] = d->rows[i].target_uid;
        sorted = sorted && (i == 0 || uids[i - 1] <= uids[i]);
    }
    if (!sorted)
        qsort(uids, d->n_rows, sizeof *uids, compare_uids);
    return uids;
}

void delta_foreign(const struct delta *d, uint32_t from_uid, struct imap_seq *uids)
{
    uint32_t *ours = sorted_targets(d);
    size_t at = 0;
    for (size_t i = mbox_list_from(d->target, from_uid); i < d->target->listed; i++) {
        uint32_t uid = d->target->msgs[i].uid;
        while (at < d->n_rows && ours[at] < uid)
            at++;
        if (at == d->n_rows || ours[at] != uid)
            imap_seq_add(uids, uid, uid);
    }
    free(ours);
}

/* --- flags --- */

struct groups {
    struct delta_flags *groups;
    size_t n;
    uint32_t *of_set; /* index + 1 by set; 0 = none */
    size_t sets;
};

static struct delta_flags *group_of(struct groups *g, const struct flags_pool *pool, uint32_t set)
{
    if (set >= g->sets) { /* splitting makes new sets */
        size_t sets = flags_count(pool);
        g->of_set = xreallocarray(g->of_set, sets, sizeof *g->of_set);
        memset(g->of_set + g->sets, 0, (sets - g->sets) * sizeof *g->of_set);
        g->sets = sets;
    }
    if (g->of_set[set] == 0) {
        g->groups = xreallocarray(g->groups, g->n + 1, sizeof *g->groups);
        g->groups[g->n++] = (struct delta_flags){.set = set};
        g->of_set[set] = (uint32_t)g->n;
    }
    return &g->groups[g->of_set[set] - 1];
}

struct delta_flags *delta_flags(const struct delta *d, size_t *_n)
{
    struct groups g = {0};
    for (size_t i = 0; i < d->n_rows; i++) {
        const struct mbox_msg *s = mbox_list_find(d->source, d->rows[i].source_uid);
        const struct mbox_msg *t = mbox_list_find(d->target, d->rows[i].target_uid);
        uint32_t kept, lost;
        if (!s || !t || !both_listed(s, t, MBOX_FLAGS) || s->flags == t->flags)
            continue;
        flags_split(d->source->pool, d->permanent, s->flags, &kept, &lost);
        if (kept != t->flags)
            imap_seq_add(&group_of(&g, d->source->pool, kept)->uids, t->uid, t->uid);
    }
    free(g.of_set);
    *_n = g.n;
    return g.groups;
}

void delta_flags_free(struct delta_flags *f, size_t n)
{
    for (size_t i = 0; i < n; i++)
        imap_seq_free(&f[i].uids);
    free(f);
}

/* --- comparing --- */

struct compare {
    const struct delta *d;
    delta_fn fn;
    void *owner;
    struct delta_report *r;
};

static void add_diff(struct compare *c, const struct delta_diff *diff)
{
    c->r->by_kind[diff->kind]++;
    c->r->n++;
    if (c->fn)
        c->fn(c->owner, c->d, diff);
}

static void delta_compare_flags(struct compare *c, const struct mbox_msg *s, const struct mbox_msg *t)
{
    const struct delta *d = c->d;
    struct delta_diff diff = {.kind = DELTA_FLAGS,
                              .source_uid = s->uid,
                              .target_uid = t->uid,
                              .source_flags = s->flags,
                              .target_flags = t->flags};
    uint32_t kept, lost;
    if (neither_listed(s, t, MBOX_FLAGS) || (both_listed(s, t, MBOX_FLAGS) && s->flags == t->flags))
        return;
    flags_split(d->source->pool, d->permanent, s->flags, &kept, &lost);
    if (lost != FLAGS_NONE && kept == t->flags) {
        diff.kind = DELTA_FLAGS_LOST;
        diff.source_flags = lost;
    }
    add_diff(c, &diff);
}

static void compare_dates(struct compare *c, const struct mbox_msg *s, const struct mbox_msg *t)
{
    if (neither_listed(s, t, MBOX_DATE))
        return;
    if (both_listed(s, t, MBOX_DATE) && s->instant == t->instant && !s->date_bad && !t->date_bad) {
        c->r->zones += s->zone != t->zone;
        return;
    }
    add_diff(c, &(struct delta_diff){.kind = DELTA_DATE,
                                     .source_uid = s->uid,
                                     .target_uid = t->uid,
                                     .source_date = {s->instant, s->zone},
                                     .target_date = {t->instant, t->zone}});
}

/* Counts how it was compared where that is enough. */
static bool is_unread(struct compare *c, const struct ledger_row *row, const struct mbox_msg *t)
{
    const struct delta *d = c->d;
    static const struct sample all = {.mode = VERIFY_FULL};
    const struct sample *sample = d->sample ? d->sample : &all;
    if (sample_wants_bytes(sample, d->rows, d->n_rows, (size_t)(row - d->rows), t))
        return true;
    if (row->verified)
        c->r->by_bytes++;
    else if (row->header && sample->mode == VERIFY_HEADERS)
        c->r->by_header++;
    else
        c->r->by_listing++;
    return false;
}

/* One row whose source message is there; returns its target UID. */
static void compare_row(struct compare *c, const struct mbox_msg *s, const struct ledger_row *row,
                        uint32_t *last)
{
    const struct mbox_msg *t = mbox_list_find(c->d->target, row->target_uid);
    struct delta_diff diff = {.source_uid = s->uid, .target_uid = row->target_uid};
    if (!t) {
        diff.kind = DELTA_MISSING;
        add_diff(c, &diff);
        return;
    }
    if (is_unread(c, row, t)) {
        diff.kind = DELTA_UNREAD;
        add_diff(c, &diff);
    }
    if (row->target_uid <= *last && c->d->turned) {
        c->r->shuffled++;
    } else if (row->target_uid <= *last) {
        diff.kind = DELTA_ORDER;
        add_diff(c, &diff);
    }
    *last = row->target_uid;
    compare_dates(c, s, t);
    delta_compare_flags(c, s, t);
}

static void compare_source(struct compare *c)
{
    const struct delta *d = c->d;
    size_t row = 0;
    uint32_t last = 0;
    for (size_t i = 0; i < d->source->listed; i++) {
        const struct mbox_msg *s = &d->source->msgs[i];
        while (row < d->n_rows && d->rows[row].source_uid < s->uid)
            row++;
        if (row < d->n_rows && d->rows[row].source_uid == s->uid)
            compare_row(c, s, &d->rows[row], &last);
        else
            add_diff(c, &(struct delta_diff){.kind = DELTA_NOT_COPIED, .source_uid = s->uid});
    }
}

static void compare_gone(struct compare *c)
{
    const struct delta *d = c->d;
    for (size_t i = 0; i < d->n_rows; i++) {
        if (mbox_list_find(d->source, d->rows[i].source_uid))
            continue;
        if (may_go(d, d->rows[i].source_uid))
            add_diff(c, &(struct delta_diff){.kind = DELTA_GONE,
                                             .source_uid = d->rows[i].source_uid,
                                             .target_uid = d->rows[i].target_uid});
        else
            c->r->waiting++;
    }
}

static void compare_foreign(struct compare *c)
{
    const struct delta *d = c->d;
    uint32_t *ours = sorted_targets(d);
    size_t at = 0;
    for (size_t i = 0; i < d->target->listed; i++) {
        uint32_t uid = d->target->msgs[i].uid;
        while (at < d->n_rows && ours[at] < uid)
            at++;
        if (at < d->n_rows && ours[at] == uid)
            continue;
        if (at > 0 && at < d->n_rows && d->turned)
            c->r->shuffled++;
        else if (at > 0 && at < d->n_rows)
            add_diff(c, &(struct delta_diff){.kind = DELTA_BETWEEN, .target_uid = uid});
        else
            c->r->foreign++;
    }
    free(ours);
}

void delta_compare(const struct delta *d, delta_fn fn, void *owner, struct delta_report *r)
{
    struct compare c = {d, fn, owner, r};
    *r = (struct delta_report){0};
    compare_source(&c);
    compare_gone(&c);
    compare_foreign(&c);
}

static void describe_dates(struct buf *out, const struct delta_diff *diff)
{
    buf_add_str(out, "date differs: source \"");
    date_format(out, diff->source_date);
    buf_add_str(out, "\" target \"");
    date_format(out, diff->target_date);
    buf_add_str(out, "\"");
}

/* Keywords of some servers have bytes that are no text. */
static void describe_flags(struct buf *out, const char *what, const struct flags_pool *pool, uint32_t set)
{
    buf_add_str(out, what);
    imap_write_text(out, span_str(flags_text(pool, set)));
    buf_add_str(out, ")");
}

void delta_describe(struct buf *out, const struct delta *d, const struct delta_diff *diff)
{
    const struct flags_pool *pool = d->source->pool;
    uint32_t target = diff->target_uid;
    switch (diff->kind) {
    case DELTA_NOT_COPIED:
        buf_add_str(out, "not copied");
        break;
    case DELTA_MISSING:
        buf_printf(out, "missing on the target (was UID %u there)", target);
        break;
    case DELTA_UNREAD:
        buf_printf(out, "can't be read back from the target (UID %u there)", target);
        break;
    case DELTA_ORDER:
        buf_printf(out, "out of order on the target (UID %u there)", target);
        break;
    case DELTA_DATE:
        describe_dates(out, diff);
        break;
    case DELTA_FLAGS:
        describe_flags(out, "flags differ: source (", pool, diff->source_flags);
        describe_flags(out, " target (", pool, diff->target_flags);
        break;
    case DELTA_FLAGS_LOST:
        describe_flags(out, "the target can't keep its flags (", pool, diff->source_flags);
        break;
    case DELTA_BETWEEN:
        buf_printf(out, "a message that is not ours lies between the copies (target UID %u)", target);
        break;
    case DELTA_GONE:
        buf_printf(out, "is gone, but its copy is there (target UID %u)", target);
        break;
    case DELTA_KINDS:
        break;
    }
}
