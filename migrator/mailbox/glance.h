/* glance: how mailboxes are at this moment, seen by opening each of them: EXAMINE, pipelined, for
 * UIDVALIDITY, UIDNEXT, HIGHESTMODSEQ and the number of messages. It is made in the freeze, where an answer
 * has to be true at that moment: some servers answer STATUS from a cache. Dovecot's was seen to lack messages
 * that had been moved into a Maildir half a second before, after the client had got its OK. */
#ifndef IMAPFERRY_GLANCE_H
#define IMAPFERRY_GLANCE_H

#include "migrator/imap/imap_client.h"
#include "stamp.h"

struct glance_at {
    const char *name;      /* as on the wire; borrowed */
    struct stamp_side now; /* what was seen; all 0 where it could not be opened */
};

struct glance;
/* up: false where the connection broke, and what was seen counts for nothing. The glance is gone when it is
 * called. */
typedef void (*glance_fn)(void *owner, bool up);

/* Leaves the connection with the last of them selected. at (n > 0 of them) is borrowed until the end. Never
 * calls back before it returned. */
struct glance *glance_start(struct imapc *c, struct glance_at *at, size_t n, glance_fn fn, void *owner);
/* Takes what a server tells of a mailbox that it opens. Taken: it was that. */
enum imapc_taken glance_take(struct stamp_side *now, const struct imap_resp *resp);
/* NULL is fine. */
void glance_cancel(struct glance **l);

#endif
