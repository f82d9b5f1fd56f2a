/* route_sharing: groups of accounts that share mailboxes, and so are switched over as one: all routes or none (lib/route/README.md,
 * "Groups"). All members lie in one store, and each route says in which group it is. */
#ifndef IMAPFERRY_ROUTE_SHARING_H
#define IMAPFERRY_ROUTE_SHARING_H

#include "route.h"

/* True: it may be the name of a group: letters, digits, ".", "-", "_", 1 to 64 of them. */
bool route_sharing_is_name(const char *name) MUST_CHECK;

enum route_sharing_edit { SHARING_MAKE, SHARING_ADD, SHARING_REMOVE, SHARING_DROP };
const char *route_sharing_word(enum route_sharing_edit what); /* "make" ... */

struct route_sharing_change {
    const char *group, *who, *reason;
    uint32_t most;            /* members that it may have */
    const char *const *users; /* keys of accounts; of SHARING_DROP none */
    size_t n;
};
/* Members that are under way begin anew, and those are queued that are blocked since they share. ROUTE_OK: detail is how many members
 * the group has now. ROUTE_REFUSED: detail is the end of a sentence that begins with the group; nothing was changed. */
void route_sharing_edit(struct store *s, enum route_sharing_edit what, const struct route_sharing_change *c,
                        route_done_fn fn, void *owner);

/* The rows are the names of all groups, in no order. */
void route_sharing_list(struct store *s, route_rows_fn fn, void *owner);

/* Of a group by its name, or, where that is "", of the account's. No rows: there is none. Else SHARING_HEAD rows: name, rev, who changed
 * it last, when (ms of Redis' clock, a text), why; then SHARING_MEMBER rows for each member: user, state, backend, reason, what it does
 * in the group ("in": copied, and waits without an owner; "go": called to be switched over; ""), source, target. */
enum { SHARING_HEAD = 5, SHARING_MEMBER = 7 };
void route_sharing_read(struct store *s, const char *group, const char *user, route_rows_fn fn, void *owner);

struct route_sharing_move {
    const char *group, *who, *reason;
    const char *rev; /* as it was read */
    const char *target;
    bool now;                 /* as soon as it can be, whatever the policy says */
    const char *const *users; /* all members */
    const bool *back;         /* which of them go back to where they came from: they will be held there */
    size_t n;
};
/* Queues all members that are not on the target, or none. ROUTE_OK: detail is how many are queued, or on their way. ROUTE_REFUSED: as
 * above. */
void route_sharing_move(struct store *s, const struct route_sharing_move *m, route_done_fn fn, void *owner);

#endif
