#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/registry.h"
#include "lib/xalloc.h"

#include "bypass.h"
#include "cutover.h"
#include "migrator/account/proof.h"
#include "migrator/late/errand.h"
#include "migrator/late/schedule.h"
#include "migrator/site/hook.h"
#include "pass.h"

enum {
    RETRY_MS = 300,   /* a script without an answer is sent again after it */
    REFUSALS_MAX = 3, /* of the store, by store_refuses() */
    POLL_MS = 200,    /* sessions are looked at so often, besides events */
    FORWARD_RETRY_MS = 1000,
    BUDGET_MAX_MS = 5 * 60 * 1000,
    MESSAGES_A_SECOND = 10000,
    MAILBOX_MS = 20,
    LANES_MS = 2000, /* SIGN_INS waits no longer for the connections of the last pass */
    CATCH_UPS_MAX = 3,
    GROUP_POLL_MS = 50,       /* the sessions of others tell us nothing */
    GATE_POLL_MS = 1000,      /* another's call that moves us is an event */
    GATE_MS = 10 * 60 * 1000, /* longer nobody waits at PREPARE */
    PREPARE_BUDGETS = 2,      /* nobody waits for the sign-ins: they may take longer than the freeze */
};

enum cutover_state {
    PROBE,
    PREPARE,
    SIGN_INS,
    CATCH_UP,
    FREEZE,
    REST,
    SYNC,
    HOOK,
    LAST,
    AGAIN,
    VOID,
    CAN,
    FLIP,
    ABORT,
    KEPT,
    JOURNAL,
    PUBLISH
};

struct cutover_run {
    struct move *move;
    cutover_fn fn;
    void *owner;
    enum cutover_state state;
    uint64_t began_ms;
    unsigned lanes;               /* for the last pass */
    bool only_idle;               /* may begin while nobody uses the account, or any other of its group */
    uint64_t budget_ms, froze_ms; /* froze_ms: when route_freeze was sent, 0 = not yet */
    uint64_t prepare_ms;   /* how long it may be preparing; of a group, from when this one heard of it */
    uint64_t thawed_epoch; /* an attempt of this epoch has ended, which this one may not have heard of yet */
    bool asking;           /* a call of this state is under way */
    bool later;            /* what is called off was not begun as far as attempts count */
    bool again;            /* ... and has to be repeated at once */
    bool waiting;          /* for others of its group, in this state */
    bool own_rest;         /* REST: its own sessions do; are those of the others at rest, too? */
    char *waits_for;       /* which others those were that it waited for last; owned */
    bool kept_waiting;     /* by them, up to the deadline: soon nobody waits any longer */
    uint64_t asked_ms;     /* when route_freeze was sent last */
    struct timer *retry;   /* runs the state again */
    struct timer *deadline;
    struct pass *pass;
    unsigned catch_ups;
    struct bypass *bypass;
    struct hook *hook;
    enum { PROBE_NONE, PROBE_ASKED, PROBE_GOOD } probe; /* of the journal */
    unsigned refusals;                                  /* of the store, one after the other */
    size_t restless; /* sessions that were not where they have to be at the last look */
    char view[40];
    struct proof *proof;            /* NULL: none, or it was told */
    bool proof_on_disk;             /* ... and not about to be */
    bool flip_asked;                /* route_flip() was sent, and it is not known that it was refused */
    char *told_proof;               /* as the route has it; owned; NULL: "" */
    struct route_progress counters; /* the last ones, for write_and_wait() */
    enum why why;
    struct buf detail;
    enum cutover_rc rc;
    struct loop_task end_task;
};

static const char *const state_names[] = {"probe", "prepare", "sign_ins", "catch_up", "freeze", "rest",
                                          "sync",  "hook",    "last",     "again",    "void",   "can",
                                          "flip",  "abort",   "kept",     "journal",  "publish"};

static void cutover_work(struct cutover_run *c);

/* ---- the end */

/* One that no flip can have told is taken away. */
static void drop_proof(struct cutover_run *c)
{
    proof_free(&c->proof, c->flip_asked);
}

void cutover_free(struct cutover_run **cp)
{
    struct cutover_run *c = *cp;

    *cp = NULL;
    if (!c)
        return;
    pass_cancel(&c->pass);
    bypass_cancel(&c->bypass);
    hook_cancel(&c->hook);
    drop_proof(c);
    free(c->told_proof);
    free(c->waits_for);
    store_forget(c->move->m->store, c);
    if (c->move->records)
        records_forget(c->move->records, c);
    journal_forget(c->move->m->journal, c);
    loop_undefer(c->move->m->loop, &c->end_task);
    timer_free(&c->retry);
    timer_free(&c->deadline);
    buf_free(&c->detail);
    free(c);
}

