#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <uthash.h>

#include "lib/events.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "job.h"
#include "worker.h"

#define GROUP "migrators"

enum {
    REDIS_TIMEOUT_MS = 10000,
    BLOCK_MS = 1000,  /* one XREADGROUP waits for so long at most */
    TICK_MS = 1000,   /* at least so often: entries of the living, entries of the dead */
    DUE_MIN_MS = 50,  /* accounts whose time has come: not more often */
    PAUSED_MS = 1000, /* a paused job asks again after it */
    DUE_MAX = 200,    /* accounts in one look */
};

enum stream_name { LOGINS, BULK, N_STREAMS };

/* What an entry is doing here. */
enum entry_state {
    WAITING, /* for a place, or for the end of a pause */
    RUNNING, /* its job runs */
    DROPPING /* not answered yet */
};

struct entry {
    struct worker *worker;
    enum stream_name stream;
    char *id, *user; /* owned */
    enum entry_state state;
    uint64_t claimed_ms;    /* when the last claim of it that was answered was sent */
    uint64_t not_before_ms; /* WAITING */
    bool sent;              /* DROPPING: under way */
    struct job *job;
    UT_hash_handle hh; /* by user */
    TAILQ_ENTRY(entry) link;
};

struct worker {
    struct migrator *m;
    struct redis *redis; /* for reading that blocks */
    struct events *events;
    char *keys[N_STREAMS]; /* owned */
    struct entry *running; /* by user; a user has one job here */
    TAILQ_HEAD(, entry) entries;
    size_t n_entries;
    struct timer *tick, *due;
    bool groups_made, term_told, reading, asking_due, stopping;
    unsigned keeping, taking;            /* answers that are still to come */
    uint64_t read_ms, kept_ms, taken_ms; /* when the last read, renewal and take-over were sent */
    void (*done)(void *owner);
    void *done_owner;
    struct loop_task task;
};

static void work_soon(struct worker *w)
{
    loop_defer(w->m->loop, &w->task);
}

/* ---- entries */

static size_t count_state(const struct worker *w, enum entry_state state)
{
    size_t n = 0;
    const struct entry *e;

    TAILQ_FOREACH(e, &w->entries, link)
    n += e->state == state;
    return n;
}

/* Places for further entries. */
static size_t room(const struct worker *w)
{
    size_t taken = count_state(w, WAITING) + count_state(w, RUNNING);

    return taken < w->m->conf->migrator.jobs ? w->m->conf->migrator.jobs - taken : 0;
}

static struct entry *find_entry(struct worker *w, enum stream_name stream, struct span id)
{
    struct entry *e;

    TAILQ_FOREACH(e, &w->entries, link)
    if (e->stream == stream && span_is(id, e->id))
        return e;
    return NULL;
}

static void entry_free(struct entry *e)
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

static uint64_t held_until(const struct entry *e)
{
    uint64_t term = e->worker->m->conf->migrator.job_lease_ms;

    return e->claimed_ms + term * HELD_TENTHS / 10;
}

/* A renewal that finds the one before it run out is too late: another migrator may have begun. */
static void renew(struct entry *e, uint64_t sent_ms)
{
    if (clock_boot_ms() >= held_until(e))
        return;
    e->claimed_ms = sent_ms;
    if (e->job)
        job_keep(e->job, held_until(e));
}

static void drop_lapsed(struct worker *w)
{
    struct entry *e, *next;
    uint64_t now = clock_boot_ms();

    for (e = TAILQ_FIRST(&w->entries); e; e = next) {
        next = TAILQ_NEXT(e, link);
        if (e->state == DROPPING || now < held_until(e))
            continue;
        LOG(WARN, "job_lapsed", LOG_S("user", e->user), LOG_U("late_ms", now - held_until(e)));
        entry_free(e);
    }
}

