/* store: Redis as imapferry's source of truth: a connection whose identity was checked, and the scripts.
 *
 * At each connect the script "hello" compares the store's id with the one that this process read first, and
 * the run_id of the server with the one on record (another one: a restart or failover; it raises "generation"
 * and opens a quarantine). A store that is missing (never made by `imapferryctl init`, or emptied) or another
 * one is STORE_FOREIGN: nothing works on it, since an empty Redis must never mean "everybody is on the old
 * server". */
#ifndef IMAPFERRY_STORE_H
#define IMAPFERRY_STORE_H

#include "conf.h"
#include "redis.h"

enum store_state { STORE_CONNECTING, STORE_UP, STORE_DOWN, STORE_FOREIGN };

struct store;
/* Told of each change, of each new generation (state is STORE_UP again then), and of each new reason of
 * STORE_DOWN. */
typedef void (*store_state_fn)(void *owner, enum store_state state, const char *detail);

struct store *store_new(struct loop *l, const struct conf *conf, uint64_t timeout_ms, store_state_fn fn,
                        void *owner);
/* A second connection to the same store, for what must not wait behind the calls of the first (a lease). The
 * two have one identity: whichever says hello first has read the id for both. Where one of them finds a newer
 * generation, the other is asked for its own, and one that is still at a former master then is made anew.
 * first lives longer; it has one beside it. */
struct store *store_new_beside(struct store *first, uint64_t timeout_ms, store_state_fn fn, void *owner);
void store_free(struct store **s);
/* As redis_set_silence(). */
void store_set_silence(struct store *s, uint64_t ms);
enum store_state store_state(const struct store *s);
struct loop *store_loop(const struct store *s);
const struct conf *store_conf(const struct store *s);
/* Inside of a callback that was not told what it asked for: why, as a sentence for people ("Redis does not
 * answer"; where it did, by what). Borrowed until the next answer. */
const char *store_why(const struct store *s);
/* Was it an error about the records that were meant, not about Redis as it is now? Saying it again changes
 * nothing. */
bool store_refuses(const struct store *s);
/* The answer was none of those that there are, or holds what nobody here writes. */
void store_not_understood(struct store *s, const char *what);
/* STORE_FOREIGN since the store says of another backend that accounts without a record live there than this
 * configuration does (migration.source); it becomes STORE_UP once they agree. */
bool store_is_at_odds(const struct store *s);
/* For daemons: while the store is STORE_FOREIGN, that is said in the log as an error, each minute
 * (store_missing, store_differs). */
void store_sound_alarm(struct store *s);
uint64_t store_generation(const struct store *s);
/* The store's id, NULL until it is known; borrowed. */
const char *store_id(const struct store *s);
/* Milliseconds that the quarantine still lasts as of the last hello, 0 = none. */
uint64_t store_quarantine_ms(const struct store *s);
/* How long one has to last after a change of server, for this program's configuration (the store keeps the
 * longest that any program asked for): the long lease, after which the last proxy that knew the old master is
 * silent (that of a job, where it is longer: so is its owner), a tenth for clocks that drift, and what a
 * master that was cut off goes on for on its own (min-replicas-max-lag). */
uint64_t store_quarantine_length_ms(const struct store *s);
/* How many replicas have to confirm, where so many are connected now: as many as there were, or as a Sentinel
 * named when the connection was made, until they have been fewer for 20 s (5 s under a new master, which
 * those of the old one join), and never less than the server demands (min-replicas-to-write). */
uint64_t store_replicas_wanted(struct store *s, uint64_t connected);
/* Asks how many are connected, for store_replicas_wanted(): every second in a process that waits for them, so
 * that one that was there between two waits is known of. */
void store_look_at_replicas(struct store *s);

/* A key of this store: prefix ":" and the text, to free. */
char *store_key(const struct store *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Runs a script of lib/route by name, a constant: FCALL of its function (store_library.h), and once more
 * where Redis did not have it. Scripts and commands are executed in the order in which they were given; where
 * that can't be kept, since the library was lost and came back between two of them, the first one is not
 * executed: REDIS_DOWN, as for an answer that was lost. The scripts build their keys from the prefix, which
 * goes as KEYS[1]; args as ARGV. A REDIS_DOWN at once where the store is not STORE_UP (but for "hello",
 * "init", "restore" and "source", which it sends itself or ctl does). */
void store_script(struct store *s, const char *name, const struct span *args, size_t n, redis_fn fn,
                  void *owner);
/* The same on behalf of who, whom store_forget() names: owner is then given to drop, which frees it. For the
 * files that wrap scripts (route, registry). drop is called too where the store is freed. */
typedef void (*store_drop_fn)(void *owner);
void store_script_for(struct store *s, const void *who, const char *name, const struct span *args, size_t n,
                      redis_fn fn, void *owner, store_drop_fn drop);
void store_command_for(struct store *s, const void *who, const struct span *argv, size_t argc, redis_fn fn,
                       void *owner, store_drop_fn drop);
/* An answer or an event named this generation: where it is another one, "hello" is said again. */
void store_heard(struct store *s, uint64_t generation);
/* A plain command, e.g. reads. Blocking ones belong on a connection of their own (redis.h). */
void store_command(struct store *s, const struct span *argv, size_t argc, redis_fn fn, void *owner);
/* WAIT on this connection for all replicas that are there or were a moment ago (one that is missing may be
 * becoming the master), and for as many as the server demands to write at all (neither: answers at once); rc
 * REDIS_OK only when so many have it. It takes no longer than a quarter of the job lease either, whose
 * renewals stand behind it on the connection. */
enum { STORE_WAIT_MS = 2000 }; /* long enough for replicas that keep up */
void store_wait(struct store *s, uint64_t timeout_ms, redis_fn fn, void *owner);
/* Are there replicas to wait for, as far as is known? */
bool store_has_replicas(const struct store *s);
/* All callbacks of owner are dropped, those of the calls of route.h and registry.h too. */
void store_forget(struct store *s, void *owner);

/* Does Redis take writes at this moment? It is asked by a command that writes nothing. why: NULL where it
 * does; else what it answers (memory is full, replicas are missing, the disk failed ...), for people,
 * borrowed. */
typedef void (*store_writes_fn)(void *owner, bool answered, const char *why);
void store_try_write(struct store *s, store_writes_fn fn, void *owner);

/* May this Redis forget a route that it was told? Looks at append-only file, fsync, eviction, role and
 * replicas. With Sentinels it does where it fsyncs but every second (a quick restart loses what replicas have
 * confirmed) or writes without a replica (so does a master that was given up). */
enum durability {
    DURABILITY_GOOD,
    DURABILITY_WARN, /* detail says what to look at (also where a managed Redis does not show its settings) */
    DURABILITY_UNSAFE, /* it may: refuse to migrate, unless store_override */
    DURABILITY_UNKNOWN /* no answer */
};
/* detail: for people, borrowed, "" when good. */
typedef void (*store_durability_fn)(void *owner, enum durability d, const char *detail);
void store_durability(struct store *s, store_durability_fn fn, void *owner);

#endif
