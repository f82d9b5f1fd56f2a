/* process: what a daemon sets up before anything else, and what it tells the service manager. */
#ifndef IMAPFERRY_PROCESS_H
#define IMAPFERRY_PROCESS_H

#include "base.h"

/* Passwords pass through the daemons: from here on, no core file is written, and no other process of the same
 * user can look into the memory. It also raises the limit of descriptors as far as the system allows, and
 * returns how many there may be. */
size_t process_limit(void);
/* Was it built with sanitizers? They have to do things that a daemon has no use for. */
bool process_is_sanitized(void);
/* Of that, the part about the memory once more: the kernel takes it back where a process becomes another user. */
void process_hide(void);
/* The sockets that the service manager has bound for us (sd_listen_fds(3)): so many from *_first on, not to be
 * inherited, and never waiting. *_names: what its unit calls each, to free, the texts too. The environment no longer tells
 * of them then. */
size_t process_held_sockets(int *_first, char ***_names);
/* Tells the service manager "READY=1" or "STOPPING=1" (sd_notify(3)). Does nothing where there is none. */
void process_notify(const char *what);
/* Tells it "RELOADING=1", with the time of now; "READY=1" ends the reload. */
void process_notify_reloading(void);

#endif
