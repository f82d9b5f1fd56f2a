/* recount: goes through all routes, some hundreds at a time, and has each counted anew (head.lua, count()).
 * That is needed where a store comes from a version that did not count, where programs of such a version
 * worked beside newer ones, and whenever staff doubt the numbers. Routes may change meanwhile: those changes
 * are counted too. When another recount begins, this one ends. */
#ifndef IMAPFERRY_ROUTE_RECOUNT_H
#define IMAPFERRY_ROUTE_RECOUNT_H

#include "route.h"

struct recount;
/* accounts: how many were gone through; 0 where nothing had to be counted. ROUTE_LOST: another recount has
 * begun. */
typedef void (*recount_fn)(void *owner, enum route_rc rc, uint64_t accounts);

/* needed: count only where the accounts were never counted to the end and no other recount is at it. fn is
 * never called before recount_start() has returned; the recount is gone when fn is called. */
struct recount *recount_start(struct store *s, bool needed, recount_fn fn, void *owner);
/* NULL is fine. */
void recount_cancel(struct recount **r);

#endif
