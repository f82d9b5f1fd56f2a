/* carry_in: what the export of a store that was moved (carry_out.h) has of the accounts of one store of a site, line by line from the
 * file into that store, which is not made yet. Of accounts of which a newer line is known (migrator/site/flips.h) nothing is taken. */
#ifndef IMAPFERRY_CARRY_IN_H
#define IMAPFERRY_CARRY_IN_H

#include "migrator/site/flips.h"

#include "lib/route.h"

#include "regroup.h"

struct carry_in;
/* Strings and flips are borrowed until the end. */
struct carry_in_request {
    struct store *store; /* a restore is under way there, whose token this is (lib/route/restore.lua) */
    const struct flips *flips;
    const char *const *files; /* those that are none of a store that was moved have nothing */
    size_t n_files;
    uint64_t generation;
    const char *token;
    struct regrouped *groups; /* is added to */
};
/* rc ROUTE_OK: all of it is there. ROUTE_DOWN: store_why(). Else detail says what is the matter, for people; borrowed. */
typedef void (*carry_in_fn)(void *owner, enum route_rc rc, const char *detail);
/* Never calls back before it returned; it is gone then. */
struct carry_in *carry_in_start(const struct carry_in_request *q, carry_in_fn fn, void *owner);
/* NULL is fine. */
void carry_in_cancel(struct carry_in **c);

#endif
