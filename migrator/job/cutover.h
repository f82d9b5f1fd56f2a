/* cutover: moves a copied account's route from source to target: the sign-ins, the freeze, the last pass, the
 * flip.
 *
 * | state   | account               | does                                       | leaves to               |
 * |---------|-----------------------|--------------------------------------------|-------------------------|
 * | PROBE   | ready                 | can the journal be written?                | PREPARE; ABORT          |
 * | PREPARE | ready -> preparing    | route_prepare (the epoch rises)            | SIGN_INS; end LATER,    |
 * |         |                       |                                            | DOUBT, GATHER           |
 * | SIGN_INS| preparing             | waits until each session is signed in at   | CATCH_UP; ABORT         |
 * |         |                       | the target, or gone                        |                         |
 * | CATCH_UP| preparing             | a quick pass: less is left for the last;   | FREEZE; ABORT           |
 * |         |                       | up to three while they find much           |                         |
 * | FREEZE  | preparing -> freezing | route_freeze; the deadline runs from here  | REST; ABORT             |
 * | REST    | freezing              | waits until each session rests or is gone  | SYNC; ABORT             |
 * | SYNC    | freezing              | WAIT for the replicas                      | HOOK; ABORT             |
 * | HOOK    | freezing              | hook_freeze                                | LAST; ABORT             |
 * | LAST    | freezing              | last pass: delta, verification, records    | AGAIN; ABORT            |
 * | AGAIN   | freezing              | looks for changes past us: bypass.h; the   | CAN; ABORT              |
 * |         |                       | proof is written meanwhile: proof.h        |                         |
 * | CAN     | freezing              | can the journal be written still, and is   | FLIP; ABORT             |
 * |         |                       | the proof on the disk?                     |                         |
 * | FLIP    | freezing -> flipping  | route_flip: the point of no return         | KEPT; ABORT             |
 * | ABORT   | -> ready              | route_abort with the reason                | end FAILED; KEPT        |
 * | KEPT    | flipping              | WAIT for the replicas, until they have it  | JOURNAL                 |
 * | JOURNAL | flipping              | a line on the disk                         | PUBLISH; end GIVEN      |
 * | PUBLISH | flipping -> flipped   | route_flipped                              | end DONE                |
 *
 * The connections of the last pass are signed in during SIGN_INS too, which waits a little for them.
 *
 * The first CATCH_UP brings what came since the account was copied. What comes while it runs is for the freeze, in which
 * somebody waits for it: so where it was much there is another, as long as its deadline is far off.
 *
 * A target that does not answer holds the account in SIGN_INS, where nobody waits for anything, until its
 * deadline, which is twice the budget of the freeze. A target that refuses a session ends it there with that
 * reason (route_refuse() of a proxy).
 *
 * GIVEN is for a disk that has failed, filled up or hung in the moment between CAN and JOURNAL. Without a
 * line in the journal nothing is published, and there is no way back, so another migrator publishes it, or
 * this one once it can write. Until then nobody is served. CAN is asked while AGAIN looks, so the freeze is
 * longer for it by less than the time that the disk takes.
 *
 * A member of a group (lib/route_sharing.h) passes PREPARE, FREEZE, REST and FLIP together with the others: the scripts say "wait" until
 * all are as far, and it asks again. PREPARE ends in GATHER where one of them can't be waited for. Whoever waits has given its connections
 * back, since the others may need them. A thaw of another is one of this account, too, with the reason WHY_GROUP.
 *
 * LATER is for a pause and for the quarantine. ABORT finds out where a flip without an answer was done after
 * all, and goes on with KEPT. A forced flip has no CATCH_UP, no LAST and no AGAIN, but VOID; what it lacks the late
 * watch brings (late.h). The deadline of the scripts runs from the arrival of route_freeze and ours from
 * before it is sent, so ours is never the later one.
 *
 * The budget of the freeze is migration.freeze_budget and grows with the account: 1 s more for each 10,000
 * messages and 20 ms for each mailbox, whose lists have to be read on both sides, up to 5 minutes. */
#ifndef IMAPFERRY_CUTOVER_H
#define IMAPFERRY_CUTOVER_H

#include "lib/events.h"

#include "migrator/account/move.h"

enum cutover_rc {
    CUTOVER_DONE,   /* flipped */
    CUTOVER_FAILED, /* the account is ready again, and goes on as before: why and detail */
    CUTOVER_LATER,  /* a pause, or a quarantine: the account is ready again, to be tried when that is over */
    CUTOVER_GIVEN,  /* in flipping, which this migrator can't finish: for another one */
    CUTOVER_DOUBT,  /* not begun: a change of the target was not answered (touch.h) */
    CUTOVER_GATHER, /* not begun: others of its group are not ready for it */
    CUTOVER_LOST,   /* not ours any more */
};
struct cutover_result {
    enum cutover_rc rc;
    enum why why;
    const char *detail; /* for people; borrowed */
    uint64_t frozen_ms; /* how long the account stood still */
};

struct cutover_run;
/* The cut-over is gone when this is called. */
typedef void (*cutover_fn)(void *owner, const struct cutover_result *result);

/* mailboxes, messages: of the passes before, for the budget. only_idle: of a group; it begins while nobody uses any of them. Never calls back before it returned. */
struct cutover_run *cutover_start(struct move *move, size_t mailboxes, uint64_t messages, bool only_idle,
                                  cutover_fn fn, void *owner);
/* Goes on with an account that was found in flipping, from KEPT on. route: as it was claimed, copied. */
struct cutover_run *cutover_resume(struct move *move, const struct route *route, cutover_fn fn, void *owner);
/* Another has changed the account, or a session of it has moved. */
void cutover_event(struct cutover_run *c, const struct event *e);
/* True from PROBE up to FLIP, and in FLIP while others of its group are waited for: then cutover_abort() calls it off, and it ends in CUTOVER_FAILED soon. */
bool cutover_can_abort(const struct cutover_run *c);
void cutover_abort(struct cutover_run *c, enum why why, const char *detail);
/* Only where the process ends or the job was lost: leaves the account as it is. NULL is fine. */
void cutover_free(struct cutover_run **c);

#endif
