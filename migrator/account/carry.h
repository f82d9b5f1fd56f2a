/* carry: brings rights and annotations to the target: it reads what the target has, sets what is missing,
 * reads again, and names what differs. A second run finds nothing to do. Nothing is taken away but what an earlier run of
 * the same job has brought and the source has no more: the target keeps what it has more.
 *
 * What it names, by the words of the findings:
 *
 *   acl          rights of others that the target does not take, that it can't say (rights.h), or for which it has no access
 *                control lists; rights of a user that the source does not have
 *   acl_more     rights that the target gives to everybody or to a group, and the source does not. Only counted: such come from
 *                defaults of the server, which its administrators know
 *   metadata     annotations that the target refuses
 *   no_metadata  annotations of the source, where the target has no annotations at all. Only counted: its administrators
 *                know that when they choose it, and a comment on a mailbox should not keep its user from moving
 *   untold       rights or annotations that the source announces and does not tell. Only counted, for the same reason */
#ifndef IMAPFERRY_CARRY_H
#define IMAPFERRY_CARRY_H

#include "details.h"
#include "move.h"
#include "plan.h"

/* What a job has brought, by mailboxes of the target; those that have more are in it too, to be looked at again. */
struct carried_item {
    char *target; /* owned */
    struct rights rights;
};
struct carried {
    struct carried_item *items; /* owned; sorted by name */
    size_t n;
};
void carried_free(struct carried *c);

struct carry_request {
    struct imapc *target;
    const struct plan *plan; /* its items are those of source */
    const struct details *source;
    const struct rights_self *self;
    const struct view_renames *map; /* of identities; NULL: none */
    enum rights_speech speech;      /* of the source */
    /* The target is looked at for all mailboxes that were there before, also where the source has no rights of others. */
    bool look_at_all;
    struct carried *carried; /* replaced where all goes well */
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

/* Adds a finding for each other user who has rights on the account's mailboxes, and is not switched over together with it. */
void carry_find_grants(const struct move *move, const struct plan *plan, const struct details *source,
                       const struct rights_self *self, struct findings *findings);
/* Adds findings for mailboxes whose rights or annotations are not known. */
void carry_find_untold(const struct details *source, struct findings *findings);
/* Adds findings where the target gives less room than the account takes, and where limits differ. */
void carry_find_quota(const struct plan *plan, const struct quota *source, const struct quota *target,
                      struct findings *findings);

#endif
