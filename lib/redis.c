#include <stdio.h>
#include <stdlib.h>

#include "cluster.h"
#include "conf.h"
#include "dial.h"
#include "imap_write.h"
#include "metrics.h"
#include "redis.h"
#include "redis_scan.h"
#include "sentinel.h"
#include "xalloc.h"

/* Behind ours: it defines REDIS_OK too, with the same value. */
#include <hiredis/hiredis.h>

enum {
    RETRY_MIN_MS = 100,
    RETRY_MAX_MS = 2000,
    RETRY_MOVING_MS = 300, /* while a slot is on its way, which mostly takes less than a lease */
    MASTER_POLL_MS = 5000,
};

static const struct redis_limits answer_limits = {
    .element_max = 64 << 20, .count_max = 1000000, .bytes_max = 256 << 20, .line_max = 64 << 10};
static const struct stream_limits stream_limits = {.high_water = 1 << 20, .queue_max = 128 << 20};

/* A command whose answer is waited for. */
struct pending {
    TAILQ_ENTRY(pending) link;
    redis_fn fn;      /* NULL: nobody wants it any more */
    void *owner;      /* borrowed */
    uint64_t due_ms;  /* by clock_boot_ms() */
    uint64_t sent_ns; /* 0: it is meant to wait */
};
TAILQ_HEAD(pending_list, pending);

enum phase { PHASE_DOWN, PHASE_ASKING, PHASE_DIALING, PHASE_SIGNIN, PHASE_UP };

struct redis {
    struct loop *loop;
    const struct conf_redis *conf; /* borrowed, as the address */
    const struct address *address;
    uint64_t timeout_ms;
    redis_state_fn fn;
    void *owner; /* borrowed */
    enum phase phase;
    struct tls_policy *policy;    /* held; NULL without TLS */
    bool policy_given;            /* ... and not made of the files of conf */
    bool policy_old;              /* the files may have others in them by now */
    struct redis_hosts *question; /* to Sentinels or nodes: where it is, or whether it still is there */
    size_t hosts_first;
    size_t replicas; /* as a Sentinel said last */
    uint64_t silence_ms;
    struct address master; /* as the Sentinels, or nodes, named it; host is owned */
    struct cluster_look *look;
    bool look_strictly;
    char
        *look_preferred; /* owned; as what this node says that nodes are to be asked for; NULL: it does not */
    redis_look_fn look_fn;
    void *look_owner;             /* borrowed */
    bool moving;                  /* redis_was_moving() ... */
    struct address_host receiver; /* ... to where; host is owned, NULL: that was not said */
    struct dial *dial;
    struct stream *stream; /* owned */
    redisReader *reader;   /* owned */
    struct redis_scan scan;
    bool answered;            /* this connection brought an answer that is no error */
    struct pending_list sent; /* in the order of their answers */
    struct loop_task flush;   /* sends the commands of a round of the loop as one write */
    struct pending_list lost; /* to be told REDIS_DOWN by the task */
    char *broken;             /* owned; to be told by the task before */
    char *told;               /* owned; the last failure that was told since it was up */
    struct loop_task task;
    struct timer *retry, *deadline, *poll;
    uint64_t deadline_ms, retry_ms;
    unsigned busy; /* callbacks that are running: memory stays until they are through */
    bool gone;
};

/* ---- answers ---- */

static const redisReply *inside(const struct reply *r)
{
    return (const redisReply *)(const void *)r;
}

static const struct reply *outside(const redisReply *r)
{
    static const redisReply nil = {.type = REDIS_REPLY_NIL};
    return (const struct reply *)(const void *)(r ? r : &nil);
}

enum reply_type reply_type(const struct reply *r)
{
    switch (inside(r)->type) {
    case REDIS_REPLY_STRING:
        return REPLY_STRING;
    case REDIS_REPLY_ARRAY:
        return REPLY_ARRAY;
    case REDIS_REPLY_INTEGER:
        return REPLY_INT;
    case REDIS_REPLY_STATUS:
        return REPLY_STATUS;
    case REDIS_REPLY_ERROR:
        return REPLY_ERROR;
    default:
        return REPLY_NIL;
    }
}

