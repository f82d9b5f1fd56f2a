/* mbox_list: the messages of one mailbox as a selected session sees them: message number → UID, flags, date,
 * size. 24 bytes a message; flags are numbers of a pool that lists to be compared share. Pure.
 *
 * It follows the session: mbox_list_exists() and mbox_list_expunge() do what EXISTS and EXPUNGE say (RFC 3501
 * 7.3.1, 7.4.1), mbox_list_fetch() takes what a FETCH response holds, whatever items those are and however
 * often they come. Only the first `listed` messages may be relied upon: mbox_list_check() has found that each
 * of them has its items, and that UIDs ascend.
 *
 * Items that an earlier listing had, and that cannot have changed since, need not be listed again: they are
 * `kept`, which says that they are what they were, not what they are. */
#ifndef IMAPFERRY_MBOX_LIST_H
#define IMAPFERRY_MBOX_LIST_H

#include "lib/imap_seq.h"

#include "date.h"
#include "flags.h"

/* A mailbox with more is refused, so that a peer can't choose our memory. */
enum { MBOX_MESSAGES_MAX = 4000000 };

enum mbox_has { MBOX_UID = 1, MBOX_FLAGS = 2, MBOX_DATE = 4, MBOX_SIZE = 8, MBOX_ALL = 15 };
enum { MBOX_KEPT = 4 /* bits to the left: as it was */ };

struct mbox_msg {
    int64_t instant;
    uint32_t uid;
    uint32_t flags; /* of the pool */
    uint32_t size;  /* RFC822.SIZE, which may lie: for planning; UINT32_MAX also means more */
    int16_t zone;
    uint8_t has;   /* enum mbox_has, and what is kept */
    bool date_bad; /* there is an INTERNALDATE, but it is no date */
};

struct mbox_list {
    struct flags_pool *pool; /* borrowed */
    struct mbox_msg *msgs;   /* [i] is message number i + 1; owned */
    size_t n;                /* messages, by EXISTS and EXPUNGE */
    size_t told; /* up to the last one that something was told of; no memory is kept for those above it */
    size_t cap;
    size_t listed;
    bool contradicts; /* a message was told under two UIDs */
};

void mbox_list_init(struct mbox_list *l, struct flags_pool *pool);
void mbox_list_free(struct mbox_list *l);
void mbox_list_clear(struct mbox_list *l);
/* n messages are there from now on; a smaller number than before takes the last ones away (a server that does
 * so is wrong, and the check that follows a listing finds out). False: over MBOX_MESSAGES_MAX. */
bool mbox_list_exists(struct mbox_list *l, uint32_t n) MUST_CHECK;
/* A number that is not there is ignored. */
void mbox_list_expunge(struct mbox_list *l, uint32_t seq);
/* items: the parenthesized list. A number above the last one is ignored (Exchange). False: not all of it
 * could be understood, *why is a fixed text; what could has been taken (a size that is no number is 0). */
bool mbox_list_fetch(struct mbox_list *l, uint32_t seq, const struct imap_value *items,
                     const char **why) MUST_CHECK;
/* Gives up what a message still lacks: it has no flags then, a date that is none, size 0. */
void mbox_list_forgo(struct mbox_list *l, uint32_t seq);
/* The UIDs of all messages in their order. False: not as many as there are messages, or another one than
 * before. */
bool mbox_list_uids(struct mbox_list *l, const struct imap_seq *uids) MUST_CHECK;
/* The size of a message of an earlier listing; false: it was not in it. */
typedef bool (*mbox_known_fn)(void *owner, uint32_t uid, uint32_t *size);
/* Of messages that were listed earlier, those of `items` that were not listed now are kept. */
void mbox_list_keep(struct mbox_list *l, mbox_known_fn known, void *owner, unsigned items);
static inline bool mbox_msg_kept(const struct mbox_msg *m, enum mbox_has item)
{
    return !(m->has & item) && (m->has & (item << MBOX_KEPT));
}
/* The first n messages have all their items and UIDs ascend; sets `listed`. False: *why says which is not so
 * (a fixed text), and *seq where. */
bool mbox_list_check(struct mbox_list *l, size_t n, const char **why, uint32_t *seq) MUST_CHECK;
/* Among the listed ones by UID; NULL where there is none. */
const struct mbox_msg *mbox_list_find(const struct mbox_list *l, uint32_t uid);
/* The index of the first listed message with this UID or a higher one; `listed` where there is none. */
size_t mbox_list_from(const struct mbox_list *l, uint32_t uid);
/* One number for UIDs and flags of all messages below a UID: other UIDs or flags, another number. */
uint64_t mbox_list_marks(const struct mbox_list *l, uint32_t below);
/* All items of this number are listed, or kept. */
bool mbox_list_knows(const struct mbox_list *l, uint32_t seq);
/* Makes room in msgs for the first n messages; never for more than there are messages. */
void mbox_list_room(struct mbox_list *l, size_t n);
/* By message number; NULL where there is none, or nothing was told of it or those above it. */
const struct mbox_msg *mbox_list_at(const struct mbox_list *l, uint32_t seq);
/* For qsort() and bsearch() of such values alone. */
int mbox_compare_sizes(const void *a, const void *b);
int mbox_compare_instants(const void *a, const void *b);

#endif
