#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "doubts.h"

enum { RECENT_MS = 60 * 1000, AGAIN_MS = 1000 };

/* An account. */
struct doubt {
    struct doubts *all; /* borrowed */
    char *user;
    size_t owed;                          /* answers */
    bool lost;                            /* that of an enter or register, ... */
    uint64_t lost_generation, lost_epoch; /* ... the last of them */
    uint64_t wanted;                      /* epoch of the reconcile that is not answered, 0 = none ... */
    uint64_t asked_generation;            /* ... and when it was sent */
    bool asking;
    bool is_recent;
    uint64_t quiet_ms; /* since when nothing is owed */
    TAILQ_ENTRY(doubt) link;
    UT_hash_handle hh;
};
TAILQ_HEAD(doubt_list, doubt);

/* An answer that is owed. */
struct owed {
    struct doubts *all; /* borrowed */
    struct doubt *d;    /* borrowed; NULL: there was no room */
    char *user;
    char *session;              /* of a leave; else NULL; owned */
    uint64_t generation, epoch; /* of an enter or register */
    route_enter_fn entered;
    route_done_fn done;
    const void *owner; /* borrowed; NULL: nobody wants the answer */
    bool failed;       /* a leave that has to be sent again */
    struct queued queued;
    TAILQ_ENTRY(owed) link;
};
TAILQ_HEAD(owed_list, owed);

struct doubts {
    struct store *store; /* borrowed */
    struct queue *queue; /* borrowed */
    const char *incarnation;
    doubts_fn fn;
    void *owner;
    struct timer *again;           /* owned */
    struct doubt *table;           /* by user; owned */
    struct doubt_list recent;      /* nothing is owed, the oldest first */
    struct owed_list owed, leaves; /* of enters and registers; of leaves */
    bool beyond;                   /* an account did not fit: all others may be in doubt too */
    uint64_t dropped_ms;           /* when one that was recent had to make room; 0 = never */
};

/* ---- accounts ---- */

static void not_recent(struct doubt *d)
{
    if (d->is_recent)
        TAILQ_REMOVE(&d->all->recent, d, link);
    d->is_recent = false;
}

static void doubt_free(struct doubt *d)
{
    not_recent(d);
    HASH_DEL(d->all->table, d);
    store_forget(d->all->store, d);
    free(d->user);
    free(d);
}

/* Is nothing owed any more? */
static void look_over(struct doubt *d)
{
    if (d->owed > 0 || d->lost || d->wanted || d->is_recent)
        return;
    d->is_recent = true;
    d->quiet_ms = clock_boot_ms();
    TAILQ_INSERT_TAIL(&d->all->recent, d, link);
}

static void forget_old(struct doubts *all)
{
    struct doubt *d;
    uint64_t now = clock_boot_ms();
    while ((d = TAILQ_FIRST(&all->recent)) && now - d->quiet_ms >= RECENT_MS)
        doubt_free(d);
}

static void go_beyond(struct doubts *all)
{
    if (!all->beyond)
        LOG(WARN, "doubts_full", LOG_S("incarnation", all->incarnation), LOG_U("accounts", DOUBTS_MAX));
    all->beyond = true;
}

/* False: all are in doubt. */
static bool make_room(struct doubts *all)
{
    forget_old(all);
    if (HASH_COUNT(all->table) < DOUBTS_MAX)
        return true;
    if (TAILQ_EMPTY(&all->recent))
        return false;
    all->dropped_ms = clock_boot_ms();
    doubt_free(TAILQ_FIRST(&all->recent));
    return true;
}

static struct doubt *doubt_find(const struct doubts *all, struct span user)
{
    struct doubt *d;
    HASH_FIND(hh, all->table, user.p, user.len, d);
    return d;
}

/* NULL: there is no room. */
static struct doubt *doubt_of(struct doubts *all, const char *user)
{
    struct doubt *d = doubt_find(all, span_str(user));
    if (d || !make_room(all))
        return d;
    d = xcalloc(1, sizeof *d);
    d->all = all;
    d->user = xstrdup(user);
    HASH_ADD_KEYPTR(hh, all->table, d->user, strlen(d->user), d);
    return d;
}

