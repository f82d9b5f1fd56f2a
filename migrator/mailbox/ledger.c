/* The format of an entry: one line of words with one blank between, no line feed.
 *
 *   1 bind <source UIDVALIDITY> <target UIDVALIDITY>
 *   1 intent <target UIDNEXT> <set of source UIDs>
 *   1 done <row> <row> ...
 *   1 verified <set of source UIDs>
 *   1 gone <set of source UIDs>
 *   1 settled <set of source UIDs or ->
 *   1 void
 *   1 pair <source backend> <target backend>
 *   2 skipped <set of source UIDs>
 *   2 looked <source UIDNEXT>
 *   2 retake <set of source UIDs>
 *   3 sent <row> <row> ...
 *   3 landed <set of source UIDs> <set of target UIDs>
 *   4 headers <set of source UIDs>
 *   5 folded <source backend> <target backend> <text of folded.h>
 *   5 store <number> <set of target UIDs> (<flags>) <set of target UIDs> (<flags>) ...
 *   5 expunge <number> <set of target UIDs>
 *   5 mailbox <number>
 *   5 touched <number>
 *   5 told <set of target UIDs>
 *
 * The number is the version of imapferry's ledgers that the kind of entry came with. A row is "source
 * UID,target UID,size,SHA-256 in base64", with ",v" behind it where it is verified; in "sent" the target UID
 * is 0. Of "landed" the sets name as many messages, in this order. Sets are spelled as in IMAP ("1:3,7").
 * What is written goes through the same reader as what is loaded, after Redis has it, so that memory can't
 * know more than a later load. An entry that this version can't read refuses the whole ledger: to guess would
 * be to copy twice. */
#include <assert.h>
#include <stdlib.h>

#include "lib/fault.h"
#include "lib/sasl.h"
#include "lib/xalloc.h"

#include "folded.h"
#include "hasher.h"
#include "ledger.h"

enum { SET_RANGES_MAX = 4 * 1000 * 1000 }; /* no two messages of a mailbox side by side (mbox_list.h) */

struct intent {
    TAILQ_ENTRY(intent) link;
    uint32_t target_uidnext;
    struct imap_seq uids; /* of the source */
};

/* A change of the target without an answer. */
struct touch {
    TAILQ_ENTRY(touch) link;
    uint32_t number;
    struct imap_seq uids; /* of the target */
    char *flags;          /* owned; NULL: they are removed */
};

/* A write under way. */
struct entry {
    TAILQ_ENTRY(entry) link;
    struct ledger *ledger;
    const char *kind; /* its first word */
    struct buf text;
    uint64_t touch_ms; /* of a change of the target */
    ledger_fn fn; /* NULL: forgotten */
    void *owner;
};

struct ledger {
    struct store *store;         /* borrowed */
    const struct route_job *job; /* borrowed */
    char *record_id;             /* owned */
    ledger_fn fn;                /* of the load */
    void *owner;
    char *error; /* owned */

    char *source, *target; /* names of backends; owned; NULL: no pair yet */
    bool turned;           /* rows of both directions */
    bool bound;
    uint32_t source_uidvalidity, target_uidvalidity;
    struct ledger_row *rows; /* ascending by source UID; owned */
    size_t n, cap;
    struct ledger_sums sums;
    bool monotone;           /* target UIDs ascend as well */
    uint32_t *by_target;     /* where they don't: indexes of rows by target UID, made when asked for; owned */
    struct ledger_row *sent; /* target_uid 0; ascending by source UID; owned */
    size_t n_sent, sent_cap;
    struct imap_seq resent, retake;
    uint32_t looked; /* source UIDNEXT of the late watch; 0 = none */
    struct imap_seq told; /* target UIDs */
    uint64_t listed; /* entries of the list, without what was folded */
    TAILQ_HEAD(, intent) intents;
    TAILQ_HEAD(, touch) touches;
    uint32_t last_number; /* of a change of the target, given or read */
    TAILQ_HEAD(, entry) entries;
};

/* --- rows --- */

static size_t row_from(const struct ledger *l, uint32_t source_uid)
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

static void rows_changed(struct ledger *l)
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

