#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <uthash.h>

#include "lib/events.h"
#include "lib/jobs.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "job.h"
#include "migrator/account/proof_file.h"
#include "migrator/site/journal.h"
#include "worker.h"

enum {
    TICK_MS = 1000,   /* at least so often: entries of the living, entries of the dead */
    DUE_MIN_MS = 50,  /* accounts whose time has come: not more often */
    PAUSED_MS = 1000, /* a paused job asks again after it */
    DUE_MAX = 200,    /* accounts in one look */
    LOOK_MAX = 100,   /* idle entries in one look for orphans */
    UNFIT_TICKS = 3,  /* so much longer others have for what we can't finish */
    GIVEN_MS = 60000, /* longer than a master goes on without its replicas */
    PROBE_MS = 2000,  /* a journal that can't be written is tried again after it */
};

/* What an entry is doing here. */
enum entry_state {
    WAITING,  /* for a place, or for the end of a pause */
    RUNNING,  /* its job runs */
    DROPPING, /* its job has ended; not answered yet */
    GIVING,   /* its job has not, and is for another migrator; not answered yet */
    GIVEN     /* answered; a master that takes over within GIVEN_MS may not know it, and is told again */
};

struct worker_entry {
    struct worker *worker;
    bool bulk;
    char *id, *user; /* owned */
    enum entry_state state;
    uint64_t claimed_ms;    /* when the last claim of it that was answered was sent */
    uint64_t not_before_ms; /* WAITING; GIVEN: until when it is kept */
    uint64_t generation;    /* GIVEN: of the master that was told */
    bool sent;              /* DROPPING, GIVING: under way */
    bool forward;           /* found in flipping: needs no place */
    bool suspect;           /* a migrator has died with it; of a job that runs, ask job_is_suspect() */
    char token[33];         /* of its job, also of one that was dropped; "" = never claimed */
    struct job *job;
    UT_hash_handle hh; /* by user */
    TAILQ_ENTRY(worker_entry) link;
};

struct worker {
    struct migrator *m;
    struct jobs *jobs; /* owned */
    struct events *events;
    struct worker_entry *running; /* by user; a user has one job here */
    TAILQ_HEAD(, worker_entry) entries;
    size_t n_entries;
    struct timer *tick, *due;
    char *idle_why; /* owned; as it was told last; NULL: nothing */
    bool term_told, asking_due, stopping, probing;
    bool leaves;               /* it has told that it is gone */
    unsigned keeping;          /* answers that are still to come */
    uint64_t kept_ms, look_ms; /* when the last renewal and look for orphans were sent */
    uint64_t probed_ms;        /* when the journal was tried last */
    struct round {
        unsigned due; /* so many ends of it have to be seen before new work is taken */
        bool asking;
        bool bulk;
        char after[48]; /* the id behind which it goes on; "" from the oldest on */
        /* looks for orphans, from the oldest entry of the logins to the newest of the bulk, and again */
    } round;
    void (*done)(void *owner);
    void *done_owner;
    struct loop_task task;
};

static void work_soon(struct worker *w)
{
    loop_defer(w->m->loop, &w->task);
}

/* Places fell free, or time has passed: what has no owner by now is to be found. A round that is under way
 * has passed by some entries when there was no place. */
static void begin_round(struct worker *w)
{
    bool under_way = w->round.asking || w->round.bulk || *w->round.after;

    w->round.due = under_way ? 2 : 1;
}

/* ---- entries */

static size_t count_state(const struct worker *w, enum entry_state state)
{
    size_t n = 0;
    const struct worker_entry *e;

    TAILQ_FOREACH(e, &w->entries, link)
    n += e->state == state;
    return n;
}

static bool needs_place(const struct worker_entry *e)
{
    return (e->state == WAITING || (e->state == RUNNING && (!e->job || job_needs_place(e->job)))) &&
           !e->forward;
}

/* Who can't write a flip, or writes it where it may be forgotten or was, takes nothing that would have to be
 * written. */
static bool is_fit(const struct worker *w)
{
    return journal_is_good(w->m->journal) && !w->m->store_unsafe && !w->m->unknown_flips;
}

