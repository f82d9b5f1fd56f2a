/* COPY, in the freeze: is the source of mailboxes that may stay closed as it was? It is looked at (glance.h).
 */
#include <stdlib.h>

#include "lib/xalloc.h"

#include "pass_priv.h"

static void end_glance(struct lane_glance *g, bool clean)
{
    struct crew *crew = g->pass->move->crew;
    struct lane *lane = g->lane;

    glance_cancel(&g->glance);
    free(g->at);
    free(g->items);
    *g = (struct lane_glance){.pass = g->pass};
    if (clean)
        crew_give(crew, lane);
    else
        crew_drop(crew, lane);
}

static void judge_glance(struct pass_item *i, const struct stamp_side *now)
{
    if (stamp_side_same(&i->record->stamp.source, now))
        item_leave_closed(i);
    else
        i->state = TODO;
}

static void pass_glances_on_seen(void *owner, bool up)
{
    struct lane_glance *g = owner;
    struct pass *p = g->pass;

    g->glance = NULL;
    for (size_t k = 0; k < g->n; k++) {
        if (up)
            judge_glance(g->items[k], &g->at[k].now);
        else
            g->items[k]->state = CLOSED;
    }
    p->next = 0;
    end_glance(g, up);
    if (!up && ++p->glances_failed >= TRIES)
        pass_fail(p, WHY_UNREACHABLE, "the connection broke while mailboxes were looked at");
    pass_tell_progress(p);
    pass_step_soon(p);
}

/* As many as make one share of the lanes. */
static void start_glance(struct lane_glance *g, struct lane *lane, size_t closed)
{
    struct pass *p = g->pass;
    size_t most = (closed + CREW_MAX - 1) / CREW_MAX;

    g->lane = lane;
    g->at = xcalloc(most, sizeof(*g->at));
    g->items = xcalloc(most, sizeof(*g->items));
    for (size_t i = 0; i < p->n && g->n < most; i++) {
        struct pass_item *item = &p->items[i];
        if (item->state != CLOSED)
            continue;
        item->state = GLANCED_AT;
        g->at[g->n].name = item->plan->source->name;
        g->items[g->n++] = item;
    }
    g->glance = glance_start(lane->source, g->at, g->n, pass_glances_on_seen, g);
}

void pass_step_glances(struct pass *p)
{
    size_t closed = pass_count_state(p, CLOSED), left;
    struct lane *lane;

    for (size_t i = 0; i < CREW_MAX && (left = pass_count_state(p, CLOSED)) > 0; i++) {
        struct lane_glance *g = &p->glances[i];
        if (g->lane || !(lane = crew_take(p->move->crew)))
            continue;
        g->pass = p;
        start_glance(g, lane, closed < left ? left : closed);
    }
}

void pass_stop_glances(struct pass *p)
{
    for (size_t i = 0; i < CREW_MAX; i++)
        if (p->glances[i].lane)
            end_glance(&p->glances[i], false);
}
