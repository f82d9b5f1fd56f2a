#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "fault.h"
#include "imap_write.h"
#include "log.h"
#include "store.h"
#include "store_library.h"
#include "store_waits.h"
#include "xalloc.h"

/* How long after a hello that was not answered by "ok" it is said again, and how often a daemon says in the
 * log that there is no store to work on. */
enum { HELLO_RETRY_MS = 500, HELLO_RETRY_MAX_MS = 1000, ALARM_MS = 60 * 1000 };
/* Behind a change of server all processes of a site ask about it at once: each looks whether a partition is whole at a time of
 * its own, since the first one spares the others to. */
enum { LOOK_SPREAD_MS = 400, LOOK_BESIDE_MS = 600 };
/* More than hellos that are under way at once, each of which is answered by a greeting that is no news any more. */
enum { GREETINGS_MAX = 8 };
/* What Redis has where min-replicas-max-lag is not shown to us. */
enum { LAG_DEFAULT_S = 10 };
/* Longer than Sentinels take to make a replica master and the others follow it. */
enum {
    REPLICA_GONE_MS = 20 * 1000, /* less than sessions wait for the word in flipping */
    REPLICA_JOINS_MS = 5 * 1000,
};

/* A command or script that is under way. Calls are executed in the order in which they were given, also where
 * Redis has lost the library: what is given while it is loaded is held back, and what had found it missing is
 * sent again behind it. Where a later call was executed meanwhile, since another process was quicker to load
 * it, the earlier one is not sent any more: its caller is told what he is told of an answer that was lost. */
enum call_place { CALL_SENT, CALL_MISSING, CALL_HELD };
struct call {
    TAILQ_ENTRY(call) link;
    struct store *s;
    redis_fn fn; /* NULL: nobody wants the answer */
    void *owner;
    const void *who;
    store_drop_fn drop;
    const char *script; /* "": a plain command; borrowed from who calls, for ever */
    enum call_place place;
    bool again;        /* it was sent once more, behind the library */
    bool overtaken;    /* missing, and a later call was executed */
    struct span *args; /* owned, as one block: of a script, or of a command that is held back */
    size_t n_args;
};
TAILQ_HEAD(call_list, call);

struct store {
    struct loop *loop;
    const struct conf *conf; /* borrowed */
    size_t nth;
    char of[24];             /* store_of_how_many() */
    char *prefix;            /* owned; of all its keys */
    struct store_site *site; /* borrowed */
    store_state_fn fn;
    void *owner; /* borrowed */
    struct redis *redis;
    enum store_state state;
    struct store *first, *beside; /* borrowed: whose second connection this is; the second one of this */
    char *id;                     /* owned; "" until the first hello; of the first connection for both */
    bool refuses;                 /* of that answer: store_refuses() */
    char *foreign;                /* owned; why it is STORE_FOREIGN; NULL: it is not */
    char *detail;                 /* owned; of the last change of state */
    bool at_odds;                 /* store_is_at_odds() */
    bool empty, coming;           /* store_is_empty(), store_is_coming() */
    bool alarms;                  /* store_sound_alarm() */
    uint64_t alarmed_ms;          /* 0: not since it was up */
    char *why; /* owned; what the last answer said in place of what was asked for; NULL: there was none */
    uint64_t generation, quarantine_ends_ms /* by clock_boot_ms() */, lag_ms, replicas_min;
    uint64_t replicas_most, replicas_fewer_ms /* since; 0 = not */, replicas_grace_ms, replicas_generation;
    struct library library;
    bool loaded;              /* since the last hello that was answered */
    bool hello_missing;       /* a hello found no library */
    unsigned greetings;       /* in a row that were answered by another one */
    bool hesitated;           /* before it looked */
    bool careful;             /* store_begin_with_a_look() */
    bool looked;              /* this connection is to the node that has all of the partition */
    bool awaits;              /* the library: calls are held back */
    struct call_list sent;    /* in the order in which they were given */
    struct call_list refused; /* given while not up: told by the task */
    struct loop_task task;
    struct store_waits waits;
    struct timer *again; /* says hello to a store that was foreign, or connects to it anew where not: stays */
    uint64_t again_ms;
    bool stays;
    char *refusal; /* owned; the last reason that was told since it was up */
    unsigned busy;
    bool gone;
};