/* Where no backend takes us, one account at a time is the trial, and what is queued stays so. */
static size_t places_at_all(const struct worker *w)
{
    uint64_t ms;

    if (!is_fit(w))
        return 0;
    return !backends_all_rest(w->m->backends, &ms) ? migrator_jobs(w->m) : ms == 0;
}

/* Places for further entries. */
static size_t worker_room(const struct worker *w)
{
    size_t taken = jobs_asked(w->jobs), places = places_at_all(w);
    const struct worker_entry *e;

    TAILQ_FOREACH(e, &w->entries, link)
    taken += needs_place(e);
    return taken < places ? places - taken : 0;
}

/* One at a time: should this migrator die, it is known of what. */
static bool has_suspect(const struct worker *w)
{
    const struct worker_entry *e;

    TAILQ_FOREACH(e, &w->entries, link)
    if (e->job ? job_is_suspect(e->job) && job_needs_place(e->job) : e->state == WAITING && e->suspect)
        return true;
    return false;
}

static struct worker_entry *worker_find_entry(struct worker *w, bool bulk, struct span id)
{
    struct worker_entry *e;

    TAILQ_FOREACH(e, &w->entries, link)
    if (e->bulk == bulk && e->state < GIVING && span_is(id, e->id))
        return e;
    return NULL;
}

static void worker_entry_free(struct worker_entry *e)
{
    struct worker *w = e->worker;

    if (e->state == RUNNING)
        HASH_DEL(w->running, e);
    job_free(&e->job);
    store_forget(w->m->store, e);
    TAILQ_REMOVE(&w->entries, e, link);
    w->n_entries--;
    free(e->id);
    free(e->user);
    free(e);
}

/* ---- how long an entry is ours */

static uint64_t held_until(const struct worker_entry *e)
{
    uint64_t term = e->worker->m->conf->migrator.job_lease_ms;

    return e->claimed_ms + term * HELD_TENTHS / 10;
}

/* A renewal that finds the one before it run out is too late: another migrator may have begun. */
static void worker_renew(struct worker_entry *e, uint64_t sent_ms)
{
    if (clock_boot_ms() >= held_until(e))
        return;
    e->claimed_ms = sent_ms;
    if (e->job)
        job_keep(e->job, held_until(e));
}

/* Whoever has it now, or will, is told that we did not die with it. */
static void give_away(struct worker_entry *e)
{
    if (e->state == RUNNING)
        HASH_DEL(e->worker->running, e);
    job_free(&e->job);
    store_forget(e->worker->m->store, e);
    e->state = GIVING;
    e->sent = false;
    work_soon(e->worker);
}

static void drop_lapsed(struct worker *w)
{
    struct worker_entry *e;
    uint64_t now = clock_boot_ms();

    TAILQ_FOREACH(e, &w->entries, link)
    {
        if (e->state >= DROPPING || now < held_until(e))
            continue;
        LOG(WARN, "job_lapsed", LOG_S("user", e->user), LOG_U("late_ms", now - held_until(e)));
        give_away(e);
    }
}

/* NULL: we have it. */
static struct worker_entry *worker_add_entry(struct worker *w, bool bulk, struct span id, struct span user,
                                             uint64_t sent_ms)
{
    if (id.len == 0 || worker_find_entry(w, bulk, id))
        return NULL;
    struct worker_entry *e = xcalloc(1, sizeof(*e));
    e->worker = w;
    e->bulk = bulk;
    e->id = xspandup(id);
    e->user = xspandup(user);
    e->claimed_ms = sent_ms;
    e->state = *e->user ? WAITING : DROPPING;
    TAILQ_INSERT_TAIL(&w->entries, e, link);
    w->n_entries++;
    work_soon(w);
    return e;
}

/* ---- dropping: acknowledged, and deleted */

static void worker_on_dropped(void *owner, enum route_rc rc, const char *detail)
{
    struct worker_entry *e = owner;
    struct worker *w = e->worker;

    e->sent = false;
    if (rc != ROUTE_OK && rc != ROUTE_NO_STORE) /* the next tick tries again */
        return;
    if (rc == ROUTE_OK && strcmp(detail, "0") == 0)
        LOG(WARN, "job_not_ended", LOG_S("user", e->user));
    if (rc == ROUTE_OK && strcmp(detail, "0") == 0)
        e->state = GIVING; /* whoever goes on with it hears that nobody has died of it */
    else
        worker_entry_free(e);
    work_soon(w);
}

