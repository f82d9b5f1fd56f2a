/* Where a partition is. */
#include <stdlib.h>

#include "cluster.h"
#include "redis.h"
#include "xalloc.h"

struct cluster_question {
    struct loop *loop;
    const struct conf_redis *conf; /* borrowed, as the address */
    const struct address *address;
    struct tls_policy *policy; /* held; NULL without TLS */
    size_t *first;             /* borrowed */
    size_t tried;
    uint64_t share_ms;
    cluster_fn fn;
    void *owner;                /* borrowed */
    char *prefix;               /* owned; of the partition */
    struct conf_redis one;      /* the node that is asked, as a Redis ... */
    struct address one_address; /* ... and where it is; owned */
    struct redis *redis;
    struct timer *timer; /* over the one that is asked */
    struct loop_task next;
    char *detail;             /* owned */
    bool is_own;              /* the node that is asked has it */
    struct address_host node; /* as it was named, while its replicas are asked for; owned */
};

void cluster_cancel(struct cluster_question **qp)
{
    struct cluster_question *q = *qp;

    *qp = NULL;
    if (!q)
        return;
    redis_free(&q->redis);
    address_free(&q->one_address);
    timer_free(&q->timer);
    loop_undefer(q->loop, &q->next);
    free(q->prefix);
    free(q->detail);
    free(q->node.host);
    tls_policy_free(&q->policy);
    free(q);
}

static const struct address_host *cluster_asked(const struct cluster_question *q)
{
    return &q->address->hosts[(*q->first + q->tried) % q->address->n_hosts];
}

static void cluster_finish(struct cluster_question *q, size_t replicas)
{
    cluster_fn fn = q->fn;
    void *owner = q->owner;
    char *detail = q->detail;
    struct address_host node = q->node;

    q->detail = NULL;
    q->node.host = NULL;
    if (node.host)
        *q->first = (*q->first + q->tried) % q->address->n_hosts;
    cluster_cancel(&q);
    fn(owner, node.host ? &node : NULL, replicas, detail ? detail : "");
    free(detail);
    free(node.host);
}

/* On to the next one, from the loop: this comes from inside of the connection that ends. */
static void cluster_give_up(struct cluster_question *q, const char *why)
{
    const struct address_host *h = cluster_asked(q);

    free(q->detail);
    free(q->node.host);
    q->node.host = NULL;
    q->detail = xasprintf("node %s:%u: %s", h->host, h->port, why);
    timer_stop(q->timer);
    loop_defer(q->loop, &q->next);
}

static void cluster_on_timer(void *owner)
{
    cluster_give_up(owner, "no answer in time");
}

static void cluster_refused(struct cluster_question *q, const struct reply *r)
{
    char *text = xspandup(reply_str(r));

    cluster_give_up(q, text);
    free(text);
}

static void cluster_on_exists(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct cluster_question *q = owner;
    const struct address_host *asked = cluster_asked(q);
    struct cluster_place p;

    q->is_own = rc == REDIS_OK;
    if (rc == REDIS_OK)
        q->node = (struct address_host){.host = xstrdup(asked->host), .port = asked->port};
    else if (rc == REDIS_ERROR_REPLY && cluster_word(reply_str(r), &p) == CLUSTER_MOVED)
        q->node = (struct address_host){.host = p.host.len ? xspandup(p.host) : xstrdup(asked->host),
                                        .port = p.port};
    else if (rc == REDIS_ERROR_REPLY)
        cluster_refused(q, r);
}

static bool cluster_is_that(const struct cluster_question *q, const struct cluster_node *n)
{
    if (q->is_own)
        return n->myself;
    return n->port == q->node.port && (span_is(n->host, q->node.host) || span_is(n->address, q->node.host));
}

/* The lines come in any order, so the text is gone through twice. */
static size_t cluster_count_replicas(const struct cluster_question *q, struct span nodes)
{
    struct span id = {0}, rest = nodes;
    struct cluster_node n;
    size_t live = 0;

    while (cluster_next_node(&rest, &n))
        if (cluster_is_that(q, &n))
            id = n.id;
    while (id.len && cluster_next_node(&nodes, &n))
        live += !n.failed && n.of.len == id.len && memcmp(n.of.p, id.p, id.len) == 0;
    return live;
}

/* Asked in the same breath as the place. */
static void cluster_on_nodes(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct cluster_question *q = owner;
    struct span nodes = reply_str(r);

    if (rc == REDIS_DOWN || !q->node.host)
        return;
    if (rc == REDIS_ERROR_REPLY)
        cluster_refused(q, r); /* such as: cluster support is disabled */
    else if (nodes.len > CLUSTER_NODES_BYTES)
        cluster_give_up(q, "it names too many nodes");
    else
        cluster_finish(q, cluster_count_replicas(q, nodes));
}

static void cluster_on_state(void *owner, bool up, const char *detail)
{
    struct cluster_question *q = owner;
    struct span exists[] = {span_str("EXISTS"), span_str(q->prefix)};
    struct span nodes[] = {span_str("CLUSTER"), span_str("NODES")};

    if (!up) {
        cluster_give_up(q, detail);
        return;
    }
    redis_command(q->redis, exists, COUNTOF(exists), q->share_ms, cluster_on_exists, q);
    redis_command(q->redis, nodes, COUNTOF(nodes), q->share_ms, cluster_on_nodes, q);
}

static void cluster_ask_one(struct cluster_question *q)
{
    const struct address_host *h = cluster_asked(q);

    q->one = (struct conf_redis){.tls_name = q->conf->tls_name};
    q->one_address = cluster_node_address(q->address, span_str(h->host), h->port);
    q->redis = redis_new(q->loop, &q->one, &q->one_address, q->share_ms, cluster_on_state, q);
    if (q->policy)
        redis_use_policy(q->redis, q->policy);
    timer_start(q->timer, q->share_ms);
}

static void cluster_on_next(struct loop_task *task)
{
    struct cluster_question *q = CONTAINER_OF(task, struct cluster_question, next);

    redis_free(&q->redis);
    address_free(&q->one_address);
    free(q->node.host); /* of an answer that came behind its time */
    q->node.host = NULL;
    if (++q->tried < q->address->n_hosts)
        cluster_ask_one(q);
    else
        cluster_finish(q, 0);
}

struct cluster_question *cluster_ask(struct loop *l, const struct conf_redis *conf,
                                     const struct address *address, struct tls_policy *policy, size_t *first,
                                     uint64_t timeout_ms, cluster_fn fn, void *owner)
{
    struct cluster_question *q = xcalloc(1, sizeof(*q));

    *q = (struct cluster_question){.loop = l,
                                   .conf = conf,
                                   .address = address,
                                   .first = first,
                                   .fn = fn,
                                   .owner = owner,
                                   .next.fn = cluster_on_next};
    q->policy = policy ? tls_policy_hold(policy) : NULL;
    q->prefix = conf_store_prefix(conf, address);
    q->share_ms = timeout_ms / address->n_hosts;
    q->share_ms = q->share_ms ? q->share_ms : 1;
    q->timer = timer_new(l, cluster_on_timer, q);
    cluster_ask_one(q);
    return q;
}
