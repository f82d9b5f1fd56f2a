#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "log.h"
#include "process.h"
#include "xalloc.h"

/* The leak checker has to trace its own process, which PR_SET_DUMPABLE forbids. */
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum { FILES_UNKNOWN = 1024, FILES_UNLIMITED = 1024 * 1024 };

bool process_is_sanitized(void)
{
    return SANITIZED;
}

void process_hide(void)
{
    struct rlimit no_core = {0, 0};
    if (prctl(PR_SET_DUMPABLE, SANITIZED) != 0 || setrlimit(RLIMIT_CORE, &no_core) != 0)
        LOG(WARN, "core_dumps_stay_on");
}

/* core(5). Each bit lets some kind of memory into a core; programs that it starts inherit it. To be written before
 * process_hide(), behind which it is root's. */
static void leave_memory_out(void)
{
    int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, "0\n", 2) == 2;

    if (!done)
        LOG(WARN, "core_files_have_memory", LOG_S("why", strerror(errno)));
    if (fd >= 0)
        close(fd);
}

void process_hold_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return; /* there is no /dev/null, and nothing to be done about it */
}

void process_keep_secrets(void)
{
    leave_memory_out();
    process_hide();
}

size_t process_limit(void)
{
    struct rlimit files = {0, 0};
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return FILES_UNKNOWN;
    if (files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0)
            getrlimit(RLIMIT_NOFILE, &files);
    }
    return files.rlim_cur == RLIM_INFINITY ? FILES_UNLIMITED : (size_t)files.rlim_cur;
}

/* ---- the service manager */

enum { HELD_FIRST = 3, HELD_MAX = 1000 };

static size_t held_count(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t whose = 0, n = 0;

    if (!pid || !fds || !span_u64(span_str(pid), INT32_MAX, &whose) ||
        !span_u64(span_str(fds), HELD_MAX, &n) || whose != (uint64_t)getpid())
        return 0;
    return (size_t)n;
}

size_t process_held_sockets(int *_first, char ***_names)
{
    size_t n = held_count();
    const char *rest = getenv("LISTEN_FDNAMES");
    char **names = xcalloc(n + 1, sizeof *names);

    for (size_t i = 0; i < n; i++) {
        size_t len = rest ? strcspn(rest, ":") : 0;
        int fd = HELD_FIRST + (int)i, flags = fcntl(fd, F_GETFL);
        names[i] = xspandup(span_of(rest, len));
        rest = rest && rest[len] ? rest + len + 1 : NULL;
        if (flags >= 0)
            fcntl(fd, F_SETFL, flags | O_NONBLOCK);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    *_first = HELD_FIRST;
    *_names = names;
    return n;
}

void process_notify(const char *what)
{
#ifdef HAVE_SYSTEMD
    sd_notify(0, what);
#else
    (void)what;
#endif
}

/* The time is that of CLOCK_MONOTONIC (sd_notify(3)). */
void process_notify_reloading(void)
{
    struct timespec now;
    char what[64];

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(what, sizeof(what), "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    process_notify(what);
}
