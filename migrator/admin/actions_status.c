/* status: the whole migration at one look. The calls go out at once; the answers fill one object. How many
 * accounts there are is counted by the scripts that change them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/route_recount.h"

#include "actions_priv.h"
#include "holdup.h"

enum {
    SHOWN_MS = 24 * 3600 * 1000,  /* for which what is silent is shown */
    BREAKER_STALE_MS = 30 * 1000, /* a proxy tells of an open breaker each ten seconds */
};

static json_t *action_status_part(struct run *r, const char *name)
{
    json_t *o = json_object_get(r->data, name);

    if (!o) {
        o = json_object();
        json_object_set_new(r->data, name, o);
    }
    return o;
}

static void action_status_answered(struct run *r, enum redis_rc rc)
{
    if (rc == REDIS_DOWN)
        r->rc = ACTION_UNREACHABLE;
    if (--r->pending > 0)
        return;
    if (r->rc == ACTION_UNREACHABLE)
        run_end_failed(r, ROUTE_DOWN, "");
    else
        run_end(r, ACTION_DONE, "%s", "");
}

static void action_status_ask(struct run *r, redis_fn fn, size_t n, const char *const *words)
{
    struct span argv[12];

    for (size_t i = 0; i < n; i++)
        argv[i] = span_str(words[i]);
    r->pending++;
    store_command(r->store, argv, n, fn, r);
}

/* ---- accounts */

static void set_count(struct run *r, struct span name, struct span number)
{
    static const char *const parts[][2] = {{"state:", "accounts"}, {"backend:", "backends"}};
    uint64_t n;

    for (size_t i = 0; i < COUNTOF(parts); i++) {
        size_t len = strlen(parts[i][0]);
        if (name.len <= len || memcmp(name.p, parts[i][0], len) != 0 || !span_u64(number, INT64_MAX, &n))
            continue;
        char *what = xspandup(span_of(name.p + len, name.len - len));
        json_object_set_new(action_status_part(r, parts[i][1]), what, json_integer((json_int_t)n));
        free(what);
    }
}

/* "sum:bytes_done" */
static void set_sum(struct run *r, struct span name, struct span number)
{
    static const char *const sums[][3] = {{"sum:messages_done", "messages", "done"},
                                          {"sum:messages_total", "messages", "total"},
                                          {"sum:bytes_done", "bytes", "done"},
                                          {"sum:bytes_total", "bytes", "total"}};
    uint64_t n;

    for (size_t i = 0; i < COUNTOF(sums); i++)
        if (span_is(name, sums[i][0]) && span_u64(number, INT64_MAX, &n))
            json_object_set_new(action_status_part(r, sums[i][1]), sums[i][2], json_integer((json_int_t)n));
}

/* As an account goes through them; what is not known here, of a later version, at the end. */
static void order_states(struct run *r)
{
    json_t *counted = json_object_get(r->data, "accounts"), *ordered = json_object(), *n;

    for (int i = 0; i <= ROUTE_HELD; i++)
        if ((n = json_object_get(counted, route_state_name((enum route_state)i))))
            json_object_set(ordered, route_state_name((enum route_state)i), n);
    json_object_update_missing(ordered, counted);
    json_object_set_new(r->data, "accounts", ordered);
}

static void on_counts(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;

    json_object_set_new(r->data, "counted", json_boolean(n > 0 && span_is(rows[0], "1")));
    json_object_set_new(r->data, "messages", json_pack("{s:i, s:i}", "done", 0, "total", 0));
    json_object_set_new(r->data, "bytes", json_pack("{s:i, s:i}", "done", 0, "total", 0));
    for (size_t i = 1; i + 1 < n; i += 2) {
        set_count(r, rows[i], rows[i + 1]);
        set_sum(r, rows[i], rows[i + 1]);
        waves_take_count(r, rows[i], rows[i + 1]);
    }
    order_states(r);
    char *unknown = rc == ROUTE_OK ? route_counts_unknown(r->store, rows, n) : NULL;
    json_object_set_new(r->data, "backends_unknown", unknown ? json_text(span_str(unknown)) : json_null());
    free(unknown);
    action_status_answered(r, rc == ROUTE_OK ? REDIS_OK : REDIS_DOWN);
}