static void put_row(struct ledger *l, const struct ledger_row *row)
{
    size_t at = row_from(l, row->source_uid);
    rows_changed(l);
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
    size_t at = row_from(l, source_uid);
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

bool ledger_bound(const struct ledger *l, uint32_t *source_uidvalidity, uint32_t *target_uidvalidity)
{
    *source_uidvalidity = l->source_uidvalidity;
    *target_uidvalidity = l->target_uidvalidity;
    return l->bound;
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

static void put_sent(struct ledger *l, const struct ledger_row *row)
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
static void drop_sent(struct ledger *l, uint32_t first, uint32_t last)
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

static void drop_intent(struct ledger *l, struct intent *i)
{
    TAILQ_REMOVE(&l->intents, i, link);
    imap_seq_free(&i->uids);
    free(i);
}

static void drop_intents(struct ledger *l)
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

static void drop_done_intents(struct ledger *l)
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

static void drop_touches(struct ledger *l)
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

/* --- reading entries --- */

/* Cuts the text up to the next `by` off *s; false where nothing is left. */
static bool ledger_take_word(struct span *s, char by, struct span *_word)
{
    if (s->len == 0)
        return false;
    const uint8_t *end = memchr(s->p, by, s->len);
    *_word = span_of(s->p, end ? (size_t)(end - s->p) : s->len);
    size_t eaten = _word->len + (end ? 1 : 0);
    *s = span_of(s->p + eaten, s->len - eaten);
    return _word->len > 0;
}

static bool take_u32(struct span *s, char by, uint32_t *_n)
{
    struct span word;
    return ledger_take_word(s, by, &word) && span_u32(word, _n);
}

static bool take_set(struct span s, struct imap_seq *_set)
{
    return imap_seq_parse(_set, s, 0, SET_RANGES_MAX);
}

static bool read_bind(struct ledger *l, struct span s)
{
    uint32_t source, target;
    if (!take_u32(&s, ' ', &source) || !take_u32(&s, ' ', &target) || s.len > 0)
        return false;
    l->bound = true;
    l->source_uidvalidity = source;
    l->target_uidvalidity = target;
    return true;
}

static bool read_intent(struct ledger *l, struct span s)
{
    struct intent i = {0}, *kept;
    if (!take_u32(&s, ' ', &i.target_uidnext) || !take_set(s, &i.uids))
        return false;
    kept = xmalloc(sizeof *kept);
    *kept = i;
    TAILQ_INSERT_TAIL(&l->intents, kept, link);
    return true;
}

static bool ledger_read_hash(struct span text, uint8_t hash[HASH_SIZE])
{
    struct buf bytes = {0};
    bool ok = base64_decode(&bytes, text) && bytes.len == HASH_SIZE;
    if (ok)
        memcpy(hash, buf_span(&bytes).p, HASH_SIZE);
    buf_free(&bytes);
    return ok;
}

/* The target UID may be 0. */
static bool read_any_row(struct span s, struct ledger_row *row)
{
    struct span size_text, hash, flag;
    uint64_t size;
    *row = (struct ledger_row){0};
    if (!take_u32(&s, ',', &row->source_uid) || !take_u32(&s, ',', &row->target_uid) ||
        !ledger_take_word(&s, ',', &size_text) || !span_u64(size_text, INT64_MAX / 2, &size) ||
        !ledger_take_word(&s, ',', &hash) || !ledger_read_hash(hash, row->hash))
        return false;
    row->size = size;
    row->verified = ledger_take_word(&s, ',', &flag);
    return s.len == 0 && (!row->verified || span_is(flag, "v")) && row->source_uid > 0;
}

static bool read_row(struct span s, struct ledger_row *row)
{
    return read_any_row(s, row) && row->target_uid > 0;
}

static bool read_done(struct ledger *l, struct span s)
{
    struct span word;
    struct ledger_row row;
    while (ledger_take_word(&s, ' ', &word)) {
        if (!read_row(word, &row))
            return false;
        put_row(l, &row);
        drop_sent(l, row.source_uid, row.source_uid);
    }
    drop_done_intents(l);
    return s.len == 0;
}

static bool read_sent(struct ledger *l, struct span s)
{
    struct span word;
    struct ledger_row row;
    while (ledger_take_word(&s, ' ', &word)) {
        if (!read_any_row(word, &row) || row.target_uid > 0 || row.verified)
            return false;
        put_sent(l, &row);
    }
    return s.len == 0;
}

/* The next UID of a set; false where there is none. */
struct walk {
    const struct imap_seq *set;
    size_t range;
    uint32_t uid; /* 0: the first of its range */
};

static bool walk_next(struct walk *w, uint32_t *_uid)
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

static bool ledger_land(struct ledger *l, const struct imap_seq *sources, const struct imap_seq *targets)
{
    struct walk s = {.set = sources}, t = {.set = targets};
    uint32_t source, target;
    while (walk_next(&s, &source)) {
        const struct ledger_row *sent = find_sent(l, source);
        if (!sent || !walk_next(&t, &target))
            return false;
        struct ledger_row row = *sent;
        row.target_uid = target;
        put_row(l, &row);
    }
    return !walk_next(&t, &target);
}

static bool read_landed(struct ledger *l, struct span s)
{
    struct imap_seq sources = {0}, targets = {0};
    struct span word;
    bool ok = ledger_take_word(&s, ' ', &word) && take_set(word, &sources) && take_set(s, &targets) &&
              ledger_land(l, &sources, &targets);
    for (size_t r = 0; ok && r < sources.n; r++)
        drop_sent(l, sources.ranges[r].first, sources.ranges[r].last);
    if (ok)
        drop_done_intents(l);
    imap_seq_free(&sources);
    imap_seq_free(&targets);
    return ok;
}

static bool read_verified(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    for (size_t r = 0; r < set.n; r++) {
        size_t i = row_from(l, set.ranges[r].first);
        for (; i < l->n && l->rows[i].source_uid <= set.ranges[r].last; i++) {
            l->sums.verified += !l->rows[i].verified;
            l->rows[i].verified = true;
        }
    }
    imap_seq_free(&set);
    return true;
}

static void drop_rows(struct ledger *l, const struct imap_seq *source_uids)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++)
        if (!imap_seq_has(source_uids, l->rows[i].source_uid))
            l->rows[kept++] = l->rows[i];
    l->n = kept;
}