static void cutover_end_now(struct loop_task *task)
{
    struct cutover_run *c = CONTAINER_OF(task, struct cutover_run, end_task);
    cutover_fn fn = c->fn;
    void *owner = c->owner;
    struct buf detail = c->detail;
    struct cutover_result r = {.rc = c->rc,
                               .why = c->why,
                               .detail = buf_str(&detail),
                               .frozen_ms = c->froze_ms ? clock_boot_ms() - c->froze_ms : 0};

    c->detail = (struct buf){0};
    cutover_free(&c);
    fn(owner, &r);
    buf_free(&detail);
}

static void cutover_end(struct cutover_run *c, enum cutover_rc rc)
{
    c->rc = rc;
    timer_stop(c->retry);
    timer_stop(c->deadline);
    pass_cancel(&c->pass);
    bypass_cancel(&c->bypass);
    hook_cancel(&c->hook);
    drop_proof(c);
    store_forget(c->move->m->store, c);
    journal_forget(c->move->m->journal, c);
    loop_defer(c->move->m->loop, &c->end_task);
}

/* ---- between states */

static void cutover_enter(struct cutover_run *c, enum cutover_state state)
{
    LOG(DEBUG, "cutover", LOG_S("user", c->move->user), LOG_S("from", state_names[c->state]),
        LOG_S("to", state_names[state]));
    c->state = state;
    c->asking = c->again = c->waiting = c->own_rest = false;
    timer_stop(c->retry);
    store_forget(c->move->m->store, c);
    cutover_work(c);
}

static void abort_with(struct cutover_run *c, enum why why, const char *detail)
{
    if (c->state == ABORT || c->state >= KEPT)
        return;
    c->why = why;
    buf_clear(&c->detail);
    buf_add_str(&c->detail, detail);
    timer_stop(c->deadline);
    pass_cancel(&c->pass);
    bypass_cancel(&c->bypass);
    hook_cancel(&c->hook);
    if (!c->flip_asked) /* else ABORT finds out */
        drop_proof(c);
    journal_forget(c->move->m->journal, c);
    cutover_enter(c, ABORT);
}

/* Not the account's fault: no attempt that failed. */
static void abort_for_later(struct cutover_run *c, enum why why, const char *detail)
{
    c->later = c->state < ABORT;
    abort_with(c, why, detail);
}

static void cutover_on_retry(void *owner)
{
    cutover_work(owner);
}

static void cutover_later(struct cutover_run *c, uint64_t ms)
{
    c->asking = false;
    timer_start(c->retry, ms);
}

/* The account's records are none that anybody wrote. Where not even that ends the attempt, its deadline
 * does. */
static void cutover_refused_by_store(struct cutover_run *c)
{
    LOG(ERROR, "cutover_broken", LOG_S("user", c->move->user), LOG_S("while", state_names[c->state]),
        LOG_S("why", store_why(c->move->m->store)));
    c->refusals = 0;
    if (c->state == ABORT)
        cutover_end(c, CUTOVER_LOST);
    else
        abort_with(c, WHY_STORE, store_why(c->move->m->store));
}

static bool cutover_in_group(const struct cutover_run *c)
{
    return c->move->group && *c->move->group;
}

static void cutover_look_why(struct cutover_run *c);

/* What every script may answer. True: dealt with. */
static bool cutover_common_answer(struct cutover_run *c, enum route_rc rc, const char *detail)
{
    switch (rc) {
    case ROUTE_OK:
        c->refusals = 0;
        return false;
    case ROUTE_LOST:
        cutover_end(c, CUTOVER_LOST);
        return true;
    case ROUTE_DOWN:
    case ROUTE_NO_STORE:
        /* Whether it was done is not known; the same call again will tell. */
        if ((c->state < FLIP || c->state == ABORT) && store_refuses(c->move->m->store) &&
            ++c->refusals > REFUSALS_MAX)
            cutover_refused_by_store(c);
        else
            cutover_later(c, c->state >= KEPT ? FORWARD_RETRY_MS : RETRY_MS);
        return true;
    case ROUTE_REFUSED:
        if (c->state > PREPARE && c->state < ABORT && cutover_in_group(c) && !strcmp(detail, "ready")) {
            cutover_look_why(c); /* thawed together with another */
            return true;
        }
        if (c->state < ABORT) {
            struct buf text = {0};
            buf_printf(&text, "the account was found to be %s", detail);
            abort_with(c, WHY_DEADLINE, buf_str(&text));
            buf_free(&text);
            return true;
        }
        return false;
    default:
        return false;
    }
}

/* ---- PROBE, CAN: can the journal be written? */

