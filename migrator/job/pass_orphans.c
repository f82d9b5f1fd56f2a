/* ORPHANS: mailboxes that were copied and that the source has no more. */
#include <inttypes.h>
#include <string.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "pass_priv.h"

static void end_gone(struct pass *p, bool clean)
{
    if (clean)
        crew_give(p->move->crew, p->lane);
    else
        crew_drop(p->move->crew, p->lane);
    p->lane = NULL;
    p->trying = NULL;
    pass_step_soon(p);
}

static void drop_gone(struct pass *p, struct gone *g, const struct orphan_result *result)
{
    LOG(INFO, "mailbox_gone", LOG_S("user", p->move->user), LOG_S("mailbox", g->from),
        LOG_U("removed", result->removed), LOG_S("on_target", result->stays ? "stays" : "gone"));
    if (result->stays)
        findings_add(p->findings, FINDING_EXTRA_MAILBOX, g->from, 0,
                     "the source has it no more; on the target it stays, with what is not of this move");
    struct mailbox *there = mailboxes_find(p->mailboxes[TARGET], g->to);
    if (there && !result->stays)
        there->flags &= ~(unsigned)MAILBOX_LISTED; /* not below another any more */
    records_drop(p->move->records, g->record);
    g->record = NULL;
    p->dropped = true;
    p->next_gone++;
}

/* After a broken connection it is tried once more, and else by the next pass. */
static void gone_down(struct pass *p, struct gone *g, const char *why)
{
    if (g->tried)
        pass_fail(p, WHY_UNREACHABLE, why);
    g->tried = true;
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
        if (result->pending && pass_is_last(p))
            pass_fail(p, WHY_DIFFERS, "messages of the target's own are half moved");
        if (*result->why)
            findings_add(p->findings, result->rc == COPY_CANNOT ? FINDING_UNREMOVABLE : FINDING_LISTING,
                         g->from, 0, "%s", result->why);
        p->next_gone++;
        break;
    case COPY_DOWN:
        gone_down(p, g, result->why);
        break;
    case COPY_LOST:
        pass_fail_by_store(p, ROUTE_LOST);
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
            .calm = m->calm,
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
        ledger_direct(rec->ledger, m->source_name, m->target_name, on_gone_ledger, p);
    } else if (rc == ROUTE_OK) {
        start_orphan(p, &p->gone[p->next_gone]);
    } else {
        end_gone(p, true);
        pass_fail_by_store(p, rc);
        ledger_free(&rec->ledger);
    }
}

void pass_step_orphans(struct pass *p)
{
    struct move *m = p->move;

    if (p->lane)
        return;
    if (p->next_gone == p->n_gone) {
        pass_enter(p, JUDGE);
        return;
    }
    crew_want(m->crew, 1);
    if (!(p->lane = crew_take(m->crew)))
        return;
    p->trying = &p->gone[p->next_gone];
    struct record *rec = p->trying->record;
    if (rec->ledger)
        start_orphan(p, p->trying);
    else
        rec->ledger = ledger_load(m->m->store, &m->job, rec->view.id, on_gone_ledger, p);
}

void pass_stop_orphans(struct pass *p)
{
    orphan_cancel(&p->orphan);
    if (p->trying && p->trying->record)
        ledger_free(&p->trying->record->ledger);
}
