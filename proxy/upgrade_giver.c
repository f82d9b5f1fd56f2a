/* The process that runs, and is to be replaced. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/buf_room.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#include "upgrade_priv.h"

/* Deadlines of the states below. */
enum { HELLO_MS = 3 * 1000, START_MS = 60 * 1000, DRAIN_MS = 10 * 1000 };

enum giver_state {
    GIVER_IDLE,    /* nobody is here */
    GIVER_MET,     /* somebody is, who has not said hello */
    GIVER_LENT,    /* it has what we have, and starts */
    GIVER_YIELDED, /* it serves, and was told "yours" */
};

struct giver {
    struct loop *loop;
    uv_poll_t listening, peer; /* the latter open unless GIVER_IDLE */
    int fd, peer_fd;
    pid_t peer_pid;
    enum giver_state state;
    struct timer *deadline;
    const struct sockets *sockets;     /* borrowed */
    const char *token;                 /* borrowed */
    const struct ticket_keys *tickets; /* borrowed */
    char theirs[UPGRADE_TOKEN];
    giver_fn fn; /* NULL: freed */
    void *owner;
    unsigned closing; /* handles */
};

static void giver_on_closed(uv_handle_t *handle)
{
    struct giver *g = handle->data;

    if (--g->closing == 0 && !g->fn)
        free(g);
}

/* The descriptor goes at once: the other side sees it. */
static void giver_close(struct giver *g, uv_poll_t *poll, int *fd)
{
    uv_poll_stop(poll);
    close(*fd);
    *fd = -1;
    g->closing++;
    uv_close((uv_handle_t *)poll, giver_on_closed);
}

/* Whoever it was is gone, or was told so. */
static void giver_end(struct giver *g, const char *why)
{
    bool lent = g->state >= GIVER_LENT;

    timer_stop(g->deadline);
    giver_close(g, &g->peer, &g->peer_fd);
    g->state = GIVER_IDLE;
    if (!lent)
        return;
    LOG(WARN, "upgrade_off", LOG_I("process", (int)g->peer_pid), LOG_S("why", why),
        LOG_S("effect", "this process goes on"));
    g->fn(g->owner, GIVER_OFF, g->theirs);
}

static void giver_call_off(struct giver *g, const char *why)
{
    (void)!upgrade_send(g->peer_fd, "off", NULL, 0);
    giver_end(g, why);
}

static void giver_on_deadline(void *owner)
{
    giver_call_off(owner, "it took too long");
}

/* ---- what it says */

static bool send_group(int fd, const struct sockets_group *group)
{
    char text[UPGRADE_TEXT_MAX];
    bool ok = snprintf(text, sizeof text, "socket %s", group->url) < (int)sizeof text;

    for (size_t i = 0; ok && i < group->n; i += UPGRADE_FDS_MAX)
        ok = upgrade_send(fd, text, group->fds + i,
                          group->n - i < UPGRADE_FDS_MAX ? group->n - i : UPGRADE_FDS_MAX);
    return ok;
}

static bool send_tickets(const struct giver *g)
{
    struct ticket_keys keys = *g->tickets;
    struct buf text = {0};

    buf_room(&text, UPGRADE_TEXT_MAX); /* so that it does not move */
    ticket_keys_age(&keys, clock_boot_ms());
    upgrade_write_tickets(&text, &keys);
    bool ok = upgrade_send(g->peer_fd, buf_str(&text), NULL, 0);
    wipe(&keys, sizeof keys);
    buf_wipe(&text);
    return ok;
}

static bool giver_lend(struct giver *g)
{
    char text[sizeof "id " + UPGRADE_TOKEN];
    bool ok = true;

    for (size_t i = 0; ok && i < g->sockets->n; i++)
        ok = send_group(g->peer_fd, &g->sockets->groups[i]);
    snprintf(text, sizeof text, "id %s", g->token);
    return ok && upgrade_send(g->peer_fd, "again", &g->fd, 1) && send_tickets(g) &&
           upgrade_send(g->peer_fd, text, NULL, 0);
}

