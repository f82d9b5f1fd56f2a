/* fold: makes the ledgers of an account small in Redis once the set time of the late watch is over
 * (ledger_fold()). It takes one script for each ledger: if a migrator dies in between, some stay as they
 * were, and the next look folds these. So does the first look at an account that an older version has moved.
 * A ledger is left alone until the next look if something of it is open (ledger_may_fold()), if it can't be
 * read, or if it has changes that were never answered and no look has seen yet what came of them. */
#ifndef IMAPFERRY_FOLD_H
#define IMAPFERRY_FOLD_H

#include "migrator/account/move.h"

struct fold;
typedef void (*fold_fn)(void *owner, enum route_rc rc);

/* move->records is NULL, and is made. Never calls back before it returned; is gone when it does. */
struct fold *fold_start(struct move *move, fold_fn fn, void *owner);
/* NULL is fine. */
void fold_cancel(struct fold **f);

#endif
