#include <strings.h>

#include "window.h"

enum { DAY = 24 * 60 };

static const char *const day_names[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

static bool take_day(const char **p, unsigned *_r)
{
    for (unsigned i = 0; i < COUNTOF(day_names); i++)
        if (!strncasecmp(*p, day_names[i], 3)) {
            *p += 3;
            *_r = i;
            return true;
        }
    return false;
}

/* "Mon-Fri,Sun"; up to and over the end of the week. */
static bool take_days(const char **p, uint8_t *days)
{
    do {
        unsigned first, last;
        if (!take_day(p, &first))
            return false;
        last = first;
        if (**p == '-') {
            (*p)++;
            if (!take_day(p, &last))
                return false;
        }
        for (unsigned d = first;; d = (d + 1) % 7) {
            *days |= (uint8_t)(1u << d);
            if (d == last)
                break;
        }
    } while (**p == ',' && (*p)++);
    return true;
}

static bool window_take_number(const char **p, unsigned *_r)
{
    if ((*p)[0] < '0' || (*p)[0] > '9' || (*p)[1] < '0' || (*p)[1] > '9')
        return false;
    *_r = (unsigned)((*p)[0] - '0') * 10 + (unsigned)((*p)[1] - '0');
    *p += 2;
    return true;
}

static bool take_time(const char **p, uint16_t *_r)
{
    unsigned h, m;
    if (!window_take_number(p, &h) || *(*p)++ != ':' || !window_take_number(p, &m) || m > 59 ||
        h * 60 + m > DAY)
        return false;
    *_r = (uint16_t)(h * 60 + m);
    return true;
}

bool window_parse(const char *text, struct window *_r, const char **why)
{
    struct window w = {0};
    if (*text >= '0' && *text <= '9') {
        w.days = 127;
    } else if (!take_days(&text, &w.days) || *text++ != ' ') {
        *why = "does not begin with days, such as \"Mon-Fri \" or \"Sat,Sun \", or a time";
        return false;
    }
    if (!take_time(&text, &w.first) || *text++ != '-' || !take_time(&text, &w.after) || *text) {
        *why = "does not end in times, such as \"20:00-06:00\"";
        return false;
    }
    if (w.first == DAY || w.first == w.after) {
        *why = "is empty; a whole day is \"00:00-24:00\"";
        return false;
    }
    *_r = w;
    return true;
}

bool window_has(const struct window *w, unsigned wday, unsigned minute)
{
    unsigned before = (wday + 6) % 7;
    if (w->after > w->first)
        return (w->days >> wday & 1) && minute >= w->first && minute < w->after;
    return ((w->days >> wday & 1) && minute >= w->first) || ((w->days >> before & 1) && minute < w->after);
}
