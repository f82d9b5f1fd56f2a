/* outage: which of the addresses of a backend did not answer of late, and whether any of them does. Pure:
 * times are arguments, in milliseconds of one clock.
 *
 * A place is what a connection goes to, as text: "192.0.2.1:993", the path of a socket, or "host:993" where the
 * name could not be resolved. One that did not answer is dead: nobody goes there while another is left, until
 * it has answered to a look, or to somebody for whom no other was left. It is due for a look 1 s after it
 * failed, and each time that it fails again after twice as long, up to a minute; failures of several who had
 * gone there at the same time count once.
 *
 * Who is told whose connection it is (by a PROXY header) may refuse one client and take all others. Where such a
 * connection ends without an answer the place is doubted, and not dead: 1 s later it is looked at, for nobody, and
 * that tells; so too where it could not be asked, for want of room with us. Nor does such a sign-in count for the breaker: else one client whom a server turns away would close
 * it to all.
 *
 * The breaker opens when OUTAGE_BREAKER sign-ins in a row have found no place that answers: whoever would sign in is
 * told so at once, instead of waiting too. While it is open, nobody but looks try, the longest time between
 * two of them is 5 s, and the first place that answers closes it.
 *
 * Only dead places and doubted ones are kept: while all answer, the list is empty, and nothing here costs anything. */
#ifndef IMAPFERRY_OUTAGE_H
#define IMAPFERRY_OUTAGE_H

#include "base.h"

enum {
    OUTAGE_PLACES = 32, /* that are kept; the one that has been dead for longest makes room */
    OUTAGE_BREAKER = 5,
    OUTAGE_FIRST_MS = 1000,
    OUTAGE_LAST_MS = 60 * 1000,
    OUTAGE_OPEN_MS = 5000,
};

enum outage_event {
    OUTAGE_DEAD,  /* a place that was not dead */
    OUTAGE_ALIVE, /* a place that was */
    OUTAGE_DOUBTED,
    OUTAGE_OPENED, /* the breaker; place is "" */
    OUTAGE_CLOSED,
};
/* place and detail (what went wrong, "" where nothing did) are borrowed for the call, which may not change the
 * struct outage. */
typedef void (*outage_fn)(void *owner, enum outage_event ev, const char *place, const char *detail);

struct outage_place {
    char *place;       /* owned */
    unsigned failures; /* in a row, from 1 */
    uint64_t since_ms; /* when it failed first */
    uint64_t look_ms;  /* when it is due for a look */
    bool looked_at;    /* somebody does */
    bool doubted;      /* it is not dead */
};

/* {.fn = ..., .owner = ...} is one in which nothing is dead. */
struct outage {
    outage_fn fn;
    void *owner;      /* borrowed */
    bool has_breaker; /* else it never opens */
    struct outage_place places[OUTAGE_PLACES];
    size_t n;
    unsigned failed; /* sign-ins in a row */
    bool open;
    uint64_t opened_ms;
};

/* All is as if nothing had failed; nobody is told. */
void outage_forget_all(struct outage *o);
bool outage_is_dead(const struct outage *o, const char *place);
void outage_failed(struct outage *o, const char *place, const char *detail, uint64_t now_ms);
/* It may have been about one client alone, or about us. */
void outage_doubted(struct outage *o, const char *place, const char *detail, uint64_t now_ms);
void outage_answered(struct outage *o, const char *place);
/* It is not a place of the backend any more, or another is meant by it. */
void outage_forget(struct outage *o, const char *place);
/* A look has ended. Where nobody said what came of it, there is no such place any more, and it is forgotten. */
void outage_looked(struct outage *o, const char *place);
/* A sign-in has tried all, and none has answered, of which none was doubted. */
void outage_all_failed(struct outage *o, const char *detail, uint64_t now_ms);
/* The next place that is due for a look and that nobody looks at, which is now; borrowed until the next call.
 * NULL: none is. Then *wait_ms is when to ask again, 0: once one has failed. */
const char *outage_next_look(struct outage *o, uint64_t now_ms, uint64_t *wait_ms);

#endif
