/* sentinel: asks the Sentinels of a sentinel:// or sentinels:// address where the master is, and how many replicas it has.
 * They are asked one after another, each with an equal share of the time, beginning with the one that
 * answered last; the first that names a master is believed. Whether that server is a master, redis.c checks
 * (ROLE); that a master which was given up writes nothing more is the task of its min-replicas-to-write. */
#ifndef IMAPFERRY_SENTINEL_H
#define IMAPFERRY_SENTINEL_H

#include "loop.h"
#include "options.h"

struct sentinel; /* one question */

/* master: its host and port, borrowed; NULL: no Sentinel named one, and detail says what the last one did.
 * replicas: how many replicas could be made master, that is, answer the Sentinel; 0 where it does not say.
 * The question is gone when this is called. */
typedef void (*sentinel_fn)(void *owner, const struct address_host *master, size_t replicas,
                            const char *detail);

/* conf is borrowed, and so is the address, one with Sentinels. policy is for TLS, as redis.h makes it; NULL without; borrowed for the call. *first is the number of the Sentinel to begin with, and becomes that of the one that
 * answered. fn is never called before sentinel_ask() has returned. */
struct sentinel *sentinel_ask(struct loop *l, const struct conf_redis *conf, const struct address *address,
                              struct tls_policy *policy, size_t *first, uint64_t timeout_ms, sentinel_fn fn,
                              void *owner);
/* Nulls *s; no callback comes after it. *s may be NULL. */
void sentinel_cancel(struct sentinel **s);

#endif
