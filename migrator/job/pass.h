/* pass: one pass over an account: lists both sides, plans, makes what is missing, and has every mailbox
 * copied and verified, several at once. The first copy, each delta and the last pass in the freeze are all
 * the same, but for which mailboxes they open. A mailbox whose stamp (stamp.h) says on both sides that
 * nothing has changed since it was compared equal is
 *
 *   PASS_QUICK  not opened
 *   PASS_WHOLE  not opened once this job has compared all of it: UIDs, flags and dates of every message. At
 * least one such pass goes before each attempt to cut over, so that the flip rests on what was seen in that
 *               attempt, and on numbers of the servers for no longer than that
 *   PASS_LAST   the same, in the freeze; INBOX is always opened, and so is what no whole pass has seen. For
 * the others the word of STATUS of the source does not do: each is looked at instead (glance.h)
 *
 * One that was compared wholly and has changed is listed only as far as it changed (selected.h).
 *
 * | phase   | does                                             | leaves to                      |
 * |---------|--------------------------------------------------|--------------------------------|
 * | WAIVERS | reads what staff have waived                     | LISTS                          |
 * | LISTS   | reads the mailboxes of both sides; plans         | RENAMES; JUDGE: the plan's no  |
 * | RENAMES | what has another name at the source: renames.h   | LISTS, INSPECT                 |
 * | INSPECT | whose account (once a job), rights, room; not in a| RECORDS; JUDGE: all is vain    |
 * |         | quick pass, once all was brought                 |                                |
 * | RECORDS | writes the records of mailboxes that are new     | ARRANGE                        |
 * | ARRANGE | CREATE on the target; a mailbox that is there is | BRING                          |
 * |         | begun right behind that on the same lane         |                                |
 * | BRING   | rights and annotations, behind INSPECT           | COPY                           |
 * | COPY    | for each mailbox: ledger, copy; subscriptions    | REMOVE                         |
 * | REMOVE  | for each that lacks messages whose copies are    | ORPHANS                        |
 * |         | there: the same again, taking the copies away    |                                |
 * | ORPHANS | for each that the source has no more: orphan.h   | JUDGE                          |
 * | JUDGE   | gathers what was found: a failure where it blocks| REPORT, WRITE; end             |
 * | REPORT  | tells it; a quick pass that is all right does not| WRITE; end                     |
 * | WRITE   | records, of the last pass and where some went;   | DONE; REPORT: it failed        |
 * |         | not where anything failed                        |                                |
 * | DONE    | nothing                                          | end                            |
 *
 * Whatever can't go on in a phase before JUDGE goes there (pass_fail()); a job that is not ours any more ends
 * at once.
 *
 * What is new in any mailbox comes before what is gone from any, so that a message that was moved is never
 * missing in both. A copy is removed by the pass after the one that first missed its message: only then is it
 * certain that the mailbox to which that may have gone was listed later. In the freeze nothing moves, and one
 * pass does.
 *
 * A lane goes on to the next mailbox when all of the one before was asked for and little of it is still to come
 * (copy.h: over_to_next): a round trip in which neither server would have anything to do. Of a small mailbox the source's
 * connection goes over before, when its last body has come (source_to_next). Two mailboxes at most are on
 * a lane then. Where the one before needs the lane once more, or the lane breaks, both are tried again; what was sent
 * stands in their ledgers. The mailbox that was too early does not share its lane the next time.
 *
 * A broken connection is replaced and its mailbox tried again; the first failure that is the account's own is
 * kept as the pass's, and the other mailboxes go on (not in the last pass, which has no time). */
#ifndef IMAPFERRY_PASS_H
#define IMAPFERRY_PASS_H

#include "migrator/account/move.h"

enum pass_rc {
    PASS_EQUAL,  /* all mailboxes are verified equal, as of their own moment, but for what is pending */
    PASS_FAILED, /* why and detail */
    PASS_LOST,   /* the job is not ours any more */
};

/* One that had to change no more than this has found an account that is nearly at rest. */
enum { PASS_SMALL_CHANGES = 20 };

struct pass_result {
    enum pass_rc rc;
    enum why why;
    const char *detail; /* for people; borrowed */
    bool whole;         /* it was not PASS_QUICK */
    /* what another pass has to look at: copies to be removed, mailboxes that went meanwhile */
    uint64_t pending;
    size_t mailboxes, opened;  /* opened: one that was tried again counts again */
    struct copy_counts counts; /* of all mailboxes */
    uint64_t took_ms;
};

struct pass;
/* The pass is gone when this is called. */
typedef void (*pass_fn)(void *owner, const struct pass_result *result);

enum pass_kind { PASS_QUICK, PASS_WHOLE, PASS_LAST };
/* PASS_LAST folds ledgers into records and writes these. Needs move->crew, records and progress. Never calls
 * back before it returned. */
struct pass *pass_start(struct move *move, enum pass_kind kind, pass_fn fn, void *owner);
/* NULL is fine. */
void pass_cancel(struct pass **p);

#endif
