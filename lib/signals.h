/* signals: SIGTERM and SIGINT, for a daemon that ends in its own time, and SIGHUP, for one that reads its
 * configuration anew. From signals_new() on they are events of the loop. They stay blocked in this thread,
 * and in all threads that it starts, until the process is gone: so one that comes late, when the loop has
 * ended and everything is being freed, does not kill the process. */
#ifndef IMAPFERRY_SIGNALS_H
#define IMAPFERRY_SIGNALS_H

#include "loop.h"

struct signals;
/* The daemon is to end. count: which such signal it is, from 1 on. (Two that come before the loop looks are
 * one, as with all signals.) */
typedef void (*signals_fn)(void *owner, unsigned count);
/* The daemon is to read its configuration anew. */
typedef void (*signals_reload_fn)(void *owner);

/* To be called in the main thread, before any other thread is started. */
struct signals *signals_new(struct loop *l, signals_fn fn, signals_reload_fn reload, void *owner);
void signals_free(struct signals **s);

#endif
