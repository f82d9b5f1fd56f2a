#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/account.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/registry.h"
#include "lib/route_sharing.h"
#include "lib/xalloc.h"

#include "cutover.h"
#include "job.h"
#include "migrator/account/baggage.h"
#include "migrator/account/provision.h"
#include "migrator/account/signin.h"
#include "migrator/account/tiers.h"
#include "migrator/late/errand.h"
#include "migrator/site/hook.h"
#include "pass.h"
#include "policy.h"

enum {
    RETRY_MS = 500,      /* a call without an answer is repeated after it */
    REFUSALS_MAX = 3,    /* of the store, by store_refuses() */
    ASK_AGAIN_MS = 1000, /* between looks whether a pause or quarantine is over */
    PASSES_MAX = 5,
    TURN_MAX_MS = 5000,            /* between looks whether it is its turn */
    KICK_MS = 60 * 1000,           /* hook_kick */
    STALE_MS = 10000,              /* after a watch that took longer, one more pass goes before the freeze */
    PROXY_LOOK_MS = 1000,          /* between looks whether a silent proxy is waited for */
    IDLE_PASS_MS = 30 * 60 * 1000, /* an account that is always in use gets a pass so often */
    THAWS_MAX = 3,    /* with others of its group, one after the other, before it waits for longer */
    DIFFERS_MAX = 3,  /* attempts after which a difference is a person's */
    REASON_MAX = 700, /* bytes */
};

enum job_state {
    CLAIM,
    MEMBERS,
    SIGN_IN,
    PROVISION,
    RECORDS_READ,
    COPY,
    READY,
    POLICY,
    GATHER,
    WATCH,
    TURN,
    QUIET,
    RECOPY,
    CUTOVER,
    REST,
    SETTLE,
    GIVE_UP
};

static const char *const state_names[] = {"claim",  "members", "sign_in", "provision", "records", "copy",
                                          "ready",  "policy",  "gather",  "watch",     "turn",    "quiet",
                                          "recopy", "cutover", "rest",    "settle",    "give_up"};

struct job {
    struct migrator *m;
    job_fn fn;
    void *owner;
    struct move move;
    struct route_entry entry; /* its user is move's; its id is owned */
    const char *group;        /* borrowed */
    enum job_state state;
    struct timer *retry;
    struct signin *signin;
    struct credential credential; /* for PROVISION; owned */
    struct provision *provision;
    struct pass *pass;
    struct watch *watch;
    struct cutover_run *cutover;
    struct hook *kick;
    /* in this SETTLE; DONE: no command is under way any more */
    enum { KICK_DUE, KICK_TRIED, KICK_DONE } kicking;
    unsigned passes;  /* in this COPY */
    unsigned thaws;   /* with others of its group */
    bool whole;       /* the last pass compared every mailbox that this job had not */
    bool repeated;    /* what can't be copied was looked at twice */
    size_t mailboxes; /* of the last pass */
    uint64_t messages, began_ms, copied_ms;
    bool spread;  /* has waited for its random time */
    bool watched; /* long enough; a fresh pass was made since */
    bool idle;    /* cutover = idle: nobody used the account when it was asked last */
    bool stopping, suspect;
    unsigned refusals; /* of the store, one after the other */
    enum why why;
    char *reason; /* owned; of GIVE_UP */
    char *said;   /* owned; why it waits, as the route has it; NULL: nothing was said */
    enum job_how how;
    const char *result; /* of METRIC_JOBS, for JOB_DONE; NULL: it was somebody else's already */
    struct loop_task end_task;
};

static void job_run(struct job *j);
static void job_lost(void *owner);
static void on_cutover(void *owner, const struct cutover_result *r);

/* ---- the end */

static void stop_work(struct job *j)
{
    signin_cancel(&j->signin);
    credential_wipe(&j->credential);
    provision_cancel(&j->provision);
    pass_cancel(&j->pass);
    watch_free(&j->watch);
    cutover_free(&j->cutover);
    hook_cancel(&j->kick);
    store_forget(j->m->store, j);
    if (j->move.records)
        records_forget(j->move.records, j);
    timer_stop(j->retry);
}

void job_free(struct job **jp)
{
    struct job *j = *jp;

    *jp = NULL;
    if (!j)
        return;
    stop_work(j);
    metric_change(METRIC_JOBS_RUNNING, -1, state_names[j->state], NULL);
    loop_undefer(j->m->loop, &j->end_task);
    timer_free(&j->retry);
    tiers_free(&j->move.tiers);
    crew_free(&j->move.crew);
    progress_free(&j->move.progress);
    baggage_free(&j->move.baggage);
    records_free(&j->move.records);
    free((char *)(uintptr_t)j->entry.id);
    free(j->move.user);
    free(j->move.login);
    free(j->move.failed);
    free(j->move.group);
    shares_group_free(&j->move.members);
    free(j->move.source_name);
    free(j->move.target_name);
    free(j->reason);
    free(j->said);
    free(j);
    xtrim(); /* lists of half a million messages, perhaps */
}

