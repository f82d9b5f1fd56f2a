/* COPY and REMOVE: each mailbox that is to be opened gets a lane, its ledger, and is copied and compared. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "migrator/account/tiers.h"
#include "pass_priv.h"

static void give_lane(struct pass_item *i, bool clean);
static void item_take_target(struct pass_item *i);

/* It begins anew, and nothing of it is held against it: its lane fails, or was given away too early. */
static void start_anew(struct pass_item *i)
{
    copy_cancel(&i->copy);
    tiers_forget(i->pass->move->tiers, i->record);
    ledger_free(&i->record->ledger);
    findings_clear(i->record->findings, NULL);
    i->record->stamp.equal = i->record->whole = false;
    i->state = TODO;
    i->target_waits = i->untold = false;
    i->pass->next = 0;
}

/* Answers that nobody waits for any more might be taken for those of the one behind, so that one begins anew on
 * another lane. */
static void leave_partner(struct pass_item *i, bool clean)
{
    struct pass_item *partner = i->partner;

    i->partner = partner->partner = NULL;
    partner->spoiled = partner->spoiled || !clean;
    if (clean)
        item_take_target(partner);
    if (clean || !partner->behind)
        return;
    start_anew(partner);
    give_lane(partner, false);
}

/* The last of two that use it gives it back. */
static void give_lane(struct pass_item *i, bool clean)
{
    struct lane *lane = i->lane;
    struct move *m = i->pass->move;

    i->lane = NULL;
    m->calm = m->calm && clean;
    if (i == i->pass->early) {
        i->pass->early = NULL;
        i->pass->spoiled = !clean;
    } else if (i->partner)
        leave_partner(i, clean);
    else if (clean && !i->spoiled)
        crew_give(m->crew, lane);
    else
        crew_drop(m->crew, lane);
}

/* ---- how one ended */

static void item_failed(struct pass_item *i, enum why why, const char *reason)
{
    i->state = FAILED;
    pass_note_failure(i->pass, why, reason);
    if (pass_is_last(i->pass))
        pass_enter(i->pass, JUDGE);
}

/* After a doubt the ledger is read anew. */
static void item_down(struct pass_item *i, const char *reason)
{
    struct pass *p = i->pass;

    start_anew(i);
    if (store_state(p->move->m->store) != STORE_UP)
        pass_fail(p, WHY_STORE, "Redis does not answer");
    else if (++i->tries >= (pass_is_throttled(p) ? TRIES_THROTTLED : TRIES))
        pass_fail(p, WHY_UNREACHABLE, reason);
}

/* It may have needed the lane once more, or the lane broke: the next try does not give it away. */
static void item_missed_lane(struct pass_item *i)
{
    i->alone = true;
    start_anew(i);
}

/* What is waived has to be found again by each pass, and named. */
static bool found_nothing(const struct findings *f)
{
    return findings_total(f) == findings_of(f, FINDING_ZONE) + findings_of(f, FINDING_BETWEEN);
}

static void note_stamp(struct pass_item *i, const struct copy_result *result)
{
    struct record *r = i->record;
    const struct foreign_result *foreign = &result->foreign;
    struct stamp now = {.equal = found_nothing(r->findings) && !foreign->later && !foreign->pending,
                        .source = result->source_seen,
                        .target = result->target_seen,
                        .bytes = result->counts.bytes_total,
                        .base = r->stamp.base,
                        .made = r->stamp.made,
                        .terms = records_terms(i->pass->move->records)};

    imap_seq_free(&r->gone);
    imap_seq_join(&r->gone, result->gone);
    r->vanished = false;
    r->whole = r->whole || result->whole;
    r->stamp_changed = r->stamp_changed || !stamp_same(&now, &r->stamp);
    r->stamp = now;
}

/* The numbers of a mailbox with equal UIDVALIDITYs are not equal, and its target can be told another one. */
static bool must_renew(const struct pass_item *i, const struct copy_result *result)
{
    return result->rc == COPY_EQUAL && !tiers_took(i->record, result) &&
           tiers_can_renew(i->pass->move->tiers);
}

/* Clients learn it anew, by a UIDVALIDITY that neither server has (record_fold()). */
static void note_clash(struct pass_item *i, const struct copy_result *result)
{
    struct record_numbers *n = &i->record->numbers;
    char *clash = record_uid_clash(i->record, result, i->pass->move->back);

    if (!clash)
        return;
    if (pass_is_last(i->pass))
        LOG(WARN, "uids_differ", LOG_S("user", i->pass->move->job.user), LOG_S("detail", clash));
    n->tier = VIEW_T3;
    n->known = true;
    snprintf(n->why, sizeof(n->why), "%s", clash);
    free(clash);
}

