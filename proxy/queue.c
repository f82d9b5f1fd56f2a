#include <assert.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "queue.h"

/* How many that turn out to want nothing any more are taken out in one round of the loop. */
enum { TAKEN_MAX = 256 };

struct queue {
    struct loop *loop; /* borrowed */
    size_t at_once, n_calling;
    bool goes;           /* now, or when the timer has fired */
    struct timer *start; /* owned */
    struct loop_task task;
    TAILQ_HEAD(queued_list, queued) waiting[N_RANKS];
};

static struct queued *queue_next(struct queue *q)
{
    struct queued *next = NULL;
    for (size_t i = 0; i < N_RANKS && !next; i++)
        next = TAILQ_FIRST(&q->waiting[i]);
    return next;
}

static bool queue_has_room(const struct queue *q)
{
    return q->goes && !timer_is_set(q->start) && q->n_calling < q->at_once;
}

static void look_soon(struct queue *q)
{
    if (queue_has_room(q) && queue_next(q))
        loop_defer(q->loop, &q->task);
}

static void queue_on_task(struct loop_task *task)
{
    struct queue *q = CONTAINER_OF(task, struct queue, task);
    struct queued *next;
    for (size_t i = 0; i < TAKEN_MAX && queue_has_room(q) && (next = queue_next(q)); i++) {
        TAILQ_REMOVE(&q->waiting[next->rank], next, link);
        next->place = CALLING;
        q->n_calling++;
        next->fn(next);
    }
    look_soon(q);
}

static void on_start(void *owner)
{
    look_soon(owner);
}

void queue_add(struct queue *q, struct queued *who, enum queue_rank rank)
{
    if (who->place == CALLING || (who->place == QUEUED && who->rank <= rank))
        return;
    if (who->place == QUEUED)
        TAILQ_REMOVE(&q->waiting[who->rank], who, link);
    who->place = QUEUED;
    who->rank = rank;
    TAILQ_INSERT_TAIL(&q->waiting[rank], who, link);
    look_soon(q);
}

void queue_done(struct queue *q, struct queued *who)
{
    if (who->place == QUEUED) {
        TAILQ_REMOVE(&q->waiting[who->rank], who, link);
    } else if (who->place == CALLING) {
        assert(q->n_calling > 0);
        q->n_calling--;
    }
    who->place = NOT_QUEUED;
    look_soon(q);
}

void queue_hold(struct queue *q)
{
    q->goes = false;
    timer_stop(q->start);
}

void queue_go(struct queue *q, uint64_t spread_ms)
{
    if (q->goes)
        return;
    q->goes = true;
    timer_start(q->start, random_u64() % (spread_ms + 1));
}

struct queue *queue_new(struct loop *l, size_t at_once)
{
    struct queue *q = xcalloc(1, sizeof *q);
    q->loop = l;
    q->at_once = at_once;
    q->task.fn = queue_on_task;
    q->start = timer_new(l, on_start, q);
    for (size_t i = 0; i < N_RANKS; i++)
        TAILQ_INIT(&q->waiting[i]);
    return q;
}

void queue_free(struct queue **qp)
{
    struct queue *q = *qp;
    *qp = NULL;
    if (!q)
        return;
    loop_undefer(q->loop, &q->task);
    timer_free(&q->start);
    free(q);
}
