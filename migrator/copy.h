/* copy: makes one mailbox of the target equal to the one of the source, and proves it. The same engine is the
 * first copy, the second run, each delta, and the last pass in the freeze:
 *
 *   OPEN      the source is EXAMINEd, the target SELECTed, and the messages are listed on both sides: all, or
 *             what may have changed since both were equal (selected.h)
 *   BIND      UIDVALIDITYs against the ledger's: where one has changed, what the ledger says is void
 *   SETTLE    what is on the target though the ledger does not say so, above all a batch in doubt, by hash
 *   APPEND    what the ledger lacks, in UID order, streamed from FETCH to APPEND, hashed on the way
 *   RELIST    what arrived, as the target shows it
 *   DOUBLES   copies that landed late, after they were sent again, are removed
 *   ALIGN     what was listed on one side alone is listed on the other too
 *   FLAGS     STORE on the target where flags or keywords differ
 *   EXPUNGE   copies whose source message is gone: UID EXPUNGE of exactly those UIDs
 *   FORGET    their rows
 *   VERIFY    bytes not verified yet are read back from the target and hashed
 *   LOOK      what the target has become by FLAGS and EXPUNGE
 *   COMPARE   UIDs, order, flags, keywords, instants of both listings; back to ALIGN, twice at most, where a
 *             server told of a change meanwhile
 *
 * Any step may end it: with a difference that stays (named in struct copy_result.reason; it stops the flip),
 * with a broken connection, or because the job went to another owner. */
#ifndef IMAPFERRY_COPY_H
#define IMAPFERRY_COPY_H

#include "imap_client.h"
#include "ledger.h"
#include "stamp.h"

enum copy_rc {
    COPY_EQUAL,   /* verified equal */
    COPY_DIFFERS, /* a named difference: needs a person, or a later retry */
    COPY_CANNOT,  /* the target refuses a message, a keyword is lost...: named, blocks */
    COPY_DOWN,    /* a connection broke or the store is away: try again */
    COPY_LOST,    /* the job is not ours any more */
};

struct copy_counts {
    /* of the source; done = on the target */
    uint64_t messages_total, messages_done, messages_verified, bytes_total, bytes_done;
    uint64_t appended, stored, expunged; /* what this pass changed */
    uint64_t zones_changed;              /* INTERNALDATE: equal instant, other zone */
};

struct copy_result {
    enum copy_rc rc;
    const char *reason; /* for people: mailbox, UID, what; borrowed */
    struct copy_counts counts;
    uint32_t source_uidvalidity, source_uidnext, target_uidvalidity, target_uidnext;
    struct stamp_side source_seen, target_seen; /* what both said before they were compared */
    bool whole;                                 /* all messages were listed on both sides */
};

struct copy_request {
    struct loop *loop;
    struct imapc *source, *target;         /* signed in; this copy uses them alone until it ends */
    struct ledger *ledger;                 /* loaded; stays the caller's */
    const char *source_name, *target_name; /* as on the wire */
    bool last;                             /* in the freeze */
    const struct stamp *was; /* when both were equal, of this ledger; NULL: list all messages */
    void (*progress)(void *owner,
                     const struct copy_counts *c); /* may be NULL; at most a few times a second */
};

struct copy;
typedef void (*copy_fn)(void *owner, const struct copy_result *result);

/* Never calls back before it returned. request is copied. */
struct copy *copy_start(const struct copy_request *request, copy_fn fn, void *owner);
void copy_cancel(struct copy **c);

#endif
