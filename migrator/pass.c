#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "arrange.h"
#include "baggage.h"
#include "look.h"
#include "finding.h"
#include "orphan.h"
#include "pass.h"
#include "renames.h"
#include "report.h"
#include "waiver.h"

enum {
    TRIES = 3,           /* of a mailbox whose connection broke */
    TRIES_THROTTLED = 6, /* each after a longer rest */
    ROUNDS = 20          /* of RENAMES */
};
enum phase { WAIVERS, LISTS, RENAMES, LOOK, RECORDS, ARRANGE, BRING, COPY, REMOVE, ORPHANS };
enum { SOURCE, TARGET };

enum item_state {
    TODO,
    CLOSED,    /* in the freeze: STATUS says that nothing has changed, which has to be seen */
    LOOKED_AT, /* ... which is being done */
    LOADING,
    COPYING,
    EQUAL,
    FOUND,    /* something that blocks */
    VANISHED, /* between listing and opening */
    FAILED
};

struct item {
    struct pass *pass;
    const struct plan_item *plan;
    const struct mailbox *there; /* on the target; NULL: it was not listed */
    struct record *record;
    struct imap_seq removable; /* of its source UIDs: gone before this pass */
    struct copy_counts changes; /* that this pass made; the other counts are not used */
    enum item_state state;
    struct lane *lane; /* lent while LOADING and COPYING */
    struct copy *copy;
    unsigned tries;
};

/* Mailboxes that a lane looks at, in the freeze. */
struct glance {
    struct pass *pass;
    struct lane *lane; /* lent; NULL: none is under way */
    struct look *look;
    struct look_at *at;  /* owned */
    struct item **items; /* owned; one for each of at */
    size_t n;
};

/* A record whose mailbox the source has no more. */
struct gone {
    struct record *record;
    const char *from, *to; /* names; the record's */
};

struct pass {
    struct move *move;
    enum pass_kind kind;
    bool last;
    pass_fn fn;
    void *owner;
    uint64_t began_ms;
    enum phase phase;
    struct lane *lane; /* lent in LISTS, LOOK, ARRANGE and BRING */
    unsigned tries;    /* of these */
    struct mailboxes_read *reading[2];
    struct mailboxes *mailboxes[2]; /* owned */
    struct plan *plan;              /* owned */
    struct arrange *arrange;
    struct item *items;                 /* owned; the largest first */
    struct glance glances[CREW_MAX];
    unsigned looks_failed;
    size_t n, next;                     /* no TODO before next */
    struct loop_task task;              /* does what there is to do, outside of any callback */
    bool records_sent, records_written; /* of the last pass: at its end */
    bool over, lost, judged;
    struct waivers *waivers;   /* owned */
    bool report_sent, reported;
    struct findings *findings; /* of the account; at the end those of its mailboxes too; owned */
    bool failed;               /* why and detail of the first failure */
    enum why why;
    struct buf detail;
    size_t n_failed, opened;
    size_t to_open; /* when the items were made */
    struct gone *gone; /* owned; to be seen to in this pass */
    size_t n_gone, next_gone;
    uint64_t absent; /* mailboxes that this pass misses for the first time */
    bool gone_tried;
    struct orphan *orphan;
    bool dropped; /* records: to be written */
    struct renames *renames;
    unsigned rounds;
};

static void step_soon(struct pass *p)
{
    loop_defer(p->move->m->loop, &p->task);
}

/* ---- failures */

/* Did a server ask to be used more slowly? Then what fails is for that. */
static bool is_throttled(const struct pass *p)
{
    const struct backends *b = p->move->m->backends;
    uint64_t now = clock_boot_ms();

    return pace_is_throttled(backends_pace(b, p->move->source), now) ||
           pace_is_throttled(backends_pace(b, p->move->target), now);
}

static void note_failure(struct pass *p, enum why why, const char *detail)
{
    if ((why == WHY_UNREACHABLE || why == WHY_REFUSED) && is_throttled(p))
        why = WHY_THROTTLED;
    p->n_failed++;
    if (p->failed)
        return;
    p->failed = true;
    p->why = why;
    buf_add_str(&p->detail, detail);
}

/* No use to go on with the rest. */
static void fail(struct pass *p, enum why why, const char *detail)
{
    note_failure(p, why, detail);
    p->over = true;
    step_soon(p);
}

static void fail_by_store(struct pass *p, enum route_rc rc)
{
    if (rc == ROUTE_LOST) {
        p->lost = p->over = true;
        step_soon(p);
    } else {
        fail(p, WHY_STORE, "Redis does not answer");
    }
}

/* ---- progress */

static const struct mailbox *listed(const struct item *i)
{
    return i->plan->source;
}

static void add_counts(struct route_progress *sum, const struct item *i)
{
    const struct copy_counts *c = &i->record->counts;

    if (i->record->counted) {
        sum->messages_total += c->messages_total;
        sum->messages_done += c->messages_done;
        sum->messages_verified += c->messages_verified;
        sum->bytes_total += c->bytes_total;
        sum->bytes_done += c->bytes_done;
    } else {
        sum->messages_total += listed(i)->status.messages;
        sum->bytes_total += listed(i)->bytes;
    }
    sum->mailboxes_done += i->state == EQUAL;
}

static void tell_progress(struct pass *p)
{
    struct route_progress sum = {.mailboxes_total = p->n};

    for (size_t i = 0; i < p->n; i++)
        add_counts(&sum, &p->items[i]);
    snprintf(sum.tiers, sizeof(sum.tiers), "T3:%zu", p->n);
    progress_set(p->move->progress, &sum);
}