/* ---- what is said of the store ---- */

enum store_state store_state(const struct store *s)
{
    return s->state;
}

struct loop *store_loop(const struct store *s)
{
    return s->loop;
}

const struct conf *store_conf(const struct store *s)
{
    return s->conf;
}

size_t store_nth(const struct store *s)
{
    return s->nth;
}

const char *store_of_how_many(const struct store *s)
{
    return s->of;
}

const struct address *store_address(const struct store *s)
{
    return &s->conf->redis.addresses[s->nth];
}

struct store_site *store_site(const struct store *s)
{
    return s->site;
}

struct store_waits *store_waits(struct store *s)
{
    return &s->waits;
}

uint64_t store_generation(const struct store *s)
{
    return s->generation;
}

const char *store_id(const struct store *s)
{
    return s->id;
}

const char *store_site_id(const struct store *s)
{
    return s->conf->redis.n_stores == 1 ? store_id(s) : s->site->id;
}

uint64_t store_quarantine_ms(const struct store *s)
{
    uint64_t now = clock_boot_ms();
    return s->quarantine_ends_ms > now ? s->quarantine_ends_ms - now : 0;
}

uint64_t store_quarantine_length_ms(const struct store *s)
{
    uint64_t lease = s->conf->proxy.lease_long_ms, job = s->conf->migrator.job_lease_ms;
    lease = lease > job ? lease : job;
    return lease + lease / 10 + s->lag_ms;
}

/* A replica that is made master leaves the old one, which goes on with those that follow it still: what only
 * these have is lost when they follow the new one too. That takes Sentinels seconds; a replica that is gone
 * for longer has crashed. A new master is not followed by all at once, and the next one may be one of those
 * that do not yet. That takes Sentinels a second or two; then one is missing because it was the old
 * master. */
uint64_t store_replicas_wanted(struct store *s, uint64_t connected)
{
    uint64_t now = clock_boot_ms();
    bool is_new = s->replicas_generation != s->generation;
    if (connected >= s->replicas_most) {
        s->replicas_most = connected;
        s->replicas_fewer_ms = 0;
    } else if (is_new || s->replicas_fewer_ms == 0) {
        s->replicas_fewer_ms = now;
        s->replicas_grace_ms = is_new ? REPLICA_JOINS_MS : REPLICA_GONE_MS;
    } else if (now - s->replicas_fewer_ms >= s->replicas_grace_ms) {
        s->replicas_most = connected;
        s->replicas_fewer_ms = 0;
    }
    s->replicas_generation = s->generation;
    return s->replicas_most > s->replicas_min ? s->replicas_most : s->replicas_min;
}

bool store_has_replicas(const struct store *s)
{
    return s->replicas_most > 0 || s->replicas_min > 0;
}

char *store_key(const struct store *s, const char *fmt, ...)
{
    struct buf b = {0};
    va_list ap;
    buf_printf(&b, "%s:", s->prefix);
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    char *key = xstrdup(buf_str(&b));
    buf_free(&b);
    return key;
}

size_t store_names(const struct store *s, const char *kind, const struct reply *keys, struct span *names)
{
    char *before = store_key(s, "%s:", kind);
    size_t len = strlen(before), n = 0;

    for (size_t i = 0; i < reply_count(keys); i++) {
        struct span key = reply_str(reply_at(keys, i));
        if (key.len > len && memcmp(key.p, before, len) == 0)
            names[n++] = span_of(key.p + len, key.len - len);
    }
    free(before);
    return n;
}

static void leave_callback(struct store *s)
{
    if (--s->busy > 0 || !s->gone)
        return;
    free(s->id);
    free(s->prefix);
    free(s->why);
    free(s->foreign);
    free(s->refusal);
    free(s->detail);
    free(s);
}

/* Told of each change; detail of a change to the same state only where news says so. */
static void set_state(struct store *s, enum store_state state, bool news, const char *detail)
{
    if (s->state == state && !news)
        return;
    s->state = state;
    free(s->detail);
    s->detail = xstrdup(detail);
    if (s->fn)
        s->fn(s->owner, state, detail);
}

