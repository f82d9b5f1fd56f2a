/* tally: how many sessions of a thread came to which end, and how many went over a switch-over or could not,
 * by reason. The log has each of them as it happens; the sums are logged every hour, where one has grown, and
 * when the thread ends:
 *
 *   event=tally thread=0 of=ends why=logout count=1204
 *   event=tally thread=0 of=handovers why=moved count=311
 *   event=tally thread=0 of=breakers why=old count=1             how often the breaker of this backend opened
 *   event=tally thread=0 of=refused_at_once why=old count=37     logins that it refused
 *
 * Sums count from the start of the process. */
#ifndef IMAPFERRY_TALLY_H
#define IMAPFERRY_TALLY_H

#include "lib/loop.h"

enum tally_of { TALLY_ENDS, TALLY_HANDOVERS, TALLY_BREAKERS, TALLY_REFUSED_AT_ONCE, TALLY_COUNT };
enum { TALLY_WORDS = 64 };

struct tally;

struct tally *tally_new(struct loop *l, unsigned thread);
/* Logs what was not logged yet. NULL is fine; nulls *t. */
void tally_free(struct tally **t);
/* why: one of at most TALLY_WORDS words; borrowed, has to outlive the tally. */
void tally_add(struct tally *t, enum tally_of of, const char *why);

#endif