static bool is_after(uint64_t generation, uint64_t epoch, const struct doubt *d)
{
    return generation > d->lost_generation || (generation == d->lost_generation && epoch > d->lost_epoch);
}

static void note_lost(struct doubt *d, uint64_t generation, uint64_t epoch)
{
    if (!d->lost || is_after(generation, epoch, d)) {
        d->lost_generation = generation;
        d->lost_epoch = epoch;
    }
    d->lost = true;
    not_recent(d);
}

/* ---- answers ---- */

static struct owed_list *list_of(struct owed *o)
{
    return o->session ? &o->all->leaves : &o->all->owed;
}

static struct owed *owed_new(struct doubts *all, const char *user, const char *session)
{
    struct owed *o = xcalloc(1, sizeof *o);
    o->all = all;
    o->user = xstrdup(user);
    o->session = session ? xstrdup(session) : NULL;
    o->d = doubt_of(all, user);
    if (o->d) {
        o->d->owed++;
        not_recent(o->d);
    }
    TAILQ_INSERT_TAIL(list_of(o), o, link);
    return o;
}

static void owed_free(struct owed *o)
{
    queue_done(o->all->queue, &o->queued);
    TAILQ_REMOVE(list_of(o), o, link);
    free(o->user);
    free(o->session);
    free(o);
}

static bool is_answer(enum route_rc rc)
{
    return rc != ROUTE_DOWN && rc != ROUTE_NO_STORE;
}

static void start_again(struct doubts *all)
{
    if (!timer_is_set(all->again))
        timer_start(all->again, AGAIN_MS);
}

/* The end of an enter or a register. */
static void owed_end(struct owed *o, enum route_rc rc)
{
    struct doubt *d = o->d;
    if (!d && !is_answer(rc))
        go_beyond(o->all);
    if (d) {
        d->owed--;
        if (!is_answer(rc))
            note_lost(d, o->generation, o->epoch);
        look_over(d);
    }
    owed_free(o);
}

static void doubts_on_entered(void *owner, enum route_rc rc, enum route_state state, uint64_t epoch)
{
    struct owed *o = owner;
    route_enter_fn fn = o->entered;
    void *who = (void *)(uintptr_t)o->owner;
    owed_end(o, rc);
    if (who)
        fn(who, rc, state, epoch);
}

static void on_registered(void *owner, enum route_rc rc, const char *detail)
{
    struct owed *o = owner;
    route_done_fn fn = o->done;
    void *who = (void *)(uintptr_t)o->owner;
    owed_end(o, rc);
    if (who)
        fn(who, rc, detail);
}

void doubts_enter(struct doubts *all, const struct route_enter *e, route_enter_fn fn, void *owner)
{
    struct owed *o = owed_new(all, e->user, NULL);
    o->generation = e->generation;
    o->epoch = e->epoch;
    o->entered = fn;
    o->owner = owner;
    route_enter(all->store, e, doubts_on_entered, o);
}

void doubts_register(struct doubts *all, const char *user, const char *session, const char *backend,
                     uint64_t epoch, const char *address, route_done_fn fn, void *owner)
{
    struct owed *o = owed_new(all, user, NULL);
    o->generation = store_generation(all->store);
    o->epoch = epoch;
    o->done = fn;
    o->owner = owner;
    route_register(all->store, user, session, backend, epoch, address, on_registered, o);
}

void doubts_forget(struct doubts *all, const void *owner)
{
    struct owed *o;
    TAILQ_FOREACH(o, &all->owed, link)
    if (o->owner == owner)
        o->owner = NULL;
}

/* ---- leave ---- */

static void doubts_on_left(void *owner, enum route_rc rc, const char *detail)
{
    struct owed *o = owner;
    (void)detail;
    queue_done(o->all->queue, &o->queued);
    if (!is_answer(rc) && o->d) {
        o->failed = true;
        start_again(o->all);
        return;
    }
    if (!is_answer(rc))
        go_beyond(o->all);
    if (o->d) {
        o->d->owed--;
        look_over(o->d);
    }
    owed_free(o);
}

static void leave_again(struct queued *q)
{
    struct owed *o = CONTAINER_OF(q, struct owed, queued);
    route_leave(o->all->store, o->user, o->session, doubts_on_left, o);
}

