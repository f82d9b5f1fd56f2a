/* nearest: which of some words may have been meant by one that is not among them. Pure. */
#ifndef IMAPFERRY_NEAREST_H
#define IMAPFERRY_NEAREST_H

#include "lib/base.h"

/* The known word to which the fewest changes lead, the first one of several: a letter is changed, left out,
 * put in, or exchanged with its neighbour. To a known word that begins with this one it is one change. NULL:
 * none is near, which means that more than a third of the letters, and more than one, would have to be
 * changed. */
const char *nearest(const char *word, const char *const *known, size_t n);

#endif
