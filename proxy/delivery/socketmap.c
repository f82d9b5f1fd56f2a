#include <stdlib.h>
#include <sys/queue.h>

#include "lib/cidr.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/netstring.h"
#include "lib/stream.h"
#include "lib/xalloc.h"

#include "recipient.h"
#include "socketmap.h"

enum { SOCKETMAP_QUIET_MS = 10 * 1000 };

/* A netstring has to fit below high_water, or it could never be read to its end. */
static const struct stream_limits socketmap_limits = {
    .high_water = 2 * SOCKETMAP_QUESTION, .queue_max = 8 * SOCKETMAP_QUESTION, .flush_ms = 5000};

/* Lines of the log that others cause: one in a while, which counts those that were left out. */
struct socketmap_noise {
    uint64_t until_ms, n;
};

struct socketmap {
    const struct stores *stores; /* borrowed */
    unsigned thread;
    LIST_HEAD(, socketmap_client) clients;
    size_t n;
    bool draining;
    struct socketmap_noise refused, full, broken, delayed;
};

struct socketmap_client {
    LIST_ENTRY(socketmap_client) link;
    struct socketmap *map;
    struct stream *stream;      /* owned */
    struct recipient *question; /* under way; NULL: none */
    bool ended;                 /* the peer asks nothing more */
};

/* How many there were since the last line; 0: it is too early for another one. */
static uint64_t socketmap_may_log(struct socketmap_noise *n)
{
    uint64_t now = clock_boot_ms(), count = ++n->n;
    if (now < n->until_ms)
        return 0;
    n->until_ms = now + SOCKETMAP_QUIET_MS;
    n->n = 0;
    return count;
}

static void socketmap_client_close(struct socketmap_client *c, bool flush)
{
    LIST_REMOVE(c, link);
    c->map->n--;
    metric_change(METRIC_DELIVERY_CLIENTS, -1, NULL, NULL);
    recipient_cancel(&c->question);
    stream_close(&c->stream, flush);
    free(c);
}

/* ---- answers ---- */

/* words: what of socketmap_table(5) it is, with the blank behind it. */
static void socketmap_say(struct socketmap_client *c, const char *result, const char *words, const char *text)
{
    struct buf answer = {0}, out = {0};
    buf_printf(&answer, "%s%s", words, text);
    netstring_write(&out, buf_span(&answer));
    stream_send(c->stream, buf_span(&out).p, out.len);
    metric_add(METRIC_DELIVERY_LOOKUPS, 1, result, NULL);
    buf_free(&answer);
    buf_free(&out);
}

static void socketmap_not_found(struct socketmap_client *c)
{
    socketmap_say(c, "notfound", "NOTFOUND ", "");
}

static void socketmap_later(struct socketmap_client *c, const char *why)
{
    socketmap_say(c, "temp", "TEMP ", why);
}

/* It can't be told, and mail waits for it at the mail server. */
static void socketmap_delay(struct socketmap_client *c, const struct recipient_answer *a, const char *why)
{
    uint64_t n = socketmap_may_log(&c->map->delayed);
    if (n)
        LOG(WARN, "delivery_delayed", LOG_S("user", *a->key ? a->key : NULL), LOG_S("why", why),
            LOG_U("answers", n), LOG_U("thread", c->map->thread));
    socketmap_later(c, why);
}

static void socketmap_found(struct socketmap_client *c, const struct recipient_answer *a)
{
    if (a->frozen && store_conf(c->map->stores->all[0])->socketmap.frozen_answer == FROZEN_TEMP)
        socketmap_later(c, "the account is being moved");
    else if (*a->backend->delivery)
        socketmap_say(c, "ok", "OK ", a->backend->delivery);
    else
        socketmap_delay(c, a, "the account's backend has no delivery in the configuration");
}

static void socketmap_answer(struct socketmap_client *c, enum recipient_rc rc,
                             const struct recipient_answer *a)
{
    switch (rc) {
    case RECIPIENT_FOUND:
        socketmap_found(c, a);
        break;
    case RECIPIENT_NOT_OURS:
        socketmap_not_found(c);
        break;
    case RECIPIENT_LOST:
    case RECIPIENT_DOWN:
        socketmap_delay(c, a, a->why);
        break;
    }
}

static void socketmap_await(struct socketmap_client *c)
{
    stream_deadline(c->stream, stream_full(c->stream) ? SOCKETMAP_SLOW_MS : SOCKETMAP_IDLE_MS);
}

static void socketmap_on_recipient(void *owner, enum recipient_rc rc, const struct recipient_answer *a)
{
    struct socketmap_client *c = owner;
    c->question = NULL;
    socketmap_answer(c, rc, a);
    if (c->map->draining || (c->ended && stream_peek(c->stream).len == 0)) {
        socketmap_client_close(c, true);
        return;
    }
    socketmap_await(c);
    stream_resume(c->stream);
    stream_again(c->stream);
}

/* ---- questions ---- */

