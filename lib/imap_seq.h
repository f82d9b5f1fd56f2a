/* imap_seq: sets of UIDs or message numbers (RFC 3501 9 "sequence-set"): sorted, disjoint ranges of uint32
 * without 0. Pure. */
#ifndef IMAPFERRY_IMAP_SEQ_H
#define IMAPFERRY_IMAP_SEQ_H

#include "buf.h"

struct imap_range {
    uint32_t first, last; /* both belong to it; first <= last */
};

struct imap_seq {
    struct imap_range *ranges; /* owned */
    size_t n, cap;
};

void imap_seq_free(struct imap_seq *s);
void imap_seq_add(struct imap_seq *s, uint32_t first, uint32_t last); /* merges; any order, any overlap */
void imap_seq_join(struct imap_seq *s, const struct imap_seq *other); /* adds all of it */
/* At the end, whatever is there: for numbers in an order that a peer chooses, of which each would move all
 * others. Nothing but these two functions may see the set until imap_seq_sort(). */
void imap_seq_push(struct imap_seq *s, uint32_t first, uint32_t last);
void imap_seq_sort(struct imap_seq *s);
void imap_seq_remove(struct imap_seq *s, uint32_t first, uint32_t last);
/* All of s in at most this many ranges: with what is between some of them. */
void imap_seq_coarsen(const struct imap_seq *s, size_t ranges, struct imap_seq *out);
bool imap_seq_has(const struct imap_seq *s, uint32_t n);
uint64_t imap_seq_count(const struct imap_seq *s);
/* Appends "1:3,7". Empty sets have no spelling: the caller checks n. */
void imap_seq_write(struct buf *out, const struct imap_seq *s);
/* Reads "1:3,7", also with reversed ranges; "*" is read as star (pass 0 to refuse it). At most max_ranges are
 * taken. Replaces *s, which must be {0} or a set; false leaves it as it was. */
bool imap_seq_parse(struct imap_seq *s, struct span text, uint32_t star, size_t max_ranges) MUST_CHECK;
/* Reads a uid-set whose order matters (APPENDUID, COPYUID: RFC 4315 section 4). Calls fn for each number in
 * the order of the text, with ranges expanded ascending, for at most max numbers. False on bad syntax or too
 * many numbers; fn is not called then. */
bool imap_seq_each(struct span text, size_t max, void (*fn)(void *arg, uint32_t n), void *arg) MUST_CHECK;

#endif
