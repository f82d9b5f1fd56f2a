#include "lib/window.h"

#include "policy.h"

enum { MINUTE = 60, WEEK_MINUTES = 8 * 24 * 60 /* and a day, for a change of summer time */ };

static bool policy_is_open(const struct conf_migration *m, time_t at)
{
    struct tm tm;

    localtime_r(&at, &tm);
    for (size_t i = 0; i < m->window.n; i++) {
        struct window w;
        const char *why;
        if (window_parse(m->window.items[i], &w, &why) &&
            window_has(&w, (unsigned)tm.tm_wday, (unsigned)(tm.tm_hour * 60 + tm.tm_min)))
            return true;
    }
    return false;
}

enum policy_rc policy_ask(const struct conf_migration *m, time_t now, uint64_t *ms)
{
    time_t minute = now - now % MINUTE;

    *ms = 0;
    if (m->cutover == CUTOVER_IMMEDIATE)
        return POLICY_GO;
    if (m->cutover == CUTOVER_IDLE)
        return POLICY_IDLE;
    if (m->cutover == CUTOVER_MANUAL)
        return POLICY_STAFF;
    for (unsigned i = 0; i < WEEK_MINUTES; i++, minute += MINUTE) {
        if (!policy_is_open(m, minute))
            continue;
        if (i == 0)
            return POLICY_GO;
        *ms = (uint64_t)(minute - now) * 1000;
        return POLICY_WAIT;
    }
    return POLICY_STAFF;
}
