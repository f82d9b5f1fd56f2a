/* fold: what the ledgers of an account take in Redis once the set time of the late watch is over (ledger_fold()). One
 * script a ledger: whoever dies in between leaves some as they were, and the next look folds these. So does the first look
 * at an account that an older version has moved. A ledger that has something open (ledger_may_fold()), or can't be read, is
 * left alone until the next look; so is one with changes that were never answered, as long as no look has seen what came of them. */
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