static void action_status_on_waves(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;

    waves_describe(r, rc, rows, n);
    action_status_answered(r, rc == ROUTE_OK ? REDIS_OK : REDIS_DOWN);
}

/* ---- proxies, jobs */

/* seconds, microseconds. Asked before the proxies, so answered before them. */
static void action_status_on_time(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct run *r = owner;

    r->now_ms =
        (uint64_t)reply_int(reply_at(reply, 0)) * 1000 + (uint64_t)reply_int(reply_at(reply, 1)) / 1000;
    json_object_set_new(r->data, "time", json_time(rc == REDIS_OK ? r->now_ms : 0));
    action_status_answered(r, rc);
}

/* Whether one that crashed may be forgotten, only a migrator's watch can tell. So it is said when it was last
 * heard, and `silent` is a hint for people; after a day it is of no use any more. NULL: so it is. */
static json_t *proxy_of(const struct run *r, struct span incarnation, struct span value)
{
    char *text = xspandup(value);
    unsigned long long counter = 0, generation = 0, renewed = 0, lease = 0, wide = 0;
    char version[64] = "", address[200] = "";

    sscanf(text, "%llu %63s %199s %llu %llu %llu %llu", &counter, version, address, &generation, &renewed,
           &lease, &wide);
    free(text);
    if (lease == 0) /* of the version before */
        lease = store_conf(r->store)->proxy.lease_ms;
    if (renewed + lease + SHOWN_MS < r->now_ms)
        return NULL;
    json_t *o = json_object();
    json_object_set_new(o, "proxy", json_text(incarnation));
    json_object_set_new(o, "renewed", json_time(renewed));
    json_object_set_new(o, "silent", json_boolean(renewed + lease < r->now_ms));
    json_object_set_new(o, "may_serve_until", json_time(wide > 0 ? renewed + wide : 0));
    json_object_set_new(o, "version", json_text(span_str(version)));
    json_object_set_new(o, "address", json_text(span_str(strcmp(address, "%") != 0 ? address : "")));
    return o;
}

static void action_status_on_proxies(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct run *r = owner;
    json_t *list = json_array();

    for (size_t i = 0; rc == REDIS_OK && i + 1 < reply_count(reply); i += 2) {
        json_t *o = proxy_of(r, reply_str(reply_at(reply, i)), reply_str(reply_at(reply, i + 1)));
        if (o)
            json_array_append_new(list, o);
    }
    json_object_set_new(r->data, "proxies", list);
    action_status_answered(r, rc);
}

/* Pairs: "<incarnation> <backend>", when it was told. */
static void action_status_on_breakers(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct run *r = owner;
    json_t *list = json_array();

    for (size_t i = 0; rc == REDIS_OK && i + 1 < reply_count(reply); i += 2) {
        struct span member = reply_str(reply_at(reply, i));
        const uint8_t *blank = member.len > 0 ? memchr(member.p, ' ', member.len) : NULL;
        char *told = xspandup(reply_str(reply_at(reply, i + 1)));
        if (blank && strtoull(told, NULL, 10) + BREAKER_STALE_MS >= r->now_ms) {
            size_t n = (size_t)(blank - member.p);
            json_t *o = json_object();
            json_object_set_new(o, "proxy", json_text(span_of(member.p, n)));
            json_object_set_new(o, "backend", json_text(span_of(blank + 1, member.len - n - 1)));
            json_array_append_new(list, o);
        }
        free(told);
    }
    json_object_set_new(r->data, "breakers", list);
    action_status_answered(r, rc);
}

