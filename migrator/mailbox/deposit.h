/* deposit: one message that the target refuses by APPEND goes there another way (imap/depot.h):
 *
 *   READ    its bytes are read from the source, for their hashes: a depot wants to know beforehand by which it calls the
 *           message. A message that was refused is read once more for that; to take this hash of every message that
 *           goes by APPEND would cost all of them something, for the few
 *   NOTE    intent and hash go to the ledger, as before any APPEND (outbox.h)
 *   GIVE    the bytes are read again, and go out as they come; where they are others than before, nothing is stored
 *   STORE   the depot answers with the UID
 *
 * Its row is not in the ledger yet at the end. Killed or cut off before that, it is found by its hash, as any message in
 * doubt (settle.h). Nothing else may be under way on either connection. */
#ifndef IMAPFERRY_DEPOSIT_H
#define IMAPFERRY_DEPOSIT_H

#include "pair.h"

struct deposit;

enum deposit_rc {
    DEPOSIT_STORED,
    DEPOSIT_REFUSED, /* not there either */
    DEPOSIT_MISSED,  /* the source does not give it */
    DEPOSIT_MUTABLE, /* the source gives other bytes than before */
    DEPOSIT_DOWN,    /* a connection broke, or the store is away */
    DEPOSIT_NOT_OURS /* the job is another's */
};
typedef void (*deposit_fn)(void *owner, enum deposit_rc rc, const char *why);

/* p->depot is not NULL. target_uidnext: see ledger_intent(). m is copied. */
struct deposit *deposit_start(struct pair *p, const struct mbox_msg *m, uint32_t target_uidnext,
                              deposit_fn fn, void *owner);
/* Of DEPOSIT_STORED. */
const struct ledger_row *deposit_row(const struct deposit *d);
void deposit_stop(struct deposit **d);

#endif
