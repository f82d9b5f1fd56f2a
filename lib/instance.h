/* instance: sees to it that one process alone has an id. Two proxies or migrators with one id (a
 * configuration that was copied) would look like one in all that staff see, and two migrators would take each
 * other's jobs.
 *
 * A process tells its id every INSTANCE_TELL_MS, in PREFIX:instances, together with where it runs: host,
 * boot, PID namespace, process. A process that finds another one there finds out whether that one is alive:
 * where both run at the same place it looks for the process itself, so that a start right after a crash loses
 * no time; else it waits to see whether the other goes on telling for INSTANCE_GONE_MS. */
#ifndef IMAPFERRY_INSTANCE_H
#define IMAPFERRY_INSTANCE_H

#include "store.h"

enum { INSTANCE_TELL_MS = 3000, INSTANCE_GONE_MS = 12000 };

struct instance;
enum instance_event {
    INSTANCE_OURS,    /* the id is ours; told once */
    INSTANCE_REFUSED, /* another process has the id, and lives */
    INSTANCE_LOST,    /* the id was ours, and another process has it: we were silent for INSTANCE_GONE_MS */
};
/* where: where the other process runs, for people; borrowed, "" with INSTANCE_OURS. Nothing is called after
 * INSTANCE_REFUSED or INSTANCE_LOST. */
typedef void (*instance_fn)(void *owner, enum instance_event ev, const char *where);

enum { INSTANCE_TOKEN = 33 }; /* with its NUL */
/* How a process is told from another one of the same id. */
void instance_token(char token[INSTANCE_TOKEN]);
/* kind: "proxy" or "migrator". token: of this process. instead: token of the process that we have the id from, "" =
 * there was none; it is not asked whether that one lives. Both are copied. fn is never called before instance_new()
 * has returned. Nothing is told while the store is not up. */
struct instance *instance_new(struct store *s, const char *kind, const char *id, const char *token,
                              const char *instead, instance_fn fn, void *owner);
/* Gives the id back, where the store is up. NULL is fine. */
void instance_free(struct instance **i);

#endif
