/* sentinel: asks the Sentinels of a sentinel:// or sentinels:// address where the master is, and how many replicas it has
 * that answer the Sentinel (redis_hosts.h). Whether that server is a master, redis.c checks
 * (ROLE); that a master which was given up writes nothing more is the task of its min-replicas-to-write. */
#ifndef IMAPFERRY_SENTINEL_H
#define IMAPFERRY_SENTINEL_H

#include "redis_hosts.h"

/* Arguments, and when fn is called: as redis_hosts_ask(). */
struct redis_hosts *sentinel_ask(struct loop *l, const struct conf_redis *conf, const struct address *address,
                                 struct tls_policy *policy, size_t *first, uint64_t timeout_ms,
                                 redis_hosts_fn fn, void *owner);

#endif