static void worker_drop(struct worker_entry *e)
{
    e->sent = true;
    route_drop(e->worker->m->store, e->user, e->bulk, e->id, JOBS_GROUP, worker_on_dropped, e);
}

/* ---- giving away */

static void on_given(void *owner, enum route_rc rc, const char *detail)
{
    struct worker_entry *e = owner;
    struct worker *w = e->worker;

    (void)detail;
    e->sent = false;
    if (rc == ROUTE_OK && *e->token) {
        e->state = GIVEN;
        e->not_before_ms = clock_boot_ms() + GIVEN_MS;
        e->generation = store_generation(w->m->store);
    } else if (rc != ROUTE_DOWN) { /* else the next tick tries again */
        worker_entry_free(e);
    }
    work_soon(w);
}

/* Another migrator need not wait until the entry is old. */
static void worker_give(struct worker_entry *e)
{
    struct migrator *m = e->worker->m;

    e->sent = true;
    route_give(m->store, &(struct route_entry){.user = e->user, .id = e->id, .bulk = e->bulk}, e->token,
               JOBS_GROUP, m->id, m->conf->migrator.job_lease_ms, on_given, e);
}

/* Who gave a job away to a master that is none any more would be taken for one that has died with it. */
static void give_again(struct worker *w)
{
    struct worker_entry *e, *next;
    uint64_t now = clock_boot_ms();

    for (e = TAILQ_FIRST(&w->entries); e; e = next) {
        next = TAILQ_NEXT(e, link);
        if (e->state != GIVEN)
            continue;
        if (now >= e->not_before_ms)
            worker_entry_free(e);
        else if (e->generation != store_generation(w->m->store))
            e->state = GIVING;
    }
}

/* What waits here would wait until the disk is mended. */
static void give_away_waiting(struct worker *w)
{
    struct worker_entry *e;

    TAILQ_FOREACH(e, &w->entries, link)
    if (e->state == WAITING && !e->forward)
        give_away(e);
}

static void let_go(struct worker *w)
{
    struct worker_entry *e, *next;

    if (!is_fit(w))
        give_away_waiting(w);
    give_again(w);
    for (e = TAILQ_FIRST(&w->entries); e; e = next) {
        next = TAILQ_NEXT(e, link);
        if (e->state == DROPPING && !e->sent)
            worker_drop(e);
        else if (e->state == GIVING && !e->sent)
            worker_give(e);
    }
}

/* ---- jobs */

static void on_job_end(void *owner, enum job_how how)
{
    struct worker_entry *e = owner;
    struct worker *w = e->worker;

    e->job = NULL;
    HASH_DEL(w->running, e);
    begin_round(w);
    switch (how) {
    case JOB_DONE:
        e->state = DROPPING;
        break;
    case JOB_STOPPED:
        e->state = GIVING;
        break;
    case JOB_LOST:
        e->state = WAITING; /* no longer RUNNING, for worker_entry_free() */
        worker_entry_free(e);
        break;
    case JOB_LATER:
        e->state = WAITING;
        e->not_before_ms = clock_boot_ms() + PAUSED_MS;
        break;
    }
    work_soon(w);
}

static void start_job(struct worker_entry *e)
{
    struct worker *w = e->worker;
    struct worker_entry *twin;

    HASH_FIND_STR(w->running, e->user, twin);
    if (twin) /* ends first; then the scripts tell whether there is anything left to do */
        return;
    e->state = RUNNING;
    HASH_ADD_KEYPTR(hh, w->running, e->user, strlen(e->user), e);
    random_hex(e->token, 16);
    e->job = job_start(w->m, &(struct route_entry){.user = e->user, .id = e->id, .bulk = e->bulk}, JOBS_GROUP,
                       e->token, e->suspect, held_until(e), on_job_end, e);
}

static size_t places_used(const struct worker *w)
{
    size_t n = 0;
    const struct worker_entry *e;

    TAILQ_FOREACH(e, &w->entries, link)
    n += e->state == RUNNING && needs_place(e);
    return n;
}

static void start_jobs(struct worker *w)
{
    struct worker_entry *e;
    uint64_t now = clock_boot_ms();
    size_t used = places_used(w);

    TAILQ_FOREACH(e, &w->entries, link)
    {
        if (e->state != WAITING || e->not_before_ms > now || (!e->forward && used >= migrator_jobs(w->m)))
            continue;
        start_job(e);
        used += e->state == RUNNING && !e->forward;
    }
}