static void socketmap_ask(struct socketmap_client *c, struct span question)
{
    static const char name[] = "transport ";
    size_t n = sizeof name - 1;
    const struct conf *conf = store_conf(c->map->stores->all[0]);
    if (question.len < n || memcmp(question.p, name, n) != 0) {
        socketmap_say(c, "perm", "PERM ", "no such map, expected \"transport ADDRESS\"");
        return;
    }
    struct span key = span_of(question.p + n, question.len - n);
    if (key.len == 0 || !memchr(key.p, '@', key.len)) {
        socketmap_not_found(c);
        return;
    }
    stream_deadline(c->stream, 0); /* the question has one of its own */
    stream_pause(c->stream);
    c->question =
        recipient_find(c->map->stores, key, conf->proxy.store_timeout_ms, socketmap_on_recipient, c);
}

static void socketmap_broken(struct socketmap_client *c)
{
    uint64_t n = socketmap_may_log(&c->map->broken);
    if (n)
        LOG(WARN, "socketmap_broken", LOG_S("peer", stream_peer(c->stream)),
            LOG_S("why", "what it says is no netstring, or too long a one"), LOG_U("connections", n));
    socketmap_client_close(c, true);
}

static void socketmap_read(struct socketmap_client *c)
{
    struct span question;
    size_t used;
    while (!c->question && !stream_full(c->stream)) {
        switch (netstring_take(stream_peek(c->stream), SOCKETMAP_QUESTION, &question, &used)) {
        case NETSTRING_MORE:
            if (c->ended)
                socketmap_client_close(c, true);
            return;
        case NETSTRING_BAD:
            socketmap_broken(c);
            return;
        case NETSTRING_DONE:
            stream_eat(c->stream, used);
            socketmap_ask(c, question);
            if (!c->question)
                socketmap_await(c);
        }
    }
}

static void socketmap_event(struct stream *s, enum stream_event ev, void *owner)
{
    struct socketmap_client *c = owner;
    (void)s;
    switch (ev) {
    case STREAM_DATA:
        socketmap_read(c);
        break;
    case STREAM_DRAINED:
        socketmap_await(c);
        socketmap_read(c);
        break;
    case STREAM_EOF:
        c->ended = true;
        socketmap_read(c);
        break;
    case STREAM_TIMEOUT:
        socketmap_client_close(c, stream_unsent(c->stream) == 0);
        break;
    case STREAM_ERROR:
        socketmap_client_close(c, false);
        break;
    default:
        break;
    }
}

/* ---- connections ---- */

static bool socketmap_trusts(const struct socketmap *m, const char *ip)
{
    static char *const here[] = {"127.0.0.0/8", "::1"};
    const struct conf_list *l = &store_conf(m->stores->all[0])->socketmap.trusted;
    return !*ip || cidr_any(here, COUNTOF(here), ip) || cidr_any(l->items, l->n, ip);
}

/* False: it is closed. */
static bool socketmap_lets_in(struct socketmap *m, struct stream *s)
{
    if (!socketmap_trusts(m, stream_peer_ip(s))) {
        uint64_t n = socketmap_may_log(&m->refused);
        if (n)
            LOG(WARN, "socketmap_refused", LOG_S("peer", stream_peer(s)),
                LOG_S("why", "it is in no network of trusted, in the section socketmap"),
                LOG_U("connections", n));
        return false;
    }
    if (m->n < SOCKETMAP_CLIENTS)
        return true;
    uint64_t n = socketmap_may_log(&m->full);
    if (n)
        LOG(WARN, "socketmap_full", LOG_S("peer", stream_peer(s)), LOG_U("connections", n),
            LOG_U("max", SOCKETMAP_CLIENTS), LOG_U("thread", m->thread));
    return false;
}

void socketmap_accept(struct socketmap *m, uv_stream_t *listener)
{
    struct socketmap_client *c = xcalloc(1, sizeof *c);
    c->map = m;
    c->stream = stream_accept(store_loop(m->stores->all[0]), listener, &socketmap_limits, socketmap_event, c);
    if (!c->stream || !socketmap_lets_in(m, c->stream)) {
        stream_close(&c->stream, false);
        free(c);
        return;
    }
    LIST_INSERT_HEAD(&m->clients, c, link);
    m->n++;
    metric_change(METRIC_DELIVERY_CLIENTS, 1, NULL, NULL);
    socketmap_await(c);
}

struct socketmap *socketmap_new(const struct stores *stores, unsigned thread)
{
    struct socketmap *m = xcalloc(1, sizeof *m);
    m->stores = stores;
    m->thread = thread;
    LIST_INIT(&m->clients);
    return m;
}

static void socketmap_close_all(struct socketmap *m, bool asking)
{
    struct socketmap_client *c, *next;
    for (c = LIST_FIRST(&m->clients); c; c = next) {
        next = LIST_NEXT(c, link);
        if (asking || !c->question)
            socketmap_client_close(c, !asking);
    }
}

void socketmap_drain(struct socketmap *m)
{
    m->draining = true;
    socketmap_close_all(m, false);
}

void socketmap_free(struct socketmap **mp)
{
    struct socketmap *m = *mp;
    *mp = NULL;
    if (!m)
        return;
    socketmap_close_all(m, true);
    free(m);
}
