/* What Redis promises to keep: replicas waited for, and the settings under which a route may be forgotten. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store.h"
#include "store_waits.h"
#include "xalloc.h"

/* "name:value" in the text of INFO; an empty span where it is not. */
static struct span info_field(struct span info, const char *name)
{
    size_t n = strlen(name);
    while (info.len > 0) {
        const uint8_t *end = memchr(info.p, '\n', info.len);
        size_t line = end ? (size_t)(end - info.p) : info.len;
        if (line > n && memcmp(info.p, name, n) == 0 && info.p[n] == ':') {
            size_t len = line - n - 1;
            if (len > 0 && info.p[line - 1] == '\r')
                len--;
            return span_of(info.p + n + 1, len);
        }
        info = span_of(info.p + line, info.len - line);
        if (info.len > 0)
            info = span_of(info.p + 1, info.len - 1);
    }
    return span_of(NULL, 0);
}

static uint64_t info_number(struct span info, const char *name)
{
    uint64_t n = 0;
    return span_u64(info_field(info, name), UINT64_MAX, &n) ? n : 0;
}

/* ---- replicas ---- */

static void ask_replicas(struct store *s);

static void on_waited(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct store *s = owner;
    struct store_waits *w = store_waits(s);
    if (rc == REDIS_OK && w->timeout_ms > 0 && (reply_int(r) < 0 || (uint64_t)reply_int(r) < w->replicas))
        rc = REDIS_ERROR_REPLY;
    w->asking = false;
    waits_end(w, rc, r);
    ask_replicas(s);
}

enum { WAIT_SHARE = 4 };

/* WAIT with 0 replicas answers at once. A master that demands replicas and has fewer has not enough. */
static void on_replicas(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct store *s = owner;
    char replicas[24], timeout[24];
    if (rc != REDIS_OK) {
        on_waited(s, rc, r);
        return;
    }
    struct span info = reply_str(r);
    uint64_t n = store_replicas_wanted(s, info_number(info, "connected_slaves"));
    if (n == 0 && info_field(info, "min_slaves_good_slaves").len > 0)
        n = 1;
    if (!waits_any(store_waits(s))) { /* all were forgotten */
        store_waits(s)->asking = false;
        return;
    }
    snprintf(replicas, sizeof(replicas), "%" PRIu64, n);
    snprintf(timeout, sizeof(timeout), "%" PRIu64, waits_begin(store_waits(s), n));
    struct span argv[] = {span_str("WAIT"), span_str(replicas), span_str(timeout)};
    store_command(s, argv, COUNTOF(argv), on_waited, s);
}

/* One question for all who wait; who comes until the WAIT is answered waits with them. */
static void ask_replicas(struct store *s)
{
    struct span argv[] = {span_str("INFO"), span_str("replication")};
    if (store_waits(s)->asking || !waits_any(store_waits(s)))
        return;
    store_waits(s)->asking = true;
    store_command(s, argv, COUNTOF(argv), on_replicas, s);
}

void store_wait(struct store *s, uint64_t timeout_ms, redis_fn fn, void *owner)
{
    uint64_t share = store_conf(s)->migrator.job_lease_ms / WAIT_SHARE;
    timeout_ms = timeout_ms < share ? timeout_ms : share;
    waits_add(store_waits(s), timeout_ms ? timeout_ms : 1, fn, owner);
    ask_replicas(s);
}

static void on_look(void *owner, enum redis_rc rc, const struct reply *r)
{
    if (rc == REDIS_OK)
        store_replicas_wanted(owner, info_number(reply_str(r), "connected_slaves"));
}

void store_look_at_replicas(struct store *s)
{
    struct span argv[] = {span_str("INFO"), span_str("replication")};
    if (store_state(s) == STORE_UP)
        store_command(s, argv, COUNTOF(argv), on_look, s);
}

/* ---- durability ---- */

struct check {
    struct store *s;
    store_durability_fn fn;
    void *owner; /* borrowed */
    size_t step;
    bool shown; /* CONFIG was answered */
    bool aof, evicts;
    uint64_t replicas;
    enum durability found;
    struct buf text;
};

static void check_drop(void *owner)
{
    struct check *c = owner;
    buf_free(&c->text);
    free(c);
}

static void find(struct check *c, enum durability d, const char *text)
{
    if (c->found < d)
        c->found = d;
    if (c->text.len > 0)
        buf_add_str(&c->text, "; ");
    buf_add_str(&c->text, text);
}

static void check_info(struct check *c, const struct reply *r)
{
    struct span info = reply_str(r), policy = info_field(info, "maxmemory_policy");
    bool limited = info_number(info, "maxmemory") > 0;
    bool volatile_only = policy.len > 9 && memcmp(policy.p, "volatile-", 9) == 0;

    c->replicas = info_number(info, "connected_slaves");
    store_replicas_wanted(c->s, c->replicas);
    if (!span_is(info_field(info, "role"), "master"))
        find(c, DURABILITY_UNSAFE, "it is a replica");
    if (info_number(info, "aof_enabled") != 1)
        find(c, DURABILITY_UNSAFE, "appendonly is off: a restart forgets routes");
    if (!span_is(policy, "noeviction") && !volatile_only)
        find(c, limited ? DURABILITY_UNSAFE : DURABILITY_WARN,
             "maxmemory-policy may evict routes: it should be noeviction");
    else if (volatile_only)
        find(c, DURABILITY_WARN, "maxmemory-policy may evict credentials: it should be noeviction");
}

static bool has_sentinels(const struct check *c)
{
    return address_has_sentinels(store_address(c->s));
}