/* ---- keeping alive, taking over */

static void on_term_told(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct worker *w = owner;

    if (rc != REDIS_OK || !span_is(reply_str(reply_at(r, 0)), "ok"))
        return;
    w->term_told = true;
    work_soon(w);
}

/* Why it takes no work, for people; nothing where it does. */
static void write_idle_why(const struct worker *w, struct buf *out)
{
    if (!journal_is_good(w->m->journal))
        buf_add_str(out, "its journal (journal_dir) can't be written");
    else if (w->m->unknown_flips)
        buf_add_str(out, w->m->unknown_flips);
    else
        backends_write_rests(w->m->backends, out);
}

/* What is read or claimed behind it is ours for so long, whatever the term of who looks for orphans. */
static void tell_term(struct worker *w)
{
    if (w->leaves)
        return;
    char term[24];
    struct buf why = {0};

    snprintf(term, sizeof(term), "%" PRIu64, w->m->conf->migrator.job_lease_ms);
    write_idle_why(w, &why);
    struct span args[] = {span_str(w->m->id), span_str(term), span_str(IMAPFERRY_VERSION), buf_span(&why)};
    store_script(w->m->store, "migrator", args, COUNTOF(args), on_term_told, w);
    buf_free(&why);
}

/* Staff are told soon why this migrator takes nothing, or takes accounts again. */
static void tell_idle_why(struct worker *w)
{
    struct buf why = {0};

    write_idle_why(w, &why);
    bool news = strcmp(buf_str(&why), w->idle_why ? w->idle_why : "") != 0;
    if (news) {
        free(w->idle_why);
        w->idle_why = xstrdup(buf_str(&why));
        tell_term(w);
    }
    buf_free(&why);
}

/* The ids that are ours still. */
static void worker_kept(struct worker *w, bool bulk, enum route_rc rc, const struct span *ids, size_t n)
{
    w->keeping--;
    for (size_t i = 0; rc == ROUTE_OK && i < n; i++) {
        struct worker_entry *e = worker_find_entry(w, bulk, ids[i]);
        if (e)
            worker_renew(e, w->kept_ms);
    }
}

static void on_kept_logins(void *owner, enum route_rc rc, const struct span *ids, size_t n)
{
    worker_kept(owner, false, rc, ids, n);
}

static void on_kept_bulk(void *owner, enum route_rc rc, const struct span *ids, size_t n)
{
    worker_kept(owner, true, rc, ids, n);
}

static void keep_stream(struct worker *w, bool bulk)
{
    struct span *ids = xreallocarray(NULL, w->n_entries + 1, sizeof(*ids));
    size_t n = 0;
    struct worker_entry *e;

    TAILQ_FOREACH(e, &w->entries, link)
    if (e->bulk == bulk && e->state < DROPPING)
        ids[n++] = span_str(e->id);
    if (n > 0) {
        w->keeping++;
        route_keep(w->m->store, JOBS_GROUP, w->m->id, bulk, ids, n, bulk ? on_kept_bulk : on_kept_logins, w);
    }
    free(ids);
}

static void keep_alive(struct worker *w)
{
    uint64_t now = clock_boot_ms();

    if (w->keeping > 0 || now - w->kept_ms < w->m->conf->migrator.job_lease_ms / 6)
        return;
    w->kept_ms = now;
    tell_term(w);
    keep_stream(w, false);
    keep_stream(w, true);
}

static uint64_t tick_interval(const struct worker *w)
{
    /* renewals of a sixth come before a third is over */
    uint64_t sixth = w->m->conf->migrator.job_lease_ms / 6;

    return sixth < TICK_MS ? sixth : TICK_MS;
}

static void take_over(struct worker *w, const struct span row[3])
{
    struct worker_entry *e = worker_add_entry(w, w->round.bulk, row[0], row[1], w->look_ms);

    if (!e)
        return;
    LOG(INFO, "job_taken_over", LOG_SPAN("user", row[1]), LOG_SPAN("kind", row[2]));
    e->forward = span_is(row[2], "forward");
    e->suspect = span_is(row[2], "suspect");
}

