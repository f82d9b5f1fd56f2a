#include "schedule.h"

enum { FIRST_MIN_MS = 100, FIRST_MAX_MS = 10 * 1000, DAILY_MS = 24 * 3600 * 1000 };

/* The shortest distance: a twentieth of the set time. */
static uint64_t shortest(uint64_t late_watch_ms)
{
    uint64_t ms = late_watch_ms / 20;

    return ms < FIRST_MIN_MS ? FIRST_MIN_MS : ms > FIRST_MAX_MS ? FIRST_MAX_MS : ms;
}

uint64_t schedule_first_ms(const struct conf *c)
{
    return shortest(c->migration.late_watch_ms);
}

/* A quarter of the time since the flip; the last one stands at the end of the set time. */
uint64_t schedule_next_ms(uint64_t late_watch_ms, uint64_t since_flip_ms, bool *over)
{
    uint64_t ms = since_flip_ms / 4, least = shortest(late_watch_ms);

    *over = since_flip_ms >= late_watch_ms;
    if (*over)
        return DAILY_MS;
    uint64_t left = late_watch_ms - since_flip_ms;
    ms = ms < least ? least : ms;
    return ms < left ? ms : left;
}