static bool read_headers(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    for (size_t r = 0; r < set.n; r++) {
        size_t i = row_from(l, set.ranges[r].first);
        for (; i < l->n && l->rows[i].source_uid <= set.ranges[r].last; i++)
            l->rows[i].header = true;
    }
    imap_seq_free(&set);
    return true;
}

static bool read_gone(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    drop_rows(l, &set);
    for (size_t r = 0; l->retake.n > 0 && r < set.n; r++)
        imap_seq_remove(&l->retake, set.ranges[r].first, set.ranges[r].last);
    rows_changed(l);
    check_order(l);
    sum_up(l);
    imap_seq_free(&set);
    return true;
}

static bool read_retake(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    imap_seq_join(&l->retake, &set);
    imap_seq_free(&set);
    return true;
}

static bool read_looked(struct ledger *l, struct span s)
{
    uint32_t uidnext;
    if (!take_u32(&s, ' ', &uidnext) || s.len > 0)
        return false;
    if (uidnext > l->looked)
        l->looked = uidnext;
    return true;
}

static bool read_told(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!take_set(s, &set))
        return false;
    imap_seq_join(&l->told, &set);
    imap_seq_free(&set);
    return true;
}

static bool read_skipped(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    struct intent *i;
    if (!take_set(s, &set))
        return false;
    TAILQ_FOREACH(i, &l->intents, link)
    for (size_t r = 0; r < set.n; r++)
        imap_seq_remove(&i->uids, set.ranges[r].first, set.ranges[r].last);
    for (size_t r = 0; r < set.n; r++)
        drop_sent(l, set.ranges[r].first, set.ranges[r].last);
    drop_done_intents(l);
    imap_seq_free(&set);
    return true;
}

static struct touch *add_touch(struct ledger *l, uint32_t number)
{
    struct touch *t = xcalloc(1, sizeof *t);
    t->number = number;
    if (number > l->last_number)
        l->last_number = number;
    TAILQ_INSERT_TAIL(&l->touches, t, link);
    return t;
}

/* "(\Seen $Label)", and a blank where more follows. */
static bool take_flags(struct span *s, char **_flags)
{
    const uint8_t *end = memchr(s->p, ')', s->len);
    if (!end || s->p[0] != '(')
        return false;
    *_flags = xspandup(span_of(s->p + 1, (size_t)(end - s->p) - 1));
    size_t eaten = (size_t)(end - s->p) + 1;
    *s = span_of(s->p + eaten, s->len - eaten);
    if (s->len == 0)
        return true;
    bool blank = s->p[0] == ' ';
    *s = span_of(s->p + 1, s->len - 1);
    return blank && s->len > 0;
}

static bool read_store(struct ledger *l, struct span s)
{
    struct span word;
    uint32_t number;
    if (!take_u32(&s, ' ', &number) || s.len == 0)
        return false;
    while (s.len > 0) {
        struct touch *t = add_touch(l, number);
        if (!ledger_take_word(&s, ' ', &word) || !take_set(word, &t->uids) || s.len == 0 ||
            !take_flags(&s, &t->flags))
            return false;
    }
    return true;
}

