#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/xalloc.h"

#include "pass_priv.h"

/* ---- the end */

static void pass_stop(struct pass *p)
{
    crew_set_owner(p->move->crew, NULL, NULL);
    loop_undefer(p->move->m->loop, &p->task);
    records_forget(p->move->records, p);
    store_forget(p->move->m->store, p);
    pass_stop_lists(p);
    pass_stop_prepare(p);
    pass_stop_subscribing(p);
    pass_stop_glances(p);
    pass_stop_orphans(p);
    pass_stop_copies(p);
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
    uint64_t n = pass_count_state(p, VANISHED) + p->absent;

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
        metric_add(METRIC_FINDINGS, n, finding_word(k), NULL);
        LOG(INFO, "findings", LOG_S("user", p->move->user), LOG_S("kind", finding_word(k)), LOG_U("count", n),
            LOG_U("waived", findings_waived(p->findings, k)),
            LOG_S("blocks", finding_class(k) == FINDING_BLOCKS ? "yes" : "no"));
    }
}

static void pass_finish(struct pass *p)
{
    struct pass_result r = {.rc = p->rc,
                            .why = p->why,
                            .whole = p->kind != PASS_QUICK,
                            .mailboxes = p->n,
                            .opened = p->opened,
                            .pending = count_pending(p),
                            .took_ms = clock_boot_ms() - p->began_ms};

    pass_stop(p);
    log_findings(p);
    if (p->rc != PASS_LOST)
        records_write_stamps(p->move->records);
    sum_counts(p, &r);
    if (p->n_failed > 1)
        buf_printf(&p->detail, " (and %zu more)", p->n_failed - 1);
    r.detail = buf_str(&p->detail);
    p->fn(p->owner, &r);
    pass_free(p);
}

static void on_records_written(void *owner, enum route_rc rc)
{
    struct pass *p = owner;

    if (rc != ROUTE_OK)
        pass_fail_by_store(p, rc);
    else if (p->phase == WRITE) /* it may have failed meanwhile */
        pass_enter(p, DONE);
}

/* The last pass has folded the ledgers into the records. */
static void write_or_finish(struct pass *p)
{
    if (p->rc != PASS_EQUAL || !(pass_is_last(p) || p->dropped)) {
        pass_finish(p);
        return;
    }
    pass_enter(p, WRITE);
    records_write(p->move->records, on_records_written, p);
}

static void report_or_write(struct pass *p)
{
    if (!pass_must_report(p)) {
        write_or_finish(p);
        return;
    }
    pass_enter(p, REPORT);
    pass_send_report(p);
}

/* ---- life */

static void pass_step(struct loop_task *task)
{
    struct pass *p = CONTAINER_OF(task, struct pass, task);

    switch (p->phase) {
    case WAIVERS:
    case RECORDS:
        break; /* for Redis to answer */
    case LISTS:
        pass_step_lists(p);
        break;
    case RENAMES:
        pass_step_renames(p);
        break;
    case INSPECT:
        pass_step_inspect(p);
        break;
    case ARRANGE:
        pass_step_arrange(p);
        break;
    case BRING:
        pass_step_bring(p);
        break;
    case COPY:
    case REMOVE:
        pass_step_copy(p);
        break;
    case ORPHANS:
        pass_step_orphans(p);
        break;
    case JUDGE:
        pass_judge(p);
        report_or_write(p);
        break;
    case REPORT:
        if (p->reported || p->rc == PASS_LOST)
            write_or_finish(p);
        break;
    case WRITE:
        if (p->rc != PASS_EQUAL) /* a quick pass that has failed has something to report */
            report_or_write(p);
        break;
    case DONE:
        pass_finish(p);
        break;
    }
}

static void pass_on_crew(void *owner, enum crew_event ev)
{
    struct pass *p = owner;

    if (ev == CREW_FAILED)
        pass_fail(p, crew_why(p->move->crew), crew_error(p->move->crew));
    pass_step_soon(p);
}

struct pass *pass_start(struct move *move, enum pass_kind kind, pass_fn fn, void *owner)
{
    struct pass *p = xcalloc(1, sizeof(*p));

    p->move = move;
    p->kind = kind;
    p->fn = fn;
    p->owner = owner;
    p->task.fn = pass_step;
    p->waivers = waivers_new();
    p->findings = findings_new(p->waivers);
    p->began_ms = clock_boot_ms();
    crew_set_owner(move->crew, pass_on_crew, p);
    if (pass_is_last(p)) /* which finds its lanes signed in */
        crew_want_at_least(move->crew, 1);
    else
        crew_want(move->crew, 1);
    pass_read_waivers(p);
    return p;
}

void pass_cancel(struct pass **pp)
{
    struct pass *p = *pp;

    *pp = NULL;
    if (!p)
        return;
    pass_stop(p);
    pass_free(p);
}