static void on_orphans(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct worker *w = owner;
    struct round *r = &w->round;

    r->asking = false;
    if (rc != ROUTE_OK ||
        n == 0) { /* the next tick goes on; most likely NOJOBS_GROUP, where the store is up */
        if (store_state(w->m->store) == STORE_UP)
            jobs_miss_groups(w->jobs);
        return;
    }
    for (size_t i = 1; i + 2 < n; i += 3)
        take_over(w, &rows[i]);
    snprintf(r->after, sizeof(r->after), "%.*s", (int)rows[0].len, (const char *)rows[0].p);
    if (rows[0].len == 0) {
        r->due -= r->bulk && r->due > 0;
        r->bulk = !r->bulk;
    }
    work_soon(w);
}

/* Goes on where the page before has ended, so that what is dead is found behind any number of others. What
 * can't be finished here is left to others for some ticks, but not for ever: they may be gone. */
static void look_for_orphans(struct worker *w)
{
    if (w->round.asking)
        return;
    w->round.asking = true;
    w->look_ms = clock_boot_ms();
    route_orphans(w->m->store,
                  &(struct route_search){.group = JOBS_GROUP,
                                         .consumer = w->m->id,
                                         .bulk = w->round.bulk,
                                         .lease_ms = w->m->conf->migrator.job_lease_ms,
                                         .patience_ms = is_fit(w) ? 0 : UNFIT_TICKS * tick_interval(w),
                                         .places = (uint32_t)worker_room(w),
                                         .suspects = has_suspect(w) ? 0 : 1,
                                         .after = w->round.after,
                                         .max = LOOK_MAX},
                  on_orphans, w);
}

/* Orphans first: a place that falls free is theirs. */
static void look_for_work(struct worker *w)
{
    if (w->stopping || !jobs_have_groups(w->jobs) || !w->term_told)
        return;
    if (w->round.due > 0)
        look_for_orphans(w);
    else
        jobs_read(w->jobs, worker_room(w));
}

/* ---- what is done when */

static void worker_on_due(void *owner, enum route_rc rc, const char *detail)
{
    struct worker *w = owner;

    w->asking_due = false;
    if (rc == ROUTE_OK && *detail && strcmp(detail, "0") != 0)
        LOG(INFO, "due", LOG_S("accounts", detail));
}

/* Fine enough for the shortest rest that is configured. */
static uint64_t due_interval(const struct worker *w)
{
    uint64_t ms = w->m->conf->migrator.retry_min_ms / 20;

    return ms < DUE_MIN_MS ? DUE_MIN_MS : ms > TICK_MS ? TICK_MS : ms;
}

static void on_due_timer(void *owner)
{
    struct worker *w = owner;

    timer_start(w->due, due_interval(w));
    if (!w->stopping && !w->asking_due && store_state(w->m->store) == STORE_UP) {
        w->asking_due = true;
        route_due(w->m->store, DUE_MAX, worker_on_due, w);
    }
}

static void worker_on_probed(void *owner, const char *error)
{
    struct worker *w = owner;

    (void)error; /* the journal knows */
    w->probing = false;
    work_soon(w);
}

static void try_journal(struct worker *w)
{
    uint64_t now = clock_boot_ms();

    if (journal_is_good(w->m->journal) || w->probing || w->stopping || now - w->probed_ms < PROBE_MS)
        return;
    w->probing = true;
    w->probed_ms = now;
    journal_probe(w->m->journal, worker_on_probed, w);
}

static void worker_on_tick(void *owner)
{
    struct worker *w = owner;

    timer_start(w->tick, tick_interval(w));
    drop_lapsed(w);
    try_journal(w);
    if (w->round.due == 0)
        begin_round(w);
    if (store_state(w->m->store) == STORE_UP) {
        tell_idle_why(w);
        keep_alive(w);
        if (!jobs_have_groups(w->jobs))
            jobs_make_groups(w->jobs);
    }
    work_soon(w);
}

static void tell_done(struct worker *w)
{
    void (*done)(void *) = w->done;

    w->done = NULL;
    done(w->done_owner);
}

static void on_left(void *owner, enum redis_rc rc, const struct reply *r)
{
    (void)rc;
    (void)r;
    tell_done(owner);
}

