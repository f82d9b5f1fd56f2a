/* lookup: asks the resolver for the addresses of a name. */
#ifndef IMAPFERRY_LOOKUP_H
#define IMAPFERRY_LOOKUP_H

#include "loop.h"

enum { LOOKUP_MAX = 16 /* addresses of a name; one with more is somebody's joke */ };

struct lookup; /* a question under way */

/* addrs: n of them, in the order in which they should be tried; borrowed. n is 0 where there is none: status says why
 * (uv_strerror()), or is 0; UV_EMFILE: the process had no descriptors left to ask with. The lookup is gone when
 * this is called. It is never called from inside lookup_start(). */
typedef void (*lookup_fn)(void *owner, int status, const struct sockaddr_storage *addrs, size_t n);

/* NULL: such a name can't even be asked for; *status says why, and fn is not called. */
struct lookup *lookup_start(struct loop *l, const char *host, uint16_t port, lookup_fn fn, void *owner,
                            int *status);
/* Nulls *k; no callback comes after it. *k may be NULL. */
void lookup_cancel(struct lookup **k);
/* The address that a literal is, without asking anybody. False: it is a name. */
bool lookup_literal(const char *host, uint16_t port, struct sockaddr_storage *_r) MUST_CHECK;

enum { LOOKUP_TEXT_SIZE = 80 };
/* "192.0.2.1:993", "[2001:db8::1]:993". */
void lookup_text(const struct sockaddr_storage *a, char out[LOOKUP_TEXT_SIZE]);

#endif
