#include <stdlib.h>
#include <unistd.h>

#include "process.h"
#include "watchdog.h"
#include "xalloc.h"

enum { PINGS_A_TERM = 4 };

struct watchdog {
    struct timer *timer;
    uint64_t every_ms;
    watchdog_fn fn;
    void *owner;
};

static void watchdog_on_timer(void *owner)
{
    struct watchdog *w = owner;

    if (w->fn(w->owner))
        process_notify("WATCHDOG=1");
    timer_start(w->timer, w->every_ms);
}

/* WATCHDOG_PID may be left out, and then means us. */
static uint64_t watchdog_us(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t term = 0, whose = (uint64_t)getpid();

    if (!us || !span_u64(span_str(us), INT64_MAX, &term) ||
        (pid && !span_u64(span_str(pid), INT32_MAX, &whose)) || whose != (uint64_t)getpid())
        return 0;
    return term;
}

struct watchdog *watchdog_new(struct loop *l, watchdog_fn fn, void *owner)
{
    uint64_t term_us = watchdog_us();

    if (term_us == 0)
        return NULL;
    struct watchdog *w = xcalloc(1, sizeof *w);
    uint64_t ms = term_us / 1000 / PINGS_A_TERM;
    w->every_ms = ms ? ms : 1;
    w->fn = fn;
    w->owner = owner;
    w->timer = timer_new(l, watchdog_on_timer, w);
    timer_start(w->timer, w->every_ms);
    return w;
}

void watchdog_free(struct watchdog **w)
{
    if (!*w)
        return;
    timer_free(&(*w)->timer);
    free(*w);
    *w = NULL;
}
