/* orphan: a mailbox that was copied and that the source does not list any more.
 *
 *   PROBE    STATUS at the source: if it answers, the mailbox is there and was only not listed, and
 *            everything stays
 *   OPEN     SELECT at the target; if the target does not have the mailbox either, nothing is left to do
 *   UNFILL   UID EXPUNGE of what fillers are left (fillers.h)
 *   MOVE     messages of the target's own that are half moved: that is ended (foreign.h), and none is begun
 *   REMOVE   UID EXPUNGE of the copies, as the ledger knows them: only where UIDVALIDITY is the ledger's, and
 *            not unasked where they are more than delete_share allows
 *   LEAVE    UNSELECT, or EXAMINE of INBOX, and STATUS: is there nothing in it now?
 *   DELETE   the mailbox, only if this account's migration has made it, it is empty, and has no mailboxes
 *            below it
 *
 * Whatever is not ours stays, with the mailbox that it lies in. A second run goes on wherever the first one
 * ended. */
#ifndef IMAPFERRY_ORPHAN_H
#define IMAPFERRY_ORPHAN_H

#include "ledger.h"
#include "migrator/found/finding.h"
#include "migrator/imap/imap_client.h"
#include "step.h"

struct orphan_result {
    /* COPY_EQUAL: no copy is left; COPY_DIFFERS: it is there after all, or named in findings; COPY_CANNOT:
     * the target can't remove; COPY_DOWN */
    enum copy_rc rc;
    const char *why; /* for people, borrowed */
    bool stays;      /* the target's mailbox, which is not ours or not empty */
    bool pending;    /* COPY_DIFFERS: messages are half moved still, and a run that is calm will end that */
    uint64_t removed;
};
typedef void (*orphan_fn)(void *owner, const struct orphan_result *result);

struct orphan_request {
    struct loop *loop;
    struct imapc *source, *target;         /* signed in; used alone until the end */
    struct ledger *ledger;                 /* loaded; stays the caller's */
    const char *source_name, *target_name; /* as on the wire; must live until the end */
    bool made, has_children;               /* the target's mailbox */
    bool calm;                             /* see struct foreign_terms */
    uint32_t delete_share;
    struct findings *findings; /* added to */
};

struct orphan;
/* Never calls back before it returned. */
struct orphan *orphan_start(const struct orphan_request *request, orphan_fn fn, void *owner);
/* NULL is fine. */
void orphan_cancel(struct orphan **o);

#endif
