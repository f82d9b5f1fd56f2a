/* plan: turns what both servers list into what has to be done, and names what can't or shall not be moved.
 * Pure.
 *
 *   items         every mailbox of the source that goes, with its name on the target
 *   subscribe,    names on the target, so that subscriptions become equal to the source's, also those to mailboxes that
 *   unsubscribe   do not exist
 *   findings      all else, by name
 *
 * What stays behind is a finding of one of these kinds:
 *
 *   left_out      a rule of the configuration (exclude) means it
 *   virtual       \All and \Flagged are views of messages that lie in other mailboxes (RFC 6154). A rename rule that means
 *                 such a mailbox says that it is wanted all the same
 *   all_mail      an \All mailbox that holds more than all others together, or Gmail's, where archived messages lie in no
 *                 other mailbox. It blocks, so that the site can say what it wants: exclude or rename
 *   name          the mailbox has no name that the target can spell
 *   collision     another mailbox has its name on the target. The one that has the name by itself goes before one that a
 *                 rule gives it to; two mailboxes are never merged
 *   shared        it lies in a namespace of others
 *
 * A mailbox of the target that the source does not have is left alone. By default every mailbox keeps its
 * name, since that is what users see: "Sent Items" goes beside a "Sent" that the target made by itself. */
#ifndef IMAPFERRY_PLAN_H
#define IMAPFERRY_PLAN_H

#include "lib/migration_rules.h"
#include "lib/view_spaces.h"

#include "mailboxes.h"
#include "migrator/found/finding.h"

struct plan_item {
    const struct mailbox *source; /* borrowed from the list */
    char *target_name;            /* owned */
    bool create;                  /* the target does not have it */
    bool refused;                 /* and does not make it (arrange.h): nothing is copied */
    uint32_t leave_out;           /* rules about its messages, see leave_out.h */
};

struct plan_names {
    char **items; /* owned */
    size_t n;
};

struct plan {
    struct plan_item
        *items; /* owned; in the order of the source's list, so that parents come before children */
    size_t n;
    const struct mailbox_elsewhere **others; /* owned, what they point at borrowed: not excluded */
    size_t n_others;
    struct plan_names subscribe, unsubscribe; /* as spelled on the target */
    struct findings *findings;                /* owned */
    const char *fault; /* NULL; else no names can be mapped at all: for people, a fixed text */
    const char *fault_side;
};

struct plan_request {
    const struct mailboxes *source, *target; /* must live as long as the plan */
    const struct migration_rules *rules;     /* NULL: none */
    bool back;                     /* the account returns: rules lead back in names, and leave nothing out */
    const struct waivers *waivers; /* NULL: none; borrowed */
    /* Was this mailbox of the source copied before? Then it is no view, whatever it is called. NULL: none
     * was. */
    bool (*was_copied)(const void *owner, const char *name);
    const void *owner;
    /* Is the owner of a mailbox in a namespace of others switched over together with this account? Then it is in nobody's way. NULL:
     * nobody is. */
    bool (*goes_along)(const void *move, const char *who);
    const void *move;
};

/* Never NULL. */
struct plan *plan_make(const struct plan_request *request);
void plan_free(struct plan **p);
/* How names map between the two lists; strings are borrowed from them. */
struct view_names plan_view_names(const struct plan_request *request);
/* How others' mailboxes are called on both servers; nothing where the account is shown none. login: the account's, whose domain
 * servers leave out. To free by view_spaces_free(). */
void plan_view_spaces(const struct plan_request *request, const char *login, struct view_spaces *out);
/* A mailbox name for people: UTF-8 where it is valid modified UTF-7, on one line, in quotes. Appends. */
void plan_show_name(struct buf *out, const char *name);

#endif