/* ---- COPY */

static void give_lane(struct item *i, bool clean)
{
    struct lane *lane = i->lane;

    i->lane = NULL;
    if (clean)
        crew_give(i->pass->move->crew, lane);
    else
        crew_drop(i->pass->move->crew, lane);
}

static void item_failed(struct item *i, enum why why, const char *reason)
{
    i->state = FAILED;
    note_failure(i->pass, why, reason);
    if (i->pass->last)
        i->pass->over = true;
}

/* After a doubt the ledger is read anew. */
static void item_down(struct item *i, const char *reason)
{
    struct pass *p = i->pass;

    ledger_free(&i->record->ledger);
    findings_clear(i->record->findings, NULL);
    i->record->stamp.equal = i->record->whole = false;
    i->state = TODO;
    p->next = 0;
    if (store_state(p->move->m->store) != STORE_UP)
        fail(p, WHY_STORE, "Redis does not answer");
    else if (++i->tries >= (is_throttled(p) ? TRIES_THROTTLED : TRIES))
        fail(p, WHY_UNREACHABLE, reason);
}

/* What is waived has to be found again by each pass, and named. */
static bool found_nothing(const struct findings *f)
{
    return findings_total(f) == findings_of(f, FINDING_ZONE) + findings_of(f, FINDING_BETWEEN);
}

static void add_uids(struct imap_seq *to, const struct imap_seq *from)
{
    for (size_t i = 0; i < from->n; i++)
        imap_seq_add(to, from->ranges[i].first, from->ranges[i].last);
}

static void note_stamp(struct item *i, const struct copy_result *result)
{
    struct record *r = i->record;
    struct stamp now = {.equal = found_nothing(r->findings),
                        .source = result->source_seen,
                        .target = result->target_seen,
                        .bytes = result->counts.bytes_total,
                        .made = r->stamp.made,
                        .terms = records_terms(i->pass->move->records)};

    imap_seq_free(&r->gone);
    add_uids(&r->gone, result->gone);
    r->vanished = false;
    r->whole = r->whole || result->whole;
    r->stamp_changed = r->stamp_changed || !stamp_same(&now, &r->stamp);
    r->stamp = now;
}

static void item_equal(struct item *i, const struct copy_result *result)
{
    char *clash = record_uid_clash(i->record, result, i->pass->move->back);

    if (clash) {
        item_failed(i, WHY_UIDVALIDITY, clash);
        free(clash);
        return;
    }
    if (i->pass->last)
        record_fold(i->record, result, i->pass->move->back);
    note_stamp(i, result);
    i->state = EQUAL;
}

/* ---- mailboxes that need not be opened */

static bool is_unchanged(const struct item *i)
{
    const struct stamp *s = &i->record->stamp;

    return s->equal && i->record->gone.n == 0 && i->there && stamp_side_same(&s->source, &listed(i)->status) &&
           stamp_side_same(&s->target, &i->there->status);
}

static bool may_stay_closed(const struct item *i)
{
    const struct record *r = i->record;

    switch (i->pass->kind) {
    case PASS_QUICK:
        return is_unchanged(i);
    case PASS_WHOLE:
        return r->whole && is_unchanged(i);
    case PASS_LAST:
        break;
    }
    return r->whole && r->ledger && strcmp(listed(i)->name, "INBOX") != 0 && is_unchanged(i);
}

static void leave_closed(struct item *i)
{
    struct record *r = i->record;
    const struct stamp *s = &r->stamp;
    const struct copy_result was = {.source_uidvalidity = s->source.uidvalidity,
                                    .source_uidnext = s->source.uidnext,
                                    .target_uidvalidity = s->target.uidvalidity,
                                    .target_uidnext = s->target.uidnext};

    if (!r->counted) {
        uint64_t n = s->source.messages;
        r->counts = (struct copy_counts){.messages_total = n,
                                         .messages_done = n,
                                         .messages_verified = n,
                                         .bytes_total = s->bytes,
                                         .bytes_done = s->bytes};
        r->counted = true;
    }
    if (i->pass->last)
        record_fold(r, &was, i->pass->move->back);
    i->state = EQUAL;
}

/* A mailbox that can't be opened may have gone since it was listed: the next pass will see. */
static void item_differs(struct item *i, const struct copy_result *result)
{
    bool again = result->vanished && !i->pass->last && !i->record->vanished;

    i->state = again ? VANISHED : FOUND;
    i->pass->over = i->pass->over || i->pass->last; /* which has no time */
    i->record->vanished = again;
}

static void on_copied(void *owner, const struct copy_result *result)
{
    struct item *i = owner;
    struct pass *p = i->pass;

    i->copy = NULL;
    i->changes.appended += result->counts.appended;
    i->changes.stored += result->counts.stored;
    i->changes.expunged += result->counts.expunged;
    i->record->counts = result->counts;
    i->record->counted = true;
    i->record->looked = result->rc != COPY_DOWN && result->rc != COPY_LOST;
    give_lane(i, result->rc != COPY_DOWN && result->rc != COPY_LOST);
    i->state = FAILED; /* unless the result says otherwise: it has no lane any more */
    switch (result->rc) {
    case COPY_EQUAL:
        item_equal(i, result);
        break;
    case COPY_DIFFERS:
    case COPY_CANNOT:
        item_differs(i, result);
        break;
    case COPY_DOWN:
        item_down(i, result->reason);
        break;
    case COPY_LOST:
        fail_by_store(p, ROUTE_LOST);
        break;
    }
    tell_progress(p);
    step_soon(p);
}

