/* store: Redis as imapferry's source of truth: a connection to a Redis whose identity was checked, and the
 * scripts.
 *
 * At each connect the script "hello" compares the store's id with the one that this process read first, and
 * the server's run_id, and whose replica it was before it was promoted, with those on record. Others mean a
 * restart or a failover, which gives a new "generation" (the time in ms, so that two servers give none twice)
 * and opens a quarantine. A store that is missing (never made by `imapferryctl init`, or
 * emptied), or that has another id, is STORE_FOREIGN: nothing works on it, since an empty Redis must never
 * mean "everybody is on the old server".
 *
 * A site may have several stores (stores.h). Each has on record which one it is, of how many, and an id that they
 * share. Where the configuration says otherwise (an url is missing, there is one more, two are exchanged, one is of
 * another site), accounts would be looked for in a store that does not know them: it is STORE_FOREIGN, too. */
#ifndef IMAPFERRY_STORE_H
#define IMAPFERRY_STORE_H

#include "conf.h"
#include "redis.h"

enum store_state { STORE_CONNECTING, STORE_UP, STORE_DOWN, STORE_FOREIGN };

struct store;
/* Called at each change of state, at each new generation (state is STORE_UP again then), and at each new
 * reason of STORE_DOWN. */
typedef void (*store_state_fn)(void *owner, enum store_state state, const char *detail);

/* What the stores of one site have in common. It is made with them (`init`), and the first one that answers tells
 * this process. */
struct store_site {
    char id[40]; /* "": not known, or the site has one store alone */
};

/* nth: which url of the section redis. site: borrowed. */
struct store *store_new(struct loop *l, const struct conf *conf, size_t nth, struct store_site *site,
                        uint64_t timeout_ms, store_state_fn fn, void *owner);
/* A second connection to the same store, for what must not wait behind the calls of the first one (a lease).
 * The two have one identity: whichever says "hello" first has read the id for both. Where one of them finds a
 * newer generation, the other asks for its own with a "hello", and a connection that is still to a former
 * master then is made anew. first must outlive the new store, and can have only one beside it. */
struct store *store_new_beside(struct store *first, uint64_t timeout_ms, store_state_fn fn, void *owner);
void store_free(struct store **s);
/* As redis_set_silence(). */
void store_set_silence(struct store *s, uint64_t ms);
enum store_state store_state(const struct store *s);
struct loop *store_loop(const struct store *s);
const struct conf *store_conf(const struct store *s);
/* Which url of the section redis, and what it says; borrowed. */
size_t store_nth(const struct store *s);
/* How many stores the site has and how accounts are spread over them, as each has it on record: "1", "3", "3/domain"; borrowed. */
const char *store_of_how_many(const struct store *s);
const struct address *store_address(const struct store *s);
struct store_site *store_site(const struct store *s);
/* Inside of a callback that did not get what it asked for: the reason, as a sentence for people (for example
 * "Redis does not answer"; where Redis did answer, with what). Borrowed until the next answer. */
const char *store_why(const struct store *s);
/* Why it is not STORE_UP, as was told last, for people; borrowed until the loop goes round. */
const char *store_detail(const struct store *s);
/* Inside of such a callback: is the error about the records that the call was for, and not about the state
 * that Redis is in now? Then the same call will fail again. */
bool store_refuses(const struct store *s);
/* For callers that get an answer which is none of those that exist, or that holds what no program of ours
 * writes: store_why() then says so, with what, a text for people, and store_refuses() is true. */
void store_not_understood(struct store *s, const char *what);
/* True while the store is STORE_FOREIGN because it says of another backend than this configuration
 * (migration.source) that accounts without a record live there; it becomes STORE_UP once the two agree. */
bool store_is_at_odds(const struct store *s);
/* True while it is STORE_FOREIGN because this Redis holds no store: none was made, or it lost it. What holds the record of
 * another store, or of another place in the site, is not empty. */
bool store_is_empty(const struct store *s);
/* True while it is empty because a restore is under way, which ends with a store: worth to be waited for. */
bool store_is_coming(const struct store *s);
/* For daemons: from now on, while the store is STORE_FOREIGN, that is logged as an error each minute
 * (store_missing, store_differs). */
void store_sound_alarm(struct store *s);
/* Behind store_new(), for whoever does something where no record is found: a partition of a cluster is looked at (cluster.h) also where
 * this process has only begun, and where there is no store in it. */
void store_begin_with_a_look(struct store *s);
uint64_t store_generation(const struct store *s);
/* The store's id, NULL until it is known; borrowed. */
const char *store_id(const struct store *s);
/* By what the site is known: that id, or, where it has several stores, the one that they share. NULL until it is known; borrowed. */
const char *store_site_id(const struct store *s);
/* Milliseconds that the quarantine still lasts as of the last hello, 0 = none. */
uint64_t store_quarantine_ms(const struct store *s);
/* How long a quarantine has to last after a change of server, for this program's configuration (the store
 * keeps the longest that any program asked for). It is the sum of the long lease, after which the last proxy
 * that knew the old master is silent, or the lease of a job where that is longer, after which so is its
 * owner; of a tenth of it, for clocks that drift; and of the time for which a master that was cut off goes on
 * by itself (min-replicas-max-lag). */
