/* bulk: queues all accounts of a list behind those that log in, for `imapferryctl migrate --all FILE`. Many
 * calls are under way at once. Accounts that were queued or moved before are only counted, so the same list
 * may be given again. */
#ifndef IMAPFERRY_BULK_H
#define IMAPFERRY_BULK_H

#include "actions.h"
#include "bulk_list.h"

struct bulk_request {
    struct stores *stores; /* are up; borrowed */
    const char *to;        /* backend; "" = the target that the configuration gives each account */
    const char *who, *reason;
};

struct bulk;
/* Takes the list. Copies the request. Calls back once, not before it returned, and is gone then. The data of
 * the result: queued, under_way, there, twice, bad, refused, without_domain as numbers, and problems: a list
 * of line, name, error. */
struct bulk *bulk_start(const struct bulk_request *request, struct bulk_list *list, action_fn fn,
                        void *owner);
/* NULL is fine. */
void bulk_cancel(struct bulk **b);

#endif