static void on_progress(void *owner, const struct copy_counts *counts)
{
    struct item *i = owner;

    i->record->counts = *counts;
    i->record->counted = true;
    tell_progress(i->pass);
}

/* Once everything else of this pass is in its place, also where there is nothing else. */
static bool may_remove(const struct item *i)
{
    return i->pass->phase == REMOVE || i->pass->to_open == 1;
}

static void start_copy(struct item *i)
{
    struct move *m = i->pass->move;
    const struct imap_seq none = {0};

    /* Whatever was found equal before is listed wholly once in a job that may cut over. */
    bool whole = i->pass->kind != PASS_QUICK && !i->record->whole;

    i->state = COPYING;
    i->pass->opened++;
    i->copy = copy_start(
        &(struct copy_request){
            .loop = m->m->loop,
            .source = i->lane->source,
            .target = i->lane->target,
            .ledger = i->record->ledger,
            .source_name = i->plan->source->name,
            .target_name = i->plan->target_name,
            .last = i->pass->last,
            .was = whole ? NULL : &i->record->stamp,
            .verify = m->m->conf->migration.verify,
            .seed = i->record->view.id,
            .reorder_max = m->m->conf->migration.reorder_max,
            .delete_share = m->m->conf->migration.delete_share,
            .waivers = i->pass->waivers,
            .findings = i->record->findings,
            .gone = &i->record->gone,
            .removable = may_remove(i) ? (i->pass->last ? NULL : &i->removable) : &none,
            .leave_out = m->m->conf->migration.rules ? m->m->conf->migration.rules->leave_out : NULL,
            .leave_out_rules = i->plan->leave_out,
            .progress = on_progress,
        },
        on_copied, i);
}

static void on_ledger(void *owner, enum route_rc rc)
{
    struct item *i = owner;
    const struct move *m = i->pass->move;

    if (rc == ROUTE_OK && !ledger_is_of(i->record->ledger, m->source_name, m->target_name)) {
        ledger_pair(i->record->ledger, m->source_name, m->target_name, on_ledger, i);
        return;
    }
    if (rc == ROUTE_OK) {
        start_copy(i);
        return;
    }
    i->state = TODO;
    give_lane(i, true);
    if (*ledger_error(i->record->ledger))
        fail(i->pass, WHY_STORE, ledger_error(i->record->ledger));
    else
        fail_by_store(i->pass, rc);
    ledger_free(&i->record->ledger);
}

static void start_item(struct item *i, struct lane *lane)
{
    struct move *m = i->pass->move;

    i->lane = lane;
    if (i->record->ledger) {
        start_copy(i);
        return;
    }
    i->state = LOADING;
    i->record->ledger = ledger_load(m->m->store, &m->job, i->record->view.id, on_ledger, i);
}

static struct item *next_todo(struct pass *p)
{
    while (p->next < p->n && p->items[p->next].state != TODO)
        p->next++;
    return p->next < p->n ? &p->items[p->next] : NULL;
}

static size_t count_state(const struct pass *p, enum item_state state)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n; i++)
        n += p->items[i].state == state;
    return n;
}

/* ---- in the freeze: what STATUS says has to be seen */

static void end_glance(struct glance *g, bool clean)
{
    struct crew *crew = g->pass->move->crew;
    struct lane *lane = g->lane;

    look_cancel(&g->look);
    free(g->at);
    free(g->items);
    *g = (struct glance){.pass = g->pass};
    if (clean)
        crew_give(crew, lane);
    else
        crew_drop(crew, lane);
}

static void judge_look(struct item *i, const struct stamp_side *now)
{
    if (stamp_side_same(&i->record->stamp.source, now))
        leave_closed(i);
    else
        i->state = TODO;
}

static void on_looked(void *owner, bool up)
{
    struct glance *g = owner;
    struct pass *p = g->pass;

    g->look = NULL;
    for (size_t k = 0; k < g->n; k++) {
        if (up)
            judge_look(g->items[k], &g->at[k].now);
        else
            g->items[k]->state = CLOSED;
    }
    p->next = 0;
    end_glance(g, up);
    if (!up && ++p->looks_failed >= TRIES)
        fail(p, WHY_UNREACHABLE, "the connection broke while mailboxes were looked at");
    tell_progress(p);
    step_soon(p);
}

/* As many as make one share of the lanes. */
static void start_glance(struct glance *g, struct lane *lane, size_t closed)
{
    struct pass *p = g->pass;
    size_t most = (closed + CREW_MAX - 1) / CREW_MAX;

    g->lane = lane;
    g->at = xcalloc(most, sizeof(*g->at));
    g->items = xcalloc(most, sizeof(*g->items));
    for (size_t i = 0; i < p->n && g->n < most; i++) {
        struct item *item = &p->items[i];
        if (item->state != CLOSED)
            continue;
        item->state = LOOKED_AT;
        g->at[g->n].name = listed(item)->name;
        g->items[g->n++] = item;
    }
    g->look = look_start(lane->source, g->at, g->n, on_looked, g);
}

