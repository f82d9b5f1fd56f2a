/* regroup: groups of accounts that share mailboxes (lib/route_sharing.h), made again in a store that is restored: as the newest export
 * (migrator/site/flips.h) knows them, behind all routes and before the store is there. A group is made whole, in one script, or not at
 * all: its accounts have to lie in one store, and which one an account lies in follows from its name and from how many stores there are
 * (lib/stores.h), so a group whose accounts lie in several of the new ones is in none, and is named. */
#ifndef IMAPFERRY_REGROUP_H
#define IMAPFERRY_REGROUP_H

#include <jansson.h>

#include "migrator/site/flips.h"

#include "lib/route.h"

/* What became of groups, of exports and of stores that were moved (carry_in.h). */
struct regrouped {
    size_t made;
    json_t *
        apart; /* owned by who has it, a list: names of those whose accounts lie in several stores; each told by one store alone */
    json_t *
        unmade; /* the same: of those that what is left of another store forbids: a group of that name, or of one of the accounts */
};

/* Which store these accounts lie in: it (true), or not. Where they lie in several, and the first of them in this one, the name is added to apart. */
bool regroup_is_in(const struct store *s, const char *name, const json_t *members, json_t *apart);

/* Are the groups of the newest export those that count? Not where a store was moved later, which has its own. */
bool regroup_has_export(const struct flips *f);
/* Which groups of a file were looked at, and which accounts are in them: none. To decref. */
json_t *regroup_seen(void) MUST_CHECK;
/* What is the matter with a group, as a file has it, behind those that were seen; to free; NULL: nothing. */
char *regroup_fault(const struct conf *c, const json_t *group, json_t *seen);

struct regroup;
struct regroup_request {
    struct store *store;       /* a restore is under way there, whose token this is (lib/route/restore.lua) */
    const struct flips *flips; /* borrowed until the end */
    uint64_t generation;
    const char *token;        /* borrowed until the end */
    struct regrouped *groups; /* borrowed; is added to */
};
/* rc: ROUTE_OK: all are there that can be. Else as of carry_in.h. */
typedef void (*regroup_fn)(void *owner, enum route_rc rc, const char *detail);
/* Never calls back before it returned; it is gone then. Groups with a fault are left out. */
struct regroup *regroup_start(const struct regroup_request *q, regroup_fn fn, void *owner);
/* NULL is fine. */
void regroup_cancel(struct regroup **g);

#endif