struct span reply_str(const struct reply *r)
{
    enum reply_type t = reply_type(r);
    if (t != REPLY_STRING && t != REPLY_STATUS && t != REPLY_ERROR)
        return span_of(NULL, 0);
    return span_of(inside(r)->str, (size_t)inside(r)->len);
}

const struct reply *reply_none(void)
{
    return outside(NULL);
}

int64_t reply_int(const struct reply *r)
{
    uint64_t n = 0;
    if (reply_type(r) == REPLY_INT)
        return inside(r)->integer;
    return span_u64(reply_str(r), INT64_MAX, &n) ? (int64_t)n : 0;
}

size_t reply_count(const struct reply *r)
{
    return reply_type(r) == REPLY_ARRAY ? (size_t)inside(r)->elements : 0;
}

const struct reply *reply_at(const struct reply *r, size_t i)
{
    return outside(i < reply_count(r) ? inside(r)->element[i] : NULL);
}

const struct reply *reply_get(const struct reply *r, const char *name)
{
    for (size_t i = 0; i + 1 < reply_count(r); i += 2)
        if (span_is(reply_str(reply_at(r, i)), name))
            return reply_at(r, i + 1);
    return outside(NULL);
}

/* ---- the connection ---- */

static void start_deadline(struct redis *r, uint64_t due_ms)
{
    uint64_t now = clock_boot_ms();
    if (timer_is_set(r->deadline) && r->deadline_ms <= due_ms)
        return;
    r->deadline_ms = due_ms;
    timer_start(r->deadline, due_ms > now ? due_ms - now : 0);
}

/* Nothing of ours is told from inside a call, so it is told by a task. */
static void lose(struct redis *r, const char *why)
{
    if (r->phase == PHASE_DOWN)
        return;
    if (!r->broken && (!r->told || strcmp(r->told, why) != 0))
        r->broken = xstrdup(why);
    r->phase = PHASE_DOWN;
    redis_hosts_cancel(&r->question);
    cluster_look_cancel(&r->look);
    dial_cancel(&r->dial);
    loop_undefer(r->loop, &r->flush);
    stream_reset(&r->stream); /* what was not heard is asked again, and must not be heard later too */
    if (r->reader)
        redisReaderFree(r->reader);
    r->reader = NULL;
    timer_stop(r->deadline);
    timer_stop(r->poll);
    TAILQ_CONCAT(&r->lost, &r->sent, link);
    loop_defer(r->loop, &r->task);
    uint64_t jitter = random_u64() % (r->retry_ms / 4 + 1);
    timer_start(r->retry, r->retry_ms + jitter);
    uint64_t most = r->moving ? RETRY_MOVING_MS : RETRY_MAX_MS;
    r->retry_ms = r->retry_ms * 2 > most ? most : r->retry_ms * 2;
}

static void redis_leave_callback(struct redis *r)
{
    if (--r->busy == 0 && r->gone)
        free(r);
}

/* False: r was freed by the callback (its memory stays until redis_leave_callback()). */
static bool tell_state(struct redis *r, bool up, const char *detail)
{
    free(r->told);
    r->told = up ? NULL : xstrdup(detail);
    if (r->fn)
        r->fn(r->owner, up, detail);
    return !r->gone;
}

static void redis_count(const struct pending *p, enum redis_rc rc)
{
    static const char *const words[] = {
        [REDIS_OK] = "ok", [REDIS_ERROR_REPLY] = "error", [REDIS_DOWN] = "lost"};

    metric_add(METRIC_REDIS_CALLS, 1, words[rc], NULL);
    if (rc != REDIS_DOWN && p->sent_ns)
        metric_observe(METRIC_REDIS_DURATION, (uv_hrtime() - p->sent_ns) / 1000, NULL, NULL);
}

