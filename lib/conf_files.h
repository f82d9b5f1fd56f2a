/* conf_files: which files a program reads by its configuration. SIGHUP reads them anew, after the program has
 * become another user (privileges.h) and keeps to some folders (sandbox.h): so the start looks at them once
 * more. */
#ifndef IMAPFERRY_CONF_FILES_H
#define IMAPFERRY_CONF_FILES_H

#include "conf.h"

/* file: borrowed for the call. */
typedef void (*conf_file_fn)(void *owner, const char *file);
/* Calls fn for the configuration file, and for each file named in it that this program reads. */
void conf_each_file(const struct conf *c, enum conf_role role, conf_file_fn fn, void *owner);
/* Logs each of them that we can't read as who we are now: a reload will be refused. user: who we are. */
void conf_log_unreadable(const struct conf *c, enum conf_role role, const char *user);

#endif
