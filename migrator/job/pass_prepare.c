/* INSPECT, RECORDS, ARRANGE and BRING: what goes before the first message, once there is a plan. */
#include <inttypes.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "pass_priv.h"

/* ---- INSPECT and BRING */

/* True: the step did what it is for. */
static bool baggage_answered(struct pass *p, enum baggage_rc rc, const char *why)
{
    const struct conf_backend *broken = *imapc_error(p->lane->source) ? p->move->source : p->move->target;

    if (rc == BAGGAGE_DOWN) {
        if (p->phase == INSPECT) /* BRING is tried again with what was found */
            baggage_stop(p->move->baggage);
        crew_drop(p->move->crew, p->lane);
    } else {
        crew_give(p->move->crew, p->lane);
    }
    p->lane = NULL;
    pass_step_soon(p);
    if (rc == BAGGAGE_DOWN && ++p->tries >= TRIES) {
        char *detail = xasprintf("%s: %s", broken->name, why);
        pass_fail(p, WHY_UNREACHABLE, detail);
        free(detail);
    } else if (rc == BAGGAGE_STORE || rc == BAGGAGE_LOST) {
        pass_fail_by_store(p, rc == BAGGAGE_LOST ? ROUTE_LOST : ROUTE_DOWN);
    }
    return rc == BAGGAGE_OK;
}

static uint64_t open_of(const struct findings *f, enum finding_kind kind)
{
    return findings_of(f, kind) - findings_waived(f, kind);
}

/* ---- RECORDS */

static void pass_prepare_on_records(void *owner, enum route_rc rc)
{
    struct pass *p = owner;

    if (rc != ROUTE_OK) {
        pass_fail_by_store(p, rc);
        return;
    }
    pass_enter(p, ARRANGE);
}

static void start_records(struct pass *p)
{
    pass_make_items(p);
    pass_tell_progress(p);
    pass_want_lanes(p); /* they are signed in meanwhile */
    pass_enter(p, RECORDS);
    records_write(p->move->records, pass_prepare_on_records, p);
}

/* ---- INSPECT */

/* What makes all copying vain ends the pass here. */
static void on_baggage_inspected(void *owner, enum baggage_rc rc, const char *why)
{
    struct pass *p = owner;
    const struct findings *f = baggage_findings(p->move->baggage);

    if (!baggage_answered(p, rc, why))
        return;
    if (open_of(f, FINDING_SAME_ACCOUNT) + open_of(f, FINDING_QUOTA) > 0) {
        findings_join(p->findings, f);
        pass_enter(p, JUDGE);
        return;
    }
    start_records(p);
}

static void pass_prepare_start_inspecting(struct pass *p)
{
    baggage_inspect(p->move->baggage, p->lane, p->plan, p->waivers, on_baggage_inspected, p);
}

void pass_step_inspect(struct pass *p)
{
    if (!p->lane && (p->lane = crew_take(p->move->crew)))
        pass_prepare_start_inspecting(p);
}

struct baggage *pass_baggage(struct pass *p)
{
    if (!p->move->baggage)
        p->move->baggage = baggage_new(p->move, false);
    return p->move->baggage;
}

static bool pass_prepare_looks(struct pass *p)
{
    bool again = p->kind != PASS_QUICK && baggage_renew(pass_baggage(p));

    return again || (!pass_is_last(p) && !baggage_is_done(pass_baggage(p)));
}

void pass_prepare(struct pass *p)
{
    findings_join(p->findings, p->plan->findings);
    p->looks = pass_prepare_looks(p);
    if (p->looks) {
        pass_enter(p, INSPECT);
        if (!records_counted(
                p->move->records)) /* most of it will be opened: lanes take several round trips */
            crew_want(p->move->crew, p->plan->n < CREW_MAX ? (unsigned)p->plan->n + 1 : CREW_MAX);
        if (p->lane)
            pass_prepare_start_inspecting(p);
        pass_step_soon(p);
    } else {
        findings_join(p->findings, baggage_findings(p->move->baggage));
        start_records(p);
    }
}

/* ---- ARRANGE */

/* What the target does not make can't be copied; the rest goes on. */
static void pass_prepare_drop_refused(struct pass *p)
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

static void pass_prepare_on_arranged(void *owner, const struct arrange_result *result)
{
    struct pass *p = owner;

    p->arrange = NULL;
    pass_prepare_drop_refused(p);
    pass_leave_lane(p, result->rc != ARRANGE_DOWN);
    if (result->rc == ARRANGE_DOWN) {
        if (++p->tries >= TRIES)
            pass_fail(p, WHY_UNREACHABLE, result->detail);
    } else {
        if (result->rc == ARRANGE_LATER)
            pass_fail(p, WHY_REFUSED, result->detail);
        note_made(p, result);
        pass_enter(p, BRING);
        if (result->created)
            LOG(INFO, "arranged", LOG_S("user", p->move->user), LOG_U("created", result->created));
    }
    pass_step_soon(p);
}

void pass_step_arrange(struct pass *p)
{
    if (!arrange_is_needed(p->plan, ARRANGE_MAILBOXES)) {
        pass_enter(p, BRING);
        return;
    }
    if (p->arrange || !(p->lane = crew_take(p->move->crew)))
        return;
    p->arrange =
        arrange_start(p->lane->target, p->plan, ARRANGE_MAILBOXES, p->findings, pass_prepare_on_arranged, p);
    if (arrange_has_asked(p->arrange))
        pass_copy_early(p);
}

/* ---- BRING */

static void on_baggage_brought(void *owner, enum baggage_rc rc, const char *why)
{
    struct pass *p = owner;

    if (!baggage_answered(p, rc, why))
        return;
    findings_join(p->findings, baggage_findings(p->move->baggage));
    pass_enter(p, COPY);
}

/* Only in the pass that has looked. */
void pass_step_bring(struct pass *p)
{
    if (!p->looks || baggage_is_done(p->move->baggage)) {
        pass_enter(p, COPY);
    } else if (!p->lane && baggage_has_nothing(p->move->baggage)) {
        findings_join(p->findings, baggage_findings(p->move->baggage));
        pass_enter(p, COPY);
    } else if (!p->lane && (p->lane = crew_take(p->move->crew))) {
        baggage_bring(p->move->baggage, p->lane, on_baggage_brought, p);
    }
}

void pass_stop_prepare(struct pass *p)
{
    arrange_cancel(&p->arrange);
    if (p->move->baggage)
        baggage_stop(p->move->baggage);
}
