/* numbers: is each message of a mailbox to get its UID on the target (numbering.h), can it, and has it? What is found
 * against it is told by pair_lose_numbers(). */
#ifndef IMAPFERRY_NUMBERS_H
#define IMAPFERRY_NUMBERS_H

#include "pair.h"

/* Before APPEND: can it still, by what is there and by what is missing? */
void numbers_begin(struct pair *p);
/* Of a copy that ended equal: did it, by what both sides show, whatever was done? */
void numbers_judge(struct pair *p);
/* The reason is borrowed from the pair. */
struct numbers numbers_of(const struct pair *p);

#endif