static void step_looks(struct pass *p)
{
    size_t closed = count_state(p, CLOSED), left;
    struct lane *lane;

    for (size_t i = 0; i < CREW_MAX && (left = count_state(p, CLOSED)) > 0; i++) {
        struct glance *g = &p->glances[i];
        if (g->lane || !(lane = crew_take(p->move->crew)))
            continue;
        g->pass = p;
        start_glance(g, lane, closed < left ? left : closed);
    }
}

static size_t count_open(const struct pass *p)
{
    return count_state(p, TODO) + count_state(p, CLOSED) + count_state(p, LOOKED_AT) + count_state(p, LOADING) +
           count_state(p, COPYING);
}

/* A lane for each mailbox that is to be opened, but one at least. */
static void want_lanes(struct pass *p)
{
    size_t open = count_open(p);

    crew_want(p->move->crew, open == 0 ? 1 : open < CREW_MAX ? (unsigned)open : CREW_MAX);
}

static bool shares_any(const struct imap_seq *a, const struct imap_seq *b)
{
    for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
        if (a->ranges[i].first <= b->ranges[k].last && b->ranges[k].first <= a->ranges[i].last)
            return true;
        if (a->ranges[i].last < b->ranges[k].last)
            i++;
        else
            k++;
    }
    return false;
}

static void enter_remove(struct pass *p)
{
    p->phase = REMOVE;
    p->next = 0;
    for (size_t i = 0; i < p->n; i++) {
        struct item *item = &p->items[i];
        const struct imap_seq *gone = &item->record->gone;
        if (item->state == EQUAL && (p->last ? gone->n > 0 : shares_any(gone, &item->removable)))
            item->state = TODO;
    }
    step_soon(p);
}

static void step_copy(struct pass *p)
{
    struct item *i;
    struct lane *lane;

    if (count_open(p) == 0 && p->phase == COPY && !p->over) {
        enter_remove(p);
        return;
    }
    if (count_open(p) == 0) {
        p->phase = ORPHANS;
        step_soon(p);
        return;
    }
    want_lanes(p);
    step_looks(p);
    while ((i = next_todo(p)) && (lane = crew_take(p->move->crew)))
        start_item(i, lane);
}

/* ---- ORPHANS */

static void end_gone(struct pass *p, bool clean)
{
    if (clean)
        crew_give(p->move->crew, p->lane);
    else
        crew_drop(p->move->crew, p->lane);
    p->lane = NULL;
    step_soon(p);
}

static void drop_gone(struct pass *p, struct gone *g, const struct orphan_result *result)
{
    LOG(INFO, "mailbox_gone", LOG_S("user", p->move->user), LOG_S("mailbox", g->from),
        LOG_U("removed", result->removed), LOG_S("on_target", result->stays ? "stays" : "gone"));
    if (result->stays)
        findings_add(p->findings, FINDING_EXTRA_MAILBOX, g->from, 0,
                     "the source has it no more; on the target it stays, with what is not of this move");
    records_drop(p->move->records, g->record);
    g->record = NULL;
    p->dropped = true;
    p->next_gone++;
    p->gone_tried = false;
}

/* After a broken connection it is tried once more, and else by the next pass. */
static void gone_down(struct pass *p, const char *why)
{
    if (p->gone_tried)
        fail(p, WHY_UNREACHABLE, why);
    p->gone_tried = true;
}

static void on_orphan(void *owner, const struct orphan_result *result)
{
    struct pass *p = owner;
    struct gone *g = &p->gone[p->next_gone];

    p->orphan = NULL;
    switch (result->rc) {
    case COPY_EQUAL:
        drop_gone(p, g, result);
        break;
    case COPY_DIFFERS:
    case COPY_CANNOT:
        if (*result->why)
            findings_add(p->findings, result->rc == COPY_CANNOT ? FINDING_UNREMOVABLE : FINDING_LISTING, g->from,
                         0, "%s", result->why);
        p->next_gone++;
        break;
    case COPY_DOWN:
        gone_down(p, result->why);
        break;
    case COPY_LOST:
        fail_by_store(p, ROUTE_LOST);
        break;
    }
    end_gone(p, result->rc != COPY_DOWN);
}

static bool has_children(const struct mailboxes *m, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; m->separator && i < m->n; i++)
        if ((m->items[i].flags & MAILBOX_LISTED) && !strncmp(m->items[i].name, name, len) &&
            m->items[i].name[len] == m->separator)
            return true;
    return false;
}

static void start_orphan(struct pass *p, const struct gone *g)
{
    struct move *m = p->move;

    p->orphan = orphan_start(
        &(struct orphan_request){
            .loop = m->m->loop,
            .source = p->lane->source,
            .target = p->lane->target,
            .ledger = g->record->ledger,
            .source_name = g->from,
            .target_name = g->to,
            .made = g->record->stamp.made,
            .has_children = has_children(p->mailboxes[TARGET], g->to),
            .delete_share = m->m->conf->migration.delete_share,
            .findings = p->findings,
        },
        on_orphan, p);
}

static void on_gone_ledger(void *owner, enum route_rc rc)
{
    struct pass *p = owner;
    struct record *rec = p->gone[p->next_gone].record;
    const struct move *m = p->move;

    if (rc == ROUTE_OK && !ledger_is_of(rec->ledger, m->source_name, m->target_name)) {
        ledger_pair(rec->ledger, m->source_name, m->target_name, on_gone_ledger, p);
    } else if (rc == ROUTE_OK) {
        start_orphan(p, &p->gone[p->next_gone]);
    } else {
        end_gone(p, true);
        fail_by_store(p, rc);
        ledger_free(&rec->ledger);
    }
}

