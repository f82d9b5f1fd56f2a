/* ctl_wait: follows one account, or all of a group, until its migration has come to an end, and shows the progress on a terminal. */
#ifndef IMAPFERRY_CTL_WAIT_H
#define IMAPFERRY_CTL_WAIT_H

#include "actions.h"

struct wait_request {
    struct store *store;
    const char *const *users; /* account keys; copied */
    size_t n;                 /* one at least */
    const char *group;  /* of which these are all members: it has arrived when all have; NULL: one account */
    const char *target; /* the backend where it should end */
    bool manual;        /* cutover = manual: ready is an end too */
    bool quiet;         /* shows nothing */
};

struct waiting;
/* Gone when this is called. result.data is the account as of `user`; of a group an object with group, members (a list of these) and
 * held_up_by, the key of the one that does not get on, or null. Of the group's members the first one that does not ends it. */
struct waiting *wait_start(const struct wait_request *request, action_fn fn, void *owner);
/* NULL is fine. */
void wait_cancel(struct waiting **w);

#endif
