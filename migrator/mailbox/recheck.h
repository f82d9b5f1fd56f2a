/* recheck: after the flip, looks once more at those messages of one mailbox of the target about which there
 * was a doubt: changes that were never answered (ledger.h, `store` and `expunge`), and messages that were
 * sent again after a doubt, or of which it is not known whether they arrived. Before the flip the job has
 * waited for such commands to be over (job.h, SETTLE), for as long as servers are taken to need; recheck
 * finds out what a server that is even slower has done since.
 *
 *   - A message has just the flags that an unanswered STORE was to give it, and others on the source: staff
 *     are told. Nobody could know whether the user or the STORE did that.
 *   - A message that an unanswered EXPUNGE was to remove was still there afterwards, and is gone now: staff
 *     are told.
 *   - A message has no row, and its bytes are those of a message that was sent again: it is removed by its
 *     UID, where the first copy stands as it was copied and has all flags that the double has; else staff are
 *     told.
 *
 *   - A filler has come late (fillers.h): it is removed, and nobody needs to know.
 *
 * Staff are told before anything else is done, and the ledger notes that they were. Whoever dies in between tells
 * it once more, so nothing is removed without a word. The target is SELECTed and listed whole; the source,
 * which is EXAMINEd, only for flags. A mailbox that the target does not have any more, or whose UIDVALIDITY
 * is another, is not looked at. */
#ifndef IMAPFERRY_RECHECK_H
#define IMAPFERRY_RECHECK_H

#include "pair.h"

struct recheck_request {
    struct loop *loop;
    struct imapc *source, *target;         /* signed in; used by this alone until it ends */
    struct ledger *ledger;                 /* loaded; stays the caller's */
    const char *source_name, *target_name; /* as on the wire; borrowed */
    struct findings *findings;             /* borrowed; stays as it is */
};

/* For people: "UID 7 here ..."; borrowed. "here" is the target. */
typedef void (*recheck_tell_fn)(void *owner, const char *text);

struct recheck;

bool recheck_is_needed(const struct ledger *l);
/* request is copied. fn: COPY_EQUAL where all was looked at and told, and recheck_finish() is to follow;
 * COPY_DIFFERS where the mailbox could not be listed. Never calls back before it returned. */
struct recheck *recheck_start(const struct recheck_request *request, recheck_tell_fn tell, step_fn fn,
                              void *owner);
/* To be called when staff have what was told: removes what is still a double, and notes in the ledger what
 * was told. fn as above. */
void recheck_finish(struct recheck *r, step_fn fn);
/* NULL is fine. Also after fn was called. */
void recheck_stop(struct recheck **r);

#endif
