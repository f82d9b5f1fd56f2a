/* match: which message of the source is which of the target, by their hashes alone. Pure. */
#ifndef IMAPFERRY_MATCH_H
#define IMAPFERRY_MATCH_H

#include "ledger.h"
#include "readback.h"

/* Pairs sources and targets with equal hashes, each target once, lower UIDs first; sorts both arrays. rows
 * (room for n_sources) come out verified, ascending by source UID. Returns how many there are. */
size_t match_items(struct readback_item *sources, size_t n_sources, struct readback_item *targets,
                   size_t n_targets, struct ledger_row *rows);
/* Orders two struct readback_item by their UIDs, for qsort() and bsearch(). */
int match_by_uid(const void *a, const void *b);

#endif
