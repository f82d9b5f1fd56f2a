/* learner: asks the backends that have a master account what they can do, where no sign-in of a user has told
 * the store yet (store_caps.h): signs in as master for check_user, or for itself where there is none, and
 * goes. A thread 0 of each proxy has one, as far as proxies read passwords of masters, and each migrator; by
 * a claim in Redis (PREFIX:learning:BACKEND) one process of the site asks a backend at a time, once a minute
 * at most.
 *
 * What a master's own sign-in showed is asked for again each hour, until a user's sign-in has told more.
 * Nobody waits for any of this. What fails is told once, with its reason (backend_unknown), and tried again
 * after 1 min, doubled up to an hour. */
#ifndef IMAPFERRY_LEARNER_H
#define IMAPFERRY_LEARNER_H

#include "store.h"
#include "tls.h"

struct learner;
/* The policy for a backend, NULL where its scheme needs none; borrowed until the next call from the loop. */
typedef struct tls_policy *(*learner_tls_fn)(void *owner, const struct conf_backend *backend);
/* Told when a look has ended, whatever came of it: nothing is being asked now. */
typedef void (*learner_fn)(void *owner);

/* Does nothing before the first learner_look(). fn may be NULL; all is borrowed. */
struct learner *learner_new(struct store *s, learner_tls_fn tls, learner_fn fn, void *owner);
void learner_free(struct learner **l);
/* Looks what the store has, and asks for what lacks: when the store is there (again). Then by itself. */
void learner_look(struct learner *l);
/* The configuration changed, passwords perhaps: what failed is tried anew at once. */
void learner_again(struct learner *l);
/* Has this process the password to ask it with? */
bool learner_can_ask(const struct conf_backend *b);

#endif
