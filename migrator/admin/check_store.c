#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/route.h"
#include "lib/xalloc.h"

#include "check_priv.h"

enum { MEMORY_WARN = 80, MEMORY_ERROR = 95 /* per cent of maxmemory */ };

/* Whatever Redis is like, the servers are looked at; but once it is known, so that there is where to
 * store. */
static void store_end(struct check *c)
{
    if (c->store_ended)
        return;
    c->store_ended = true;
    timer_stop(c->reach);
    check_sides_start(c);
    check_ended(c);
}

static void check_on_durability(void *owner, enum durability d, const char *detail)
{
    static const char *const advice =
        "In redis.conf: appendonly yes, appendfsync always, maxmemory-policy noeviction; with Sentinels or replicas also "
        "min-replicas-to-write 1.";
    struct check *c = owner;

    if (d == DURABILITY_GOOD)
        REDIS_LINE(c, CHECK_OK, "", "it keeps what it is told");
    else if (d == DURABILITY_UNKNOWN)
        REDIS_LINE(c, CHECK_ERROR, "See its log, and the rights of the ACL user (INFO has to be allowed).",
                   "it does not tell what it keeps");
    else if (d == DURABILITY_WARN || c->conf->redis.store_override)
        REDIS_LINE(c, CHECK_WARNING, advice, "%s", detail);
    else
        REDIS_LINE(c, CHECK_ERROR, advice, "nothing is migrated on it: %s", detail);
    check_ended(c);
}

static void check_on_records(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct check *c = owner;

    for (size_t i = 0; rc == REDIS_OK && i < c->n; i++)
        if (c->sides[i].b)
            caps_record_read(&c->sides[i].caps, r, c->sides[i].b->name);
    c->caps_read = rc == REDIS_OK;
    store_end(c);
    check_ended(c);
}

static void check_on_route(void *owner, enum route_rc rc, const struct route *r)
{
    struct check *c = owner;

    if (rc == ROUTE_OK)
        check_line(c, c->rest, "account", CHECK_OK, "", "%s lives on %s (%s)", c->user, r->backend,
                   route_state_name(r->state));
    else
        check_line(c, c->rest, "account", CHECK_WARNING, "See what is said of redis.",
                   "it is not known where %s lives", c->user);
    check_ended(c);
}

static void check_on_recall(void *owner, const struct recall_result *result)
{
    struct check *c = owner;
    const char *folder = c->conf->migrator.journal_dir;
    char *text = recall_text(result, folder);

    c->recall = NULL;
    if (*result->error)
        check_line(c, c->rest, "journal", CHECK_WARNING,
                   "Run it as one who may read it: a migrator compares it with Redis.", "%s", result->error);
    else if (result->unknown > 0)
        check_line(c, c->rest, "journal", CHECK_ERROR,
                   "The handbook has a page on it: \"Backup, loss and restore\".", "%s", text);
    else if (result->answered && result->asked > 0)
        check_line(c, c->rest, "journal", CHECK_OK, "",
                   "Redis knows the switch-overs in %s (%zu of the last ones were asked for)", folder,
                   result->asked);
    free(text);
    check_ended(c);
}

static void check_on_try(void *owner, bool answered, const char *why)
{
    struct check *c = owner;

    (void)answered;
    if (why)
        REDIS_LINE(c, CHECK_ERROR, "No login is let in, and nothing is migrated: make it take writes again.",
                   "%s", why);
    check_ended(c);
}

static uint64_t check_number_in(const char *info, const char *name)
{
    const char *field = strstr(info, name);

    return field ? strtoull(field + strlen(name), NULL, 10) : 0;
}

static void check_on_memory(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct check *c = owner;
    char *info = xspandup(reply_str(r));
    uint64_t used = check_number_in(info, "\nused_memory:"), most = check_number_in(info, "\nmaxmemory:");
    double share = most > 0 ? 100.0 * (double)used / (double)most : 0;

    if (rc == REDIS_OK && share >= MEMORY_WARN)
        REDIS_LINE(c, share >= MEMORY_ERROR ? CHECK_ERROR : CHECK_WARNING,
                   "Raise maxmemory (CONFIG SET, and redis.conf): a full Redis lets nobody sign in.",
                   "%.0f %% of its memory are used: %" PRIu64 " MiB of %" PRIu64 " MiB (maxmemory)", share,
                   used >> 20, most >> 20);
    free(info);
    check_ended(c);
}

static void ask_memory(struct check *c)
{
    struct span argv[] = {span_str("INFO"), span_str("memory")};

    c->pending += 2;
    store_command(c->store, argv, COUNTOF(argv), check_on_memory, c);
    store_try_write(c->store, check_on_try, c);
}

static void check_on_counts(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct check *c = owner;
    char *unknown = rc == ROUTE_OK ? route_counts_unknown(c->store, rows, n) : NULL;

    if (unknown)
        REDIS_LINE(
            c, CHECK_ERROR, "Give the backend its name back: it stands in the record of each account.",
            "accounts live on backends that the configuration does not name, and their users can't sign in: %s",
            unknown);
    free(unknown);
    check_ended(c);
}

