/* folded: what is left of a ledger when the set time of the late watch is over: which source message became
 * which target message, without sizes and hashes. Pure.
 *
 * Rows in which both UIDs rise by one make a run, which takes about three bytes of text however long it is;
 * what stands in front of the runs takes about fifteen. If a message has to be known by its bytes later on,
 * it is read again, since both servers have it (known.h, same.h, verify.h). */
#ifndef IMAPFERRY_FOLDED_H
#define IMAPFERRY_FOLDED_H

#include "ledger.h"

enum { FOLDED_ROWS_MAX = 8 * 1000 * 1000 };

struct folded {
    bool bound, turned; /* see ledger.h, as all of this */
    uint32_t source_uidvalidity, target_uidvalidity;
    uint32_t looked;
};

/* rows: ascending by source UID. Those whose source UID is in `but` are left out. */
void folded_write(struct buf *out, const struct folded *f, const struct ledger_row *rows, size_t n,
                  const struct imap_seq *but);

/* Called for each row, ascending by source UID; these are bare. */
typedef void (*folded_fn)(void *owner, const struct ledger_row *row);
/* False: the text is not wholly what folded_write() writes for at most FOLDED_ROWS_MAX rows; then what fn was
 * told counts for nothing. */
bool folded_read(struct span text, struct folded *_r, folded_fn fn, void *owner) MUST_CHECK;

#endif