static void cutover_on_probed(void *owner, const char *error)
{
    struct cutover_run *c = owner;

    if (error) {
        struct buf text = {0};
        buf_printf(&text, "migrator %s: %s", c->move->m->id, error);
        abort_with(c, WHY_JOURNAL, buf_str(&text));
        buf_free(&text);
        return;
    }
    c->probe = PROBE_GOOD;
    if (c->state == PROBE || c->state == CAN)
        cutover_work(c);
}

static void ask_journal(struct cutover_run *c)
{
    if (c->probe != PROBE_NONE)
        return;
    c->probe = PROBE_ASKED;
    journal_probe(c->move->m->journal, cutover_on_probed, c);
}

/* Before the account stands still at all, and once more before there is no way back. */
static void await_journal(struct cutover_run *c, enum cutover_state next)
{
    ask_journal(c);
    if (c->probe != PROBE_GOOD || (c->proof && !c->proof_on_disk))
        return;
    c->probe = PROBE_NONE;
    cutover_enter(c, next);
}

/* ---- PREPARE, SIGN_INS, FREEZE */

static uint64_t budget_of(const struct cutover_run *c, size_t mailboxes, uint64_t messages)
{
    uint64_t ms = c->move->m->conf->migration.freeze_budget_ms;

    if (!c->move->force)
        ms += messages / MESSAGES_A_SECOND * 1000 + (uint64_t)mailboxes * MAILBOX_MS;
    return ms < BUDGET_MAX_MS ? ms : BUDGET_MAX_MS;
}

/* The last pass wants its lanes at once. */
static void want_lanes(struct cutover_run *c)
{
    if (!c->move->force)
        crew_want(c->move->crew, c->lanes);
}

static void cutover_name_others(struct cutover_run *c, const char *names)
{
    free(c->waits_for);
    c->waits_for = xstrdup(names);
}

/* At a gate, for the others. */
static void cutover_wait(struct cutover_run *c, uint64_t ms, const char *others)
{
    cutover_name_others(c, others);
    if (!c->waiting)
        LOG(INFO, "group_waits", LOG_S("user", c->move->user), LOG_S("group", c->move->group),
            LOG_S("at", state_names[c->state]));
    c->waiting = true;
    if (c->move->crew)
        crew_want(c->move->crew, 0);
    cutover_later(c, ms);
}

/* Another's call may have begun it some time ago, and ended it. */
static void cutover_is_preparing(struct cutover_run *c, uint64_t epoch, uint64_t left_ms)
{
    bool over = cutover_in_group(c) && (left_ms == 0 || c->thawed_epoch == epoch);

    c->move->job.epoch = epoch;
    c->began_ms = clock_boot_ms();
    if (cutover_in_group(c))
        c->prepare_ms = left_ms;
    if (over) {
        c->state = SIGN_INS;
        cutover_look_why(c);
        return;
    }
    want_lanes(c);
    cutover_enter(c, SIGN_INS);
}

static void on_prepared(void *owner, enum route_rc rc, const char *detail)
{
    struct cutover_run *c = owner;
    const char *blank = strchr(detail, ' ');
    struct span number = span_of(detail, blank ? (size_t)(blank - detail) : strlen(detail));
    uint64_t epoch, left_ms = 0;

    if (rc == ROUTE_PAUSED || rc == ROUTE_QUARANTINE) {
        cutover_end(c, CUTOVER_LATER);
        return;
    }
    if (rc == ROUTE_DOUBT || rc == ROUTE_AGAIN) {
        cutover_end(c, rc == ROUTE_DOUBT ? CUTOVER_DOUBT : CUTOVER_GATHER);
        return;
    }
    if (rc == ROUTE_WAIT && clock_boot_ms() - c->began_ms > GATE_MS) {
        cutover_end(c, CUTOVER_GATHER);
        return;
    }
    if (rc == ROUTE_WAIT) {
        cutover_wait(c, GATE_POLL_MS, detail);
        return;
    }
    if (cutover_common_answer(c, rc, detail))
        return;
    bool told = !blank || span_u64(span_str(blank + 1), UINT64_MAX, &left_ms);
    if (rc != ROUTE_OK || !told || !span_u64(number, UINT64_MAX, &epoch)) {
        abort_with(c, WHY_INTERNAL, "route_prepare gave no epoch");
        return;
    }
    cutover_is_preparing(c, epoch, left_ms);
}

/* Of a group, another's call may have done it some time ago: so much is left. */
static void cutover_is_frozen(struct cutover_run *c, const char *left)
{
    uint64_t ms;

    if (cutover_in_group(c) && span_u64(span_str(left), UINT64_MAX, &ms)) {
        uint64_t used = clock_boot_ms() - c->asked_ms;
        c->froze_ms = c->asked_ms;
        c->budget_ms = ms;
        uint64_t own_ms = ms / 10 * 9; /* over before others may thaw it, as SIGN_INS is */
        timer_start(c->deadline, used < own_ms ? own_ms - used : 1);
        c->kept_waiting = false;
        want_lanes(c);
    }
    cutover_enter(c, REST);
}

