/* worker: takes jobs from the streams of Redis and keeps them alive: consumer group "migrators" on
 * PREFIX:jobs (logins) and PREFIX:jobs:bulk. At most migrator.jobs at a time; nothing is taken without a free
 * place, so that what waits can be taken by another migrator.
 *
 * An entry stays pending for as long as its job runs. Each third of migrator.job_lease the entries of living
 * jobs are claimed anew (XCLAIM JUSTID), and entries that nobody has claimed for a whole job_lease are taken
 * over from migrators that are gone (orphans.lua): for the longer one of both migrators', which each tells the store before it
 * reads an entry (migrator.lua). At the job's end the entry is acknowledged and deleted.
 * A claim holds from before it was sent, less a tenth of the term, by CLOCK_BOOTTIME: a migrator that stood
 * still, or had no Redis, for so long drops the job, and its connections send nothing more.
 * Reading blocks, so it has a connection of its own.
 *
 * It also queues accounts whose time has come (route_due). */
#ifndef IMAPFERRY_WORKER_H
#define IMAPFERRY_WORKER_H

#include "migrator.h"

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