/* id, (name, value, name, value ...) */
static void add_entry(struct worker *w, enum stream_name stream, const struct reply *r, uint64_t sent_ms)
{
    struct span id = reply_str(reply_at(r, 0)), user = reply_str(reply_get(reply_at(r, 1), "user"));

    if (id.len == 0 || find_entry(w, stream, id))
        return;
    struct entry *e = xcalloc(1, sizeof(*e));
    e->worker = w;
    e->stream = stream;
    e->id = xspandup(id);
    e->user = xspandup(user);
    e->claimed_ms = sent_ms;
    e->state = *e->user ? WAITING : DROPPING;
    TAILQ_INSERT_TAIL(&w->entries, e, link);
    w->n_entries++;
    work_soon(w);
}

/* ---- dropping: acknowledged, and deleted */

static void on_dropped(void *owner, enum route_rc rc, const char *detail)
{
    struct entry *e = owner;
    struct worker *w = e->worker;

    e->sent = false;
    if (rc != ROUTE_OK && rc != ROUTE_NO_STORE) /* the next tick tries again */
        return;
    if (rc == ROUTE_OK && strcmp(detail, "0") == 0)
        LOG(WARN, "job_not_ended", LOG_S("user", e->user));
    entry_free(e);
    work_soon(w);
}

static void drop(struct entry *e)
{
    e->sent = true;
    route_drop(e->worker->m->store, e->user, e->stream == BULK, e->id, GROUP, on_dropped, e);
}

static void command(struct worker *w, redis_fn fn, void *owner, size_t n, const char *const *words)
{
    struct span argv[12];

    for (size_t i = 0; i < n; i++)
        argv[i] = span_str(words[i]);
    store_command(w->m->store, argv, n, fn, owner);
}

/* We end: another migrator need not wait until the entry is old. */
static void hand_back(struct entry *e)
{
    struct worker *w = e->worker;
    char idle[24];

    snprintf(idle, sizeof(idle), "%" PRIu64, w->m->conf->migrator.job_lease_ms);
    command(
        w, NULL, e, 9,
        (const char *[]){"XCLAIM", w->keys[e->stream], GROUP, w->m->id, "0", e->id, "IDLE", idle, "JUSTID"});
}

/* ---- jobs */

static void on_job_end(void *owner, enum job_how how)
{
    struct entry *e = owner;
    struct worker *w = e->worker;

    e->job = NULL;
    HASH_DEL(w->running, e);
    switch (how) {
    case JOB_DONE:
        e->state = DROPPING;
        break;
    case JOB_STOPPED:
        hand_back(e);
        /* fall through */
    case JOB_LOST:
        e->state = WAITING; /* no longer RUNNING, for entry_free() */
        entry_free(e);
        break;
    case JOB_LATER:
        e->state = WAITING;
        e->not_before_ms = clock_boot_ms() + PAUSED_MS;
        break;
    }
    work_soon(w);
}

static void start_job(struct entry *e)
{
    struct worker *w = e->worker;
    struct entry *twin;

    HASH_FIND_STR(w->running, e->user, twin);
    if (twin) /* ends first; then the scripts tell whether there is anything left to do */
        return;
    e->state = RUNNING;
    HASH_ADD_KEYPTR(hh, w->running, e->user, strlen(e->user), e);
    e->job = job_start(w->m, e->user, held_until(e), on_job_end, e);
}

static void start_jobs(struct worker *w)
{
    struct entry *e;
    uint64_t now = clock_boot_ms();

    TAILQ_FOREACH(e, &w->entries, link)
    {
        if (count_state(w, RUNNING) >= w->m->conf->migrator.jobs)
            break;
        if (e->state == WAITING && e->not_before_ms <= now)
            start_job(e);
    }
}

/* ---- reading */

/* A list of (stream, list of entries), or nil. */
static void take_streams(struct worker *w, const struct reply *r)
{
    for (size_t i = 0; i < reply_count(r); i++) {
        const struct reply *stream = reply_at(r, i), *entries = reply_at(stream, 1);
        enum stream_name name = span_is(reply_str(reply_at(stream, 0)), w->keys[BULK]) ? BULK : LOGINS;
        for (size_t k = 0; k < reply_count(entries); k++)
            add_entry(w, name, reply_at(entries, k), w->read_ms);
    }
}

