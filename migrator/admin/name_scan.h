/* name_scan: all accounts of a store, some hundreds at a time: by their records, or by their sessions. What changes
 * meanwhile may be seen as it was or as it is, and an account may be seen twice. */
#ifndef IMAPFERRY_NAME_SCAN_H
#define IMAPFERRY_NAME_SCAN_H

#include "lib/route.h"

struct name_scan;
/* users: borrowed for the call. Then name_scan_on(), from inside of the call or later. */
typedef void (*name_scan_fn)(void *owner, const struct span *users, size_t n);
/* good: all were seen. The scan is gone. */
typedef void (*name_scan_end_fn)(void *owner, bool good);
/* kind: the first part of their keys, "route" or "sessions". domain: of these alone, as it stands in keys; "" any. Strings are
 * borrowed until the end. */
struct name_scan *name_scan_start(struct store *s, const char *kind, const char *domain, name_scan_fn fn,
                                  name_scan_end_fn end, void *owner);
void name_scan_on(struct name_scan *w);
/* NULL is fine. */
void name_scan_cancel(struct name_scan **w);

#endif
