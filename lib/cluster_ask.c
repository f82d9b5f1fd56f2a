/* Where a partition is. */
#include <stdlib.h>

#include "cluster.h"

static void cluster_on_exists(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct redis_hosts *h = owner;
    struct cluster_place p;

    if (rc == REDIS_OK)
        redis_hosts_name_itself(h);
    else if (rc == REDIS_ERROR_REPLY && cluster_word(reply_str(r), &p) == CLUSTER_MOVED)
        redis_hosts_name(h, p.host, p.port);
    else if (rc == REDIS_ERROR_REPLY)
        redis_hosts_refused(h, r);
}

/* The lines come in any order, so the text is gone through twice. What nodes are called in it need not be what MOVED calls them. */
static size_t cluster_count_replicas(const struct redis_hosts *h, struct span nodes)
{
    char *prefix = conf_store_prefix(redis_hosts_conf(h), redis_hosts_of(h));
    uint32_t slot = cluster_slot(span_str(prefix));
    struct span id = {0}, rest = nodes;
    struct cluster_node n;
    size_t live = 0;

    free(prefix);
    while (cluster_next_node(&rest, &n))
        if (redis_hosts_is_itself(h) ? n.myself : cluster_node_has(&n, slot))
            id = n.id;
    while (id.len && cluster_next_node(&nodes, &n))
        live += !n.failed && n.of.len == id.len && memcmp(n.of.p, id.p, id.len) == 0;
    return live;
}

/* Asked in the same breath as the place. */
static void cluster_on_nodes(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct redis_hosts *h = owner;
    struct span nodes = reply_str(r);

    if (rc == REDIS_DOWN || !redis_hosts_named(h))
        return;
    if (rc == REDIS_ERROR_REPLY)
        redis_hosts_refused(h, r); /* such as: cluster support is disabled */
    else if (nodes.len > CLUSTER_NODES_BYTES)
        redis_hosts_give_up(h, "it names too many nodes");
    else
        redis_hosts_finish(h, cluster_count_replicas(h, nodes));
}

static void cluster_ask_one(struct redis_hosts *h)
{
    char *prefix = conf_store_prefix(redis_hosts_conf(h), redis_hosts_of(h));
    struct span exists[] = {span_str("EXISTS"), span_str(prefix)};
    struct span nodes[] = {span_str("CLUSTER"), span_str("NODES")};

    redis_hosts_command(h, exists, COUNTOF(exists), cluster_on_exists);
    redis_hosts_command(h, nodes, COUNTOF(nodes), cluster_on_nodes);
    free(prefix);
}

struct redis_hosts *cluster_ask(struct loop *l, const struct conf_redis *conf, const struct address *address,
                                struct tls_policy *policy, size_t *first, uint64_t timeout_ms,
                                redis_hosts_fn fn, void *owner)
{
    static const struct redis_hosts_kind kind = {.called = "node", .ask = cluster_ask_one};

    return redis_hosts_ask(&kind, l, conf, address, policy, first, timeout_ms, fn, owner);
}