static void step_orphans(struct pass *p)
{
    struct move *m = p->move;

    if (p->lane)
        return;
    if (p->next_gone == p->n_gone) {
        p->over = true;
        step_soon(p);
        return;
    }
    crew_want(m->crew, 1);
    if (!(p->lane = crew_take(m->crew)))
        return;
    struct record *rec = p->gone[p->next_gone].record;
    if (rec->ledger)
        start_orphan(p, &p->gone[p->next_gone]);
    else
        rec->ledger = ledger_load(m->m->store, &m->job, rec->view.id, on_gone_ledger, p);
}

/* Once more is looked for it before anything is removed: it may have got another name, and what was in it be found in
 * a mailbox that was listed before. */
static void note_absent(void *owner, struct record *record, const char *from, const char *to)
{
    struct pass *p = owner;

    if (!record->absent && !p->last) {
        record->absent = true;
        p->absent++;
        return;
    }
    p->gone = xreallocarray(p->gone, p->n_gone + 1, sizeof(*p->gone));
    p->gone[p->n_gone++] = (struct gone){record, from, to};
}

/* ---- ARRANGE */

/* What the target does not make can't be copied; the rest goes on. */
static void drop_refused(struct pass *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->items[i].plan->refused)
            p->items[i].state = FAILED;
}

/* Which ones is not told, so it counts only where nothing was there before. */
static void note_made(struct pass *p, const struct arrange_result *result)
{
    size_t wanted = 0;

    for (size_t i = 0; i < p->n; i++)
        wanted += p->items[i].plan->create;
    if (result->rc != ARRANGE_OK || result->created != wanted)
        return;
    for (size_t i = 0; i < p->n; i++) {
        struct record *r = p->items[i].record;
        if (!p->items[i].plan->create)
            continue;
        r->stamp = (struct stamp){.made = true, .terms = records_terms(p->move->records)};
        r->stamp_changed = true;
    }
}

static void on_arranged(void *owner, const struct arrange_result *result)
{
    struct pass *p = owner;

    p->arrange = NULL;
    drop_refused(p);
    if (result->rc == ARRANGE_DOWN) {
        crew_drop(p->move->crew, p->lane);
        if (++p->tries >= TRIES)
            fail(p, WHY_UNREACHABLE, result->detail);
    } else {
        crew_give(p->move->crew, p->lane);
        if (result->rc == ARRANGE_LATER)
            fail(p, WHY_REFUSED, result->detail);
        note_made(p, result);
        p->phase = BRING;
        if (result->created)
            LOG(INFO, "arranged", LOG_S("user", p->move->user), LOG_U("created", result->created));
    }
    p->lane = NULL;
    step_soon(p);
}

static void step_arrange(struct pass *p)
{
    if (!arrange_is_needed(p->plan)) {
        p->phase = BRING;
        step_soon(p);
        return;
    }
    if (!p->arrange && (p->lane = crew_take(p->move->crew)))
        p->arrange = arrange_start(p->lane->target, p->plan, p->findings, on_arranged, p);
}

/* ---- WAIVERS */

static void on_waivers(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct pass *p = owner;

    if (rc != ROUTE_OK) {
        fail_by_store(p, rc);
        return;
    }
    for (size_t i = 0; i + 1 < n; i += 2)
        waivers_add(p->waivers, rows[i]);
    p->phase = LISTS;
    step_soon(p);
}

/* ---- LISTS, RECORDS */

static void on_records(void *owner, enum route_rc rc)
{
    struct pass *p = owner;

    if (rc != ROUTE_OK) {
        fail_by_store(p, rc);
        return;
    }
    if (p->phase == RECORDS)
        p->phase = ARRANGE;
    else
        p->records_written = true;
    step_soon(p);
}

static int compare_items(const void *a, const void *b)
{
    const struct mailbox *x = listed(a), *y = listed(b);

    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->status.messages < y->status.messages ? 1 : x->status.messages > y->status.messages ? -1 : 0;
}

/* It may have to be opened after all. */
static void close_for_now(struct item *i)
{
    i->state = CLOSED;
    i->pass->to_open++;
}

static void make_items(struct pass *p)
{
    p->n = p->plan->n;
    p->items = xcalloc(p->n ? p->n : 1, sizeof(*p->items));
    for (size_t i = 0; i < p->n; i++) {
        const struct plan_item *plan = &p->plan->items[i];
        struct record *record = records_get(p->move->records, plan->source->name, plan->target_name);
        p->items[i] = (struct item){.pass = p,
                                    .plan = plan,
                                    .there = mailboxes_find(p->mailboxes[TARGET], plan->target_name),
                                    .record = record};
        add_uids(&p->items[i].removable, &record->gone);
        record->absent = false;
        if (!may_stay_closed(&p->items[i]))
            p->to_open++;
        else if (p->last)
            close_for_now(&p->items[i]);
        else
            leave_closed(&p->items[i]);
    }
    qsort(p->items, p->n, sizeof(*p->items), compare_items);
    records_each_gone(p->move->records, p->mailboxes[SOURCE], note_absent, p);
}

static void start_records(struct pass *p)
{
    make_items(p);
    tell_progress(p);
    want_lanes(p); /* they are signed in meanwhile */
    p->phase = RECORDS;
    records_write(p->move->records, on_records, p);
}

/* ---- LOOK and BRING */

