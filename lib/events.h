/* events: follows the stream of state changes, on a connection of its own. Numbers are gapless: a gap, a trimmed
 * stream, a new generation or a lost connection is told as EVENTS_GAP, after which the owner reads the routes of its
 * accounts again (and EVENTS_LIVE says from when on nothing is missed). */
#ifndef IMAPFERRY_EVENTS_H
#define IMAPFERRY_EVENTS_H

#include "route.h"

struct event {
    uint64_t number, epoch;
    struct span user, kind; /* kind: "state", "left", "frozen", "seen", "evicted", "progress" ... */
    struct span backend;
    enum route_state state; /* after the change */
};

enum events_news { EVENTS_LIVE, EVENTS_GAP };
struct events;
typedef void (*event_fn)(void *owner, const struct event *e);
typedef void (*events_news_fn)(void *owner, enum events_news news);

struct events *events_new(struct loop *l, const struct conf *conf, event_fn fn, events_news_fn news, void *owner);
void events_free(struct events **e);

#endif
