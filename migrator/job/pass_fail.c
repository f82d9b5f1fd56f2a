/* What a step of a pass says: go on, or what failed. */
#include <stdlib.h>

#include "pass_priv.h"

void pass_step_soon(struct pass *p)
{
    loop_defer(p->move->m->loop, &p->task);
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
    if (p->failed)
        return;
    p->failed = true;
    p->why = why;
    buf_add_str(&p->detail, detail);
}

void pass_fail(struct pass *p, enum why why, const char *detail)
{
    pass_note_failure(p, why, detail);
    p->over = true;
    pass_step_soon(p);
}

void pass_fail_by_store(struct pass *p, enum route_rc rc)
{
    if (rc == ROUTE_LOST) {
        p->lost = p->over = true;
        pass_step_soon(p);
    } else {
        pass_fail(p, WHY_STORE, store_why(p->move->m->store));
    }
}