/* ---- calls ---- */

/* One block: the spans, then their bytes. */
static struct span *copy_spans(const struct span *v, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += v[i].len;
    struct span *out = xmalloc(n * sizeof(*out) + bytes + 1);
    uint8_t *p = (uint8_t *)(out + n);
    for (size_t i = 0; i < n; i++) {
        if (v[i].len > 0)
            memcpy(p, v[i].p, v[i].len);
        out[i] = span_of(p, v[i].len);
        p += v[i].len;
    }
    return out;
}

static void call_free(struct call *c)
{
    free(c->args);
    free(c);
}

static void call_drop(struct call *c)
{
    if (c->drop)
        c->drop(c->owner);
    c->fn = NULL;
    c->drop = NULL;
}

static void drop_calls(struct call_list *list)
{
    struct call *c;
    while ((c = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, c, link);
        call_drop(c);
        call_free(c);
    }
}

/* False: the store was freed from inside. */
static bool call_finish(struct call *c, enum redis_rc rc, const struct reply *r)
{
    struct store *s = c->s;
    redis_fn fn = c->fn;
    void *owner = c->owner;
    call_free(c);
    if (fn)
        fn(owner, rc, r);
    return !s->gone;
}

static struct call *call_new(struct store *s, const void *who, redis_fn fn, void *owner, store_drop_fn drop)
{
    struct call *c = xcalloc(1, sizeof(*c));
    c->s = s;
    c->fn = fn;
    c->owner = owner;
    c->who = who;
    c->drop = drop;
    c->script = "";
    return c;
}

static void on_task(struct loop_task *task)
{
    struct store *s = CONTAINER_OF(task, struct store, task);
    struct call *c;
    size_t n = 0;
    bool alive = true;

    s->busy++;
    TAILQ_FOREACH(c, &s->refused, link)
    n++;
    while (alive && n-- > 0 && (c = TAILQ_FIRST(&s->refused))) {
        TAILQ_REMOVE(&s->refused, c, link);
        alive = call_finish(c, REDIS_DOWN, reply_none());
    }
    if (alive && !TAILQ_EMPTY(&s->refused))
        loop_defer(s->loop, &s->task);
    leave_callback(s);
}

/* ---- hello ---- */

static void say(struct store *s, const char *script);
static void say_hello(struct store *s);

static bool begins(struct span text, const char *with)
{
    size_t n = strlen(with);
    return text.len >= n && memcmp(text.p, with, n) == 0;
}

static const char refused_before[] = "hello was refused";

static void on_again(void *owner)
{
    struct store *s = owner;
    if (s->state == STORE_FOREIGN || s->stays)
        say_hello(s);
    else
        redis_reset(s->redis, refused_before);
}

static void sound_alarm(struct store *s)
{
    uint64_t now = clock_boot_ms();

    if (!s->alarms || (s->alarmed_ms && now - s->alarmed_ms < ALARM_MS))
        return;
    s->alarmed_ms = now;
    LOG(ERROR, s->at_odds ? "store_differs" : "store_missing", LOG_S("why", s->foreign),
        LOG_S("effect", "every login is refused, and nothing is migrated"));
}

static void now_foreign(struct store *s, const char *detail)
{
    timer_start(s->again, HELLO_RETRY_MS);
    free(s->foreign);
    s->foreign = xstrdup(detail);
    sound_alarm(s);
    set_state(s, STORE_FOREIGN, false, detail);
}

/* Of the two connections of store_new_beside() the one that has the id. */
static struct store *first_of(struct store *s)
{
    return s->first ? s->first : s;
}

/* False: both said hello before either was answered, and the answers name two stores. */
static bool take_id(struct store *s, struct span id)
{
    struct store *first = first_of(s);
    if (!*first->id) {
        free(first->id);
        first->id = xspandup(id);
    }
    return span_is(id, first->id);
}

/* The other connection knows another generation: it looks again. False: a newer one, so this server was the
 * master once. */
static bool agrees(struct store *s, uint64_t generation)
{
    struct store *other = s->first ? s->first : s->beside;
    if (!other || other->state != STORE_UP || other->generation == generation)
        return true;
    say_hello(other);
    return other->generation < generation;
}

