/* leave_out: messages that the site does not want to be copied (migration.leave_out). Pure.
 *
 * A rule is "[MAILBOX ]CONDITION[ CONDITION...]". MAILBOX is a pattern of view_pattern.h, or INBOX; without
 * it the rule is for every mailbox. All conditions have to be true:
 *
 *   larger:50M         RFC822.SIZE is above 50 MiB; K, M, G or nothing stands behind the number
 *   older:3650d        INTERNALDATE is longer ago than that; h (hours) or d (days)
 *   flag:\Deleted      has the flag or keyword
 *   Trash older:30d    only in Trash and below
 *
 * A message that any rule means is left out. The rules decide what is copied, never what is removed: what was
 * copied before a rule meant it stays on the target. */
#ifndef IMAPFERRY_LEAVE_OUT_H
#define IMAPFERRY_LEAVE_OUT_H

#include "view_pattern.h"

enum { LEAVE_OUT_MAX = 32 /* rules */ };

struct leave_out; /* opaque */

struct leave_out *leave_out_new(void);
void leave_out_free(struct leave_out **l);
/* Adds a rule behind the others. False: *why is a fixed text. */
bool leave_out_add(struct leave_out *l, const char *rule, const char **why) MUST_CHECK;

/* The rules that are for this mailbox, as bits. */
uint32_t leave_out_rules_of(const struct leave_out *l, const struct view_place *mailbox);

struct leave_out_message {
    uint64_t size;
    int64_t instant; /* seconds since 1970 */
    bool dated;      /* false: instant is not known */
    bool (*has_flag)(const struct leave_out_message *m, const char *flag);
};
/* The number of the first of these rules that means the message, from 1 on; 0: none does. now is in seconds
 * since 1970. */
unsigned leave_out_means(const struct leave_out *l, uint32_t rules, const struct leave_out_message *m,
                         int64_t now);
/* The rule of this number, as it was written; borrowed. */
const char *leave_out_rule(const struct leave_out *l, unsigned number);

#endif
