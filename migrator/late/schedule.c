#include <stdlib.h>

#include "lib/account.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/xalloc.h"

#include "errand.h"
#include "fold.h"
#include "late.h"
#include "schedule.h"

enum { TICK_MS = 1000, TICK_MIN_MS = 50, RETRY_MS = 1000, ASIDE_MS = 60000 };
enum look_state { CLAIM, LOOK, FOLD, DROP, DONE };

/* One account whose time has come. */
struct look {
    TAILQ_ENTRY(look) link;
    struct schedule *schedule;
    enum look_state state;
    struct move move;
    struct late *late;
    struct fold *fold;
    struct timer *retry, *keep;
    struct loop_task end_task;
    bool keeping;
    uint64_t sent_ms;       /* claim or renewal without an answer yet */
    uint64_t since_flip_ms; /* at the claim */
    uint64_t claimed_ms;
    uint64_t found, delay_ms;
    bool over, was_flipped;
    bool saw_all;        /* the look was not blind in anything */
    bool move_begun;     /* another move, which was given up for now and may go on */
    struct record *next; /* DROP */
};

struct schedule {
    struct migrator *m;
    struct timer *tick;
    TAILQ_HEAD(, look) looks;
    size_t n;
    bool asking, more;     /* more: the last list was full, so others wait */
    struct loop_task task; /* the next one, when one has ended */
};

static void schedule_run(struct look *k);

/* ---- the end of a look */

static void schedule_stop(struct look *k)
{
    late_cancel(&k->late);
    fold_cancel(&k->fold);
    store_forget(k->schedule->m->store, k);
    if (k->move.records)
        records_forget(k->move.records, k);
    timer_stop(k->retry);
    timer_stop(k->keep);
}

static void schedule_look_free(struct look *k)
{
    struct schedule *s = k->schedule;

    schedule_stop(k);
    loop_undefer(s->m->loop, &k->end_task);
    TAILQ_REMOVE(&s->looks, k, link);
    s->n--;
    if (s->more)
        loop_defer(s->m->loop, &s->task);
    timer_free(&k->retry);
    timer_free(&k->keep);
    crew_free(&k->move.crew);
    records_free(&k->move.records);
    free(k->move.user);
    free(k->move.login);
    free(k->move.source_name);
    free(k->move.target_name);
    free(k);
}

static void schedule_end_now(struct loop_task *task)
{
    schedule_look_free(CONTAINER_OF(task, struct look, end_task));
}

static void schedule_end(struct look *k)
{
    if (k->end_task.queued)
        return;
    schedule_stop(k);
    loop_defer(k->schedule->m->loop, &k->end_task);
}

static void schedule_enter(struct look *k, enum look_state state)
{
    k->state = state;
    schedule_run(k);
}

static void schedule_on_retry(void *owner)
{
    schedule_run(owner);
}

static void on_aside(void *owner, enum route_rc rc, const char *detail)
{
    (void)rc;
    (void)detail;
    schedule_end(owner);
}

static void set_aside(struct look *k)
{
    struct store *store = k->schedule->m->store;

    LOG(ERROR, "late_broken", LOG_S("user", k->move.user), LOG_S("why", store_why(store)));
    schedule_stop(k);
    route_late_aside(store, k->move.user, ASIDE_MS, on_aside, k);
}

/* True: dealt with. */
static bool schedule_bad_answer(struct look *k, enum route_rc rc)
{
    if (rc == ROUTE_OK)
        return false;
    if (rc == ROUTE_DOWN && store_refuses(k->schedule->m->store))
        set_aside(k);
    else if (rc == ROUTE_DOWN || rc == ROUTE_NO_STORE)
        timer_start(k->retry, RETRY_MS);
    else
        schedule_end(k);
    return true;
}

/* ---- how long it is ours */

static uint64_t schedule_lease(const struct look *k)
{
    return k->schedule->m->conf->migrator.job_lease_ms;
}

static void hold_until(struct look *k)
{
    k->move.until_ms = k->sent_ms + schedule_lease(k) * HELD_TENTHS / 10;
}

static void schedule_on_kept(void *owner, enum route_rc rc, const char *detail)
{
    struct look *k = owner;

    (void)detail;
    k->keeping = false;
    if (rc == ROUTE_LOST || clock_boot_ms() >= k->move.until_ms)
        schedule_end(k);
    else if (rc == ROUTE_OK)
        hold_until(k);
}

static void on_keep(void *owner)
{
    struct look *k = owner;

    timer_start(k->keep, schedule_lease(k) / 6);
    if (clock_boot_ms() >= k->move.until_ms) {
        schedule_end(k);
    } else if (!k->keeping) {
        k->keeping = true;
        k->sent_ms = clock_boot_ms();
        route_late_keep(k->schedule->m->store, &k->move.job, schedule_lease(k), schedule_on_kept, k);
    }
}

/* ---- CLAIM */

