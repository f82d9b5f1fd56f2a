/* ledger: which message of the source became which message of the target. It is one list a mailbox in Redis,
 * mirrored in memory while a job runs. Its rows alone say which copy belongs to which message; hashes serve
 * verification and repair.
 *
 * Entries are append-only text lines (strict, versioned; the format stands at the head of ledger_text.c):
 *   bind      the two UIDVALIDITYs that all that follows belongs to
 *   intent    before an APPEND: target UIDNEXT at that moment (or lower), source UIDs
 *   sent      before an APPEND is completed, and nothing of it is stored earlier: source UID, size, SHA-256 of
 *             its messages. They can be told from foreign ones from then on, even where the source has expunged
 *             them meanwhile
 *   landed    source UIDs, target UIDs of messages that were sent and arrived
 *   done      source UID, target UID, size, SHA-256 of messages that were found to be there
 *   verified  source UIDs whose bytes were read back and equal
 *   headers   source UIDs whose headers were read on both sides and equal (migration.verify = headers)
 *   retake    source UIDs whose copies are to be removed and appended anew, behind one that succeeded late
 *   gone      source UIDs whose copy was removed: they were expunged at the source, or go once more
 *   looked    the late watch has looked at the source below this UID
 *   skipped   source UIDs of open intents that were not stored: refused, or not given by the source
 *   store     before UID STOREs on the target: a number, and target UIDs with the flags that they get
 *   expunge   before they are removed: a number, target UIDs
 *   mailbox   before it is renamed or deleted on the target: a number
 *   touched   the commands of this number were answered: they are not executed any more
 *   told      target UIDs of which the late watch has told staff what became of them
 *   fill      before an APPEND with fillers is completed, and nothing of it is stored earlier: the id of this
 *             ledger's fillers, and their numbers (numbering.h)
 *   filled    numbers of fillers, and the target UIDs that they got
 *   unfilled  target UIDs of fillers that were seen to be gone
 *   refused   numbers of fillers that were not stored
 *   latefill  numbers of fillers that the target does not have, though nobody knows whether it still gets them
 *   move      before messages of the target's own are copied behind all others (foreign.h): a number, the target's
 *             UIDNEXT at that moment (or lower); UID, size, SHA-256 of each
 *   moved     UIDs of such messages, each with that of its copy, which was read back and is the same
 *   clearing  UIDs of those that are about to be removed, since their copies are there
 *   cleared   UIDs of those about which nothing is under way any more
 *   settled   ends all intents that are open; names their source UIDs that were not found on the target
 *   void      forgets all of the above
 *   pair      from which backend to which: where it was the other way round until now, all rows are turned, and where
 *             it was between other backends, they are void
 *   folded    in front of all others: what was left of the ledger when it was folded (folded.h)
 *
 * What "settled" names is sent again, and one that lands late after all can be told from a foreign message.
 *
 * An intent whose messages are not all done is a batch in doubt: the target is read above the last ledgered
 * UID and matched by hash before anything is sent again. */
#ifndef IMAPFERRY_LEDGER_H
#define IMAPFERRY_LEDGER_H

#include "lib/imap_seq.h"
#include "lib/route.h"

struct ledger_row {
    uint32_t source_uid, target_uid;
    uint8_t hash[32]; /* SHA-256 of the bytes that the source gave */
    int64_t instant;  /* INTERNALDATE, in seconds since 1970; of this job alone: ledger_note_date() */
    uint64_t size : 60;
    bool verified : 1; /* read back from the target and equal */
    bool header : 1;   /* only its header was read on both sides, and was equal */
    bool bare : 1;     /* the ledger was folded: size and hash are 0, since they are not known any more */
    bool dated : 1;    /* instant is known */
};

struct ledger;

typedef void (*ledger_fn)(void *owner, enum route_rc rc);

/* Reads the list of a record into memory. Borrowed until ledger_free(): s, and job, whose epoch may rise
 * meanwhile. Another rc than ROUTE_OK: ledger_error() tells more, only ledger_free() is left. Not called from
 * inside. */
struct ledger *ledger_load(struct store *s, const struct route_job *job, const char *record_id, ledger_fn fn,
                           void *owner);
