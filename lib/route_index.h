/* route_index: what staff see of many accounts, without a look at all of them: pages of accounts by state and reason, how
 * many there are of each, and how far everything was over time. What is read here is kept by the functions that change accounts
 * (lib/route/head.lua), and made anew by a recount (route_recount.h); one call costs by the length of its page. */
#ifndef IMAPFERRY_ROUTE_INDEX_H
#define IMAPFERRY_ROUTE_INDEX_H

#include "route.h"

enum { ROUTE_PAGE_MAX = 500, ROUTE_PAGE_FIELDS = 12 };
/* state, reason: "" any. cursor: "" the first page, else what the page before began with; one that is none is as
 * "". rows[0] is the cursor of the next page, "" where this is the last; behind it ROUTE_PAGE_FIELDS rows for each
 * account: user, state, backend, reason, time of the next try and since when, both in ms ("0": none), what ended
 * its last attempt, messages done and in all, bytes done and in all, and the cursor of what follows it. Of several stores
 * a cursor of one is good for each: they are places in one order (list_page.lua). Accounts that rest are on no page, and
 * neither are those whose late watch is over for good. An account that changes meanwhile may be on two pages, or
 * on none. */
void route_page(struct store *s, const char *state, const char *reason, const char *cursor, unsigned n,
                route_rows_fn fn, void *owner);
/* rows: pairs of "STATE:WORD" and a number, of all accounts that are under way or don't get on; WORD may be "". */
void route_groups_read(struct store *s, route_rows_fn fn, void *owner);
/* Notes how far everything is, at most once a minute, whoever calls; and removes events that are older than a day, and entries of
 * the audit that are older than keep_ms (0: none). */
void route_sample(struct store *s, uint64_t keep_ms, route_done_fn fn, void *owner);
/* What was noted since a time (by Redis' clock; 0: all), as not more than n points. rows[0]: now, in ms; then the points, the oldest
 * first: "MS NAME=NUMBER ..." with the names of route_counts_read(), percent-encoded in capitals. */
void route_history_read(struct store *s, uint64_t since_ms, unsigned n, route_rows_fn fn, void *owner);

#endif
