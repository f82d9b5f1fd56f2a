/* view_uid: the map between the UIDs that a client sees (the source's) and those that the backend gives out
 * (the target's), of one mailbox (DESIGN.md 8). Pure.
 *
 * The migrator appends in the order of the source's UIDs, so the map is strictly monotone: both sides count
 * the same messages in the same order, message numbers are equal, and pairs whose UIDs rise by one together
 * make a run. A run takes 12 bytes. What arrives after the flip is in no run but in the tail: the backend's
 * UIDs from its UIDNEXT at the flip on, shifted by a constant to the source's UIDNEXT.
 *
 *   client    1 2 3 . 7 8 | 20 21 22 ...        runs (1,1,3) (7,4,2), tail 20 -> 6
 *   backend   1 2 3   4 5 |  6  7  8 ...
 *
 * A UID that no run and no tail holds maps to nothing: the message was expunged before the copy, or is not
 * the user's old mail. 0 is no UID. {0} is an empty map without a tail. */
#ifndef IMAPFERRY_VIEW_UID_H
#define IMAPFERRY_VIEW_UID_H

#include "imap_seq.h"

struct view_run {
    uint32_t client, backend; /* the first UID on either side */
    uint32_t length;
};

struct view_uid {
    struct view_run *runs; /* owned; ascending on both sides */
    size_t n, cap;
    uint32_t tail_client, tail_backend; /* 0: no tail */
};

void view_uid_free(struct view_uid *m);

/* Appends a pair. False, and nothing changed, unless both UIDs are greater than all before them, and there is
 * no tail yet: such a pair would break the order, and with it every range that is mapped. */
bool view_uid_add(struct view_uid *m, uint32_t client, uint32_t backend) MUST_CHECK;
/* Ends the runs: from backend_uidnext on, the client sees client_uidnext and up. Both are the UIDNEXTs at the
 * flip. False, and nothing changed, unless both are greater than all UIDs of the runs. */
bool view_uid_set_tail(struct view_uid *m, uint32_t client_uidnext, uint32_t backend_uidnext) MUST_CHECK;
/* All messages of the runs. */
uint64_t view_uid_count(const struct view_uid *m);

/* One UID; false: it maps to nothing. */
bool view_uid_to_backend(const struct view_uid *m, uint32_t client, uint32_t *_r) MUST_CHECK;
bool view_uid_to_client(const struct view_uid *m, uint32_t backend, uint32_t *_r) MUST_CHECK;
/* True where the backend has given out UIDs (all below uidnext) that the client can't be shown, because
 * shifted they are above 2^32-1, or shows a uidnext that can't be: the mailbox needs a new UIDVALIDITY.
 * Compare at each SELECT. */
bool view_uid_is_full(const struct view_uid *m, uint32_t backend_uidnext);

/* A client's range first:last (first <= last) as one backend range, by its ends: from the smallest UID at or
 * above first to the greatest at or below last. False: no UID is in it (the ends crossed), and the range must
 * be dropped, since a server reads 900:899 as 899:900. */
bool view_uid_range_to_backend(const struct view_uid *m, uint32_t first, uint32_t last,
                               struct imap_range *_r) MUST_CHECK;
/* A client's set, range by range; *out may stay empty, which has no spelling. */
void view_uid_set_to_backend(const struct view_uid *m, const struct imap_seq *client, struct imap_seq *out);
/* A backend's set (of a reply) as exactly the client's UIDs; what maps to nothing is left out. Ranges can
 * fall apart; false where *out would have more than max_ranges: what is in it is not the whole then. */
bool view_uid_set_to_client(const struct view_uid *m, const struct imap_seq *backend, size_t max_ranges,
                            struct imap_seq *out) MUST_CHECK;

/* As text of letters, digits, "-" and "_" (for Redis, with a version in front): three characters for a usual
 * run. One map has one spelling. */
void view_uid_encode(struct buf *out, const struct view_uid *m);
/* The whole text must be what view_uid_encode() writes for a map of at most max_runs runs, else false. *_r is
 * written on success alone. */
bool view_uid_decode(struct span text, size_t max_runs, struct view_uid *_r) MUST_CHECK;

#endif