static void item_equal(struct pass_item *i, const struct copy_result *result)
{
    note_clash(i, result);
    if (pass_is_last(i->pass))
        item_fold(i, result);
    note_stamp(i, result);
    i->record->seen_frozen = pass_is_last(i->pass) ? SEEN_LISTED : SEEN_NOT;
    i->record->marks = result->source_marks;
    i->state = EQUAL;
}

/* A client knows the numbers of a mailbox that is not whole on the target too. */
static void refuse_clash(struct pass_item *i, const struct copy_result *result)
{
    struct copy_result seen = *result;

    seen.source_uidvalidity = i->record->uidvalidity;
    char *clash = record_uid_clash(i->record, &seen, i->pass->move->back);
    if (clash)
        item_failed(i, WHY_UIDVALIDITY, clash);
    free(clash);
}

/* A mailbox that can't be opened may have gone since it was listed: the next pass will see. One that a person
 * has waived for that stops nothing, and the others go on. */
static void item_differs(struct pass_item *i, const struct copy_result *result)
{
    bool waived = findings_open(i->record->findings) == 0;
    bool again = result->vanished && !waived && !pass_is_last(i->pass) && !i->record->vanished;

    i->state = again ? VANISHED : FOUND;
    if (pass_is_last(i->pass) && !waived) /* it has no time */
        pass_enter(i->pass, JUDGE);
    i->record->vanished = again;
    if (waived)
        refuse_clash(i, result);
}

static struct tiers_request tiers_request_of(const struct pass_item *i)
{
    const struct mailbox *m = i->plan->source;

    return (struct tiers_request){.record = i->record,
                                  .lane = i->lane,
                                  .source_name = m->name,
                                  .target_name = i->plan->target_name,
                                  .source = i->pass->mailboxes[SOURCE],
                                  .target = i->pass->mailboxes[TARGET],
                                  .source_uidvalidity =
                                      m->flags & MAILBOX_HAS_STATUS ? m->status.uidvalidity : 0};
}

/* It is copied again, without numbers: by this pass, or, where that has no time, by the next. */
static void pass_copy_on_renewed(void *owner, enum tiers_rc rc, const char *why)
{
    struct pass_item *i = owner;
    struct pass *p = i->pass;
    struct buf text = {0};

    give_lane(i, rc != TIERS_DOWN);
    i->record->stamp.equal = i->record->whole = false;
    i->state = TODO;
    p->next = 0;
    plan_show_name(&text, i->plan->source->name);
    if (rc != TIERS_DONE) {
        buf_printf(&text,
                   ": the UIDVALIDITYs are equal and the UIDs are not, and it can't be given another one: %s",
                   why);
        item_failed(i, rc == TIERS_DOWN ? WHY_UNREACHABLE : WHY_UIDVALIDITY, buf_str(&text));
    } else if (pass_is_last(p)) {
        buf_printf(&text, ": the UIDs of the source could not be kept: %s", i->record->numbers.lost);
        item_failed(i, WHY_DIFFERS, buf_str(&text));
    }
    buf_free(&text);
    pass_step_soon(p);
}

static void pass_copy_on_copied(void *owner, const struct copy_result *result)
{
    struct pass_item *i = owner;
    struct pass *p = i->pass;

    i->copy = NULL;
    tiers_forget(p->move->tiers, i->record); /* of a source that could not be opened, before the target was */
    i->changes.appended += result->counts.appended;
    i->changes.stored += result->counts.stored;
    i->changes.expunged += result->counts.expunged;
    i->record->counts = result->counts;
    i->record->counted = true;
    if (result->source_uidvalidity)
        i->record->uidvalidity = result->source_uidvalidity;
    i->record->looked = result->rc != COPY_DOWN && result->rc != COPY_LOST;
    bool renew = must_renew(i, result);
    if (renew && i->partner && i->partner->behind) {
        give_lane(i, true);
        item_missed_lane(i); /* it is given another UIDVALIDITY at its next try */
        pass_step_soon(p);
        return;
    }
    if (renew) {
        struct tiers_request q = tiers_request_of(i);
        i->state = LOADING;
        tiers_renew(p->move->tiers, &q, result, pass_copy_on_renewed, i);
        return;
    }
    give_lane(i, result->rc != COPY_DOWN && result->rc != COPY_LOST && !result->unread);
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
        if (result->given)
            item_missed_lane(i);
        else
            item_down(i, result->reason);
        break;
    case COPY_LOST:
        pass_fail_by_store(p, ROUTE_LOST);
        break;
    }
    pass_tell_progress(p);
    pass_step_soon(p);
}

