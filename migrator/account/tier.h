/* tier: which numbers clients will see of a mailbox once its account is moved (DESIGN.md 8), and why not better
 * ones. Before the first copy it is what is aimed at, by what both servers tell; afterwards it is what came of
 * it, by the ledger and both UIDNEXTs. Pure.
 *
 *   T0   UIDVALIDITY and all UIDs are those of the source: nothing has to be rewritten
 *   T1   all UIDs are; UIDVALIDITY is not
 *   T2   the UIDs are in the same order, and nothing else lies between or before them: a map
 *   T3   none of these: mail programs read the mailbox anew */
#ifndef IMAPFERRY_TIER_H
#define IMAPFERRY_TIER_H

#include "lib/view_record.h"

#include "migrator/mailbox/copy.h"
#include "migrator/mailbox/stamp.h"

/* Of a mailbox of which nothing is copied yet. */
struct tier_facts {
    struct stamp_side source, target;  /* as STATUS tells */
    bool absent;                       /* the target does not have it yet: it will be made, and be empty */
    const char *channel;               /* what tells the target its numbers; NULL: nothing */
    const char *no_channel;            /* ... and why not */
    bool uidplus;                      /* of the target */
    uint32_t t0_max_gaps, t1_max_gaps; /* with a channel, and without */
    uint32_t foreign_max;
};

struct tier_aim {
    enum view_tier tier;
    bool set;        /* the target is to be told UIDVALIDITY, HIGHESTMODSEQ, or both */
    uint64_t modseq; /* ... this one; 0: none */
    uint64_t gaps;   /* how many may be filled */
    char why[200];   /* for people: why not a better one; "" for T0 */
};
void tier_choose(const struct tier_facts *f, struct tier_aim *aim);

/* How a mailbox stands whose copies are in the ledger. */
struct tier_held {
    uint32_t source_uidvalidity, source_uidnext, target_uidvalidity, target_uidnext;
    uint32_t first_foreign; /* the lowest UID of a message on the target that is no copy; 0: there is none */
    const struct ledger_row *rows;
    size_t n;
};
/* *map: filled for T2, and wherever else there is one with a tail; else empty. why as above. */
enum view_tier tier_of(const struct tier_held *h, struct view_uid *map, char *why, size_t why_size);
/* Do copies have the UIDs of their messages, and nothing else one that the source has given out? */
bool tier_uids_fit(const struct tier_held *h, char *why, size_t why_size);
/* A UIDVALIDITY that is greater than all of these, and not below the second of now. 0: there is none left. */
uint32_t tier_fresh_uidvalidity(uint32_t source, uint32_t target, uint32_t shown, uint64_t now_s);

#endif