void ledger_free(struct ledger **l);
/* What could not be read or written, for people; "" while nothing has failed. */
const char *ledger_error(const struct ledger *l);
/* Is it a UIDVALIDITY that the target was told, in place of the one that is bound? */
bool ledger_is_renewal(const struct ledger *l, uint32_t target_uidvalidity);
/* False: no UIDVALIDITYs were bound yet. */
bool ledger_bound(const struct ledger *l, uint32_t *source_uidvalidity, uint32_t *target_uidvalidity);
/* Ascending by source UID. */
const struct ledger_row *ledger_rows(const struct ledger *l, size_t *n);
struct ledger_sums {
    uint64_t rows, verified, bytes;
};
const struct ledger_sums *ledger_sums(const struct ledger *l);
const struct ledger_row *ledger_find(const struct ledger *l, uint32_t source_uid);
const struct ledger_row *ledger_find_target(const struct ledger *l, uint32_t target_uid);
/* Both sides were seen to have this date. It is kept in memory alone; without a row nothing is. */
void ledger_note_date(struct ledger *l, uint32_t source_uid, int64_t instant);
/* Are there intents without an end? The lowest target UIDNEXT before one of them. */
bool ledger_in_doubt(const struct ledger *l, uint32_t *target_uidnext);
/* Adds to *uids the source UIDs of these intents that have no row. */
void ledger_doubtful(const struct ledger *l, struct imap_seq *uids);
/* Changes of the target that were never answered, since their owner died or the connection broke. They may
 * have been executed, or not, or may be executed later (route_calm() is said when that is over). fn is called
 * for each set of messages; flags: those that they were to get, NULL = they were to be removed. */
typedef void (*ledger_change_fn)(void *owner, const struct imap_seq *target_uids, const char *flags);
void ledger_each_open_change(const struct ledger *l, ledger_change_fn fn, void *owner);
bool ledger_has_open_change(const struct ledger *l);
/* Source UIDs of a `retake` that are not gone yet. */
const struct imap_seq *ledger_to_retake(const struct ledger *l);
/* Messages that were sent and are not known to have arrived, or were sent again after a doubt: target_uid is
 * 0. Ascending by source UID. */
const struct ledger_row *ledger_unlanded(const struct ledger *l, size_t *n);
/* Source UIDs that were sent again after a doubt. */
const struct imap_seq *ledger_resent(const struct ledger *l);

/* --- Fillers (numbering.h). A number may be sent several times. --- */

enum { LEDGER_FILLER_ID = 32 };
/* By what fillers of this ledger, and no other message, can be known: LEDGER_FILLER_ID hex digits. Made when
 * it is asked for the first time, and kept from the first ledger_fill() on. */
const char *ledger_filler_id(struct ledger *l);
struct ledger_fillers {
    struct imap_seq sent;  /* numbers of all that ever went out */
    struct imap_seq open;  /* of these, those of which it is not known whether they arrived */
    struct imap_seq late;  /* of these, those that the target did not have, though they may still come */
    struct imap_seq there; /* target UIDs that were not seen to be gone */
};
const struct ledger_fillers *ledger_fillers(const struct ledger *l);

/* --- Messages of the target's own, on their way behind the copies (foreign.h). --- */

struct ledger_move {
    uint32_t uid, to_uid; /* of the target; to_uid 0: it is not known to be copied */
    uint32_t from;        /* its copy has this UID at least */
    uint64_t size;
    uint8_t hash[32];
    bool clearing;
};
/* Ascending by uid. */
const struct ledger_move *ledger_moves(const struct ledger *l, size_t *n);

/* Was each UID of the target below this one given to a message or a filler of this ledger, also to one that is gone by now?
 * Then the target has a trace of each in its log of expunges. Where that is not known any more (the ledger was folded, or
 * turned), the answer is no; and so it is for a UID that was jumped over, whoever did it and died. */
bool ledger_gave_all(const struct ledger *l, uint32_t target_uidnext);
/* ... or not one, as far as is known? */
bool ledger_gave_none(const struct ledger *l);

/* --- Writing. Each of the functions from here to ledger_direct() that takes a ledger_fn writes one entry to Redis (the script
 * checks owner and epoch) and calls back when it is there, in the order of the calls; only then do the
 * functions above show it. Several may be under way. After another rc than ROUTE_OK it is unknown what was
 * written: load the ledger anew. None
 * calls back before it returned. --- */

void ledger_bind(struct ledger *l, uint32_t source_uidvalidity, uint32_t target_uidvalidity, ledger_fn fn,
                 void *owner);
/* Before the target is told another UIDVALIDITY for the mailbox, which keeps its UIDs. A server may do so when nobody waits for
 * it any more, and after it was told another one: by this it is known that the rows still hold (ledger_is_renewal()), until
 * the ledger is folded or turned. */
void ledger_renewal(struct ledger *l, uint32_t target_uidvalidity, ledger_fn fn, void *owner);
void ledger_intent(struct ledger *l, uint32_t target_uidnext, const uint32_t *source_uids, size_t n,
                   ledger_fn fn, void *owner);
/* Calls back when the replicas of Redis have it too, where there are any. */
void ledger_sent(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn fn, void *owner);
/* rows: of messages that were sent; both UIDs ascend. */
void ledger_landed(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn fn, void *owner);
void ledger_done(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn fn, void *owner);
void ledger_verified(struct ledger *l, const uint32_t *source_uids, size_t n, ledger_fn fn, void *owner);
void ledger_headers(struct ledger *l, const uint32_t *source_uids, size_t n, ledger_fn fn, void *owner);
void ledger_gone(struct ledger *l, const uint32_t *source_uids, size_t n, ledger_fn fn, void *owner);
void ledger_retake(struct ledger *l, const struct imap_seq *source_uids, ledger_fn fn, void *owner);