static void cutover_on_frozen(void *owner, enum route_rc rc, const char *detail)
{
    struct cutover_run *c = owner;

    if (rc == ROUTE_WAIT) {
        cutover_wait(c, GATE_POLL_MS, detail);
        return;
    }
    if (cutover_common_answer(c, rc, detail))
        return;
    if (rc == ROUTE_PAUSED)
        abort_for_later(c, WHY_PAUSED, "migrations are paused");
    else if (rc == ROUTE_QUARANTINE)
        abort_for_later(c, WHY_STORE, "Redis restarted or failed over");
    else if (rc != ROUTE_OK)
        abort_with(c, WHY_DEADLINE, "preparing took too long");
    else
        cutover_is_frozen(c, detail);
}

static void cutover_freeze(struct cutover_run *c)
{
    c->asked_ms = clock_boot_ms();
    if (!c->froze_ms && !cutover_in_group(c)) {
        c->froze_ms = clock_boot_ms();
        timer_start(c->deadline, c->budget_ms);
    }
    route_freeze(c->move->m->store, &c->move->job, c->budget_ms, cutover_on_frozen, c);
}

static void deadline_text(uint64_t budget_ms, struct buf *text)
{
    buf_printf(text, "within %" PRIu64 ".%" PRIu64 " s", budget_ms / 1000, budget_ms / 100 % 10);
}

/* Over before others may thaw the account, who could not say why. */
static uint64_t sign_ins_ms(const struct cutover_run *c)
{
    return c->prepare_ms / 10 * 9;
}

/* Whoever is late says so itself, with its reason, and counts it; only where it doesn't are the others the first. */
static void cutover_is_kept_waiting(struct cutover_run *c)
{
    uint64_t ms = c->state == FREEZE ? c->prepare_ms : c->budget_ms;
    struct buf text = {0};

    if (!c->kept_waiting) {
        c->kept_waiting = true;
        timer_start(c->deadline, ms / 20);
        return;
    }
    buf_printf(&text, "%s did not come as far ", c->waits_for);
    deadline_text(ms, &text);
    abort_with(c, WHY_GROUP, buf_str(&text));
    buf_free(&text);
}

static void cutover_on_deadline(void *owner)
{
    struct cutover_run *c = owner;
    struct buf text = {0};

    if (c->waits_for && (c->waiting || c->own_rest)) {
        cutover_is_kept_waiting(c);
    } else if (c->state == CATCH_UP) {
        buf_add_str(&text, "the pass before the freeze did not end ");
        deadline_text(sign_ins_ms(c), &text);
        abort_with(c, WHY_DEADLINE, buf_str(&text));
    } else if (c->state <= SIGN_INS) {
        buf_printf(&text, "%zu session%s could not be signed in at %s ", c->restless,
                   c->restless != 1 ? "s" : "", c->move->target_name);
        deadline_text(sign_ins_ms(c), &text);
        abort_with(c, WHY_SESSIONS, buf_str(&text));
    } else if (c->state <= REST && c->restless > 0) {
        buf_printf(&text, "%zu session%s did not come to rest ", c->restless, c->restless > 1 ? "s" : "");
        deadline_text(c->budget_ms, &text);
        abort_with(c, WHY_SESSIONS, buf_str(&text));
    } else if (c->state == CAN && c->probe == PROBE_ASKED) {
        buf_printf(&text, "migrator %s: the disk of its journal did not answer ", c->move->m->id);
        deadline_text(c->budget_ms, &text);
        abort_with(c, WHY_JOURNAL, buf_str(&text));
    } else if (c->state == CAN && c->proof && !c->proof_on_disk) {
        buf_printf(&text, "migrator %s: its disk did not take the proof ", c->move->m->id);
        deadline_text(c->budget_ms, &text);
        abort_with(c, WHY_JOURNAL, buf_str(&text));
    } else {
        buf_add_str(&text, "the last pass did not end ");
        deadline_text(c->budget_ms, &text);
        abort_with(c, WHY_DEADLINE, buf_str(&text));
    }
    buf_free(&text);
}

/* ---- SIGN_INS, REST: where the sessions are */

static bool is_where_it_has_to_be(const struct cutover_run *c, const struct registration *r)
{
    enum session_mode mode = c->state == SIGN_INS ? SESSION_PREPARED : SESSION_FROZEN;

    return r->mode == mode && r->epoch == c->move->job.epoch;
}