static uint64_t reply_number(const struct reply *r)
{
    int64_t n = reply_int(r);
    return n > 0 ? (uint64_t)n : 0;
}

static void hello_ok(struct store *s, const struct reply *r)
{
    uint64_t generation = reply_number(reply_at(r, 2));
    bool news = generation != s->generation;
    timer_stop(s->again);
    free(s->foreign);
    s->foreign = NULL;
    s->at_odds = false;
    s->alarmed_ms = s->again_ms = 0;
    free(s->refusal);
    s->refusal = NULL;
    if (!agrees(s, generation)) {
        redis_reset(s->redis, "it is no longer the master");
        return;
    }
    s->loaded = false;
    s->greetings = 0;
    s->generation = generation;
    s->quarantine_ends_ms = clock_boot_ms() + reply_number(reply_at(r, 3));
    if (news || s->state != STORE_UP)
        LOG(INFO, "store_up", LOG_S("id", first_of(s)->id), LOG_U("generation", generation),
            LOG_U("quarantine_ms", reply_number(reply_at(r, 3))));
    if (s->beside && s->beside->stays && timer_is_set(s->beside->again))
        say_hello(s->beside);
    set_state(s, STORE_UP, news, "");
}

/* What a process that has just begun, or a new master, can't have seen connected. One that never comes is let
 * go. */
static void note_replicas(struct store *s)
{
    uint64_t live = redis_replicas(s->redis);
    if (live > s->replicas_most)
        s->replicas_most = live;
}

/* stays: what is amiss is no reason to connect anew. It is asked again until it is well, and told once. */
static void hello_refused(struct store *s, bool stays, const char *why)
{
    if (!s->refusal || strcmp(s->refusal, why) != 0) {
        LOG(WARN, "store_refused", LOG_S("why", why));
        free(s->refusal);
        s->refusal = xstrdup(why);
    }
    free(s->foreign);
    s->foreign = NULL;
    s->stays = stays;
    s->again_ms = stays && s->again_ms ? HELLO_RETRY_MAX_MS : HELLO_RETRY_MS;
    timer_start(s->again, s->again_ms + random_u64() % (s->again_ms / 4));
    set_state(s, STORE_DOWN, false, why);
}

static void source_differs(struct store *s, struct span source)
{
    char *theirs = xspandup(source);
    char *text = xasprintf(
        "accounts without a record live on \"%s\" by the store, and on \"%s\" by migration.source of this "
        "configuration: set it back; or, if their mail is on \"%s\", see \"imapferryctl route source --help\"",
        theirs, s->conf->migration.source, s->conf->migration.source);

    now_foreign(s, text);
    free(text);
    free(theirs);
}

/* r: which store it is, of how many, by its record. */
static void store_misplaced(struct store *s, const struct reply *r)
{
    char *place = xspandup(reply_str(reply_at(r, 1))), *of = xspandup(reply_str(reply_at(r, 2)));
    char *text = xasprintf(
        "by its record this is store %s of %s, and by url and spread in the section redis of this configuration it is %zu of %s: "
        "%s; what they were made for is changed as the handbook's chapter on Redis says",
        place, of, s->nth + 1, s->of,
        address_has_cluster(store_address(s))
            ? "how many partitions there are was fixed when they were made"
            : "all programs have to name all stores of the site, in the order in which they were made");

    now_foreign(s, text);
    free(text);
    free(place);
    free(of);
}

/* False: it belongs with other stores than those that this process knows. */
static bool take_site(struct store *s, struct span site)
{
    if (s->conf->redis.n_stores == 1)
        return true;
    if (!*s->site->id)
        snprintf(s->site->id, sizeof(s->site->id), "%.*s", (int)site.len, (const char *)site.p);
    return span_is(site, s->site->id);
}

static void store_on_look(void *owner, const char *why)
{
    struct store *s = owner;

    s->busy++;
    s->looked = !why;
    if (why)
        hello_refused(s, true, why);
    else
        say_hello(s);
    leave_callback(s);
}

