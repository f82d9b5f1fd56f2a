/* queue: calls to the store that many want to make at the same moment. After a failover or a lapse each
 * session has to ask whether it may go on, and each account is read again; all at once they would keep the
 * store busy for longer than it may take to answer. So they stand in a queue: a few calls are under way, and
 * the next begins when one has ended. Among those that wait the rank decides, then who came first. */
#ifndef IMAPFERRY_QUEUE_H
#define IMAPFERRY_QUEUE_H

#include "lib/loop.h"

enum queue_rank {
    RANK_NOW,     /* something has happened to this one alone */
    RANK_SESSION, /* a client may be waiting */
    RANK_ACCOUNT, /* nobody waits: what was missed is looked up */
    N_RANKS
};

enum queue_place { NOT_QUEUED, QUEUED, CALLING };

/* Embedded in the struct that it is for; {.fn = ...} is one that is not queued. */
struct queued {
    void (*fn)(struct queued *q); /* makes the call; queue_done() now or later */
    enum queue_rank rank;
    enum queue_place place;
    TAILQ_ENTRY(queued) link;
};

struct queue;

/* At most at_once are calling together. Held until queue_go(). */
struct queue *queue_new(struct loop *l, size_t at_once);
/* Who waits is forgotten. */
void queue_free(struct queue **q);
/* fn is called when there is room, from the loop itself, never from inside this call. One that is queued
 * keeps the better of both ranks; one that is calling has to end that first: nothing happens. */
void queue_add(struct queue *q, struct queued *who, enum queue_rank rank);
/* The call was answered, or is not wanted any more: wherever it is, it is not queued from now on. */
void queue_done(struct queue *q, struct queued *who);
/* There is no store to ask: no call begins. */
void queue_hold(struct queue *q);
/* There is. Begins after a random part of spread_ms, so that not every thread of every proxy does at the same
 * moment; nothing where it goes already. */
void queue_go(struct queue *q, uint64_t spread_ms);

#endif
