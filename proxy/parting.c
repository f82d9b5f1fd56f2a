#include <stdlib.h>

#include "lib/xalloc.h"

#include "parting.h"

enum { PARTING_MS = 500, PARTING_MAX = 1000 /* more are closed at once */ };

struct left {
    TAILQ_ENTRY(left) link;
    struct parting *p;
    struct stream *stream;
    uint64_t due_ms;
};

struct parting {
    struct timer *timer;
    TAILQ_HEAD(, left) all; /* the earliest first */
    size_t n;
};

static void parting_close_one(struct left *l)
{
    TAILQ_REMOVE(&l->p->all, l, link);
    l->p->n--;
    stream_close(&l->stream, false);
    free(l);
}

static void close_due(struct parting *p)
{
    uint64_t now = clock_boot_ms();
    struct left *l;
    while ((l = TAILQ_FIRST(&p->all)) && l->due_ms <= now)
        parting_close_one(l);
    if (l)
        timer_start(p->timer, l->due_ms - now);
}

static void parting_on_timer(void *owner)
{
    close_due(owner);
}

/* What it says is of no interest any more. */
static void parting_on_event(struct stream *stream, enum stream_event ev, void *owner)
{
    (void)stream;
    if (ev == STREAM_EOF || ev == STREAM_ERROR)
        parting_close_one(owner);
}

void parting_add(struct parting *p, struct stream **s)
{
    if (!*s)
        return;
    if (p->n == PARTING_MAX) {
        stream_close(s, false);
        return;
    }
    struct left *l = xcalloc(1, sizeof *l);
    *l = (struct left){.p = p, .stream = *s, .due_ms = clock_boot_ms() + PARTING_MS};
    *s = NULL;
    stream_deadline(l->stream, 0);
    stream_set_owner(l->stream, parting_on_event, l);
    stream_pause(l->stream);
    TAILQ_INSERT_TAIL(&p->all, l, link);
    p->n++;
    if (!timer_is_set(p->timer))
        timer_start(p->timer, PARTING_MS);
}

struct parting *parting_new(struct loop *loop)
{
    struct parting *p = xcalloc(1, sizeof *p);
    p->timer = timer_new(loop, parting_on_timer, p);
    TAILQ_INIT(&p->all);
    return p;
}

void parting_free(struct parting **pp)
{
    struct parting *p = *pp;
    struct left *l;
    if (!p)
        return;
    *pp = NULL;
    while ((l = TAILQ_FIRST(&p->all)))
        parting_close_one(l);
    timer_free(&p->timer);
    free(p);
}