static void action_status_set_number(struct run *r, const char *where, const char *name,
                                     const struct reply *reply)
{
    json_object_set_new(action_status_part(r, where), name, json_integer((json_int_t)reply_int(reply)));
}

static void on_jobs(void *owner, enum redis_rc rc, const struct reply *reply)
{
    action_status_set_number(owner, "jobs", "logins", reply);
    action_status_answered(owner, rc);
}

static void action_status_on_bulk(void *owner, enum redis_rc rc, const struct reply *reply)
{
    action_status_set_number(owner, "jobs", "bulk", reply);
    action_status_answered(owner, rc);
}

static void on_later(void *owner, enum redis_rc rc, const struct reply *reply)
{
    action_status_set_number(owner, "jobs", "later", reply);
    action_status_answered(owner, rc);
}

static void action_status_on_migrators(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct run *r = owner;
    json_t *list = json_array();

    for (size_t i = 0; rc == REDIS_OK && i + 1 < reply_count(reply); i += 2) {
        struct told t;
        told_parse(reply_str(reply_at(reply, i + 1)), &t);
        if (t.told_ms + t.term_ms + SHOWN_MS < r->now_ms)
            continue;
        json_t *o = json_object();
        json_object_set_new(o, "migrator", json_text(reply_str(reply_at(reply, i))));
        json_object_set_new(o, "jobs", json_integer(0));
        json_object_set_new(o, "told", json_time(t.told_ms));
        json_object_set_new(o, "silent", json_boolean(told_is_silent(&t, r->now_ms)));
        json_object_set_new(o, "version", json_text(span_str(t.version)));
        json_object_set_new(o, "rests", *t.why ? json_text(span_str(t.why)) : json_null());
        json_array_append_new(list, o);
    }
    json_object_set_new(r->data, "migrators", list);
    action_status_answered(r, rc);
}

static json_t *migrator_named(const struct run *r, struct span name)
{
    json_t *m;
    size_t i;

    json_array_foreach(json_object_get(r->data, "migrators"), i, m)
    {
        if (span_is(name, json_string_value(json_object_get(m, "migrator"))))
            return m;
    }
    return NULL;
}

/* Each a list of pairs: name, pending, idle ... Asked behind the migrators. No group yet: an error, and no
 * jobs. One that has told nothing has ended in good order, or has been gone for long: it is shown as long as
 * it has jobs. */
static void on_consumers(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct run *r = owner;

    for (size_t i = 0; rc == REDIS_OK && i < reply_count(reply); i++) {
        const struct reply *c = reply_at(reply, i);
        int64_t idle = reply_int(reply_get(c, "idle")), jobs = reply_int(reply_get(c, "pending"));
        json_t *o = migrator_named(r, reply_str(reply_get(c, "name"))), *n;
        if (!o && jobs == 0)
            continue;
        if (!o) {
            o = json_object();
            json_object_set_new(o, "migrator", json_text(reply_str(reply_get(c, "name"))));
            json_array_append_new(json_object_get(r->data, "migrators"), o);
        }
        n = json_object_get(o, "jobs");
        json_object_set_new(o, "jobs", json_integer((json_int_t)jobs + json_integer_value(n)));
        n = json_object_get(o, "idle_ms");
        if (!n || json_integer_value(n) > idle)
            json_object_set_new(o, "idle_ms", json_integer((json_int_t)idle));
    }
    action_status_answered(r, rc == REDIS_ERROR_REPLY ? REDIS_OK : rc);
}

/* ---- the store */

static void action_status_on_control(void *owner, enum route_rc rc, const struct route_control *c)
{
    struct run *r = owner;

    if (rc == ROUTE_OK) {
        json_object_set_new(r->data, "paused", json_boolean(c->paused));
        json_object_set_new(r->data, "paused_by", json_text(span_str(c->paused ? c->by : "")));
        json_object_set_new(r->data, "paused_reason", json_text(span_str(c->paused ? c->reason : "")));
        json_object_set_new(r->data, "paused_since", json_time(c->paused ? c->since_ms : 0));
    }
    action_status_answered(r, rc == ROUTE_OK ? REDIS_OK : REDIS_DOWN);
}