static void read_more(struct worker *w);

static void on_read(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct worker *w = owner;

    w->reading = false;
    if (rc == REDIS_OK) {
        take_streams(w, r);
        work_soon(w);
    } else if (rc == REDIS_ERROR_REPLY) { /* most likely NOGROUP: the streams are gone or new */
        LOG(WARN, "jobs_unreadable", LOG_SPAN("error", reply_str(r)));
        w->groups_made = false;
    }
}

/* An entry that comes at the end of it still is ours for most of the term. */
static uint64_t block_interval(const struct worker *w)
{
    uint64_t quarter = w->m->conf->migrator.job_lease_ms / 4;

    return quarter < BLOCK_MS ? quarter : BLOCK_MS;
}

/* Logins alone, without waiting; if there are none, both, and wait. */
static void on_read_logins(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct worker *w = owner;

    if (rc != REDIS_OK || reply_count(r) > 0 || w->stopping || store_state(w->m->store) != STORE_UP) {
        on_read(owner, rc, r);
        return;
    }
    uint64_t block_ms = block_interval(w);
    char block[24];
    w->read_ms = clock_boot_ms();
    snprintf(block, sizeof(block), "%" PRIu64, block_ms);
    const char *words[] = {"XREADGROUP", "GROUP", GROUP, w->m->id, "COUNT", "1", "BLOCK", block, "STREAMS"};
    struct span argv[COUNTOF(words) + 4];
    size_t n = 0;
    for (; n < COUNTOF(words); n++)
        argv[n] = span_str(words[n]);
    argv[n++] = span_str(w->keys[LOGINS]);
    argv[n++] = span_str(w->keys[BULK]);
    argv[n++] = span_str(">");
    argv[n++] = span_str(">");
    redis_command(w->redis, argv, n, block_ms + REDIS_TIMEOUT_MS, on_read, w);
}

static void read_more(struct worker *w)
{
    char count[24];

    if (w->reading || w->stopping || !w->groups_made || !w->term_told || !redis_is_up(w->redis) || room(w) == 0)
        return;
    w->reading = true;
    w->read_ms = clock_boot_ms();
    snprintf(count, sizeof(count), "%zu", room(w));
    const char *words[] = {"XREADGROUP", "GROUP",   GROUP,           w->m->id, "COUNT",
                           count,        "STREAMS", w->keys[LOGINS], ">"};
    struct span argv[COUNTOF(words)];
    for (size_t i = 0; i < COUNTOF(words); i++)
        argv[i] = span_str(words[i]);
    redis_command(w->redis, argv, COUNTOF(words), 0, on_read_logins, w);
}

static void on_group(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct worker *w = owner;
    struct span text = reply_str(r);
    bool there = rc == REDIS_ERROR_REPLY && text.len >= 9 && !memcmp(text.p, "BUSYGROUP", 9);

    if (rc == REDIS_OK || there) {
        w->groups_made = true;
        work_soon(w);
    } else if (rc == REDIS_ERROR_REPLY) {
        LOG(ERROR, "jobs_unreadable", LOG_SPAN("error", text));
    }
}

