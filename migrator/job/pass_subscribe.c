/* Subscriptions are made equal while mailboxes are copied, by a lane that has nothing else to do. */
#include <stdlib.h>

#include "pass_priv.h"

static void on_subscribed(void *owner, const struct arrange_result *result)
{
    struct pass *p = owner;
    struct lane *lane = p->subscribing_lane;

    p->subscribing = NULL;
    p->subscribing_lane = NULL;
    if (result->rc == ARRANGE_DOWN) {
        crew_drop(p->move->crew, lane);
        if (++p->tries >= TRIES)
            pass_fail(p, WHY_UNREACHABLE, result->detail);
    } else {
        crew_give(p->move->crew, lane);
        p->subscribed = true;
    }
    pass_step_soon(p);
}

bool pass_may_subscribe(const struct pass *p)
{
    return !p->subscribed && !p->subscribing && arrange_is_needed(p->plan, ARRANGE_SUBSCRIPTIONS);
}

void pass_subscribe(struct pass *p, struct lane *lane)
{
    p->subscribing_lane = lane;
    p->subscribing =
        arrange_start(lane->target, p->plan, ARRANGE_SUBSCRIPTIONS, p->findings, on_subscribed, p);
}

void pass_stop_subscribing(struct pass *p)
{
    arrange_cancel(&p->subscribing);
    if (p->subscribing_lane)
        crew_drop(p->move->crew, p->subscribing_lane);
    p->subscribing_lane = NULL;
}