/* The last pass wants its lanes at once. Where the servers are slow with them, it does with fewer. */
static bool awaits_lanes(const struct cutover_run *c)
{
    return !c->move->force && crew_is_opening(c->move->crew) && clock_boot_ms() - c->began_ms < LANES_MS;
}

static void cutover_on_rested(void *owner, enum route_rc rc, const char *detail)
{
    struct cutover_run *c = owner;

    c->asking = false;
    if (rc == ROUTE_BUSY) {
        cutover_name_others(c, detail);
        cutover_later(c, GROUP_POLL_MS);
    } else if (!cutover_common_answer(c, rc, detail)) {
        cutover_enter(c, SYNC);
    }
}

/* Who is granted its mailboxes may change them until their own sessions rest. */
static void ask_others(struct cutover_run *c)
{
    c->own_rest = true;
    c->asking = true;
    route_rested(c->move->m->store, &c->move->job, cutover_on_rested, c);
}

static void on_registrations(void *owner, enum redis_rc rc, const struct registration *rows, size_t n)
{
    struct cutover_run *c = owner;

    c->asking = false;
    if (rc == REDIS_OK) {
        c->restless = 0;
        for (size_t i = 0; i < n; i++)
            c->restless += !is_where_it_has_to_be(c, &rows[i]);
        c->own_rest = c->own_rest && c->restless == 0;
        if (c->restless == 0 && c->state == REST && cutover_in_group(c)) {
            ask_others(c);
            return;
        }
        if (c->restless == 0 && !(c->state == SIGN_INS && awaits_lanes(c))) {
            cutover_enter(c, c->state == REST ? SYNC : c->move->force ? FREEZE : CATCH_UP);
            return;
        }
    }
    if (c->again)
        cutover_work(c);
    else
        cutover_later(c, POLL_MS);
}

static void look_at_sessions(struct cutover_run *c)
{
    c->again = c->asking;
    if (c->asking)
        return;
    c->asking = true;
    registry_list(c->move->m->store, c->move->user, on_registrations, c);
}

/* By whom, and why: a refusal by the target stands in the route, and so does a deadline that passed. */
static void on_thawed_route(void *owner, enum route_rc rc, const struct route *r)
{
    struct cutover_run *c = owner;
    enum why why = WHY_DEADLINE;
    const char *detail = "";

    if (rc == ROUTE_OK && r->epoch == c->move->job.epoch && reason_why(r->reason, &why, &detail))
        abort_with(c, why, detail);
    else
        abort_with(c, WHY_DEADLINE, "the account was thawed by another");
}

static void cutover_look_why(struct cutover_run *c)
{
    pass_cancel(&c->pass);
    bypass_cancel(&c->bypass);
    hook_cancel(&c->hook);
    if (!c->flip_asked)
        drop_proof(c);
    store_forget(c->move->m->store, c);
    journal_forget(c->move->m->journal, c);
    c->asking = true;
    timer_stop(c->retry);
    route_read(c->move->m->store, c->move->user, on_thawed_route, c);
}

void cutover_event(struct cutover_run *c, const struct event *e)
{
    bool of_state = span_is(e->kind, "state");
    bool thawed = e->epoch == c->move->job.epoch && of_state && e->state == ROUTE_READY;

    if (of_state && e->state == ROUTE_READY)
        c->thawed_epoch = e->epoch;
    /* What is under way here is for nothing. */
    if (thawed && c->state >= SIGN_INS && (c->state <= CAN || (c->state == FLIP && c->waiting))) {
        cutover_look_why(c);
    } else if (of_state && c->waiting && timer_is_set(c->retry)) {
        timer_stop(c->retry);
        cutover_work(c);
    } else if (c->state == SIGN_INS || c->state == REST) {
        look_at_sessions(c);
    }
}

/* ---- replicas */

static void cutover_on_waited(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct cutover_run *c = owner;

    (void)r;
    if (c->state == SYNC) {
        if (rc == REDIS_OK)
            cutover_enter(c, HOOK);
        else
            abort_with(c, WHY_STORE, "the replicas of Redis do not keep up");
    } else if (rc == REDIS_OK) {
        cutover_enter(c, JOURNAL);
    } else {
        LOG(WARN, "flip_waits", LOG_S("user", c->move->user), LOG_S("for", "the replicas of Redis"));
        cutover_later(c, FORWARD_RETRY_MS);
    }
}

static void on_counters(void *owner, enum route_rc rc, const char *detail)
{
    struct cutover_run *c = owner;

    if (cutover_common_answer(c, rc, detail))
        return;
    if (c->state == KEPT && strcmp(detail, route_state_name(ROUTE_FLIPPING)) != 0) {
        /* Redis failed over to a replica that never heard of it. Nobody was told of the flip: whoever claims
         * the account next goes on with what it is now. */
        LOG(WARN, "flip_lost", LOG_S("user", c->move->user), LOG_S("state", detail));
        cutover_end(c, CUTOVER_LOST);
    } else {
        store_wait(c->move->m->store, STORE_WAIT_MS, cutover_on_waited, c);
    }
}

