/* bypass: did something change the source past the proxies while the account stood still? Looked for between the last
 * pass and the flip: each mailbox is asked about once more, and must be as it was when the last pass looked at it.
 *
 * What that pass saw first of a mailbox, in the freeze, is the beginning: UIDVALIDITY, UIDNEXT, number of messages and
 * HIGHESTMODSEQ. Where all four still are the same, nothing has changed (RFC 7162 3.1.1). Where one has changed, the
 * messages that changed since are listed (CHANGEDSINCE): new ones are deliveries, which are allowed and which the late
 * watch brings over; other flags of a message that was there, one that is gone, or a mailbox that is gone are a bypass.
 *
 * Asked is by EXAMINE where the last pass listed messages (INBOX, and what had changed), by STATUS elsewhere, and then by
 * EXAMINE where that says that something is new: 100 EXAMINEs are 35 ms of a Dovecot's work, 100 STATUS 8 ms. Servers that
 * answer STATUS from a cache may not tell at once there of what was changed in the files by other programs than the server
 * itself; what its own sessions change, Dovecot tells at once.
 *
 * Without HIGHESTMODSEQ the UIDs and flags of all messages are listed and compared by one number that the last pass made
 * of its list (mbox_list_marks()).
 *
 * The window: from the last pass's first look at a mailbox, which comes after hook_freeze, to this look at it. What
 * changed in the freeze before is brought over by the last pass, and not told apart from what the sessions did. What
 * changes after this look, in the few milliseconds in which the route is being flipped, is not seen. Nor are mailboxes
 * that are made in the freeze: those are found by the late watch, as deliveries are. */
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
/* The glance is gone when this is called. */
typedef void (*bypass_fn)(void *owner, const struct bypass_result *result);

/* Behind a last pass that found all equal. Never calls back before it returned. */
struct bypass *bypass_start(struct move *move, bypass_fn fn, void *owner);
/* NULL is fine. */
void bypass_cancel(struct bypass **b);

#endif
