/* The end of a pass: what was found is judged, and told in the report. */
#include <stdlib.h>

#include "lib/xalloc.h"

#include "migrator/account/baggage.h"
#include "migrator/account/modseqs.h"
#include "migrator/account/report.h"
#include "pass_priv.h"

void pass_judge(struct pass *p)
{
    struct buf text = {0};

    for (size_t i = 0; i < p->n; i++)
        if (p->items[i].state == EQUAL || p->items[i].state == FOUND)
            findings_join(p->findings, p->items[i].record->findings);
    oddities_name(crew_oddities(p->move->crew), p->findings, FINDING_NOT_UNDERSTOOD);
    if (p->rc != PASS_EQUAL || findings_open(p->findings) == 0)
        return;
    findings_describe(&text, p->findings);
    pass_note_failure(p, findings_why(p->findings), buf_str(&text));
    buf_free(&text);
}

static void pass_report_on_kept(void *owner, enum route_rc rc, const char *detail)
{
    struct pass *p = owner;

    (void)detail;
    p->reported = true;
    if (rc == ROUTE_LOST)
        p->rc = PASS_LOST;
    pass_step_soon(p); /* without a report the account moves all the same: it is for people */
}

static bool was_looked_at(const struct pass_item *i)
{
    return (i->state == EQUAL || i->state == FOUND) && i->record->looked;
}

/* They are known once the last pass has folded the record. */
static const char *pass_report_modseqs(const struct pass_item *i)
{
    return pass_is_last(i->pass) && i->state == EQUAL ? modseqs_word(&i->record->view) : NULL;
}

void pass_send_report(struct pass *p)
{
    struct report r = {.time_ms = clock_wall_ms(),
                       .source = p->move->source_name,
                       .target = p->move->target_name,
                       .verify = verify_word(p->move->m->conf->migration.verify),
                       .result = p->rc == PASS_FAILED ? why_word(p->why) : "equal",
                       .reason = buf_str(&p->detail),
                       .last = pass_is_last(p),
                       .shares = p->move->baggage ? baggage_shares(p->move->baggage) : NULL,
                       .all = p->findings,
                       .n = p->n};
    struct buf text = {0};

    r.mailboxes = xcalloc(p->n ? p->n : 1, sizeof(*r.mailboxes));
    for (size_t i = 0; i < p->n; i++) {
        const struct pass_item *item = &p->items[i];
        bool looked = was_looked_at(item);
        r.mailboxes[i] = (struct report_mailbox){.source_name = item->plan->source->name,
                                                 .target_name = item->plan->target_name,
                                                 .uidvalidity = item->record->uidvalidity,
                                                 .tier = item_tier(item),
                                                 .tier_why = item->record->numbers.why,
                                                 .modseqs = pass_report_modseqs(item),
                                                 .looked = looked,
                                                 .counts = &item->record->counts,
                                                 .findings = looked ? item->record->findings : NULL};
    }
    report_write(&text, &r);
    route_report_write(p->move->m->store, &p->move->job, buf_span(&text), pass_report_on_kept, p);
    report_free(&r);
    buf_free(&text);
}

bool pass_must_report(const struct pass *p)
{
    bool all = p->kind != PASS_QUICK || p->rc == PASS_FAILED;

    for (size_t i = 0; i < p->n && !all; i++)
        if (!was_looked_at(&p->items[i]))
            return false;
    return p->rc != PASS_LOST && !p->reported;
}