/* WAIT is about the writes of its own connection alone, and this one may be new: so it writes, and what
 * others wrote before lies before that. */
static void write_and_wait(struct cutover_run *c)
{
    route_progress(c->move->m->store, &c->move->job, &c->counters, on_counters, c);
}

/* ---- HOOK */

static void cutover_on_hook(void *owner, enum hook_rc rc, const char *error)
{
    struct cutover_run *c = owner;

    c->hook = NULL;
    if (rc != HOOK_DONE) {
        struct buf text = {0};
        buf_printf(&text, "hook_freeze %s", error);
        abort_with(c, WHY_HOOK, buf_str(&text));
        buf_free(&text);
    } else {
        cutover_enter(c, c->move->force ? VOID : LAST);
    }
}

/* Of the freeze. */
static uint64_t left_ms(const struct cutover_run *c)
{
    uint64_t used = clock_boot_ms() - c->froze_ms;

    return used + 10 < c->budget_ms ? c->budget_ms - used : 10;
}

/* All sessions rest: what closes the source to others goes before the last look at it. */
static void start_hook(struct cutover_run *c)
{
    const struct conf_list *command = &c->move->m->conf->migration.hook_freeze;

    if (command->n == 0) {
        cutover_on_hook(c, HOOK_DONE, NULL);
        return;
    }
    c->hook = hook_start(c->move->m->loop,
                         &(struct hook_call){.command = command,
                                             .event = "freeze",
                                             .user = c->move->user,
                                             .login = c->move->login,
                                             .source = c->move->source_name,
                                             .target = c->move->target_name,
                                             .timeout_ms = left_ms(c) / 10 * 9},
                         cutover_on_hook, c);
}

/* ---- CATCH_UP */

static void cutover_catch_up(struct cutover_run *c);

/* Would the last pass, too, have much to do? Half of the time that the account may be preparing is left to the
 * freeze's own beginning, and to this one. */
static bool is_worth_another(const struct cutover_run *c, const struct pass_result *r, uint64_t changes)
{
    return changes > PASS_SMALL_CHANGES && c->catch_ups < CATCH_UPS_MAX &&
           clock_boot_ms() - c->began_ms + r->took_ms <= c->prepare_ms / 2;
}

/* What it could not make equal, the last pass names. */
static void on_caught_up(void *owner, const struct pass_result *result)
{
    struct cutover_run *c = owner;
    uint64_t changes = result->counts.appended + result->counts.stored + result->counts.expunged;

    c->pass = NULL;
    LOG(INFO, "caught_up", LOG_S("user", c->move->user), LOG_U("number", c->catch_ups),
        LOG_U("changes", changes), LOG_U("took_ms", result->took_ms));
    if (result->rc == PASS_LOST)
        cutover_end(c, CUTOVER_LOST);
    else if (result->rc == PASS_FAILED)
        abort_with(c, result->why, result->detail);
    else if (is_worth_another(c, result, changes))
        cutover_catch_up(c);
    else
        cutover_enter(c, FREEZE);
}

static void cutover_catch_up(struct cutover_run *c)
{
    c->catch_ups++;
    c->pass = pass_start(c->move, PASS_QUICK, on_caught_up, c);
}

/* ---- LAST, AGAIN, FLIP */

static void cutover_on_pass(void *owner, const struct pass_result *result)
{
    struct cutover_run *c = owner;

    c->pass = NULL;
    switch (result->rc) {
    case PASS_LOST:
        cutover_end(c, CUTOVER_LOST);
        break;
    case PASS_FAILED:
        abort_with(c, result->why, result->detail);
        break;
    case PASS_EQUAL:
        LOG(INFO, "verified", LOG_S("user", c->move->user), LOG_U("mailboxes", result->mailboxes),
            LOG_S("verify", verify_word(c->move->m->conf->migration.verify)),
            LOG_U("by_bytes", result->counts.compared_bytes),
            LOG_U("by_header", result->counts.compared_headers),
            LOG_U("by_size", result->counts.compared_listing),
            LOG_U("messages", result->counts.messages_total), LOG_U("bytes", result->counts.bytes_total),
            LOG_U("appended", result->counts.appended), LOG_U("stored", result->counts.stored),
            LOG_U("expunged", result->counts.expunged), LOG_U("zones_changed", result->counts.zones_changed),
            LOG_U("took_ms", result->took_ms));
        c->counters = *progress_now(c->move->progress);
        records_digest(c->move->records, c->view);
        cutover_enter(c, AGAIN);
        break;
    }
}

