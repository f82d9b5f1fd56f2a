/* restore: makes the store of a site anew from journals and exports (migrator/site/flips.h), for `imapferryctl route restore`. It
 * writes all routes first and the store's own record last, so that no login finds half of them. To do it again does no harm. */
#ifndef IMAPFERRY_RESTORE_H
#define IMAPFERRY_RESTORE_H

#include "migrator/site/flips.h"

#include "actions.h"

struct restore;
/* s: is connected, and holds no store (STORE_FOREIGN). Borrows flips. Calls back once, not before it returned, and is gone then.
 * The data of the result: restored, held, in_doubt (names), skipped (were never switched over nor held), unreadable. An account
 * where the clocks contradict the epochs is held. */
struct restore *restore_start(struct store *s, const struct flips *flips, action_fn fn, void *owner);
/* NULL is fine. */
void restore_cancel(struct restore **r);

#endif