/* ---- one is copied */

static void on_progress(void *owner, const struct copy_counts *counts)
{
    struct pass_item *i = owner;

    i->record->counts = *counts;
    i->record->counted = true;
    pass_tell_progress(i->pass);
}

/* Once everything else of this pass is in its place, also where there is nothing else. */
static bool may_remove(const struct pass_item *i)
{
    return i->pass->phase == REMOVE || i->pass->to_open == 1;
}

static bool over_to_next(void *owner);
static bool source_to_next(void *owner);

/* Not before a switch-over is near. On the way back a message that is moved takes a UID that what still comes may have been
 * shown by. */
static bool may_move_foreign(const struct pass_item *i)
{
    return i->pass->move->back ? pass_is_last(i->pass) : i->pass->kind != PASS_QUICK;
}

static void pass_copy_start(struct pass_item *i)
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
            .last = pass_is_last(i->pass),
            .was = whole ? NULL : &i->record->stamp,
            .verify = m->m->conf->migration.verify,
            .seed = i->record->view.id,
            .reorder_max = m->m->conf->migration.reorder_max,
            .delete_share = m->m->conf->migration.delete_share,
            .foreign = {.now = may_move_foreign(i),
                        .calm = m->calm,
                        .max = m->m->conf->migration.foreign_max},
            .waivers = i->pass->waivers,
            .findings = i->record->findings,
            .gone = &i->record->gone,
            .removable = may_remove(i) ? (pass_is_last(i->pass) ? NULL : &i->removable) : &none,
            .leave_out = m->m->conf->migration.rules ? m->m->conf->migration.rules->leave_out : NULL,
            .leave_out_rules = i->plan->leave_out,
            .numbering = &i->record->numbers.numbering,
            .depot = tiers_depot(m->tiers),
            .progress = on_progress,
            .over_to_next = i->alone ? NULL : over_to_next,
            .source_to_next = i->alone ? NULL : source_to_next,
            .target_waits = i->target_waits || i->untold,
        },
        pass_copy_on_copied, i);
}

/* Nobody needs the target before it any more. */
static void item_open_target(struct pass_item *i)
{
    if (i->copy && !i->target_waits && !i->untold)
        copy_take_target(i->copy);
}

static void pass_copy_on_told(void *owner)
{
    struct pass_item *i = owner;

    i->untold = false;
    if (!pass_is_ending(i->pass)) /* its lane and its ledger go with the pass */
        item_open_target(i);
}

static void pass_copy_on_prepared(void *owner, enum tiers_rc rc, const char *why)
{
    struct pass_item *i = owner;

    if (pass_is_ending(i->pass))
        return;
    if (rc == TIERS_DONE && i->copy) {
        pass_copy_on_told(i);
        return;
    }
    if (rc == TIERS_DONE) {
        pass_copy_start(i);
        return;
    }
    if (rc == TIERS_CANNOT) {
        pass_copy_on_renewed(i, rc, why);
        return;
    }
    copy_cancel(&i->copy);
    give_lane(i, false);
    item_down(i, why);
    pass_step_soon(i->pass);
}

static void pass_copy_prepare(struct pass_item *i)
{
    struct move *m = i->pass->move;
    struct tiers_request q = tiers_request_of(i);

    if (!m->tiers)
        m->tiers = tiers_new(m);
    i->state = LOADING;
    if (i->target_waits && tiers_may_renew(m->tiers, i->record)) {
        i->unprepared = true;
        return;
    }
    enum tiers_wait wait = tiers_prepare(m->tiers, &q, pass_copy_on_told, pass_copy_on_prepared, i);
    i->untold = wait == TIERS_ASKING;
    if (wait != TIERS_RENEWING)
        pass_copy_start(i);
}

static void pass_copy_on_ledger(void *owner, enum route_rc rc)
{
    struct pass_item *i = owner;
    const struct move *m = i->pass->move;

    if (rc == ROUTE_OK && pass_is_ending(i->pass))
        return; /* its lane and its ledger go with the pass */
    if (rc == ROUTE_OK && !ledger_is_of(i->record->ledger, m->source_name, m->target_name)) {
        ledger_direct(i->record->ledger, m->source_name, m->target_name, pass_copy_on_ledger, i);
        return;
    }
    if (rc == ROUTE_OK) {
        pass_copy_prepare(i);
        return;
    }
    i->state = TODO;
    give_lane(i, true);
    if (*ledger_error(i->record->ledger))
        pass_fail(i->pass, WHY_STORE, ledger_error(i->record->ledger));
    else
        pass_fail_by_store(i->pass, rc);
    ledger_free(&i->record->ledger);
}

