#include <assert.h>

#include "turns.h"

void turns_init(struct turns *ts, size_t under_way_max)
{
    *ts = (struct turns){.under_way_max = under_way_max};
    for (size_t k = 0; k < TURN_KINDS; k++)
        TAILQ_INIT(&ts->lines[k]);
}

void turn_line_init(struct turn_line *l)
{
    *l = (struct turn_line){0};
    for (size_t k = 0; k < TURN_KINDS; k++)
        TAILQ_INIT(&l->waiting[k]);
}

void turns_wait(struct turns *ts, struct turn *t, enum turn_kind kind)
{
    struct turn_line *l = t->line;
    if (t->waits)
        return;
    if (TAILQ_EMPTY(&l->waiting[kind]))
        TAILQ_INSERT_TAIL(&ts->lines[kind], l, link[kind]);
    TAILQ_INSERT_TAIL(&l->waiting[kind], t, link);
    t->waits = true;
    t->kind = kind;
    ts->n_waiting[kind]++;
    ts->stuck = false;
}

static void turns_remove(struct turns *ts, struct turn *t)
{
    struct turn_line *l = t->line;
    if (!t->waits)
        return;
    t->waits = false;
    ts->n_waiting[t->kind]--;
    TAILQ_REMOVE(&l->waiting[t->kind], t, link);
    if (TAILQ_EMPTY(&l->waiting[t->kind]))
        TAILQ_REMOVE(&ts->lines[t->kind], l, link[t->kind]);
}

void turns_ended(struct turns *ts, struct turn *t)
{
    if (!t->under_way)
        return;
    t->under_way = false;
    t->line->under_way--;
    ts->under_way--;
    ts->stuck = false;
}

void turns_leave(struct turns *ts, struct turn *t)
{
    if (!t->line)
        return;
    turns_remove(ts, t);
    turns_ended(ts, t);
    t->line = NULL;
}

/* A line may have as much under way as would be left to others. */
static bool turns_may_begin(const struct turns *ts, const struct turn_line *l)
{
    return ts->under_way < ts->under_way_max &&
           (l->under_way == 0 || l->under_way < ts->under_way_max - ts->under_way);
}

/* The first line whose turn it is, now the last one; NULL: none. */
static struct turn_line *turns_next_line(struct turns *ts, enum turn_kind kind)
{
    struct turn_line *l;
    TAILQ_FOREACH(l, &ts->lines[kind], link[kind])
    if (kind == TURN_ON || turns_may_begin(ts, l))
        break;
    if (!l)
        return NULL;
    TAILQ_REMOVE(&ts->lines[kind], l, link[kind]);
    TAILQ_INSERT_TAIL(&ts->lines[kind], l, link[kind]);
    return l;
}

bool turns_ready(const struct turns *ts)
{
    return ts->n_waiting[TURN_ON] > 0 || (ts->n_waiting[TURN_BEGIN] > 0 && !ts->stuck);
}

static void turns_count(struct turns *ts, struct turn *t)
{
    assert(!t->under_way);
    t->under_way = true;
    t->line->under_way++;
    ts->under_way++;
}

/* False: nobody of this kind can be served. */
static bool turns_serve_one(struct turns *ts, enum turn_kind kind)
{
    struct turn_line *l = turns_next_line(ts, kind);
    if (!l)
        return false;
    struct turn *t = TAILQ_FIRST(&l->waiting[kind]);
    turns_remove(ts, t);
    if (kind == TURN_BEGIN)
        turns_count(ts, t);
    ts->last = kind;
    t->fn(t);
    return true;
}

bool turns_serve(struct turns *ts)
{
    enum turn_kind first = ts->last == TURN_ON ? TURN_BEGIN : TURN_ON;
    if (turns_ready(ts) &&
        (turns_serve_one(ts, first) || turns_serve_one(ts, first == TURN_ON ? TURN_BEGIN : TURN_ON)))
        return true;
    ts->stuck = true; /* until something ends, or comes */
    return false;
}
