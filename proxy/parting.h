/* parting: connections to a server that sessions have left. When an account is switched over, all its
 * sessions leave at the same moment, and a server that ends many at once is busy with that instead of with
 * those who wait for an answer; so they are closed a little later. Nothing is read from them meanwhile. */
#ifndef IMAPFERRY_PARTING_H
#define IMAPFERRY_PARTING_H

#include "lib/stream.h"

struct parting;

struct parting *parting_new(struct loop *l);
/* Closes those that are left. */
void parting_free(struct parting **p);
/* Takes the stream; NULL is fine. */
void parting_add(struct parting *p, struct stream **s);

#endif
