/* digits: numbers in few printable bytes (letters, digits, "-" and "_"), for texts that are kept by the
 * million. A number is digits of base 32, the lowest first, each but the last marked by 32: one byte for 0 to
 * 31, two up to 1023. */
#ifndef IMAPFERRY_DIGITS_H
#define IMAPFERRY_DIGITS_H

#include "base.h"
#include "buf.h"

void digits_write(struct buf *out, uint64_t n);
/* Eats a number up to max (below 2^60), which has only one spelling. False: no such number stands there, and
 * *_r is not written. */
bool digits_read(struct span *in, uint64_t max, uint64_t *_r) MUST_CHECK;

/* Write and read one digit alone, 0 to 63. */
void digits_write_one(struct buf *out, unsigned digit);
bool digits_read_one(struct span *in, unsigned *_r) MUST_CHECK;

#endif
