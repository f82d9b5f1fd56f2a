#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "events.h"
#include "log.h"
#include "xalloc.h"

/* A read that finds nothing ends by itself after BLOCK_MS; COUNT events at most come at once. */
enum { BLOCK_MS = 2000, COUNT = 1000 };

struct events {
    struct redis *redis;
    char *key; /* owned */
    uint64_t timeout_ms;
    event_fn fn;
    events_news_fn news;
    void *owner;         /* borrowed */
    char last[48];       /* id of the last event */
    uint64_t asked_ms;   /* by clock_boot_ms(): the read under way */
    uint64_t number;     /* of the last event, 0 = not known */
    uint64_t generation; /* 0 = not known */
    bool was_live;
    uint64_t rest_ms, awake_until_ms; /* by clock_boot_ms() */
    struct timer *rest;
    unsigned busy;
    bool gone;
};

static void events_leave_callback(struct events *e)
{
    if (--e->busy > 0 || !e->gone)
        return;
    free(e->key);
    free(e);
}

/* False: the owner freed the follower. */
static bool tell_live(struct events *e)
{
    if (e->was_live)
        e->news(e->owner, EVENTS_GAP);
    if (e->gone)
        return false;
    e->was_live = true;
    e->news(e->owner, EVENTS_LIVE);
    return !e->gone;
}

/* ---- one event ---- */

static bool parse_event(const struct reply *fields, struct event *_r)
{
    struct event ev = {
        .user = reply_str(reply_get(fields, "user")),
        .kind = reply_str(reply_get(fields, "kind")),
        .backend = reply_str(reply_get(fields, "backend")),
        .target = reply_str(reply_get(fields, "target")),
        .registered = reply_str(reply_get(fields, "registered")),
        .view = reply_str(reply_get(fields, "view")),
    };
    if (!span_u64(reply_str(reply_get(fields, "n")), UINT64_MAX, &ev.number) ||
        !span_u64(reply_str(reply_get(fields, "epoch")), UINT64_MAX, &ev.epoch) ||
        !span_u64(reply_str(reply_get(fields, "generation")), UINT64_MAX, &ev.generation) ||
        !span_u64(reply_str(reply_get(fields, "left")), UINT64_MAX, &ev.left_ms) ||
        !route_state_parse(reply_str(reply_get(fields, "state")), &ev.state) || ev.kind.len == 0)
        return false;
    *_r = ev;
    return true;
}

/* Ids are "milliseconds-number"; anything else is none of Redis'. */
static bool keep_id(struct events *e, struct span id)
{
    if (id.len == 0 || id.len >= sizeof(e->last))
        return false;
    memcpy(e->last, id.p, id.len);
    e->last[id.len] = '\0';
    return true;
}

/* False: the connection is no good any more, or the owner freed the follower. */
static bool take_event(struct events *e, const struct reply *entry)
{
    struct event ev = {0};
    if (!keep_id(e, reply_str(reply_at(entry, 0))) || !parse_event(reply_at(entry, 1), &ev)) {
        LOG(ERROR, "event_unreadable", LOG_SPAN("id", reply_str(reply_at(entry, 0))));
        redis_reset(e->redis, "an event that can't be read");
        return false;
    }
    bool gap = ev.number != e->number + 1 || (e->generation && ev.generation != e->generation);
    e->number = ev.number;
    e->generation = ev.generation;
    if (gap && !tell_live(e))
        return false;
    e->fn(e->owner, &ev);
    return !e->gone;
}

/* ---- following ---- */

static void events_read_on(struct events *e);

/* A nil, when its time was over: nothing came. Whatever else has nothing in it would be asked for again at
 * once. */
static bool is_in_vain(const struct events *e, const struct reply *r, const struct reply *entries)
{
    bool waited = clock_boot_ms() - e->asked_ms >= BLOCK_MS / 2;
    return reply_count(entries) == 0 && (reply_type(r) != REPLY_NIL || !waited);
}

