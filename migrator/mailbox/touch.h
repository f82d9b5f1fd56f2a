/* touch: a change of messages on the target, by STORE or EXPUNGE: the intent in the ledger before it, the
 * answer behind it (ledger_touch()), and what UNCHANGEDSINCE has to say (RFC 7162 3.1.3).
 *
 * A command may be executed at any later time, also when who sent it is dead, another owner has flipped the
 * account, and a client has changed the same message and been told OK. Three things stand against that:
 *
 *   - where the target has CONDSTORE, a STORE is only done to messages whose MODSEQ is not above what it was
 *     when they were to be changed: a client's change lets it fail. It does not help where nobody has touched
 *     the message since: a STORE that the source has taken back meanwhile would still be done. So
 *   - nobody freezes or flips the account over a change that was never answered: ROUTE_DOUBT, whoever owns
 *     it, also by force. It waits until no such command can be executed any more (job.h, SETTLE). That relies
 *     on one thing: the server does not execute a command later than command_timeout after it got it.
 *
 * A change that stayed without an answer stays in the ledger, and behind the flip its messages are looked at
 * once more (recheck.h). */
#ifndef IMAPFERRY_TOUCH_H
#define IMAPFERRY_TOUCH_H

#include "pair.h"

struct touch_run;

/* May be changed now. modseq: for UNCHANGEDSINCE, 0 = the target can't do it. */
typedef void (*touch_ready_fn)(void *owner, uint64_t modseq);

/* All of changes are copied. rc of failed: COPY_DOWN, COPY_LOST. */
struct touch_run *touch_start(struct pair *p, const struct ledger_change *changes, size_t n,
                              touch_ready_fn ready, step_fn failed, void *owner);
/* All commands were answered: fn when the ledger has it. */
void touch_end(struct touch_run *t, step_fn fn);
/* NULL is fine. A change that was not ended stays open in the ledger. */
void touch_stop(struct touch_run **t);

/* " (UNCHANGEDSINCE 17)", or nothing. */
void touch_write_condition(struct buf *out, uint64_t modseq);

#endif
