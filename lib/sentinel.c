#include <string.h>

#include "sentinel.h"

static void sentinel_on_master(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct redis_hosts *h = owner;
    struct span host = reply_str(reply_at(r, 0));
    uint64_t port;

    if (rc == REDIS_DOWN)
        return;
    if (rc == REDIS_ERROR_REPLY)
        redis_hosts_refused(h, r);
    else if (host.len > 0 && span_u64(reply_str(reply_at(r, 1)), UINT16_MAX, &port) && port > 0)
        redis_hosts_name(h, host, (uint16_t)port);
    else
        redis_hosts_give_up(h, "it knows no master of this name");
}

static bool sentinel_has_flag(struct span flags, const char *flag)
{
    return flags.len > 0 && memmem(flags.p, flags.len, flag, strlen(flag)) != NULL;
}

/* Asked in the same breath as the master. An error is no reason to try another Sentinel: this user may not
 * ask. */
static void sentinel_on_replicas(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct redis_hosts *h = owner;
    size_t live = 0;

    if (rc == REDIS_DOWN || !redis_hosts_named(h))
        return;
    for (size_t i = 0; i < reply_count(r); i++) {
        struct span flags = reply_str(reply_get(reply_at(r, i), "flags"));
        live += sentinel_has_flag(flags, "slave") && !sentinel_has_flag(flags, "down") &&
                !sentinel_has_flag(flags, "disconnected");
    }
    redis_hosts_finish(h, live);
}

static void sentinel_ask_one(struct redis_hosts *h)
{
    struct span name = span_str(redis_hosts_of(h)->master);
    struct span master[] = {span_str("SENTINEL"), span_str("GET-MASTER-ADDR-BY-NAME"), name};
    struct span replicas[] = {span_str("SENTINEL"), span_str("REPLICAS"), name};

    redis_hosts_command(h, master, COUNTOF(master), sentinel_on_master);
    redis_hosts_command(h, replicas, COUNTOF(replicas), sentinel_on_replicas);
}

struct redis_hosts *sentinel_ask(struct loop *l, const struct conf_redis *conf, const struct address *address,
                                 struct tls_policy *policy, size_t *first, uint64_t timeout_ms,
                                 redis_hosts_fn fn, void *owner)
{
    static const struct redis_hosts_kind kind = {.called = "Sentinel", .ask = sentinel_ask_one};

    return redis_hosts_ask(&kind, l, conf, address, policy, first, timeout_ms, fn, owner);
}
