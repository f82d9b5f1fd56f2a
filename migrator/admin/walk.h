/* walk: goes through all accounts that have a record, some hundreds at a time, and tells of each that is asked for, once and in no
 * order. Nothing of them is kept, so there may be any number. What changes meanwhile may be seen as it was or as it
 * is. */
#ifndef IMAPFERRY_WALK_H
#define IMAPFERRY_WALK_H

#include "lib/route.h"

/* Strings are "" where it may be any; borrowed until the end. */
struct walk_filter {
    struct route_filter route;
    const char *domain; /* as it stands in keys: walk_domain() */
    const char *rule;   /* the pattern of a rule; WALK_NO_RULE: accounts that none fits */
};
#define WALK_NO_RULE "-"

/* All borrowed; texts are "" and times 0 where there is none. */
struct walk_account {
    const char *user, *state, *backend, *reason, *failed, *source, *target;
    const char *rule;   /* of the configuration; WALK_NO_RULE: none */
    const char *domain; /* "": none */
    uint64_t next_try_ms, flipped_ms, login_ms, now_ms;
    uint64_t attempts, waivers;
    struct route_progress progress;
};

struct walk;
typedef void (*walk_account_fn)(void *owner, const struct walk_account *a);
/* The walk is gone when this is called. */
typedef void (*walk_end_fn)(void *owner, enum route_rc rc);
/* Never calls back before it returned. */
struct walk *walk_start(struct store *s, const struct walk_filter *f, walk_account_fn fn, walk_end_fn end,
                        void *owner);
/* The same, with what route_export() tells of an account: WALK_EXPORTED spans, borrowed. */
enum { WALK_EXPORTED = 13 };
typedef void (*walk_exported_fn)(void *owner, const struct span *row);
struct walk *walk_export(struct store *s, walk_exported_fn fn, walk_end_fn end, void *owner);
/* It ends soon, as one that failed; may be called from inside of its callbacks. */
void walk_give_up(struct walk *w);
/* NULL is fine. */
void walk_cancel(struct walk **w);

/* How a domain that somebody typed stands in keys; to free. NULL: it can't be one, *why is a fixed text. */
char *walk_domain(const struct conf *c, const char *typed, const char **why) MUST_CHECK;

#endif
