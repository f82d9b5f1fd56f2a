/* known: the KNOWN step: which of the messages that came late to a mailbox of the source were copied before?
 * The ledger knows them by their bytes. A server that was restored or rebuilt shows old mail under new UIDs;
 * staff are told of such messages, and they are not copied. Fills pair.known.
 *
 * Rows of a ledger that was folded have no hash any more (folded.h). Of these the copies on the target are
 * read that have the size or the date of a late message, and where the copy is gone (its user removed it),
 * the message on the source. One that is gone on both sides is not known again: it is copied as any late
 * message, since to take a new message for it would be to lose that. */
#ifndef IMAPFERRY_KNOWN_H
#define IMAPFERRY_KNOWN_H

#include "pair.h"

struct known;

struct known *known_start(struct pair *p, step_fn fn, void *owner);
void known_stop(struct known **k);

#endif