static bool answer(struct redis *r, struct pending *p, enum redis_rc rc, const struct reply *reply)
{
    redis_count(p, rc);
    redis_fn fn = p->fn;
    void *owner = p->owner;
    free(p);
    if (fn)
        fn(owner, rc, reply);
    return !r->gone;
}

static void redis_on_task(struct loop_task *task)
{
    struct redis *r = CONTAINER_OF(task, struct redis, task);
    char *broken = r->broken;
    struct pending_list lost = TAILQ_HEAD_INITIALIZER(lost);
    size_t n = 0;
    struct pending *p;

    r->broken = NULL;
    r->busy++;
    bool alive = !broken || tell_state(r, false, broken);
    free(broken);
    /* What is lost from inside these callbacks waits for the next task. */
    if (alive)
        TAILQ_FOREACH(p, &r->lost, link)
    n++;
    while (alive && n-- > 0 && (p = TAILQ_FIRST(&r->lost))) {
        TAILQ_REMOVE(&r->lost, p, link);
        alive = answer(r, p, REDIS_DOWN, outside(NULL));
    }
    if (alive && !TAILQ_EMPTY(&r->lost))
        loop_defer(r->loop, &r->task);
    redis_leave_callback(r);
}

static void redis_note_receiver(struct redis *r, struct span host, uint16_t port)
{
    free(r->receiver.host);
    r->receiver = (struct address_host){.host = xspandup(host), .port = port};
}

/* What the answer says of where the partition is, for people, to free. NULL: nothing. */
static char *redirection(struct redis *r, struct span error)
{
    struct cluster_place p = {0};
    enum cluster_word word = cluster_word(error, &p);
    unsigned partition = (unsigned)r->address->partition;
    struct span host = p.host.len ? p.host : span_str(r->master.host ? r->master.host : "");

    if (word == CLUSTER_OTHER)
        return NULL;
    r->moving = r->moving || word == CLUSTER_ASK || word == CLUSTER_TRYAGAIN;
    if (word == CLUSTER_ASK)
        redis_note_receiver(r, host, p.port);
    if (word == CLUSTER_MOVED)
        return xasprintf("partition {%02u} is at %.*s:%u now", partition, (int)host.len, (const char *)host.p,
                         p.port);
    if (word == CLUSTER_ASK)
        return xasprintf(
            "partition {%02u} is on its way to %.*s:%u, and can't be used until all of it is there "
            "(slot %u)",
            partition, (int)host.len, (const char *)host.p, p.port, (unsigned)p.slot);
    if (word == CLUSTER_TRYAGAIN)
        return xasprintf(
            "partition {%02u} is on its way to another node, and can't be used until all of it is there",
            partition);
    return xasprintf("partition {%02u} can't be reached: %.*s", partition, (int)error.len,
                     (const char *)error.p);
}

/* Nothing was executed. True: the connection is lost, and who asked is told so. */
static bool redis_is_redirected(struct redis *r, struct pending *p, const redisReply *reply)
{
    char *why = NULL;

    if (address_has_cluster(r->address) && reply->type == REDIS_REPLY_ERROR)
        why = redirection(r, span_of(reply->str, (size_t)reply->len));
    if (!why)
        return false;
    TAILQ_INSERT_HEAD(&r->sent, p, link);
    lose(r, why);
    free(why);
    return true;
}

/* One answer. False: nothing more is to be read from this connection. */
static bool take_answer(struct redis *r, redisReply *reply)
{
    struct pending *p = TAILQ_FIRST(&r->sent);
    struct stream *s = r->stream;
    bool alive = true;

    if (p)
        TAILQ_REMOVE(&r->sent, p, link);
    if (p && redis_is_redirected(r, p, reply)) {
        alive = false;
    } else if (p) {
        enum redis_rc rc = reply->type == REDIS_REPLY_ERROR ? REDIS_ERROR_REPLY : REDIS_OK;
        alive = answer(r, p, rc, outside(reply));
    } else {
        lose(r, "an answer to no command");
    }
    freeReplyObject(reply);
    return alive && r->stream == s;
}

