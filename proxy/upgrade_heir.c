/* The process that is new, and takes the place of one that runs. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "upgrade_priv.h"

enum { ANSWER_MS = 3 * 1000, AGAIN_MS = 20, SLOW_MS = 10 * 1000, UPGRADE_BACKLOG = 8 };

struct heir {
    int fd;
    pid_t pid; /* of the other one */
    bool died; /* before it had given all */
    char before[UPGRADE_TOKEN];
    struct loop *loop;
    uv_poll_t poll;      /* open from heir_serving() on */
    struct timer *slow;  /* the other one owes an answer */
    bool serving, yours; /* was told */
    heir_fn fn;
    void *owner;
};

/* ---- before there is a loop */

static bool heir_failed(char **error, const char *path, const char *why)
{
    *error = xasprintf("upgrade_socket %s: %s", path, why);
    return false;
}

static bool upgrade_address(const char *path, struct sockaddr_un *addr)
{
    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof addr->sun_path)
        return false;
    memcpy(addr->sun_path, path, strlen(path) + 1);
    return true;
}

/* Who we are and who we become; the other one was root before it was bound, or still is. */
static bool heir_trusts(uid_t uid, const struct identity *who)
{
    return uid == 0 || uid == geteuid() || (who->named && uid == who->uid);
}

void upgrade_unlink(const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path);
}

/* Nobody else may connect, at any moment. */
static bool upgrade_listen(const char *path, const struct sockaddr_un *addr, const struct identity *who,
                           int *_fd, char **error)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    mode_t before = umask(0177);
    bool ok = fd >= 0 && bind(fd, (const struct sockaddr *)addr, sizeof *addr) == 0 &&
              listen(fd, UPGRADE_BACKLOG) == 0 && privileges_give(who, path);
    umask(before);
    if (ok) {
        *_fd = fd;
        return true;
    }
    heir_failed(error, path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return false;
}

/* UPGRADE_NONE: it is too late. */
static enum upgrade_got heir_wait(int fd, uint64_t until, struct upgrade_packet *packet)
{
    for (;;) {
        enum upgrade_got got = upgrade_receive(fd, packet);
        if (got != UPGRADE_NONE)
            return got;
        uint64_t now = clock_boot_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (now >= until || (poll(&p, 1, (int)(until - now)) < 0 && errno != EINTR))
            return UPGRADE_NONE;
    }
}

/* What the other one gives; true where this is a part of it, which is taken. */
static bool heir_take_part(struct upgrade_packet *p, struct sockets *s, struct ticket_keys *tickets,
                           int *_again)
{
    const char *rest;

    if (upgrade_says(p, "socket", &rest)) {
        for (size_t i = 0; i < p->n_fds; i++)
            sockets_take(s, rest, p->fds[i]);
        return true;
    }
    if (upgrade_says(p, "again", NULL) && p->n_fds == 1 && *_again < 0) {
        *_again = p->fds[0];
        return true;
    }
    upgrade_drop_fds(p);
    return upgrade_says(p, "tickets", &rest) && upgrade_read_tickets(rest, tickets);
}

static const char *heir_take(struct heir *h, struct sockets *s, struct ticket_keys *tickets, int *_again)
{
    uint64_t until = clock_boot_ms() + ANSWER_MS;
    struct upgrade_packet p;
    const char *rest, *why = NULL;
    enum upgrade_got got;

    while ((got = heir_wait(h->fd, until, &p)) == UPGRADE_GOT && heir_take_part(&p, s, tickets, _again))
        ;
    if (got == UPGRADE_GOT) {
        if (upgrade_says(&p, "id", &rest) && upgrade_is_token(rest) && *_again >= 0)
            memcpy(h->before, rest, UPGRADE_TOKEN);
        else
            why = upgrade_says(&p, "busy", NULL) ? "another upgrade is on its way"
                                                 : "the process there says what can't be understood";
    }
    wipe(p.text, sizeof p.text); /* keys have stood there */
    if (got == UPGRADE_GOT)
        return why;
    h->died = got == UPGRADE_ENDED;
    return h->died ? "the process there has closed the connection"
                   : "the process there does not answer; end it before another one is started";
}

static bool heir_begin(struct heir *h, const char *path, const struct identity *who, const char *token,
                       struct sockets *s, struct ticket_keys *tickets, int *_again, char **error)
{
    char *hello = xasprintf("hello 1 %s", token);
    const char *why = NULL;
    uid_t uid;

    if (!upgrade_peer(h->fd, &uid, &h->pid) || !heir_trusts(uid, who))
        why = "the process there is another user's";
    else {
        (void)!upgrade_send(h->fd, hello, NULL, 0); /* where it is busy, it may have said so and closed */
        why = heir_take(h, s, tickets, _again);
    }
    free(hello);
    return why ? heir_failed(error, path, why) : true;
}