uint64_t store_quarantine_length_ms(const struct store *s);
/* How many replicas have to confirm a write, where so many are connected now. It is the most that were
 * connected, or that a Sentinel named when the connection was made, until they have been fewer for 20 s (for
 * 5 s under a new master, since the replicas of the old one take that long to join it); and never less than
 * the server demands (min-replicas-to-write). */
uint64_t store_replicas_wanted(struct store *s, uint64_t connected);
/* Asks how many replicas are connected, for store_replicas_wanted(). A process that waits for replicas calls
 * it every second, so that a replica which was there between two waits is known of. */
void store_look_at_replicas(struct store *s);

/* A key of this store: the prefix, ":" and the text; to free. */
char *store_key(const struct store *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* keys: what SCAN has found by store_key(s, "KIND:*"), as an array. What stands behind "KIND:" goes to names, which has room
 * for as many as there are keys; borrowed of keys. A key that does not begin so was not asked for, and is left out. How
 * many names there are. */
size_t store_names(const struct store *s, const char *kind, const struct reply *keys, struct span *names);

/* Runs a script of lib/route; name is a constant. That is an FCALL of its function (store_library.h), and a
 * second one where Redis did not have the library. The scripts build their keys from the prefix, which goes
 * as KEYS[1]; args go as ARGV. Where the store is not STORE_UP, fn gets REDIS_DOWN at once (but for "hello",
 * "init", "restore", "reserve", "carry", "source" and "reopen", which the store itself or imapferryctl sends).
 *
 * Scripts and commands are executed in the order in which they were given. Where that can't be kept, since
 * the library was lost and came back between two of them, the first one is not executed: REDIS_DOWN, as for
 * an answer that was lost. */
void store_script(struct store *s, const char *name, const struct span *args, size_t n, redis_fn fn,
                  void *owner);
/* The same on behalf of who: store_forget(who) drops the call, and gives owner to drop, which frees it. So
 * does store_free(). For the files that wrap scripts (route, registry). */
typedef void (*store_drop_fn)(void *owner);
void store_script_for(struct store *s, const void *who, const char *name, const struct span *args, size_t n,
                      redis_fn fn, void *owner, store_drop_fn drop);
void store_command_for(struct store *s, const void *who, const struct span *argv, size_t argc, redis_fn fn,
                       void *owner, store_drop_fn drop);
/* To be called with the generation that an answer or an event named: where it is another one than the
 * store's, "hello" is said again. */
void store_heard(struct store *s, uint64_t generation);
/* A plain command, for example a read. Blocking ones belong on a connection of their own (redis.h). */
void store_command(struct store *s, const struct span *argv, size_t argc, redis_fn fn, void *owner);
/* WAIT on this connection until all replicas have the writes that were answered on it: those that are there,
 * and those that were there a moment ago (one that is missing may be becoming the master), and at least as
 * many as the server demands to write at all. rc is REDIS_OK only when so many have them; where none are
 * wanted, it answers at once. It takes timeout_ms at most, and never longer than a quarter of the job lease,
 * whose renewals stand behind it on the connection. All who wait at that moment do so together, by one WAIT
 * (store_waits.h), however many they are; who asks while it is under way is answered with them. */
enum { STORE_WAIT_MS = 2000 }; /* long enough for replicas that keep up */
void store_wait(struct store *s, uint64_t timeout_ms, redis_fn fn, void *owner);
/* Are there replicas to wait for, as far as this process knows? */
bool store_has_replicas(const struct store *s);
/* Drops all callbacks of owner, those of the calls of route.h and registry.h too. */
void store_forget(struct store *s, void *owner);

/* Does Redis take writes at this moment? It is asked by a command that writes nothing. why is NULL where it
 * does, else what Redis answers (memory is full, replicas are missing, the disk failed ...), for people,
 * borrowed. answered is false where there was no answer. */
typedef void (*store_writes_fn)(void *owner, bool answered, const char *why);
void store_try_write(struct store *s, store_writes_fn fn, void *owner);

/* May this Redis forget a route that it was told? Looks at the append-only file, fsync, eviction, role and
 * replicas. With Sentinels, or in a cluster with replicas, a Redis may forget where it fsyncs only every second (a quick restart loses what
 * replicas have confirmed), and where it writes without a replica (a master that the Sentinels gave up goes
 * on writing then). */
enum durability {
    DURABILITY_GOOD,
    DURABILITY_WARN, /* detail says what to look at (also where a managed Redis does not show its settings) */
    DURABILITY_UNSAFE, /* it may forget: refuse to migrate, unless store_override is set */
    DURABILITY_UNKNOWN /* no answer */
};
/* detail: for people, borrowed, "" when good. */
typedef void (*store_durability_fn)(void *owner, enum durability d, const char *detail);
void store_durability(struct store *s, store_durability_fn fn, void *owner);

#endif
