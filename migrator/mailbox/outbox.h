/* outbox: the target's side of a transfer: APPENDs in order, their answers, the UIDs of what was stored, and
 * the ledger.
 *
 * With MULTIAPPEND an APPEND takes a batch, else one message. The next may begin before the one ahead is
 * answered where the target has UIDPLUS: should the one ahead be refused after all, what came behind it is
 * taken back (outbox_undo()), so that the order of the source is kept. One of a single message that is
 * refused is left out, and what came behind it stays. UIDs come from APPENDUID; without it the target is read
 * above the UIDNEXT from before, and messages are known by their hashes (which verifies them too). Rows go to
 * the ledger in order.
 *
 *   begin → bytes ... → keep → (begin ... keep) → close → hashes in the ledger → answered → UIDs known → in the
 *   ledger
 *
 * Where messages keep their numbers (numbering.h), fillers go in front of a message in the same APPEND, or,
 * without MULTIAPPEND, or where there are many of them, or once an APPEND with both was refused, in APPENDs of
 * their own. With MULTIAPPEND, then, one goes out behind the one that is not answered yet, but does not end
 * before that is: should the one ahead be refused, this one is given up by a literal of no bytes (RFC 3502
 * 6.3.11), for the numbers of what is behind could not be had any more.
 *
 * The same holds wherever what is refused may go another way (deposit.h), so that nothing lies behind it by then.
 *
 * Nothing of an APPEND is stored before outbox_close(): outbox_free() before it breaks the target's
 * connection. */
#ifndef IMAPFERRY_OUTBOX_H
#define IMAPFERRY_OUTBOX_H

#include "pair.h"

struct outbox;

struct outbox_fns {
    /* Something was answered: there may be room, or all is done. */
    void (*moved)(void *owner);
    /* The target refused an APPEND of several messages, or any more: finish what is under way, then
     * outbox_undo(). */
    void (*refused)(void *owner);
    /* The target refused this message. */
    void (*skipped)(void *owner, uint32_t source_uid, const char *text);
    /* ... by LIMIT, which may be about it or about all messages. */
    void (*limited)(void *owner, uint32_t source_uid, const char *text);
    /* No use to go on. */
    void (*failed)(void *owner, enum copy_rc rc, const char *why);
};

/* fns is borrowed. None of them is called from inside a function of this module, with one exception:
 * outbox_settle() calls moved, skipped and limited. */
struct outbox *outbox_new(struct pair *p, const struct outbox_fns *fns, void *owner);
void outbox_free(struct outbox **o);

/* May a message begin now? It may always where an APPEND is open. */
bool outbox_may_begin(const struct outbox *o);
bool outbox_is_open(const struct outbox *o);
/* Sees that the message with this UID can get it: fills or jumps what lies below. False: that takes until
 * `moved` is told. True where there is nothing to do, or where outbox_begin() does it. */
bool outbox_reach(struct outbox *o, uint32_t uid) MUST_CHECK;
/* The same for the UIDNEXT of the target, when all messages went out and it is idle. */
bool outbox_raise(struct outbox *o, uint32_t uidnext) MUST_CHECK;
/* Begins a message, in an APPEND of its own where none is open: then uids are all that it will be given, at
 * most, and the first of them is this one. */
void outbox_begin(struct outbox *o, const struct mbox_msg *m, uint64_t size, const uint32_t *uids, size_t n);
void outbox_bytes(struct outbox *o, struct span bytes);
/* The message that is kept next is the last one: what lies between it and the source's UIDNEXT is filled in
 * the same APPEND, where it fits. */
void outbox_ends_at(struct outbox *o, uint32_t uidnext);
/* The message that began last is whole. target_uid is found out here. */
void outbox_keep(struct outbox *o, const struct ledger_row *row);
/* The APPEND that is open is whole; nothing where none is open. outbox_keep() does it where an APPEND is
 * full. */
void outbox_close(struct outbox *o);

/* A message was stored there by another way (deposit.h), while it was idle: as if it had been appended. */
void outbox_stored(struct outbox *o, const struct ledger_row *row);

/* Takes notice of what was answered: to be called from the loop, outside of any callback. */
void outbox_settle(struct outbox *o);
/* Everything is answered; what was accepted is in the ledger. */
bool outbox_is_idle(const struct outbox *o);
/* Everything is answered, and the first APPEND that is left was refused. */
bool outbox_is_stuck(const struct outbox *o);

/* What was refused: the last UID that it was for, for how many messages, and what the target said. */
struct outbox_refusal {
    uint32_t last_uid;
    size_t messages;
    bool any;   /* it is not about these messages: the target takes none (over quota, no right) */
    bool quota; /* over quota */
    const char *text;
};
struct outbox_refusal outbox_refusal(const struct outbox *o);
/* Of a stuck one: removes what was stored behind the refused APPEND and forgets all of them. Ends with
 * `moved`, when it is idle, or `failed`. */
void outbox_undo(struct outbox *o);

/* The lowest target UID that it stored, fillers too; 0 = none. */
uint32_t outbox_first(const struct outbox *o);
/* What the target's UIDNEXT is at least. */
uint32_t outbox_uidnext(const struct outbox *o);
/* Bytes of the largest message that the target took; 0: none. */
uint64_t outbox_largest(const struct outbox *o);

#endif
