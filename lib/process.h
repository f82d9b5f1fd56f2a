/* process: what a daemon sets up before anything else, and what it tells the service manager. */
#ifndef IMAPFERRY_PROCESS_H
#define IMAPFERRY_PROCESS_H

#include "base.h"

/* Passwords and keys pass through the programs, and OpenSSL, glibc and the kernel's calls have copies of them in their turn: so
 * no page of this process belongs in a core file, from here on. The kernel writes none; no other process of the same
 * user can look into the memory; and who takes a core all the same (root, by gcore; one who has raised the limit) gets registers and
 * the names of the files alone, since /proc/self/coredump_filter leaves all memory out. To be called before anything is read. */
void process_keep_secrets(void);
/* Descriptors 0 to 2 that are closed at the start are opened, so that none of them becomes a connection or a file of ours, into which
 * log lines and answers would then be written; what is written there fails, as it would have. To be called before anything else. */
void process_hold_standard(void);
/* Of that, the part that the kernel takes back where a process becomes another user, once more. */
void process_hide(void);
/* Raises the limit of descriptors as far as the system allows, and returns how many there may be. */
size_t process_limit(void);
/* Was it built with sanitizers? They have to do things that a daemon has no use for. */
bool process_is_sanitized(void);
/* The sockets that the service manager has bound for us (sd_listen_fds(3)): so many from *_first on, not to be
 * inherited, and never waiting. *_names: what its unit calls each, to free, the texts too. The environment no longer tells
 * of them then. */
size_t process_held_sockets(int *_first, char ***_names);
/* Tells the service manager "READY=1" or "STOPPING=1" (sd_notify(3)). Does nothing where there is none. */
void process_notify(const char *what);
/* Tells it "RELOADING=1", with the time of now; "READY=1" ends the reload. */
void process_notify_reloading(void);

#endif
