/* signals: SIGTERM and SIGINT, for a daemon that ends in its own time. From signals_new() on they are events of the loop, and
 * stay blocked in this thread and in all that it starts until the process is gone: one that comes late, when the loop has
 * ended and all is being freed, is no reason to die by it. */
#ifndef IMAPFERRY_SIGNALS_H
#define IMAPFERRY_SIGNALS_H

#include "loop.h"

struct signals;
/* count: which one it is, from 1 on. (Two that come before the loop looks are one, as with all signals.) */
typedef void (*signals_fn)(void *owner, unsigned count);

/* In the main thread, before any other is started. */
struct signals *signals_new(struct loop *l, signals_fn fn, void *owner);
void signals_free(struct signals **s);

#endif
