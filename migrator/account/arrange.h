/* arrange: carries out the part of a plan that is not messages, at the target: CREATE of missing mailboxes
 * (with their special use where the server takes it, else
 * that is set by SETMETADATA where there is such), SUBSCRIBE and UNSUBSCRIBE. Run again it finds nothing
 * to do. What the target refuses is a finding, and the rest goes on:
 *
 *   name          it does not create a mailbox, or makes another name of it
 *   collision     it takes the name for that of another mailbox (a server to which "a" is "A")
 *   special_use   it creates the mailbox without
 *   subscription  it does not take it
 *
 * Mailboxes that are not there at the end are marked in the plan: struct plan_item.refused. */
#ifndef IMAPFERRY_ARRANGE_H
#define IMAPFERRY_ARRANGE_H

#include "lib/reasons.h"

#include "plan.h"

enum arrange_rc { ARRANGE_OK, ARRANGE_DOWN, ARRANGE_LATER };
struct arrange_result {
    enum arrange_rc rc;
    const char *detail; /* DOWN; LATER: the target refuses for the time being; for people, borrowed */
    size_t created;
};
typedef void (*arrange_fn)(void *owner, const struct arrange_result *result);

enum arrange_what { ARRANGE_MAILBOXES = 1, ARRANGE_SUBSCRIPTIONS = 2, ARRANGE_ALL = 3 };
/* False: there is nothing to do, and nothing to be started. */
bool arrange_is_needed(const struct plan *plan, enum arrange_what what);

struct arrange;
/* plan and findings must live until the end. Never calls back before it returned. */
struct arrange *arrange_start(struct imapc *target, struct plan *plan, enum arrange_what what,
                              struct findings *findings, arrange_fn fn, void *owner);
/* NULL is fine. */
void arrange_cancel(struct arrange **a);

#endif