static void job_count_end(const struct job *j)
{
    static const char *const words[] = {
        [JOB_LOST] = "lost", [JOB_STOPPED] = "stopped", [JOB_LATER] = "later"};

    metric_add(METRIC_JOBS, 1, j->how != JOB_DONE ? words[j->how] : j->result ? j->result : "lost", NULL);
}

static void job_end_now(struct loop_task *task)
{
    struct job *j = CONTAINER_OF(task, struct job, end_task);
    job_fn fn = j->fn;
    void *owner = j->owner;
    enum job_how how = j->how;

    job_count_end(j);
    job_free(&j);
    fn(owner, how);
}

static void job_end(struct job *j, enum job_how how)
{
    if (j->end_task.queued)
        return;
    j->how = how;
    stop_work(j);
    loop_defer(j->m->loop, &j->end_task);
}

static void job_lost(void *owner)
{
    struct job *j = owner;

    if (j->end_task.queued)
        return;
    LOG(INFO, "job_lost", LOG_S("user", j->move.user), LOG_U("epoch", j->move.job.epoch),
        LOG_S("while", state_names[j->state]));
    job_end(j, JOB_LOST);
}

/* ---- between states */

static void job_place(struct job *j, enum job_state state)
{
    metric_change(METRIC_JOBS_RUNNING, -1, state_names[j->state], NULL);
    metric_change(METRIC_JOBS_RUNNING, 1, state_names[state], NULL);
    j->state = state;
}

static void job_enter(struct job *j, enum job_state state)
{
    if (j->end_task.queued)
        return;
    LOG(DEBUG, "job", LOG_S("user", j->move.user), LOG_S("from", state_names[j->state]),
        LOG_S("to", state_names[state]));
    job_place(j, state);
    timer_stop(j->retry);
    job_run(j);
}

static void job_give_up(struct job *j, enum why why, const char *detail)
{
    struct buf text = {0};

    if (j->stopping) {
        job_end(j, JOB_STOPPED);
        return;
    }
    size_t len = strnlen(detail, REASON_MAX);
    while (len > 0 && ((uint8_t)detail[len] & 0xc0) == 0x80) /* not inside a character */
        len--;
    buf_printf(&text, "%s: %.*s", why_word(why), (int)len, detail);
    free(j->reason);
    j->reason = xstrdup(buf_str(&text));
    j->why = why;
    buf_free(&text);
    job_enter(j, GIVE_UP);
}

static void job_on_said(void *owner, enum route_rc rc, const char *detail)
{
    (void)detail;
    if (rc == ROUTE_LOST)
        job_lost(owner);
}

/* The state that was entered has cleared it. */
static void said_nothing(struct job *j)
{
    free(j->said);
    j->said = NULL;
}

/* For staff: what the account waits for at this moment; "" = nothing any more. Nobody waits for the answer,
 * and one that is lost is made up for by the next thing to say, or by the next state. */
static void job_say(struct job *j, const char *reason)
{
    if (!strcmp(reason, j->said ? j->said : ""))
        return;
    free(j->said);
    j->said = xstrdup(reason);
    route_why(j->m->store, &j->move.job, reason, job_on_said, j);
}

/* Its records are none that anybody wrote. It goes with that reason, if that can be written; else it is left
 * as it is, and whoever finds it there comes as far: meanwhile it is in nobody's way. */
static void job_refused_by_store(struct job *j)
{
    LOG(ERROR, "job_broken", LOG_S("user", j->move.user), LOG_S("while", state_names[j->state]),
        LOG_S("why", store_why(j->m->store)));
    j->refusals = 0;
    if (j->state == CLAIM || j->state == GIVE_UP)
        job_end(j, JOB_LOST);
    else
        job_give_up(j, WHY_STORE, store_why(j->m->store));
}

/* The answers that mean the same to every call. True: dealt with. */
static bool job_common_answer(struct job *j, enum route_rc rc, const char *detail)
{
    switch (rc) {
    case ROUTE_OK:
        j->refusals = 0;
        return false;
    case ROUTE_LOST:
        job_lost(j);
        return true;
    case ROUTE_REFUSED:
        LOG(WARN, "job_refused", LOG_S("user", j->move.user), LOG_S("while", state_names[j->state]),
            LOG_S("state", detail));
        job_end(j, JOB_STOPPED); /* it may still be ours, and nobody has died of it */
        return true;
    default: /* no answer, or not now */
        if (rc == ROUTE_DOWN && store_refuses(j->m->store) && ++j->refusals > REFUSALS_MAX)
            job_refused_by_store(j);
        else
            timer_start(j->retry, RETRY_MS);
        return true;
    }
}

static void job_on_retry(void *owner)
{
    job_run(owner);
}

/* ---- CLAIM */

