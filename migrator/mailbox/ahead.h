/* ahead: what goes out before the answers that a copy would else wait for first:
 *
 *   bodies    are asked for when the source is open, before the target is (transfer_start_ahead())
 *   source    goes on to the next mailbox when the last body has come
 *   both      go on to it when all that is sent as a rule was sent, and little of the answers is still to come
 *
 * Who runs both copies is asked whether there is a next one (copy.h: source_to_next, over_to_next). A connection that
 * has gone on is `given` (selected.h), and nothing more is sent there for this mailbox. */
#ifndef IMAPFERRY_AHEAD_H
#define IMAPFERRY_AHEAD_H

#include "pair.h"

/* Each is asked once at most; NULL: there is no next one, or it was asked. */
struct ahead {
    bool (*source_to_next)(void *owner);
    bool (*over_to_next)(void *owner);
    void *owner; /* borrowed */
};

/* Is all that the source lists to be copied, whatever the target shows? As far as can be told before that is open. */
bool ahead_may_ask(const struct pair *p);
/* All bodies have come. */
void ahead_give_source(struct ahead *a, struct pair *p);
/* What arrived was listed, and all that is to be read back of it was asked for. */
void ahead_give_both(struct ahead *a, struct pair *p);

#endif
