/* A relay that makes a connection longer, and nothing else: bytes come out in order, each half a round trip
 * after it came in. It delays and does not throttle: up to 64 MiB a direction are on the way.
 *
 *   delay ROUND_TRIP_MS PORT...     one line for each port, "PORT LISTENING_PORT", then it works until it is killed
 *
 * A connection costs what it costs over such a way: its first bytes come two round trips after the connect,
 * one for TCP's own greeting, of which the client's end sees nothing here, and one there and back. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 128 * 1024, ON_THE_WAY_MAX = 64 * 1024 * 1024, EVENTS = 64, FREE_MAX = 256 };

struct chunk {
    struct chunk *next;
    uint64_t due_us;
    size_t off, len;
    uint8_t bytes[CHUNK];
};

struct way { /* one direction */
    struct chunk *first, *last;
    size_t size;
    int ended; /* 1: the end is on its way; 2: it came through */
    uint64_t end_due_us;
};

struct end {
    struct pair *pair;
    int fd;
    uint32_t watched;
    int over;       /* both ways have ended here: not watched any more */
    struct way out; /* what waits to be written here */
};

struct pair {
    struct end a, b; /* client, server */
    uint64_t connect_us;
    uint16_t port;
    struct pair *next;
};

struct listener {
    int fd;
    uint16_t port;
};

static uint64_t half_us;
static int epoll;
static struct pair *pairs;
static struct chunk *free_chunks;
static unsigned n_free;

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct chunk *chunk_new(void)
{
    struct chunk *c = free_chunks;
    if (c) {
        free_chunks = c->next;
        n_free--;
    } else if (!(c = malloc(sizeof *c))) {
        die("malloc");
    }
    c->next = NULL;
    return c;
}

static void chunk_free(struct chunk *c)
{
    if (n_free == FREE_MAX) {
        free(c);
        return;
    }
    c->next = free_chunks;
    free_chunks = c;
    n_free++;
}

static struct end *other(struct end *e)
{
    return e == &e->pair->a ? &e->pair->b : &e->pair->a;
}

/* --- what is watched --- */

static void watch(struct end *e, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = e};
    if (e->fd < 0 || e->over || e->watched == events)
        return;
    e->watched = events;
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, e->fd, &ev) != 0)
        die("epoll_ctl");
}

static void leave(struct end *e)
{
    epoll_ctl(epoll, EPOLL_CTL_DEL, e->fd, NULL);
    e->over = 1;
}

static void update(struct end *e, int blocked)
{
    struct way *in = &other(e)->out;
    watch(e, (in->ended || in->size > ON_THE_WAY_MAX ? 0 : EPOLLIN) | (blocked ? EPOLLOUT : 0));
}

static void add(struct end *e, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = e};
    int one = 1;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    e->fd = fd;
    e->watched = EPOLLIN;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
        die("epoll_ctl");
}

/* --- a connection --- */

static void reset(struct pair *p)
{
    struct end *ends[] = {&p->a, &p->b};
    struct pair **at = &pairs;
    for (int i = 0; i < 2; i++) {
        struct chunk *c;
        while ((c = ends[i]->out.first)) {
            ends[i]->out.first = c->next;
            chunk_free(c);
        }
        if (ends[i]->fd >= 0)
            close(ends[i]->fd);
    }
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    free(p);
}

static void take_client(const struct listener *l)
{
    int fd = accept(l->fd, NULL, NULL);
    struct pair *p = calloc(1, sizeof *p);
    if (fd < 0 || !p)
        die("accept");
    p->a.pair = p->b.pair = p;
    p->b.fd = -1;
    p->port = l->port;
    p->connect_us = now_us() + 3 * half_us;
    p->next = pairs;
    pairs = p;
    add(&p->a, fd);
}

static int dial(struct pair *p)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(p->port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    p->connect_us = 0;
    add(&p->b, fd);
    return 0;
}

/* What has come to `from`, up to a few chunks; -1: the connection broke. */
static int receive(struct end *from)
{
    struct way *w = &other(from)->out;
    for (int i = 0; i < 8 && !w->ended && w->size <= ON_THE_WAY_MAX; i++) {
        struct chunk *c = chunk_new();
        ssize_t n = recv(from->fd, c->bytes, CHUNK, 0);
        if (n <= 0)
            chunk_free(c);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        if (n == 0) {
            w->ended = 1;
            w->end_due_us = now_us() + half_us;
            return 0;
        }
        c->off = 0;
        c->len = (size_t)n;
        c->due_us = now_us() + half_us;
        *(w->first ? &w->last->next : &w->first) = c;
        w->last = c;
        w->size += c->len;
        if (n < CHUNK / 2)
            break;
    }
    return 0;
}

