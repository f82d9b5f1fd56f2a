/* A ledger in Redis: it is loaded, and each entry is written, and read like one that was loaded once Redis
 * has it. */
#include <assert.h>
#include <stdlib.h>

#include "lib/fault.h"
#include "lib/xalloc.h"

#include "folded.h"
#include "ledger_priv.h"

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
        l->listed += !ledger_is_folded(rows[i]);
        if (ledger_read_entry(l, rows[i]))
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

static void free_entry(struct ledger_entry *e)
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
    ledger_drop_intents(l);
    ledger_drop_touches(l);
    imap_seq_free(&l->resent);
    imap_seq_free(&l->told);
    imap_seq_free(&l->renewals);
    imap_seq_free(&l->retake);
    ledger_free_fillers(l);
    ledger_forget_given(l);
    ledger_rows_changed(l);
    free(l->rows);
    free(l->sent);
    free(l->moves);
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

static void end_entry(struct ledger_entry *e, enum route_rc rc)
{
    ledger_fn fn = e->fn;
    void *fn_owner = e->owner;
    free_entry(e);
    if (fn)
        fn(fn_owner, rc);
}

static void ledger_on_kept(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct ledger_entry *e = owner;
    (void)r;
    if (rc != REDIS_OK)
        set_error(e->ledger, "the replicas of Redis do not keep up (%s)", e->kind);
    end_entry(e, rc == REDIS_OK ? ROUTE_OK : ROUTE_DOWN);
}

/* Behind "sent" and "fill" the target stores the messages. Where a failover forgot that, and the user has expunged or
 * moved them by then, nobody would know them for copies any more. A change that a failover forgot would not be waited
 * for, and under a UIDVALIDITY that it forgot the mailbox would be taken for another one. */
static bool must_be_kept(const struct ledger_entry *e)
{
    bool stores = strcmp(e->kind, "sent") == 0 || strcmp(e->kind, "fill") == 0;
    bool names = strcmp(e->kind, "renewal") == 0;
    return (stores || names || e->touch_ms > 0) && store_has_replicas(e->ledger->store);
}

static void ledger_on_written(void *owner, enum route_rc rc, const char *detail)
{
    struct ledger_entry *e = owner;
    struct ledger *l = e->ledger;
    FAULT_POINT("ledger", e->kind, "answered");
    if (rc == ROUTE_OK && !ledger_read_entry(l, buf_span(&e->text))) {
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

static struct ledger_entry *begin_entry(struct ledger *l, const char *kind, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = xcalloc(1, sizeof *e);
    e->ledger = l;
    e->kind = kind;
    e->fn = fn;
    e->owner = owner;
    TAILQ_INSERT_TAIL(&l->entries, e, link);
    buf_printf(&e->text, "%s %s", ledger_version_of(kind), kind);
    return e;
}

static void write_entry(struct ledger_entry *e)
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

void ledger_bind(struct ledger *l, uint32_t source_uidvalidity, uint32_t target_uidvalidity, ledger_fn fn,
                 void *owner)
{
    struct ledger_entry *e = begin_entry(l, "bind", fn, owner);
    buf_printf(&e->text, " %u %u", source_uidvalidity, target_uidvalidity);
    write_entry(e);
}

void ledger_renewal(struct ledger *l, uint32_t target_uidvalidity, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "renewal", fn, owner);
    buf_printf(&e->text, " %u", target_uidvalidity);
    write_entry(e);
}

void ledger_intent(struct ledger *l, uint32_t target_uidnext, const uint32_t *source_uids, size_t n,
                   ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "intent", fn, owner);
    buf_printf(&e->text, " %u", target_uidnext);
    ledger_write_uids(&e->text, source_uids, n);
    write_entry(e);
}

void ledger_done(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "done", fn, owner);
    assert(n > 0);
    for (size_t i = 0; i < n; i++)
        ledger_write_row(&e->text, &rows[i], rows[i].target_uid);
    write_entry(e);
}

void ledger_sent(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "sent", fn, owner);
    assert(n > 0);
    for (size_t i = 0; i < n; i++)
        ledger_write_row(&e->text, &rows[i], 0);
    write_entry(e);
}

void ledger_landed(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "landed", fn, owner);
    struct imap_seq sources = {0}, targets = {0};
    assert(n > 0);
    for (size_t i = 0; i < n; i++) {
        imap_seq_add(&sources, rows[i].source_uid, rows[i].source_uid);
        imap_seq_add(&targets, rows[i].target_uid, rows[i].target_uid);
    }
    ledger_write_set(&e->text, &sources);
    ledger_write_set(&e->text, &targets);
    imap_seq_free(&sources);
    imap_seq_free(&targets);
    write_entry(e);
}