/* A connection beside another one waits for that to look, which says hello for it then. */
static bool store_hesitates(struct store *s)
{
    if (s->hesitated || s->generation == 0)
        return false;
    s->hesitated = s->stays = true;
    timer_start(s->again, s->first ? LOOK_BESIDE_MS : random_u64() % LOOK_SPREAD_MS);
    return true;
}

/* Of a partition that may be half moved (cluster.h) nothing is said before all masters were asked: a change of server means
 * that it may be, and is always answered by "greet"; a daemon that begins knows nothing; and what lacks a store may be the other
 * half. True: on with store_on_look(), or with another hello. */
static bool store_looks_first(struct store *s, struct span word)
{
    bool greets = span_is(word, "greet"), lacks = span_is(word, "nostore"),
         fresh = s->careful && s->generation == 0;
    bool doubt = redis_was_moving(s->redis) || ((greets || fresh) && !s->looked);

    if (!address_has_cluster(store_address(s)) || !(greets || lacks || span_is(word, "ok")) || !doubt)
        return false;
    if (!greets || !store_hesitates(s))
        redis_look(s->redis, greets || lacks, store_on_look, s);
    return true;
}

static const char *store_lacks(struct span why)
{
    return span_is(why, "coming") ? "this store is being made (\"imapferryctl route restore\" is at work)"
           : span_is(why, "moved")
               ? "the store that was here was moved to others: the section redis of this configuration has to name these "
                 "(a \"route move\" that was ended early is done again behind \"route reopen\")"
               : "this Redis holds no store (\"imapferryctl init\" makes one; if it held one before, it lost it)";
}

static void on_hello(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct store *s = owner;
    struct span word = reply_str(reply_at(r, 0));

    FAULT_POINT("script", "hello", "answered");
    if (rc == REDIS_DOWN)
        return;
    s->busy++;
    s->at_odds = span_is(word, "source");
    s->empty = span_is(word, "nostore");
    s->coming = s->empty && span_is(reply_str(reply_at(r, 1)), "coming");
    if (rc == REDIS_ERROR_REPLY && library_is_missing(reply_str(r)) && !s->loaded) {
        s->hello_missing = true;
        library_load(&s->library);
    } else if (store_looks_first(s, word)) {
        /* nothing is said yet */
    } else if (span_is(word, "greet") && s->greetings < GREETINGS_MAX) {
        s->greetings++;
        say(s, "greet");
    } else if (span_is(word, "ok") && !take_site(s, reply_str(reply_at(r, 4)))) {
        now_foreign(s,
                    "this store was made for another site than those of the other urls in the section redis");
    } else if (span_is(word, "ok") && take_id(s, reply_str(reply_at(r, 1)))) {
        note_replicas(s);
        hello_ok(s, r);
    } else if (span_is(word, "place")) {
        store_misplaced(s, r);
    } else if (span_is(word, "nostore")) {
        now_foreign(s, store_lacks(reply_str(reply_at(r, 1))));
    } else if (span_is(word, "foreign") || span_is(word, "ok")) {
        now_foreign(s, "this Redis holds another store than at the start of this process");
    } else if (s->at_odds) {
        source_differs(s, reply_str(reply_at(r, 1)));
    } else {
        bool stays = begins(reply_str(r), "NOREPLICAS");
        char *text = span_is(word, "replica") ? xstrdup("this Redis is a replica, not the master")
                     : span_is(word, "greet") ? xstrdup("this Redis answers a greeting by another one")
                                              : library_why(reply_str(r));
        hello_refused(s, stays, text);
        free(text);
    }
    leave_callback(s);
}

static void say(struct store *s, const char *script)
{
    char number[24], place[24];
    snprintf(number, sizeof(number), "%" PRIu64, store_quarantine_length_ms(s));
    snprintf(place, sizeof(place), "%zu", s->nth + 1);
    struct span argv[] = {span_str("FCALL"),
                          span_str(library_function(script)),
                          span_str("1"),
                          span_str(s->prefix),
                          span_str(first_of(s)->id),
                          span_str(number),
                          span_str(s->conf->migration.source ? s->conf->migration.source : ""),
                          span_str(s->alarms ? "1" : ""),
                          span_str(place),
                          span_str(s->of)};
    FAULT_POINT("script", "hello", "sent");
    redis_command(s->redis, argv, COUNTOF(argv), 0, on_hello, s);
}

