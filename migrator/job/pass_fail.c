/* What a step of a pass says: go on, or what failed. */
#include <stdlib.h>

#include "pass_priv.h"

void pass_step_soon(struct pass *p)
{
    loop_defer(p->move->m->loop, &p->task);
}

bool pass_is_ending(const struct pass *p)
{
    return p->phase >= JUDGE;
}

bool pass_is_last(const struct pass *p)
{
    return p->kind == PASS_LAST;
}

void pass_enter(struct pass *p, enum pass_phase phase)
{
    if (!pass_is_ending(p) || phase > JUDGE)
        p->phase = phase;
    pass_step_soon(p);
}

bool pass_is_throttled(const struct pass *p)
{
    const struct backends *b = p->move->m->backends;
    uint64_t now = clock_boot_ms();

    return pace_is_throttled(backends_pace(b, p->move->source), now) ||
           pace_is_throttled(backends_pace(b, p->move->target), now);
}

void pass_note_failure(struct pass *p, enum why why, const char *detail)
{
    if (why == WHY_UNREACHABLE && crew_is_garbled(p->move->crew))
        why = WHY_NOT_UNDERSTOOD; /* another try would end the same way */
    if ((why == WHY_UNREACHABLE || why == WHY_REFUSED) && pass_is_throttled(p))
        why = WHY_THROTTLED;
    p->n_failed++;
    if (p->rc != PASS_EQUAL)
        return;
    p->rc = PASS_FAILED;
    p->why = why;
    buf_add_str(&p->detail, detail);
}

void pass_fail(struct pass *p, enum why why, const char *detail)
{
    pass_note_failure(p, why, detail);
    pass_enter(p, JUDGE);
}

void pass_fail_by_store(struct pass *p, enum route_rc rc)
{
    if (rc == ROUTE_LOST) {
        p->rc = PASS_LOST;
        pass_enter(p, JUDGE);
    } else {
        pass_fail(p, WHY_STORE, store_why(p->move->m->store));
    }
}