static const char *job_take_route(struct job *j, const struct route *r)
{
    struct move *v = &j->move;

    v->job.epoch = r->epoch;
    v->engaged = r->engaged;
    v->generation = r->generation;
    v->attempts = r->attempts;
    v->failed = xstrdup(r->failed);
    v->claimed_ms = clock_boot_ms();
    v->touch_ms = r->touching > 0 ? r->touch_ms : 0;
    v->calm = r->touching == 0;
    v->force = r->force;
    v->now = r->now;
    v->group = xstrdup(r->group);
    v->called = !strcmp(r->gather, "go");
    j->suspect = *r->died != '\0';
    v->source_name = xstrdup(r->source);
    v->target_name = xstrdup(r->target);
    v->back = !strcmp(r->target, *r->home ? r->home : conf_pair_of(j->m->conf, v->user).source);
    v->viewed = r->view && *r->view;
    v->source = conf_backend(j->m->conf, r->source);
    v->target = conf_backend(j->m->conf, r->target);
    v->provisions = v->target && provision_is_due(v->target, r);
    v->login = account_login(v->user);
    v->progress = progress_new(j->m->store, &v->job, job_lost, j);
    if (!v->login)
        return "the account has a name that no login name leads to";
    if (!v->source || !v->target)
        return "the configuration of this migrator lacks one of the backends";
    return NULL;
}

/* Where a backend refuses everybody (refusal.h), one account at a time is the trial. */
static void begin_work(struct job *j)
{
    struct backends *b = j->m->backends;

    if (backends_try(b, j->move.source, j->move.target) == 0) {
        job_enter(j, SIGN_IN);
        return;
    }
    struct buf why = {0};
    backends_write_rests(b, &why);
    job_give_up(j, backends_why(b, j->move.source, j->move.target), buf_str(&why));
    buf_free(&why);
}

static bool job_in_group(const struct job *j)
{
    return j->move.group && *j->move.group;
}

static void job_on_claimed(void *owner, enum route_rc rc, const struct route *r)
{
    struct job *j = owner;

    if (rc == ROUTE_REFUSED || rc == ROUTE_PAUSED || rc == ROUTE_QUARANTINE) {
        job_end(j, rc == ROUTE_REFUSED ? JOB_DONE : JOB_LATER);
        return;
    }
    if (job_common_answer(j, rc, ""))
        return;
    const char *fault = job_take_route(j, r);
    LOG(INFO, "job_claimed", LOG_S("user", j->move.user), LOG_U("epoch", r->epoch),
        LOG_S("state", route_state_name(r->state)), LOG_S("source", r->source), LOG_S("target", r->target),
        LOG_U("attempts", r->attempts), LOG_S("died_with", r->died));
    if (r->state == ROUTE_FLIPPING) {
        job_place(j, CUTOVER);
        j->cutover = cutover_resume(&j->move, r, on_cutover, j);
    } else if (fault) {
        job_give_up(j, WHY_INTERNAL, fault);
    } else if (j->move.force) {
        job_enter(j, READY);
    } else if (job_in_group(j)) {
        job_enter(j, MEMBERS);
    } else {
        begin_work(j);
    }
}

/* ---- MEMBERS: with whom it may share */

static void job_on_members(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct job *j = owner;

    if (job_common_answer(j, rc, ""))
        return;
    shares_group_fill(&j->move.members, rows, n);
    begin_work(j);
}

/* ---- SIGN_IN, PROVISION, RECORDS */

/* With other rules about messages, what was equal need not be. */
static uint64_t terms_of(const struct job *j)
{
    const struct conf_list *rules = &j->m->conf->migration.leave_out;
    uint64_t terms = stamp_terms(j->move.source_name, j->move.target_name);

    terms = stamp_terms_and(terms, verify_word(j->m->conf->migration.verify));
    for (size_t i = 0; i < rules->n; i++)
        terms = stamp_terms_and(terms, rules->items[i]);
    return terms;
}

static void job_on_signin(void *owner, enum signin_rc rc, const struct credential *credential,
                          const char *why)
{
    struct job *j = owner;

    j->signin = NULL;
    if (rc == SIGNIN_DOWN) {
        timer_start(j->retry, RETRY_MS);
        return;
    }
    if (rc == SIGNIN_NONE) {
        job_give_up(j, WHY_CREDENTIALS, why);
        return;
    }
    j->move.crew = crew_new(&(struct crew_request){
        .m = j->m,
        .user = j->move.user,
        .login = j->move.login,
        .credential = signin_is_by_masters(&j->move) ? NULL : credential,
        .source = j->move.source,
        .target = j->move.target,
        .provisioned = j->move.provisions,
        .until_ms = &j->move.until_ms,
    });
    j->move.records = records_new(j->m->store, &j->move.job, j->move.back, terms_of(j));
    if (j->move.provisions && credential)
        credential_copy(&j->credential, credential);
    job_enter(j, j->move.provisions ? PROVISION : RECORDS_READ);
}

static void job_on_provision(void *owner, enum provision_rc rc, const char *why)
{
    struct job *j = owner;

    j->provision = NULL;
    if (rc == PROVISION_DONE)
        job_enter(j, RECORDS_READ);
    else
        job_give_up(j, rc == PROVISION_WANTS_LOGIN ? WHY_CREDENTIALS : WHY_PROVISION, why);
}

static void job_start_provision(struct job *j)
{
    struct credential *c = &j->credential;

    j->provision = provision_start(&j->move, c->mechanism ? c : NULL, job_on_provision, j);
    credential_wipe(c);
}

static void job_on_records(void *owner, enum route_rc rc)
{
    struct job *j = owner;

    if (!job_common_answer(j, rc, ""))
        job_enter(j, COPY);
}

