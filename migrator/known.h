/* known: of the messages that came to a mailbox of the source late, which ones does the ledger know by their
 * bytes? A server that was restored or rebuilt shows old mail under new UIDs; such messages are told, not
 * copied. Fills pair.known. */
#ifndef IMAPFERRY_KNOWN_H
#define IMAPFERRY_KNOWN_H

#include "pair.h"

struct known;

struct known *known_start(struct pair *p, step_fn fn, void *owner);
void known_stop(struct known **k);

#endif