/* Who has ended in good order is not missed: status shows those alone that are silent without a word. It has
 * no entry any more, so nobody needs its term. */
static void take_leave(struct worker *w)
{
    if (w->leaves)
        return;
    w->leaves = true;
    if (store_state(w->m->store) != STORE_UP) {
        tell_done(w);
        return;
    }
    char *key = store_key(w->m->store, "migrators");
    struct span argv[] = {span_str("HDEL"), span_str(key), span_str(w->m->id)};
    store_command(w->m->store, argv, COUNTOF(argv), on_left, w);
    free(key);
}

static void worker_work(struct loop_task *task)
{
    struct worker *w = CONTAINER_OF(task, struct worker, task);

    if (store_state(w->m->store) == STORE_UP) {
        let_go(w);
        if (!w->stopping)
            start_jobs(w);
        look_for_work(w);
    }
    size_t left = count_state(w, RUNNING) + count_state(w, DROPPING);
    if (store_state(w->m->store) == STORE_UP)
        left += count_state(w, GIVING);
    if (w->stopping && w->done && left == 0)
        take_leave(w);
}

void worker_store_changed(struct worker *w)
{
    if (store_state(w->m->store) == STORE_UP && !jobs_have_groups(w->jobs))
        jobs_make_groups(w->jobs);
    w->term_told = false; /* another master may have lost it */
    if (store_state(w->m->store) == STORE_UP)
        tell_term(w);
    work_soon(w);
}

/* ---- callbacks of others */

static void worker_on_jobs(void *owner, enum jobs_event ev)
{
    struct worker *w = owner;

    if (ev == JOBS_ENDED)
        begin_round(w);
    work_soon(w);
}

static void worker_on_job_read(void *owner, const struct jobs_entry *entry)
{
    worker_add_entry(owner, entry->bulk, entry->id, entry->user, entry->sent_ms);
}

static void worker_forget(struct worker *w, struct span user)
{
    char *name = xspandup(user);

    proof_files_forget(w->m->loop, w->m->conf->migrator.journal_dir, name);
    free(name);
}

static void worker_on_event(void *owner, const struct event *event)
{
    struct worker *w = owner;
    struct worker_entry *e;

    HASH_FIND(hh, w->running, event->user.p, event->user.len, e);
    if (e && e->job)
        job_event(e->job, event);
    if (span_is(event->kind, "forgotten"))
        worker_forget(w, event->user);
}

/* Jobs find by the scripts what they missed. */
static void worker_on_news(void *owner, enum events_news news)
{
    (void)owner;
    (void)news;
}

struct worker *worker_new(struct migrator *m)
{
    struct worker *w = xcalloc(1, sizeof(*w));

    w->m = m;
    w->task.fn = worker_work;
    TAILQ_INIT(&w->entries);
    w->jobs = jobs_new(m->store, m->id, m->conf->migrator.job_lease_ms * SILENCE_TENTHS / 10, worker_on_jobs,
                       worker_on_job_read, w);
    w->events = events_new(m->loop, m->conf, store_address(m->store), worker_on_event, worker_on_news, w);
    w->tick = timer_new(m->loop, worker_on_tick, w);
    w->due = timer_new(m->loop, on_due_timer, w);
    worker_on_tick(w);
    on_due_timer(w);
    return w;
}

void worker_stop(struct worker *w, void (*done)(void *owner), void *owner)
{
    struct worker_entry *e, *next;

    w->stopping = true;
    jobs_stop(w->jobs);
    w->done = done;
    w->done_owner = owner;
    for (e = TAILQ_FIRST(&w->entries); e; e = next) {
        next = TAILQ_NEXT(e, link);
        if (e->job)
            job_stop(e->job);
        else if (e->state == WAITING)
            give_away(e);
    }
    work_soon(w);
}

void worker_free(struct worker **wp)
{
    struct worker *w = *wp;
    struct worker_entry *e;

    *wp = NULL;
    if (!w)
        return;
    while ((e = TAILQ_FIRST(&w->entries)))
        worker_entry_free(e);
    store_forget(w->m->store, w);
    journal_forget(w->m->journal, w);
    loop_undefer(w->m->loop, &w->task);
    timer_free(&w->tick);
    timer_free(&w->due);
    free(w->idle_why);
    events_free(&w->events);
    jobs_free(&w->jobs);
    free(w);
}
