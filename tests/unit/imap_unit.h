/* imap_unit: an IMAP server of one account for whole jobs: a thread that serves many connections, by a table
 * of what it says to each verb. It owes nothing to the code under test, and knows no more of IMAP than tags
 * and literals. */
#ifndef IMAPFERRY_IMAP_UNIT_H
#define IMAPFERRY_IMAP_UNIT_H

#include <netinet/tcp.h>
#include <poll.h>

#include "io.h"

/* What it says to a command that begins so (behind the tag): untagged lines, each with its CRLF, and the
 * tagged answer; "" or NULL: OK. The first row that fits rules; what no row fits is OK. */
struct imap_answer {
    const char *verb, *untagged, *tagged;
};

struct imap_unit {
    const struct imap_answer *_Atomic answers; /* ended by a NULL verb */
    const char *greeting;
    int listener, stop[2];
    uint16_t port;
    pthread_t thread;
    atomic_int logins; /* LOGINs that were heard */
    atomic_bool appended;
};

struct imap_unit_client {
    int fd;
    struct buf in;
};

static inline void imap_unit_say(int fd, const char *text)
{
    size_t len = strlen(text);
    for (ssize_t n; len > 0 && (n = send(fd, text, len, MSG_NOSIGNAL)) > 0; text += n)
        len -= (size_t)n;
}

static inline void imap_unit_answer(struct imap_unit *s, int fd, const char *line)
{
    size_t tag = strcspn(line, " ");
    const char *command = line[tag] ? line + tag + 1 : "", *tagged = "";
    char *text;
    s->logins += strncmp(command, "LOGIN", 5) == 0;
    if (strncmp(command, "APPEND", 6) == 0)
        s->appended = true;
    for (const struct imap_answer *a = s->answers; a->verb; a++) {
        if (strncmp(command, a->verb, strlen(a->verb)) != 0)
            continue;
        if (a->untagged)
            imap_unit_say(fd, a->untagged);
        tagged = a->tagged ? a->tagged : "";
        break;
    }
    text = xasprintf("%.*s %s\r\n", (int)tag, line, *tagged ? tagged : "OK done");
    imap_unit_say(fd, text);
    free(text);
}

/* A whole command of what has come; literals are left in it as they are. 0: not yet. */
static inline size_t imap_unit_command(const struct buf *in)
{
    struct span s = buf_span(in);
    for (size_t at = 0;;) {
        const uint8_t *lf = at < s.len ? memchr(s.p + at, '\n', s.len - at) : NULL;
        if (!lf)
            return 0;
        size_t end = (size_t)(lf - s.p) + 1, size = 0, open = end;
        bool literal = end >= 4 && s.p[end - 3] == '}' && s.p[end - 4] == '+';
        while (literal && open > 0 && s.p[open - 1] != '{')
            open--;
        if (!literal)
            return end;
        size = (size_t)strtoul((const char *)s.p + open, NULL, 10);
        if (end + size > s.len)
            return 0;
        at = end + size;
    }
}

static inline bool imap_unit_read(struct imap_unit *s, struct imap_unit_client *c)
{
    char bytes[4096];
    ssize_t got = recv(c->fd, bytes, sizeof bytes, 0);
    if (got <= 0)
        return false;
    buf_add(&c->in, bytes, (size_t)got);
    for (size_t n; (n = imap_unit_command(&c->in)) > 0; buf_eat(&c->in, n)) {
        char *line = xspandup(span_of(buf_span(&c->in).p, n - 2));
        imap_unit_answer(s, c->fd, line);
        free(line);
    }
    return true;
}

static inline void *imap_unit_run(void *arg)
{
    struct imap_unit *s = arg;
    struct imap_unit_client clients[16] = {{0}};
    struct pollfd fds[COUNTOF(clients) + 2] = {{.fd = s->stop[0], .events = POLLIN},
                                               {.fd = s->listener, .events = POLLIN}};
    size_t n = 0;
    while (poll(fds, n + 2, -1) >= 0 && !fds[0].revents) {
        if (fds[1].revents && n < COUNTOF(clients)) {
            clients[n] = (struct imap_unit_client){.fd = accept(s->listener, NULL, NULL)};
            setsockopt(clients[n].fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
            imap_unit_say(clients[n].fd, s->greeting);
            fds[n + 2] = (struct pollfd){.fd = clients[n].fd, .events = POLLIN};
            n++;
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            if (!fds[i + 2].revents || imap_unit_read(s, &clients[i]))
                continue;
            close(clients[i].fd);
            buf_free(&clients[i].in);
            clients[i] = clients[--n];
            fds[i + 2] = fds[n + 2];
            break;
        }
    }
    for (size_t i = 0; i < n; i++) {
        close(clients[i].fd);
        buf_free(&clients[i].in);
    }
    return NULL;
}

static inline void imap_unit_start(struct imap_unit *s, const struct imap_answer *answers)
{
    memset(s, 0, sizeof *s);
    s->answers = answers;
    s->greeting = "* OK [CAPABILITY IMAP4rev1 LITERAL+] ready\r\n";
    s->listener = io_listen(&s->port);
    assert_int_equal(pipe(s->stop), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, imap_unit_run, s), 0);
}

static inline void imap_unit_stop(struct imap_unit *s)
{
    assert_int_equal(write(s->stop[1], "x", 1), 1);
    pthread_join(s->thread, NULL);
    close(s->stop[0]);
    close(s->stop[1]);
    close(s->listener);
}

#endif
