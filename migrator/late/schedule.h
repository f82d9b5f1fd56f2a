/* schedule: when the servers that accounts have left are looked at (late.h): soon after the flip, then at
 * growing distances for migration.late_watch, after which the account is settled, and its ledgers are
 * folded (fold.h); then daily, until the backend is retired.
 *
 * At most migrator.late_looks are made at once; when one ends the next begins. Looks within the set time come
 * before daily ones, however many of these are due. Looks take no place of a job, and at most half of each
 * backend's connections, or one while a job waits for some (backends.h).
 *
 * The times stand in Redis, by account. Any migrator takes one whose time has come: it becomes the owner of
 * the account for a job_lease, which it renews while the look lasts. Anything else that is done with the
 * account (a way back, a hold) takes it away. A way back ends the looks only for as long as it is under way:
 * if it is given up (backoff, blocked, held), they go on at the server that the account left by its last
 * flip. Once that backend is retired nothing is looked at any more, and the ledgers are removed. */
#ifndef IMAPFERRY_SCHEDULE_H
#define IMAPFERRY_SCHEDULE_H

#include "migrator/site/migrator.h"

struct schedule;

struct schedule *schedule_new(struct migrator *m);
/* Drops what is under way: another migrator looks again when its lease is over. NULL is fine. */
void schedule_free(struct schedule **s);

/* ms until the first look after a flip; without a late watch, until the account is settled. */
uint64_t schedule_first_ms(const struct conf *c);
/* ms until the next one, so long after the flip; *over: the set time is over. Pure. */
uint64_t schedule_next_ms(uint64_t late_watch_ms, uint64_t since_flip_ms, bool *over);

#endif