/* True: the step did what it is for. */
static bool baggage_answered(struct pass *p, enum baggage_rc rc, const char *why)
{
    const struct conf_backend *broken =
        *imapc_error(p->lane->source) ? p->move->source : p->move->target;

    if (rc == BAGGAGE_DOWN)
        crew_drop(p->move->crew, p->lane);
    else
        crew_give(p->move->crew, p->lane);
    p->lane = NULL;
    step_soon(p);
    if (rc == BAGGAGE_DOWN && ++p->tries >= TRIES) {
        char *detail = xasprintf("%s: %s", broken->name, why);
        fail(p, WHY_UNREACHABLE, detail);
        free(detail);
    } else if (rc == BAGGAGE_STORE || rc == BAGGAGE_LOST) {
        fail_by_store(p, rc == BAGGAGE_LOST ? ROUTE_LOST : ROUTE_DOWN);
    }
    return rc == BAGGAGE_OK;
}

static uint64_t open_of(const struct findings *f, enum finding_kind kind)
{
    return findings_of(f, kind) - findings_waived(f, kind);
}

/* What makes all copying vain ends the pass here. */
static void on_baggage_looked(void *owner, enum baggage_rc rc, const char *why)
{
    struct pass *p = owner;
    const struct findings *f = baggage_findings(p->move->baggage);

    if (!baggage_answered(p, rc, why))
        return;
    if (open_of(f, FINDING_SAME_ACCOUNT) + open_of(f, FINDING_QUOTA) > 0) {
        findings_join(p->findings, f);
        p->over = true;
        return;
    }
    start_records(p);
}

static void step_look(struct pass *p)
{
    if (!p->lane && (p->lane = crew_take(p->move->crew)))
        baggage_look(p->move->baggage, p->lane, p->plan, p->waivers, on_baggage_looked, p);
}

static void on_baggage_brought(void *owner, enum baggage_rc rc, const char *why)
{
    struct pass *p = owner;

    if (!baggage_answered(p, rc, why))
        return;
    findings_join(p->findings, baggage_findings(p->move->baggage));
    p->phase = COPY;
}

/* Only in the pass that has looked. */
static void step_bring(struct pass *p)
{
    if (p->last || baggage_is_done(p->move->baggage)) {
        p->phase = COPY;
        step_soon(p);
    } else if (!p->lane && (p->lane = crew_take(p->move->crew))) {
        baggage_bring(p->move->baggage, p->lane, on_baggage_brought, p);
    }
}

static void begin_items(struct pass *p);

static void make_plan(struct pass *p)
{
    const struct move *m = p->move;
    const struct mailboxes *source = p->mailboxes[SOURCE], *target = p->mailboxes[TARGET];

    renames_settle(m->records, target);
    p->plan = plan_make(&(struct plan_request){
        .source = source,
        .target = target,
        .rules = m->m->conf->migration.rules,
        .back = m->back,
        .waivers = p->waivers,
    });
    if (p->plan->fault) {
        char *fault = xasprintf("the %s: %s", p->plan->fault_side, p->plan->fault);
        fail(p, WHY_CANNOT, fault);
        free(fault);
        return;
    }
    if (p->rounds < ROUNDS && renames_are_needed(m->records, p->plan, source, target)) {
        p->phase = RENAMES;
        step_soon(p);
    } else {
        begin_items(p);
    }
}

static void begin_items(struct pass *p)
{
    findings_join(p->findings, p->plan->findings);
    if (!p->move->baggage)
        p->move->baggage = baggage_new(p->move, false);
    if (!p->last && !baggage_is_done(p->move->baggage)) {
        p->phase = LOOK;
        step_soon(p);
    } else {
        findings_join(p->findings, baggage_findings(p->move->baggage));
        start_records(p);
    }
}

/* ---- RENAMES */

static void list_again(struct pass *p)
{
    plan_free(&p->plan);
    mailboxes_free(&p->mailboxes[SOURCE]);
    mailboxes_free(&p->mailboxes[TARGET]);
    p->phase = LISTS;
}

static void on_renames(void *owner, const struct renames_result *result)
{
    struct pass *p = owner;

    p->renames = NULL;
    p->rounds++;
    if (result->rc == COPY_EQUAL)
        crew_give(p->move->crew, p->lane);
    else
        crew_drop(p->move->crew, p->lane);
    p->lane = NULL;
    if (result->rc == COPY_LOST)
        fail_by_store(p, ROUTE_LOST);
    else if (result->rc == COPY_DOWN && ++p->tries >= TRIES)
        fail(p, WHY_UNREACHABLE, result->why);
    else if (result->rc == COPY_DOWN || result->renamed)
        list_again(p);
    else
        begin_items(p);
    step_soon(p);
}

static void step_renames(struct pass *p)
{
    if (!p->lane && (p->lane = crew_take(p->move->crew)))
        p->renames = renames_start(p->move, p->lane, p->plan, p->mailboxes[SOURCE], p->mailboxes[TARGET], on_renames, p);
}

static void lists_failed(struct pass *p, int side, enum mailboxes_rc rc, const char *why)
{
    const struct conf_backend *b = side == SOURCE ? p->move->source : p->move->target;
    char *detail = xasprintf("%s: %s", b->name, why);

    mailboxes_read_cancel(&p->reading[!side]);
    mailboxes_free(&p->mailboxes[!side]);
    crew_drop(p->move->crew, p->lane);
    p->lane = NULL;
    if (rc == MAILBOXES_REFUSED)
        fail(p, WHY_REFUSED, detail);
    else if (++p->tries >= TRIES)
        fail(p, WHY_UNREACHABLE, detail);
    free(detail);
    step_soon(p);
}