static void make_groups(struct worker *w)
{
    for (size_t i = 0; i < N_STREAMS; i++)
        command(w, i + 1 < N_STREAMS ? NULL : on_group, w, 6,
                (const char *[]){"XGROUP", "CREATE", w->keys[i], GROUP, "0", "MKSTREAM"});
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

/* What is read or claimed behind it is ours for so long, whatever the term of who looks for orphans. */
static void tell_term(struct worker *w)
{
    char term[24];

    snprintf(term, sizeof(term), "%" PRIu64, w->m->conf->migrator.job_lease_ms);
    struct span args[] = {span_str(w->m->id), span_str(term), span_str(IMAPFERRY_VERSION)};
    store_script(w->m->store, "migrator", args, COUNTOF(args), on_term_told, w);
}

/* The ids that are still in the stream. */
static void kept(struct worker *w, enum stream_name stream, enum redis_rc rc, const struct reply *r)
{
    w->keeping--;
    for (size_t i = 0; rc == REDIS_OK && i < reply_count(r); i++) {
        struct entry *e = find_entry(w, stream, reply_str(reply_at(r, i)));
        if (e)
            renew(e, w->kept_ms);
    }
}

static void on_kept_logins(void *owner, enum redis_rc rc, const struct reply *r)
{
    kept(owner, LOGINS, rc, r);
}

static void on_kept_bulk(void *owner, enum redis_rc rc, const struct reply *r)
{
    kept(owner, BULK, rc, r);
}

static void keep_stream(struct worker *w, enum stream_name stream)
{
    struct span *argv = xreallocarray(NULL, w->n_entries + 6, sizeof(*argv));
    const char *words[] = {"XCLAIM", w->keys[stream], GROUP, w->m->id, "0"};
    size_t n = 0;
    struct entry *e;

    for (; n < COUNTOF(words); n++)
        argv[n] = span_str(words[n]);
    TAILQ_FOREACH(e, &w->entries, link)
    if (e->stream == stream && e->state != DROPPING)
        argv[n++] = span_str(e->id);
    if (n > COUNTOF(words)) {
        argv[n++] = span_str("JUSTID");
        w->keeping++;
        store_command(w->m->store, argv, n, stream == LOGINS ? on_kept_logins : on_kept_bulk, w);
    }
    free(argv);
}

static void keep_alive(struct worker *w)
{
    uint64_t now = clock_boot_ms();

    if (w->keeping > 0 || now - w->kept_ms < w->m->conf->migrator.job_lease_ms / 6)
        return;
    w->kept_ms = now;
    tell_term(w);
    for (size_t i = 0; i < N_STREAMS; i++)
        keep_stream(w, i);
}

/* "ok", entries */
static void take_over(struct worker *w, enum stream_name stream, enum redis_rc rc, const struct reply *r)
{
    const struct reply *entries = reply_at(r, 1);

    w->taking--;
    if (rc != REDIS_OK)
        return;
    for (size_t i = 0; i < reply_count(entries); i++) {
        struct span id = reply_str(reply_at(reply_at(entries, i), 0));
        if (id.len && !find_entry(w, stream, id))
            LOG(INFO, "job_taken_over",
                LOG_SPAN("user", reply_str(reply_get(reply_at(reply_at(entries, i), 1), "user"))));
        add_entry(w, stream, reply_at(entries, i), w->taken_ms);
    }
}

static void on_taken_logins(void *owner, enum redis_rc rc, const struct reply *r)
{
    take_over(owner, LOGINS, rc, r);
}

static void on_taken_bulk(void *owner, enum redis_rc rc, const struct reply *r)
{
    take_over(owner, BULK, rc, r);
}

static void look_for_orphans(struct worker *w)
{
    char idle[24], count[24];

    if (w->taking > 0 || room(w) == 0)
        return;
    w->taken_ms = clock_boot_ms();
    w->taking = N_STREAMS;
    snprintf(idle, sizeof(idle), "%" PRIu64, w->m->conf->migrator.job_lease_ms);
    snprintf(count, sizeof(count), "%zu", room(w));
    for (size_t i = 0; i < N_STREAMS; i++) {
        struct span args[] = {span_str(GROUP), span_str(w->m->id), span_str(idle), span_str(i == BULK ? "1" : "0"),
                              span_str(count)};
        store_script(w->m->store, "orphans", args, COUNTOF(args), i == LOGINS ? on_taken_logins : on_taken_bulk, w);
    }
}

/* ---- what is done when */

static void on_due(void *owner, enum route_rc rc, const char *detail)
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
        route_due(w->m->store, DUE_MAX, on_due, w);
    }
}

