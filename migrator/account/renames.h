/* renames: mailboxes that the source has under another name than before. The target's is renamed as well and the
 * record goes with it, so that nothing is copied again.
 *
 * A mailbox is taken for a renamed one where a record's is not listed any more, exactly one without a record has its
 * UIDVALIDITY and no lower UIDNEXT, the target does not have it (or has it instead of the old one, since a mailbox
 * above was renamed), and it holds the same messages (same.h).
 *
 * Crash-safe by a twin: a second record with the same id, and so the same ledger, under the new name. It is written
 * before the RENAME is sent. Whoever finds twins, this job's next look at the lists or another migrator, keeps the one
 * whose mailbox the target has; where that does not tell, both go, and the copies are found again by their bytes. */
#ifndef IMAPFERRY_RENAMES_H
#define IMAPFERRY_RENAMES_H

#include "move.h"
#include "plan.h"

struct renames_result {
    enum copy_rc rc; /* COPY_EQUAL, COPY_DOWN, COPY_LOST */
    const char *why; /* for people; borrowed */
    bool renamed;    /* the lists are to be read again */
};
typedef void (*renames_fn)(void *owner, const struct renames_result *result);

/* What twins there are, these lists tell which is which. */
void renames_settle(struct records *records, const struct mailboxes *target);
/* False: there is nothing to do, and nothing to be started. */
bool renames_are_needed(struct records *records, const struct plan *plan, const struct mailboxes *source,
                        const struct mailboxes *target);

struct renames;
/* plan and lists must live until the end. Never calls back before it returned. */
struct renames *renames_start(struct move *move, struct lane *lane, const struct plan *plan,
                              const struct mailboxes *source, const struct mailboxes *target, renames_fn fn,
                              void *owner);
/* NULL is fine. */
void renames_cancel(struct renames **r);

#endif
