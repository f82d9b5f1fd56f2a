/* events: follows the stream of state changes, on a connection of its own. Numbers are gapless. EVENTS_LIVE:
 * from now on nothing is missed; what is read after it needs no older event. It is told once the first
 * connection stands. After a gap, a trimmed stream, a new generation or a lost connection, once following
 * works again, EVENTS_GAP is told and EVENTS_LIVE right behind it: the owner reads the routes of its accounts
 * again. */
#ifndef IMAPFERRY_EVENTS_H
#define IMAPFERRY_EVENTS_H

#include "route.h"

struct event {
    uint64_t number, epoch;
    /* kind: "state", "entered", "left", "prepared", "frozen", "seen", "evicted", "now"; without a user:
     * "paused", "resumed", "generation" */
    struct span user, kind;
    struct span backend, target;
    uint64_t generation;
    /* as an account becomes preparing: "incarnation n" ..., how many registrations each has */
    struct span registered;
    uint64_t left_ms;       /* from the event to the deadline, 0 = none */
    enum route_state state; /* after the change */
};

enum events_news { EVENTS_LIVE, EVENTS_GAP };
struct events;
typedef void (*event_fn)(void *owner, const struct event *e);
typedef void (*events_news_fn)(void *owner, enum events_news news);

struct events *events_new(struct loop *l, const struct conf *conf, event_fn fn, events_news_fn news,
                          void *owner);
void events_free(struct events **e);

#endif
