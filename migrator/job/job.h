/* job: the migration of one account, from the claim to the flip or to a reason why not.
 *
 * | state   | account             | does                                     | leaves to                    |
 * |---------|---------------------|------------------------------------------|------------------------------|
 * | CLAIM   | queued, or found    | route_claim: a token, a new epoch        | SIGN_IN; MEMBERS (of a       |
 * |         |                     |                                          | group); READY (forced);      |
 * |         | without an owner    | (after two deaths: blocked)              | CUTOVER (flipping); end      |
 * | MEMBERS | copying             | reads who is in its group                | SIGN_IN; GIVE_UP             |
 * | SIGN_IN | copying             | master or the sealed password; a crew    | PROVISION; RECORDS; GIVE_UP  |
 * | PROVISION| copying            | has the site make the account at the     | RECORDS; GIVE_UP             |
 * |         |                     | target                                   |                              |
 * | RECORDS | copying             | reads the view records                   | COPY                         |
 * | COPY    | copying             | passes, until one is short               | READY; GIVE_UP               |
 * | READY   | copying -> ready    | tells the counters, route_ready          | WATCH, TURN; GATHER; POLICY  |
 * | POLICY  | ready               | waits, without an owner: until staff say | RECOPY; end (stays ready)    |
 * |         |                     | now; for the window; until it is idle    |                              |
 * | GATHER  | ready               | of a group: are all copied? Else it waits| WATCH, TURN; end (stays      |
 * |         |                     | without an owner                         | ready)                       |
 * | WATCH   | ready               | has silent proxies evicted; says for whom| TURN                         |
 * |         |                     | it waits, and until when                 |                              |
 * | TURN    | ready               | freeze_jitter, max_flips_per_minute      | CUTOVER; QUIET (idle); RECOPY|
 * |         |                     |                                          | (took long)                  |
 * | QUIET   | ready               | idle: does still nobody use it?          | CUTOVER; end (stays ready)   |
 * | RECOPY  | ready -> copying    | route_recopy                             | COPY                         |
 * | CUTOVER | ready ... flipped   | cutover.h                                | end; GIVE_UP; REST; SETTLE;  |
 * |         |                     |                                          | GATHER                       |
 * | REST    | ready               | waits out a pause or a quarantine        | RECOPY; WATCH (forced)       |
 * | SETTLE  | ready               | commands that were not answered may still| RECOPY; WATCH (forced)       |
 * |         |                     | be executed at the target: hook_kick, or |                              |
 * |         |                     | waits for as long as they can; route_calm|                              |
 * | GIVE_UP | -> backoff, blocked | route_backoff, route_block               | end                          |
 *
 * Members of a group (lib/route_sharing.h) are copied like others, each in its time, and wait in GATHER without an owner; when the last one
 * is copied all are called (`called`), so that each has a short pass and comes to the gates of the cut-over, where they meet.
 *
 * A pass is short that took no more than half of migration.freeze_budget, and left nothing to another one: the first
 * copy too. There are five passes at most.
 *
 * An account that stays ready under cutover = manual, window or idle has no job: `imapferryctl flip`, or the
 * time, queues it again, and a short delta goes before its cut-over. One that waits until nobody uses it is
 * queued when the last mark of its use is over (proxy/busy.h), and each half an hour for a pass, so that
 * little is left to do when its moment comes. A script that Redis does not answer is sent again; all scripts
 * may be repeated. A job that finds that it is not the owner any more touches nothing more.
 *
 * One exit: job_end(job, how). */
#ifndef IMAPFERRY_JOB_H
#define IMAPFERRY_JOB_H

#include "lib/events.h"

#include "migrator/site/migrator.h"

enum job_how {
    /* flipped, given up, refused, or ready and waiting for staff: its entry of the stream can go */
    JOB_DONE,
    JOB_LOST, /* somebody else's now: don't touch the entry */
    /* job_stop() was called, a flip could not be finished (cutover.h: GIVEN), or a step was refused: whoever
     * takes the job next is told that we have not died with it */
    JOB_STOPPED,
    JOB_LATER, /* a pause, or a quarantine: ask again later */
};

struct job;
/* The job is gone when this is called. */
typedef void (*job_fn)(void *owner, enum job_how how);

/* entry: of the stream that group reads; copied. group: borrowed. token: random, of this claim; copied.
 * suspect: see below. until_ms, by clock_boot_ms(): nobody else takes the job over before that; from then on
 * nothing is done at either server any more, unless job_keep() said a later time. Never calls back before it
 * returned. */
struct job *job_start(struct migrator *m, const struct route_entry *entry, const char *group,
                      const char *token, bool suspect, uint64_t until_ms, job_fn fn, void *owner);
/* Has a migrator died with this account, and has it not come past that point since? At the start that is what
 * the entry says. */
bool job_is_suspect(const struct job *j);
void job_keep(struct job *j, uint64_t until_ms);
/* Is it one of the jobs of which only so many run at a time? Not while an account of a group waits for the others or is switched over
 * with them: they could not be there at the same time, where a group has more members than a migrator has places. */
bool job_needs_place(const struct job *j);
/* Another has changed the account. */
void job_event(struct job *j, const struct event *e);
/* The process ends: a freeze is called off, a flip is carried out, all else is dropped as it is. Ends in
 * JOB_STOPPED or JOB_DONE soon, if Redis answers. */
void job_stop(struct job *j);
/* Ends it on the spot, without a callback. NULL is fine. */
void job_free(struct job **j);

#endif