/* ---- COPY */

/* Or does the account stay ready until staff say otherwise? */
static bool may_cut_over(const struct job *j)
{
    uint64_t ms;

    return j->move.now || j->move.force || j->move.called || j->idle ||
           policy_ask(&j->m->conf->migration, time(NULL), &ms) == POLICY_GO;
}

/* A mailbox may have gone since it was listed: before that is a person's business, it is looked at twice. */
static bool worth_a_second_look(struct job *j, enum why why)
{
    if (why != WHY_CANNOT || j->repeated)
        return false;
    j->repeated = true;
    return true;
}

static void log_pass(const struct job *j, const struct pass_result *r)
{
    LOG(INFO, "pass", LOG_S("user", j->move.user), LOG_U("number", j->passes),
        LOG_S("result", r->rc == PASS_EQUAL ? "equal" : why_word(r->why)), LOG_S("detail", r->detail),
        LOG_U("mailboxes", r->mailboxes), LOG_U("opened", r->opened),
        LOG_U("messages", r->counts.messages_total), LOG_U("bytes", r->counts.bytes_total),
        LOG_U("appended", r->counts.appended), LOG_U("stored", r->counts.stored),
        LOG_U("expunged", r->counts.expunged), LOG_U("pending", r->pending), LOG_U("took_ms", r->took_ms));
}

/* The first pass copies what was there; what a later one finds came while the one before ran. */
static void say_changing(struct job *j, uint64_t changes, uint64_t took_ms)
{
    char *text = xasprintf("%s: pass %u of %d found %" PRIu64
                           " changes, made while the one before it ran, and took %" PRIu64
                           " s: it changes about as fast as it is copied",
                           why_word(WHY_CHANGING), j->passes, PASSES_MAX, changes, (took_ms + 999) / 1000);

    LOG(INFO, "job_changing", LOG_S("user", j->move.user), LOG_U("pass", j->passes),
        LOG_U("changes", changes), LOG_U("took_ms", took_ms));
    job_say(j, text);
    free(text);
}

/* What came while it ran is no more than can be brought over in about the time that it took, and that is done behind the
 * sign-ins, while the user works (cutover.h): a pass before that would mostly find nothing. */
static bool was_short(const struct job *j, const struct pass_result *r)
{
    return r->pending == 0 && r->took_ms <= j->m->conf->migration.freeze_budget_ms / 2;
}

static void job_on_pass(void *owner, const struct pass_result *r)
{
    struct job *j = owner;
    uint64_t changes = r->counts.appended + r->counts.stored + r->counts.expunged;

    j->pass = NULL;
    j->passes++;
    if (r->rc == PASS_LOST) {
        job_lost(j);
        return;
    }
    log_pass(j, r);
    if (r->rc == PASS_FAILED) {
        if (worth_a_second_look(j, r->why))
            job_run(j);
        else
            job_give_up(j, r->why, r->detail);
        return;
    }
    j->whole = r->whole;
    j->mailboxes = r->mailboxes;
    j->messages = r->counts.messages_total;
    if (was_short(j, r) || j->passes >= PASSES_MAX) {
        job_enter(j, READY);
        return;
    }
    if (j->passes > 1 && changes > PASS_SMALL_CHANGES)
        say_changing(j, changes, r->took_ms);
    job_run(j);
}

/* ---- READY, POLICY */

static void job_on_ready(void *owner, enum route_rc rc, const char *detail)
{
    struct job *j = owner;

    if (job_common_answer(j, rc, detail))
        return;
    j->copied_ms = clock_boot_ms();
    said_nothing(j);
    j->suspect = *detail && strcmp(detail, "0") != 0;
    LOG(INFO, "job_ready", LOG_S("user", j->move.user), LOG_U("mailboxes", j->mailboxes),
        LOG_U("messages", j->messages), LOG_U("took_ms", j->copied_ms - j->began_ms));
    if (!may_cut_over(j))
        job_enter(j, POLICY);
    else if (!j->move.force && !j->whole) /* staff said so in the meantime */
        job_enter(j, RECOPY);
    else if (job_in_group(j))
        job_enter(j, GATHER);
    else
        job_enter(j, j->watched ? TURN : WATCH);
}

/* Only while nobody uses the account, or any other of its group. */
static bool job_only_idle(const struct job *j)
{
    return j->m->conf->migration.cutover == CUTOVER_IDLE && !j->move.now && !j->move.force;
}

/* ---- GATHER: are all of its group copied? */

static void on_gathered(void *owner, enum route_rc rc, const char *detail)
{
    struct job *j = owner;

    if (rc == ROUTE_PAUSED || rc == ROUTE_QUARANTINE) {
        timer_start(j->retry, ASK_AGAIN_MS);
    } else if (rc == ROUTE_AGAIN) {
        j->move.called = true;
        if (!strcmp(detail, "alone"))
            *j->move.group = '\0';
        job_enter(j, j->watched ? TURN : WATCH);
    } else if (!job_common_answer(j, rc, detail)) {
        LOG(INFO, "job_waits", LOG_S("user", j->move.user), LOG_S("for", "group"),
            LOG_S("group", j->move.group));
        j->result = "waits";
        job_end(j, JOB_DONE);
    }
}