static void action_status_on_durability(void *owner, enum durability d, const char *detail)
{
    static const char *const words[] = {[DURABILITY_GOOD] = "good",
                                        [DURABILITY_WARN] = "look",
                                        [DURABILITY_UNSAFE] = "unsafe",
                                        [DURABILITY_UNKNOWN] = "unknown"};
    struct run *r = owner;

    json_object_set_new(action_status_part(r, "store"), "durability", json_string(words[d]));
    json_object_set_new(action_status_part(r, "store"), "detail", json_text(span_str(detail)));
    action_status_answered(r, REDIS_OK);
}

static void action_status_on_try(void *owner, bool answered, const char *why)
{
    struct run *r = owner;

    json_object_set_new(action_status_part(r, "store"), "refuses_writes",
                        why ? json_text(span_str(why)) : json_null());
    action_status_answered(r, answered ? REDIS_OK : REDIS_DOWN);
}

static void describe_store(struct run *r)
{
    json_t *o = action_status_part(r, "store");
    char *address = address_text(store_address(r->store));

    json_object_set_new(o, "address", json_text(span_str(address)));
    json_object_set_new(o, "generation", json_integer((json_int_t)store_generation(r->store)));
    json_object_set_new(o, "quarantine_ms", json_integer((json_int_t)store_quarantine_ms(r->store)));
    free(address);
}

void report_status(struct run *r)
{
    static const struct {
        redis_fn fn;
        const char *words[2];
        size_t n;
    } rows[] = {
        {action_status_on_proxies, {"HGETALL", "proxies"}, 2},     {on_jobs, {"XLEN", "jobs"}, 2},
        {action_status_on_bulk, {"XLEN", "jobs:bulk"}, 2},         {on_later, {"ZCARD", "later"}, 2},
        {action_status_on_migrators, {"HGETALL", "migrators"}, 2},
    };
    char *breakers = store_key(r->store, "breakers");

    describe_store(r);
    action_status_part(r, "accounts");
    action_status_part(r, "backends");
    r->pending += 5;
    store_try_write(r->store, action_status_on_try, r);
    route_control_read(r->store, action_status_on_control, r);
    route_counts_read(r->store, on_counts, r);
    route_waves_read(r->store, action_status_on_waves, r);
    store_durability(r->store, action_status_on_durability, r);
    action_status_ask(r, action_status_on_time, 1, (const char *[]){"TIME"});
    action_status_ask(r, action_status_on_breakers, 5,
                      (const char *[]){"ZRANGE", breakers, "0", "-1", "WITHSCORES"});
    free(breakers);
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        char *key = store_key(r->store, "%s", rows[i].words[1]);
        action_status_ask(r, rows[i].fn, rows[i].n, (const char *[]){rows[i].words[0], key});
        free(key);
    }
    static const char *const streams[] = {"jobs", "jobs:bulk"};
    for (size_t i = 0; i < COUNTOF(streams); i++) {
        char *key = store_key(r->store, "%s", streams[i]);
        action_status_ask(r, on_consumers, 4, (const char *[]){"XINFO", "CONSUMERS", key, "migrators"});
        free(key);
    }
}

/* ---- recount */

static void action_status_on_recounted(void *owner, enum route_rc rc, uint64_t accounts)
{
    struct run *r = owner;

    if (rc == ROUTE_OK)
        run_end(r, ACTION_DONE, "%" PRIu64 " accounts were counted", accounts);
    else if (rc == ROUTE_LOST)
        run_end(r, ACTION_FAILED, "somebody else has begun to count");
    else
        run_end_failed(r, rc, "");
}

void run_recount(struct run *r)
{
    recount_start(r->store, false, action_status_on_recounted, r);
}
