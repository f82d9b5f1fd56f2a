/* percent: bytes that are written as "%41", a "%" and two hexadecimal digits, or as two such digits without
 * the "%". Pure. */
#ifndef IMAPFERRY_PERCENT_H
#define IMAPFERRY_PERCENT_H

#include "buf.h"

/* Which letters count as digits. For what we wrote ourselves only one spelling may be taken, since else two
 * texts would mean one name. */
enum hex_letters { HEX_CAPITALS, HEX_SMALL, HEX_BOTH };

/* The byte that the first two digits of s write, 0 to 255; -1 where s does not begin with two. */
int hex_byte(struct span s, enum hex_letters letters);

/* Appends "%41", in capitals. */
void percent_write(struct buf *out, uint8_t byte);
/* Takes one byte off the front of *in, which is not empty; *escaped says whether it was written with a "%".
 * False: there is a "%" without two digits behind it; then nothing is changed. */
bool percent_take(struct span *in, enum hex_letters letters, uint8_t *_byte, bool *_escaped) MUST_CHECK;

#endif