static bool read_expunge(struct ledger *l, struct span s)
{
    uint32_t number;
    return take_u32(&s, ' ', &number) && take_set(s, &add_touch(l, number)->uids);
}

static bool read_mailbox(struct ledger *l, struct span s)
{
    uint32_t number;
    if (!take_u32(&s, ' ', &number) || s.len > 0)
        return false;
    add_touch(l, number);
    return true;
}

static bool read_touched(struct ledger *l, struct span s)
{
    struct touch *t, *next;
    uint32_t number;
    if (!take_u32(&s, ' ', &number) || s.len > 0)
        return false;
    for (t = TAILQ_FIRST(&l->touches); t; t = next) {
        next = TAILQ_NEXT(t, link);
        if (t->number == number)
            drop_touch(l, t);
    }
    return true;
}

static bool read_settled(struct ledger *l, struct span s)
{
    struct imap_seq set = {0};
    if (!span_is(s, "-") && !take_set(s, &set))
        return false;
    /* Entries before this one may have brought rows for some of them. */
    for (size_t r = 0; r < set.n; r++)
        for (uint64_t uid = set.ranges[r].first; uid <= set.ranges[r].last; uid++)
            if (!ledger_find(l, (uint32_t)uid))
                imap_seq_add(&l->resent, (uint32_t)uid, (uint32_t)uid);
    imap_seq_free(&set);
    drop_intents(l);
    return true;
}

static bool read_void(struct ledger *l, struct span s)
{
    l->bound = false;
    l->n = 0;
    l->sums = (struct ledger_sums){0};
    l->monotone = true;
    l->turned = false;
    l->looked = 0;
    rows_changed(l);
    l->n_sent = 0;
    imap_seq_free(&l->resent);
    imap_seq_free(&l->told);
    imap_seq_free(&l->retake);
    drop_intents(l);
    drop_touches(l);
    return s.len == 0;
}

static int compare_rows(const void *a, const void *b)
{
    const struct ledger_row *x = a, *y = b;
    return x->source_uid < y->source_uid ? -1 : x->source_uid > y->source_uid;
}

/* What was the target is the source. Bytes that are verified are so on both sides: one was read back, the
 * other was where they came from. What is open or was sent twice is about messages of the new source now:
 * what it has and no row knows is looked for by its bytes (SETTLE). */
static void ledger_turn(struct ledger *l)
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
    rows_changed(l);
    check_order(l);
    sum_up(l);
    l->n_sent = 0;
    imap_seq_free(&l->resent);
    imap_seq_free(&l->told);
    drop_intents(l);
    drop_touches(l);
}

static void set_pair(struct ledger *l, struct span source, struct span target)
{
    free(l->source);
    free(l->target);
    l->source = xspandup(source);
    l->target = xspandup(target);
}

static bool ledger_read_direction(struct ledger *l, struct span s)
{
    struct span source, target;
    if (!ledger_take_word(&s, ' ', &source) || !ledger_take_word(&s, ' ', &target) || s.len > 0)
        return false;
    if (l->source && span_is(source, l->source) && span_is(target, l->target))
        return true;
    if (l->source && span_is(source, l->target) && span_is(target, l->source))
        ledger_turn(l);
    else
        read_void(l, s);
    set_pair(l, source, target);
    return true;
}

static void on_folded_row(void *owner, const struct ledger_row *row)
{
    put_row(owner, row);
}

static bool read_folded(struct ledger *l, struct span s)
{
    struct folded f;
    struct span source, target;
    if (!ledger_take_word(&s, ' ', &source) || !ledger_take_word(&s, ' ', &target))
        return false;
    read_void(l, span_str(""));
    if (!folded_read(s, &f, on_folded_row, l))
        return false;
    set_pair(l, source, target);
    l->bound = f.bound;
    l->source_uidvalidity = f.source_uidvalidity;
    l->target_uidvalidity = f.target_uidvalidity;
    l->turned = f.turned;
    l->looked = f.looked;
    return true;
}

