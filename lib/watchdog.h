/* watchdog: tells the service manager that a daemon comes round, as often as it asks for (WatchdogSec= of systemd,
 * sd_watchdog_enabled(3)); a daemon that hangs is then ended and started anew. */
#ifndef IMAPFERRY_WATCHDOG_H
#define IMAPFERRY_WATCHDOG_H

#include "loop.h"

struct watchdog;
/* Has every part that serves come round since it was asked last? */
typedef bool (*watchdog_fn)(void *owner);

/* NULL where nobody asks. fn is called from the loop. */
struct watchdog *watchdog_new(struct loop *l, watchdog_fn fn, void *owner);
/* NULL is fine. */
void watchdog_free(struct watchdog **w);

#endif
