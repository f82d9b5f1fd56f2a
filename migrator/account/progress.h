/* progress: writes the counters of a job into the route, where people see them: at most once a second, and
 * once at the end. */
#ifndef IMAPFERRY_PROGRESS_H
#define IMAPFERRY_PROGRESS_H

#include "lib/route.h"

struct progress;
/* job must live as long. lost is called when the route is found to be another owner's, perhaps more than
 * once. */
struct progress *progress_new(struct store *s, const struct route_job *job, void (*lost)(void *owner),
                              void *owner);
void progress_free(struct progress **p);
void progress_set(struct progress *p, const struct route_progress *now);
const struct route_progress *progress_now(const struct progress *p);
/* Writes now what is not written yet. */
void progress_flush(struct progress *p);

#endif
