/* events: follows the stream of state changes, on a connection of its own. Events are numbered without
 * gaps, so a number that is missing shows that events were missed.
 *
 * EVENTS_LIVE is told once the first connection stands: from now on no event is missed, so what is read from
 * the store after it needs no older event. After a gap in the numbers, a trimmed stream, a new generation or
 * a lost connection, EVENTS_GAP is told once following works again, and EVENTS_LIVE right behind it: the
 * owner then reads the routes of its accounts again. */
#ifndef IMAPFERRY_EVENTS_H
#define IMAPFERRY_EVENTS_H

#include "route.h"

struct event {
    uint64_t number, epoch;
    /* kind is "state", "view", "entered", "left", "prepared", "frozen", "seen", "evicted", "kick", "forgotten" or "now"; of an event
     * without a user it is "paused", "resumed" or "generation". */
    struct span user, kind;
    struct span backend, target;
    uint64_t generation;
    /* When an account becomes preparing: "incarnation n" ..., how many registrations each incarnation has. */
    struct span registered;
    struct span view;       /* of the route; p is NULL where the event does not say (the version before) */
    uint64_t left_ms;       /* from the event to the deadline, 0 = none */
    enum route_state state; /* after the change */
};

enum events_news { EVENTS_LIVE, EVENTS_GAP };
struct events;
typedef void (*event_fn)(void *owner, const struct event *e);
typedef void (*events_news_fn)(void *owner, enum events_news news);

/* store: where it is (store_address()); borrowed. */
struct events *events_new(struct loop *l, const struct conf *conf, const struct address *store, event_fn fn,
                          events_news_fn news, void *owner);
void events_free(struct events **e);
/* For an owner to whom most events are of no use, as to a thread of a proxy those of accounts that it does not have: what
 * comes within rest_ms behind a read is read at once then, by one command. Each read costs Redis as much as ten events do,
 * and the owner more, and on a large site they come one by one. The first event behind a rest is told at once. */
void events_rest(struct events *e, uint64_t rest_ms);
/* What was told is of use, and more of it may be about to come: for EVENTS_AWAKE_MS there are no rests, and one that goes on
 * ends. e may be NULL. */
enum { EVENTS_AWAKE_MS = 2000 };
void events_stay_awake(struct events *e);

#endif
