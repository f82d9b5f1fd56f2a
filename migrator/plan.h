/* plan: from what both servers list to what has to be done, and what can't be. Pure.
 *
 *   items        every mailbox of the source that can hold messages, with its name on the target
 *   subscribe    names on the target, so that subscriptions become equal to the source's (also to mailboxes
 * that unsubscribe  do not exist) problems     mailboxes that can't go, by name: they stop the account before
 * a byte is copied
 *
 * A mailbox of the target that the source does not have is left alone. */
#ifndef IMAPFERRY_PLAN_H
#define IMAPFERRY_PLAN_H

#include "lib/view_name.h"

#include "mailboxes.h"

struct plan_item {
    const struct mailbox *source; /* borrowed from the list */
    char *target_name;            /* owned */
    bool create;                  /* the target does not have it */
};

struct plan_names {
    char **items; /* owned */
    size_t n;
};

struct plan {
    struct plan_item
        *items; /* owned; in the order of the source's list, so that parents come before children */
    size_t n;
    struct plan_names subscribe, unsubscribe; /* as spelled on the target */
    size_t n_problems;
    struct buf problems;        /* for people, on one line; names the first few */
    size_t special_use_differs; /* mailboxes that exist on both sides and have other special uses there */
};

/* Both lists must live as long as the plan. Never NULL. */
struct plan *plan_make(const struct mailboxes *source, const struct mailboxes *target);
void plan_free(struct plan **p);
/* How names map between the two lists; strings are borrowed from them. */
struct view_names plan_view_names(const struct mailboxes *source, const struct mailboxes *target);
/* A mailbox name for people: UTF-8 where it is valid modified UTF-7, on one line, in quotes. Appends. */
void plan_show_name(struct buf *out, const char *name);

#endif
