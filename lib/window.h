/* window: times of the week, for migration.window: "Mon-Fri 20:00-06:00", "Sat,Sun 00:00-24:00",
 * "22:30-05:00" (every day). A day is the one on which the time begins, so "Fri 20:00-06:00" ends on Saturday
 * morning. Pure. */
#ifndef IMAPFERRY_WINDOW_H
#define IMAPFERRY_WINDOW_H

#include "base.h"

struct window {
    uint8_t days;          /* bits, 1 = Sunday ... 64 = Saturday, as tm_wday counts */
    uint16_t first, after; /* minutes of the day; 24:00 is 1440; after <= first: it ends on the next day */
};

/* False: *why is a fixed text. */
bool window_parse(const char *text, struct window *_r, const char **why) MUST_CHECK;
/* True where the time is in the window. wday: 0 = Sunday; minute: of the day. */
bool window_has(const struct window *w, unsigned wday, unsigned minute);

#endif
