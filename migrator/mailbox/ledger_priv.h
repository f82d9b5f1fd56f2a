/* What the files of a ledger share: what is kept in memory, and three parts that know no more than those
 * above them.
 *
 *   ledger_index.c  what the entries come to: rows, what went out, what is in doubt
 *   ledger_text.c   the format of an entry: reads each into the index, and spells its parts
 *   ledger.c        loads all entries from Redis, and writes new ones */
#ifndef IMAPFERRY_LEDGER_PRIV_H
#define IMAPFERRY_LEDGER_PRIV_H

#include <sys/queue.h>

#include "lib/buf.h"

#include "ledger.h"

struct intent {
    TAILQ_ENTRY(intent) link;
    uint32_t target_uidnext;
    struct imap_seq uids; /* of the source */
};

/* A change of the target without an answer. */
struct touch {
    TAILQ_ENTRY(touch) link;
    uint32_t number;
    struct imap_seq uids; /* of the target */
    char *flags;          /* owned; NULL: they are removed */
};

/* A write under way. */
struct ledger_entry {
    TAILQ_ENTRY(ledger_entry) link;
    struct ledger *ledger;
    const char *kind; /* its first word */
    struct buf text;
    uint64_t touch_ms; /* of a change of the target */
    ledger_fn fn;      /* NULL: forgotten */
    void *owner;
};

struct ledger {
    struct store *store;         /* borrowed */
    const struct route_job *job; /* borrowed */
    char *record_id;             /* owned */
    ledger_fn fn;                /* of the load */
    void *owner;
    char *error; /* owned */

    char *source, *target; /* names of backends; owned; NULL: no direction yet */
    bool turned;           /* rows of both directions */
    bool bound;
    uint32_t source_uidvalidity, target_uidvalidity;
    struct imap_seq renewals; /* UIDVALIDITYs: see ledger_is_renewal() */
    struct ledger_row *rows;  /* ascending by source UID; owned */
    size_t n, cap;
    struct ledger_sums sums;
    bool monotone;           /* target UIDs ascend as well */
    uint32_t *by_target;     /* where they don't: indexes of rows by target UID, made when asked for; owned */
    struct ledger_row *sent; /* target_uid 0; ascending by source UID; owned */
    size_t n_sent, sent_cap;
    struct imap_seq resent, retake;
    uint32_t looked;                      /* source UIDNEXT of the late watch; 0 = none */
    struct imap_seq told;                 /* target UIDs */
    char filler_id[LEDGER_FILLER_ID + 1]; /* "": none yet */
    struct ledger_fillers fillers;
    struct ledger_move *moves; /* owned */
    size_t n_moves;
    struct imap_seq given; /* see ledger_gave_all() */
    bool given_lost;       /* ... and is not known: too many ranges */
    uint64_t listed;       /* entries of the list, without what was folded */
    TAILQ_HEAD(, intent) intents;
    TAILQ_HEAD(, touch) touches;
    uint32_t last_number; /* of a change of the target, given or read */
    TAILQ_HEAD(, ledger_entry) entries;
};

/* ledger_index.c */

/* The first row with this source UID or a higher one. */
size_t ledger_row_from(const struct ledger *l, uint32_t source_uid);
/* Rows came or went, or their UIDs are others: what is kept about their order is made anew when it is asked
 * for. */
void ledger_rows_changed(struct ledger *l);
/* In the place of one with the same source UID. */
void ledger_put_row(struct ledger *l, const struct ledger_row *row);
void ledger_put_sent(struct ledger *l, const struct ledger_row *row);
/* Source UIDs from first to last have arrived, or were refused. What was sent twice may arrive once more, and
 * stays. */
void ledger_drop_sent(struct ledger *l, uint32_t first, uint32_t last);
/* Takes uids. */
void ledger_add_intent(struct ledger *l, uint32_t target_uidnext, const struct imap_seq *uids);
void ledger_drop_intents(struct ledger *l);
/* Those of which all messages have rows. */
void ledger_drop_done_intents(struct ledger *l);
struct touch *ledger_add_touch(struct ledger *l, uint32_t number);
void ledger_end_touch(struct ledger *l, uint32_t number);
void ledger_drop_touches(struct ledger *l);
/* What was sent of these sources has arrived as these targets, one each, in this order. False: the sets do
 * not fit. */
bool ledger_land(struct ledger *l, const struct imap_seq *sources, const struct imap_seq *targets);
void ledger_mark_verified(struct ledger *l, const struct imap_seq *source_uids);
void ledger_mark_headers(struct ledger *l, const struct imap_seq *source_uids);
void ledger_drop_gone(struct ledger *l, const struct imap_seq *source_uids);
void ledger_skip(struct ledger *l, const struct imap_seq *source_uids);
/* No intent is open any more; those of the set that have no row are sent again. */
void ledger_end_doubt(struct ledger *l, const struct imap_seq *source_uids);
/* All but the direction, and what fillers went out: those that are on the target are known by their bytes. */
void ledger_clear(struct ledger *l);
/* What was the target is the source. */
void ledger_turn(struct ledger *l);
void ledger_free_fillers(struct ledger *l);
/* In the place of one with the same UID. */
void ledger_put_move(struct ledger *l, const struct ledger_move *move);
/* NULL: there is none. */
struct ledger_move *ledger_find_move(const struct ledger *l, uint32_t uid);
void ledger_drop_moves(struct ledger *l, const struct imap_seq *uids); /* NULL: all */
/* The target has given out this UID. */
void ledger_give(struct ledger *l, uint32_t target_uid);
void ledger_forget_given(struct ledger *l);
void ledger_set_direction(struct ledger *l, struct span source, struct span target);

/* ledger_text.c */

/* Reads an entry into the index. False: this version can't. */
bool ledger_read_entry(struct ledger *l, struct span entry) MUST_CHECK;
bool ledger_is_folded(struct span entry);
/* The version that an entry of this kind begins with. */
const char *ledger_version_of(const char *kind);
/* A part of an entry, with the blank that goes before it. Append. */
void ledger_write_row(struct buf *out, const struct ledger_row *row, uint32_t target_uid);
void ledger_write_set(struct buf *out, const struct imap_seq *set);             /* not empty */
void ledger_write_uids(struct buf *out, const uint32_t *source_uids, size_t n); /* n > 0 */

#endif
