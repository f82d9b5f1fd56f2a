/* thaw: ends freezes that nobody ends. An account in preparing or freezing has a deadline, and its migrator may be
 * asleep or gone; so the first thread of each proxy remembers every such account that it hears of, whether it has
 * sessions of it or not, and asks for its thaw once a second until it is over. The script compares the deadline
 * (route_thaw); asking too early, or by several proxies, does no harm. */
#ifndef IMAPFERRY_THAW_H
#define IMAPFERRY_THAW_H

#include "lib/events.h"

struct thaws;

struct thaws *thaws_new(struct store *s);
void thaws_free(struct thaws **t);
/* Of struct events. */
void thaws_heard(struct thaws *t, const struct event *e);

#endif
