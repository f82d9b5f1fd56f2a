/* progress: the counters of a job on their way to the route, for people: at most one write a second, and one
 * at the end. */
#ifndef IMAPFERRY_PROGRESS_H
#define IMAPFERRY_PROGRESS_H

#include "lib/route.h"

struct progress;
/* job must live as long. lost: the route is not ours any more (may be told by each write). */
struct progress *progress_new(struct store *s, const struct route_job *job, void (*lost)(void *owner),
                              void *owner);
void progress_free(struct progress **p);
void progress_set(struct progress *p, const struct route_progress *now);
const struct route_progress *progress_now(const struct progress *p);
/* Writes now what is not written yet. */
void progress_flush(struct progress *p);

#endif
