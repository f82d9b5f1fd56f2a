/* foreign_state: how far each message of the target's own is on its way behind the copies (foreign.h), and which are to go
 * there, by the ledger and the target's list. Pure: nothing is sent or written.
 *
 * Needs no more of the pair than the target, listed, and the ledger; and the source's list to know which copies stay. */
#ifndef IMAPFERRY_FOREIGN_STATE_H
#define IMAPFERRY_FOREIGN_STATE_H

#include "pair.h"
#include "readback.h"

/* Is anything to be done, or said? */
bool foreign_is_there(const struct pair *p);
/* ... or may it be, once copies were appended? */
bool foreign_may_be_there(const struct pair *p);
/* Adds the UIDs of those that lie before or between the copies. None where the order is lost: that makes no map to move
 * anything for. */
void foreign_in_the_way(const struct pair *p, struct imap_seq *uids);

/* What a run has found out and neither the ledger nor the list tells. Zeroed: nothing yet. */
struct foreign_run {
    struct imap_seq unfound; /* messages whose copies were looked for and are not there */
    struct imap_seq refused; /* ... whose copies are not the same */
    struct imap_seq given;   /* copies by the answer to UID COPY, as long as they were not read */
    bool answered;           /* UID COPY was, with or without them */
    bool calm;               /* as in struct foreign_terms */
};
void foreign_run_free(struct foreign_run *run);

/* Sets copies to what may be copies of uids, messages of the ledger. */
void foreign_candidates(const struct pair *p, const struct foreign_run *run, const struct imap_seq *uids,
                        struct imap_seq *copies);
/* One that was asked for, is there and is not among the items; 0: there is none. */
uint32_t foreign_unread(const struct pair *p, const struct imap_seq *asked, const struct readback_item *items,
                        size_t n);
/* Which of the items, sorted by this, is the copy of which of uids? *n rows, by source UID, to free. */
struct ledger_row *foreign_match(const struct pair *p, const struct imap_seq *uids,
                                 struct readback_item *items, size_t n_items, size_t *n);
/* All whose copies the ledger does not know were looked for. */
void foreign_note_unfound(const struct pair *p, struct foreign_run *run);

enum foreign_likeness {
    FOREIGN_ALONE, /* the message or its copy is not there */
    FOREIGN_ALIKE,
    FOREIGN_OTHER_DATE,
    FOREIGN_OTHER_FLAGS /* alone */
};
/* How is a copy beside its message? flags: those that it has to have, unless FOREIGN_ALONE. */
enum foreign_likeness foreign_compare(const struct pair *p, const struct ledger_move *m, uint32_t *flags);

/* What is to be done about each message of the ledger: UIDs of messages, but copies and withdrawn, which are of copies. */
struct foreign_work {
    struct imap_seq over;          /* nothing any more: the ledger may forget them */
    struct imap_seq unknown;       /* find their copies */
    struct imap_seq pairs, copies; /* compare these with those, and remove them */
    struct imap_seq withdrawn;     /* remove these */
    uint64_t moved;                /* how many of `over` were moved, to the end */
    bool pending;                  /* some wait for a command that may be executed still */
};
/* Adds to w, which is zeroed, and to be freed. */
void foreign_sort(const struct pair *p, const struct foreign_run *run, struct foreign_work *w);
void foreign_work_free(struct foreign_work *w);

#endif
