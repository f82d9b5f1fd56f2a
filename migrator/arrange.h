/* arrange: carries out the part of a plan that is not messages, at the target: CREATE of missing mailboxes
 * (with their special use where the server takes it), SUBSCRIBE and UNSUBSCRIBE. Run again it finds nothing
 * to do. */
#ifndef IMAPFERRY_ARRANGE_H
#define IMAPFERRY_ARRANGE_H

#include "lib/reasons.h"

#include "plan.h"

enum arrange_rc { ARRANGE_OK, ARRANGE_DOWN, ARRANGE_FAILED };
struct arrange_result {
    enum arrange_rc rc;
    enum why why;       /* ARRANGE_FAILED: WHY_CANNOT or WHY_REFUSED */
    const char *detail; /* for people, borrowed */
    size_t created;
    size_t plain;          /* created without the special use that the source has */
    size_t not_subscribed; /* subscriptions that the target does not take */
};
typedef void (*arrange_fn)(void *owner, const struct arrange_result *result);

/* False: there is nothing to do, and nothing to be started. */
bool arrange_is_needed(const struct plan *plan);

struct arrange;
/* plan must live until the end. Never calls back before it returned. */
struct arrange *arrange_start(struct imapc *target, const struct plan *plan, arrange_fn fn, void *owner);
/* NULL is fine. */
void arrange_cancel(struct arrange **a);

#endif
