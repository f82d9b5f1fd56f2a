/* redis: one connection to Redis: RESP by hiredis' formatter and reader over our own stream, so that it
 * speaks TCP, TLS and UNIX sockets alike. The only file that includes hiredis.
 *
 * It connects by itself, signs in (AUTH, SELECT), and after a loss tries again, 100 ms to 2 s apart. With a
 * sentinel:// address the Sentinels are asked for the master at each of these attempts, it has to be one
 * (ROLE), and while it is up they are asked again, every 5 s: where they name another, the connection is
 * given up. Commands are pipelined and answered in order. A command that is given while there is no
 * connection, or whose connection breaks before its answer, ends with REDIS_DOWN: whether it was executed is
 * then unknown, so callers use scripts that can be repeated. A command unanswered for its timeout breaks the
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
/* up: a connection is there and signed in (the first command may be given from inside). !up: it broke; detail
 * says why, borrowed. */
typedef void (*redis_state_fn)(void *owner, bool up, const char *detail);

/* One element is at most 64 MiB, an answer at most 1,000,000 elements and 256 MiB: what exceeds it breaks the
 * connection. conf must live as long. fn is told of a failure to connect too, but not again
 * while the reason stays the same. */
struct redis *redis_new(struct loop *l, const struct conf_redis *conf, uint64_t timeout_ms, redis_state_fn fn,
                        void *owner);
void redis_free(struct redis **r);
/* What Redis' system has not taken for so long is not sent any more (stream.h, silence_ms), even where this
 * process can't do anything about it. For connections made from now on. */
void redis_set_silence(struct redis *r, uint64_t ms);
bool redis_is_up(const struct redis *r);
/* How many replicas could be made master, by what a Sentinel said last; 0 where none did. */
size_t redis_replicas(const struct redis *r);
/* Breaks the connection and connects anew (its identity turned out wrong). */
void redis_reset(struct redis *r, const char *why);

/* fn may be NULL. timeout_ms 0: the default; blocking commands give their own. Never calls back before it
 * returned. */
void redis_command(struct redis *r, const struct span *argv, size_t argc, uint64_t timeout_ms, redis_fn fn,
                   void *owner);
/* No callback for owner any more; the commands themselves are not taken back. */
void redis_forget(struct redis *r, void *owner);

#endif