/* ---- AGAIN: the proof */

static void cutover_on_proof(void *owner, const char *error)
{
    struct cutover_run *c = owner;

    if (error) {
        struct buf text = {0};
        buf_printf(&text, "migrator %s: the proof can't be kept: %s", c->move->m->id, error);
        abort_with(c, WHY_JOURNAL, buf_str(&text));
        buf_free(&text);
        return;
    }
    c->proof_on_disk = true;
    free(c->told_proof);
    c->told_proof = xstrdup(proof_said(c->proof));
    if (c->state == CAN)
        cutover_work(c);
}

static void start_proof(struct cutover_run *c)
{
    if (c->move->m->conf->migrator.proofs)
        c->proof = proof_start(c->move, cutover_on_proof, c);
}

static void on_bypass(void *owner, const struct bypass_result *result)
{
    struct cutover_run *c = owner;

    c->bypass = NULL;
    LOG(INFO, "looked_again", LOG_S("user", c->move->user), LOG_U("mailboxes", result->mailboxes),
        LOG_U("closer", result->closer), LOG_U("took_ms", result->took_ms));
    if (result->rc == BYPASS_NONE)
        cutover_enter(c, CAN);
    else
        abort_with(c, result->why, result->detail);
}

/* ---- VOID: by force. Nobody knows which UIDs the target has, while it may have been told the source's UIDVALIDITY,
 * or is the home whose numbers clients have seen go on elsewhere. So all that was copied is shown anew. */

static void cutover_on_voided(void *owner, enum route_rc rc)
{
    struct cutover_run *c = owner;

    if (cutover_common_answer(c, rc, ""))
        return;
    records_digest(c->move->records, c->view);
    cutover_enter(c, CAN);
}

static void cutover_on_records(void *owner, enum route_rc rc)
{
    struct cutover_run *c = owner;
    struct records *all = c->move->records;

    if (cutover_common_answer(c, rc, ""))
        return;
    if (!records_first(all)) {
        cutover_enter(c, CAN);
        return;
    }
    for (struct record *r = records_first(all); r; r = r->hh.next)
        record_void(r, c->move->back);
    records_write(all, cutover_on_voided, c);
}

static void cutover_void(struct cutover_run *c)
{
    struct move *m = c->move;

    if (!m->records)
        m->records = records_new(m->m->store, &m->job, m->back, stamp_terms(m->source_name, m->target_name));
    records_read(m->records, cutover_on_records, c);
}

static void on_flipping(void *owner, enum route_rc rc, const char *detail)
{
    struct cutover_run *c = owner;

    if (cutover_common_answer(c, rc, detail))
        return;
    switch (rc) {
    case ROUTE_OK:
        cutover_enter(c, KEPT);
        break;
    case ROUTE_WAIT:
        cutover_wait(c, GATE_POLL_MS, detail);
        break;
    case ROUTE_BUSY: /* a proxy has registered a session anew, which will rest or go */
        cutover_later(c, POLL_MS);
        break;
    case ROUTE_PAUSED:
        abort_for_later(c, WHY_PAUSED, "migrations are paused");
        break;
    case ROUTE_QUARANTINE:
        abort_for_later(c, WHY_STORE, "Redis restarted or failed over");
        break;
    case ROUTE_DOUBT:
        abort_for_later(c, WHY_UNREACHABLE, "a change of the new server was not answered");
        break;
    default:
        abort_with(c, WHY_DEADLINE, "the account was verified too late");
        break;
    }
}

/* ---- ABORT */

static void on_aborted(void *owner, enum route_rc rc, const char *detail)
{
    struct cutover_run *c = owner;

    if (cutover_common_answer(c, rc, detail))
        return;
    /* The flip that we had no answer to was done after all. */
    if (rc == ROUTE_REFUSED && !strcmp(detail, "flipping")) {
        cutover_enter(c, KEPT);
        return;
    }
    c->flip_asked = c->flip_asked && rc != ROUTE_OK;
    cutover_end(c, c->later ? CUTOVER_LATER : CUTOVER_FAILED);
}

static void send_abort(struct cutover_run *c)
{
    struct buf reason = {0};

    buf_printf(&reason, "%s: %s", why_word(c->why), buf_str(&c->detail));
    route_abort(c->move->m->store, &c->move->job, buf_str(&reason), on_aborted, c);
    buf_free(&reason);
}

/* ---- forward only */

static void on_journal(void *owner, const char *error)
{
    struct cutover_run *c = owner;

    if (!error) {
        cutover_enter(c, PUBLISH);
        return;
    }
    LOG(ERROR, "flip_waits", LOG_S("user", c->move->user),
        LOG_S("for", "a migrator that can write its journal"), LOG_S("error", error));
    cutover_end(c, CUTOVER_GIVEN);
}

