/* arrange: does at the target what a plan asks for besides messages: CREATE of missing mailboxes, SUBSCRIBE
 * and UNSUBSCRIBE. A mailbox is created with its special use where the server takes that; else the use is set
 * by SETMETADATA where the server has that. A second run finds nothing to do. What the target refuses is a
 * finding, and the rest goes on:
 *
 *   name          the target does not create a mailbox, or gives it another name
 *   collision     the target takes the name for that of another mailbox (a server to which "a" is "A")
 *   special_use   the target creates the mailbox without its special use
 *   subscription  the target does not take a subscription
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
/* Is all under way that is to be sent, as far as nothing is refused? What is sent now comes behind it. */
bool arrange_has_asked(const struct arrange *a);
/* NULL is fine. */
void arrange_cancel(struct arrange **a);

#endif