static void on_list(struct pass *p, int side, enum mailboxes_rc rc, struct mailboxes *m, const char *why)
{
    p->reading[side] = NULL;
    if (rc != MAILBOXES_OK) {
        lists_failed(p, side, rc, why);
        return;
    }
    p->mailboxes[side] = m;
    if (!p->mailboxes[!side])
        return;
    crew_give(p->move->crew, p->lane);
    p->lane = NULL;
    make_plan(p);
}

static void on_source_list(void *owner, enum mailboxes_rc rc, struct mailboxes *m, const char *why)
{
    on_list(owner, SOURCE, rc, m, why);
}

static void on_target_list(void *owner, enum mailboxes_rc rc, struct mailboxes *m, const char *why)
{
    on_list(owner, TARGET, rc, m, why);
}

/* For the time that a first copy has left it is good to know bytes; a stamp needs numbers that are proof. */
static enum mailboxes_ask what_to_ask(const struct pass *p, const struct imapc *c, int side)
{
    if (side == SOURCE && !p->last)
        return records_counted(p->move->records) ? MAILBOXES_NUMBERS : MAILBOXES_SIZES;
    return imap_caps_has(imapc_caps(c), CAP_CONDSTORE) ? MAILBOXES_NUMBERS : MAILBOXES_NAMES;
}

static void step_lists(struct pass *p)
{
    struct lane *l = p->lane;

    if (l || !(l = p->lane = crew_take(p->move->crew)))
        return;
    p->reading[SOURCE] =
        mailboxes_read(l->source, what_to_ask(p, l->source, SOURCE), on_source_list, p);
    p->reading[TARGET] =
        mailboxes_read(l->target, what_to_ask(p, l->target, TARGET), on_target_list, p);
}

/* ---- the end */

static void stop(struct pass *p)
{
    crew_set_owner(p->move->crew, NULL, NULL);
    loop_undefer(p->move->m->loop, &p->task);
    records_forget(p->move->records, p);
    store_forget(p->move->m->store, p);
    mailboxes_read_cancel(&p->reading[SOURCE]);
    mailboxes_read_cancel(&p->reading[TARGET]);
    arrange_cancel(&p->arrange);
    for (size_t i = 0; i < CREW_MAX; i++)
        if (p->glances[i].lane)
            end_glance(&p->glances[i], false);
    if (p->move->baggage)
        baggage_stop(p->move->baggage);
    renames_cancel(&p->renames);
    orphan_cancel(&p->orphan);
    if (p->phase == ORPHANS && p->lane && p->next_gone < p->n_gone && p->gone[p->next_gone].record)
        ledger_free(&p->gone[p->next_gone].record->ledger);
    for (size_t i = 0; i < p->n; i++) {
        struct item *item = &p->items[i];
        if (item->state == LOADING || item->state == COPYING) {
            copy_cancel(&item->copy);
            ledger_free(&item->record->ledger);
            give_lane(item, false);
        }
    }
    if (p->lane)
        crew_drop(p->move->crew, p->lane);
}

static void pass_free(struct pass *p)
{
    findings_free(&p->findings);
    waivers_free(&p->waivers);
    plan_free(&p->plan);
    mailboxes_free(&p->mailboxes[SOURCE]);
    mailboxes_free(&p->mailboxes[TARGET]);
    buf_free(&p->detail);
    for (size_t i = 0; i < p->n; i++)
        imap_seq_free(&p->items[i].removable);
    free(p->items);
    free(p->gone);
    free(p);
}

static void sum_counts(const struct pass *p, struct pass_result *r)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct copy_counts *c = &p->items[i].record->counts;
        r->counts.messages_total += c->messages_total;
        r->counts.messages_done += c->messages_done;
        r->counts.messages_verified += c->messages_verified;
        r->counts.bytes_total += c->bytes_total;
        r->counts.bytes_done += c->bytes_done;
        r->counts.appended += p->items[i].changes.appended;
        r->counts.stored += p->items[i].changes.stored;
        r->counts.expunged += p->items[i].changes.expunged;
        r->counts.zones_changed += c->zones_changed;
        r->counts.compared_bytes += c->compared_bytes;
        r->counts.compared_headers += c->compared_headers;
        r->counts.compared_listing += c->compared_listing;
    }
}

static uint64_t count_pending(const struct pass *p)
{
    uint64_t n = count_state(p, VANISHED) + p->absent;

    for (size_t i = 0; i < p->n; i++)
        n += imap_seq_count(&p->items[i].record->gone);
    return n;
}

static void log_findings(struct pass *p)
{
    for (enum finding_kind k = 0; k < FINDING_KINDS; k++) {
        uint64_t n = findings_of(p->findings, k);
        if (n == 0 || (p->move->kinds_told & (uint64_t)1 << k))
            continue;
        p->move->kinds_told |= (uint64_t)1 << k;
        LOG(INFO, "findings", LOG_S("user", p->move->user), LOG_S("kind", finding_word(k)), LOG_U("count", n),
            LOG_U("waived", findings_waived(p->findings, k)),
            LOG_S("blocks", finding_class(k) == FINDING_BLOCKS ? "yes" : "no"));
    }
}

