#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "keepalive.h"
#include "loop.h"

enum {
    /* Seconds without a byte until the kernel asks whether the peer is there still, between two questions,
     * and how many without an answer end the connection. Below the 4 minutes after which common load
     * balancers forget a connection, and above the 2 in which a mail server wakes the phones of those who are
     * in IDLE; and below the 129 s from which a kernel of 250 ticks a second rounds times to 16 s, not 2. */
    KEEPALIVE_IDLE = 128,
    KEEPALIVE_BETWEEN = 25,
    KEEPALIVE_SPREAD = 11, /* up to one less is added: those who ask at once do not ask again at once */
    KEEPALIVE_TRIES = 5,
};

static void keepalive_set(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof(value));
}

static void keepalive_on(struct keepalive *k)
{
    keepalive_set(k->fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE);
    keepalive_set(k->fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_BETWEEN + k->fd % KEEPALIVE_SPREAD);
    keepalive_set(k->fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_TRIES);
    keepalive_set(k->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    k->on = true;
}

static void keepalive_leave(struct keepalives *ks, struct keepalive *k)
{
    if (k->waits)
        TAILQ_REMOVE(&ks->waiting, k, link);
    k->waits = false;
}

static void keepalive_on_timer(uv_timer_t *timer);

static void keepalive_wait(struct keepalives *ks, uint64_t ms)
{
    uv_timer_start(&ks->timer, keepalive_on_timer, ms, 0);
}

static void keepalive_on_timer(uv_timer_t *timer)
{
    struct keepalives *ks = CONTAINER_OF(timer, struct keepalives, timer);
    uint64_t now = clock_boot_ms();
    struct keepalive *k;
    unsigned n = 0;
    while ((k = TAILQ_FIRST(&ks->waiting)) && now - k->since_ms >= ks->after_ms && n < KEEPALIVE_AT_ONCE) {
        keepalive_leave(ks, k);
        keepalive_on(k);
        n++;
    }
    if (k)
        keepalive_wait(ks, n == KEEPALIVE_AT_ONCE ? KEEPALIVE_PAUSE : ks->after_ms / 2 + 1);
}

void keepalives_init(struct keepalives *ks, uv_loop_t *uv)
{
    TAILQ_INIT(&ks->waiting);
    ks->after_ms = KEEPALIVE_AFTER;
    uv_timer_init(uv, &ks->timer);
    uv_unref((uv_handle_t *)&ks->timer);
}

void keepalives_close(struct keepalives *ks)
{
    uv_close((uv_handle_t *)&ks->timer, NULL);
}

void keepalive_later(struct keepalives *ks, struct keepalive *k, int fd)
{
    if (k->waits || k->on)
        return;
    k->fd = fd;
    k->since_ms = clock_boot_ms();
    k->waits = true;
    TAILQ_INSERT_TAIL(&ks->waiting, k, link);
    if (!uv_is_active((uv_handle_t *)&ks->timer))
        keepalive_wait(ks, ks->after_ms);
}

void keepalive_off(struct keepalives *ks, struct keepalive *k, bool closing)
{
    keepalive_leave(ks, k);
    if (k->on && !closing)
        keepalive_set(k->fd, SOL_SOCKET, SO_KEEPALIVE, 0);
    k->on = false;
}
