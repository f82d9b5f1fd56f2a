/* learner: asks backends that have a master account for their capabilities, where no sign-in of a user has
 * told the store yet (store_caps.h). It signs in as the master for check_user, or for the master itself where
 * there is none, and leaves.
 *
 * There is one learner in thread 0 of each proxy, as far as proxies read passwords of masters, and one in
 * each migrator. By a claim in Redis (PREFIX:learning:BACKEND) one process of the site asks a backend at a
 * time, and once a minute at most.
 *
 * What a master's sign-in for itself showed is asked for again each hour, until a user's sign-in has told
 * more. Nobody waits for any of this. A failure is told once, with its reason (backend_unknown), and tried
 * again after 1 min, then after twice as long each time, up to an hour. */
#ifndef IMAPFERRY_LEARNER_H
#define IMAPFERRY_LEARNER_H

#include "store.h"
#include "tls.h"

struct learner;
/* The policy for a backend, NULL where its scheme needs none; borrowed until the next call from the loop. */
typedef struct tls_policy *(*learner_tls_fn)(void *owner, const struct conf_backend *backend);
/* Called when a look has ended, whatever came of it: nothing is being asked now. */
typedef void (*learner_fn)(void *owner);

/* The learner does nothing before the first learner_look(). fn may be NULL; all arguments are borrowed. */
struct learner *learner_new(struct store *s, learner_tls_fn tls, learner_fn fn, void *owner);
void learner_free(struct learner **l);
/* Looks at what the store has, and asks the backends for what is missing: to be called when the store is
 * there, or is there again. Afterwards the learner looks by itself. */
void learner_look(struct learner *l);
/* To be called when the configuration changed, and passwords perhaps with it: what failed is tried anew at
 * once. */
void learner_again(struct learner *l);
/* Does this process have the password that is needed to ask this backend? */
bool learner_can_ask(const struct conf_backend *b);

#endif