static void ask_recall(struct check *c)
{
    c->pending++;
    c->recall = recall_start(c->store, c->conf->migrator.journal_dir, check_on_recall, c);
}

static void on_info(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct check *c = owner;
    char *address = address_text(store_address(c->store)), *info = xspandup(reply_str(r));
    const char *field = strstr(info, "connected_slaves:");

    REDIS_LINE(c, CHECK_OK, "", "%s answers, and is the master; its replicas: %u", address,
               rc == REDIS_OK && field ? (unsigned)atoi(field + 17) : 0);
    free(address);
    free(info);
    check_ended(c);
}

/* Before the store answers it has looked whether this Redis is the master. */
static void ask_info(struct check *c)
{
    struct span argv[] = {span_str("INFO"), span_str("replication")};

    c->pending++;
    store_command(c->store, argv, COUNTOF(argv), on_info, c);
}

static void store_is_up(struct check *c)
{
    if (!c->login) {
        ask_info(c);
        ask_recall(c);
        ask_memory(c);
        c->pending++;
        route_counts_read(c->store, check_on_counts, c);
    }
    if (c->doctor)
        check_doctor(c);
    c->pending++;
    store_caps_all(c->store, check_on_records, c);
    c->pending++;
    if (c->login)
        route_read(c->store, c->user, check_on_route, c);
    else
        store_durability(c->store, check_on_durability, c);
}

/* By what Redis, or the way there, said. */
static const char *advice_of_redis(const char *detail)
{
    static const struct {
        const char *says, *advice;
    } rows[] = {
        {"NOREPLICAS",
         "It takes no writes: fewer replicas are there, and up to date, than min-replicas-to-write asks for. See whether they "
         "run."},
        {"LOADING", "It reads its data from the disk: check again in a while."},
        {"on its way",
         "One of its slots is being moved: it is back once that is done (redis-cli --cluster check)."},
        {", too: ", "A move of its slot was broken off: redis-cli --cluster fix."},
        {"CLUSTERDOWN",
         "See redis-cli --cluster check: a slot has no node, or the node that was asked is cut off."},
        {"cluster support", "This is no Redis Cluster: see how url in the section redis begins."},
        {"READONLY", "This is a replica: name the master, or the Sentinels (sentinel://)."},
        {"TLS",
         "See whether url in the section redis has to begin with redis:// or with rediss://, the certificate of that Redis, and "
         "ca_file, pin and tls_name beside url."},
        {"tls_cert", "See tls_cert in the section redis, and the log of Redis."},
        {"no Redis", "See host and port of url in the section redis."},
        {"password", "See url, or password_file, in the section redis."},
        {"AUTH", "See url, or password_file, in the section redis."},
        {"NOPERM", "See what the ACL user of url, in the section redis, may do."},
        {"WRONGPASS", "See url, or password_file, in the section redis."},
    };

    for (size_t i = 0; i < COUNTOF(rows); i++)
        if (strstr(detail, rows[i].says))
            return rows[i].advice;
    return "See url in the section redis, whether Redis runs there, and whether it lets this host in.";
}

static void store_is_away(struct check *c, const char *detail)
{
    char *address = address_text(store_address(c->store));

    REDIS_LINE(c, CHECK_ERROR, advice_of_redis(detail), "%s: %s", address, detail);
    free(address);
    store_end(c);
}

static void check_on_named(void *owner, enum naming_rc n, enum route_rc rc)
{
    struct check *c = owner;

    (void)rc;
    if (n == NAMING_KEY) {
        check_set_user(c, c->as_key);
        c->as_key = NULL;
    } else if (n == NAMING_BOTH) {
        check_line(c, c->rest, "account", CHECK_WARNING, "\"list\" shows both.",
                   "this is of the login name %s: %s has a record too", c->login, c->as_key);
    }
    store_is_up(c);
    check_ended(c);
}

void check_on_store(void *owner, enum store_state state, const char *detail)
{
    struct check *c = owner;

    if (c->store_ended || c->caps_read || state == STORE_CONNECTING)
        return;
    if (state == STORE_UP) {
        c->caps_read = true;
        if (c->as_key) {
            c->pending++;
            naming_ask(c->store, c->user, c->as_key, &c->naming, check_on_named, c);
        } else {
            store_is_up(c);
        }
    } else if (state == STORE_FOREIGN && store_is_at_odds(c->store)) {
        REDIS_LINE(
            c, CHECK_ERROR,
            "All programs with this configuration refuse to work: whom it sends to another server misses their mail.",
            "%s", detail);
        store_end(c);
    } else if (state == STORE_FOREIGN) {
        REDIS_LINE(
            c, CHECK_ERROR,
            "For a new site: \"imapferryctl init\", once, and check again. For one that lost its data: \"route restore\".",
            "%s", detail);
        store_end(c);
    } else {
        store_is_away(c, detail);
    }
}

void check_on_reach(void *owner)
{
    struct check *c = owner;

    store_is_away(c, "no answer in time");
}
