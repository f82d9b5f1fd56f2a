/* expiry: warns each day of each certificate that ends within 14 days, and each day of one that has ended, or
 * has not begun: clients don't connect any more, and nobody sees why. It looks at the certificates that are
 * shown, not at the files, which may have been renewed without a SIGHUP. */
#ifndef IMAPFERRY_EXPIRY_H
#define IMAPFERRY_EXPIRY_H

#include "lib/loop.h"
#include "lib/tls.h"

enum expiry { EXPIRY_FAR, EXPIRY_NEAR, EXPIRY_PAST, EXPIRY_EARLY };
/* All in seconds since 1970. */
enum expiry expiry_of(int64_t begins, int64_t ends, int64_t now);

struct expiry_watch;
struct expiry_watch *expiry_watch_new(struct loop *l);
void expiry_watch_free(struct expiry_watch **w);
/* The certificates in use are now those of p, borrowed for the call; looks at once. */
void expiry_watch_set(struct expiry_watch *w, const struct tls_policy *p);
/* Are all in use in their time now? Also where there are none. */
bool expiry_watch_is_good(const struct expiry_watch *w);

#endif
