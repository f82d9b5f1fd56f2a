/* canned: an IMAP server that is no bottleneck: it has all answers ready, and knows no users. One thread, epoll.
 *
 *   canned            prints its port; ends when its standard input does
 *
 * LOGIN and AUTHENTICATE PLAIN (with an initial response) are OK, whatever they say, IDLE lasts until DONE. FETCH of BODY[] gives one message of
 * 1 MiB, any other FETCH one of 2 KiB. APPEND takes literals of any kind, and forgets them. All else is OK. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE = 16 * 1024, LARGE = 1 << 20, SMALL = 2048, EVENTS = 256, BACKLOG = 4096 };

#define CAPABILITIES "IMAP4rev1 SASL-IR LITERAL+ ID UIDPLUS IDLE NAMESPACE AUTH=PLAIN"

struct connection {
    int fd;
    size_t len;     /* in line */
    size_t literal; /* bytes of a literal that are still to come */
    char *out;      /* what is not sent yet */
    size_t out_len, out_sent;
    char tag[64];
    char line[LINE];
};

static int poller;
static char *large, *small;
static size_t large_len, small_len;

static char *make_message(size_t size, size_t *_len)
{
    char *text = malloc(size + 128);
    size_t n = (size_t)sprintf(text, "* 1 FETCH (UID 1 BODY[] {%zu}\r\n", size);
    for (size_t i = 0; i < size; i++)
        text[n + i] = i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : 'x';
    n += size;
    n += (size_t)sprintf(text + n, ")\r\n");
    *_len = n;
    return text;
}

static void end(struct connection *c)
{
    close(c->fd);
    free(c->out);
    free(c);
}

static void watch(struct connection *c, int operation)
{
    struct epoll_event e = {.events = c->out_len > c->out_sent ? EPOLLOUT : EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, operation, c->fd, &e);
}

/* False: the connection is broken. */
static int flush(struct connection *c)
{
    while (c->out_sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return 1;
        if (n <= 0)
            return 0;
        c->out_sent += (size_t)n;
    }
    free(c->out);
    c->out = NULL;
    c->out_len = c->out_sent = 0;
    return 1;
}

static void say(struct connection *c, const char *bytes, size_t n)
{
    c->out = realloc(c->out, c->out_len + n);
    memcpy(c->out + c->out_len, bytes, n);
    c->out_len += n;
}

static void finish(struct connection *c, const char *text)
{
    char line[256];
    say(c, line, (size_t)snprintf(line, sizeof line, "%s OK %s\r\n", c->tag, text));
}

static void run(struct connection *c, const char *rest)
{
    static const char listed[] = "* CAPABILITY " CAPABILITIES "\r\n", bye[] = "* BYE so\r\n",
                      opened[] = "* 1 EXISTS\r\n* OK [UIDVALIDITY 1] so\r\n* OK [UIDNEXT 2] so\r\n";
    if (strncasecmp(rest, "LOGIN", 5) == 0 || strncasecmp(rest, "AUTH", 4) == 0) {
        finish(c, "[CAPABILITY " CAPABILITIES "] in");
        return;
    }
    if (strncasecmp(rest, "CAPABILITY", 10) == 0)
        say(c, listed, sizeof listed - 1);
    else if (strncasecmp(rest, "SELECT", 6) == 0)
        say(c, opened, sizeof opened - 1);
    else if (strcasestr(rest, "BODY.PEEK[]"))
        say(c, large, large_len);
    else if (strcasestr(rest, "FETCH"))
        say(c, small, small_len);
    else if (strncasecmp(rest, "LOGOUT", 6) == 0)
        say(c, bye, sizeof bye - 1);
    finish(c, "done");
}

/* One line of a command; what follows a literal belongs to the command that it began in. */
static void take_line(struct connection *c, char *line, size_t n)
{
    static const char more[] = "+ go on\r\n";
    int whole = c->tag[0] == 0;
    char *brace = n > 0 && line[n - 1] == '}' ? memrchr(line, '{', n) : NULL;
    line[n] = 0;
    if (whole) {
        size_t tag = strcspn(line, " ");
        snprintf(c->tag, sizeof c->tag, "%.*s", (int)tag, line);
        line += tag + (line[tag] == ' ');
    }
    if (brace) {
        c->literal = strtoul(brace + 1, NULL, 10);
        if (!strchr(brace, '+'))
            say(c, more, sizeof more - 1);
        return;
    }
    if (whole && strcasecmp(line, "IDLE") == 0) {
        say(c, more, sizeof more - 1); /* DONE is its other half */
        return;
    }
    if (whole)
        run(c, line);
    else
        finish(c, "done");
    c->tag[0] = 0;
}

/* False: the connection is broken. */
static int take_all(struct connection *c)
{
    size_t at = 0;
    while (at < c->len) {
        if (c->literal > 0) {
            size_t n = c->len - at < c->literal ? c->len - at : c->literal;
            c->literal -= n;
            at += n;
            continue;
        }
        char *lf = memchr(c->line + at, '\n', c->len - at);
        if (!lf)
            break;
        size_t n = (size_t)(lf - c->line) - at;
        take_line(c, c->line + at, n > 0 && lf[-1] == '\r' ? n - 1 : n);
        at = (size_t)(lf - c->line) + 1;
    }
    memmove(c->line, c->line + at, c->len - at);
    c->len -= at;
    return c->len < sizeof c->line - 1;
}

static int on_event(struct connection *c, unsigned events)
{
    if (events & EPOLLOUT)
        return flush(c);
    ssize_t n = recv(c->fd, c->line + c->len, sizeof c->line - 1 - c->len, 0);
    if (n < 0 && errno == EAGAIN)
        return 1;
    if (n <= 0)
        return 0;
    c->len += (size_t)n;
    return take_all(c) && flush(c);
}

static void take_connection(int listener)
{
    static const char greeting[] = "* OK [CAPABILITY " CAPABILITIES "] ready\r\n";
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *c = calloc(1, sizeof *c);
    c->fd = fd;
    say(c, greeting, sizeof greeting - 1);
    if (flush(c))
        watch(c, EPOLL_CTL_ADD);
    else
        end(c);
}

static int listen_somewhere(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, BACKLOG) != 0)
        return -1;
    getsockname(fd, (struct sockaddr *)&a, &n);
    printf("%u\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

int main(void)
{
    struct rlimit room;
    getrlimit(RLIMIT_NOFILE, &room);
    room.rlim_cur = room.rlim_max;
    setrlimit(RLIMIT_NOFILE, &room);
    signal(SIGPIPE, SIG_IGN);
    large = make_message(LARGE, &large_len);
    small = make_message(SMALL, &small_len);
    poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_somewhere();
    if (listener < 0)
        return 1;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &listener}, found[EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    e.data.ptr = NULL; /* standard input: whoever started us */
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &e);
    for (;;) {
        int n = epoll_wait(poller, found, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = found[i].data.ptr;
            if (!c)
                return 0;
            if ((void *)c == (void *)&listener)
                take_connection(listener);
            else if (on_event(c, found[i].events))
                watch(c, EPOLL_CTL_MOD);
            else
                end(c);
        }
    }
}
