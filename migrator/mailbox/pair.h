/* pair: what the steps of a copy work on: one mailbox, selected on either side, and its ledger. Each step is
 * an object that runs on the loop and ends with one call of a step_fn:
 *
 *   selected  OPEN, RELIST
 *   settle    SETTLE
 *   fillers   UNFILL
 *   transfer  APPEND, with outbox, and deposit for what is refused
 *   doubles   DOUBLES
 *   reflag    FLAGS
 *   remove    EXPUNGE, and what has to be taken back elsewhere
 *   foreign   MOVE
 *   headers   HEADERS
 *   verify    VERIFY
 *   known     KNOWN, of the late watch
 *
 * A step that finds something names it (pair_name()) and goes on; COPY_EQUAL means that the step did what it
 * is for. No step calls back before its start function returned, and none after its stop function. */
#ifndef IMAPFERRY_PAIR_H
#define IMAPFERRY_PAIR_H

#include "lib/leave_out.h"

#include "delta.h"
#include "ledger.h"
#include "migrator/found/finding.h"
#include "migrator/found/waiver.h"
#include "migrator/imap/depot.h"
#include "numbering.h"
#include "sample.h"
#include "selected.h"

struct pair {
    struct loop *loop;                 /* borrowed */
    struct flags_pool *flags;          /* of both lists; owned by the copy */
    struct selected source, target;    /* target.name is where APPEND goes */
    struct ledger *ledger;             /* borrowed */
    struct sample sample;              /* what is read back */
    struct findings *findings;         /* borrowed */
    const struct waivers *waivers;     /* borrowed; NULL = none */
    const struct leave_out *leave_out; /* borrowed; NULL = none */
    uint32_t leave_out_rules;          /* those that mean this mailbox */
    /* seconds since 1970: by it a rule of leave_out judges how old a message is */
    int64_t began_s;
    struct imap_seq named; /* source UIDs for which a finding says why they are not there, or not the same */
    struct imap_seq removable; /* see struct copy_request */
    bool removes_all;
    struct numbering *numbering; /* borrowed; NULL: the target numbers as it likes */
    const struct depot *depot;   /* borrowed; NULL: what APPEND refuses goes nowhere else */
    char *numbers_lost;          /* why; owned; NULL: they are held, if they are wanted */
    bool last;                   /* in the freeze */
    uint32_t late_from;          /* see copy.h; 0 = all */
    struct imap_seq known;       /* of the late ones: not to be copied */
    struct copy_counts counts;
    uint64_t bare_bytes;                 /* of messages whose row does not tell their size */
    uint64_t under_way;                  /* bytes that have gone out and are not in the ledger yet */
    void (*progress)(struct pair *p);    /* call it as often as you like */
    void (*source_read)(struct pair *p); /* of APPEND: all bodies have come; may be NULL */
    void (*asked)(struct pair *p);       /* of VERIFY: verify_has_asked(); may be NULL */
};

/* Adds a finding that says why a message is not there, or not the same there; only the first one of a message
 * counts. */
void pair_name(struct pair *p, enum finding_kind kind, uint32_t source_uid, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* What both lists and the ledger are compared by; borrows all of it from the pair. */
struct delta pair_delta(const struct pair *p);
/* Source UIDs that are to be copied: the ledger lacks them; ascending, to free. */
uint32_t *pair_missing(const struct pair *p, size_t *n);
/* Is each copy to get the UID of its message, and did all until now? */
bool pair_keeps_numbers(const struct pair *p);
/* From here on the target numbers as it likes. The first reason counts. */
void pair_lose_numbers(struct pair *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Takes from the ledger how many messages and bytes are done and verified, into p->counts. */
void pair_count_done(struct pair *p);

#endif