static void finish(struct pass *p)
{
    struct pass_result r = {.rc = p->lost     ? PASS_LOST
                                  : p->failed ? PASS_FAILED
                                              : PASS_EQUAL,
                            .why = p->why,
                            .whole = p->kind != PASS_QUICK,
                            .mailboxes = p->n,
                            .opened = p->opened,
                            .pending = count_pending(p),
                            .took_ms = clock_boot_ms() - p->began_ms};

    stop(p);
    log_findings(p);
    if (!p->lost)
        records_write_stamps(p->move->records);
    sum_counts(p, &r);
    if (p->n_failed > 1)
        buf_printf(&p->detail, " (and %zu more)", p->n_failed - 1);
    r.detail = buf_str(&p->detail);
    p->fn(p->owner, &r);
    pass_free(p);
}

/* What was found and is not waived stops the account, as a failure does. */
static void judge(struct pass *p)
{
    struct buf text = {0};

    if (!p->judged)
        for (size_t i = 0; i < p->n; i++)
            if (p->items[i].state == EQUAL || p->items[i].state == FOUND)
                findings_join(p->findings, p->items[i].record->findings);
    p->judged = true;
    if (p->failed || p->lost || findings_open(p->findings) == 0)
        return;
    findings_describe(&text, p->findings);
    note_failure(p, findings_why(p->findings), buf_str(&text));
    buf_free(&text);
}

/* ---- the report */

static void on_report(void *owner, enum route_rc rc, const char *detail)
{
    struct pass *p = owner;

    (void)detail;
    p->reported = true;
    if (rc == ROUTE_LOST)
        p->lost = true;
    step_soon(p); /* without a report the account moves all the same: it is for people */
}

static bool was_looked_at(const struct item *i)
{
    return (i->state == EQUAL || i->state == FOUND) && i->record->looked;
}

static void send_report(struct pass *p)
{
    struct report r = {.time_ms = clock_wall_ms(),
                       .source = p->move->source_name,
                       .target = p->move->target_name,
                       .verify = verify_word(p->move->m->conf->migration.verify),
                       .result = p->failed ? why_word(p->why) : "equal",
                       .reason = buf_str(&p->detail),
                       .last = p->last,
                       .all = p->findings,
                       .n = p->n};
    struct buf text = {0};

    r.mailboxes = xcalloc(p->n ? p->n : 1, sizeof(*r.mailboxes));
    for (size_t i = 0; i < p->n; i++) {
        const struct item *item = &p->items[i];
        bool looked = was_looked_at(item);
        r.mailboxes[i] = (struct report_mailbox){.source_name = item->plan->source->name,
                                                 .target_name = item->plan->target_name,
                                                 .looked = looked,
                                                 .counts = &item->record->counts,
                                                 .findings = looked ? item->record->findings : NULL};
    }
    report_write(&text, &r);
    route_report_write(p->move->m->store, &p->move->job, buf_span(&text), on_report, p);
    report_free(&r);
    buf_free(&text);
}

/* A quick pass knows nothing of what it did not open: what was told before is better then. */
static bool must_report(const struct pass *p)
{
    bool all = p->kind != PASS_QUICK || p->failed;

    for (size_t i = 0; i < p->n && !all; i++)
        if (!was_looked_at(&p->items[i]))
            return false;
    return !p->lost && !p->reported;
}

/* The last pass has folded the ledgers into the records. */
static void end_or_write(struct pass *p)
{
    judge(p);
    if (must_report(p)) {
        if (!p->report_sent)
            send_report(p);
        p->report_sent = true;
        return;
    }
    if (!(p->last || p->dropped) || p->failed || p->lost || p->records_written) {
        finish(p);
    } else if (!p->records_sent) {
        p->records_sent = true;
        records_write(p->move->records, on_records, p);
    }
}

static void step(struct loop_task *task)
{
    struct pass *p = CONTAINER_OF(task, struct pass, task);

    if (p->over) {
        end_or_write(p);
        return;
    }
    switch (p->phase) {
    case WAIVERS:
        break;
    case LISTS:
        step_lists(p);
        break;
    case RENAMES:
        step_renames(p);
        break;
    case RECORDS:
        break;
    case LOOK:
        step_look(p);
        break;
    case ARRANGE:
        step_arrange(p);
        break;
    case BRING:
        step_bring(p);
        break;
    case COPY:
    case REMOVE:
        step_copy(p);
        break;
    case ORPHANS:
        step_orphans(p);
        break;
    }
}

static void on_crew(void *owner, enum crew_event ev)
{
    struct pass *p = owner;

    if (ev == CREW_FAILED)
        fail(p, crew_why(p->move->crew), crew_error(p->move->crew));
    step_soon(p);
}

struct pass *pass_start(struct move *move, enum pass_kind kind, pass_fn fn, void *owner)
{
    struct pass *p = xcalloc(1, sizeof(*p));

    p->move = move;
    p->kind = kind;
    p->last = kind == PASS_LAST;
    p->fn = fn;
    p->owner = owner;
    p->task.fn = step;
    p->waivers = waivers_new();
    p->findings = findings_new(p->waivers);
    p->began_ms = clock_boot_ms();
    crew_set_owner(move->crew, on_crew, p);
    crew_want(move->crew, 1);
    route_waivers_read(move->m->store, move->user, on_waivers, p);
    return p;
}

void pass_cancel(struct pass **pp)
{
    struct pass *p = *pp;

    *pp = NULL;
    if (!p)
        return;
    stop(p);
    pass_free(p);
}