static void start_item(struct pass_item *i, struct lane *lane)
{
    struct move *m = i->pass->move;

    i->lane = lane;
    i->spoiled = i->unprepared = i->untold = false;
    i->behind = i->partner != NULL;
    if (i->record->ledger) {
        pass_copy_prepare(i);
        return;
    }
    i->state = LOADING;
    i->record->ledger = ledger_load(m->m->store, &m->job, i->record->view.id, pass_copy_on_ledger, i);
}

/* ---- all of them */

static struct pass_item *next_todo(struct pass *p)
{
    while (p->next < p->n && p->items[p->next].state != TODO)
        p->next++;
    return p->next < p->n ? &p->items[p->next] : NULL;
}

/* False: there is none. */
static bool start_behind(struct pass_item *i, bool target_waits)
{
    struct pass_item *next = next_todo(i->pass);

    if (!next || i->partner || i->spoiled || i->pass->phase < COPY || pass_is_ending(i->pass))
        return false;
    i->partner = next;
    next->partner = i;
    next->target_waits = target_waits;
    start_item(next, i->lane);
    return true;
}

/* The connection to the source goes on to the next mailbox while this one is not answered yet and read back. */
static bool source_to_next(void *owner)
{
    return start_behind(owner, true);
}

/* Nothing of the one before goes to the target any more. */
static void item_take_target(struct pass_item *i)
{
    if (!i->target_waits)
        return;
    i->target_waits = false;
    if (i->copy)
        item_open_target(i);
    else if (i->unprepared && !pass_is_ending(i->pass))
        pass_copy_prepare(i);
    i->unprepared = false;
}

/* The lane goes on to the next mailbox while this one waits for its last answers. */
static bool over_to_next(void *owner)
{
    struct pass_item *i = owner;

    if (!i->partner || !i->partner->target_waits)
        return start_behind(i, false);
    item_take_target(i->partner);
    return true;
}

/* Not in the freeze, which makes mailboxes so seldom that nobody would see what it saves. */
void pass_copy_early(struct pass *p)
{
    for (size_t i = 0; i < p->n && !p->early && !pass_is_last(p); i++) {
        struct pass_item *item = &p->items[i];
        if (item->state != TODO || item->plan->create)
            continue;
        p->early = item;
        p->spoiled = false;
        start_item(item, p->lane);
    }
}

void pass_leave_lane(struct pass *p, bool clean)
{
    struct crew *crew = p->move->crew;

    if (p->early)
        p->early->spoiled = p->early->spoiled || !clean;
    else if (clean && !p->spoiled)
        crew_give(crew, p->lane);
    else
        crew_drop(crew, p->lane);
    p->early = NULL;
    p->lane = NULL;
    p->spoiled = false;
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
    p->next = 0;
    for (size_t i = 0; i < p->n; i++) {
        struct pass_item *item = &p->items[i];
        const struct imap_seq *gone = &item->record->gone;
        if (item->state == EQUAL && (pass_is_last(p) ? gone->n > 0 : shares_any(gone, &item->removable)))
            item->state = TODO;
    }
    pass_enter(p, REMOVE);
}

void pass_step_copy(struct pass *p)
{
    struct pass_item *i;
    struct lane *lane;

    bool done = pass_count_open(p) == 0 && !p->subscribing && !pass_may_subscribe(p);

    if (done && p->phase == COPY) {
        enter_remove(p);
        return;
    }
    if (done) {
        pass_enter(p, ORPHANS);
        return;
    }
    pass_want_lanes(p);
    while ((i = next_todo(p)) && (lane = crew_take(p->move->crew)))
        start_item(i, lane);
    if (!i)
        pass_step_glances(p); /* they are quick, and what is copied is what the freeze waits for */
    if (!i && pass_may_subscribe(p) && pass_count_state(p, CLOSED) == 0 && (lane = crew_take(p->move->crew)))
        pass_subscribe(p, lane);
}

void pass_stop_copies(struct pass *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct pass_item *item = &p->items[i];
        if (item->state == LOADING || item->state == COPYING) {
            copy_cancel(&item->copy);
            tiers_forget(p->move->tiers, item->record);
            ledger_free(&item->record->ledger);
            give_lane(item, false);
        }
    }
}
