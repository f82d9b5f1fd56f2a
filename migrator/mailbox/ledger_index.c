/* What the entries of a ledger come to, in memory. */
#include <stdlib.h>

#include "lib/xalloc.h"

#include "ledger_priv.h"

/* --- rows --- */

size_t ledger_row_from(const struct ledger *l, uint32_t source_uid)
{
    size_t lo = 0, hi = l->n;
    if (hi > 0 && l->rows[hi - 1].source_uid < source_uid)
        return hi; /* added in order, as nearly always */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (l->rows[mid].source_uid < source_uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void ledger_rows_changed(struct ledger *l)
{
    free(l->by_target);
    l->by_target = NULL;
}

static void add_sums(struct ledger *l, const struct ledger_row *row)
{
    l->sums.rows++;
    l->sums.verified += row->verified;
    l->sums.bytes += row->size;
}

static void sum_up(struct ledger *l)
{
    l->sums = (struct ledger_sums){0};
    for (size_t i = 0; i < l->n; i++)
        add_sums(l, &l->rows[i]);
}

static void check_order(struct ledger *l)
{
    l->monotone = true;
    for (size_t i = 1; i < l->n && l->monotone; i++)
        l->monotone = l->rows[i].target_uid > l->rows[i - 1].target_uid;
}

void ledger_put_row(struct ledger *l, const struct ledger_row *row)
{
    size_t at = ledger_row_from(l, row->source_uid);
    ledger_rows_changed(l);
    ledger_give(l, row->target_uid);
    if (at < l->n && l->rows[at].source_uid == row->source_uid) {
        l->rows[at] = *row;
        check_order(l);
        sum_up(l);
        return;
    }
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->rows = xreallocarray(l->rows, l->cap, sizeof *l->rows);
    }
    memmove(l->rows + at + 1, l->rows + at, (l->n - at) * sizeof *l->rows);
    l->rows[at] = *row;
    l->n++;
    add_sums(l, row);
    l->monotone = l->monotone && (at == 0 || l->rows[at - 1].target_uid < row->target_uid) &&
                  (at + 1 == l->n || row->target_uid < l->rows[at + 1].target_uid);
}

void ledger_note_date(struct ledger *l, uint32_t source_uid, int64_t instant)
{
    size_t at = ledger_row_from(l, source_uid);

    if (at == l->n || l->rows[at].source_uid != source_uid)
        return;
    l->rows[at].instant = instant;
    l->rows[at].dated = true;
}

const struct ledger_row *ledger_rows(const struct ledger *l, size_t *n)
{
    *n = l->n;
    return l->rows;
}

const struct ledger_sums *ledger_sums(const struct ledger *l)
{
    return &l->sums;
}

const struct ledger_row *ledger_find(const struct ledger *l, uint32_t source_uid)
{
    size_t at = ledger_row_from(l, source_uid);
    return at < l->n && l->rows[at].source_uid == source_uid ? &l->rows[at] : NULL;
}

static int ledger_compare_targets(const void *a, const void *b, void *rows)
{
    const struct ledger_row *x = (const struct ledger_row *)rows + *(const uint32_t *)a,
                            *y = (const struct ledger_row *)rows + *(const uint32_t *)b;
    return x->target_uid < y->target_uid ? -1 : x->target_uid > y->target_uid;
}

static void index_targets(struct ledger *l)
{
    l->by_target = xcalloc(l->n ? l->n : 1, sizeof *l->by_target);
    for (size_t i = 0; i < l->n; i++)
        l->by_target[i] = (uint32_t)i;
    qsort_r(l->by_target, l->n, sizeof *l->by_target, ledger_compare_targets, l->rows);
}

const struct ledger_row *ledger_find_target(const struct ledger *cl, uint32_t target_uid)
{
    struct ledger *l = (struct ledger *)(uintptr_t)cl; /* the index is a cache */
    if (!l->monotone && !l->by_target)
        index_targets(l);
    size_t lo = 0, hi = l->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct ledger_row *row = &l->rows[l->monotone ? mid : l->by_target[mid]];
        if (row->target_uid == target_uid)
            return row;
        if (row->target_uid < target_uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

bool ledger_is_renewal(const struct ledger *l, uint32_t target_uidvalidity)
{
    return l->bound && target_uidvalidity != l->target_uidvalidity &&
           imap_seq_has(&l->renewals, target_uidvalidity);
}

bool ledger_bound(const struct ledger *l, uint32_t *source_uidvalidity, uint32_t *target_uidvalidity)
{
    *source_uidvalidity = l->source_uidvalidity;
    *target_uidvalidity = l->target_uidvalidity;
    return l->bound;
}

/* --- which UIDs the target has given out --- */

enum { GIVEN_RANGES_MAX = 16 * 1024 };

void ledger_forget_given(struct ledger *l)
{
    imap_seq_free(&l->given);
    l->given_lost = false;
}

/* They come nearly in order, and make few ranges. Where they don't, nobody asks. */
void ledger_give(struct ledger *l, uint32_t target_uid)
{
    if (l->given_lost)
        return;
    imap_seq_add(&l->given, target_uid, target_uid);
    if (l->given.n > GIVEN_RANGES_MAX) {
        imap_seq_free(&l->given);
        l->given_lost = true;
    }
}

bool ledger_gave_all(const struct ledger *l, uint32_t target_uidnext)
{
    if (target_uidnext <= 1)
        return true;
    return l->given.n > 0 && l->given.ranges[0].first == 1 && l->given.ranges[0].last >= target_uidnext - 1;
}

bool ledger_gave_none(const struct ledger *l)
{
    return l->given.n == 0 && !l->given_lost;
}

/* --- what went out --- */

static size_t sent_from(const struct ledger *l, uint32_t source_uid)
{
    size_t lo = 0, hi = l->n_sent;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (l->sent[mid].source_uid < source_uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct ledger_row *find_sent(const struct ledger *l, uint32_t source_uid)
{
    size_t at = sent_from(l, source_uid);
    return at < l->n_sent && l->sent[at].source_uid == source_uid ? &l->sent[at] : NULL;
}

void ledger_put_sent(struct ledger *l, const struct ledger_row *row)
{
    size_t at = sent_from(l, row->source_uid);
    if (at < l->n_sent && l->sent[at].source_uid == row->source_uid) {
        l->sent[at] = *row;
        return;
    }
    if (l->n_sent == l->sent_cap) {
        l->sent_cap = l->sent_cap ? 2 * l->sent_cap : 64;
        l->sent = xreallocarray(l->sent, l->sent_cap, sizeof *l->sent);
    }
    memmove(l->sent + at + 1, l->sent + at, (l->n_sent - at) * sizeof *l->sent);
    l->sent[at] = *row;
    l->n_sent++;
}

/* It has arrived, or was refused. What was sent twice may arrive once more. */
void ledger_drop_sent(struct ledger *l, uint32_t first, uint32_t last)
{
    size_t from = sent_from(l, first), kept = from, at = from;
    for (; at < l->n_sent && l->sent[at].source_uid <= last; at++)
        if (imap_seq_has(&l->resent, l->sent[at].source_uid))
            l->sent[kept++] = l->sent[at];
    if (kept < at)
        memmove(l->sent + kept, l->sent + at, (l->n_sent - at) * sizeof *l->sent);
    l->n_sent -= at - kept;
}

const struct ledger_row *ledger_unlanded(const struct ledger *l, size_t *n)
{
    *n = l->n_sent;
    return l->sent;
}

/* --- intents --- */

void ledger_add_intent(struct ledger *l, uint32_t target_uidnext, const struct imap_seq *uids)
{
    struct intent *i = xcalloc(1, sizeof *i);
    i->target_uidnext = target_uidnext;
    i->uids = *uids;
    TAILQ_INSERT_TAIL(&l->intents, i, link);
}

static void drop_intent(struct ledger *l, struct intent *i)
{
    TAILQ_REMOVE(&l->intents, i, link);
    imap_seq_free(&i->uids);
    free(i);
}

void ledger_drop_intents(struct ledger *l)
{
    while (!TAILQ_EMPTY(&l->intents))
        drop_intent(l, TAILQ_FIRST(&l->intents));
}

/* Adds those of the intent that have no row to *left; returns whether there are any. left may be NULL. */
static bool intent_left(const struct ledger *l, const struct intent *i, struct imap_seq *left)
{
    bool any = false;
    for (size_t r = 0; r < i->uids.n; r++) {
        for (uint64_t uid = i->uids.ranges[r].first; uid <= i->uids.ranges[r].last; uid++) {
            if (ledger_find(l, (uint32_t)uid))
                continue;
            any = true;
            if (!left)
                return true;
            imap_seq_add(left, (uint32_t)uid, (uint32_t)uid);
        }
    }
    return any;
}

void ledger_drop_done_intents(struct ledger *l)
{
    struct intent *i, *next;
    for (i = TAILQ_FIRST(&l->intents); i; i = next) {
        next = TAILQ_NEXT(i, link);
        if (!intent_left(l, i, NULL))
            drop_intent(l, i);
    }
}

bool ledger_in_doubt(const struct ledger *l, uint32_t *target_uidnext)
{
    const struct intent *i;
    *target_uidnext = UINT32_MAX;
    TAILQ_FOREACH(i, &l->intents, link)
    if (i->target_uidnext < *target_uidnext)
        *target_uidnext = i->target_uidnext;
    return !TAILQ_EMPTY(&l->intents);
}

void ledger_doubtful(const struct ledger *l, struct imap_seq *uids)
{
    const struct intent *i;
    TAILQ_FOREACH(i, &l->intents, link)
    intent_left(l, i, uids);
}

const struct imap_seq *ledger_to_retake(const struct ledger *l)
{
    return &l->retake;
}

const struct imap_seq *ledger_resent(const struct ledger *l)
{
    return &l->resent;
}

/* --- changes of the target --- */

static void drop_touch(struct ledger *l, struct touch *t)
{
    TAILQ_REMOVE(&l->touches, t, link);
    imap_seq_free(&t->uids);
    free(t->flags);
    free(t);
}

void ledger_drop_touches(struct ledger *l)
{
    while (!TAILQ_EMPTY(&l->touches))
        drop_touch(l, TAILQ_FIRST(&l->touches));
}

bool ledger_has_open_change(const struct ledger *l)
{
    return !TAILQ_EMPTY(&l->touches);
}

void ledger_each_open_change(const struct ledger *l, ledger_change_fn fn, void *owner)
{
    const struct touch *t;
    TAILQ_FOREACH(t, &l->touches, link)
    if (t->uids.n > 0) /* else it is the mailbox that was to be changed */
        fn(owner, &t->uids, t->flags);
}

struct touch *ledger_add_touch(struct ledger *l, uint32_t number)
{
    struct touch *t = xcalloc(1, sizeof *t);
    t->number = number;
    if (number > l->last_number)
        l->last_number = number;
    TAILQ_INSERT_TAIL(&l->touches, t, link);
    return t;
}

void ledger_end_touch(struct ledger *l, uint32_t number)
{
    struct touch *t, *next;
    for (t = TAILQ_FIRST(&l->touches); t; t = next) {
        next = TAILQ_NEXT(t, link);
        if (t->number == number)
            drop_touch(l, t);
    }
}

/* --- messages of the target's own --- */

const struct ledger_move *ledger_moves(const struct ledger *l, size_t *n)
{
    *n = l->n_moves;
    return l->moves;
}

static size_t move_from(const struct ledger *l, uint32_t uid)
{
    size_t at = 0;
    while (at < l->n_moves && l->moves[at].uid < uid)
        at++;
    return at;
}

struct ledger_move *ledger_find_move(const struct ledger *l, uint32_t uid)
{
    size_t at = move_from(l, uid);
    return at < l->n_moves && l->moves[at].uid == uid ? &l->moves[at] : NULL;
}

void ledger_put_move(struct ledger *l, const struct ledger_move *move)
{
    size_t at = move_from(l, move->uid);
    if (at == l->n_moves || l->moves[at].uid != move->uid) {
        l->moves = xreallocarray(l->moves, l->n_moves + 1, sizeof *l->moves);
        memmove(l->moves + at + 1, l->moves + at, (l->n_moves - at) * sizeof *l->moves);
        l->n_moves++;
    }
    l->moves[at] = *move;
}

void ledger_drop_moves(struct ledger *l, const struct imap_seq *uids)
{
    size_t kept = 0;
    for (size_t i = 0; uids && i < l->n_moves; i++)
        if (!imap_seq_has(uids, l->moves[i].uid))
            l->moves[kept++] = l->moves[i];
    l->n_moves = kept;
}

/* --- what entries do --- */

/* The next UID of a set; false where there is none. */
struct ledger_walk {
    const struct imap_seq *set;
    size_t range;
    uint32_t uid; /* 0: the first of its range */
};

static bool walk_next(struct ledger_walk *w, uint32_t *_uid)
{
    if (w->range == w->set->n)
        return false;
    const struct imap_range *r = &w->set->ranges[w->range];
    *_uid = w->uid ? w->uid : r->first;
    w->uid = *_uid + 1;
    if (*_uid == r->last) {
        w->range++;
        w->uid = 0;
    }
    return true;
}

bool ledger_land(struct ledger *l, const struct imap_seq *sources, const struct imap_seq *targets)
{
    struct ledger_walk s = {.set = sources}, t = {.set = targets};
    uint32_t source, target;
    while (walk_next(&s, &source)) {
        const struct ledger_row *sent = find_sent(l, source);
        if (!sent || !walk_next(&t, &target))
            return false;
        struct ledger_row row = *sent;
        row.target_uid = target;
        ledger_put_row(l, &row);
    }
    if (walk_next(&t, &target))
        return false;
    for (size_t r = 0; r < sources->n; r++)
        ledger_drop_sent(l, sources->ranges[r].first, sources->ranges[r].last);
    ledger_drop_done_intents(l);
    return true;
}

void ledger_mark_verified(struct ledger *l, const struct imap_seq *set)
{
    for (size_t r = 0; r < set->n; r++) {
        size_t i = ledger_row_from(l, set->ranges[r].first);
        for (; i < l->n && l->rows[i].source_uid <= set->ranges[r].last; i++) {
            l->sums.verified += !l->rows[i].verified;
            l->rows[i].verified = true;
        }
    }
}

void ledger_mark_headers(struct ledger *l, const struct imap_seq *set)
{
    for (size_t r = 0; r < set->n; r++) {
        size_t i = ledger_row_from(l, set->ranges[r].first);
        for (; i < l->n && l->rows[i].source_uid <= set->ranges[r].last; i++)
            l->rows[i].header = true;
    }
}

static void drop_rows(struct ledger *l, const struct imap_seq *source_uids)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++)
        if (!imap_seq_has(source_uids, l->rows[i].source_uid))
            l->rows[kept++] = l->rows[i];
    l->n = kept;
}

void ledger_drop_gone(struct ledger *l, const struct imap_seq *set)
{
    drop_rows(l, set);
    for (size_t r = 0; l->retake.n > 0 && r < set->n; r++)
        imap_seq_remove(&l->retake, set->ranges[r].first, set->ranges[r].last);
    ledger_rows_changed(l);
    check_order(l);
    sum_up(l);
}

void ledger_skip(struct ledger *l, const struct imap_seq *set)
{
    struct intent *i;
    TAILQ_FOREACH(i, &l->intents, link)
    for (size_t r = 0; r < set->n; r++)
        imap_seq_remove(&i->uids, set->ranges[r].first, set->ranges[r].last);
    for (size_t r = 0; r < set->n; r++)
        ledger_drop_sent(l, set->ranges[r].first, set->ranges[r].last);
    ledger_drop_done_intents(l);
}

void ledger_end_doubt(struct ledger *l, const struct imap_seq *set)
{
    /* Entries before this one may have brought rows for some of them. */
    for (size_t r = 0; r < set->n; r++)
        for (uint64_t uid = set->ranges[r].first; uid <= set->ranges[r].last; uid++)
            if (!ledger_find(l, (uint32_t)uid))
                imap_seq_add(&l->resent, (uint32_t)uid, (uint32_t)uid);
    ledger_drop_intents(l);
}

void ledger_clear(struct ledger *l)
{
    l->bound = false;
    l->n = 0;
    l->sums = (struct ledger_sums){0};
    l->monotone = true;
    l->turned = false;
    l->looked = 0;
    ledger_rows_changed(l);
    l->n_sent = 0;
    imap_seq_free(&l->resent);
    imap_seq_free(&l->told);
    imap_seq_free(&l->retake);
    imap_seq_free(&l->fillers.there);
    imap_seq_join(&l->fillers.open, &l->fillers.sent);
    ledger_drop_moves(l, NULL);
    ledger_forget_given(l);
    ledger_drop_intents(l);
    ledger_drop_touches(l);
}

void ledger_free_fillers(struct ledger *l)
{
    imap_seq_free(&l->fillers.sent);
    imap_seq_free(&l->fillers.open);
    imap_seq_free(&l->fillers.late);
    imap_seq_free(&l->fillers.there);
}

static int compare_rows(const void *a, const void *b)
{
    const struct ledger_row *x = a, *y = b;
    return x->source_uid < y->source_uid ? -1 : x->source_uid > y->source_uid;
}

/* What was the target is the source. Bytes that are verified are so on both sides: one was read back, the
 * other was where they came from. What is open or was sent twice is about messages of the new source now:
 * what it has and no row knows is looked for by its bytes (SETTLE). */
void ledger_turn(struct ledger *l)
{
    uint32_t uidvalidity = l->source_uidvalidity;
    drop_rows(l,
              &l->retake); /* half taken back: one may be there or not, without anybody's having removed it */
    imap_seq_free(&l->retake);
    l->source_uidvalidity = l->target_uidvalidity;
    l->target_uidvalidity = uidvalidity;
    for (size_t i = 0; i < l->n; i++) {
        uint32_t uid = l->rows[i].source_uid;
        l->rows[i].source_uid = l->rows[i].target_uid;
        l->rows[i].target_uid = uid;
    }
    if (!l->monotone)
        qsort(l->rows, l->n, sizeof *l->rows, compare_rows);
    l->turned = true;
    l->looked = 0;
    ledger_rows_changed(l);
    check_order(l);
    sum_up(l);
    l->n_sent = 0;
    imap_seq_free(&l->resent);
    imap_seq_free(&l->told);
    imap_seq_free(&l->renewals);
    ledger_free_fillers(l); /* the new source has none: that was seen before it became one */
    ledger_drop_moves(l, NULL);
    ledger_forget_given(l);
    ledger_drop_intents(l);
    ledger_drop_touches(l);
}

void ledger_set_direction(struct ledger *l, struct span source, struct span target)
{
    free(l->source);
    free(l->target);
    l->source = xspandup(source);
    l->target = xspandup(target);
}

/* --- what is asked --- */

uint32_t ledger_looked_until(const struct ledger *l)
{
    return l->looked;
}

bool ledger_was_told(const struct ledger *l, uint32_t target_uid)
{
    return imap_seq_has(&l->told, target_uid);
}

const struct ledger_fillers *ledger_fillers(const struct ledger *l)
{
    return &l->fillers;
}

bool ledger_is_of(const struct ledger *l, const char *source, const char *target)
{
    return l->source && !strcmp(l->source, source) && !strcmp(l->target, target);
}

bool ledger_was_turned(const struct ledger *l)
{
    return l->turned;
}
