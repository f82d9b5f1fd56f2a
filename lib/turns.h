/* turns: who is served next of those whom nobody knows yet.
 *
 * What strangers want costs time (a TLS handshake about a millisecond), and there may be very many of them.
 * So it is not done when it comes. It waits here, and in each round of the loop some of it is done, for a few
 * milliseconds, after everything that does not wait. Those who come from one network stand in one line, and
 * the lines take turns: however long one of them is, the first of another line waits for at most one turn of
 * each line.
 *
 * Work that costs much to begin, and that holds much while it is under way (a handshake holds some 40 KiB),
 * waits apart. There is a cap on how much of it is under way, and one line may have only as much under way as
 * there are places left free. So one network can take half of the places, two can take a third each, and the
 * next one always finds some.
 *
 * This file has no clock and no descriptor of its own; the loop has one struct turns and runs it (loop.h). */
#ifndef IMAPFERRY_TURNS_H
#define IMAPFERRY_TURNS_H

#include <sys/queue.h>

#include "base.h"

/* What a turn waits for: to go on with something, or to begin what is costly. */
enum turn_kind { TURN_ON, TURN_BEGIN, TURN_KINDS };

/* Something that waits for its turn. It is embedded in the struct that it is for; {.fn = ...} is one that
 * does not wait. fn is called once for each turns_wait(), and may wait again. */
struct turn {
    void (*fn)(struct turn *t);
    struct turn_line *line; /* the line it stands in; borrowed; NULL: in none */
    TAILQ_ENTRY(turn) link;
    enum turn_kind kind;
    bool waits;
    bool under_way; /* what it began has not ended */
};

/* The line of those who come from one network. It must live as long as a turn stands in it. */
struct turn_line {
    TAILQ_HEAD(turn_list, turn) waiting[TURN_KINDS];
    TAILQ_ENTRY(turn_line) link[TURN_KINDS]; /* in lines of struct turns, while somebody waits */
    size_t under_way;
};

struct turns {
    TAILQ_HEAD(turn_lines, turn_line) lines[TURN_KINDS];
    size_t n_waiting[TURN_KINDS];
    size_t under_way, under_way_max;
    enum turn_kind last; /* the kind that was served last: the kinds take turns too */
    bool stuck;          /* nobody can be served before something ends or comes */
};

void turns_init(struct turns *ts, size_t under_way_max);
void turn_line_init(struct turn_line *l);

/* Puts t into its line to wait. One that waits already stays where it is. */
void turns_wait(struct turns *ts, struct turn *t, enum turn_kind kind);
/* To be called when what t began has ended. Nothing happens where t has nothing under way. */
void turns_ended(struct turns *ts, struct turn *t);
/* From now on t neither waits nor has anything under way, and stands in no line. */
void turns_leave(struct turns *ts, struct turn *t);

/* True where somebody could be served now. */
bool turns_ready(const struct turns *ts);
/* Serves the next one: alternately one that goes on and one that begins. False: nobody can be served. */
bool turns_serve(struct turns *ts);

#endif
