/* holdup: what keeps every account from moving at this moment, whatever its own reason says: the brake, a
 * Redis that may forget what it is told, a quarantine, no migrator that lives, or none that takes work. */
#ifndef IMAPFERRY_HOLDUP_H
#define IMAPFERRY_HOLDUP_H

#include "lib/route.h"

/* What a migrator has told last (lib/route/migrator.lua). */
struct told {
    uint64_t term_ms, told_ms; /* of Redis' clock */
    char version[64];
    char why[600]; /* why it takes no work; "": it does */
};
void told_parse(struct span value, struct told *_r);
bool told_is_silent(const struct told *t, uint64_t now_ms);

struct holdup;
/* text: for people, all that holds accounts up; "": nothing does, or Redis does not answer. Borrowed. The
 * question is gone when this is called. */
typedef void (*holdup_fn)(void *owner, const char *text);
/* Never calls back before it returned. */
struct holdup *holdup_ask(struct store *s, holdup_fn fn, void *owner);
/* NULL is fine. */
void holdup_cancel(struct holdup **h);
/* Does an account in this state wait for a migrator, or have one that may have to wait? */
bool holdup_concerns(enum route_state s);

#endif
