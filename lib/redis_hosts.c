#include <stdlib.h>

#include "redis_hosts.h"
#include "xalloc.h"

struct redis_hosts {
    const struct redis_hosts_kind *kind; /* borrowed, as conf and the address */
    struct loop *loop;
    const struct conf_redis *conf;
    const struct address *address;
    struct tls_policy *policy; /* held; NULL without TLS */
    size_t *first;             /* borrowed */
    size_t tried;
    uint64_t share_ms;
    redis_hosts_fn fn;
    void *owner;                /* borrowed */
    struct conf_redis one;      /* the host that is asked, as a Redis ... */
    struct address one_address; /* ... and where it is; owned */
    struct redis *redis;
    struct timer *timer; /* over the one that is asked */
    struct loop_task next;
    char *detail;              /* owned */
    bool is_itself;            /* the host that is asked has named itself */
    struct address_host named; /* while its replicas are asked for; owned */
};

void redis_hosts_cancel(struct redis_hosts **hp)
{
    struct redis_hosts *h = *hp;

    *hp = NULL;
    if (!h)
        return;
    redis_free(&h->redis);
    address_free(&h->one_address);
    timer_free(&h->timer);
    loop_undefer(h->loop, &h->next);
    free(h->detail);
    free(h->named.host);
    tls_policy_free(&h->policy);
    free(h);
}

struct address redis_hosts_address(const struct address *address, struct span host, uint16_t port)
{
    bool sentinels = address_has_sentinels(address);
    const char *user = sentinels ? address->sentinel_user : address->user;
    const char *password = sentinels ? address->sentinel_password : address->password;

    return (struct address){.scheme = address_has_tls(address) ? ADDRESS_REDISS : ADDRESS_REDIS,
                            .host = xspandup(host),
                            .port = port,
                            .user = user ? xstrdup(user) : NULL,
                            .password = password ? xsecret(span_str(password)) : NULL};
}

const struct conf_redis *redis_hosts_conf(const struct redis_hosts *h)
{
    return h->conf;
}

const struct address *redis_hosts_of(const struct redis_hosts *h)
{
    return h->address;
}

static size_t redis_hosts_current(const struct redis_hosts *h)
{
    return (*h->first + h->tried) % h->address->n_hosts;
}

static const struct address_host *redis_hosts_asked(const struct redis_hosts *h)
{
    return &h->address->hosts[redis_hosts_current(h)];
}

/* ---- what it says ---- */

void redis_hosts_command(struct redis_hosts *h, const struct span *argv, size_t argc, redis_fn fn)
{
    redis_command(h->redis, argv, argc, h->share_ms, fn, h);
}

static void redis_hosts_forget(struct redis_hosts *h)
{
    free(h->named.host);
    h->named.host = NULL;
    h->is_itself = false;
}

void redis_hosts_name(struct redis_hosts *h, struct span host, uint16_t port)
{
    redis_hosts_forget(h);
    h->named = (struct address_host){.host = host.len ? xspandup(host) : xstrdup(redis_hosts_asked(h)->host),
                                     .port = port};
}

void redis_hosts_name_itself(struct redis_hosts *h)
{
    redis_hosts_name(h, (struct span){0}, redis_hosts_asked(h)->port);
    h->is_itself = true;
}

const struct address_host *redis_hosts_named(const struct redis_hosts *h)
{
    return h->named.host ? &h->named : NULL;
}

bool redis_hosts_is_itself(const struct redis_hosts *h)
{
    return h->is_itself;
}

void redis_hosts_finish(struct redis_hosts *h, size_t replicas)
{
    redis_hosts_fn fn = h->fn;
    void *owner = h->owner;
    char *detail = h->detail;
    struct address_host named = h->named;

    h->detail = NULL;
    h->named.host = NULL;
    if (named.host)
        *h->first = redis_hosts_current(h);
    redis_hosts_cancel(&h);
    fn(owner, named.host ? &named : NULL, replicas, detail ? detail : "");
    free(detail);
    free(named.host);
}

/* ---- one behind the other ---- */

/* On to the next one, from the loop: this comes from inside of the connection that ends. */
void redis_hosts_give_up(struct redis_hosts *h, const char *why)
{
    const struct address_host *asked = redis_hosts_asked(h);

    free(h->detail);
    redis_hosts_forget(h);
    h->detail = xasprintf("%s %s:%u: %s", h->kind->called, asked->host, asked->port, why);
    timer_stop(h->timer);
    loop_defer(h->loop, &h->next);
}

void redis_hosts_refused(struct redis_hosts *h, const struct reply *error)
{
    char *text = xspandup(reply_str(error));

    redis_hosts_give_up(h, text);
    free(text);
}

static void redis_hosts_on_timer(void *owner)
{
    redis_hosts_give_up(owner, "no answer in time");
}

static void redis_hosts_on_state(void *owner, bool up, const char *detail)
{
    struct redis_hosts *h = owner;

    if (up)
        h->kind->ask(h);
    else
        redis_hosts_give_up(h, detail);
}

static void redis_hosts_ask_one(struct redis_hosts *h)
{
    const struct address_host *asked = redis_hosts_asked(h);

    h->one = (struct conf_redis){.tls_name = h->conf->tls_name};
    h->one_address = redis_hosts_address(h->address, span_str(asked->host), asked->port);
    h->redis = redis_new(h->loop, &h->one, &h->one_address, h->share_ms, redis_hosts_on_state, h);
    if (h->policy)
        redis_use_policy(h->redis, h->policy);
    timer_start(h->timer, h->share_ms);
}

static void redis_hosts_on_next(struct loop_task *task)
{
    struct redis_hosts *h = CONTAINER_OF(task, struct redis_hosts, next);

    redis_free(&h->redis);
    address_free(&h->one_address);
    redis_hosts_forget(h); /* of an answer that came behind its time */
    if (++h->tried < h->address->n_hosts)
        redis_hosts_ask_one(h);
    else
        redis_hosts_finish(h, 0);
}

struct redis_hosts *redis_hosts_ask(const struct redis_hosts_kind *kind, struct loop *l,
                                    const struct conf_redis *conf, const struct address *address,
                                    struct tls_policy *policy, size_t *first, uint64_t timeout_ms,
                                    redis_hosts_fn fn, void *owner)
{
    struct redis_hosts *h = xcalloc(1, sizeof(*h));

    *h = (struct redis_hosts){.kind = kind,
                              .loop = l,
                              .conf = conf,
                              .address = address,
                              .first = first,
                              .fn = fn,
                              .owner = owner,
                              .next.fn = redis_hosts_on_next};
    h->policy = policy ? tls_policy_hold(policy) : NULL;
    h->share_ms = timeout_ms / address->n_hosts;
    h->share_ms = h->share_ms ? h->share_ms : 1;
    h->timer = timer_new(l, redis_hosts_on_timer, h);
    redis_hosts_ask_one(h);
    return h;
}