/* Another server says what it is, mostly, in its first line. */
static void lose_not_understood(struct redis *r, struct span bytes, const char *why)
{
    enum { SHOWN = 60 };
    struct buf text = {0};

    if (r->answered) {
        lose(r, why);
        return;
    }
    buf_add_str(&text, "this is no Redis (see redis: url), it says \"");
    imap_write_text(&text, span_of(bytes.p, bytes.len < SHOWN ? bytes.len : SHOWN));
    buf_add_str(&text, "\"");
    lose(r, buf_str(&text));
    buf_free(&text);
}

static void on_data(struct redis *r)
{
    struct span bytes = stream_peek(r->stream);
    const char *why = "";
    void *reply = NULL;

    if (!redis_scan_feed(&r->scan, &answer_limits, bytes, &why)) {
        lose_not_understood(r, bytes, why);
        return;
    }
    redisReaderFeed(r->reader, (const char *)bytes.p, bytes.len);
    stream_eat(r->stream, bytes.len);
    r->busy++;
    for (;;) {
        reply = NULL;
        if (redisReaderGetReply(r->reader, &reply) != REDIS_OK) {
            char *text = xstrdup(r->reader->errstr);
            lose(r, text);
            free(text);
            break;
        }
        if (reply && ((redisReply *)reply)->type != REDIS_REPLY_ERROR)
            r->answered = true;
        if (!reply || !take_answer(r, reply))
            break;
    }
    redis_leave_callback(r);
}

/* In TLS 1.3 a server says behind the handshake what it thinks of our certificate. */
static const char *wanted_way(const struct redis *r)
{
    const struct address *a = r->address;

    if (r->policy)
        return tls_policy_shows(r->policy) ? "another certificate than that of tls_cert"
                                           : "to be shown a certificate (redis: tls_cert)";
    return a->scheme == ADDRESS_REDIS_UNIX ? NULL : "TLS (rediss://, sentinels://)";
}

/* A Redis that wants a password hangs up at a long command of who has given none; one that wants TLS, or a
 * certificate, at each. */
static void lose_connection(struct redis *r, const char *what)
{
    const char *way = wanted_way(r);
    bool password = r->address->password != NULL;

    if (r->answered || (password && !way)) {
        lose(r, what);
        return;
    }
    char *why = xasprintf("%s; it has answered nothing: see whether it wants %s%s%s", what,
                          password ? "" : "a password (redis: url or password_file)",
                          !password && way ? " or " : "", way ? way : "");
    lose(r, why);
    free(why);
}

static void on_stream(struct stream *s, enum stream_event ev, void *owner)
{
    struct redis *r = owner;
    if (ev == STREAM_DATA)
        on_data(r);
    else if (ev == STREAM_EOF)
        lose_connection(r, "closed by Redis");
    else if (ev == STREAM_ERROR)
        lose_connection(r, stream_error(s));
}

static void on_deadline(void *owner)
{
    struct redis *r = owner;
    struct pending *p;
    uint64_t now = clock_boot_ms(), next = 0;

    TAILQ_FOREACH(p, &r->sent, link)
    {
        if (p->due_ms <= now) {
            lose_connection(r, "no answer in time");
            return;
        }
        if (next == 0 || p->due_ms < next)
            next = p->due_ms;
    }
    if (next)
        start_deadline(r, next);
}

/* ---- commands ---- */

static struct pending *pending_new(redis_fn fn, void *owner, uint64_t timeout_ms)
{
    struct pending *p = xcalloc(1, sizeof(*p));
    p->fn = fn;
    p->owner = owner;
    p->due_ms = clock_boot_ms() + timeout_ms;
    return p;
}

