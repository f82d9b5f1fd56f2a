/* proof_text: the lines of a proof: what stood on both servers at the flip, message by message. Pure.
 *
 * ASCII, a JSON value a line, without blanks, in one order: so one account at one flip has one text, and `sha256sum` of it says
 * whether it is the one that was made then. compare.py --proof (tests/harness) holds it against both servers.
 *
 *   {"imapferry_proof":1,"user":"ann","source":"old","target":"new","generation":1,"epoch":5,"time":"2026-01-31T10:00:00Z",
 *    "verify":"full"}
 *                       one line; generation and epoch number the attempt to cut over; verify is migration.verify
 *   {"mailbox":"INBOX","target":"INBOX","source_uidvalidity":1,"target_uidvalidity":7,"on_source":2,"proved":2}
 *                       one line for each mailbox, by its name on the source; names as on the wire, each byte a character.
 *                       on_source: messages that the source had; some of them may have been waived, or left out by a rule.
 *                       proved: how many lines follow. "compared":false behind them: a person has waived that it was not
 *                       copied, and none follow
 *   [12,12,4711,1769853600,"9f86...","bytes"]
 *                       one line for each message, by its UID on the source: UID there, UID on the target, size, INTERNALDATE
 *                       in seconds since 1970, SHA-256 of its bytes, and how both sides were compared: "bytes", "headers" or
 *                       "listing". null: not known; an account that is sent back once its ledger was folded has such sizes
 *                       and hashes (migrator/mailbox/folded.h)
 *   {"mailboxes":1,"messages":2,"bytes":9422,"without_digest":0}
 *                       the last line
 *
 * Flags are compared at the flip, and are not in it: the next click of the user changes them. */
#ifndef IMAPFERRY_PROOF_TEXT_H
#define IMAPFERRY_PROOF_TEXT_H

#include "lib/buf.h"

#include "migrator/mailbox/ledger.h"

struct proof_head {
    const char *user, *source, *target, *verify;
    uint64_t generation, epoch, time_ms;
};
struct proof_mailbox {
    const char *source_name, *target_name; /* as on the wire */
    uint32_t source_uidvalidity, target_uidvalidity;
    uint64_t on_source, proved;
    bool compared;
};
struct proof_sums {
    uint64_t mailboxes, messages, bytes, without_digest;
};

/* All of these append. */
void proof_write_head(struct buf *out, const struct proof_head *h);
void proof_write_mailbox(struct buf *out, const struct proof_mailbox *m);
/* Adds it up in *sums. */
void proof_write_message(struct buf *out, const struct ledger_row *row, struct proof_sums *sums);
void proof_write_end(struct buf *out, const struct proof_sums *sums);

#endif
