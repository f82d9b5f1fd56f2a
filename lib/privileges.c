#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "privileges.h"
#include "process.h"
#include "xalloc.h"

enum { NSS_ROOM = 64 * 1024 };

static bool privileges_failed(char **error, const char *what)
{
    *error = xasprintf("can't give up privileges: %s: %s", what, strerror(errno));
    return false;
}

/* ---- names */

static bool privileges_find_user(const char *user, struct identity *who, char **error)
{
    struct passwd entry, *found = NULL;
    char *room = xmalloc(NSS_ROOM);
    int rc = getpwnam_r(user, &entry, room, NSS_ROOM, &found);

    if (!found)
        *error = rc ? xasprintf("\"%s\" can't be looked up: %s", user, strerror(rc))
                    : xasprintf("\"%s\" is no user of this system", user);
    else if (entry.pw_uid == 0)
        *error = xasprintf("\"%s\" is root; expected a user of imapferry alone", user);
    else
        *who = (struct identity){.named = true, .uid = entry.pw_uid, .gid = entry.pw_gid};
    free(room);
    return !*error;
}

static bool privileges_find_group(const char *group, struct identity *who, char **error)
{
    struct group entry, *found = NULL;
    char *room = xmalloc(NSS_ROOM);
    int rc = getgrnam_r(group, &entry, room, NSS_ROOM, &found);

    if (!found)
        *error = rc ? xasprintf("\"%s\" can't be looked up: %s", group, strerror(rc))
                    : xasprintf("\"%s\" is no group of this system", group);
    else
        who->gid = entry.gr_gid;
    free(room);
    return found != NULL;
}

bool privileges_find(const char *user, const char *group, struct identity *_who, char **error)
{
    struct identity who = {0};

    *error = NULL;
    if (!*user) {
        if (*group)
            *error = xasprintf("a group without a user; expected \"user\" beside it");
        *_who = who;
        return !*error;
    }
    if (strlen(user) >= sizeof(who.user)) {
        *error = xasprintf("\"%s\" is no user of this system", user);
        return false;
    }
    if (!privileges_find_user(user, &who, error) || (*group && !privileges_find_group(group, &who, error)))
        return false;
    memcpy(who.user, user, strlen(user) + 1);
    *_who = who;
    return true;
}

/* ---- becoming another one */

static bool privileges_become(const struct identity *who, char **error)
{
    if (initgroups(who->user, who->gid) != 0)
        return privileges_failed(error, "initgroups");
    if (setresgid(who->gid, who->gid, who->gid) != 0)
        return privileges_failed(error, "setresgid");
    if (setresuid(who->uid, who->uid, who->uid) != 0)
        return privileges_failed(error, "setresuid");
    return true;
}

static bool is_wholly(const struct identity *who)
{
    uid_t r, e, s;
    gid_t rg, eg, sg;

    return getresuid(&r, &e, &s) == 0 && r == who->uid && e == who->uid && s == who->uid &&
           getresgid(&rg, &eg, &sg) == 0 && rg == who->gid && eg == who->gid && sg == who->gid;
}

/* By the call itself, not by what glibc makes of it. */
static bool drop_capabilities(char **error)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}}, now[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capset, &head, none) != 0 || syscall(SYS_capget, &head, now) != 0)
        return privileges_failed(error, "capset");
    for (size_t i = 0; i < COUNTOF(now); i++)
        if (now[i].effective || now[i].permitted || now[i].inheritable) {
            *error = xasprintf("can't give up privileges: a capability is left");
            return false;
        }
    return true;
}

/* Nothing here may succeed. */
static bool is_for_good(char **error)
{
    if (setresuid(0, 0, 0) != 0 && setuid(0) != 0 && seteuid(0) != 0 && geteuid() != 0 && getuid() != 0)
        return true;
    *error = xasprintf("can't give up privileges: root could be regained");
    return false;
}

static bool privileges_named(const struct identity *who, char **error)
{
    if (geteuid() != 0 && getuid() == who->uid && geteuid() == who->uid)
        return true; /* the service manager's doing, groups too */
    if (geteuid() != 0) {
        *error = xasprintf("can't become \"%s\": not started as root, nor as this user", who->user);
        return false;
    }
    if (!privileges_become(who, error))
        return false;
    if (is_wholly(who))
        return true;
    *error = xasprintf("can't give up privileges: not wholly \"%s\"", who->user);
    return false;
}

bool privileges_drop(const struct identity *who, char **error)
{
    *error = NULL;
    if (who->named && !privileges_named(who, error))
        return false;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return privileges_failed(error, "no_new_privs");
    if (geteuid() == 0) {
        LOG(WARN, "running_as_root",
            LOG_S("advice",
                  "name a user of imapferry's own (option user), who can read what SIGHUP reads anew"));
        return true;
    }
    process_hide(); /* the kernel forgets it with the change of user */
    return drop_capabilities(error) && is_for_good(error);
}

bool privileges_give(const struct identity *who, const char *path)
{
    return !who->named || geteuid() != 0 || lchown(path, who->uid, who->gid) == 0;
}