static void redis_on_flush(struct loop_task *task)
{
    stream_uncork(CONTAINER_OF(task, struct redis, flush)->stream);
}

static void send_command(struct redis *r, const struct span *argv, size_t argc, struct pending *p)
{
    const char **words = xcalloc(argc, sizeof(*words));
    size_t *lens = xcalloc(argc, sizeof(*lens));
    char *bytes = NULL;

    for (size_t i = 0; i < argc; i++) {
        words[i] = argv[i].len ? (const char *)argv[i].p : "";
        lens[i] = argv[i].len;
    }
    int len = (int)redisFormatCommandArgv(&bytes, (int)argc, words, lens);
    if (len < 0 || !bytes)
        abort(); /* out of memory: as everywhere */
    TAILQ_INSERT_TAIL(&r->sent, p, link);
    start_deadline(r, p->due_ms);
    if (!r->flush.queued)
        stream_cork(r->stream);
    loop_defer(r->loop, &r->flush);
    stream_send(r->stream, bytes, (size_t)len);
    wipe(bytes, (size_t)len);
    free(bytes);
    free(words);
    free(lens);
}

void redis_command(struct redis *r, const struct span *argv, size_t argc, uint64_t timeout_ms, redis_fn fn,
                   void *owner)
{
    struct pending *p = pending_new(fn, owner, timeout_ms ? timeout_ms : r->timeout_ms);
    p->sent_ns = timeout_ms ? 0 : uv_hrtime();
    if (r->phase == PHASE_UP) {
        send_command(r, argv, argc, p);
        return;
    }
    TAILQ_INSERT_TAIL(&r->lost, p, link);
    loop_defer(r->loop, &r->task);
}

static void redis_forget_in(struct pending_list *list, const void *owner)
{
    struct pending *p;
    TAILQ_FOREACH(p, list, link)
    if (p->owner == owner)
        p->fn = NULL;
}

void redis_forget(struct redis *r, void *owner)
{
    redis_forget_in(&r->sent, owner);
    redis_forget_in(&r->lost, owner);
}

/* ---- signing in ---- */

static void sign_in_refused(struct redis *r, const char *what, const struct reply *reply)
{
    char *text = xspandup(reply_str(reply));
    bool auth = !strcmp(what, "AUTH");
    char *why = xasprintf("%s refused: %s%s", what, text, auth ? " (redis: url or password_file)" : "");
    lose(r, why);
    free(why);
    free(text);
}

static bool redis_has_sentinels(const struct redis *r)
{
    return address_has_sentinels(r->address);
}

static void now_up(struct redis *r)
{
    r->phase = PHASE_UP;
    r->retry_ms = RETRY_MIN_MS;
    if (redis_has_sentinels(r))
        timer_start(r->poll, MASTER_POLL_MS);
    tell_state(r, true, "");
}

static void on_role(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct redis *r = owner;
    if (rc == REDIS_ERROR_REPLY)
        sign_in_refused(r, "ROLE", reply);
    else if (rc == REDIS_OK && !span_is(reply_str(reply_at(reply, 0)), "master"))
        lose(r, "the Sentinels name a server that is not a master");
    else if (rc == REDIS_OK)
        now_up(r);
}

/* Is the partition here? While its slot is given away, this is answered by ASK, and else by 0. */
static void on_exists(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct redis *r = owner;
    if (rc == REDIS_ERROR_REPLY)
        sign_in_refused(r, "EXISTS", reply);
    else if (rc == REDIS_OK && reply_int(reply) != 0)
        lose(
            r,
            "there is a key that has the bare prefix for its name: its absence tells that a slot is being moved");
    else if (rc == REDIS_OK)
        now_up(r);
}

static void check_partition(struct redis *r)
{
    char *prefix = conf_store_prefix(r->conf, r->address);
    struct span argv[] = {span_str("EXISTS"), span_str(prefix)};

    send_command(r, argv, COUNTOF(argv), pending_new(on_exists, r, r->timeout_ms));
    free(prefix);
}

