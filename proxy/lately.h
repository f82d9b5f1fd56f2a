/* lately: routes that this thread has read of late, of accounts where nothing was under way. A login that finds its
 * account here signs in at once, without reading the route: `enter` compares all that was remembered with
 * what the route is then (routing.h), so an answer from here that is out of date costs a login a round trip,
 * and nothing else. Mail programs sign in again and again, so that is one call of the store less for most logins.
 *
 * An event of an account takes it out, and a gap in the events all. What has not been used for longest
 * makes room. */
#ifndef IMAPFERRY_LATELY_H
#define IMAPFERRY_LATELY_H

#include "lib/route.h"

enum { LATELY_MAX = 8192 /* accounts of a thread; some 300 bytes each */ };

struct lately;

struct lately *lately_new(void);
void lately_free(struct lately **l);

/* What a route_where() has answered, which is copied. Nothing where something is under way. */
void lately_read(struct lately *l, const char *user, const struct route *r);
/* The same as route_where() would tell, with no deadline; borrowed until the next call of any function here. NULL: not
 * known. */
const struct route *lately_find(struct lately *l, const char *user);
void lately_forget(struct lately *l, struct span user);
void lately_forget_all(struct lately *l);

#endif
