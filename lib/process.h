/* process: what a daemon sees to before anything else, and what it tells the service manager. */
#ifndef IMAPFERRY_PROCESS_H
#define IMAPFERRY_PROCESS_H

#include "base.h"

/* Passwords pass through the daemons: from here on neither a core file nor another process of the same user
 * shows them. And as many descriptors as may be had: returns how many that are. */
size_t process_limit(void);
/* "READY=1", "STOPPING=1" (sd_notify(3)); nothing where there is no service manager. */
void process_notify(const char *what);
/* "RELOADING=1", as of now; "READY=1" is what ends it. */
void process_notify_reloading(void);

#endif
