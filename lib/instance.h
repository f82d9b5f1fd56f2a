/* instance: one process alone has an id. Two proxies or migrators with one id (a configuration that was
 * copied) would be one in all that staff see, and two migrators would take each other's jobs.
 *
 * A process tells its id every INSTANCE_TELL_MS, in PREFIX:instances, with where it runs: host, boot, PID
 * namespace, process. Who finds another process there looks whether it is alive: by itself where it runs at
 * the same place, so that a start behind a crash loses no time; else by whether it goes on telling for
 * INSTANCE_GONE_MS. */
#ifndef IMAPFERRY_INSTANCE_H
#define IMAPFERRY_INSTANCE_H

#include "store.h"

enum { INSTANCE_TELL_MS = 3000, INSTANCE_GONE_MS = 12000 };

struct instance;
enum instance_event {
    INSTANCE_OURS,    /* told once */
    INSTANCE_REFUSED, /* another process has the id, and lives */
    INSTANCE_LOST,    /* it was ours, and another process has it: this one was silent for INSTANCE_GONE_MS */
};
/* where: of the other process, for people; borrowed, "" with INSTANCE_OURS. Nothing comes behind one of the
 * last two. */
typedef void (*instance_fn)(void *owner, enum instance_event ev, const char *where);

/* kind: "proxy", "migrator". Never calls back before it returned. Tells nothing while the store is not up. */
struct instance *instance_new(struct store *s, const char *kind, const char *id, instance_fn fn, void *owner);
/* Gives the id back, where the store is up. NULL is fine. */
void instance_free(struct instance **i);

#endif