static void say_hello(struct store *s)
{
    say(s, "hello");
}

static void refuse(struct call *c);
static void send_call(struct call *c);

/* Calls that wait for the library: to be sent, or, where it is none, to be refused. */
static void end_waiting(struct store *s, bool send)
{
    struct call *c, *next;
    s->awaits = false;
    for (c = TAILQ_FIRST(&s->sent); c; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->place == CALL_SENT)
            continue;
        if (send && !c->overtaken) {
            send_call(c);
        } else {
            TAILQ_REMOVE(&s->sent, c, link);
            refuse(c);
        }
    }
}

/* Loaded before hello, or since a call found that it is gone. All calls that were sent before it are
 * answered. */
static void on_library(void *owner, bool there, const char *why)
{
    struct store *s = owner;
    bool hello = s->state != STORE_UP || s->hello_missing;
    s->busy++;
    s->hello_missing = false;
    s->loaded = there && s->state != STORE_UP;
    end_waiting(s, there);
    if (!there)
        hello_refused(s, false, why);
    else if (hello)
        say_hello(s);
    leave_callback(s);
}

static void on_lag(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct store *s = owner;
    if (rc == REDIS_DOWN)
        return;
    s->lag_ms = LAG_DEFAULT_S * 1000;
    s->replicas_min = reply_number(reply_get(r, "min-replicas-to-write"));
    if (rc == REDIS_OK)
        s->lag_ms = s->replicas_min > 0 ? reply_number(reply_get(r, "min-replicas-max-lag")) * 1000 : 0;
    say_hello(s);
}

static void greet(struct store *s)
{
    struct span argv[] = {span_str("CONFIG"), span_str("GET"), span_str("min-replicas-*")};
    redis_command(s->redis, argv, COUNTOF(argv), 0, on_lag, s);
}

/* The connection beside this one may have said nothing meanwhile. */
static void store_share_doubt(struct store *s, const char *why)
{
    struct store *other = s->first ? s->first : s->beside;

    if (other && redis_was_moving(s->redis) && !redis_was_moving(other->redis))
        redis_doubt(other->redis, s->redis, why);
}

static void on_redis(void *owner, bool up, const char *detail)
{
    struct store *s = owner;
    bool again = !up && s->refusal && strcmp(detail, refused_before) == 0;
    timer_stop(s->again);
    s->greetings = 0;
    s->loaded = s->hello_missing = s->looked = s->hesitated = s->stays = false;
    end_waiting(s, false);
    if (up)
        greet(s);
    if (up || again) /* that it is down was told, with the reason */
        return;
    LOG(WARN, "store_down", LOG_S("why", detail));
    store_share_doubt(s, detail);
    free(s->foreign);
    s->foreign = NULL;
    s->busy++;
    set_state(s, STORE_DOWN, true, detail);
    leave_callback(s);
}

void store_heard(struct store *s, uint64_t generation)
{
    if (s->state == STORE_UP && generation != s->generation)
        say_hello(s);
}

/* ---- scripts and commands ---- */

static bool holds(struct span text, const char *what)
{
    return text.len > 0 && memmem(text.p, text.len, what, strlen(what)) != NULL;
}

/* What an answer says about the store itself; behind the callback, which may have freed the store. */
static void learn(struct store *s, const char *script, enum redis_rc rc, const struct reply *r)
{
    if (rc == REDIS_ERROR_REPLY && holds(reply_str(r), "READONLY"))
        redis_reset(s->redis, "it became a replica");
    if (rc != REDIS_OK)
        return;
    if (strcmp(script, "init") == 0)
        say_hello(s);
    else if (span_is(reply_str(reply_at(r, 0)), "nostore") && s->state == STORE_UP)
        now_foreign(s, "the store is gone from this Redis, or is another one");
}

const char *store_why(const struct store *s)
{
    if (s->why)
        return s->why;
    return s->foreign ? s->foreign : "Redis does not answer";
}

const char *store_detail(const struct store *s)
{
    return s->detail && *s->detail ? s->detail : store_why(s);
}

bool store_is_at_odds(const struct store *s)
{
    return s->at_odds;
}