void ledger_verified(struct ledger *l, const uint32_t *source_uids, size_t n, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "verified", fn, owner);
    ledger_write_uids(&e->text, source_uids, n);
    write_entry(e);
}

void ledger_headers(struct ledger *l, const uint32_t *source_uids, size_t n, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "headers", fn, owner);
    ledger_write_uids(&e->text, source_uids, n);
    write_entry(e);
}

void ledger_gone(struct ledger *l, const uint32_t *source_uids, size_t n, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "gone", fn, owner);
    ledger_write_uids(&e->text, source_uids, n);
    write_entry(e);
}

static void write_set(struct ledger *l, const char *word, const struct imap_seq *set, ledger_fn fn,
                      void *owner)
{
    struct ledger_entry *e = begin_entry(l, word, fn, owner);
    ledger_write_set(&e->text, set);
    write_entry(e);
}

void ledger_retake(struct ledger *l, const struct imap_seq *source_uids, ledger_fn fn, void *owner)
{
    write_set(l, "retake", source_uids, fn, owner);
}

uint32_t ledger_touch(struct ledger *l, const struct ledger_change *changes, size_t n, uint64_t ms,
                      ledger_fn fn, void *owner)
{
    assert(n < 2 || changes[0].flags);
    struct ledger_entry *e = begin_entry(l,
                                         n == 0             ? "mailbox"
                                         : changes[0].flags ? "store"
                                                            : "expunge",
                                         fn, owner);
    uint32_t number = ++l->last_number;
    e->touch_ms = ms > 0 ? ms : 1;
    buf_printf(&e->text, " %u", number);
    for (size_t i = 0; i < n; i++) {
        ledger_write_set(&e->text, changes[i].target_uids);
        if (changes[i].flags)
            buf_printf(&e->text, " (%s)", changes[i].flags);
    }
    write_entry(e);
    return number;
}

void ledger_touched(struct ledger *l, uint32_t number, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "touched", fn, owner);
    buf_printf(&e->text, " %u", number);
    write_entry(e);
}

void ledger_looked(struct ledger *l, uint32_t source_uidnext, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "looked", fn, owner);
    buf_printf(&e->text, " %u", source_uidnext);
    write_entry(e);
}

void ledger_told(struct ledger *l, const struct imap_seq *target_uids, ledger_fn fn, void *owner)
{
    write_set(l, "told", target_uids, fn, owner);
}

void ledger_skipped(struct ledger *l, const struct imap_seq *source_uids, ledger_fn fn, void *owner)
{
    write_set(l, "skipped", source_uids, fn, owner);
}

const char *ledger_filler_id(struct ledger *l)
{
    if (!*l->filler_id)
        random_hex(l->filler_id, LEDGER_FILLER_ID / 2);
    return l->filler_id;
}

void ledger_fill(struct ledger *l, const struct imap_seq *numbers, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "fill", fn, owner);
    buf_printf(&e->text, " %s", ledger_filler_id(l));
    ledger_write_set(&e->text, numbers);
    write_entry(e);
}

void ledger_filled(struct ledger *l, const struct imap_seq *numbers, const struct imap_seq *target_uids,
                   ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "filled", fn, owner);
    ledger_write_set(&e->text, numbers);
    ledger_write_set(&e->text, target_uids);
    write_entry(e);
}

void ledger_unfilled(struct ledger *l, const struct imap_seq *target_uids, ledger_fn fn, void *owner)
{
    write_set(l, "unfilled", target_uids, fn, owner);
}

void ledger_refused(struct ledger *l, const struct imap_seq *numbers, ledger_fn fn, void *owner)
{
    write_set(l, "refused", numbers, fn, owner);
}

void ledger_latefill(struct ledger *l, const struct imap_seq *numbers, uint64_t ms, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "latefill", fn, owner);
    e->touch_ms = ms > 0 ? ms : 1;
    ledger_write_set(&e->text, numbers);
    write_entry(e);
}

uint32_t ledger_begin_move(struct ledger *l, uint32_t target_uidnext, const struct ledger_row *rows, size_t n,
                           uint64_t ms, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "move", fn, owner);
    uint32_t number = ++l->last_number;
    assert(n > 0);
    e->touch_ms = ms > 0 ? ms : 1;
    buf_printf(&e->text, " %u %u", number, target_uidnext);
    for (size_t i = 0; i < n; i++)
        ledger_write_row(&e->text, &rows[i], 0);
    write_entry(e);
    return number;
}

