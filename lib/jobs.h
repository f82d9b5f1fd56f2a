/* jobs: reads the streams of jobs as one consumer of the group that all migrators are: PREFIX:jobs (accounts
 * whose users log in) before PREFIX:jobs:bulk. It only reads new entries, and makes the group where there is
 * none; what becomes of an entry later is done by scripts (lib/route.h: route_keep(), route_drop(),
 * route_give(), route_orphans()).
 *
 * Reading blocks, so it has a connection of its own. One read is under way at a time, and never for more
 * entries than the owner has places for: what waits longer can be taken by another migrator. */
#ifndef IMAPFERRY_JOBS_H
#define IMAPFERRY_JOBS_H

#include "store.h"

#define JOBS_GROUP "migrators"

enum jobs_event {
    JOBS_READY, /* there may be something to read: the connection came up, or the group was made */
    JOBS_ENDED, /* a read ended, or its connection broke; the entries that it brought follow at once */
};

/* One entry of a stream. It is ours from sent_ms on, by clock_boot_ms(): the moment before the read was sent.
 * All is borrowed. */
struct jobs_entry {
    bool bulk;
    struct span id, user;
    uint64_t sent_ms;
};

struct jobs;
typedef void (*jobs_event_fn)(void *owner, enum jobs_event ev);
typedef void (*jobs_entry_fn)(void *owner, const struct jobs_entry *entry);

/* consumer: this migrator's id. silence_ms: as for redis_set_silence(). s and consumer are borrowed. Nothing
 * is called before jobs_new() has returned. */
struct jobs *jobs_new(struct store *s, const char *consumer, uint64_t silence_ms, jobs_event_fn event,
                      jobs_entry_fn entry, void *owner);
void jobs_free(struct jobs **j); /* NULL is fine */

/* Makes the group on both streams; JOBS_READY follows, also where the group is there already. The store has
 * to be up. */
void jobs_make_groups(struct jobs *j);
bool jobs_have_groups(const struct jobs *j);
/* To be called where a script did not find the group: the next jobs_make_groups() makes it anew. */
void jobs_miss_groups(struct jobs *j);

/* Reads up to so many entries, if no read is under way: logins at once, and where there are none it waits for
 * one entry of either stream, for a part of job_lease, so that an entry which comes at the end still is ours
 * for most of that. */
void jobs_read(struct jobs *j, size_t places);
/* How many entries the read under way may bring. */
size_t jobs_asked(const struct jobs *j);
/* Begins no read any more that waits; one that waits already is not ended by this. */
void jobs_stop(struct jobs *j);

#endif