static const struct {
    const char *word, *version;
    bool (*read)(struct ledger *l, struct span rest);
} kinds[] = {{"bind", "1", read_bind},
             {"intent", "1", read_intent},
             {"done", "1", read_done},
             {"verified", "1", read_verified},
             {"gone", "1", read_gone},
             {"settled", "1", read_settled},
             {"void", "1", read_void},
             {"skipped", "2", read_skipped},
             {"looked", "2", read_looked},
             {"retake", "2", read_retake},
             {"pair", "1", ledger_read_direction},
             {"sent", "3", read_sent},
             {"landed", "3", read_landed},
             {"headers", "4", read_headers},
             {"store", "5", read_store},
             {"expunge", "5", read_expunge},
             {"mailbox", "5", read_mailbox},
             {"touched", "5", read_touched},
             {"folded", "5", read_folded},
             {"told", "5", read_told}};

static const char *version_of(const char *word)
{
    for (size_t i = 0; i < COUNTOF(kinds); i++)
        if (!strcmp(kinds[i].word, word))
            return kinds[i].version;
    assert(!"a kind of entry");
    return "";
}

static bool read_entry(struct ledger *l, struct span s)
{
    struct span version, word;
    if (!ledger_take_word(&s, ' ', &version) || !ledger_take_word(&s, ' ', &word))
        return false;
    for (size_t i = 0; i < COUNTOF(kinds); i++)
        if (span_is(word, kinds[i].word) && span_is(version, kinds[i].version))
            return kinds[i].read(l, s);
    return false;
}

static bool is_folded(struct span s)
{
    struct span version, word;
    return ledger_take_word(&s, ' ', &version) && ledger_take_word(&s, ' ', &word) && span_is(word, "folded");
}

/* --- load --- */