bool store_is_coming(const struct store *s)
{
    return s->state == STORE_FOREIGN && s->coming;
}

bool store_is_empty(const struct store *s)
{
    return s->state == STORE_FOREIGN && s->empty;
}

void store_sound_alarm(struct store *s)
{
    s->alarms = true;
}

void store_begin_with_a_look(struct store *s)
{
    s->careful = true;
}

bool store_refuses(const struct store *s)
{
    return s->refuses;
}

void store_not_understood(struct store *s, const char *what)
{
    s->refuses = true;
    free(s->why);
    s->why = xasprintf("Redis holds what is none of ours: %s", what);
}

static char *error_text(const struct reply *r)
{
    struct buf text = {0};

    if (library_is_denied(reply_str(r)))
        return library_why(reply_str(r));
    imap_write_text(&text, reply_str(r));
    char *why = xasprintf("Redis answers by an error: %s", buf_str(&text));
    buf_free(&text);
    return why;
}

static char *missing_text(const struct reply *r)
{
    return span_is(reply_str(reply_at(r, 0)), "nostore") ? xstrdup("the store is missing or another one")
                                                         : NULL;
}

/* A key of another type, or a script that stumbled over what it read. Others, such as OOM, READONLY, LOADING,
 * NOREPLICAS and BUSY, pass. */
static bool is_about_records(struct span error)
{
    return begins(error, "WRONGTYPE") ||
           (begins(error, "ERR ") && holds(error, "user_function") && !library_is_denied(error));
}

/* It was executed: what had been given before it, and found no library, would come too late. */
static void note_overtaken(struct call *c)
{
    struct call *before = c;
    while ((before = TAILQ_PREV(before, call_list, link))) {
        if (before->place == CALL_MISSING)
            before->overtaken = true;
    }
}

static void on_call(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct call *c = owner;
    struct store *s = c->s;
    const char *script = c->script;

    /* Somebody took the functions away. Nothing was executed. */
    if (rc == REDIS_ERROR_REPLY && *script && !c->again && library_is_missing(reply_str(r))) {
        c->place = CALL_MISSING;
        s->awaits = true;
        library_load(&s->library);
        return;
    }
    if (s->awaits && rc != REDIS_DOWN)
        note_overtaken(c);
    if (*script)
        FAULT_POINT("script", script, "answered");
    /* BUSYGROUP: what was to be made is there. */
    if (rc == REDIS_ERROR_REPLY && !begins(reply_str(r), "BUSYGROUP"))
        LOG(WARN, "store_error", LOG_S("script", script), LOG_SPAN("error", reply_str(r)));
    TAILQ_REMOVE(&s->sent, c, link);
    s->busy++;
    free(s->why);
    s->why = rc == REDIS_ERROR_REPLY ? error_text(r) : rc == REDIS_OK ? missing_text(r) : NULL;
    s->refuses = rc == REDIS_ERROR_REPLY && is_about_records(reply_str(r));
    if (call_finish(c, rc, r))
        learn(s, script, rc, r);
    leave_callback(s);
}

static void send_script(struct call *c)
{
    struct store *s = c->s;
    size_t n = 5 + c->n_args;
    struct span *argv = xcalloc(n, sizeof(*argv));
    FAULT_POINT("script", c->script, "sent");
    argv[0] = span_str("FCALL");
    argv[1] = span_str(library_function(c->script));
    argv[2] = span_str("1");
    argv[3] = span_str(s->prefix);
    argv[4] = span_str(first_of(s)->id);
    memcpy(argv + 5, c->args, c->n_args * sizeof(*argv));
    redis_command(s->redis, argv, n, 0, on_call, c);
    free(argv);
}

static void send_call(struct call *c)
{
    c->again = c->place == CALL_MISSING;
    c->place = CALL_SENT;
    if (*c->script)
        send_script(c);
    else
        redis_command(c->s->redis, c->args, c->n_args, 0, on_call, c);
}

static void refuse(struct call *c)
{
    struct store *s = c->s;
    TAILQ_INSERT_TAIL(&s->refused, c, link);
    loop_defer(s->loop, &s->task);
}

