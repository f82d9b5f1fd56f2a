/* cluster: what a store needs to know of a Redis Cluster. Its partitions (options.h: cluster://) are complete stores,
 * each under a prefix with a hash tag, "imapferry{07}", so that all its keys are in one of the cluster's 16384 slots,
 * and with one node. A script names that prefix as its only key. Nothing is ever stored under the bare prefix, and that
 * is what makes a move of the slot safe:
 *
 *   slot of the partition          what the node says            what comes of it
 *   -----------------------------+-----------------------------+------------------------------------------------------
 *   is here                        the answer
 *   is elsewhere                   MOVED slot host:port          the connection goes there: a change of master (store.h)
 *   is on its way, key by key      ASK, since there is no such   not followed: half of what a script would look for is
 *                                  key here; TRYAGAIN            at the other node, and a record that is missing means
 *                                                                "still on the old server". Nothing was executed; the
 *                                                                partition is out of reach until its slot has arrived
 *   has no node                    CLUSTERDOWN                   out of reach
 *
 * A node forgets that it was giving a slot away when its replica takes over, or when it is told to (SETSLOT STABLE).
 * It would serve what is left. So behind a change of master, and behind an ASK, all other masters are asked whether
 * they have keys of that slot (cluster_look()); where one has, the partition stays out of reach until they are
 * together. A master that has failed can't be asked. Where slots are still its own, it may have half of this one too, as when a
 * host fails that has both of them and one is replaced before the other: so that is waited for. One that has none left was
 * replaced, and its replica is asked; or it never had any, as a node that is new, and this one was the first: that is waited for by
 * whoever has seen it on its way there, and by all where a replica follows it still, which it does not once it took its place. */
#ifndef IMAPFERRY_CLUSTER_H
#define IMAPFERRY_CLUSTER_H

#include "redis_hosts.h"

/* ---- what nodes say; pure ---- */

/* The slot of a key: of what stands between the first "{" and the next "}", where that is something; else of all of it. */
uint32_t cluster_slot(struct span key);

enum cluster_word { CLUSTER_OTHER, CLUSTER_MOVED, CLUSTER_ASK, CLUSTER_TRYAGAIN, CLUSTER_DOWN };
struct cluster_place {
    uint32_t slot;
    struct span host; /* empty: that of the node that said it */
    uint16_t port;
};
/* What an error of a node is about. CLUSTER_OTHER: another thing, or a MOVED or ASK that names no place. *_r is written
 * for these two alone, and borrows from the error. */
enum cluster_word cluster_word(struct span error, struct cluster_place *_r);

struct cluster_node {
    struct span id, name /* that it announces; may be empty */, address /* may be empty */,
        of /* the id of its master */, slots /* "0-5460 5462 [93->-id]": ranges, and what is on its way */;
    uint16_t port;
    bool myself, master, failed /* by the cluster's majority, or it has no address */, has_slots;
};
/* The next line of CLUSTER NODES, eaten from *text; borrowed from it. False: there is none, or it is none. */
bool cluster_next_node(struct span *text, struct cluster_node *_r);
bool cluster_node_has(const struct cluster_node *n, uint32_t slot);
/* Has it a replica that lives? nodes: CLUSTER NODES. */
bool cluster_node_is_followed(const struct cluster_node *n, struct span nodes);
/* As what a node is to be asked for by its clients, which CLUSTER NODES does not say. preferred: cluster-preferred-endpoint-type of who was
 * asked; empty where that is not known. asked: its host, which is that of all of them with "unknown-endpoint". Empty: there is none. */
struct span cluster_node_host(const struct cluster_node *n, struct span preferred, struct span asked);
enum { CLUSTER_NODES_MAX = 1000, CLUSTER_NODES_BYTES = 4 << 20 }; /* what is more is not believed */

/* ---- where is it? ---- */

/* address: of the partition. The first of its hosts that says which node has the partition, itself or another one, is
 * believed; replicas are those that the cluster believes alive. Arguments, and when fn is called: as redis_hosts_ask(). */
struct redis_hosts *cluster_ask(struct loop *l, const struct conf_redis *conf, const struct address *address,
                                struct tls_policy *policy, size_t *first, uint64_t timeout_ms,
                                redis_hosts_fn fn, void *owner);

/* ---- is all of it there? ---- */

struct cluster_look;
/* why: NULL where no other master has a key of the slot; else where there are some, or which master did not answer. */
typedef void (*cluster_look_fn)(void *owner, const char *why);
/* What it goes by; borrowed for the call. */
struct cluster_sight {
    struct span nodes;            /* CLUSTER NODES of the node that has the partition */
    struct span preferred, asked; /* of that node: cluster_node_host() */
    bool
        strict; /* its master has changed, or the slot was seen on its way: a master that has failed may have half of it */
    const struct address_host *receiver; /* where the slot was seen on its way to; NULL: nowhere */
};
/* All other masters that have not failed are asked at once; where they are called by the host of this one, whether they are who they
 * should be, too. fn is never called before this has returned. */
struct cluster_look *cluster_look(struct loop *l, const struct conf_redis *conf,
                                  const struct address *address, struct tls_policy *policy,
                                  const struct cluster_sight *sight, uint64_t timeout_ms, cluster_look_fn fn,
                                  void *owner);
void cluster_look_cancel(struct cluster_look **k);

#endif
