/* worker: takes jobs from the streams of Redis (lib/jobs.h) and keeps them alive. It runs at most
 * migrator.jobs at a time, and takes nothing without a free place, so that what waits can be taken by another
 * migrator.
 *
 * An entry stays pending for as long as its job runs. Each third of migrator.job_lease the entries of living
 * jobs are claimed anew (XCLAIM JUSTID), and entries that nobody has claimed for a whole job_lease, orphans,
 * are taken over from migrators that are gone (route_orphans()): for the longer one of both migrators', which
 * each tells the store before it reads an entry (migrator.lua). At the job's end the entry is acknowledged
 * and deleted. A claim holds from before it was sent, less a tenth of the term, by CLOCK_BOOTTIME: a migrator
 * that stood still, or had no Redis, for so long drops the job, and its connections send nothing more.
 *
 * Orphans come before new work: each time a place falls free, and each second, all idle entries are gone
 * through, page by page, before anything new is read. Those of accounts in flipping need no place and no
 * permission, since their users wait, and all that is left to do is a line and a script.
 *
 * A job that does not end here is given away (route_give()), so that another migrator takes it at once: when
 * this one stops, when it can't write its journal, and, once it has Redis again, what it had to drop. What
 * was not given away may have killed its migrator: of such jobs ("suspects") one runs at a time, so that the
 * next death tells of which; with the second one the account is blocked. While the journal can't be written
 * nothing is taken; what is in flipping is left to others for some ticks, and then tried all the same.
 *
 * It also queues accounts whose time has come (route_due). */
#ifndef IMAPFERRY_WORKER_H
#define IMAPFERRY_WORKER_H

#include "migrator/site/migrator.h"

struct worker;

/* Works as soon as the store is up, and whenever it is. */
struct worker *worker_new(struct migrator *m);
/* Tell it of each change of the store's state. */
void worker_store_changed(struct worker *w);
/* Ends all jobs where it is safe to: freezes are called off, flips carried out. done is called when none is
 * left. */
void worker_stop(struct worker *w, void (*done)(void *owner), void *owner);
/* Drops what still runs. */
void worker_free(struct worker **w);

#endif
