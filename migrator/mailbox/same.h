/* same: are the messages of a mailbox of the source those that a ledger has, copied under another name?
 * Servers keep UIDVALIDITY and UIDs over a RENAME, but two mailboxes may have equal ones by chance.
 *
 * They are the same where UIDVALIDITY is the ledger's, every message below UIDNEXT of that time has a row
 * with its very size, and the bytes of up to SAME_SAMPLE of them, spread over the mailbox, have the row's
 * hash. Where the ledger was folded (folded.h) a row has no size, and the bytes have to be those of its copy
 * on the target, which is read. Dates and flags are compared by the copy that follows. The mailboxes are only
 * read. */
#ifndef IMAPFERRY_SAME_H
#define IMAPFERRY_SAME_H

#include "ledger.h"
#include "selected.h"

enum { SAME_SAMPLE = 10 };

struct same;
/* fn is told COPY_EQUAL: they are the same; COPY_DIFFERS: they are not; or COPY_DOWN. Names are borrowed;
 * target_name: where the copies are. uidnext: what the source's was when the ledger had all its messages.
 * Never calls back before it returned. */
struct same *same_start(struct imapc *source, const char *name, struct imapc *target, const char *target_name,
                        const struct ledger *ledger, uint32_t uidnext, step_fn fn, void *owner);
/* NULL is fine. */
void same_cancel(struct same **s);

#endif