static void set_error(struct ledger *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void set_error(struct ledger *l, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    free(l->error);
    l->error = xstrdup(buf_str(&text));
    buf_free(&text);
}

static void end_load(struct ledger *l, enum route_rc rc)
{
    ledger_fn fn = l->fn;
    l->fn = NULL;
    if (fn)
        fn(l->owner, rc);
}

static void ledger_on_rows(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct ledger *l = owner;
    if (!l->fn)
        return; /* ended by an entry that could not be read */
    for (size_t i = 0; rc == ROUTE_OK && i < n; i++) {
        l->listed += !is_folded(rows[i]);
        if (read_entry(l, rows[i]))
            continue;
        set_error(l, "the ledger %s has an entry that can't be read: \"%.*s\"", l->record_id,
                  (int)(rows[i].len < 60 ? rows[i].len : 60), (const char *)rows[i].p);
        rc = ROUTE_REFUSED;
    }
    if (rc != ROUTE_OK && !*l->error)
        set_error(l, "the ledger could not be read from Redis");
    if (rc != ROUTE_OK || n == 0)
        end_load(l, rc);
}

struct ledger *ledger_load(struct store *s, const struct route_job *job, const char *record_id, ledger_fn fn,
                           void *owner)
{
    struct ledger *l = xcalloc(1, sizeof *l);
    l->store = s;
    l->job = job;
    l->record_id = xstrdup(record_id);
    l->error = xstrdup("");
    l->fn = fn;
    l->owner = owner;
    l->monotone = true;
    TAILQ_INIT(&l->intents);
    TAILQ_INIT(&l->touches);
    TAILQ_INIT(&l->entries);
    route_ledger_read(s, job->user, record_id, ledger_on_rows, l);
    return l;
}

static void free_entry(struct entry *e)
{
    TAILQ_REMOVE(&e->ledger->entries, e, link);
    buf_free(&e->text);
    free(e);
}

void ledger_free(struct ledger **lp)
{
    struct ledger *l = *lp;
    if (!l)
        return;
    *lp = NULL;
    store_forget(l->store, l);
    while (!TAILQ_EMPTY(&l->entries)) {
        store_forget(l->store, TAILQ_FIRST(&l->entries));
        free_entry(TAILQ_FIRST(&l->entries));
    }
    drop_intents(l);
    drop_touches(l);
    imap_seq_free(&l->resent);
    imap_seq_free(&l->told);
    imap_seq_free(&l->retake);
    rows_changed(l);
    free(l->rows);
    free(l->sent);
    free(l->source);
    free(l->target);
    free(l->record_id);
    free(l->error);
    free(l);
}

const char *ledger_error(const struct ledger *l)
{
    return l->error;
}

/* --- writing --- */

static void end_entry(struct entry *e, enum route_rc rc)
{
    ledger_fn fn = e->fn;
    void *fn_owner = e->owner;
    free_entry(e);
    if (fn)
        fn(fn_owner, rc);
}

static void ledger_on_kept(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct entry *e = owner;
    (void)r;
    if (rc != REDIS_OK)
        set_error(e->ledger, "the replicas of Redis do not keep up (%s)", e->kind);
    end_entry(e, rc == REDIS_OK ? ROUTE_OK : ROUTE_DOWN);
}

/* Behind "sent" the target stores the messages. Where a failover forgot that, and the user has expunged or moved them by
 * then, nobody would know them for copies any more. And a change that a failover forgot would not be waited for. */
static bool must_be_kept(const struct entry *e)
{
    return (strcmp(e->kind, "sent") == 0 || e->touch_ms > 0) && store_has_replicas(e->ledger->store);
}

static void ledger_on_written(void *owner, enum route_rc rc, const char *detail)
{
    struct entry *e = owner;
    struct ledger *l = e->ledger;
    FAULT_POINT("ledger", e->kind, "answered");
    if (rc == ROUTE_OK && !read_entry(l, buf_span(&e->text))) {
        /* What servers say of UIDs goes into it. */
        set_error(l, "the ledger does not take what was written (%s)", e->kind);
        rc = ROUTE_DOWN;
    } else if (rc != ROUTE_OK) {
        set_error(l, "the ledger could not be written to Redis (%s)%s%s", e->kind, *detail ? ": " : "",
                  detail);
    }
    if (rc == ROUTE_OK && must_be_kept(e))
        store_wait(l->store, STORE_WAIT_MS, ledger_on_kept, e);
    else
        end_entry(e, rc);
}

static struct entry *begin_entry(struct ledger *l, const char *kind, ledger_fn fn, void *owner)
{
    struct entry *e = xcalloc(1, sizeof *e);
    e->ledger = l;
    e->kind = kind;
    e->fn = fn;
    e->owner = owner;
    TAILQ_INSERT_TAIL(&l->entries, e, link);
    buf_printf(&e->text, "%s %s", version_of(kind), kind);
    return e;
}

static void write_entry(struct entry *e)
{
    struct span text = buf_span(&e->text);
    struct ledger *l = e->ledger;
    FAULT_POINT("ledger", e->kind, "sent");
    if (e->touch_ms > 0)
        route_touch(l->store, l->job, l->record_id, e->touch_ms, text, ledger_on_written, e);
    else if (!strcmp(e->kind, "touched"))
        route_touched(l->store, l->job, l->record_id, text, ledger_on_written, e);
    else
        route_ledger_append(l->store, l->job, l->record_id, &text, 1, ledger_on_written, e);
}

static void add_uids(struct entry *e, const uint32_t *uids, size_t n)
{
    struct imap_seq set = {0};
    assert(n > 0);
    for (size_t i = 0; i < n; i++)
        imap_seq_add(&set, uids[i], uids[i]);
    buf_add_str(&e->text, " ");
    imap_seq_write(&e->text, &set);
    imap_seq_free(&set);
}

void ledger_bind(struct ledger *l, uint32_t source_uidvalidity, uint32_t target_uidvalidity, ledger_fn fn,
                 void *owner)
{
    struct entry *e = begin_entry(l, "bind", fn, owner);
    buf_printf(&e->text, " %u %u", source_uidvalidity, target_uidvalidity);
    write_entry(e);
}

void ledger_intent(struct ledger *l, uint32_t target_uidnext, const uint32_t *source_uids, size_t n,
                   ledger_fn fn, void *owner)
{
    struct entry *e = begin_entry(l, "intent", fn, owner);
    buf_printf(&e->text, " %u", target_uidnext);
    add_uids(e, source_uids, n);
    write_entry(e);
}

static void ledger_add_row(struct buf *out, const struct ledger_row *row, uint32_t target_uid)
{
    buf_printf(out, " %u,%u,%llu,", row->source_uid, target_uid, (unsigned long long)row->size);
    base64_encode(out, span_of(row->hash, HASH_SIZE));
    if (row->verified)
        buf_add_str(out, ",v");
}

void ledger_done(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn fn, void *owner)
{
    struct entry *e = begin_entry(l, "done", fn, owner);
    assert(n > 0);
    for (size_t i = 0; i < n; i++)
        ledger_add_row(&e->text, &rows[i], rows[i].target_uid);
    write_entry(e);
}

void ledger_sent(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn fn, void *owner)
{
    struct entry *e = begin_entry(l, "sent", fn, owner);
    assert(n > 0);
    for (size_t i = 0; i < n; i++)
        ledger_add_row(&e->text, &rows[i], 0);
    write_entry(e);
}

void ledger_landed(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn fn, void *owner)
{
    struct entry *e = begin_entry(l, "landed", fn, owner);
    struct imap_seq sources = {0}, targets = {0};
    assert(n > 0);
    for (size_t i = 0; i < n; i++) {
        imap_seq_add(&sources, rows[i].source_uid, rows[i].source_uid);
        imap_seq_add(&targets, rows[i].target_uid, rows[i].target_uid);
    }
    buf_add_str(&e->text, " ");
    imap_seq_write(&e->text, &sources);
    buf_add_str(&e->text, " ");
    imap_seq_write(&e->text, &targets);
    imap_seq_free(&sources);
    imap_seq_free(&targets);
    write_entry(e);
}

void ledger_verified(struct ledger *l, const uint32_t *source_uids, size_t n, ledger_fn fn, void *owner)
{
    struct entry *e = begin_entry(l, "verified", fn, owner);
    add_uids(e, source_uids, n);
    write_entry(e);
}

void ledger_headers(struct ledger *l, const uint32_t *source_uids, size_t n, ledger_fn fn, void *owner)
{
    struct entry *e = begin_entry(l, "headers", fn, owner);
    add_uids(e, source_uids, n);
    write_entry(e);
}

void ledger_gone(struct ledger *l, const uint32_t *source_uids, size_t n, ledger_fn fn, void *owner)
{
    struct entry *e = begin_entry(l, "gone", fn, owner);
    add_uids(e, source_uids, n);
    write_entry(e);
}

static void write_set(struct ledger *l, const char *word, const struct imap_seq *set, ledger_fn fn,
                      void *owner)
{
    struct entry *e = begin_entry(l, word, fn, owner);
    assert(set->n > 0);
    buf_add_str(&e->text, " ");
    imap_seq_write(&e->text, set);
    write_entry(e);
}

void ledger_retake(struct ledger *l, const struct imap_seq *source_uids, ledger_fn fn, void *owner)
{
    write_set(l, "retake", source_uids, fn, owner);
}

uint32_t ledger_touch(struct ledger *l, const struct ledger_change *changes, size_t n, uint64_t ms, ledger_fn fn,
                      void *owner)
{
    assert(n < 2 || changes[0].flags);
    struct entry *e = begin_entry(l, n == 0 ? "mailbox" : changes[0].flags ? "store" : "expunge", fn, owner);
    uint32_t number = ++l->last_number;
    e->touch_ms = ms > 0 ? ms : 1;
    buf_printf(&e->text, " %u", number);
    for (size_t i = 0; i < n; i++) {
        buf_add_str(&e->text, " ");
        imap_seq_write(&e->text, changes[i].target_uids);
        if (changes[i].flags)
            buf_printf(&e->text, " (%s)", changes[i].flags);
    }
    write_entry(e);
    return number;
}

void ledger_touched(struct ledger *l, uint32_t number, ledger_fn fn, void *owner)
{
    struct entry *e = begin_entry(l, "touched", fn, owner);
    buf_printf(&e->text, " %u", number);
    write_entry(e);
}

void ledger_looked(struct ledger *l, uint32_t source_uidnext, ledger_fn fn, void *owner)
{
    struct entry *e = begin_entry(l, "looked", fn, owner);
    buf_printf(&e->text, " %u", source_uidnext);
    write_entry(e);
}

uint32_t ledger_looked_until(const struct ledger *l)
{
    return l->looked;
}

void ledger_told(struct ledger *l, const struct imap_seq *target_uids, ledger_fn fn, void *owner)
{
    write_set(l, "told", target_uids, fn, owner);
}

bool ledger_was_told(const struct ledger *l, uint32_t target_uid)
{
    return imap_seq_has(&l->told, target_uid);
}

void ledger_skipped(struct ledger *l, const struct imap_seq *source_uids, ledger_fn fn, void *owner)
{
    write_set(l, "skipped", source_uids, fn, owner);
}

/* Of what never went out as a whole nothing is stored. */
static bool any_sent(const struct ledger *l, const struct imap_seq *source_uids)
{
    for (size_t i = 0; i < l->n_sent; i++)
        if (imap_seq_has(source_uids, l->sent[i].source_uid))
            return true;
    return false;
}

void ledger_settled(struct ledger *l, uint64_t ms, ledger_fn fn, void *owner)
{
    struct entry *e = begin_entry(l, "settled", fn, owner);
    struct imap_seq left = {0};
    ledger_doubtful(l, &left);
    if (any_sent(l, &left))
        e->touch_ms = ms > 0 ? ms : 1;
    buf_add_str(&e->text, " ");
    if (left.n > 0)
        imap_seq_write(&e->text, &left);
    else
        buf_add_str(&e->text, "-");
    imap_seq_free(&left);
    write_entry(e);
}

void ledger_void(struct ledger *l, ledger_fn fn, void *owner)
{
    write_entry(begin_entry(l, "void", fn, owner));
}

void ledger_direct(struct ledger *l, const char *source, const char *target, ledger_fn fn, void *owner)
{
    struct entry *e = begin_entry(l, "pair", fn, owner);
    buf_printf(&e->text, " %s %s", source, target);
    write_entry(e);
}

bool ledger_is_of(const struct ledger *l, const char *source, const char *target)
{
    return l->source && !strcmp(l->source, source) && !strcmp(l->target, target);
}

bool ledger_was_turned(const struct ledger *l)
{
    return l->turned;
}

/* --- folding --- */

enum { STAY_MAX = 4 };

bool ledger_may_fold(const struct ledger *l)
{
    return l->source && TAILQ_EMPTY(&l->intents) && TAILQ_EMPTY(&l->entries) && l->retake.n == 0;
}

static void add_stay(struct buf *stay, size_t *n, const char *kind)
{
    buf_printf(&stay[(*n)++], "%s %s", version_of(kind), kind);
}

static void add_stay_set(struct buf *stay, size_t *n, const char *kind, const struct imap_seq *set)
{
    add_stay(stay, n, kind);
    buf_add_str(&stay[*n - 1], " ");
    imap_seq_write(&stay[*n - 1], set);
}

/* Messages that were sent again may land once more, and are known by their bytes then. What is read in this order brings
 * back what there is now. */
static size_t write_stay(const struct ledger *l, struct buf stay[STAY_MAX])
{
    size_t n = 0, resent = 0;
    for (size_t i = 0; i < l->n_sent; i++) {
        if (i == 0)
            add_stay(stay, &n, "sent");
        ledger_add_row(&stay[n - 1], &l->sent[i], 0);
    }
    if (l->resent.n > 0)
        add_stay_set(stay, &n, "settled", &l->resent);
    if (l->resent.n > 0 && l->told.n > 0)
        add_stay_set(stay, &n, "told", &l->told);
    for (size_t i = 0; i < l->n && l->resent.n > 0; i++) {
        if (l->rows[i].bare || !imap_seq_has(&l->resent, l->rows[i].source_uid))
            continue;
        if (resent++ == 0)
            add_stay(stay, &n, "done");
        ledger_add_row(&stay[n - 1], &l->rows[i], l->rows[i].target_uid);
    }
    return n;
}

/* Source UIDs whose rows stay in the list. */
static void find_stay(const struct ledger *l, struct imap_seq *uids)
{
    for (size_t i = 0; i < l->n && l->resent.n > 0; i++)
        if (!l->rows[i].bare && imap_seq_has(&l->resent, l->rows[i].source_uid))
            imap_seq_add(uids, l->rows[i].source_uid, l->rows[i].source_uid);
}

static void on_fold_written(void *owner, enum route_rc rc, const char *detail)
{
    struct entry *e = owner;
    FAULT_POINT("ledger", e->kind, "answered");
    if (rc != ROUTE_OK)
        set_error(e->ledger, "the ledger could not be folded%s%s", *detail ? ": " : "", detail);
    end_entry(e, rc);
}

void ledger_fold(struct ledger *l, ledger_fn fn, void *owner)
{
    struct buf stay[STAY_MAX] = {{0}};
    struct span entries[STAY_MAX];
    struct imap_seq but = {0};
    struct entry *e = begin_entry(l, "folded", fn, owner);
    const struct folded f = {l->bound, l->turned, l->source_uidvalidity, l->target_uidvalidity, l->looked};
    size_t n = write_stay(l, stay);
    buf_clear(&e->text);
    find_stay(l, &but);
    folded_write(&e->text, &f, l->rows, l->n, &but);
    for (size_t i = 0; i < n; i++)
        entries[i] = buf_span(&stay[i]);
    FAULT_POINT("ledger", e->kind, "sent");
    route_ledger_fold(l->store, l->job, l->record_id, l->listed,
                      &(struct route_fold){l->source, l->target, buf_span(&e->text), entries, n}, on_fold_written, e);
    for (size_t i = 0; i < STAY_MAX; i++)
        buf_free(&stay[i]);
    imap_seq_free(&but);
}

void ledger_forget(struct ledger *l, void *owner)
{
    struct entry *e;
    TAILQ_FOREACH(e, &l->entries, link)
    if (e->owner == owner)
        e->fn = NULL;
}