static void check_role(struct redis *r)
{
    struct span argv[] = {span_str("ROLE")};
    if (address_has_cluster(r->address))
        check_partition(r);
    else if (redis_has_sentinels(r))
        send_command(r, argv, COUNTOF(argv), pending_new(on_role, r, r->timeout_ms));
    else
        now_up(r);
}

static void on_select(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct redis *r = owner;
    if (rc == REDIS_OK)
        check_role(r);
    else if (rc == REDIS_ERROR_REPLY)
        sign_in_refused(r, "SELECT", reply);
}

static void send_select(struct redis *r)
{
    char db[16];
    if (r->address->db == 0) {
        check_role(r);
        return;
    }
    snprintf(db, sizeof(db), "%u", (unsigned)r->address->db);
    struct span argv[] = {span_str("SELECT"), span_str(db)};
    send_command(r, argv, COUNTOF(argv), pending_new(on_select, r, r->timeout_ms));
}

static void on_auth(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct redis *r = owner;
    if (rc == REDIS_OK)
        send_select(r);
    else if (rc == REDIS_ERROR_REPLY)
        sign_in_refused(r, "AUTH", reply);
}

/* Any other error is about who may PING. */
static void on_ping(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct redis *r = owner;
    struct span text = reply_str(reply);
    if (rc == REDIS_ERROR_REPLY && text.len >= 6 && !memcmp(text.p, "NOAUTH", 6))
        lose(r, "Redis wants a password (redis: url or password_file)");
    else if (rc == REDIS_OK || rc == REDIS_ERROR_REPLY)
        send_select(r);
}

/* One that wants a password hangs up at a long command of who has given none, and then nobody hears why. */
static void send_ping(struct redis *r)
{
    struct span argv[] = {span_str("PING")};
    send_command(r, argv, COUNTOF(argv), pending_new(on_ping, r, r->timeout_ms));
}

static void send_auth(struct redis *r)
{
    const struct address *a = r->address;
    struct span argv[3] = {span_str("AUTH")};
    size_t n = 1;
    if (!a->password) {
        send_ping(r);
        return;
    }
    if (a->user)
        argv[n++] = span_str(a->user);
    argv[n++] = span_str(a->password);
    send_command(r, argv, n, pending_new(on_auth, r, r->timeout_ms));
}

static void lose_dial(struct redis *r, enum dial_rc rc, const char *detail)
{
    if (rc != DIAL_TLS_FAILED) {
        lose(r, detail);
        return;
    }
    char *why = xasprintf(
        "%s; whether there is TLS is said by how redis: url begins, and what is believed by ca_file, pin and tls_name%s",
        detail, tls_policy_shows(r->policy) ? "" : ", and none is shown without tls_cert");
    lose(r, why);
    free(why);
}

static void on_dial(void *owner, enum dial_rc rc, struct stream *s, const char *detail)
{
    struct redis *r = owner;
    r->dial = NULL;
    r->policy_old = r->policy_old || rc == DIAL_OK || rc == DIAL_TLS_FAILED;
    if (rc != DIAL_OK) {
        lose_dial(r, rc, detail);
        return;
    }
    r->stream = s;
    stream_set_owner(s, on_stream, r);
    r->reader = redisReaderCreate();
    if (!r->reader)
        abort(); /* out of memory: as everywhere */
    r->scan = (struct redis_scan){0};
    r->answered = false;
    r->phase = PHASE_SIGNIN;
    r->busy++;
    send_auth(r);
    redis_leave_callback(r);
}

static void dial_address(struct redis *r, const struct address *a)
{
    r->phase = PHASE_DIALING;
    struct stream_limits limits = stream_limits;
    limits.silence_ms = r->silence_ms;
    r->dial = dial_start(r->loop, a, r->policy, &limits, r->timeout_ms, on_dial, r);
    if (r->policy && *r->conf->tls_name)
        dial_expect_name(r->dial, r->conf->tls_name);
}