static void schedule_take_route(struct look *k, const struct route *r)
{
    struct move *v = &k->move;
    const struct conf *c = k->schedule->m->conf;

    v->job.epoch = r->epoch;
    const char *left = *r->left ? r->left : r->source;
    v->source_name = xstrdup(left);
    v->target_name = xstrdup(r->backend);
    v->source = conf_backend(c, left);
    v->target = conf_backend(c, r->backend);
    v->back = !strcmp(r->backend, *r->home ? r->home : conf_pair_of(c, v->user).source);
    /* by force; or the next move was begun */
    v->from_first = *r->forced || strcmp(r->target, r->backend) != 0;
    v->bare = !strcmp(r->forced, "bare");
    v->doubted = (r->doubted || r->touching > 0) && k->schedule->m->conf->migration.late_watch_ms > 0;
    v->login = account_login(v->user);
    k->claimed_ms = clock_boot_ms();
    k->was_flipped = r->state == ROUTE_FLIPPED;
    k->move_begun = r->state == ROUTE_BACKOFF || r->state == ROUTE_BLOCKED;
    k->since_flip_ms = r->now_ms > r->flipped_ms ? r->now_ms - r->flipped_ms : 0;
}

static void schedule_on_claimed(void *owner, enum route_rc rc, const struct route *r)
{
    struct look *k = owner;

    if (rc == ROUTE_PAUSED)
        k->schedule->more = false; /* the next tick asks again, not the end of this one */
    if (schedule_bad_answer(k, rc))
        return;
    schedule_take_route(k, r);
    hold_until(k);
    timer_start(k->keep, schedule_lease(k) / 6);
    if (!k->move.source || !k->move.target || !k->move.login)
        schedule_enter(k, DONE);
    else
        schedule_enter(k, k->move.source->retired                         ? DROP
                          : k->schedule->m->conf->migration.late_watch_ms ? LOOK
                                                                          : FOLD);
}

/* ---- LOOK */

static void note_delay(struct look *k)
{
    const struct conf *c = k->schedule->m->conf;

    k->delay_ms = schedule_next_ms(c->migration.late_watch_ms,
                                   k->since_flip_ms + clock_boot_ms() - k->claimed_ms, &k->over);
}

static void on_late(void *owner, const struct late_result *r)
{
    struct look *k = owner;

    k->late = NULL;
    k->found = r->found;
    k->saw_all = r->rc == LATE_DONE;
    k->move.doubted = k->move.doubted && !k->saw_all;
    if (r->rc == LATE_LOST) {
        schedule_end(k);
        return;
    }
    metric_add(METRIC_LATE_LOOKS, 1,
               r->rc == LATE_BLIND ? "failed"
               : r->found > 0      ? "copied"
                                   : "nothing",
               NULL);
    metric_add(METRIC_LATE_ARRIVALS, r->found, NULL, NULL);
    if (r->rc == LATE_BLIND)
        LOG(WARN, "late_blind", LOG_S("user", k->move.user), LOG_S("why", r->detail));
    LOG(DEBUG, "late_look", LOG_S("user", k->move.user), LOG_U("found", r->found),
        LOG_U("since_flip_ms", k->since_flip_ms));
    note_delay(k);
    schedule_enter(k, k->over && !k->move_begun ? FOLD : DONE);
}

/* ---- FOLD: the set time is over, what is left of the ledgers is which message became which */

static void schedule_on_folded(void *owner, enum route_rc rc)
{
    struct look *k = owner;

    k->fold = NULL;
    if (!schedule_bad_answer(k, rc))
        schedule_enter(k, DONE);
}

static void start_fold(struct look *k)
{
    if (k->move.records)
        records_forget(k->move.records, k);
    records_free(&k->move.records);
    k->fold = fold_start(&k->move, schedule_on_folded, k);
}

/* ---- DROP: the backend is retired */

static void schedule_on_dropped(void *owner, enum route_rc rc, const char *detail)
{
    struct look *k = owner;

    (void)detail;
    if (!schedule_bad_answer(k, rc))
        schedule_run(k);
}

static void schedule_on_records(void *owner, enum route_rc rc)
{
    struct look *k = owner;

    if (schedule_bad_answer(k, rc))
        return;
    k->next = records_first(k->move.records);
    schedule_run(k);
}

static void drop_ledgers(struct look *k)
{
    struct migrator *m = k->schedule->m;

    if (!k->move.records) {
        k->move.records = records_new(m->store, &k->move.job, k->move.back,
                                      stamp_terms(k->move.source_name, k->move.target_name));
        records_read(k->move.records, schedule_on_records, k);
    } else if (k->next) {
        struct record *r = k->next;
        k->next = r->hh.next;
        route_ledger_drop(m->store, &k->move.job, r->view.id, schedule_on_dropped, k);
    } else {
        LOG(INFO, "late_retired", LOG_S("user", k->move.user), LOG_S("backend", k->move.source_name));
        schedule_enter(k, DONE);
    }
}

/* ---- DONE */

