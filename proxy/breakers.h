/* breakers: tells the store which backends this thread refuses logins for (lib/health.h), so that "imapferryctl status"
 * shows it. While none is open, nothing is told. What is open is told anew each ten seconds, as PREFIX:breakers, a sorted
 * set of "<incarnation> <backend>" by the time of telling: what was not told for half a minute is over. */
#ifndef IMAPFERRY_BREAKERS_H
#define IMAPFERRY_BREAKERS_H

#include "lib/conf.h"
#include "lib/store.h"

struct breakers;

struct breakers *breakers_new(struct loop *l, size_t n_backends);
void breakers_free(struct breakers **b); /* before the store */
/* Where to tell it, as which incarnation; borrowed. Called whenever the store is there (again). */
void breakers_store(struct breakers *b, struct store *s, const char *incarnation);
/* name: of the nth backend, borrowed as long as the breakers live. */
void breakers_set(struct breakers *b, size_t nth, const char *name, bool open);

#endif
