/* ctl_group: groups of accounts that share mailboxes, for people. `group NAME`: who shares mailboxes with an account by what a survey has found (survey_sum.h), and where each of them is now. */
#ifndef IMAPFERRY_CTL_GROUP_H
#define IMAPFERRY_CTL_GROUP_H

#include <jansson.h>

#include "lib/options.h"
#include "lib/route.h"

/* The group of a sum that has this account; to decref; NULL: it is in none. */
json_t *ctl_group_find(const json_t *sum, const char *key);

struct ctl_group;
/* error: NULL: all was read; borrowed. The reading is gone when this is called. */
typedef void (*ctl_group_fn)(void *owner, const char *error);
/* Gives each member "state", "on", "reason", and "waived" (whether `shared` is). All are borrowed until the end. Calls back once, not
 * before it returned. */
struct ctl_group *ctl_group_start(struct store *s, const struct conf *conf, json_t *group, ctl_group_fn fn,
                                  void *owner);
void ctl_group_cancel(struct ctl_group **g); /* NULL is fine */

/* For people. Append. */
void ctl_write_group(struct buf *out, json_t *group);
/* group show; group list. */
void ctl_write_sharing(struct buf *out, json_t *group);
void ctl_write_sharings(struct buf *out, json_t *data);

#endif