static bool heir_try(const char *path, const struct identity *who, const char *token, struct sockets *s,
                     struct ticket_keys *tickets, int *_again, struct heir **_heir, char **error)
{
    struct sockaddr_un addr;

    *_heir = NULL;
    if (!upgrade_address(path, &addr))
        return heir_failed(error, path, strerror(ENAMETOOLONG));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return heir_failed(error, path, strerror(errno));
    if (connect(fd, (const struct sockaddr *)&addr, sizeof addr) != 0) {
        int why = errno;
        close(fd);
        if (why == ECONNREFUSED) /* one that was killed has left it behind */
            upgrade_unlink(path);
        return why == ENOENT || why == ECONNREFUSED ? upgrade_listen(path, &addr, who, _again, error)
                                                    : heir_failed(error, path, strerror(why));
    }
    struct heir *h = xcalloc(1, sizeof *h);
    h->fd = fd;
    *_heir = h;
    return heir_begin(h, path, who, token, s, tickets, _again, error);
}

/* One that ends just now, for a reason of its own, may close the connection before it closes the socket at which we find it. */
bool heir_meet(const char *path, const struct identity *who, const char *token, struct sockets *s,
               struct ticket_keys *tickets, int *_again, struct heir **_heir, char **error)
{
    uint64_t until = clock_boot_ms() + ANSWER_MS;

    *_again = -1;
    bool ok = heir_try(path, who, token, s, tickets, _again, _heir, error);
    while (!ok && *_heir && (*_heir)->died && (*_again >= 0 || clock_boot_ms() < until)) {
        heir_free(_heir);
        free(*error);
        *error = NULL;
        if (*_again >= 0) /* it comes behind all listeners: nothing is missing but words */
            return true;
        poll(NULL, 0, AGAIN_MS);
        ok = heir_try(path, who, token, s, tickets, _again, _heir, error);
    }
    return ok;
}

const char *heir_token_before(const struct heir *h)
{
    return h->before;
}

pid_t heir_pid_before(const struct heir *h)
{
    return h->pid;
}

/* ---- in the loop */

static void heir_end(struct heir *h, enum heir_event ev)
{
    timer_stop(h->slow);
    uv_poll_stop(&h->poll);
    h->fn(h->owner, ev);
}

static void heir_yours(struct heir *h)
{
    h->yours = true;
    timer_start(h->slow, SLOW_MS);
    h->fn(h->owner, HEIR_YOURS);
    (void)!upgrade_send(h->fd, "drain", NULL,
                        0); /* where it listens no more, "off" or its end is there to read */
}

/* One that is gone needs no word. */
static void heir_gone(struct heir *h)
{
    LOG(WARN, "upgrade_alone", LOG_I("process", (int)h->pid),
        LOG_S("why", "the process before this one is gone"));
    heir_end(h, h->yours ? HEIR_DONE : HEIR_ALONE);
}

static void heir_heard(struct heir *h, struct upgrade_packet *p)
{
    upgrade_drop_fds(p);
    if (!h->yours && upgrade_says(p, "yours", NULL))
        heir_yours(h);
    else if (h->yours && upgrade_says(p, "draining", NULL))
        heir_end(h, HEIR_DONE);
    else
        heir_end(h, HEIR_OFF);
}

static void heir_on_packet(uv_poll_t *poll, int status, int events)
{
    struct heir *h = poll->data;
    struct upgrade_packet p;
    (void)events;
    enum upgrade_got got = upgrade_receive(h->fd, &p);
    if (got == UPGRADE_GOT)
        heir_heard(h, &p);
    else if (got == UPGRADE_ENDED || status < 0)
        heir_gone(h);
}

static void heir_on_slow(void *owner)
{
    struct heir *h = owner;

    LOG(WARN, "upgrade_slow", LOG_I("process", (int)h->pid),
        LOG_S("why", "the process before this one does not answer; both serve"),
        LOG_S("advice", "where it hangs, end it with SIGKILL: what waits in the listeners is served here"));
}

void heir_serving(struct heir *h, struct loop *l, heir_fn fn, void *owner)
{
    h->loop = l;
    h->fn = fn;
    h->owner = owner;
    h->serving = true;
    h->slow = timer_new(l, heir_on_slow, h);
    timer_start(h->slow, SLOW_MS);
    uv_poll_init(&l->uv, &h->poll, h->fd);
    h->poll.data = h;
    uv_poll_start(&h->poll, UV_READABLE | UV_DISCONNECT, heir_on_packet);
    (void)!upgrade_send(h->fd, "serving", NULL, 0); /* where it is gone, the poll says so */
}

static void heir_on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void heir_free(struct heir **hp)
{
    struct heir *h = *hp;

    *hp = NULL;
    if (!h)
        return;
    if (h->serving) {
        timer_free(&h->slow);
        uv_poll_stop(&h->poll);
        uv_close((uv_handle_t *)&h->poll, heir_on_closed);
    }
    close(h->fd);
    if (!h->serving)
        free(h);
}