/* May another server become the master by itself? */
static bool check_fails_over(const struct check *c)
{
    return has_sentinels(c) || (address_has_cluster(store_address(c->s)) && store_has_replicas(c->s));
}

static void check_fsync(struct check *c, const struct reply *r)
{
    struct span fsync = reply_str(reply_get(r, "appendfsync"));
    if (fsync.len == 0)
        find(c, DURABILITY_WARN,
             "CONFIG GET is not allowed: check appendfsync and min-replicas-to-write by hand");
    else if (span_is(fsync, "no"))
        find(c, DURABILITY_UNSAFE, "appendfsync is \"no\": a crash of the machine forgets routes");
    else if (!span_is(fsync, "always") && check_fails_over(c))
        find(
            c, DURABILITY_UNSAFE,
            has_sentinels(c)
                ? "appendfsync is not \"always\": a master that restarts before the Sentinels notice forgets what its "
                  "replicas have confirmed"
                : "appendfsync is not \"always\": a node that restarts before the cluster notices forgets what its "
                  "replicas have confirmed");
    else if (!span_is(fsync, "always"))
        find(c, DURABILITY_WARN,
             "appendfsync is not \"always\": a crash of the machine forgets the last second");
    c->shown = fsync.len > 0;
}

static void check_replicas(struct check *c, const struct reply *r)
{
    bool alone = c->shown && reply_int(reply_get(r, "min-replicas-to-write")) < 1;
    if (alone && check_fails_over(c))
        find(c, DURABILITY_UNSAFE,
             has_sentinels(c)
                 ? "min-replicas-to-write is 0: a master that the Sentinels gave up goes on writing routes"
                 : "min-replicas-to-write is 0: a node that the cluster gave up goes on writing routes");
    else if (alone && c->replicas > 0)
        find(c, DURABILITY_WARN, "min-replicas-to-write is 0: a master that is cut off goes on alone");
}

static void check_coverage(struct check *c, const struct reply *r)
{
    if (!address_has_cluster(store_address(c->s)))
        return;
    if (!store_has_replicas(c->s))
        find(c, DURABILITY_WARN,
             "this node of the cluster has no replica: while it is away, so are its accounts");
    if (span_is(reply_str(reply_get(r, "cluster-require-full-coverage")), "yes"))
        find(c, DURABILITY_WARN,
             "cluster-require-full-coverage is \"yes\": while one node is away, so are all accounts");
    if (span_is(reply_str(reply_get(r, "cluster-allow-reads-when-down")), "yes"))
        find(
            c, DURABILITY_WARN,
            "cluster-allow-reads-when-down is \"yes\": a node that is cut off goes on saying where accounts were");
}

static const struct check_step {
    const char *words[3];
    void (*take)(struct check *c, const struct reply *r);
} steps[] = {
    {{"INFO"}, check_info},
    {{"CONFIG", "GET", "appendfsync"}, check_fsync},
    {{"CONFIG", "GET", "min-replicas-to-write"}, check_replicas},
    {{"CONFIG", "GET", "cluster-*"}, check_coverage},
};

static void check_done(struct check *c, enum durability d)
{
    store_durability_fn fn = c->fn;
    void *owner = c->owner;
    char *text = xstrdup(buf_str(&c->text));
    check_drop(c);
    fn(owner, d, text);
    free(text);
}

static void check_next(struct check *c);

static void on_check(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct check *c = owner;
    /* A managed Redis may refuse CONFIG, never INFO. */
    if (rc == REDIS_DOWN || (rc == REDIS_ERROR_REPLY && c->step == 0)) {
        check_done(c, DURABILITY_UNKNOWN);
        return;
    }
    steps[c->step].take(c, r);
    if (++c->step < COUNTOF(steps))
        check_next(c);
    else
        check_done(c, c->found);
}

static void check_next(struct check *c)
{
    struct span argv[3];
    size_t n = 0;
    while (n < COUNTOF(argv) && steps[c->step].words[n]) {
        argv[n] = span_str(steps[c->step].words[n]);
        n++;
    }
    store_command_for(c->s, c->owner, argv, n, on_check, c, check_drop);
}

void store_durability(struct store *s, store_durability_fn fn, void *owner)
{
    struct check *c = xcalloc(1, sizeof(*c));
    *c = (struct check){.s = s, .fn = fn, .owner = owner, .found = DURABILITY_GOOD};
    check_next(c);
}

/* ---- writes ---- */

struct try_write {
    store_writes_fn fn;
    void *owner; /* borrowed */
};

static void on_try_write(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct try_write t = *(struct try_write *)owner;
    char *error = rc == REDIS_ERROR_REPLY ? xspandup(reply_str(r)) : NULL;
    bool full = error && strncmp(error, "OOM", 3) == 0;
    char *why = error ? xasprintf("Redis refuses writes%s: %s",
                                  full ? ", since its memory is full (maxmemory)" : "", error)
                      : NULL;

    free(owner);
    t.fn(t.owner, rc != REDIS_DOWN, why);
    free(why);
    free(error);
}

/* Nothing is set of a string that is not there, and Redis refuses it wherever it would refuse a lease. */
void store_try_write(struct store *s, store_writes_fn fn, void *owner)
{
    struct try_write *t = xcalloc(1, sizeof(*t));
    char *key = store_key(s, "probe");
    struct span argv[] = {span_str("SETRANGE"), span_str(key), span_str("0"), span_str("")};

    *t = (struct try_write){.fn = fn, .owner = owner};
    store_command_for(s, owner, argv, COUNTOF(argv), on_try_write, t, free);
    free(key);
}
