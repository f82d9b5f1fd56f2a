/* both: lists the mailboxes of both sides of an account at once, over one lane. A pass, a late look and
 * `imapferryctl plan` all begin with it, and plan by what it brings (plan.h). */
#ifndef IMAPFERRY_BOTH_H
#define IMAPFERRY_BOTH_H

#include "mailboxes.h"
#include "migrator/site/crew.h"

enum both_side { BOTH_SOURCE, BOTH_TARGET };

struct both_result {
    enum mailboxes_rc rc;
    /* whose list could not be read; the other one is not read to its end then */
    enum both_side failed;
    const char *why;                   /* for people; borrowed */
    struct mailboxes *source, *target; /* MAILBOXES_OK: taken by the callee; else NULL */
};
typedef void (*both_fn)(void *owner, const struct both_result *result);

struct both;
/* source, target: what to ask of each side besides names. Both connections of the lane are used by this alone
 * until it ends. It is gone when fn is called, which is not before it returned. */
struct both *both_read(const struct lane *lane, enum mailboxes_ask source, enum mailboxes_ask target,
                       both_fn fn, void *owner);
/* NULL is fine. */
void both_cancel(struct both **b);

#endif
