/* copy: makes one mailbox of the target equal to the one of the source, and proves it. The same engine is the
 * first copy, the second run, each delta, and the last pass in the freeze:
 *
 *   OPEN      the source is EXAMINEd, the target SELECTed, and the messages are listed on both sides: all, or
 *             what may have changed since both were equal (selected.h). Where the source is open first, and all
 *             of it is to be copied as far as the ledger knows, its bodies are asked for meanwhile (transfer.h)
 *   BIND      UIDVALIDITYs against the ledger's: where one has changed, what the ledger says is void
 *   UNFILL    fillers of an earlier run are removed
 *   SETTLE    what is on the target though the ledger does not say so, above all a batch in doubt, by hash
 *   RETAKE    copies that have to be appended anew for the sake of order are removed, and their rows
 *   APPEND    what the ledger lacks, in UID order, streamed from FETCH to APPEND, hashed on the way; with
 *             fillers, or jumps, where each copy is to get the UID of its message (numbering.h), and by a depot
 *             what the target refuses (deposit.h)
 *   RELIST    what arrived, as the target shows it; its bytes are read back and hashed
 *   UNFILL    fillers are removed: of what a client may see one day, none is left when the copy ends well
 *   REORDER   a message that was refused before and has arrived now lies behind those that follow it: these
 *             are to be taken back and appended again; to RETAKE, once
 *   DOUBLES   copies that landed late, after they were sent again, are removed
 *   ALIGN     what was listed on one side alone is listed on the other too
 *   FLAGS     STORE on the target where flags or keywords differ
 *   EXPUNGE   copies whose source message is gone: UID EXPUNGE of exactly those UIDs; not unasked where they
 *             are more than delete_share of all
 *   FORGET    their rows
 *   MOVE      messages of the target's own that lie before or between the copies are moved behind these
 *             (foreign.h)
 *   HEADERS   with migration.verify = headers: headers are read on both sides
 *   VERIFY    other bytes not verified yet are read back from the target and hashed: all, or a sample
 *             (sample.h)
 *   CATCH_UP  what the target has become by FLAGS and EXPUNGE
 *   COMPARE   UIDs, order, flags, keywords, instants of both listings; back to ALIGN, a few times, where a
 *             server told of a change meanwhile
 *
 * For the late watch (late_from) the copy only adds messages, by these steps: OPEN, BIND, SETTLE, KNOWN
 * (which of them were copied before? known by their bytes), APPEND, RELIST, VERIFY, ADDED (was each read
 * back?). A changed UIDVALIDITY ends it.
 *
 * A message that can't be copied, or is not the same on the target, is a finding (finding.h), and the rest
 * goes on. Any step may end the whole copy: with a finding about the mailbox as a whole, with a broken
 * connection, or because the job went to another owner. */
#ifndef IMAPFERRY_COPY_H
#define IMAPFERRY_COPY_H

#include "lib/leave_out.h"
#include "lib/options.h"

#include "foreign.h"
#include "ledger.h"
#include "migrator/found/finding.h"
#include "migrator/imap/depot.h"
#include "migrator/imap/imap_client.h"
#include "numbering.h"
#include "stamp.h"
#include "step.h"

struct copy_result {
    enum copy_rc rc;
    const char *reason; /* for people: what was found, or what broke; borrowed */
    struct copy_counts counts;
    uint32_t source_uidvalidity, source_uidnext, target_uidvalidity, target_uidnext;
    struct stamp_side source_seen, target_seen; /* what both said before they were compared */
    uint64_t source_modseq, target_modseq;      /* the greatest HIGHESTMODSEQ that they told; 0: none */
    uint64_t source_marks; /* of a source without HIGHESTMODSEQ, in the freeze: UIDs and flags of all below
                              source_seen.uidnext (mbox_list_marks()) */
    bool whole;            /* all messages were listed on both sides */
    /* COPY_EQUAL: source UIDs that are gone, and whose copies were left; borrowed */
    const struct imap_seq *gone;
    bool vanished; /* the source has no such mailbox (any more) */
    /* COPY_EQUAL: do the copies have the UIDs of their messages? */
    struct numbers numbers;
    /* COPY_DOWN of a copy that had given its connections away: perhaps it only missed them */
    bool given;
    /* Bodies are still to come from the source, for nobody: its connection is of no more use */
    bool unread;
    uint32_t
        first_foreign; /* the lowest UID on the target that the ledger does not know; 0 = there is none */
    struct foreign_result foreign; /* of the step MOVE */
};

struct copy_request {
    struct loop *loop;
    struct imapc *source, *target;         /* signed in; this copy uses them alone until it ends */
    struct ledger *ledger;                 /* loaded; stays the caller's */
    const char *source_name, *target_name; /* as on the wire */
    bool last;                             /* in the freeze */
    /* how both sides were when they were equal, by this ledger; NULL: list all messages */
    const struct stamp *was;
    enum verify_mode verify; /* migration.verify */
    const char *seed;        /* of the sample: the same for each copy of this mailbox */
    uint32_t reorder_max;    /* so many copies at most are taken back for the sake of order */
    uint32_t delete_share;   /* per cent of the copies that are removed unasked */
    struct foreign_terms foreign;
    const struct waivers *waivers;     /* borrowed; NULL = none */
    const struct leave_out *leave_out; /* borrowed; NULL = none */
    uint32_t leave_out_rules;          /* the rules that apply to this mailbox, by bit */
    struct findings *findings;         /* emptied, then filled; stays the caller's */
    /* what was not equal in `was`: source UIDs that were gone, and whose copies were left; borrowed; NULL =
     * none */
    const struct imap_seq *gone;
    /* Source UIDs whose copies are removed if the source has them no more; NULL: of all that are gone. Until
     * all other mailboxes of the account have what is new in them, a copy stays whose message may have moved
     * to one of them. */
    const struct imap_seq *removable;
    /* not 0: source UIDs from here on came after the flip: add them, and do nothing else */
    uint32_t late_from;
    /* borrowed until the copy ends; NULL: the target numbers as it likes */
    struct numbering *numbering;
    const struct depot
        *depot; /* for what the target refuses by APPEND; borrowed until the copy ends; NULL: none */
    struct imap_seq *late_known; /* filled with those of them that were copied before; may be NULL */
    void (*progress)(void *owner,
                     const struct copy_counts *c); /* may be NULL; at most a few times a second */
    /* All that such a copy sends as a rule was sent, and little of the answers is still to come. True: from now on
     * another copy uses the connections, whose commands lie behind the ones of this. This one goes on by the
     * answers, and sends nothing more; where it would have to, it ends with COPY_DOWN. The connections have to stay
     * until both have ended. Called once at most; may be NULL */
    bool (*over_to_next)(void *owner);
    /* The same of the source alone, and before that: all bodies have come, and are not read back yet. Only of a mailbox
     * of a few MiB. What is refused later, or has to be listed once more, ends this one with COPY_DOWN. Called once at
     * most; may be NULL. over_to_next, or the end of this copy, says that the target is free as well */
    bool (*source_to_next)(void *owner);
    /* The target is not ours yet: until copy_take_target() nothing is sent there, and the copy does not end */
    bool target_waits;
};

struct copy;
typedef void (*copy_fn)(void *owner, const struct copy_result *result);

/* Never calls back before it returned. request is copied. */
struct copy *copy_start(const struct copy_request *request, copy_fn fn, void *owner);
/* Of one with target_waits; of all others it does nothing. */
void copy_take_target(struct copy *c);
void copy_cancel(struct copy **c);

#endif
