/* signals: SIGTERM and SIGINT, for a daemon that ends in its own time, and SIGHUP, for one that reads its
 * configuration anew. From signals_new() on they are events of the loop, and stay blocked in this thread and
 * in all that it starts until the process is gone: one that comes late, when the loop has ended and all is
 * being freed, is no reason to die by it. */
#ifndef IMAPFERRY_SIGNALS_H
#define IMAPFERRY_SIGNALS_H

#include "loop.h"

struct signals;
/* To end. count: which one it is, from 1 on. (Two that come before the loop looks are one, as with all
 * signals.) */
typedef void (*signals_fn)(void *owner, unsigned count);
/* To read the configuration anew. */
typedef void (*signals_reload_fn)(void *owner);

/* In the main thread, before any other is started. */
struct signals *signals_new(struct loop *l, signals_fn fn, signals_reload_fn reload, void *owner);
void signals_free(struct signals **s);

#endif
