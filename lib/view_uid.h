/* view_uid: the map between the UIDs that a client sees (the source's) and those that the backend gives out
 * (the target's), of one mailbox (DESIGN.md 8). Pure.
 *
 * The migrator appends in the order of the source's UIDs, so the map is strictly monotone: both sides count
 * the same messages in the same order, message numbers are equal, and pairs whose UIDs rise by one together
 * make a run. A run takes 12 bytes. Messages that arrive after the flip are in no run but in the tail: the
 * backend's UIDs from its UIDNEXT at the flip on, shifted by a constant so that they begin at the source's
 * UIDNEXT.
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

/* Appends a pair. False, and nothing is changed, unless both UIDs are greater than all before them and there
 * is no tail yet: any other pair would break the order, and with it every range that is mapped. */
bool view_uid_add(struct view_uid *m, uint32_t client, uint32_t backend) MUST_CHECK;
/* Ends the runs: the client sees backend_uidnext as client_uidnext, and so on upwards. Both are the UIDNEXTs
 * at the flip. False, and nothing is changed, unless both are greater than all UIDs of the runs. */
bool view_uid_set_tail(struct view_uid *m, uint32_t client_uidnext, uint32_t backend_uidnext) MUST_CHECK;
/* How many messages there are in all runs. */
uint64_t view_uid_count(const struct view_uid *m);

/* Map one UID. False: it maps to nothing. */
bool view_uid_to_backend(const struct view_uid *m, uint32_t client, uint32_t *_r) MUST_CHECK;
bool view_uid_to_client(const struct view_uid *m, uint32_t backend, uint32_t *_r) MUST_CHECK;
/* The same, quicker for UIDs that rise: *near is where the last one was found, any number at first. */
bool view_uid_to_client_near(const struct view_uid *m, uint32_t backend, size_t *near,
                             uint32_t *_r) MUST_CHECK;
/* True where the backend has given out UIDs (all of them are below its UIDNEXT) that the client can't be
 * shown, because shifted they would be above 2^32-1; or where the UIDNEXT itself would be, shifted. The
 * mailbox then needs a new UIDVALIDITY. To be asked at each SELECT. */
bool view_uid_is_full(const struct view_uid *m, uint32_t backend_uidnext);

/* Maps a client's range first:last (first <= last) to one backend range, by its ends: from the smallest UID
 * at or above first to the greatest at or below last. False: no UID is in it (the ends crossed), and the
 * range must be dropped, since a server reads 900:899 as 899:900. */
bool view_uid_range_to_backend(const struct view_uid *m, uint32_t first, uint32_t last,
                               struct imap_range *_r) MUST_CHECK;
/* Maps a client's set, range by range; *out may stay empty, and an empty set has no spelling. */
void view_uid_set_to_backend(const struct view_uid *m, const struct imap_seq *client, struct imap_seq *out);
/* Maps a backend's set (of a reply) to exactly the client's UIDs; what maps to nothing is left out. A range
 * may fall apart into several. False where *out would have more than max_ranges; it then holds only a
 * part. */
bool view_uid_set_to_client(const struct view_uid *m, const struct imap_seq *backend, size_t max_ranges,
                            struct imap_seq *out) MUST_CHECK;

/* Appends the map as text of letters, digits, "-" and "_" (for Redis, with a version in front), with three
 * characters for a usual run. One map has one spelling. */
void view_uid_encode(struct buf *out, const struct view_uid *m);
/* Reads such a text. False where the whole text is not what view_uid_encode() writes for a map of at most
 * max_runs runs. *_r is written on success alone. */
bool view_uid_decode(struct span text, size_t max_runs, struct view_uid *_r) MUST_CHECK;

#endif