struct ledger_change {
    const struct imap_seq *target_uids;
    /* of IMAP, with blanks between; NULL: they are removed, and then it is the only change */
    const char *flags;
};
/* Before a change of the target; n = 0: the mailbox itself is renamed or deleted. Calls back when the
 * replicas of Redis have it too. Returns the number for ledger_touched(). ms: how long the commands may take
 * that are sent then (route_touch()). */
uint32_t ledger_touch(struct ledger *l, const struct ledger_change *changes, size_t n, uint64_t ms,
                      ledger_fn fn, void *owner);
/* All commands of this change were answered. */
void ledger_touched(struct ledger *l, uint32_t number, ledger_fn fn, void *owner);
/* Calls back when the replicas of Redis have it too. */
void ledger_fill(struct ledger *l, const struct imap_seq *numbers, ledger_fn fn, void *owner);
/* As many numbers as UIDs, not necessarily in the same order. */
void ledger_filled(struct ledger *l, const struct imap_seq *numbers, const struct imap_seq *target_uids,
                   ledger_fn fn, void *owner);
void ledger_unfilled(struct ledger *l, const struct imap_seq *target_uids, ledger_fn fn, void *owner);
void ledger_refused(struct ledger *l, const struct imap_seq *numbers, ledger_fn fn, void *owner);
/* They may still arrive, within ms at most: see ledger_settled(). */
void ledger_latefill(struct ledger *l, const struct imap_seq *numbers, uint64_t ms, ledger_fn fn,
                     void *owner);
/* rows: source_uid is the UID of the message, target_uid does not count. Calls back when the replicas of Redis have it
 * too. Returns the number for ledger_touched(); ms: as for ledger_touch(). */
uint32_t ledger_begin_move(struct ledger *l, uint32_t target_uidnext, const struct ledger_row *rows, size_t n,
                           uint64_t ms, ledger_fn fn, void *owner);
/* rows: source_uid and target_uid are the UIDs of the message and of its copy; nothing else counts. */
void ledger_moved(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn fn, void *owner);
void ledger_clearing(struct ledger *l, const struct imap_seq *target_uids, ledger_fn fn, void *owner);
void ledger_cleared(struct ledger *l, const struct imap_seq *target_uids, ledger_fn fn, void *owner);
/* After the flip: all messages below this UID were brought, or staff were told of them.
 * ledger_looked_until(): the highest such UID, 0 = none. */
void ledger_looked(struct ledger *l, uint32_t source_uidnext, ledger_fn fn, void *owner);
uint32_t ledger_looked_until(const struct ledger *l);
/* Staff were told what became of these messages of the target. */
void ledger_told(struct ledger *l, const struct imap_seq *target_uids, ledger_fn fn, void *owner);
bool ledger_was_told(const struct ledger *l, uint32_t target_uid);
/* There is no doubt about these: nothing of them was stored, though open intents name them. */
void ledger_skipped(struct ledger *l, const struct imap_seq *source_uids, ledger_fn fn, void *owner);
/* The target was read: messages of open intents that have no row have not arrived. Those that were sent may
 * still arrive, within ms at most: nobody freezes or flips the account before that time is over
 * (route_touch(), route_calm()). */
void ledger_settled(struct ledger *l, uint64_t ms, ledger_fn fn, void *owner);
/* Forgets all entries, also which UIDVALIDITYs they were bound to: one of these has changed. */
void ledger_void(struct ledger *l, ledger_fn fn, void *owner);
/* Says from which backend to which the rows lead, which ledger_is_of() asks for. On the way back they are
 * given the other way round, and then each row's target message becomes its source message. It is one entry,
 * so it is done wholly or not at all; to do it twice does nothing more. */
void ledger_direct(struct ledger *l, const char *source, const char *target, ledger_fn fn, void *owner);
bool ledger_is_of(const struct ledger *l, const char *source, const char *target);
/* Some rows come from an earlier move in the other direction: neither side has them in the order of the
 * other. */
bool ledger_was_turned(const struct ledger *l);
/* Folds the ledger by one script: which message became which is kept as runs of UIDs (folded.h). Of messages
 * that were sent again after a doubt all is kept that is known, since these may land once more. Changes of
 * the target that were never answered are forgotten. To be called right after ledger_load(); afterwards only
 * ledger_free() is left. ROUTE_AGAIN: somebody wrote meanwhile. ledger_may_fold(): it has a direction, and no
 * message of it is in doubt. */
bool ledger_may_fold(const struct ledger *l);
void ledger_fold(struct ledger *l, ledger_fn fn, void *owner);
/* No callback comes for owner any more; what is under way is written all the same. */
void ledger_forget(struct ledger *l, void *owner);

#endif