void ledger_moved(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "moved", fn, owner);
    assert(n > 0);
    for (size_t i = 0; i < n; i++)
        buf_printf(&e->text, " %u,%u", rows[i].source_uid, rows[i].target_uid);
    write_entry(e);
}

void ledger_clearing(struct ledger *l, const struct imap_seq *target_uids, ledger_fn fn, void *owner)
{
    write_set(l, "clearing", target_uids, fn, owner);
}

void ledger_cleared(struct ledger *l, const struct imap_seq *target_uids, ledger_fn fn, void *owner)
{
    write_set(l, "cleared", target_uids, fn, owner);
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
    struct ledger_entry *e = begin_entry(l, "settled", fn, owner);
    struct imap_seq left = {0};
    ledger_doubtful(l, &left);
    if (any_sent(l, &left))
        e->touch_ms = ms > 0 ? ms : 1;
    if (left.n > 0)
        ledger_write_set(&e->text, &left);
    else
        buf_add_str(&e->text, " -");
    imap_seq_free(&left);
    write_entry(e);
}

void ledger_void(struct ledger *l, ledger_fn fn, void *owner)
{
    write_entry(begin_entry(l, "void", fn, owner));
}

void ledger_direct(struct ledger *l, const char *source, const char *target, ledger_fn fn, void *owner)
{
    struct ledger_entry *e = begin_entry(l, "pair", fn, owner);
    buf_printf(&e->text, " %s %s", source, target);
    write_entry(e);
}

/* --- folding --- */

enum { STAY_MAX = 6 };

bool ledger_may_fold(const struct ledger *l)
{
    return l->source && TAILQ_EMPTY(&l->intents) && TAILQ_EMPTY(&l->entries) && l->retake.n == 0 &&
           l->fillers.open.n == 0 && l->fillers.there.n == 0;
}

static void add_stay(struct buf *stay, size_t *n, const char *kind)
{
    buf_printf(&stay[(*n)++], "%s %s", ledger_version_of(kind), kind);
}

static void add_stay_set(struct buf *stay, size_t *n, const char *kind, const struct imap_seq *set)
{
    add_stay(stay, n, kind);
    ledger_write_set(&stay[*n - 1], set);
}

/* Messages that were sent again may land once more, and are known by their bytes then. What is read in this
 * order brings back what there is now. */
static size_t write_stay(const struct ledger *l, struct buf stay[STAY_MAX])
{
    size_t n = 0, resent = 0;
    for (size_t i = 0; i < l->n_sent; i++) {
        if (i == 0)
            add_stay(stay, &n, "sent");
        ledger_write_row(&stay[n - 1], &l->sent[i], 0);
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
        ledger_write_row(&stay[n - 1], &l->rows[i], l->rows[i].target_uid);
    }
    if (l->fillers.late.n > 0) {
        add_stay(stay, &n, "fill");
        buf_printf(&stay[n - 1], " %s", l->filler_id);
        ledger_write_set(&stay[n - 1], &l->fillers.late);
        add_stay_set(stay, &n, "latefill", &l->fillers.late);
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
    struct ledger_entry *e = owner;
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
    struct ledger_entry *e = begin_entry(l, "folded", fn, owner);
    const struct folded f = {l->bound, l->turned, l->source_uidvalidity, l->target_uidvalidity, l->looked};
    size_t n = write_stay(l, stay);
    buf_clear(&e->text);
    find_stay(l, &but);
    folded_write(&e->text, &f, l->rows, l->n, &but);
    for (size_t i = 0; i < n; i++)
        entries[i] = buf_span(&stay[i]);
    FAULT_POINT("ledger", e->kind, "sent");
    route_ledger_fold(l->store, l->job, l->record_id, l->listed,
                      &(struct route_fold){l->source, l->target, buf_span(&e->text), entries, n},
                      on_fold_written, e);
    for (size_t i = 0; i < STAY_MAX; i++)
        buf_free(&stay[i]);
    imap_seq_free(&but);
}

void ledger_forget(struct ledger *l, void *owner)
{
    struct ledger_entry *e;
    TAILQ_FOREACH(e, &l->entries, link)
    if (e->owner == owner)
        e->fn = NULL;
}