static void on_tick(void *owner)
{
    struct worker *w = owner;
    uint64_t sixth =
        w->m->conf->migrator.job_lease_ms / 6; /* renewals of a sixth come before a third is over */

    timer_start(w->tick, sixth < TICK_MS ? sixth : TICK_MS);
    drop_lapsed(w);
    if (store_state(w->m->store) == STORE_UP) {
        keep_alive(w);
        if (!w->groups_made) {
            make_groups(w);
        } else if (!w->stopping) {
            look_for_orphans(w);
        }
    }
    work_soon(w);
}

static void work(struct loop_task *task)
{
    struct worker *w = CONTAINER_OF(task, struct worker, task);
    struct entry *e, *next;

    if (store_state(w->m->store) == STORE_UP) {
        for (e = TAILQ_FIRST(&w->entries); e; e = next) {
            next = TAILQ_NEXT(e, link);
            if (e->state == DROPPING && !e->sent)
                drop(e);
        }
        if (!w->stopping) {
            start_jobs(w);
            read_more(w);
        }
    }
    if (w->stopping && w->done && count_state(w, RUNNING) + count_state(w, DROPPING) == 0) {
        void (*done)(void *) = w->done;
        w->done = NULL;
        done(w->done_owner);
    }
}

void worker_store_changed(struct worker *w)
{
    if (store_state(w->m->store) == STORE_UP && !w->groups_made)
        make_groups(w);
    w->term_told = false; /* another master may have lost it */
    if (store_state(w->m->store) == STORE_UP)
        tell_term(w);
    work_soon(w);
}

/* ---- callbacks of others */

static void on_redis(void *owner, bool up, const char *detail)
{
    struct worker *w = owner;

    (void)detail; /* the store's connection tells the log */
    if (up)
        work_soon(w);
    else
        w->reading = false;
}

static void on_event(void *owner, const struct event *event)
{
    struct worker *w = owner;
    struct entry *e;

    HASH_FIND(hh, w->running, event->user.p, event->user.len, e);
    if (e && e->job)
        job_event(e->job, event);
}

/* Jobs find by the scripts what they missed. */
static void on_news(void *owner, enum events_news news)
{
    (void)owner;
    (void)news;
}

struct worker *worker_new(struct migrator *m)
{
    struct worker *w = xcalloc(1, sizeof(*w));

    w->m = m;
    w->task.fn = work;
    TAILQ_INIT(&w->entries);
    w->keys[LOGINS] = store_key(m->store, "jobs");
    w->keys[BULK] = store_key(m->store, "jobs:bulk");
    w->redis = redis_new(m->loop, &m->conf->redis, REDIS_TIMEOUT_MS, on_redis, w);
    redis_set_silence(w->redis, m->conf->migrator.job_lease_ms * SILENCE_TENTHS / 10);
    w->events = events_new(m->loop, m->conf, on_event, on_news, w);
    w->tick = timer_new(m->loop, on_tick, w);
    w->due = timer_new(m->loop, on_due_timer, w);
    on_tick(w);
    on_due_timer(w);
    return w;
}

void worker_stop(struct worker *w, void (*done)(void *owner), void *owner)
{
    struct entry *e, *next;

    w->stopping = true;
    w->done = done;
    w->done_owner = owner;
    for (e = TAILQ_FIRST(&w->entries); e; e = next) {
        next = TAILQ_NEXT(e, link);
        if (e->job) {
            job_stop(e->job);
        } else if (e->state == WAITING) {
            hand_back(e);
            entry_free(e);
        }
    }
    work_soon(w);
}

void worker_free(struct worker **wp)
{
    struct worker *w = *wp;
    struct entry *e;

    *wp = NULL;
    if (!w)
        return;
    while ((e = TAILQ_FIRST(&w->entries)))
        entry_free(e);
    store_forget(w->m->store, w);
    loop_undefer(w->m->loop, &w->task);
    timer_free(&w->tick);
    timer_free(&w->due);
    events_free(&w->events);
    redis_free(&w->redis);
    for (size_t i = 0; i < N_STREAMS; i++)
        free(w->keys[i]);
    free(w);
}
