#include <arpa/inet.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "crowd.h"
#include "session.h"

enum { QUIET_MS = 10 * 1000, MAX_LEAST = 8 };

/* ---- the log ---- */

static void crowd_log(struct crowd *c)
{
    LOG(WARN, "crowd", LOG_U("thread", c->thread), LOG_U("ended", c->ended), LOG_U("refused", c->refused),
        LOG_U("connections", c->n), LOG_U("max", c->max), LOG_U("networks", HASH_COUNT(c->networks)));
    c->ended = c->refused = 0;
}

static void on_quiet(void *owner)
{
    struct crowd *c = owner;
    if (c->ended + c->refused == 0)
        return;
    crowd_log(c);
    timer_start(c->quiet, QUIET_MS);
}

/* The first one of a time is said at once. */
static void crowd_note(struct crowd *c, uint64_t *what)
{
    ++*what;
    if (timer_is_set(c->quiet))
        return;
    crowd_log(c);
    timer_start(c->quiet, QUIET_MS);
}

/* ---- networks ---- */

void crowd_network_key(const char *ip, uint8_t key[NETWORK_KEY_SIZE])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* RFC 4291 2.5.5.2 */
    uint8_t v6[16];
    memset(key, 0, NETWORK_KEY_SIZE);
    if (inet_pton(AF_INET, ip, key + 1) == 1) {
        key[0] = 4;
    } else if (inet_pton(AF_INET6, ip, v6) != 1) {
        return;
    } else if (memcmp(v6, mapped, sizeof mapped) == 0) {
        key[0] = 4;
        memcpy(key + 1, v6 + sizeof mapped, 4);
    } else {
        key[0] = 6;
        memcpy(key + 1, v6, 8);
    }
}

static struct network *network_of(struct crowd *c, const char *ip)
{
    uint8_t key[NETWORK_KEY_SIZE];
    struct network *w = NULL;
    crowd_network_key(ip, key);
    HASH_FIND(hh, c->networks, key, sizeof key, w);
    if (w)
        return w;
    w = xcalloc(1, sizeof *w);
    memcpy(w->key, key, sizeof key);
    TAILQ_INIT(&w->members);
    turn_line_init(&w->line);
    HASH_ADD(hh, c->networks, key, sizeof w->key, w);
    return w;
}

static void network_drop_empty(struct crowd *c, struct network *w)
{
    if (w->n > 0)
        return;
    HASH_DEL(c->networks, w);
    free(w);
}

/* ---- who is in ---- */

static bool is_idle(const struct session *s)
{
    return s->state == IN_HEADER || s->state == IN_NEW || s->state == IN_PREAUTH || s->state == IN_SECURING ||
           s->state == IN_THROTTLED || s->state == IN_REFUSED;
}

bool crowd_end_one(struct crowd *c, struct network *of)
{
    struct session *s;
    if (of)
        TAILQ_FOREACH(s, &of->members, of_network)
    if (is_idle(s))
        break;
    if (!of)
        TAILQ_FOREACH(s, &c->all, of_crowd)
    if (is_idle(s))
        break;
    if (!s)
        return false;
    session_close(s, END_CROWD, "the place of the one that was idle for longest was needed");
    crowd_note(c, &c->ended);
    return true;
}

/* The newcomer is counted already. */
static bool crowd_has_room(const struct crowd *c, const struct network *w)
{
    return c->n <= c->max && (w->n == 1 || w->n <= c->max - c->n + 1);
}

/* A network that has more than its share, since others came, loses two for each that it gains. */
static bool crowd_make_room(struct crowd *c, struct network *w)
{
    bool ended = true;
    for (unsigned i = 0; i < 2 && ended && !crowd_has_room(c, w); i++)
        ended = crowd_end_one(c, w->n > 1 ? w : NULL);
    return ended && c->n <= c->max;
}

bool crowd_enter(struct crowd *c, struct session *s)
{
    struct network *w = network_of(c, s->peer_ip);
    w->n++;
    c->n++;
    if (!crowd_make_room(c, w)) {
        w->n--;
        c->n--;
        network_drop_empty(c, w);
        crowd_note(c, &c->refused);
        return false;
    }
    s->network = w;
    TAILQ_INSERT_TAIL(&w->members, s, of_network);
    TAILQ_INSERT_TAIL(&c->all, s, of_crowd);
    stream_wait_in(s->client, &w->line);
    return true;
}

void crowd_leave(struct crowd *c, struct session *s)
{
    struct network *w = s->network;
    if (!w)
        return;
    if (s->client)
        stream_wait_in(s->client, NULL);
    s->network = NULL;
    w->n--;
    c->n--;
    TAILQ_REMOVE(&w->members, s, of_network);
    TAILQ_REMOVE(&c->all, s, of_crowd);
    network_drop_empty(c, w);
}

/* ---- life ---- */

void crowd_init(struct crowd *c, struct loop *l, unsigned thread, size_t sockets)
{
    *c = (struct crowd){.thread = thread, .max = sockets / 4};
    c->max = c->max < MAX_LEAST ? MAX_LEAST : c->max > CROWD_MAX ? CROWD_MAX : c->max;
    c->quiet = timer_new(l, on_quiet, c);
    TAILQ_INIT(&c->all);
}

void crowd_free(struct crowd *c)
{
    struct network *w, *next;
    timer_free(&c->quiet);
    HASH_ITER(hh, c->networks, w, next)
    {
        HASH_DEL(c->networks, w);
        free(w);
    }
}