void store_script_for(struct store *s, const void *who, const char *name, const struct span *args, size_t n,
                      redis_fn fn, void *owner, store_drop_fn drop)
{
    struct call *c = call_new(s, who, fn, owner, drop);
    c->script = name;
    c->args = copy_spans(args, n);
    c->n_args = n;
    static const char *const early_ones[] = {"init", "restore", "reserve", "carry", "source", "reopen"};
    bool early = false;
    for (size_t i = 0; i < COUNTOF(early_ones); i++)
        early = early || (strcmp(name, early_ones[i]) == 0 && redis_is_up(s->redis));
    if (!library_function(name) || (s->state != STORE_UP && !early)) {
        refuse(c);
        return;
    }
    TAILQ_INSERT_TAIL(&s->sent, c, link);
    if (s->awaits)
        c->place = CALL_HELD;
    else
        send_script(c);
}

void store_command_for(struct store *s, const void *who, const struct span *argv, size_t argc, redis_fn fn,
                       void *owner, store_drop_fn drop)
{
    struct call *c = call_new(s, who, fn, owner, drop);
    if (s->state != STORE_UP) {
        refuse(c);
        return;
    }
    TAILQ_INSERT_TAIL(&s->sent, c, link);
    if (s->awaits) {
        c->place = CALL_HELD;
        c->args = copy_spans(argv, argc);
        c->n_args = argc;
    } else {
        redis_command(s->redis, argv, argc, 0, on_call, c);
    }
}

void store_script(struct store *s, const char *name, const struct span *args, size_t n, redis_fn fn,
                  void *owner)
{
    store_script_for(s, owner, name, args, n, fn, owner, NULL);
}

void store_command(struct store *s, const struct span *argv, size_t argc, redis_fn fn, void *owner)
{
    store_command_for(s, owner, argv, argc, fn, owner, NULL);
}

static void forget_in(struct call_list *list, const void *who)
{
    struct call *c;
    TAILQ_FOREACH(c, list, link)
    if (c->who == who)
        call_drop(c);
}

void store_forget(struct store *s, void *owner)
{
    forget_in(&s->sent, owner);
    forget_in(&s->refused, owner);
    waits_forget(&s->waits, owner);
}

/* ---- life ---- */

struct store *store_new(struct loop *l, const struct conf *conf, size_t nth, struct store_site *site,
                        uint64_t timeout_ms, store_state_fn fn, void *owner)
{
    struct store *s = xcalloc(1, sizeof(*s));
    s->loop = l;
    s->conf = conf;
    s->nth = nth;
    snprintf(s->of, sizeof(s->of), "%zu%s", conf->redis.n_stores,
             conf->redis.n_stores > 1 && conf->redis.spread == SPREAD_DOMAIN ? "/domain" : "");
    s->site = site;
    s->fn = fn;
    s->owner = owner;
    s->id = xstrdup("");
    s->prefix = conf_store_prefix(&conf->redis, store_address(s));
    s->task.fn = on_task;
    TAILQ_INIT(&s->sent);
    TAILQ_INIT(&s->refused);
    waits_init(&s->waits);
    s->again = timer_new(l, on_again, s);
    s->redis = redis_new(l, &conf->redis, store_address(s), timeout_ms, on_redis, s);
    s->library = (struct library){.redis = s->redis, .fn = on_library, .owner = s};
    return s;
}

struct store *store_new_beside(struct store *first, uint64_t timeout_ms, store_state_fn fn, void *owner)
{
    struct store *s = store_new(first->loop, first->conf, first->nth, first->site, timeout_ms, fn, owner);
    assert(!first->first && !first->beside);
    s->first = first;
    first->beside = s;
    return s;
}

void store_set_silence(struct store *s, uint64_t ms)
{
    redis_set_silence(s->redis, ms);
}

void store_free(struct store **sp)
{
    struct store *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    s->gone = true;
    s->state = STORE_DOWN;
    assert(!s->beside);
    if (s->first)
        s->first->beside = NULL;
    redis_free(&s->redis);
    timer_free(&s->again);
    loop_undefer(s->loop, &s->task);
    drop_calls(&s->sent);
    drop_calls(&s->refused);
    waits_free(&s->waits);
    s->busy++;
    leave_callback(s);
}
