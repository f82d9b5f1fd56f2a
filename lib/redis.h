/* redis: one connection to Redis: RESP by hiredis' formatter and reader over our own stream, so that it
 * speaks TCP, TLS and UNIX sockets alike. The only file that includes hiredis.
 *
 * It connects by itself, signs in (AUTH, SELECT), and after a loss tries again, 100 ms to 2 s apart. With a
 * sentinel:// or sentinels:// address it asks the Sentinels for the master at each of these attempts, and checks that the
 * server is a master (ROLE); while the connection is up it asks them again, every 5 s, and gives the
 * connection up where they name another master. With a cluster:// or clusters:// address it asks nodes where the
 * partition is (cluster.h); where an answer says that it is elsewhere, on its way, or nowhere, the connection is given up,
 * and they are asked again.
 *
 * Commands are pipelined and answered in order. A command that is given while there is no connection, or
 * whose connection breaks before its answer, ends with REDIS_DOWN: whether it was executed is then unknown,
 * so callers use scripts that can be repeated. A command that is not answered within its timeout breaks the
 * connection. */
#ifndef IMAPFERRY_REDIS_H
#define IMAPFERRY_REDIS_H

#include "loop.h"
#include "options.h"
#include "tls.h"

struct redis;
struct reply; /* an answer; borrowed until the callback returns */

enum reply_type { REPLY_NIL, REPLY_INT, REPLY_STRING, REPLY_STATUS, REPLY_ERROR, REPLY_ARRAY };
enum reply_type reply_type(const struct reply *r);
int64_t reply_int(const struct reply *r);     /* REPLY_INT, or a string that is a number; else 0 */
struct span reply_str(const struct reply *r); /* strings, statuses, errors; else empty */
size_t reply_count(const struct reply *r);    /* REPLY_ARRAY; else 0 */
const struct reply *reply_at(const struct reply *r, size_t i); /* a REPLY_NIL past the end */
const struct reply *reply_none(void);                          /* a REPLY_NIL */
/* In an array of pairs (HGETALL): the value behind the name; a REPLY_NIL where absent. */
const struct reply *reply_get(const struct reply *r, const char *name);

enum redis_rc { REDIS_OK, REDIS_ERROR_REPLY, REDIS_DOWN };
typedef void (*redis_fn)(void *owner, enum redis_rc rc, const struct reply *r);
/* up: the connection is there and signed in (the first command may be given from inside the callback). !up:
 * it broke; detail says why, borrowed. */
typedef void (*redis_state_fn)(void *owner, bool up, const char *detail);

/* One element is at most 64 MiB, an answer at most 1,000,000 elements and 256 MiB: what exceeds that breaks
 * the connection. conf, and the address, which is one of conf, must live as long as the connection. fn is told of a failure to connect too, but not
 * again while the reason stays the same. */
struct redis *redis_new(struct loop *l, const struct conf_redis *conf, const struct address *address,
                        uint64_t timeout_ms, redis_state_fn fn, void *owner);
/* To be called right behind redis_new(): with TLS it goes by this policy, which it holds, and not by the files of conf. */
void redis_use_policy(struct redis *r, struct tls_policy *policy);
void redis_free(struct redis **r);
/* What the system that Redis runs on has not taken for ms milliseconds is not sent any more (stream.h,
 * silence_ms), even where this process can't do anything about it. Holds for connections made from now on. */
void redis_set_silence(struct redis *r, uint64_t ms);
bool redis_is_up(const struct redis *r);
/* How many replicas could be made master, as a Sentinel said last; 0 where none said it. */
size_t redis_replicas(const struct redis *r);
/* Of a partition of a cluster: was its slot on its way to another node since the last look at all of it that found nothing amiss? */
bool redis_was_moving(const struct redis *r);
/* It was, as another connection has seen, which knows where to, too: this one is broken, and made anew. */
void redis_doubt(struct redis *r, const struct redis *seen_by, const char *why);
/* Looks whether all of it is with the server of this connection (cluster_look()). changed: that is another one than before. why:
 * NULL where it is. Not called where the connection breaks before. */
typedef void (*redis_look_fn)(void *owner, const char *why);
void redis_look(struct redis *r, bool changed, redis_look_fn fn, void *owner);
/* Breaks the connection and connects anew (when the server turned out to be the wrong one). why is a text for
 * the log. */
void redis_reset(struct redis *r, const char *why);

/* Sends a command. fn may be NULL. timeout_ms 0: that of redis_new(); blocking commands give their own. fn is
 * never called before redis_command() has returned. */
void redis_command(struct redis *r, const struct span *argv, size_t argc, uint64_t timeout_ms, redis_fn fn,
                   void *owner);
/* From now on nothing is called for owner; the commands themselves are not taken back. */
void redis_forget(struct redis *r, void *owner);

#endif
