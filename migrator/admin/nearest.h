/* nearest: which of some words may have been meant by one that is not among them. Pure. */
#ifndef IMAPFERRY_NEAREST_H
#define IMAPFERRY_NEAREST_H

#include "lib/base.h"

/* The first one to which the fewest letters have to be changed, left out, put in or exchanged with their neighbour, or that
 * begins with the word; NULL: none is near (more than a third of the letters, and more than one, would have to be). */
const char *nearest(const char *word, const char *const *known, size_t n);

#endif
