/* sentinel: asks the Sentinels of a sentinel:// address where the master is, and how many replicas it has.
 * One after another, each with an equal share of the time, beginning with the one that answered last; the
 * first that names a master is believed. Whether it is one is for redis to see (ROLE), and that a master that
 * was given up writes nothing more is for its min-replicas-to-write. */
#ifndef IMAPFERRY_SENTINEL_H
#define IMAPFERRY_SENTINEL_H

#include "loop.h"
#include "options.h"

struct sentinel; /* one question */

/* master: its host and port; borrowed; NULL: none of them named one, and detail says what the last one did.
 * replicas: how many of them could be made master, that is, answer the Sentinel; 0 where it does not say. The
 * question is gone when this is called. */
typedef void (*sentinel_fn)(void *owner, const struct address_host *master, size_t replicas,
                            const char *detail);

/* conf is borrowed; *first is where to begin, and who answered then. Never calls back before it returned. */
struct sentinel *sentinel_ask(struct loop *l, const struct conf_redis *conf, size_t *first,
                              uint64_t timeout_ms, sentinel_fn fn, void *owner);
/* Nulls; no callback after it. NULL is fine. */
void sentinel_cancel(struct sentinel **s);

#endif