static uint64_t job_jitter(const struct job *j)
{
    uint64_t max = j->m->conf->migration.freeze_jitter_ms;

    return max ? random_u64() % (max + 1) : 0;
}

/* It is queued again when its time has come. */
static void on_waiting(void *owner, enum route_rc rc, const char *detail)
{
    struct job *j = owner;

    if (rc == ROUTE_AGAIN) {
        j->move.now = j->move.now || !strcmp(detail, "now");
        j->idle = true;
        job_enter(j, j->state == QUIET ? CUTOVER : RECOPY);
    } else if (!job_common_answer(j, rc, detail)) {
        j->result = "waits";
        job_end(j, JOB_DONE);
    }
}

static void wait_until_idle(struct job *j)
{
    struct buf reason = {0};

    buf_printf(&reason, "idle: waits until no session of the account has had a command for %" PRIu64 " s",
               (j->m->conf->migration.idle_time_ms + 999) / 1000);
    route_wait(j->m->store, &j->move.job, buf_str(&reason), IDLE_PASS_MS, true, on_waiting, j);
    buf_free(&reason);
}

static void ask_policy(struct job *j)
{
    uint64_t ms;

    switch (policy_ask(&j->m->conf->migration, time(NULL), &ms)) {
    case POLICY_GO: /* by now */
        job_enter(j, RECOPY);
        break;
    case POLICY_WAIT:
        LOG(INFO, "job_waits", LOG_S("user", j->move.user), LOG_S("for", "window"), LOG_U("ms", ms));
        route_wait(j->m->store, &j->move.job,
                   "window: waits for the time at which accounts are switched over", ms ? ms : 1, false,
                   on_waiting, j);
        break;
    case POLICY_IDLE:
        wait_until_idle(j);
        break;
    case POLICY_STAFF: /* whoever says now from here on finds the account ready and queues it again */
        route_wait(j->m->store, &j->move.job, "", 0, false, on_waiting, j);
        break;
    }
}

/* ---- TURN */

static void job_on_turn(void *owner, enum route_rc rc, const char *detail)
{
    struct job *j = owner;
    uint64_t ms;

    if (rc == ROUTE_LATE && span_u64(span_str(detail), UINT64_MAX, &ms)) {
        timer_start(j->retry, ms < TURN_MAX_MS ? ms : TURN_MAX_MS);
        return;
    }
    if (job_common_answer(j, rc, detail))
        return;
    bool idle_only = job_only_idle(j) && !job_in_group(j); /* of a group the gate asks */
    if (!j->move.force && clock_boot_ms() - j->copied_ms > STALE_MS)
        job_enter(j, RECOPY);
    else
        job_enter(j, idle_only ? QUIET : CUTOVER);
}

/* Not all at once, and not more than are allowed; what staff want now is not held up. */
static void ask_for_turn(struct job *j)
{
    const struct conf_migration *m = &j->m->conf->migration;
    bool spread = !j->spread && !j->move.now && !j->move.force && m->freeze_jitter_ms > 0;

    j->spread = true;
    if (spread)
        timer_start(j->retry, job_jitter(j));
    else if (m->max_flips_per_minute > 0 && !j->move.now && !j->move.force)
        route_turn(j->m->store, j->move.user, conf_store_part(j->m->conf, m->max_flips_per_minute),
                   job_on_turn, j);
    else
        job_on_turn(j, ROUTE_OK, "");
}

/* ---- WATCH, REST, RECOPY */

static void on_watch(void *owner, enum watch_event ev, const char *incarnation)
{
    struct job *j = owner;

    switch (ev) {
    case WATCH_SILENT:
        LOG(WARN, "proxy_silent", LOG_S("user", j->move.user), LOG_S("proxy", incarnation));
        break;
    case WATCH_FAILED:
        watch_free(&j->watch);
        timer_start(j->retry, RETRY_MS);
        break;
    case WATCH_CLEAR:
        watch_free(&j->watch);
        j->watched = true;
        job_say(j, "");
        job_enter(j, TURN);
        break;
    }
}

