/* flood: what a stranger may send. Bounded in number and time; loopback only.
 *
 *   flood hello PORT FILE COUNT SECONDS   COUNT connections in SECONDS, evenly, from 127.0.7.1 to .8; each sends the bytes of
 *                                        FILE (a ClientHello) and waits for nothing
 *   flood pipe PORT COMMAND COUNT SECONDS COUNT connections at a time, from the same addresses, each sending COMMAND and CRLF
 *                                        as fast as it is taken, reading what comes; one that is closed is made anew
 *   flood idle PORT - COUNT SECONDS       COUNT connections that say nothing
 *
 * Prints how many connections were made, and bytes sent. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ADDRESSES = 8, OPEN_MAX = 8192, ROOM = 1 << 16 };

static uint64_t made, sent_bytes;
static uint16_t port;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dial(void)
{
    static unsigned n;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(port)};
    from.sin_addr.s_addr = htonl(0x7f000701 + n++ % ADDRESSES);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) != 0 ||
        (connect(fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)) {
        close(fd);
        return -1;
    }
    made++;
    return fd;
}

static void say(int fd, const char *bytes, size_t n)
{
    ssize_t rc = send(fd, bytes, n, MSG_NOSIGNAL);
    if (rc > 0)
        sent_bytes += (uint64_t)rc;
}

/* The oldest is closed where too many are open; so most stay for seconds, as one that waits for an answer
 * does. */
static void hello(const char *bytes, size_t n, unsigned count, double seconds)
{
    static int open_fds[OPEN_MAX];
    double began = now();
    for (unsigned i = 0; i < count; i++) {
        double due = began + seconds * i / count;
        while (now() < due)
            poll(NULL, 0, 1);
        int *slot = &open_fds[i % OPEN_MAX];
        if (*slot > 0)
            close(*slot);
        *slot = dial();
        struct pollfd p = {.fd = *slot, .events = POLLOUT};
        if (*slot > 0 && poll(&p, 1, 20) == 1)
            say(*slot, bytes, n);
    }
}

static void pipeline(const char *command, unsigned count, double seconds)
{
    static char out[ROOM], in[ROOM];
    struct pollfd *p = calloc(count, sizeof *p);
    size_t n = 0, each = strlen(command) + 2;
    for (; n + each < sizeof out; n += each)
        snprintf(out + n, sizeof out - n, "%s\r\n", command);
    for (unsigned i = 0; i < count; i++)
        p[i] = (struct pollfd){.fd = dial(), .events = POLLIN | POLLOUT};
    for (double end = now() + seconds; now() < end;) {
        if (poll(p, count, 10) <= 0)
            continue;
        for (unsigned i = 0; i < count; i++) {
            ssize_t got = p[i].revents & (POLLIN | POLLERR | POLLHUP) ? recv(p[i].fd, in, sizeof in, 0) : 1;
            if (got == 0 || (got < 0 && errno != EAGAIN)) {
                close(p[i].fd);
                p[i].fd = dial();
            } else if (p[i].revents & POLLOUT) {
                say(p[i].fd, out, n);
            }
        }
    }
    free(p);
}

static void idle(unsigned count, double seconds)
{
    double end = now() + seconds;
    for (unsigned i = 0; i < count && now() < end; i++) {
        int fd = dial();
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        poll(&p, 1, 20);
    }
    while (now() < end)
        poll(NULL, 0, 50);
}

int main(int argc, char **argv)
{
    static char bytes[ROOM];
    struct rlimit files;
    if (argc != 6)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    port = (uint16_t)atoi(argv[2]);
    unsigned count = (unsigned)atoi(argv[4]);
    double seconds = atof(argv[5]);
    if (strcmp(argv[1], "hello") == 0) {
        FILE *f = fopen(argv[3], "rb");
        size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
        if (n == 0)
            return 2;
        fclose(f);
        hello(bytes, n, count, seconds);
    } else if (strcmp(argv[1], "pipe") == 0) {
        pipeline(argv[3], count, seconds);
    } else {
        idle(count, seconds);
    }
    printf("connections=%llu bytes=%llu\n", (unsigned long long)made, (unsigned long long)sent_bytes);
    return 0;
}
