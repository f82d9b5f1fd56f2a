/* settle: finds out what of the source is on the target already though the ledger does not say so, before
 * anything is sent (again): messages of a batch in doubt (killed, cut off, taken over), and all of them where
 * a UIDVALIDITY changed.
 *
 * Read are target messages that no row knows, above the last ledgered UID (all of them, once the account was
 * moved in both directions), and source messages that could be the same: those in doubt, and others of equal
 * size or date. Messages that went out and that the source has expunged since are known by the hashes that
 * the ledger has of them; they get rows too, so that the step EXPUNGE takes their copies away again. Messages
 * with equal hashes make a row, in the order of UIDs (match.h). What was in doubt and has no row then has not
 * arrived. */
#ifndef IMAPFERRY_SETTLE_H
#define IMAPFERRY_SETTLE_H

#include "pair.h"

struct settle;

struct settle *settle_start(struct pair *p, step_fn fn, void *owner);
void settle_stop(struct settle **s);

#endif
