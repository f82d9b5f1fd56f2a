/* Whether all keys of a partition are with one node. */
#include <stdio.h>
#include <stdlib.h>

#include "cluster.h"
#include "xalloc.h"

/* Another master. */
struct cluster_other {
    struct cluster_look *of;
    struct conf_redis conf; /* as a Redis ... */
    struct address address; /* ... and where it is; owned */
    char *id;               /* owned; NULL: it is who it should be */
    struct redis *redis;
    bool answered;
};

struct cluster_look {
    struct loop *loop;
    cluster_look_fn fn;
    void *owner; /* borrowed */
    uint32_t slot;
    uint64_t timeout_ms;
    struct cluster_other *others; /* owned */
    size_t n, left;
    char *why; /* owned; the first that there was */
    struct timer *timer;
    struct loop_task end;
};

void cluster_look_cancel(struct cluster_look **kp)
{
    struct cluster_look *k = *kp;

    *kp = NULL;
    if (!k)
        return;
    for (size_t i = 0; i < k->n; i++) {
        redis_free(&k->others[i].redis);
        address_free(&k->others[i].address);
        free(k->others[i].id);
    }
    free(k->others);
    free(k->why);
    timer_free(&k->timer);
    loop_undefer(k->loop, &k->end);
    free(k);
}

static void cluster_look_on_end(struct loop_task *task)
{
    struct cluster_look *k = CONTAINER_OF(task, struct cluster_look, end);
    cluster_look_fn fn = k->fn;
    void *owner = k->owner;
    char *why = k->why;

    k->why = NULL;
    cluster_look_cancel(&k);
    fn(owner, why);
    free(why);
}

static void cluster_look_take(struct cluster_other *o, char *why)
{
    struct cluster_look *k = o->of;

    if (o->answered || (k->why && why)) {
        free(why);
        why = NULL;
    }
    k->left -= !o->answered;
    o->answered = true;
    k->why = why ? why : k->why;
    if (k->left == 0 || k->why)
        loop_defer(k->loop, &k->end);
}

static void cluster_look_failed(struct cluster_other *o, const char *why)
{
    cluster_look_take(o, xasprintf("%s:%u can't be asked whether it has keys of slot %u, too: %s",
                                   o->address.host, o->address.port, (unsigned)o->of->slot, why));
}

static void cluster_look_on_count(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct cluster_other *o = owner;
    unsigned slot = (unsigned)o->of->slot;

    if (rc == REDIS_DOWN)
        return;
    if (rc == REDIS_ERROR_REPLY || reply_type(r) != REPLY_INT) {
        char *text = xspandup(reply_str(r));
        cluster_look_failed(o, text);
        free(text);
        return;
    }
    char *why = reply_int(r) == 0
                    ? NULL
                    : xasprintf("keys of slot %u are at %s:%u, too: it was not moved to its end "
                                "(redis-cli --cluster fix)",
                                slot, o->address.host, o->address.port);
    cluster_look_take(o, why);
}

static bool cluster_look_is(struct span nodes, const char *id)
{
    struct cluster_node n;

    while (cluster_next_node(&nodes, &n))
        if (n.myself)
            return span_is(n.id, id);
    return false;
}

static void cluster_look_on_nodes(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct cluster_other *o = owner;

    if (rc != REDIS_DOWN && !cluster_look_is(reply_str(r), o->id))
        cluster_look_failed(o, "there is another node");
}

static void cluster_look_on_state(void *owner, bool up, const char *detail)
{
    struct cluster_other *o = owner;
    char slot[8];
    struct span argv[] = {span_str("CLUSTER"), span_str("COUNTKEYSINSLOT"), {0}};
    struct span nodes[] = {span_str("CLUSTER"), span_str("NODES")};

    if (!up) {
        cluster_look_failed(o, detail);
        return;
    }
    if (o->id)
        redis_command(o->redis, nodes, COUNTOF(nodes), o->of->timeout_ms, cluster_look_on_nodes, o);
    snprintf(slot, sizeof(slot), "%u", (unsigned)o->of->slot);
    argv[2] = span_str(slot);
    redis_command(o->redis, argv, COUNTOF(argv), o->of->timeout_ms, cluster_look_on_count, o);
}

static void cluster_look_on_timer(void *owner)
{
    struct cluster_look *k = owner;

    for (size_t i = 0; i < k->n; i++)
        if (!k->others[i].answered)
            cluster_look_failed(&k->others[i], "no answer in time");
}

