/* transfer: the APPEND step: what the ledger lacks goes from the source to the target, in UID order, streamed
 * from FETCH to APPEND and hashed on the way; a message is never held.
 *
 *   plan → window (one FETCH) → bodies → batches (one intent, one MULTIAPPEND) → outbox
 *
 * Bodies have to come in ascending order. Dovecot answers pipelined FETCHes in any order while its client
 * reads slowly, and ours does whenever the target is slow; so the FETCH of the next window is sent when the
 * last body of the one before has begun, and windows are large. The first byte of a batch waits for the
 * answer to its intent; meanwhile, and whenever the target reads slowly, the source is paused.
 *
 *   RUN     bodies come in order and go out
 *   DRAIN   something went wrong: what still comes from the source is thrown away, and APPENDs under way are
 *           answered
 *   UNDO    what was stored behind a refused APPEND is removed
 *   DEPOSIT nothing else is under way, and a message goes another way (deposit.h)
 *   RESYNC  NOOP at the source brings its EXPUNGEs; then a new plan is made
 *
 * The new plan takes the messages around the one that failed in ever smaller batches, so that the one at
 * fault can be named; behind it batches grow again.
 *
 * Where there is another way (pair.depot), it is noted of each body that comes whether it is plain (plain.h). Once a batch
 * was refused in which one is not, or such a one alone, those are not appended any more: batches end before them, and they go
 * the other way in their turn.
 *
 * A message that can't go is named and left out, and the rest goes on. Such are messages of which it is known
 * beforehand (too large, no date, waived by a person), those that the target refuses when they are sent
 * alone, and those that the source does not give. The transfer ends only where the target says that it takes
 * none at all (over quota), or after REFUSED_MAX refusals. The ledger is told that nothing was stored of what
 * was left out, so that there is no doubt about it.
 *
 * It may begin ahead of the target, which is not open yet: then the first window is asked for, and the head of its
 * first body holds the source's connection. Nothing goes out, and nothing is held here; what is on its way lies in the
 * buffers of the kernels and of the stream. When the target is open and settled, a plan is made as it always is. If it
 * is that of the beginning, bodies go on; else what was asked for is thrown away (DRAIN).
 *
 * If the body of a message breaks off, the target's connection is broken, so that a truncated message is
 * never stored. */
#ifndef IMAPFERRY_TRANSFER_H
#define IMAPFERRY_TRANSFER_H

#include "pair.h"

struct transfer;

struct transfer *transfer_start(struct pair *p, step_fn fn, void *owner);
/* Ahead: until transfer_go() is called, when the target is as transfer_start() needs it, or transfer_discard(), the
 * source's connection may be held, so nobody may wait for an answer there. It may end before with COPY_DOWN. */
struct transfer *transfer_start_ahead(struct pair *p, step_fn fn, void *owner);
/* What it has asked for is of no use: the connection is not held any more. transfer_go() has to follow all the same. */
void transfer_discard(struct transfer *t);
void transfer_go(struct transfer *t);
/* Is what it has asked the source for still to come? */
bool transfer_is_reading(const struct transfer *t);
/* An APPEND that is under way breaks the target's connection. */
void transfer_stop(struct transfer **t);
/* The target told IMAPC_DRAINED. */
void transfer_drained(struct transfer *t);
/* The lowest target UID that this transfer stored, 0 = none. */
uint32_t transfer_first(const struct transfer *t);

#endif
