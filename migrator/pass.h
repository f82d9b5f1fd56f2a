/* pass: one pass over an account: lists both sides, plans, makes what is missing, and has every mailbox
 * copied and verified, several at once. The first copy, each delta and the last pass in the freeze are all
 * the same.
 *
 * | phase   | does                                             | leaves to                      |
 * |---------|--------------------------------------------------|--------------------------------|
 * | LISTS   | reads the mailboxes of both sides; plans         | RECORDS; end: the plan's no    |
 * | RECORDS | writes the records of mailboxes that are new     | ARRANGE                        |
 * | ARRANGE | CREATE, SUBSCRIBE, UNSUBSCRIBE on the target     | COPY                           |
 * | COPY    | for each mailbox: ledger, copy                   | end                            |
 *
 * A broken connection is replaced and its mailbox tried again; the first failure that is the account's own is
 * kept as the pass's, and the other mailboxes go on (not in the last pass, which has no time). */
#ifndef IMAPFERRY_PASS_H
#define IMAPFERRY_PASS_H

#include "move.h"

enum pass_rc {
    PASS_EQUAL,  /* all mailboxes are verified equal, as of their own moment */
    PASS_FAILED, /* why and detail */
    PASS_LOST,   /* the job is not ours any more */
};

struct pass_result {
    enum pass_rc rc;
    enum why why;
    const char *detail; /* for people; borrowed */
    size_t mailboxes;
    struct copy_counts counts; /* of all mailboxes */
    uint64_t took_ms;
};

struct pass;
/* The pass is gone when this is called. */
typedef void (*pass_fn)(void *owner, const struct pass_result *result);

/* last: in the freeze; folds ledgers into records and writes these. Needs move->crew, records and progress.
 * Never calls back before it returned. */
struct pass *pass_start(struct move *move, bool last, pass_fn fn, void *owner);
/* NULL is fine. */
void pass_cancel(struct pass **p);

#endif