static void schedule_settled(struct look *k)
{
    struct migrator *m = k->schedule->m;

    LOG(INFO, "settled", LOG_S("user", k->move.user), LOG_S("backend", k->move.target_name));
    errands_run(m->errands, &(struct errand_call){.event = "settle",
                                                  .user = k->move.user,
                                                  .source = k->move.source_name,
                                                  .target = k->move.target_name,
                                                  .token = k->move.token,
                                                  .epoch = k->move.job.epoch});
}

static void schedule_on_done(void *owner, enum route_rc rc, const char *detail)
{
    struct look *k = owner;

    if (schedule_bad_answer(k, rc))
        return;
    if (k->was_flipped && !strcmp(detail, "settled"))
        schedule_settled(k);
    schedule_end(k);
}

static void send_done(struct look *k)
{
    bool never = k->schedule->m->conf->migration.late_watch_ms == 0; /* another look */
    bool retired = k->move.source && k->move.source->retired;

    if (!k->over)
        note_delay(k);
    k->over = k->over || retired;
    route_late_done(k->schedule->m->store, &k->move.job, retired || never ? 0 : k->delay_ms, k->over,
                    k->found, errand_lease_ms(k->schedule->m, "settle"), k->saw_all, schedule_on_done, k);
}

static void schedule_run(struct look *k)
{
    struct migrator *m = k->schedule->m;

    switch (k->state) {
    case CLAIM:
        k->sent_ms = clock_boot_ms();
        route_late_claim(m->store, k->move.user, k->move.token, schedule_lease(k), schedule_on_claimed, k);
        break;
    case LOOK:
        (void)backends_try(m->backends, k->move.source, k->move.target);
        k->late = late_start(&k->move, on_late, k);
        break;
    case FOLD:
        start_fold(k);
        break;
    case DROP:
        drop_ledgers(k);
        break;
    case DONE:
        send_done(k);
        break;
    }
}

static void schedule_start_look(struct schedule *s, struct span user)
{
    struct look *k = xcalloc(1, sizeof(*k));

    k->schedule = s;
    k->end_task.fn = schedule_end_now;
    k->retry = timer_new(s->m->loop, schedule_on_retry, k);
    k->keep = timer_new(s->m->loop, on_keep, k);
    k->move.m = s->m;
    k->move.user = xspandup(user);
    random_hex(k->move.token, 16);
    k->move.job = (struct route_job){.user = k->move.user, .token = k->move.token};
    TAILQ_INSERT_TAIL(&s->looks, k, link);
    s->n++;
    schedule_run(k);
}

/* ---- whose time has come */

static bool is_looked_at(const struct schedule *s, struct span user)
{
    const struct look *k;

    TAILQ_FOREACH(k, &s->looks, link)
    if (span_is(user, k->move.user))
        return true;
    return false;
}

/* Where no backend takes us each look would fail alike: one is the trial, since there may be no job that
 * is. */
static uint32_t schedule_places(const struct schedule *s)
{
    uint64_t ms;

    return !backends_all_rest(s->m->backends, &ms) ? s->m->conf->migrator.late_looks : ms == 0;
}

/* Those that are claimed are not in the list any more, so what is new in it fits; the rest of it is a claim
 * that is under way here, or that another migrator has won. */
static uint32_t list_size(const struct schedule *s)
{
    return schedule_places(s);
}

static void schedule_on_list(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct schedule *s = owner;

    s->asking = false;
    if (rc != ROUTE_OK)
        return;
    s->more = n >= list_size(s);
    for (size_t i = 0; i < n && s->n < schedule_places(s); i++)
        if (!is_looked_at(s, rows[i]))
            schedule_start_look(s, rows[i]);
}

static void schedule_ask(struct schedule *s)
{
    if (s->asking || s->n >= schedule_places(s) || store_state(s->m->store) != STORE_UP)
        return;
    s->asking = true;
    route_late_list(s->m->store, list_size(s), schedule_on_list, s);
}

static void on_place(struct loop_task *task)
{
    schedule_ask(CONTAINER_OF(task, struct schedule, task));
}

/* Fine enough for the shortest set time that is configured. */
static uint64_t tick_ms(const struct schedule *s)
{
    uint64_t ms = schedule_first_ms(s->m->conf) / 2;

    return ms < TICK_MIN_MS ? TICK_MIN_MS : ms > TICK_MS ? TICK_MS : ms;
}

static void schedule_on_tick(void *owner)
{
    struct schedule *s = owner;

    timer_start(s->tick, tick_ms(s));
    schedule_ask(s);
}

struct schedule *schedule_new(struct migrator *m)
{
    struct schedule *s = xcalloc(1, sizeof(*s));

    s->m = m;
    TAILQ_INIT(&s->looks);
    s->task.fn = on_place;
    s->tick = timer_new(m->loop, schedule_on_tick, s);
    schedule_on_tick(s);
    return s;
}

void schedule_free(struct schedule **sp)
{
    struct schedule *s = *sp;
    struct look *k;

    *sp = NULL;
    if (!s)
        return;
    while ((k = TAILQ_FIRST(&s->looks)))
        schedule_look_free(k);
    loop_undefer(s->m->loop, &s->task);
    store_forget(s->m->store, s);
    timer_free(&s->tick);
    free(s);
}
