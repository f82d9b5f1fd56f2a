/* verify: the VERIFY step: the bytes of copies that were not read back yet are read from the target and
 * hashed. Where a hash is not that of the ledger, the source is read a second time, which decides which side
 * is at fault. */
#ifndef IMAPFERRY_VERIFY_H
#define IMAPFERRY_VERIFY_H

#include "pair.h"

struct verify;

/* from: copies with this target UID or a higher one are read though the target may not have listed them yet,
 * as far as the mode needs no listing to tell; 0: none of those. */
struct verify *verify_start(struct pair *p, uint32_t from, step_fn fn, void *owner);
/* All that is to be read was asked for, and little of it is still to come. pair.asked() is called when that
 * becomes so; not before verify_start() returned. */
bool verify_has_asked(const struct verify *v);
void verify_stop(struct verify **v);

#endif
