/* report: what a pass compared and found, as the JSON text that staff read (`imapferryctl user NAME
 * --report`). Pure.
 *
 *   time, source, target, verify   when the pass was made, between which backends, and migration.verify
 *   result, reason                 "equal", or the word and the text of why the account does not move
 *   last                           it was the pass in the freeze
 *   messages, bytes                how much the source has
 *   compared                       how many messages were compared by bytes, or by headers, which were read back from the
 *                                  target; "listing": by size, flags and date alone. A message that is in none of the
 *                                  three was not compared
 *   zones_changed                  INTERNALDATEs of the same instant in another zone
 *   findings                       by kind: how many are open, and how many waived
 *   foreign                        messages that the target had before, and which are no copies
 *   account                        findings that belong to no mailbox, or to one that is not copied: "mailbox" has its
 *                                  name then
 *   mailboxes                      each with its UIDVALIDITY on the source, the same numbers, its tier (tier.h) and, as
 *                                  tier_why, why it is not a better one, and its findings by name: kind, uid, waived,
 *                                  detail, and key, which is what "waive" takes; of the pass in the freeze also
 *                                  modseqs, how clients with CONDSTORE or QRESYNC go on (modseqs_word())
 *   shares                         with whom it shares mailboxes (shares.h): with, who, or, gives, mailboxes, such_as, rights
 *   more_shares                    how many are not listed
 *   more_mailboxes                 how many are not listed, since the text would be too long; those with findings go first */
#ifndef IMAPFERRY_REPORT_H
#define IMAPFERRY_REPORT_H

#include "lib/view_record.h"

#include "migrator/mailbox/copy.h"
#include "shares.h"

enum { REPORT_MAX = 512 * 1024 /* bytes, more or less */ };

struct report_mailbox {
    const char *source_name, *target_name; /* as on the wire */
    bool looked;                           /* it was compared, the counts are of that */
    const struct copy_counts *counts;
    const struct findings *findings; /* NULL = none */
    uint32_t uidvalidity;            /* of the source; 0 = not known */
    enum view_tier tier;
    const char *tier_why; /* "" = it is T0, or nothing is known yet */
    const char *modseqs;  /* modseqs_word(); NULL = not known yet */
};

struct report {
    uint64_t time_ms; /* wall clock */
    const char *source, *target, *verify;
    const char *result, *reason;
    bool last;
    const struct shares *shares;      /* NULL = not known */
    const struct findings *all;       /* of the account and of its mailboxes */
    struct report_mailbox *mailboxes; /* owned; sorted by report_write() */
    size_t n;
};

void report_write(struct buf *out, struct report *r);
void report_free(struct report *r);

#endif
