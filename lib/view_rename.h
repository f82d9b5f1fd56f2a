/* view_rename: mailboxes that the site wants to have another name on the target (migration.rename). Pure.
 *
 * A rule is "FROM=TO", both patterns of view_pattern.h in the source's spelling, with the same wildcards in
 * the same order; what lies below goes along:
 *
 *   Sent Items=Sent          "Sent Items" -> "Sent", "Sent Items/2020" -> "Sent/2020"
 *   Archive.*=Old.*          "Archive.2020" -> "Old.2020"; "Archive" by itself stays
 *   Projects %=Projects/%    "Projects 7" -> "Projects/7"
 *
 * The first rule that means a name makes the new one; no second rule is applied to it. A rule has an inverse,
 * so that a target's name leads back; where a name is made by a rule and is another mailbox's own at the same
 * time, the plan finds that both exist and refuses (nothing is merged). Names by themselves can't tell:
 * whoever has records of mailboxes asks these first. */
#ifndef IMAPFERRY_VIEW_RENAME_H
#define IMAPFERRY_VIEW_RENAME_H

#include "view_pattern.h"

struct view_renames; /* opaque */

struct view_renames *view_renames_new(void);
void view_renames_free(struct view_renames **r);
/* Adds a rule behind the others. False: *why, a fixed text. */
bool view_renames_add(struct view_renames *r, const char *rule, const char **why) MUST_CHECK;

/* Appends what the name becomes: the name itself where no rule means it. r NULL: no rules. back: from TO to
 * FROM. Returns the number of the rule from 1 on, 0 where there was none. */
size_t view_rename(const struct view_renames *r, const struct view_place *place, bool back, struct buf *out);

#endif