/* 0: there are too many of them, or it is no list of nodes. */
static size_t cluster_look_count(struct span nodes)
{
    struct cluster_node n;
    size_t lines = 0, myself = 0;

    while (nodes.len > 0 && cluster_next_node(&nodes, &n)) {
        lines++;
        myself += n.myself;
    }
    return nodes.len == 0 && myself == 1 && lines <= CLUSTER_NODES_MAX ? lines : 0;
}

/* How the others are reached, and which of them. */
struct cluster_look_way {
    const struct conf_redis *conf;
    const struct address *address;
    struct tls_policy *policy;
    const struct cluster_sight *sight;
};

static void cluster_look_at(struct cluster_look *k, const struct cluster_look_way *w,
                            const struct cluster_node *n, struct span host)
{
    struct cluster_other *o = &k->others[k->n++];

    k->left++;
    o->of = k;
    o->conf = (struct conf_redis){.tls_name = w->conf->tls_name};
    o->address = redis_hosts_address(w->address, host, n->port);
    o->id = span_is(w->sight->preferred, "unknown-endpoint") ? xspandup(n->id) : NULL;
    o->redis = redis_new(k->loop, &o->conf, &o->address, k->timeout_ms, cluster_look_on_state, o);
    if (w->policy)
        redis_use_policy(o->redis, w->policy);
}

static char *cluster_look_unasked(const struct cluster_look *k, const struct cluster_node *n,
                                  struct span host)
{
    struct span name = host.len ? host : n->id;

    return xasprintf("%.*s:%u can't be asked whether it has keys of slot %u, too: it has failed, and %s",
                     (int)name.len, (const char *)name.p, (unsigned)n->port, (unsigned)k->slot,
                     n->has_slots ? "no replica has taken its slots over"
                                  : "may have what was on its way there when it did");
}

static bool cluster_look_is_receiver(const struct cluster_node *n, struct span host,
                                     const struct address_host *receiver)
{
    return receiver && n->port == receiver->port &&
           (span_is(host, receiver->host) || span_is(n->name, receiver->host) ||
            span_is(n->address, receiver->host));
}

/* Has a master that failed what nobody else can tell of? */
static bool cluster_look_misses(const struct cluster_sight *s, const struct cluster_node *n, struct span host)
{
    return s->strict && (n->has_slots || cluster_look_is_receiver(n, host, s->receiver) ||
                         cluster_node_is_followed(n, s->nodes));
}

/* Another master. */
static void cluster_look_add(struct cluster_look *k, const struct cluster_look_way *w,
                             const struct cluster_node *n)
{
    struct span host = cluster_node_host(n, w->sight->preferred, w->sight->asked);

    if (!n->failed && host.len)
        cluster_look_at(k, w, n, host);
    else if (!k->why && (!n->failed || cluster_look_misses(w->sight, n, host)))
        k->why = cluster_look_unasked(k, n, host);
}

struct cluster_look *cluster_look(struct loop *l, const struct conf_redis *conf,
                                  const struct address *address, struct tls_policy *policy,
                                  const struct cluster_sight *sight, uint64_t timeout_ms, cluster_look_fn fn,
                                  void *owner)
{
    const struct cluster_look_way way = {conf, address, policy, sight};
    struct cluster_look *k = xcalloc(1, sizeof(*k));
    char *prefix = conf_store_prefix(conf, address);
    struct span nodes = sight->nodes;
    size_t lines = nodes.len <= CLUSTER_NODES_BYTES ? cluster_look_count(nodes) : 0;
    struct cluster_node n;
    bool good = lines > 0;

    *k = (struct cluster_look){.loop = l, .fn = fn, .owner = owner, .timeout_ms = timeout_ms};
    k->slot = cluster_slot(span_str(prefix));
    k->end.fn = cluster_look_on_end;
    k->timer = timer_new(l, cluster_look_on_timer, k);
    k->others = xcalloc(lines + 1, sizeof(*k->others));
    while (lines-- > 0 && cluster_next_node(&nodes, &n))
        if (n.master && !n.myself)
            cluster_look_add(k, &way, &n);
    if (!good && !k->why)
        k->why = xstrdup("CLUSTER NODES has an answer that is not understood");
    if (k->left == 0 || k->why)
        loop_defer(l, &k->end);
    timer_start(k->timer, timeout_ms);
    free(prefix);
    return k;
}
