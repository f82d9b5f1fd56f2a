/* What a node of a Redis Cluster says: an error, and behind the first line end the text of CLUSTER NODES. */
#include "lib/cluster.h"

#include "fuzz.h"

/* Of what a resolver and a log are given. */
static void fuzz_host(struct span host, struct span whole)
{
    MUST(fuzz_within(host, whole) && host.len <= 253);
    for (size_t i = 0; i < host.len; i++)
        MUST(host.p[i] > ' ' && host.p[i] < 0x7f && host.p[i] != '/');
}

static void fuzz_error(struct span error)
{
    struct cluster_place p = {0};
    enum cluster_word word = cluster_word(error, &p);

    if (word == CLUSTER_MOVED || word == CLUSTER_ASK) {
        MUST(p.slot < 16384 && p.port > 0);
        fuzz_host(p.host, error);
    } else {
        MUST(p.port == 0 && p.host.len == 0);
    }
    MUST(cluster_slot(error) < 16384);
}

/* As whatever the node that was asked has them called. */
static void fuzz_hosts(const struct cluster_node *n, struct span nodes)
{
    static const char *const preferred[] = {"", "ip", "hostname", "other"};

    for (size_t i = 0; i < COUNTOF(preferred); i++)
        fuzz_host(cluster_node_host(n, span_str(preferred[i]), span_str("")), nodes);
    struct span asked = span_str("asked"), host = cluster_node_host(n, span_str("unknown-endpoint"), asked);
    MUST(host.len == 0 || (host.p == asked.p && host.len == asked.len));
    fuzz_host(n->name, nodes);
    fuzz_host(n->address, nodes);
}

static void fuzz_nodes(struct span nodes)
{
    struct span rest = nodes;
    struct cluster_node n = {0};
    size_t before = rest.len;

    while (rest.len > 0 && cluster_next_node(&rest, &n)) {
        MUST(rest.len < before);
        before = rest.len;
        MUST(n.id.len > 0 && fuzz_within(n.id, nodes) && fuzz_within(n.of, nodes));
        fuzz_hosts(&n, nodes);
        MUST(n.port > 0 || n.failed);
        (void)cluster_node_is_followed(&n, nodes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t *own = fuzz_copy(span_of(data, len));
    struct span rest = span_of(own, len), error = fuzz_cut(&rest, '\n');

    fuzz_error(error);
    fuzz_nodes(rest);
    free(own);
    return 0;
}
