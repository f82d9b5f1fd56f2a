/* delta: what differs between the two listings of a mailbox, seen through the ledger. Pure: lists in, answers
 * out. */
#ifndef IMAPFERRY_DELTA_H
#define IMAPFERRY_DELTA_H

#include "ledger.h"
#include "mbox_list.h"
#include "sample.h"

struct delta {
    const struct mbox_list *source, *target; /* of one pool */
    const struct ledger_row *rows;           /* ascending by source UID */
    size_t n_rows;
    const struct flags_policy *permanent; /* of the target */
    const struct imap_seq *removable; /* source UIDs whose copies may go, where these are gone; NULL: all */
    const struct sample *sample;      /* whose bytes have to be compared; NULL = of all */
    bool turned; /* moved in both directions: what each side got by itself meanwhile is in no common order */
};

/* Source UIDs that the ledger lacks, ascending; to free. */
uint32_t *delta_missing(const struct delta *d, size_t *_n);
/* Copies whose source message is gone, and which may go too: rows' source UIDs (*sources), and the target
 * UIDs of those that are still on the target (*targets). Both are added to. */
void delta_gone(const struct delta *d, struct imap_seq *sources, struct imap_seq *targets);
/* Are so many gone at once, of all, that it needs a person's word? share: per cent. Small mailboxes are
 * emptied every day. */
bool delta_is_large_share(uint64_t gone, uint64_t all, uint32_t share);
/* Messages whose counterpart was listed now while they are what they were (mbox_list.h): to be listed too,
 * before flags and dates are compared. Those that are kept on both sides count as equal. Both are added to.
 */
void delta_unlisted(const struct delta *d, struct imap_seq *sources, struct imap_seq *targets);
/* Source UIDs from the first on whose copy lies before that of a lower one: appended anew, these would be in
 * order again. Added to *sources. */
void delta_misplaced(const struct delta *d, struct imap_seq *sources);
/* Target UIDs that no row knows, ascending, those from from_uid on. Added to *uids. */
void delta_foreign(const struct delta *d, uint32_t from_uid, struct imap_seq *uids);

/* Target UIDs that need to be given these flags (as the target can keep them). */
struct delta_flags {
    uint32_t set;
    struct imap_seq uids;
};
/* One element for each different set; to free with delta_flags_free(). */
struct delta_flags *delta_flags(const struct delta *d, size_t *_n);
void delta_flags_free(struct delta_flags *f, size_t n);

/* What makes the mailboxes unequal. */
enum delta_kind {
    DELTA_NOT_COPIED, /* no row for a source message */
    DELTA_MISSING,    /* a row's target message is not there */
    DELTA_UNREAD,     /* its bytes were not read back */
    DELTA_ORDER,      /* target UIDs do not ascend as the source's do */
    DELTA_DATE,       /* other instant */
    DELTA_FLAGS,
    DELTA_FLAGS_LOST, /* the target can't keep some of them */
    DELTA_BETWEEN,    /* a message that is not ours lies between the copies */
    DELTA_GONE,       /* a copy whose source message is gone is still there */
    DELTA_KINDS
};

struct delta_diff {
    enum delta_kind kind;
    uint32_t source_uid, target_uid; /* 0 = none */
    uint32_t source_flags, target_flags;
    struct mail_date source_date, target_date;
};

struct delta_report {
    size_t n, by_kind[DELTA_KINDS];
    /* how rows whose message is there were compared: none is in two */
    size_t by_bytes, by_header, by_listing;
    size_t zones;    /* equal instant, other zone: no difference, but counted */
    size_t foreign;  /* not ours, before or behind the copies: left alone */
    size_t shuffled; /* turned: out of order, or not ours between ours */
    size_t waiting;  /* gone, and the copy may not go yet: no difference */
};
typedef void (*delta_fn)(void *owner, const struct delta *d, const struct delta_diff *diff);

/* fn, which may be NULL, is called for each difference. */
void delta_compare(const struct delta *d, delta_fn fn, void *owner, struct delta_report *_r);
/* "flags differ: source (\Seen) target ()". */
void delta_describe(struct buf *out, const struct delta *d, const struct delta_diff *diff);

#endif
