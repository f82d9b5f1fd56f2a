/* renames: mailboxes that the source has under another name than before. The copy on the target is renamed as
 * well and the record goes with it, so that nothing is copied again.
 *
 * A mailbox of the source counts as a renamed one where all of this is so: the mailbox of a record is not
 * listed any more; exactly one mailbox without a record has its UIDVALIDITY and no lower UIDNEXT; the target
 * does not have that name (or has it instead of the old one, since a mailbox above was renamed); and it holds
 * the same messages (same.h).
 *
 * A crash in between does no harm, because of twins: before the RENAME is sent, a second record with the same
 * id, and so the same ledger, is written under the new name. Whoever finds twins, be it this job when it
 * lists the mailboxes next or another migrator, keeps the one whose mailbox the target has. Where that does
 * not decide it, both records go, and the copies are found again by their bytes. */
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

/* Decides about twins, if there are any, by what the target lists. */
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
