/* turns: who is served next of those whom nobody knows yet.
 *
 * What strangers want costs time (a TLS handshake about a millisecond), and there may be very many of them.
 * So it is not done as it comes: it waits here, and in each round of the loop some of it is done, for a few
 * milliseconds, behind all that does not wait. Those who come from one network stand in one line, and the
 * lines take turns: however long one of them is, the first of another has to wait for one turn of each line
 * at most.
 *
 * What is costly to begin, and to have begun (a handshake holds some 40 KiB), waits apart: there is a cap on
 * how much of it is under way, and of one line only as much may be as is still free behind it. So one network
 * can take half of the places, two a third each, and the next one always finds some.
 *
 * No clock and no descriptor of its own; the loop has one of these and runs it (loop.h). */
#ifndef IMAPFERRY_TURNS_H
#define IMAPFERRY_TURNS_H

#include <sys/queue.h>

#include "base.h"

/* What a turn waits for: to go on, or to begin what is costly. */
enum turn_kind { TURN_ON, TURN_BEGIN, TURN_KINDS };

/* Something that waits for its turn; embedded in the struct that it is for; {.fn = ...} is one that does not.
 * It is called once, and may wait again. */
struct turn {
    void (*fn)(struct turn *t);
    struct turn_line *line; /* borrowed; NULL: stands in none */
    TAILQ_ENTRY(turn) link;
    enum turn_kind kind;
    bool waits;
    bool under_way; /* what it began has not ended */
};

/* Those from one network. Must live as long as a turn stands in it. */
struct turn_line {
    TAILQ_HEAD(turn_list, turn) waiting[TURN_KINDS];
    TAILQ_ENTRY(turn_line) link[TURN_KINDS]; /* while somebody waits */
    size_t under_way;
};

struct turns {
    TAILQ_HEAD(turn_lines, turn_line) lines[TURN_KINDS];
    size_t n_waiting[TURN_KINDS];
    size_t under_way, under_way_max;
    enum turn_kind last; /* what was served last: the kinds take turns too */
    bool stuck;          /* nobody can be served before something ends or comes */
};

void turns_init(struct turns *ts, size_t under_way_max);
void turn_line_init(struct turn_line *l);

/* Waits for a turn of its line. Waits already: stays where it is. */
void turns_wait(struct turns *ts, struct turn *t, enum turn_kind kind);
/* What the turn began has ended. Nothing where nothing was. */
void turns_ended(struct turns *ts, struct turn *t);
/* Neither waits nor has anything under way, and stands in no line any more. */
void turns_leave(struct turns *ts, struct turn *t);

/* Somebody could be served now. */
bool turns_ready(const struct turns *ts);
/* Serves the next one, by turns one who goes on and one who begins. False: nobody can be served. */
bool turns_serve(struct turns *ts);

#endif
