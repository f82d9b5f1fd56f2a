#include "fault.h"

#ifdef IMAPFERRY_FAULTS

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base.h"

enum { FD_MAX = 1024 };

static struct {
    char point[80], action[16];
    unsigned long nth, port;
    unsigned long passed;
    int trace; /* descriptor, -1 = none */
} fault = {.trace = -1};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void read_environment(void)
{
    const char *what = getenv("IMAPFERRY_FAULT"), *file = getenv("IMAPFERRY_FAULT_TRACE");

    if (file)
        fault.trace = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (!what)
        return;
    int n = sscanf(what, "%79[^:]:%lu:%15[a-z]=%lu", fault.point, &fault.nth, fault.action, &fault.port);
    if (n < 3 || fault.nth == 0 ||
        (n < 4) != (!strcmp(fault.action, "kill") || !strcmp(fault.action, "stop"))) {
        fprintf(stderr, "IMAPFERRY_FAULT=%s can't be read\n", what);
        abort();
    }
}

static bool leads_to_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } peer;
    socklen_t len = sizeof(peer);

    if (getpeername(fd, &peer.any, &len) < 0)
        return false;
    if (peer.any.sa_family == AF_INET)
        return ntohs(peer.v4.sin_port) == fault.port;
    return peer.any.sa_family == AF_INET6 && ntohs(peer.v6.sin6_port) == fault.port;
}

static void break_connections(bool reset)
{
    const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};

    for (int fd = 3; fd < FD_MAX; fd++) {
        if (!leads_to_port(fd))
            continue;
        if (reset)
            connect(fd, &nowhere, sizeof(nowhere));
        else
            shutdown(fd, SHUT_RDWR);
    }
}

static void fault_act(void)
{
    if (!strcmp(fault.action, "kill"))
        kill(getpid(), SIGKILL);
    else if (!strcmp(fault.action, "stop"))
        kill(getpid(), SIGSTOP);
    else
        break_connections(!strcmp(fault.action, "reset"));
}

static void trace(const char *point)
{
    char line[100];
    int n = snprintf(line, sizeof(line), "%s\n", point);

    if (write(fault.trace, line, (size_t)n) != n)
        abort();
}

void fault_point(const char *area, const char *name, const char *moment)
{
    char point[80];

    pthread_once(&once, read_environment);
    if (fault.trace < 0 && fault.nth == 0)
        return;
    snprintf(point, sizeof(point), "%s%s%s.%s", area, name ? "." : "", name ? name : "", moment);
    for (char *p = point; *p; p++)
        if (*p == ' ')
            *p = '_';
    pthread_mutex_lock(&lock);
    if (fault.trace >= 0)
        trace(point);
    if (fault.nth > 0 && !strcmp(point, fault.point) && ++fault.passed == fault.nth)
        fault_act();
    pthread_mutex_unlock(&lock);
}

#endif