size_t redis_replicas(const struct redis *r)
{
    return r->replicas;
}

static void on_master(void *owner, const struct address_host *master, size_t replicas, const char *detail)
{
    struct redis *r = owner;
    r->question = NULL;
    if (!master) {
        lose(r, detail);
        return;
    }
    r->replicas = replicas;
    free(r->master.host);
    r->master = (struct address){.scheme = r->policy ? ADDRESS_REDISS : ADDRESS_REDIS,
                                 .host = xstrdup(master->host),
                                 .port = master->port};
    dial_address(r, &r->master);
}

/* Sentinels that don't answer now change nothing. */
static void on_master_again(void *owner, const struct address_host *master, size_t replicas,
                            const char *detail)
{
    struct redis *r = owner;
    (void)detail;
    r->question = NULL;
    r->policy_old = r->policy_old || !master;
    if (master)
        r->replicas = replicas;
    if (master && (strcmp(master->host, r->master.host) != 0 || master->port != r->master.port))
        lose(r, "the Sentinels name another master");
    else
        timer_start(r->poll, MASTER_POLL_MS);
}

/* The files are read anew behind each connection, and behind each failure that they may have to do with: who exchanges a
 * certificate need not tell us. Where that fails (one is just being written), all stays as it was. False: there is none yet;
 * lost. */
static bool redis_make_policy(struct redis *r)
{
    char *error = NULL;

    if (!address_has_tls(r->address) || r->policy_given || (r->policy && !r->policy_old))
        return true;
    struct tls_policy *fresh = tls_policy_redis(r->conf, &error);
    if (fresh) {
        tls_policy_free(&r->policy);
        r->policy = fresh;
        r->policy_old = false;
    }
    if (!r->policy)
        lose(r, error);
    free(error);
    return r->policy != NULL;
}

static void redis_ask(struct redis *r, redis_hosts_fn fn)
{
    r->question = (redis_has_sentinels(r) ? sentinel_ask : cluster_ask)(
        r->loop, r->conf, r->address, r->policy, &r->hosts_first, r->timeout_ms, fn, r);
}

static void redis_on_poll(void *owner)
{
    struct redis *r = owner;

    if (redis_make_policy(r))
        redis_ask(r, on_master_again);
}

static void on_retry(void *owner)
{
    struct redis *r = owner;
    bool asks = address_has_cluster(r->address) || redis_has_sentinels(r);

    r->phase = asks ? PHASE_ASKING : PHASE_DIALING;
    if (!redis_make_policy(r))
        return;
    if (asks)
        redis_ask(r, on_master);
    else
        dial_address(r, r->address);
}

/* ---- life ---- */

struct redis *redis_new(struct loop *l, const struct conf_redis *conf, const struct address *address,
                        uint64_t timeout_ms, redis_state_fn fn, void *owner)
{
    struct redis *r = xcalloc(1, sizeof(*r));
    r->loop = l;
    r->conf = conf;
    r->address = address;
    r->timeout_ms = timeout_ms;
    r->fn = fn;
    r->owner = owner;
    r->retry_ms = RETRY_MIN_MS;
    /* Each node is asked first by a part of the partitions. */
    r->hosts_first = address->partition ? address->partition % address->n_hosts : 0;
    r->task.fn = redis_on_task;
    r->flush.fn = redis_on_flush;
    TAILQ_INIT(&r->sent);
    TAILQ_INIT(&r->lost);
    r->retry = timer_new(l, on_retry, r);
    r->deadline = timer_new(l, on_deadline, r);
    r->poll = timer_new(l, redis_on_poll, r);
    timer_start(r->retry, 0);
    return r;
}

void redis_use_policy(struct redis *r, struct tls_policy *policy)
{
    tls_policy_free(&r->policy);
    r->policy = tls_policy_hold(policy);
    r->policy_given = true;
}

