/* fillers: removes from the target the fillers of this ledger (numbering.h) that lie there, and sees that they
 * are gone: those whose UIDs the ledger knows, and those that were not verified to be copies and that have
 * the bytes of one that went out, in case its answer was lost, or was wrong. A message at the UID of a filler that can't be one, by its size, is
 * not ours: it stays, and the numbers are lost.
 *
 * Needs no more of the pair than the target, listed, and the ledger. */
#ifndef IMAPFERRY_FILLERS_H
#define IMAPFERRY_FILLERS_H

#include "pair.h"

struct fillers;

/* Are there any, as far as is known? */
bool fillers_may_be_there(const struct ledger *l);
/* unanswered: those of which nothing is known may have gone out without an answer, and come later. */
struct fillers *fillers_start(struct pair *p, bool unanswered, step_fn fn, void *owner);
/* How many were removed. */
uint64_t fillers_removed(const struct fillers *f);
void fillers_stop(struct fillers **f);

#endif