static void on_flipped(void *owner, enum route_rc rc, const char *detail)
{
    struct cutover_run *c = owner;

    if (cutover_common_answer(c, rc, detail))
        return;
    if (rc == ROUTE_OK) {
        cutover_end(c, CUTOVER_DONE);
        return;
    }
    LOG(ERROR, "flip_refused", LOG_S("user", c->move->user), LOG_S("state", detail));
    cutover_end(c, CUTOVER_LOST);
}

static void write_journal(struct cutover_run *c)
{
    struct route r = {.source = c->move->source_name,
                      .target = c->move->target_name,
                      .epoch = c->move->job.epoch,
                      .generation = c->move->generation,
                      .view = c->view,
                      .proof = c->told_proof};

    journal_write(c->move->m->journal, c->move->user, &r, on_journal, c);
}

/* Does what the state is there for; also again, after a call without an answer. */
static void cutover_work(struct cutover_run *c)
{
    struct store *s = c->move->m->store;

    switch (c->state) {
    case PROBE:
        await_journal(c, PREPARE);
        break;
    case PREPARE:
        route_prepare(s, &c->move->job, c->prepare_ms, c->only_idle, on_prepared, c);
        break;
    case SIGN_INS:
        if (!timer_is_set(c->deadline))
            timer_start(c->deadline, sign_ins_ms(c));
        look_at_sessions(c);
        break;
    case CATCH_UP:
        cutover_catch_up(c);
        break;
    case FREEZE:
        cutover_freeze(c);
        break;
    case REST:
        look_at_sessions(c);
        break;
    case SYNC:
        write_and_wait(c);
        break;
    case HOOK:
        start_hook(c);
        break;
    case LAST:
        c->pass = pass_start(c->move, PASS_LAST, cutover_on_pass, c);
        break;
    case AGAIN:
        ask_journal(c);
        start_proof(c);
        c->bypass = bypass_start(c->move, on_bypass, c);
        break;
    case VOID:
        cutover_void(c);
        break;
    case CAN:
        await_journal(c, FLIP);
        break;
    case FLIP:
        c->flip_asked = true;
        route_flip(s, &c->move->job, c->view, c->told_proof, on_flipping, c);
        break;
    case ABORT:
        send_abort(c);
        break;
    case KEPT:
        timer_stop(c->deadline);
        write_and_wait(c);
        break;
    case JOURNAL:
        write_journal(c);
        break;
    case PUBLISH:
        route_flipped(s, &c->move->job, schedule_first_ms(c->move->m->conf),
                      errand_lease_ms(c->move->m, "flip"), on_flipped, c);
        break;
    }
}

bool cutover_can_abort(const struct cutover_run *c)
{
    return c->state < FLIP || (c->state == FLIP && c->waiting);
}

void cutover_abort(struct cutover_run *c, enum why why, const char *detail)
{
    if (cutover_can_abort(c))
        abort_with(c, why, detail);
}

static struct cutover_run *cutover_make(struct move *move, enum cutover_state state, cutover_fn fn,
                                        void *owner)
{
    struct cutover_run *c = xcalloc(1, sizeof(*c));

    c->move = move;
    c->state = state;
    c->fn = fn;
    c->owner = owner;
    c->retry = timer_new(move->m->loop, cutover_on_retry, c);
    c->deadline = timer_new(move->m->loop, cutover_on_deadline, c);
    c->end_task.fn = cutover_end_now;
    return c;
}

struct cutover_run *cutover_start(struct move *move, size_t mailboxes, uint64_t messages, bool only_idle,
                                  cutover_fn fn, void *owner)
{
    struct cutover_run *c = cutover_make(move, PROBE, fn, owner);

    c->budget_ms = budget_of(c, mailboxes, messages);
    c->prepare_ms = PREPARE_BUDGETS * c->budget_ms;
    c->counters = *progress_now(move->progress);
    c->began_ms = clock_boot_ms();
    c->lanes = mailboxes == 0 ? 1 : mailboxes < CREW_MAX ? (unsigned)mailboxes : CREW_MAX;
    c->only_idle = only_idle;
    if (!cutover_in_group(c)) /* else it may have to wait */
        want_lanes(c);
    cutover_work(c);
    return c;
}

struct cutover_run *cutover_resume(struct move *move, const struct route *route, cutover_fn fn, void *owner)
{
    struct cutover_run *c = cutover_make(move, KEPT, fn, owner);

    snprintf(c->view, sizeof(c->view), "%s", route->view ? route->view : "");
    c->told_proof = xstrdup(route->proof ? route->proof : "");
    c->counters = route->progress;
    cutover_work(c);
    return c;
}
