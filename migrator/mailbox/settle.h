/* settle: finds out what of the source is on the target already though the ledger does not say so, before
 * anything is sent (again): messages of a batch in doubt (killed, cut off, taken over), and all of them where
 * a UIDVALIDITY changed.
 *
 * Read are target messages that no row knows, above the last ledgered UID (all of them, once the account was
 * moved in both directions), and source messages that could be the same: those in doubt, and others of equal
 * size or date. Messages that went out and that the source has expunged since are known by the hashes that the
 * ledger has of them: their rows let EXPUNGE take the copies away again. Equal hashes make a row, in the order of UIDs;
 * the rest of a doubt is then known not to have arrived. */
#ifndef IMAPFERRY_SETTLE_H
#define IMAPFERRY_SETTLE_H

#include "pair.h"

struct settle;

struct settle *settle_start(struct pair *p, step_fn fn, void *owner);
void settle_stop(struct settle **s);

#endif