void redis_set_silence(struct redis *r, uint64_t ms)
{
    r->silence_ms = ms;
}

static void drop_all(struct pending_list *list)
{
    struct pending *p;
    while ((p = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, p, link);
        free(p);
    }
}

void redis_free(struct redis **rp)
{
    struct redis *r = *rp;
    *rp = NULL;
    if (!r)
        return;
    r->gone = true;
    r->phase = PHASE_DOWN;
    loop_undefer(r->loop, &r->task);
    redis_hosts_cancel(&r->question);
    cluster_look_cancel(&r->look);
    dial_cancel(&r->dial);
    if (r->flush.queued)
        redis_on_flush(&r->flush);
    loop_undefer(r->loop, &r->flush);
    stream_close(&r->stream, false);
    if (r->reader)
        redisReaderFree(r->reader);
    r->reader = NULL;
    drop_all(&r->sent);
    drop_all(&r->lost);
    timer_free(&r->retry);
    timer_free(&r->deadline);
    timer_free(&r->poll);
    free(r->master.host);
    free(r->look_preferred);
    free(r->receiver.host);
    tls_policy_free(&r->policy);
    free(r->broken);
    free(r->told);
    if (r->busy == 0)
        free(r);
}

/* ---- is all of a partition here? ---- */

bool redis_was_moving(const struct redis *r)
{
    return r->moving;
}

void redis_doubt(struct redis *r, const struct redis *seen_by, const char *why)
{
    r->moving = true;
    if (seen_by->receiver.host)
        redis_note_receiver(r, span_str(seen_by->receiver.host), seen_by->receiver.port);
    lose(r, why);
}

static void redis_on_look(void *owner, const char *why)
{
    struct redis *r = owner;

    r->look = NULL;
    r->moving = r->moving && why;
    if (!why) {
        free(r->receiver.host);
        r->receiver.host = NULL;
    }
    r->look_fn(r->look_owner, why);
}

/* Whoever may not ask gets an error, and does without. */
static void redis_on_preferred(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct redis *r = owner;
    struct span type = reply_str(reply_get(reply, "cluster-preferred-endpoint-type"));

    if (rc == REDIS_DOWN)
        return;
    free(r->look_preferred);
    r->look_preferred = type.len ? xspandup(type) : NULL;
}

static void redis_on_nodes(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct redis *r = owner;

    if (rc == REDIS_DOWN)
        return;
    if (rc == REDIS_ERROR_REPLY) {
        sign_in_refused(r, "CLUSTER NODES", reply);
        return;
    }
    cluster_look_cancel(&r->look);
    struct cluster_sight sight = {.nodes = reply_str(reply),
                                  .preferred = span_str(r->look_preferred ? r->look_preferred : ""),
                                  .asked = span_str(r->master.host),
                                  .strict = r->look_strictly,
                                  .receiver = r->receiver.host ? &r->receiver : NULL};
    r->look = cluster_look(r->loop, r->conf, r->address, r->policy, &sight, r->timeout_ms, redis_on_look, r);
}

void redis_look(struct redis *r, bool changed, redis_look_fn fn, void *owner)
{
    struct span argv[] = {span_str("CLUSTER"), span_str("NODES")};
    struct span preferred[] = {span_str("CONFIG"), span_str("GET"),
                               span_str("cluster-preferred-endpoint-type")};

    r->look_strictly = changed || r->moving;
    r->look_fn = fn;
    r->look_owner = owner;
    redis_command(r, preferred, COUNTOF(preferred), 0, redis_on_preferred, r);
    redis_command(r, argv, COUNTOF(argv), 0, redis_on_nodes, r);
}

bool redis_is_up(const struct redis *r)
{
    return r->phase == PHASE_UP;
}

void redis_reset(struct redis *r, const char *why)
{
    lose(r, why);
}
