/* tiers: sees to it that the mailboxes of an account get the best numbers that can be had (tier.h). Of one job.
 *
 * Before the first copy of a mailbox both servers are asked by STATUS; where the target can be told its numbers
 * (site/channel.h) and the mailbox is unused, it is told the source's UIDVALIDITY, and a HIGHESTMODSEQ above the
 * source's, and asked once more: what counts is what it says then. Its HIGHESTMODSEQ of that moment is kept as long as
 * the mailbox is empty (stamp.h), for the flip (modseqs.h). The copy gets a struct numbering; where no UID has to be
 * jumped over, and nothing else is to be rewritten for clients, the account needs no proxy that looks at it.
 *
 * Where the numbers of such a mailbox go wrong all the same (a delivery was faster), it gets a UIDVALIDITY that is
 * greater than any shown: never do equal UIDVALIDITYs stand for different UIDs. After that it is copied without
 * numbers, and so it is where the channel does not let us, or was away for too long: an account of which less than
 * TIERS_PATIENCE attempts have failed, or the last one of something else, is given up for the moment, and tried again
 * later, also where the channel goes away in the middle of a copy. On the way back no server is told anything. */
#ifndef IMAPFERRY_TIERS_H
#define IMAPFERRY_TIERS_H

#include "mailboxes.h"
#include "move.h"

enum { TIERS_PATIENCE = 3 };

struct tiers;

/* move must live as long. Nothing is opened yet. */
struct tiers *tiers_new(struct move *move);
/* NULL is fine. What is under way ends without a callback. */
void tiers_free(struct tiers **t);

struct tiers_request {
    struct record *record;                   /* its ledger is loaded */
    struct lane *lane;                       /* lent until the end */
    const char *source_name, *target_name;   /* borrowed until the end */
    const struct mailboxes *source, *target; /* for how they spell names */
    uint32_t source_uidvalidity;             /* as it was listed; 0: not known */
};
enum tiers_rc {
    TIERS_DONE,
    TIERS_DOWN,  /* a connection broke, or the channel is of no use for the rest of the job */
    TIERS_CANNOT /* the server does not do it, and won't the next time */
};
/* why: of all but TIERS_DONE, for people; borrowed. */
typedef void (*tiers_fn)(void *owner, enum tiers_rc rc, const char *why);

/* Before each copy: what numbers are to be had? They stand in record->numbers when that is known. */
enum tiers_wait {
    TIERS_KNOWN, /* nothing has to be asked, and fn is not called */
    /* fn will be called, not before this returned. The source may be opened and read meanwhile, and the target from
     * told() on, which comes before fn, or not at all: what is sent there then is answered behind all that is asked here */
    TIERS_ASKING,
    TIERS_RENEWING /* fn will be called; until then the lane is not to be used */
};
enum tiers_wait tiers_prepare(struct tiers *t, const struct tiers_request *q, void (*told)(void *owner),
                              tiers_fn fn, void *owner);
/* Can it be TIERS_RENEWING? */
bool tiers_may_renew(const struct tiers *t, const struct record *record);
/* After a copy that ended well: the tier that was reached. False: both UIDVALIDITYs are equal, and the UIDs are not:
 * tiers_renew(), where tiers_can_renew(). */
bool tiers_took(struct record *record, const struct copy_result *result) MUST_CHECK;
bool tiers_can_renew(const struct tiers *t);
/* Gives the target's mailbox a UIDVALIDITY that is greater than any shown. It has to be copied again then, without
 * numbers. */
void tiers_renew(struct tiers *t, const struct tiers_request *q, const struct copy_result *result,
                 tiers_fn fn, void *owner);
/* For messages that the target refuses by APPEND, behind tiers_prepare(); NULL: there is none. Borrowed until
 * tiers_free(). */
const struct depot *tiers_depot(const struct tiers *t);
/* The same for the late watch, which prepares nothing. names: how the target spells them. */
const struct depot *tiers_late_depot(struct tiers *t, const struct imapc *target,
                                     const struct mailboxes *names);
/* No callback comes any more for this record. */
void tiers_forget(struct tiers *t, struct record *record);
/* "T0:12 T2:1", of n records; nothing for none. Appends. */
void tiers_write_counts(struct buf *out, const size_t counts[4]);

#endif
