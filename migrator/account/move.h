/* move: the move of one account from one backend to another: what a job, its passes and its cut-over share.
 * Owned by the job. */
#ifndef IMAPFERRY_MOVE_H
#define IMAPFERRY_MOVE_H

#include "migrator/site/crew.h"
#include "migrator/site/migrator.h"
#include "progress.h"
#include "records.h"
#include "shares_group.h"

struct move {
    struct migrator *m;
    char *user, *login; /* account key, and the name that backends know; owned */
    char token[33];
    /* The beginning of the sealed credential that was read last, by which it is known from others (seal.h); "-" = there was
     * none, "" = none was looked for */
    char sealed[129];
    struct route_job job;            /* who we are to the scripts; its epoch rises with the cut-over */
    char *source_name, *target_name; /* of the route; owned */
    const struct conf_backend *source, *target;
    uint32_t attempts;            /* that failed so far ... */
    char *failed;                 /* ... and why the last of them did; owned; NULL, "": not known */
    uint64_t engaged, generation; /* of the route at the claim */
    uint64_t until_ms;            /* by clock_boot_ms(): nobody else can have taken the job over before it */
    /* by clock_boot_ms(): no other owner sends anything for longer than a lease after it */
    uint64_t claimed_ms;
    uint64_t touch_ms; /* of the route at the claim */
    bool calm;         /* no command is under way at the target for which nobody waits any more */
    bool force, now;   /* of the route at the claim */
    char *group;       /* with which it is switched over, of the route at the claim; owned; NULL, "": none */
    struct shares_group members; /* of it */
    bool called;     /* all of these are copied, and it was called to be switched over with them */
    bool provisions; /* the account is made at the target first (provision.h) */
    bool viewed;     /* clients see the account by its records (the route had a view at the claim) */
    bool condstore;  /* of both servers, as the last lists of a pass have shown */
    bool back;       /* to where the names and numbers come from that clients see */
    bool from_first; /* a late look: what was there at the flip is known by the ledgers alone */
    bool bare;       /* a late look: flipped by force, and nothing had been copied */
    /* a late look: changes of the target were never answered, and no look has seen what came of them */
    bool doubted;
    uint64_t kinds_told;       /* of findings, by bit: in the log once a job */
    struct crew *crew;         /* owned; NULL = nothing to do with mail (flipping, force) */
    struct records *records;   /* owned */
    struct progress *progress; /* owned */
    struct baggage *baggage;   /* owned; NULL = no pass was there yet */
    struct tiers *tiers;       /* owned; NULL = no mailbox was opened yet */
};

#endif