static void giver_hello(struct giver *g, const char *theirs)
{
    memcpy(g->theirs, theirs, UPGRADE_TOKEN);
    g->state = GIVER_LENT;
    timer_start(g->deadline, START_MS);
    g->fn(g->owner, GIVER_LENDS, g->theirs); /* before it can take it */
    if (giver_lend(g))
        LOG(INFO, "upgrade", LOG_I("process", (int)g->peer_pid),
            LOG_S("does", "has taken the listeners over and starts"));
    else
        giver_end(g, "it takes nothing");
}

static void giver_yield(struct giver *g)
{
    g->state = GIVER_YIELDED;
    timer_start(g->deadline, DRAIN_MS);
    if (!upgrade_send(g->peer_fd, "yours", NULL, 0))
        giver_end(g, "it is gone");
}

static void giver_drain(struct giver *g)
{
    (void)!upgrade_send(g->peer_fd, "draining", NULL, 0);
    LOG(INFO, "upgraded", LOG_I("process", (int)g->peer_pid), LOG_S("does", "serves; this one drains"));
    g->fn(g->owner, GIVER_DRAIN, g->theirs);
}

static void giver_heard(struct giver *g, const struct upgrade_packet *p)
{
    const char *token;

    if (g->state == GIVER_MET && upgrade_says(p, "hello 1", &token) && upgrade_is_token(token))
        giver_hello(g, token);
    else if (g->state == GIVER_LENT && upgrade_says(p, "serving", NULL))
        giver_yield(g);
    else if (g->state == GIVER_YIELDED && upgrade_says(p, "drain", NULL))
        giver_drain(g);
    else
        giver_call_off(g, "it says what can't be understood");
}

static void giver_on_packet(uv_poll_t *poll, int status, int events)
{
    struct giver *g = poll->data;
    struct upgrade_packet packet;
    (void)events;
    enum upgrade_got got = upgrade_receive(g->peer_fd, &packet);
    if (got == UPGRADE_GOT) {
        upgrade_drop_fds(&packet); /* none is expected */
        giver_heard(g, &packet);
    } else if (got == UPGRADE_ENDED || status < 0) {
        giver_end(g, "it is gone");
    }
}

/* ---- who comes */

static bool giver_may(uid_t uid)
{
    return uid == 0 || uid == geteuid();
}

static void giver_meet(struct giver *g, int fd, pid_t pid)
{
    g->peer_fd = fd;
    g->peer_pid = pid;
    g->state = GIVER_MET;
    uv_poll_init(&g->loop->uv, &g->peer, fd);
    g->peer.data = g;
    uv_poll_start(&g->peer, UV_READABLE | UV_DISCONNECT, giver_on_packet);
    timer_start(g->deadline, HELLO_MS);
}

static void giver_on_connection(uv_poll_t *poll, int status, int events)
{
    struct giver *g = poll->data;
    uid_t uid;
    pid_t pid;
    (void)status, (void)events;
    if (g->closing > 0)
        return; /* in the next round */
    int fd = accept4(g->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    bool known = upgrade_peer(fd, &uid, &pid);
    if (known && giver_may(uid) && g->state == GIVER_IDLE) {
        giver_meet(g, fd, pid);
        return;
    }
    if (known && giver_may(uid))
        (void)!upgrade_send(fd, "busy", NULL, 0);
    else
        LOG(WARN, "upgrade_refused", LOG_I("uid", known ? (int)uid : -1),
            LOG_S("expected", "root, or the user of this process"));
    close(fd);
}

struct giver *giver_new(struct loop *l, int fd, const struct sockets *s, const char *token,
                        const struct ticket_keys *tickets, giver_fn fn, void *owner)
{
    struct giver *g = xcalloc(1, sizeof *g);

    g->loop = l;
    g->fd = fd;
    g->peer_fd = -1;
    g->sockets = s;
    g->token = token;
    g->tickets = tickets;
    g->fn = fn;
    g->owner = owner;
    g->deadline = timer_new(l, giver_on_deadline, g);
    uv_poll_init(&l->uv, &g->listening, fd);
    g->listening.data = g;
    uv_poll_start(&g->listening, UV_READABLE, giver_on_connection);
    return g;
}

void giver_free(struct giver **gp)
{
    struct giver *g = *gp;

    *gp = NULL;
    if (!g)
        return;
    g->fn = NULL;
    timer_free(&g->deadline);
    if (g->state != GIVER_IDLE)
        giver_close(g, &g->peer, &g->peer_fd);
    giver_close(g, &g->listening, &g->fd);
}
