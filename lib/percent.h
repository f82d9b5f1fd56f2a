/* percent: bytes written as "%41", a "%" and two hexadecimal digits, and such digits alone. Pure. */
#ifndef IMAPFERRY_PERCENT_H
#define IMAPFERRY_PERCENT_H

#include "buf.h"

/* Which letters count as digits. What we wrote ourselves has one spelling alone, or two texts would mean one
 * name. */
enum hex_letters { HEX_CAPITALS, HEX_SMALL, HEX_BOTH };

/* The byte that the first two digits of s write, 0 to 255; -1 where s does not begin with two. */
int hex_byte(struct span s, enum hex_letters letters);

/* Appends "%41", in capitals. */
void percent_write(struct buf *out, uint8_t byte);
/* Takes one byte off the front of *in, which is not empty: *escaped where it was written with a "%". False: a
 * "%" without two digits behind it; then *in and the rest are as they were. */
bool percent_take(struct span *in, enum hex_letters letters, uint8_t *_byte, bool *_escaped) MUST_CHECK;

#endif