void doubts_leave(struct doubts *all, const char *user, const char *session)
{
    struct owed *o = owed_new(all, user, session);
    o->queued.fn = leave_again;
    route_leave(all->store, user, session, doubts_on_left, o);
}

/* ---- reconcile ---- */

void doubts_suspect(struct doubts *all, struct span user)
{
    char *key = xspandup(user);
    struct doubt *d = doubt_of(all, key);
    free(key);
    if (d)
        note_lost(d, 0, 0);
    else
        go_beyond(all);
}

bool doubts_has(const struct doubts *all, struct span user)
{
    const struct doubt *d = doubt_find(all, user);
    return all->beyond || (d && (d->owed > 0 || d->lost));
}

bool doubts_any(const struct doubts *all)
{
    const struct doubt *d, *next;
    HASH_ITER(hh, all->table, d, next)
    if (d->owed > 0 || d->lost)
        return true;
    return all->beyond;
}

/* detail: how many are left, that were registered in this very `preparing`. */
static void on_reconciled(void *owner, enum route_rc rc, const char *detail)
{
    struct doubt *d = owner;
    d->asking = false;
    if (!is_answer(rc)) {
        start_again(d->all);
        return;
    }
    if (rc == ROUTE_OK && strcmp(detail, "0") == 0 && is_after(d->asked_generation, d->wanted, d))
        d->lost = false;
    d->wanted = 0;
    look_over(d);
}

void doubts_reconcile(struct doubts *all, const char *user, uint64_t epoch, const char *const *sessions,
                      size_t n)
{
    struct doubt *d = doubt_find(all, span_str(user));
    if (!d && all->beyond)
        route_reconcile(all->store, user, all->incarnation, epoch, sessions, n, NULL, NULL);
    if (!d || !doubts_has(all, span_str(user)))
        return;
    not_recent(d);
    store_forget(all->store, d);
    d->asking = true;
    d->wanted = epoch;
    d->asked_generation = store_generation(all->store);
    route_reconcile(all->store, user, all->incarnation, epoch, sessions, n, on_reconciled, d);
}

void doubts_new_master(struct doubts *all)
{
    struct doubt *d;
    forget_old(all);
    if (all->dropped_ms && clock_boot_ms() - all->dropped_ms < RECENT_MS)
        go_beyond(all);
    while ((d = TAILQ_FIRST(&all->recent)))
        note_lost(d, 0, 0); /* and it is no longer in this list */
}

/* ---- once more ---- */

static void doubts_on_again(void *owner)
{
    struct doubts *all = owner;
    struct owed *o;
    struct doubt *d, *next;
    TAILQ_FOREACH(o, &all->leaves, link)
    {
        if (o->failed)
            queue_add(all->queue, &o->queued, RANK_ACCOUNT);
        o->failed = false;
    }
    HASH_ITER(hh, all->table, d, next)
    {
        if (d->wanted && !d->asking)
            all->fn(all->owner, d->user, d->wanted);
    }
}

/* ---- life ---- */

struct doubts *doubts_new(struct store *s, struct queue *q, const char *incarnation, doubts_fn fn,
                          void *owner)
{
    struct doubts *all = xcalloc(1, sizeof *all);
    all->store = s;
    all->queue = q;
    all->incarnation = incarnation;
    all->fn = fn;
    all->owner = owner;
    all->again = timer_new(store_loop(s), doubts_on_again, all);
    TAILQ_INIT(&all->recent);
    TAILQ_INIT(&all->owed);
    TAILQ_INIT(&all->leaves);
    return all;
}

static void owed_drop(struct owed_list *list)
{
    struct owed *o;
    while ((o = TAILQ_FIRST(list))) {
        store_forget(o->all->store, o);
        owed_free(o);
    }
}

void doubts_free(struct doubts **allp)
{
    struct doubts *all = *allp;
    *allp = NULL;
    if (!all)
        return;
    struct doubt *d, *next;
    owed_drop(&all->owed);
    owed_drop(&all->leaves);
    HASH_ITER(hh, all->table, d, next)
    {
        doubt_free(d);
    }
    timer_free(&all->again);
    free(all);
}
