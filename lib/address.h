/* address: what a configured URL or listener names. Pure.
 *
 * Backends and listeners:
 *   imaps://host[:993]  imap+starttls://host[:143]  imap://host[:143]  imap+unix:///path
 *   pop3s://host[:995]  pop3+starttls://host[:110]  pop3://host[:110]
 *   behind those of a listener, "?proxy_protocol": each connection begins with a PROXY header (proxyproto.h)
 * What staff and monitoring ask (http_server.h):
 *   http://host[:80]  https://host[:443]  http+unix:///path
 * What mail servers ask:
 *   inet://host[:8026]  unix:///path
 * The store:
 *   redis://[[user]:password@]host[:6379][/db]  rediss://...  unix:///path[?db=N]
 *   sentinel://[[user]:password@]h1[:26379],h2[:26379]/NAME[/db][?sentinel_auth=[user]:password]
 *       the store whose master the Sentinels call NAME; the first user and password are the store's, the last
 *       ones the Sentinels'
 *   sentinels://...  the same, with TLS to the Sentinels and to the master
 *   cluster://[[user]:password@]h1[:6379],h2[:6379]?partitions=N
 *       N stores in a Redis Cluster; the hosts are some of its nodes, which tell where the others are
 *   clusters://...  the same, with TLS to all nodes
 *       "user@" and "sentinel_auth=user" are for a password that stands in a file. */
#ifndef IMAPFERRY_ADDRESS_H
#define IMAPFERRY_ADDRESS_H

#include "base.h"

enum address_scheme {
    ADDRESS_IMAPS,
    ADDRESS_IMAP_STARTTLS,
    ADDRESS_IMAP,
    ADDRESS_IMAP_UNIX,
    ADDRESS_POP3S,
    ADDRESS_POP3_STARTTLS,
    ADDRESS_POP3,
    ADDRESS_HTTP,
    ADDRESS_HTTPS,
    ADDRESS_HTTP_UNIX,
    ADDRESS_INET,
    ADDRESS_REDIS,
    ADDRESS_REDISS,
    ADDRESS_REDIS_UNIX,
    ADDRESS_SENTINEL,
    ADDRESS_SENTINELS,
    ADDRESS_CLUSTER,
    ADDRESS_CLUSTERS
};

enum { CLUSTER_PARTITIONS_MAX = 64 };

struct address_host {
    char *host; /* owned */
    uint16_t port;
};

struct address {
    enum address_scheme scheme;
    char *host; /* owned; name or address, no brackets; NULL for UNIX sockets, Sentinels and clusters */
    uint16_t port;
    char *path;          /* owned; UNIX sockets */
    bool proxy_protocol; /* "?proxy_protocol" stands behind it */
    char *user;          /* owned; redis ACL user, NULL = none */
    char *password;      /* owned; redis, NULL = none */
    uint32_t db;
    struct address_host *hosts; /* owned; the Sentinels, or nodes of the cluster; at least one */
    size_t n_hosts;
    char *master;                            /* owned; what the Sentinels call the master */
    char *sentinel_user, *sentinel_password; /* owned; NULL = none */
    uint32_t partitions;                     /* of a cluster; else 0 */
    uint32_t
        partition; /* which of them is meant, from 1; 0 = the cluster (conf.h gives each store its own) */
};

/* False: *error is a text to free that says what was expected. */
bool address_parse(const char *text, struct address *_r, char **error) MUST_CHECK;
void address_free(struct address *a);
/* True for imaps, imap+starttls, pop3s, pop3+starttls, https, rediss, sentinels and clusters. */
bool address_has_tls(const struct address *a);
/* True for sentinel and sentinels. */
bool address_has_sentinels(const struct address *a);
/* True for cluster and clusters. */
bool address_has_cluster(const struct address *a);
bool scheme_is_pop3(enum address_scheme s);
/* TLS from the first byte, of imaps, pop3s, https, rediss, sentinels and clusters; and behind a command in clear (STARTTLS, STLS). */
bool scheme_begins_with_tls(enum address_scheme s);
bool scheme_turns_to_tls(enum address_scheme s);
/* The address as text for a log, without passwords and without "?proxy_protocol"; to free. */
char *address_text(const struct address *a);

#endif
