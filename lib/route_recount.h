/* recount: goes through all routes, some hundreds at a time, and has each counted anew (head.lua, count()):
 * where a store comes from a version that did not count, where programs of such a version worked beside newer
 * ones, and whenever staff doubt the numbers. Changes go on meanwhile and are counted. Another recount that
 * begins ends this one. */
#ifndef IMAPFERRY_ROUTE_RECOUNT_H
#define IMAPFERRY_ROUTE_RECOUNT_H

#include "route.h"

struct recount;
/* accounts: that were gone through; 0 where nothing had to be. ROUTE_LOST: another one has begun. */
typedef void (*recount_fn)(void *owner, enum route_rc rc, uint64_t accounts);

/* needed: only where the accounts were never counted to the end, and nobody is at it. Never calls back before
 * it returned; is gone when it does. */
struct recount *recount_start(struct store *s, bool needed, recount_fn fn, void *owner);
/* NULL is fine. */
void recount_cancel(struct recount **r);

#endif
