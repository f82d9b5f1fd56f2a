/* uidset: UID sets cut to what one command can hold. Pure. */
#ifndef IMAPFERRY_UIDSET_H
#define IMAPFERRY_UIDSET_H

#include "lib/imap_seq.h"

/* Where in a set the next piece begins; {0} is its beginning. */
struct uidset_place {
    size_t range;
    uint32_t uid; /* inside of that range; 0 = its first */
};

/* Puts into *out (emptied first) the next piece: at most 6000 bytes of text (lines over 8000 break some
 * servers) and at most max UIDs, 0 = any number. A range that ends in 2^32-1 means "from here on" and is
 * never cut. UIDs of 2^31 and above stand in pieces of their own, a range each: of a set that has such a one
 * beside others, Cyrus (3.6) answers nothing, or to one of them, and then says OK. False: no more. */
bool uidset_next(const struct imap_seq *set, struct uidset_place *at, uint32_t max, struct buf *out);
/* The set of a list of UIDs. */
struct imap_seq uidset_of(const uint32_t *uids, size_t n);

#endif
