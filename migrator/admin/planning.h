/* planning: what a migration of an account would do and what would stop it, found as the migrator finds it, with nothing written
 * anywhere: not at either server, not in Redis. `imapferryctl plan` and `survey` stand on it, and so does the API.
 *
 * It signs in at both servers with what a migrator has, and takes its connections from m->backends, so within their max_connections and
 * their pace, behind nobody and before nobody. What only the target's answer to CREATE or APPEND would tell is not in it. */
#ifndef IMAPFERRY_PLANNING_H
#define IMAPFERRY_PLANNING_H

#include "migrator/site/migrator.h"

#include "actions.h"

/* How long it waits for a connection to each server, where jobs have them all. */
enum { PLANNING_LANE_MS = 60000 };

struct planning;
/* data: an object with user, source, target, mailboxes, findings, shares (../account/shares.h: with, who, or, gives, mailboxes, such_as,
 * rights), uidls (where both servers have POP3), blocked and reason; with
 * "error" where rc is not ACTION_DONE, which it is also where the account would be blocked. Borrowed. The planning is gone when this is
 * called. */
typedef void (*planning_fn)(void *owner, enum action_rc rc, json_t *data);
/* Uses loop, conf, id, store, backends and seal of m. login is borrowed for the call. Never calls back before it returned. */
struct planning *planning_start(struct migrator *m, const char *login, planning_fn fn, void *owner);
/* NULL is fine. */
void planning_cancel(struct planning **p);

#endif
