/* copy: makes one mailbox of the target equal to the one of the source, and proves it. The same engine is the
 * first copy, the second run, each delta, and the last pass in the freeze:
 *
 *   OPEN      EXAMINE the source, SELECT the target, UIDVALIDITYs against the ledger's
 *   LIST      UID, FLAGS, INTERNALDATE, RFC822.SIZE of all messages on both sides
 *   SETTLE    a batch in doubt: target messages above the last ledgered UID are read and matched by hash
 *   APPEND    what the ledger lacks, in UID order, streamed from FETCH to APPEND, hashed on the way
 *   FLAGS     STORE on the target where flags or keywords differ
 *   EXPUNGE   copies whose source message is gone: UID EXPUNGE of exactly those UIDs
 *   VERIFY    bytes not verified yet are read back from the target and hashed; then UIDs, order, flags,
 * keywords, instants of both listings are compared
 *
 * A difference that stays is named (struct copy_result.reason) and stops the flip. */
#ifndef IMAPFERRY_COPY_H
#define IMAPFERRY_COPY_H

#include "imap_client.h"
#include "ledger.h"

enum copy_rc {
    COPY_EQUAL,   /* verified equal */
    COPY_DIFFERS, /* a named difference: needs a person, or a later retry */
    COPY_CANNOT,  /* the target refuses a message, a keyword is lost...: named, blocks */
    COPY_DOWN,    /* a connection broke or the store is away: try again */
    COPY_LOST,    /* the job is not ours any more */
};

struct copy_counts {
    uint64_t messages_total, messages_done, messages_verified, bytes_total,
        bytes_done;                      /* source side, done = on target */
    uint64_t appended, stored, expunged; /* what this pass changed */
    uint64_t zones_changed;              /* INTERNALDATE: equal instant, other zone */
};

struct copy_result {
    enum copy_rc rc;
    const char *reason; /* for people: mailbox, UID, what; borrowed */
    struct copy_counts counts;
    uint32_t source_uidvalidity, source_uidnext, target_uidvalidity, target_uidnext;
};

struct copy_request {
    struct loop *loop;
    struct imapc *source, *target;         /* signed in; this copy uses them alone until it ends */
    struct ledger *ledger;                 /* loaded; stays the caller's */
    const char *source_name, *target_name; /* as on the wire */
    bool last;                             /* in the freeze */
    void (*progress)(void *owner,
                     const struct copy_counts *c); /* may be NULL; at most a few times a second */
};

struct copy;
typedef void (*copy_fn)(void *owner, const struct copy_result *result);

/* Never calls back before it returned. request is copied. */
struct copy *copy_start(const struct copy_request *request, copy_fn fn, void *owner);
void copy_cancel(struct copy **c);

#endif
