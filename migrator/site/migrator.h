/* migrator: what all parts of the daemon are given: the one place where they meet. Made by main.c; lives
 * longer than everything that gets it. */
#ifndef IMAPFERRY_MIGRATOR_H
#define IMAPFERRY_MIGRATOR_H

#include "lib/conf.h"
#include "lib/seal.h"
#include "lib/stores.h"

#include "backends.h"
#include "hook.h"
#include "journal.h"

struct errands;
struct sightings; /* lib/registry.h */

/* How long a job is its owner's, in tenths of migrator.job_lease, from before its renewal is sent: from then
 * on the owner hands nothing more to the kernel (imapc_set_fence()). What the kernel has by then dies within
 * SILENCE_TENTHS (TCP_USER_TIMEOUT counts from when the peer stopped taking it, or, after
 * stream_still_mine(), from that call), also where the owner is stopped, killed or its host cut off. Another
 * owner begins after the whole lease at the earliest. The tenth that is left is for the steps of the kernel's
 * timer (it fires within one retransmission of it) and for clocks that run at different speed. Renewals are
 * sent in each third at least. */
enum { HELD_TENTHS = 6, SILENCE_TENTHS = 3 };

struct migrator {
    struct loop *loop;
    const struct conf *conf;
    const char *id; /* the name of this migrator */
    struct store *store;
    struct stores *stores; /* of the site, store among them */
    bool store_unsafe;     /* it may forget what it is told: no new work */
    /* the store does not know flips of our journal: no new work; for people. NULL: it knows them */
    const char *unknown_flips;
    struct sightings *sightings; /* of proxies; NULL: nothing was seen before */
    struct backends *backends;
    struct journal *journal;
    struct hooks *hooks;
    struct errands *errands;
    struct seal_private *seal; /* NULL: no keys are configured */
};

/* How many jobs may run at a time for this store: of migrator.jobs, which is for all stores of the site. */
static inline size_t migrator_jobs(const struct migrator *m)
{
    return conf_store_part(m->conf, m->conf->migrator.jobs);
}

#endif
