/* Preloaded into the Cyrus, Courier and Exim of the tests, which know only the system's places: the log goes to the
 * file that PRIVATE_LOG names instead of syslog, Courier's password socket is the one that PRIVATE_AUTH names
 * and its user (and that of Exim, with its group) the one that PRIVATE_USER names, and nothing is synced to disk, since a test's mail lives as
 * long as the test. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

void __syslog_chk(int priority, int flag, const char *format, ...);
void __vsyslog_chk(int priority, int flag, const char *format, va_list args);

/* One write a line, so that the lines of many processes don't mix. */
void vsyslog(int priority, const char *format, va_list args)
{
    char line[4096];
    const char *path = getenv("PRIVATE_LOG");
    int saved = errno;
    int fd = path && LOG_PRI(priority) < LOG_DEBUG ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    int len;

    if (fd >= 0) {
        len = snprintf(line, sizeof line, "%s[%d]: ", program_invocation_short_name, (int)getpid());
        errno = saved; /* for %m */
        len += vsnprintf(line + len, sizeof line - len - 1, format, args);
        if (len > (int)sizeof line - 2)
            len = sizeof line - 2;
        line[len++] = '\n';
        if (write(fd, line, len) != len)
            abort();
        close(fd);
    }
    errno = saved;
}

void syslog(int priority, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsyslog(priority, format, args);
    va_end(args);
}

void __syslog_chk(int priority, int flag, const char *format, ...)
{
    va_list args;

    (void)flag;
    va_start(args, format);
    vsyslog(priority, format, args);
    va_end(args);
}

void __vsyslog_chk(int priority, int flag, const char *format, va_list args)
{
    (void)flag;
    vsyslog(priority, format, args);
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    static const char system_path[] = "/run/courier/";
    int (*next)(int, const struct sockaddr *, socklen_t) =
        (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
    const char *path = getenv("PRIVATE_AUTH");
    struct sockaddr_un ours = {.sun_family = AF_UNIX};

    if (!path || to->sa_family != AF_UNIX ||
        strncmp(((const struct sockaddr_un *)to)->sun_path, system_path, sizeof system_path - 1) != 0)
        return next(fd, to, len);
    snprintf(ours.sun_path, sizeof ours.sun_path, "%s", path);
    return next(fd, (const struct sockaddr *)&ours, sizeof ours);
}

static const char *user_for(const char *name)
{
    const char *ours = getenv("PRIVATE_USER");

    return ours && (!strcmp(name, "courier") || !strcmp(name, "Debian-exim")) ? ours : name;
}

struct passwd *getpwnam(const char *name)
{
    struct passwd *(*next)(const char *) = (struct passwd * (*)(const char *)) dlsym(RTLD_NEXT, "getpwnam");

    return next(user_for(name));
}

struct group *getgrnam(const char *name)
{
    struct group *(*next)(const char *) = (struct group * (*)(const char *)) dlsym(RTLD_NEXT, "getgrnam");

    return next(user_for(name));
}

/* What newer ones call. */
int getpwnam_r(const char *name, struct passwd *entry, char *room, size_t size, struct passwd **result)
{
    int (*next)(const char *, struct passwd *, char *, size_t, struct passwd **) =
        (int (*)(const char *, struct passwd *, char *, size_t, struct passwd **))dlsym(RTLD_NEXT,
                                                                                        "getpwnam_r");

    return next(user_for(name), entry, room, size, result);
}

int fsync(int fd)
{
    return fcntl(fd, F_GETFD) < 0 ? -1 : 0;
}

int fdatasync(int fd)
{
    return fsync(fd);
}