/* Writes what is due; 1: the peer is slow, 0, -1: it broke. */
static int deliver(struct end *to, uint64_t now)
{
    struct way *w = &to->out;
    struct chunk *c;
    while ((c = w->first) && c->due_us <= now) {
        ssize_t n = send(to->fd, c->bytes + c->off, c->len, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 1 : -1;
        c->off += (size_t)n;
        c->len -= (size_t)n;
        w->size -= (size_t)n;
        if (c->len > 0)
            return 1;
        w->first = c->next;
        chunk_free(c);
    }
    if (w->ended == 1 && !w->first && w->end_due_us <= now) {
        shutdown(to->fd, SHUT_WR);
        w->ended = 2;
    }
    return 0;
}

/* False: it is gone. */
static int serve(struct pair *p, uint64_t now)
{
    if (p->connect_us && p->connect_us <= now && dial(p) != 0) {
        reset(p);
        return 0;
    }
    struct end *ends[] = {&p->a, &p->b};
    for (int i = 0; i < 2; i++) {
        int rc = ends[i]->fd >= 0 ? deliver(ends[i], now) : 0;
        if (rc < 0) {
            reset(p);
            return 0;
        }
        update(ends[i], rc == 1);
    }
    if (p->a.out.ended == 2 && p->b.out.ended == 2) {
        reset(p);
        return 0;
    }
    return 1;
}

/* --- the loop --- */

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return b && (!a || b < a) ? b : a;
}

/* When something is due next; 0: nothing. What waits for a slow peer is due when that is ready. */
static uint64_t next_due(void)
{
    uint64_t due = 0;
    for (struct pair *p = pairs; p; p = p->next) {
        struct end *ends[] = {&p->a, &p->b};
        due = earliest(due, p->connect_us);
        for (int i = 0; i < 2; i++) {
            struct way *w = &ends[i]->out;
            if (ends[i]->fd < 0 || (ends[i]->watched & EPOLLOUT))
                continue;
            if (w->first)
                due = earliest(due, w->first->due_us);
            else if (w->ended == 1)
                due = earliest(due, w->end_due_us);
        }
    }
    return due;
}

static void serve_all(void)
{
    uint64_t now = now_us();
    for (struct pair *p = pairs, *next; p; p = next) {
        next = p->next;
        serve(p, now);
    }
}

static int wait_events(struct epoll_event *events)
{
    uint64_t due = next_due(), now = now_us();
    struct timespec left = {0};
    if (due > now) {
        left.tv_sec = (time_t)((due - now) / 1000000);
        left.tv_nsec = (long)((due - now) % 1000000) * 1000;
    }
    int n = epoll_pwait2(epoll, events, EVENTS, due ? &left : NULL, NULL);
    if (n < 0 && errno != EINTR)
        die("epoll_pwait2");
    return n;
}

static int is_listener(const void *p, const struct listener *l, int n)
{
    return (const struct listener *)p >= l && (const struct listener *)p < l + n;
}

static void run(struct listener *listeners, int n_listeners)
{
    for (;;) {
        struct epoll_event events[EVENTS];
        struct pair *broken[EVENTS];
        int n = wait_events(events), n_broken = 0;
        for (int i = 0; i < n; i++) {
            if (is_listener(events[i].data.ptr, listeners, n_listeners)) {
                take_client(events[i].data.ptr);
                continue;
            }
            struct end *e = events[i].data.ptr;
            uint32_t what = events[i].events;
            if ((what & EPOLLERR) || ((what & (EPOLLIN | EPOLLHUP)) && receive(e) != 0))
                broken[n_broken++] = e->pair;
            else if ((what & EPOLLHUP) && other(e)->out.ended)
                leave(e);
        }
        for (int i = 0; i < n_broken; i++) {
            struct pair *p = pairs;
            while (p && p != broken[i])
                p = p->next;
            if (p) /* both of its ends may have broken */
                reset(p);
        }
        serve_all();
    }
}

static void listen_for(struct listener *l, const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = l};
    socklen_t len = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    l->port = (uint16_t)atoi(port);
    l->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(l->fd, 128) != 0 ||
        getsockname(l->fd, (struct sockaddr *)&at, &len) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, l->fd, &ev) != 0)
        die("listen");
    printf("%u %u\n", l->port, ntohs(at.sin_port));
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: delay ROUND_TRIP_MS PORT...\n");
        return 2;
    }
    int n = argc - 2;
    struct listener *listeners = calloc((size_t)n, sizeof *listeners);
    half_us = (uint64_t)(atof(argv[1]) * 500);
    epoll = epoll_create1(0);
    if (epoll < 0 || !listeners)
        die("epoll_create1");
    for (int i = 0; i < n; i++)
        listen_for(&listeners[i], argv[i + 2]);
    fflush(stdout);
    run(listeners, n);
}
