/* carry: brings rights and annotations to the target: reads what it has, sets what is missing, reads again,
 * and names what is missing still. Run again it finds nothing to do. Nothing is taken away: what the target
 * has more, it keeps.
 *
 *   acl           rights of others that the target does not take, or has no lists for
 *   metadata      annotations that it refuses
 *   no_metadata   annotations of a source, where the target has none at all: counted, since its
 * administrators know that when they choose it, and a comment on a mailbox should not keep its user from
 * moving
 *   untold        what a source says it has, and does not tell: counted, for the same reason */
#ifndef IMAPFERRY_CARRY_H
#define IMAPFERRY_CARRY_H

#include "details.h"
#include "plan.h"

struct carry_request {
    struct imapc *target;
    const struct plan *plan; /* its items are those of source */
    const struct details *source;
    const struct rights_self *self;
    const struct view_renames *map; /* of identities; NULL: none */
    struct findings *findings;
};

/* Is there anything to bring? */
bool carry_is_needed(const struct carry_request *request);

/* False: the connection broke, imapc_error(). */
typedef void (*carry_fn)(void *owner, bool ok);

struct carry;
/* All of the request must live until the end. Never calls back before it returned. */
struct carry *carry_start(const struct carry_request *request, carry_fn fn, void *owner);
void carry_cancel(struct carry **c); /* NULL is fine */

/* Others that have rights on the account's mailboxes, as findings. */
void carry_find_grants(const struct plan *plan, const struct details *source, const struct rights_self *self,
                       struct findings *findings);
/* Mailboxes of which rights or annotations are not known. */
void carry_find_untold(const struct details *source, struct findings *findings);
/* Less room on the target than the account takes, and limits that differ. */
void carry_find_quota(const struct plan *plan, const struct quota *source, const struct quota *target,
                      struct findings *findings);

#endif
