/* foreign: moves messages of the target's own behind the copies. By a map of UIDs (lib/view_uid.h) clients see the copies
 * alone as what they know, so nothing else may lie before or between them. What does lies in the way: mail that was
 * delivered to the target before the move, or by mistake while it goes on.
 *
 * A message is moved by UID COPY into the mailbox that it lies in, and by removing the original: by UID EXPUNGE of its
 * UID, so it needs UIDPLUS. Nothing but the ledger knows what is under way (ledger_moves()):
 *
 *   READ      all originals are read and hashed
 *   COPY      `move` in the ledger, then UID COPY; the answer names the copies (COPYUID, RFC 4315 3)
 *   MATCH     these are read: which has the bytes of which? `moved` in the ledger. Where no answer came, or none that says
 *             so, these are messages above the UIDNEXT of before that nobody knows; and so where it named wrong ones
 *   COMPARE   flags, keywords and INTERNALDATE as well; a copy that lacks flags is given them. One that has another date
 *             is removed again, and the original stays
 *   REMOVE    `clearing` in the ledger, then UID STORE \Deleted, UID EXPUNGE of the originals; `cleared`
 *   WITHDRAW  an original that somebody else has removed before we did: its copy goes too
 *
 * What a killed run has left is ended by the next one, at whatever step it stood. A UID COPY without an answer may be
 * executed later: as long as that may be, its messages stay where they are, and the account is not switched over
 * (touch.h). Where its copies are not there after that, it was never executed.
 *
 * Whoever works on the target past us may expunge a message meanwhile, or change its flags: the copy follows, up to the
 * moment of the removal (with CONDSTORE; else up to some milliseconds before).
 *
 * Which step is due, foreign_state.h tells. */
#ifndef IMAPFERRY_FOREIGN_H
#define IMAPFERRY_FOREIGN_H

#include "pair.h"

struct foreign;

struct foreign_terms {
    bool now;     /* false: what was begun is ended, and nothing else is moved */
    bool calm;    /* no command of an earlier run, or of a connection that broke, can be executed any more */
    uint32_t max; /* so many are moved at most; where more are in the way, none is */
};

/* What came of it. */
struct foreign_result {
    uint64_t moved;
    uint64_t in_the_way; /* and stay */
    bool later;          /* ... until a run that may move them: nothing is against it */
    bool pending;        /* some are half moved: a run that is calm will end it */
    char why[120];       /* for people: why they stay, "" = nobody knows, or none do */
};

/* Ends in COPY_EQUAL also where some stay in the way. COPY_DIFFERS: both a message and its copy are there, and the target
 * removes neither. */
struct foreign *foreign_start(struct pair *p, const struct foreign_terms *terms, step_fn fn, void *owner);
/* To be asked at the end. */
struct foreign_result foreign_outcome(const struct foreign *f);
void foreign_stop(struct foreign **f);

#endif
