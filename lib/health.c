#include <stdlib.h>
#include <sys/queue.h>

#include "health.h"
#include "log.h"
#include "metrics.h"
#include "pop3_login.h"
#include "xalloc.h"

enum { HEALTH_CONNECT_MS = 10 * 1000, HEALTH_STEP_MS = 10 * 1000 };

/* One place is looked at. */
struct look {
    struct health *h;
    char *place;                 /* owned */
    struct backend_login *login; /* ... or: */
    struct pop3_login *pop3;
    TAILQ_ENTRY(look) link;
};

struct health {
    struct loop *loop;
    const struct conf_backend *backend;
    bool is_pop3;
    struct tls_policy *tls;
    health_fn fn;
    void *owner; /* borrowed, as the two above */
    struct outage outage;
    int64_t told_dead;     /* so many addresses */
    struct timer *timer;   /* the next look; owned */
    struct loop_task task; /* something has become another: looks when the next look is due */
    uint64_t refused;      /* while the breaker is open */
    TAILQ_HEAD(looks, look) looks;
};

/* ---- what the log is told ---- */

static struct log_field health_protocol(const struct health *h)
{
    return LOG_SET("protocol", h->is_pop3 ? "pop3" : "");
}

static void health_say_open(struct health *h, const char *detail)
{
    h->refused = 0;
    LOG(ERROR, "breaker_open", LOG_S("backend", h->backend->name), health_protocol(h),
        LOG_S("detail", detail),
        LOG_S("effect", "logins are refused at once until an address answers, for which they are looked at"));
}

static void health_on_event(void *owner, enum outage_event ev, const char *place, const char *detail)
{
    struct health *h = owner;
    switch (ev) {
    case OUTAGE_DEAD:
        LOG(WARN, "address_dead", LOG_S("backend", h->backend->name), health_protocol(h),
            LOG_S("address", place), LOG_S("detail", detail),
            LOG_S("effect", "it is looked at from time to time, and used when no other is left"));
        break;
    case OUTAGE_ALIVE:
        LOG(INFO, "address_alive", LOG_S("backend", h->backend->name), health_protocol(h),
            LOG_S("address", place));
        break;
    case OUTAGE_DOUBTED:
        break; /* a look will tell */
    case OUTAGE_OPENED:
        health_say_open(h, detail);
        break;
    case OUTAGE_CLOSED:
        LOG(INFO, "breaker_closed", LOG_S("backend", h->backend->name), health_protocol(h),
            LOG_U("ms", clock_boot_ms() - h->outage.opened_ms), LOG_U("refused", h->refused));
        break;
    }
    if ((ev == OUTAGE_OPENED || ev == OUTAGE_CLOSED) && h->fn)
        h->fn(h->owner, h->backend);
    loop_defer(h->loop, &h->task);
}

/* ---- looks ---- */

static void look_end(struct look *k)
{
    TAILQ_REMOVE(&k->h->looks, k, link);
    backend_login_cancel(&k->login);
    pop3_login_cancel(&k->pop3);
    free(k->place);
    free(k);
}

/* What came of it is in the struct outage already, unless the backend has no such address any more. */
static void health_on_looked(void *owner, const struct login_result *r)
{
    struct look *k = owner;
    struct health *h = k->h;
    struct stream *s = r->stream;
    k->login = NULL;
    k->pop3 = NULL;
    if (r->rc == LOGIN_OK) {
        stream_send(s, h->is_pop3 ? "QUIT\r\n" : "z LOGOUT\r\n", h->is_pop3 ? 6 : 10);
        stream_close(&s, true);
    }
    outage_looked(&h->outage, k->place);
    look_end(k);
    loop_defer(h->loop, &h->task);
}

static void look_at(struct health *h, const char *place)
{
    struct look *k = xcalloc(1, sizeof *k);
    k->h = h;
    k->place = xstrdup(place);
    TAILQ_INSERT_TAIL(&h->looks, k, link);
    struct login_request request = {.backend = h->backend,
                                    .policy = h->tls,
                                    .outage = &h->outage,
                                    .place = k->place,
                                    .as = LOGIN_AS_NOBODY,
                                    .limits = {.high_water = 64 << 10, .queue_max = 1 << 20},
                                    .connect_timeout_ms = HEALTH_CONNECT_MS,
                                    .step_timeout_ms = HEALTH_STEP_MS};
    if (h->is_pop3)
        k->pop3 = pop3_login_start(h->loop, &request, health_on_looked, k);
    else
        k->login = backend_login_start(h->loop, &request, health_on_looked, k);
}

/* Those of IMAP and POP3 are one number. */
static void health_tell_dead(struct health *h)
{
    int64_t n = 0;
    for (size_t i = 0; i < h->outage.n; i++)
        n += !h->outage.places[i].doubted;
    metric_change(METRIC_BACKEND_DEAD_ADDRESSES, n - h->told_dead, h->backend->name, NULL);
    h->told_dead = n;
}

static void health_look(struct health *h)
{
    health_tell_dead(h);
    uint64_t wait_ms;
    const char *place;
    while ((place = outage_next_look(&h->outage, clock_boot_ms(), &wait_ms)))
        look_at(h, place);
    if (wait_ms > 0)
        timer_start(h->timer, wait_ms);
    else
        timer_stop(h->timer);
}

static void health_on_timer(void *owner)
{
    health_look(owner);
}

static void health_on_task(struct loop_task *task)
{
    health_look(CONTAINER_OF(task, struct health, task));
}

/* ---- life ---- */

struct health *health_new(struct loop *l, const struct conf_backend *backend, bool is_pop3,
                          struct tls_policy *tls, health_fn fn, void *owner)
{
    struct health *h = xcalloc(1, sizeof *h);
    *h = (struct health){.loop = l,
                         .backend = backend,
                         .is_pop3 = is_pop3,
                         .tls = tls,
                         .fn = fn,
                         .owner = owner,
                         .outage = {.fn = health_on_event, .owner = h, .has_breaker = fn != NULL},
                         .task = {.fn = health_on_task}};
    h->timer = timer_new(l, health_on_timer, h);
    metric_change(METRIC_BACKEND_DEAD_ADDRESSES, 0, backend->name, NULL);
    TAILQ_INIT(&h->looks);
    return h;
}

static void health_drop_looks(struct health *h)
{
    struct look *k;
    while ((k = TAILQ_FIRST(&h->looks)))
        look_end(k);
}

void health_free(struct health **hp)
{
    struct health *h = *hp;
    *hp = NULL;
    if (!h)
        return;
    health_drop_looks(h);
    loop_undefer(h->loop, &h->task);
    timer_free(&h->timer);
    outage_forget_all(&h->outage);
    free(h);
}

struct outage *health_outage(struct health *h)
{
    return &h->outage;
}

bool health_is_open(const struct health *h)
{
    return h->outage.open;
}

bool health_refuses(struct health *h)
{
    h->refused += h->outage.open;
    return h->outage.open;
}

void health_again(struct health *h)
{
    bool was_open = h->outage.open;
    uint64_t opened_ms = h->outage.opened_ms;
    health_drop_looks(h);
    outage_forget_all(&h->outage);
    timer_stop(h->timer);
    health_tell_dead(h);
    if (!was_open)
        return;
    h->outage.opened_ms = opened_ms;
    health_on_event(h, OUTAGE_CLOSED, "", "");
}
