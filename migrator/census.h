/* census: how many accounts are in which state and on which backend, in all stores of the site together, for
 * monitoring; and whether migrations are paused. Each store counts its own (lib/route_recount.h), and is asked now and
 * then; one that does not answer counts as it did last. */
#ifndef IMAPFERRY_CENSUS_H
#define IMAPFERRY_CENSUS_H

#include "lib/stores.h"

struct census;
struct census *census_new(struct stores *s); /* borrowed */
void census_free(struct census **c);         /* NULL is fine */
/* Asks now, and from now on by itself. */
void census_look(struct census *c);

#endif
