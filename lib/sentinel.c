#include <stdlib.h>
#include <string.h>

#include "redis.h"
#include "sentinel.h"
#include "xalloc.h"

struct sentinel {
    struct loop *loop;
    const struct conf_redis *conf; /* borrowed, as the address */
    const struct address *address;
    struct tls_policy *policy; /* held; NULL without TLS */
    size_t *first;             /* borrowed */
    size_t tried;
    uint64_t share_ms;
    sentinel_fn fn;
    void *owner;                /* borrowed */
    struct conf_redis one;      /* the Sentinel that is asked, as a Redis ... */
    struct address one_address; /* ... and where it is; strings are borrowed */
    struct redis *redis;
    struct timer *timer; /* over the one that is asked */
    struct loop_task next;
    char *detail;               /* owned */
    struct address_host master; /* as it was named, while its replicas are asked for; owned */
};

void sentinel_cancel(struct sentinel **sp)
{
    struct sentinel *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    redis_free(&s->redis);
    timer_free(&s->timer);
    loop_undefer(s->loop, &s->next);
    free(s->detail);
    free(s->master.host);
    tls_policy_free(&s->policy);
    free(s);
}

static size_t sentinel_current(const struct sentinel *s)
{
    return (*s->first + s->tried) % s->address->n_hosts;
}

static void sentinel_finish(struct sentinel *s, size_t replicas)
{
    sentinel_fn fn = s->fn;
    void *owner = s->owner;
    char *detail = s->detail;
    struct address_host master = s->master;

    s->detail = NULL;
    s->master.host = NULL;
    if (master.host)
        *s->first = sentinel_current(s);
    sentinel_cancel(&s);
    fn(owner, master.host ? &master : NULL, replicas, detail ? detail : "");
    free(detail);
    free(master.host);
}

/* On to the next one, from the loop: this comes from inside of the connection that ends. */
static void sentinel_give_up(struct sentinel *s, const char *why)
{
    const struct address_host *h = &s->address->hosts[sentinel_current(s)];

    free(s->detail);
    free(s->master.host);
    s->master.host = NULL;
    s->detail = xasprintf("Sentinel %s:%u: %s", h->host, h->port, why);
    timer_stop(s->timer);
    loop_defer(s->loop, &s->next);
}

static void sentinel_on_timer(void *owner)
{
    sentinel_give_up(owner, "no answer in time");
}

static void sentinel_on_master(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct sentinel *s = owner;
    uint64_t port;

    if (rc == REDIS_DOWN)
        return; /* on_state() says why */
    if (rc == REDIS_ERROR_REPLY) {
        char *text = xspandup(reply_str(r));
        sentinel_give_up(s, text);
        free(text);
        return;
    }
    struct span host = reply_str(reply_at(r, 0));
    if (host.len > 0 && span_u64(reply_str(reply_at(r, 1)), UINT16_MAX, &port) && port > 0)
        s->master = (struct address_host){.host = xspandup(host), .port = (uint16_t)port};
    else
        sentinel_give_up(s, "it knows no master of this name");
}

static bool sentinel_has_flag(struct span flags, const char *flag)
{
    return flags.len > 0 && memmem(flags.p, flags.len, flag, strlen(flag)) != NULL;
}

/* Asked in the same breath as the master. An error is no reason to try another Sentinel: this user may not
 * ask. */
static void sentinel_on_replicas(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct sentinel *s = owner;
    size_t live = 0;

    if (rc == REDIS_DOWN || !s->master.host)
        return;
    for (size_t i = 0; i < reply_count(r); i++) {
        struct span flags = reply_str(reply_get(reply_at(r, i), "flags"));
        live += sentinel_has_flag(flags, "slave") && !sentinel_has_flag(flags, "down") &&
                !sentinel_has_flag(flags, "disconnected");
    }
    sentinel_finish(s, live);
}

static void on_state(void *owner, bool up, const char *detail)
{
    struct sentinel *s = owner;
    struct span name = span_str(s->address->master);
    struct span master[] = {span_str("SENTINEL"), span_str("GET-MASTER-ADDR-BY-NAME"), name};
    struct span replicas[] = {span_str("SENTINEL"), span_str("REPLICAS"), name};

    if (!up) {
        sentinel_give_up(s, detail);
        return;
    }
    redis_command(s->redis, master, COUNTOF(master), s->share_ms, sentinel_on_master, s);
    redis_command(s->redis, replicas, COUNTOF(replicas), s->share_ms, sentinel_on_replicas, s);
}

static void ask_one(struct sentinel *s)
{
    const struct address *a = s->address;
    const struct address_host *h = &a->hosts[sentinel_current(s)];

    s->one = (struct conf_redis){.tls_name = s->conf->tls_name};
    s->one_address = (struct address){.scheme = s->policy ? ADDRESS_REDISS : ADDRESS_REDIS,
                                      .host = h->host,
                                      .port = h->port,
                                      .user = a->sentinel_user,
                                      .password = a->sentinel_password};
    s->redis = redis_new(s->loop, &s->one, &s->one_address, s->share_ms, on_state, s);
    if (s->policy)
        redis_use_policy(s->redis, s->policy);
    timer_start(s->timer, s->share_ms);
}

static void on_next(struct loop_task *task)
{
    struct sentinel *s = CONTAINER_OF(task, struct sentinel, next);

    redis_free(&s->redis);
    if (++s->tried < s->address->n_hosts)
        ask_one(s);
    else
        sentinel_finish(s, 0);
}

struct sentinel *sentinel_ask(struct loop *l, const struct conf_redis *conf, const struct address *address,
                              struct tls_policy *policy, size_t *first, uint64_t timeout_ms, sentinel_fn fn,
                              void *owner)
{
    struct sentinel *s = xcalloc(1, sizeof(*s));

    *s = (struct sentinel){.loop = l,
                           .conf = conf,
                           .address = address,
                           .first = first,
                           .fn = fn,
                           .owner = owner,
                           .next.fn = on_next};
    s->policy = policy ? tls_policy_hold(policy) : NULL;
    s->share_ms = timeout_ms / address->n_hosts;
    s->share_ms = s->share_ms ? s->share_ms : 1;
    s->timer = timer_new(l, sentinel_on_timer, s);
    ask_one(s);
    return s;
}
