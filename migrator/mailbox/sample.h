/* sample: which copies are read back from the target whole, under each migration.verify. Pure.
 *
 *   full     all of them
 *   sample   one of SAMPLE_SHARE, chosen by a seed, so that each run chooses the same; the first and the last
 *            of the mailbox; and each that was sent again after a doubt, with its neighbours
 *   headers  those whose header was not found equal (headers.h)
 *
 * In each of them also those whose size, as the target lists it, is not that of the bytes that were copied.
 */
#ifndef IMAPFERRY_SAMPLE_H
#define IMAPFERRY_SAMPLE_H

#include "lib/options.h"

#include "ledger.h"
#include "mbox_list.h"

enum { SAMPLE_SHARE = 10 };

struct sample {
    enum verify_mode mode;
    uint64_t seed;
    const struct imap_seq *resent; /* borrowed; source UIDs */
};

/* A seed from any text. */
uint64_t sample_seed(const char *text);
/* Does the target list the size that was copied? */
bool sample_size_fits(const struct ledger_row *row, const struct mbox_msg *target);
/* Is what was compared of the i-th row, whose message the target lists, not enough: its bytes are to be read?
 */
bool sample_wants_bytes(const struct sample *s, const struct ledger_row *rows, size_t n, size_t i,
                        const struct mbox_msg *target);

/* The same before the target has listed it. */
bool sample_wants_unlisted(const struct sample *s, const struct ledger_row *rows, size_t n, size_t i);

#endif
