/* privileges: a daemon that was started as root, to listen at ports below 1024 and to read private keys, goes
 * on as a user who may do neither, for good. Once it has begun to serve it holds no rights but those of that
 * user; where it was started as another one already (systemd's User=), it gives its capabilities up.
 *
 * What it still reads after that (SIGHUP) has to be that user's to read: conf_files.h names these files. */
#ifndef IMAPFERRY_PRIVILEGES_H
#define IMAPFERRY_PRIVILEGES_H

#include <sys/types.h>

#include "base.h"

/* Whom the configuration names. */
struct identity {
    bool named; /* false: stay who we are */
    uid_t uid;
    gid_t gid;
    char user[64];
};

/* Looks the names up. user "": nobody is named, and then group is "" too. group "": the user's own. False:
 * *error to free. */
bool privileges_find(const char *user, const char *group, struct identity *_who, char **error) MUST_CHECK;
/* Becomes that user, in all threads, with the groups that the system gives it, and gives up every capability
 * and each way to new ones (no_new_privs, so programs that are started from here gain nothing by set-user-ID).
 * Makes sure that root can't be regained. Root whom nobody is named for stays root, with a warning. False:
 * *error to free; the process is then half way and has to end. */
bool privileges_drop(const struct identity *who, char **error) MUST_CHECK;
/* Gives a file or folder to the user, where one is named and we are root; symlinks are not followed. */
bool privileges_give(const struct identity *who, const char *path) MUST_CHECK;

#endif
