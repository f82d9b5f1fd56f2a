/* ctl_wait: follows one account until its migration has come to an end, and shows the progress on a terminal.
 */
#ifndef IMAPFERRY_CTL_WAIT_H
#define IMAPFERRY_CTL_WAIT_H

#include "actions.h"

struct wait_request {
    struct store *store;
    const char *user;   /* account key */
    const char *target; /* the backend where it should end */
    bool manual;        /* cutover = manual: ready is an end too */
    bool quiet;         /* shows nothing */
};

struct waiting;
/* Gone when this is called. result.data is the account as of `user`. */
struct waiting *wait_start(const struct wait_request *request, action_fn fn, void *owner);
/* NULL is fine. */
void wait_cancel(struct waiting **w);

#endif