static void time_after(uint64_t ms, char to[40])
{
    time_t s = (time_t)((clock_wall_ms() + ms) / 1000);
    struct tm tm;

    gmtime_r(&s, &tm);
    strftime(to, 40, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* A proxy that crashed may hold the account up for the whole of its long lease. */
static void say_whom_it_waits_for(struct job *j)
{
    uint64_t ms;
    const char *where, *proxy = watch_waits_for(j->watch, &where, &ms);
    char at[40];

    timer_start(j->retry, PROXY_LOOK_MS);
    if (!proxy) {
        job_say(j, "");
        return;
    }
    if (j->said && strstr(j->said, proxy)) /* seconds more or less are no news */
        return;
    time_after(ms, at);
    char *text =
        xasprintf("%s: waits for the silent proxy %s%s%s, which may still serve its sessions, until %s",
                  why_word(WHY_PROXY), proxy, *where ? " on host " : "", where, at);
    LOG(INFO, "job_waits", LOG_S("user", j->move.user), LOG_S("for", "proxy"), LOG_S("proxy", proxy),
        LOG_U("ms", ms));
    job_say(j, text);
    free(text);
}

static void start_watch(struct job *j)
{
    const struct conf_proxy *p = &j->m->conf->proxy;

    if (j->move.crew)
        crew_want(j->move.crew, 1);
    j->watch = watch_new(j->m->store, j->move.user, j->move.engaged, p->lease_ms, p->lease_long_ms, true,
                         j->m->sightings, on_watch, j);
    timer_start(j->retry, PROXY_LOOK_MS);
}

static void on_recopy(void *owner, enum route_rc rc, const char *detail)
{
    struct job *j = owner;

    if (job_common_answer(j, rc, detail))
        return;
    j->passes = PASSES_MAX - 2; /* at most two more */
    said_nothing(j);
    job_enter(j, COPY);
}

static void job_on_control(void *owner, enum route_rc rc, const struct route_control *c)
{
    struct job *j = owner;

    if (rc != ROUTE_OK || c->paused || store_quarantine_ms(j->m->store) > 0)
        timer_start(j->retry, ASK_AGAIN_MS);
    else
        job_enter(j, j->move.force ? WATCH : RECOPY);
}

/* ---- CUTOVER */

static void on_outcome(void *owner, enum route_rc rc, const char *detail)
{
    const char *wave = strncmp(detail, "1 wave ", 7) ? "" : detail + 7;

    (void)owner;
    if (rc == ROUTE_OK && *detail == '1')
        LOG(ERROR, "automatic_stop", LOG_SET("wave", wave), LOG_S("why", "too many switch-overs failed"),
            LOG_S("goes_on_by", *wave ? "imapferryctl resume --wave" : "imapferryctl resume"));
}

/* Nobody waits for it: one that is lost counts for nothing. */
static void tell_outcome(struct job *j, bool good)
{
    route_outcome(j->m->store, &j->move.job, good, j->m->conf->migration.stop_failure_share, on_outcome,
                  j->m);
}

/* Another of its group was not ready, or ended the attempt: that one's fault, and none of this one. */
static void job_gather_again(struct job *j)
{
    j->watched = false;
    records_begin_attempt(j->move.records);
    free(j->said);
    j->said = xstrdup("?");
    job_enter(j, GATHER);
}

static void on_cutover(void *owner, const struct cutover_result *r)
{
    struct job *j = owner;

    j->cutover = NULL;
    if (r->frozen_ms > 0)
        metric_observe(METRIC_FREEZES, 1000 * r->frozen_ms, r->rc == CUTOVER_DONE ? "flipped" : "thawed",
                       NULL);
    switch (r->rc) {
    case CUTOVER_DONE:
        LOG(INFO, "flipped", LOG_S("user", j->move.user), LOG_S("source", j->move.source_name),
            LOG_S("target", j->move.target_name), LOG_U("epoch", j->move.job.epoch + 1),
            LOG_U("mailboxes", j->mailboxes), LOG_U("messages", j->messages),
            LOG_U("frozen_ms", r->frozen_ms), LOG_S("force", j->move.force ? "yes" : "no"));
        j->result = "flipped";
        metric_add(METRIC_FLIPS, 1, j->move.source_name, j->move.target_name);
        tell_outcome(j, true);
        errands_run(j->m->errands, &(struct errand_call){.event = "flip",
                                                         .user = j->move.user,
                                                         .source = j->move.source_name,
                                                         .target = j->move.target_name,
                                                         .token = j->move.token,
                                                         .epoch = j->move.job.epoch + 1});
        job_end(j, JOB_DONE);
        break;
    case CUTOVER_GATHER:
        if (j->stopping)
            job_end(j, JOB_STOPPED);
        else
            job_gather_again(j);
        break;
    case CUTOVER_FAILED:
        if (r->why == WHY_GROUP && !j->stopping && ++j->thaws < THAWS_MAX) {
            metric_add(METRIC_THAWS, 1, why_word(r->why), NULL);
            LOG(INFO, "thawed", LOG_S("user", j->move.user), LOG_S("why", why_word(r->why)),
                LOG_S("detail", r->detail), LOG_U("frozen_ms", r->frozen_ms));
            job_gather_again(j);
            break;
        }
        if (r->why != WHY_STORE && r->why != WHY_PAUSED && r->why != WHY_GROUP &&
            r->why != WHY_JOURNAL) /* these are nobody's bad luck with accounts */
            tell_outcome(j, false);
        metric_add(METRIC_THAWS, 1, why_word(r->why), NULL);
        LOG(WARN, "thawed", LOG_S("user", j->move.user), LOG_S("why", why_word(r->why)),
            LOG_S("detail", r->detail), LOG_U("frozen_ms", r->frozen_ms));
        job_give_up(j, r->why, r->detail);
        break;
    case CUTOVER_LATER:
        if (j->stopping) {
            job_end(j, JOB_STOPPED);
            break;
        }
        j->watched = false;
        records_begin_attempt(j->move.records);
        free(j->said);
        j->said = xstrdup("?"); /* the route has what the attempt ended with, which job_say() takes away */
        job_place(j, REST);
        timer_start(j->retry, ASK_AGAIN_MS);
        break;
    case CUTOVER_GIVEN:
        job_end(j, JOB_STOPPED);
        break;
    case CUTOVER_DOUBT:
        j->watched = false;
        j->kicking = KICK_DUE;
        job_enter(j, SETTLE);
        break;
    case CUTOVER_LOST:
        job_lost(j);
        break;
    }
}

/* ---- SETTLE: commands that nobody waits for any more, of a former owner or of ours, may still be executed at the target */

static void on_calm(void *owner, enum route_rc rc, const char *detail)
{
    struct job *j = owner;

    if (job_common_answer(j, rc, detail))
        return;
    j->move.calm = true;
    job_say(j, "");
    records_begin_attempt(j->move.records);
    job_enter(j, j->move.force ? WATCH : RECOPY);
}

/* Until when they may be: a former owner sends nothing for longer than a lease after the claim, and the
 * server does not do what it has for longer than the command time-out, ours or theirs. */
static uint64_t settled_ms(const struct job *j)
{
    const struct conf_migrator *c = &j->m->conf->migrator;
    uint64_t broke = j->move.crew ? crew_broke_ms(j->move.crew) : 0;
    uint64_t from = j->move.claimed_ms + c->job_lease_ms, term = c->command_timeout_ms;

    return (broke > from ? broke : from) + (j->move.touch_ms > term ? j->move.touch_ms : term);
}

static void on_kicked(void *owner, enum hook_rc rc, const char *error)
{
    struct job *j = owner;

    j->kick = NULL;
    if (rc == HOOK_DONE)
        j->kicking = KICK_DONE;
    else
        LOG(WARN, "kick_failed", LOG_S("user", j->move.user), LOG_S("error", error));
    job_run(j);
}

/* The hook ends all connections of the account at the target; ours were given back, and are made anew. */
static void start_kick(struct job *j)
{
    j->kicking = KICK_TRIED;
    j->kick = hook_start(j->m->loop,
                         &(struct hook_call){.command = &j->m->conf->migration.hook_kick,
                                             .event = "kick",
                                             .user = j->move.user,
                                             .login = j->move.login,
                                             .source = j->move.source_name,
                                             .target = j->move.target_name,
                                             .timeout_ms = KICK_MS},
                         on_kicked, j);
}

static void say_settling(struct job *j, uint64_t ms)
{
    char at[40];

    time_after(ms, at);
    char *text = xasprintf(
        "%s: waits until %s, since %s may until then carry out what a connection told it that is gone",
        why_word(WHY_DOUBT), at, j->move.target_name);
    LOG(INFO, "settle_waits", LOG_S("user", j->move.user), LOG_U("ms", ms));
    job_say(j, text);
    free(text);
}

static void settle_target(struct job *j)
{
    uint64_t now = clock_boot_ms(), until = settled_ms(j);

    if (j->move.crew)
        crew_want(j->move.crew, 0);
    if (j->kicking == KICK_DONE || now >= until) {
        route_calm(j->m->store, &j->move.job, on_calm, j);
    } else if (j->kicking == KICK_DUE && j->m->conf->migration.hook_kick.n > 0) {
        start_kick(j);
    } else {
        say_settling(j, until - now);
        timer_start(j->retry, until - now);
    }
}

/* ---- GIVE_UP */

/* Doubled with each attempt, a tenth up or down so that accounts that failed together don't come back
 * together. */
static uint64_t retry_delay(const struct job *j)
{
    const struct conf_migrator *c = &j->m->conf->migrator;
    uint64_t ms = c->retry_min_ms;

    for (uint32_t i = 0; i < j->move.attempts && ms < c->retry_max_ms; i++)
        ms *= 2;
    if (ms > c->retry_max_ms)
        ms = c->retry_max_ms;
    ms = ms * (90 + random_u64() % 21) / 100;
    return ms ? ms : 1;
}

/* No attempt of its own: it failed as every account does at this moment, or was not begun at all. */
static bool is_blameless(const struct job *j)
{
    const struct move *v = &j->move;
    bool began = v->crew, at_sign_in = !began || (crew_why(v->crew) == j->why && *crew_error(v->crew));

    return (j->why == WHY_TLS || j->why == WHY_REFUSED || j->why == WHY_SAME_SERVER) && at_sign_in &&
           v->source && v->target &&
           (backend_rests(j->m->backends, v->source) || backend_rests(j->m->backends, v->target));
}

/* Until the next trial, and some more, so that not all come at once. */
static uint64_t rest_delay(const struct job *j)
{
    uint64_t ms = backends_wait_ms(j->m->backends, j->move.source, j->move.target);

    return ms + 1000 + random_u64() % (ms / 4 + 1000);
}

static void on_given_up(void *owner, enum route_rc rc, const char *detail)
{
    struct job *j = owner;

    if (!job_common_answer(j, rc, detail))
        job_end(j, JOB_DONE);
}

static void send_give_up(struct job *j)
{
    enum why_then then = why_then(j->why);
    bool person = then == THEN_PERSON || (j->why == WHY_DIFFERS && j->move.attempts + 1 >= DIFFERS_MAX);
    bool blameless = is_blameless(j);
    uint64_t delay = then == THEN_LOGIN ? 0 : blameless ? rest_delay(j) : retry_delay(j);

    LOG(WARN, "job_given_up", LOG_S("user", j->move.user), LOG_S("reason", j->reason),
        LOG_S("then", person ? "blocked" : "backoff"), LOG_U("delay_ms", person ? 0 : delay),
        LOG_U("attempt", j->move.attempts + !blameless));
    j->result = person ? "blocked" : "backoff";
    progress_flush(j->move.progress);
    if (person)
        route_block(j->m->store, &j->move.job, j->reason, on_given_up, j);
    else
        route_backoff(j->m->store, &j->move.job, j->reason, delay, !blameless, j->move.sealed, on_given_up,
                      j);
}

/* ---- Does what the state is there for; also again, after a call without an answer. */

static void job_run(struct job *j)
{
    struct store *s = j->m->store;
    struct move *v = &j->move;

    switch (j->state) {
    case CLAIM:
        route_claim(s, &j->entry, v->token, j->group, j->m->id, job_on_claimed, j);
        break;
    case MEMBERS:
        route_sharing_read(s, v->group, "", job_on_members, j);
        break;
    case SIGN_IN:
        j->signin = signin_start(v, job_on_signin, j);
        break;
    case PROVISION:
        job_start_provision(j);
        break;
    case RECORDS_READ:
        records_read(v->records, job_on_records, j);
        break;
    case COPY:
        j->pass = pass_start(v, may_cut_over(j) ? PASS_WHOLE : PASS_QUICK, job_on_pass, j);
        break;
    case READY:
        progress_flush(v->progress);
        route_ready(s, &v->job, job_on_ready, j);
        break;
    case POLICY:
        ask_policy(j);
        break;
    case GATHER:
        if (v->crew)
            crew_want(v->crew, 0);
        route_gather(s, &v->job, job_only_idle(j), on_gathered, j);
        break;
    case WATCH:
        if (j->watch)
            say_whom_it_waits_for(j);
        else
            start_watch(j);
        break;
    case TURN:
        ask_for_turn(j);
        break;
    case QUIET: /* passes take their time: is it so still? */
        wait_until_idle(j);
        break;
    case RECOPY:
        route_recopy(s, &v->job, on_recopy, j);
        break;
    case CUTOVER:
        j->cutover =
            cutover_start(v, j->mailboxes, j->messages, job_only_idle(j) && job_in_group(j), on_cutover, j);
        break;
    case REST:
        if (v->crew)
            crew_want(v->crew, 0);
        route_control_read(s, job_on_control, j);
        break;
    case SETTLE:
        settle_target(j);
        break;
    case GIVE_UP:
        send_give_up(j);
        break;
    }
}

/* Staff held the account, or queued it anew: it is not ours any more. From the flip on nobody can; one that
 * was sent back is held by the flip itself. */
static bool taken_away(const struct job *j, const struct event *e)
{
    if (j->cutover && !cutover_can_abort(j->cutover))
        return false;
    return j->state != CLAIM && span_is(e->kind, "state") && e->epoch >= j->move.job.epoch &&
           (e->state == ROUTE_HELD || e->state == ROUTE_QUEUED);
}

void job_event(struct job *j, const struct event *e)
{
    if (j->end_task.queued)
        return;
    if (taken_away(j, e)) {
        job_lost(j);
        return;
    }
    if (span_is(e->kind, "now"))
        j->move.now = true;
    if (j->watch)
        watch_poke(j->watch);
    if (j->cutover)
        cutover_event(j->cutover, e);
}

void job_stop(struct job *j)
{
    j->stopping = true;
    if (!j->cutover)
        job_end(j, JOB_STOPPED);
    else if (cutover_can_abort(j->cutover))
        cutover_abort(j->cutover, WHY_PAUSED, "the migrator was stopped");
}

void job_keep(struct job *j, uint64_t until_ms)
{
    j->move.until_ms = until_ms;
}

bool job_is_suspect(const struct job *j)
{
    return j->suspect;
}

bool job_needs_place(const struct job *j)
{
    bool waits = j->state == GATHER || j->state == CUTOVER || j->state == REST;

    return !job_in_group(j) || !waits;
}

struct job *job_start(struct migrator *m, const struct route_entry *entry, const char *group,
                      const char *token, bool suspect, uint64_t until_ms, job_fn fn, void *owner)
{
    struct job *j = xcalloc(1, sizeof(*j));

    j->m = m;
    j->fn = fn;
    j->owner = owner;
    j->end_task.fn = job_end_now;
    j->began_ms = clock_boot_ms();
    j->move.m = m;
    j->move.user = xstrdup(entry->user);
    j->entry = (struct route_entry){.user = j->move.user, .id = xstrdup(entry->id), .bulk = entry->bulk};
    j->group = group;
    j->move.until_ms = until_ms;
    j->suspect = suspect;
    snprintf(j->move.token, sizeof(j->move.token), "%s", token);
    j->move.job = (struct route_job){.user = j->move.user, .token = j->move.token};
    j->retry = timer_new(m->loop, job_on_retry, j);
    metric_change(METRIC_JOBS_RUNNING, 1, state_names[CLAIM], NULL);
    job_run(j);
    return j;
}