/* A nil, or one stream: its name, and the entries. */
static void on_events(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct events *e = owner;
    const struct reply *entries = reply_at(reply_at(r, 0), 1);
    bool good = true;

    if (rc == REDIS_DOWN)
        return;
    if (rc == REDIS_ERROR_REPLY) {
        redis_reset(e->redis, "XREAD was refused");
        return;
    }
    if (is_in_vain(e, r, entries)) {
        redis_reset(e->redis, "XREAD ended without an event before its time");
        return;
    }
    e->busy++;
    for (size_t i = 0; good && i < reply_count(entries); i++)
        good = take_event(e, reply_at(entries, i));
    if (good && e->rest_ms > 0 && clock_boot_ms() >= e->awake_until_ms)
        timer_start(e->rest, e->rest_ms);
    else if (good)
        events_read_on(e);
    events_leave_callback(e);
}

static void events_on_rested(void *owner)
{
    events_read_on(owner);
}

static void events_read_on(struct events *e)
{
    char block[16], count[16];
    e->asked_ms = clock_boot_ms();
    snprintf(block, sizeof(block), "%d", BLOCK_MS);
    snprintf(count, sizeof(count), "%d", COUNT);
    struct span argv[] = {span_str("XREAD"), span_str("COUNT"),   span_str(count),  span_str("BLOCK"),
                          span_str(block),   span_str("STREAMS"), span_str(e->key), span_str(e->last)};
    redis_command(e->redis, argv, COUNTOF(argv), BLOCK_MS + e->timeout_ms, on_events, e);
}

/* The last event there is: from behind it on nothing is missed. */
static void on_tail(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct events *e = owner;
    const struct reply *entry = reply_at(r, 0);
    struct event ev = {0};

    if (rc == REDIS_DOWN)
        return;
    snprintf(e->last, sizeof(e->last), "0-0");
    e->number = e->generation = 0;
    if (rc != REDIS_OK || (reply_count(r) > 0 && (!keep_id(e, reply_str(reply_at(entry, 0))) ||
                                                  !parse_event(reply_at(entry, 1), &ev)))) {
        redis_reset(e->redis, "the stream of events can't be read");
        return;
    }
    e->number = ev.number;
    e->generation = ev.generation;
    e->busy++;
    if (tell_live(e))
        events_read_on(e);
    events_leave_callback(e);
}

/* A replica's events come late, and after it was cut off not at all. Where ROLE is not allowed we go on. */
static void events_on_role(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct events *e = owner;
    struct span argv[] = {span_str("XREVRANGE"), span_str(e->key),  span_str("+"),
                          span_str("-"),         span_str("COUNT"), span_str("1")};
    if (rc == REDIS_DOWN)
        return;
    if (rc == REDIS_OK && !span_is(reply_str(reply_at(r, 0)), "master"))
        redis_reset(e->redis, "it is a replica, not the master");
    else
        redis_command(e->redis, argv, COUNTOF(argv), 0, on_tail, e);
}

static void events_on_redis(void *owner, bool up, const char *detail)
{
    struct events *e = owner;
    struct span argv[] = {span_str("ROLE")};
    timer_stop(e->rest);
    if (up)
        redis_command(e->redis, argv, COUNTOF(argv), 0, events_on_role, e);
    else
        LOG(WARN, "events_down", LOG_S("why", detail));
}

/* ---- life ---- */

struct events *events_new(struct loop *l, const struct conf *conf, const struct address *store, event_fn fn,
                          events_news_fn news, void *owner)
{
    struct events *e = xcalloc(1, sizeof(*e));
    char *prefix = conf_store_prefix(&conf->redis, store);
    e->key = xasprintf("%s:events", prefix);
    free(prefix);
    e->timeout_ms = conf->proxy.store_timeout_ms;
    e->fn = fn;
    e->news = news;
    e->owner = owner;
    e->rest = timer_new(l, events_on_rested, e);
    e->redis = redis_new(l, &conf->redis, store, e->timeout_ms, events_on_redis, e);
    return e;
}

void events_free(struct events **ep)
{
    struct events *e = *ep;
    *ep = NULL;
    if (!e)
        return;
    e->gone = true;
    redis_free(&e->redis);
    timer_free(&e->rest);
    e->busy++;
    events_leave_callback(e);
}

void events_rest(struct events *e, uint64_t rest_ms)
{
    e->rest_ms = rest_ms;
}

void events_stay_awake(struct events *e)
{
    if (!e || e->rest_ms == 0)
        return;
    e->awake_until_ms = clock_boot_ms() + EVENTS_AWAKE_MS;
    if (!timer_is_set(e->rest))
        return;
    timer_stop(e->rest);
    events_read_on(e);
}
