/* bypass: did anything change the source past the proxies while the account stood still? Between the last
 * pass and the flip each mailbox is asked about once more, and has to be as it was when the last pass looked
 * at it.
 *
 * It is compared with what that pass saw of the mailbox first, in the freeze: UIDVALIDITY, UIDNEXT, number of
 * messages and HIGHESTMODSEQ. If all four are still the same, nothing has changed (RFC 7162 3.1.1). If one
 * has changed, the messages that changed since are listed (CHANGEDSINCE). New messages are deliveries, which
 * are allowed, and which the late watch brings over. Other flags of a message that was there, a message that
 * is gone, or a mailbox that is gone are a bypass.
 *
 * The question is EXAMINE where the last pass listed messages (INBOX, and what had changed). Elsewhere it is
 * STATUS, and EXAMINE follows where STATUS says that something is new: 100 EXAMINEs are 35 ms of a Dovecot's
 * work, 100 STATUS 8 ms. Where a server answers STATUS from a cache, it may not tell at once of what other
 * programs changed in its files; of what its own sessions change, Dovecot tells at once.
 *
 * Without HIGHESTMODSEQ the UIDs and flags of all messages are listed and compared by one number that the
 * last pass made of its list (mbox_list_marks()).
 *
 * What is seen are changes from the moment at which the last pass first looked at a mailbox, which comes
 * after hook_freeze, to this moment. What changed earlier in the freeze is brought over by the last pass, and
 * not told apart from what the sessions did. What changes later, in the few milliseconds in which the route
 * is being flipped, is not seen. Nor are mailboxes that are made in the freeze: the late watch finds these,
 * as it finds deliveries. */
#ifndef IMAPFERRY_BYPASS_H
#define IMAPFERRY_BYPASS_H

#include "migrator/account/move.h"

enum bypass_rc {
    BYPASS_NONE,
    BYPASS_SEEN, /* detail names it */
    BYPASS_DOWN, /* the source could not be looked at: why and detail */
};
struct bypass_result {
    enum bypass_rc rc;
    enum why why;
    const char *detail;       /* for people; borrowed */
    size_t mailboxes, closer; /* closer: whose messages were listed */
    uint64_t took_ms;
};

struct bypass;
/* The run is gone when this is called. */
typedef void (*bypass_fn)(void *owner, const struct bypass_result *result);

/* Behind a last pass that found all equal. Never calls back before it returned. */
struct bypass *bypass_start(struct move *move, bypass_fn fn, void *owner);
/* NULL is fine. */
void bypass_cancel(struct bypass **b);

#endif
