/* redis_hosts: asks the hosts that an address names, which are Sentinels or nodes of a cluster, where its store is. They
 * are asked one after another, each as a Redis by itself and with an equal share of the time, beginning with the one that
 * answered last; the first that names a server is believed. What is asked, and what the answers mean, is the business of
 * sentinel.c and cluster_ask.c, by which a question is begun. */
#ifndef IMAPFERRY_REDIS_HOSTS_H
#define IMAPFERRY_REDIS_HOSTS_H

#include "loop.h"
#include "options.h"
#include "redis.h"
#include "tls.h"

struct redis_hosts; /* one question */

/* server: its host and port, borrowed; NULL: no host named one, and detail says what the last one did.
 * replicas: how many of its replicas could be made master; 0 where that was not said.
 * The question is gone when this is called. */
typedef void (*redis_hosts_fn)(void *owner, const struct address_host *server, size_t replicas,
                               const char *detail);
/* Nulls *h; no callback comes after it. *h may be NULL. */
void redis_hosts_cancel(struct redis_hosts **h);

/* One of the servers behind address as a Redis by itself, with the credentials for the Sentinels where address has such; for
 * address_free(). Credentials are copied: those of the configuration are exchanged when it is read anew. */
struct address redis_hosts_address(const struct address *address, struct span host, uint16_t port);

/* ---- for a module that knows what to ask ---- */

struct redis_hosts_kind {
    const char *called;                 /* such a host, in messages */
    void (*ask)(struct redis_hosts *h); /* one is connected: the time for redis_hosts_command() */
};

/* conf and kind are borrowed, and so is the address, one with hosts. policy is for TLS, as redis.h makes it; NULL without;
 * borrowed for the call. *first is the number of the host to begin with, and becomes that of the one that answered. fn is
 * never called before redis_hosts_ask() has returned. */
struct redis_hosts *redis_hosts_ask(const struct redis_hosts_kind *kind, struct loop *l,
                                    const struct conf_redis *conf, const struct address *address,
                                    struct tls_policy *policy, size_t *first, uint64_t timeout_ms,
                                    redis_hosts_fn fn, void *owner);
const struct conf_redis *redis_hosts_conf(const struct redis_hosts *h);
const struct address *redis_hosts_of(const struct redis_hosts *h); /* the address that names them */

/* To the host that is asked. h is the owner of fn; REDIS_DOWN needs nothing, since the next host is asked then. */
void redis_hosts_command(struct redis_hosts *h, const struct span *argv, size_t argc, redis_fn fn);
/* It has named a server, which the end of the question will bring; an empty host: that of the one that is asked. */
void redis_hosts_name(struct redis_hosts *h, struct span host, uint16_t port);
/* It has named itself. */
void redis_hosts_name_itself(struct redis_hosts *h);
/* What it has named; NULL: nothing yet, or it was given up. */
const struct address_host *redis_hosts_named(const struct redis_hosts *h);
bool redis_hosts_is_itself(const struct redis_hosts *h);
/* The end: the owner is called, h is gone. */
void redis_hosts_finish(struct redis_hosts *h, size_t replicas);
/* On to the next host; why, or the error that it answered, is what this one did. */
void redis_hosts_give_up(struct redis_hosts *h, const char *why);
void redis_hosts_refused(struct redis_hosts *h, const struct reply *error);

#endif
