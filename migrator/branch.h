/* branch: what a migrator has at one store of the site (lib/stores.h): a connection, the watch whether the store keeps
 * what it is told, and the work on its jobs, late looks, hooks and schedules. Most sites have one store, and each migrator
 * one branch. Where there are more, each branch goes by itself: a store that is out of reach, that may forget, or that has
 * forgotten flips of our journal, stops the accounts of that store and no others. They share what struct migrator says:
 * the limits of the backends, the journal, and `jobs`, of which each has an equal part (migrator_jobs()). */
#ifndef IMAPFERRY_MIGRATOR_BRANCH_H
#define IMAPFERRY_MIGRATOR_BRANCH_H

#include "lib/instance.h"
#include "lib/learner.h"
#include "lib/registry.h"
#include "lib/route.h"
#include "lib/stores.h"

#include "migrator/job/sweep.h"
#include "migrator/job/worker.h"
#include "migrator/late/schedule.h"
#include "migrator/site/migrator.h"
#include "migrator/site/recall.h"

struct branch;

enum branch_event {
    BRANCH_UP,      /* the store is there (again) */
    BRANCH_READY,   /* work has begun */
    BRANCH_REFUSED, /* another process has our id, and works under it; told at every store that says so */
};
typedef void (*branch_fn)(void *owner, struct branch *b, enum branch_event ev);

/* All owned, but for what struct migrator borrows. */
struct branch {
    struct migrator m; /* whole, but for what belongs to the store */
    branch_fn fn;
    void *owner;
    struct schedule *schedule;
    struct sweep *sweep;
    struct worker *worker; /* NULL until the store was found to be safe */
    struct timer *recheck, *replicas;
    struct instance *instance;
    struct learner *learner;
    bool ending, checking;
    bool is_ours; /* the id */
    struct recall *recall;
    char *unknown_flips;               /* what m.unknown_flips says */
    bool recalled, paused;             /* for this generation; all migrations, for unknown flips */
    uint64_t recalled_of, recalled_ms; /* generation; clock_boot_ms() */
    char *told;                        /* of the store, and what; NULL: nothing yet */
    enum durability told_of;
};

/* shared: what all branches have in common, copied; its store is that of this branch, one of its stores. token: for instance_new(). */
void branch_begin(struct branch *b, const struct migrator *shared, const char *token, branch_fn fn,
                  void *owner);
void branch_end(struct branch *b);
/* Tell it of each change of the store's state. */
void branch_on_store(struct branch *b, enum store_state state, const char *detail);
/* Begins nothing more. False: there is nothing to be waited for; else done is called when its jobs have ended. */
bool branch_stop(struct branch *b, void (*done)(void *owner), void *owner);
/* Why it does not work, as a line for monitoring; NULL: it does. Fixed. */
const char *branch_lacks(const struct branch *b);

#endif
