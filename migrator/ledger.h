/* ledger: which message of the source became which message of the target, one list a mailbox in Redis, mirrored in
 * memory while a job runs. The only identity there is: hashes serve verification and repair.
 *
 * Entries are append-only text lines (strict, versioned; the format stands at the head of ledger.c):
 *   bind      the two UIDVALIDITYs that all that follows belongs to
 *   intent    before an APPEND: target UIDNEXT at that moment, source UIDs and hashes so far as known
 *   done      source UID, target UID, SHA-256, size, flags digest, date of messages that arrived
 *   verified  source UIDs whose bytes were read back and equal
 *   gone      source UIDs that were expunged at the source and whose copy was removed
 * An intent without a done is a batch in doubt: the target is read above the last ledgered UID and matched by hash
 * before anything is sent again. */
#ifndef IMAPFERRY_LEDGER_H
#define IMAPFERRY_LEDGER_H

#include "lib/route.h"

struct ledger_row {
    uint32_t source_uid, target_uid;
    uint8_t hash[32];
    uint64_t size;
    bool verified;
};

struct ledger;

typedef void (*ledger_fn)(void *owner, enum route_rc rc);

/* Reads the list of a record into memory. */
struct ledger *ledger_load(struct store *s, const struct route_job *job, const char *record_id, ledger_fn fn,
                           void *owner);
void ledger_free(struct ledger **l);
bool ledger_bound(const struct ledger *l, uint32_t *source_uidvalidity, uint32_t *target_uidvalidity);
/* Ascending by source UID. */
const struct ledger_row *ledger_rows(const struct ledger *l, size_t *n);
const struct ledger_row *ledger_find(const struct ledger *l, uint32_t source_uid);
const struct ledger_row *ledger_find_target(const struct ledger *l, uint32_t target_uid);
/* The intent without an end, if there is one: the target's UIDNEXT before it. */
bool ledger_in_doubt(const struct ledger *l, uint32_t *target_uidnext);

/* Each writes to Redis first (owner and epoch checked in the script) and calls back when it is there. */
void ledger_bind(struct ledger *l, uint32_t source_uidvalidity, uint32_t target_uidvalidity, ledger_fn fn, void *owner);
void ledger_intent(struct ledger *l, uint32_t target_uidnext, const uint32_t *source_uids, size_t n, ledger_fn fn,
                   void *owner);
void ledger_done(struct ledger *l, const struct ledger_row *rows, size_t n, ledger_fn fn, void *owner);
void ledger_verified(struct ledger *l, const uint32_t *source_uids, size_t n, ledger_fn fn, void *owner);
void ledger_gone(struct ledger *l, const uint32_t *source_uids, size_t n, ledger_fn fn, void *owner);
/* All entries are void (a UIDVALIDITY changed): empties list and memory. */
void ledger_void(struct ledger *l, ledger_fn fn, void *owner);

#endif
