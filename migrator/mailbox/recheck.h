/* recheck: behind the flip, one mailbox's messages of the target about which there was a doubt: changes that were never
 * answered (ledger.h, `store` and `expunge`), and messages that were sent again after a doubt, or of which it is not known
 * whether they arrived. All that was waited for (job.h, SETTLE) rests on what a server is taken to be; here is what one that is
 * slower still has done meanwhile.
 *
 *   - A message that has just the flags that an unanswered STORE was to give it, and others on the source: told. Whose
 *     work that is nobody could know.
 *   - One that an unanswered EXPUNGE was to remove, that was found to be there after it, and is gone: told.
 *   - One that no row knows and whose bytes are those of a message that was sent again: removed by its UID, where the first
 *     copy stands as it was copied and has all flags that the double has; else told.
 *
 * It is told before it is done, and stands in the ledger when it was, so that whoever dies in between tells it once
 * more and nothing goes without a word. The target is SELECTed and listed whole; the source, which is EXAMINEd, only for
 * flags. A mailbox that the target has no more, or that has got another UIDVALIDITY, is nothing to look at. */
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
/* request is copied. fn: COPY_EQUAL where all was looked at and told, and recheck_finish() is to follow; COPY_DIFFERS where the
 * mailbox could not be listed. Never calls back before it returned. */
struct recheck *recheck_start(const struct recheck_request *request, recheck_tell_fn tell, step_fn fn, void *owner);
/* Staff have what was told: removes the doubles that still are some, and keeps in the ledger what was told. fn as above. */
void recheck_finish(struct recheck *r, step_fn fn);
/* NULL is fine. Also after fn was called. */
void recheck_stop(struct recheck **r);

#endif
