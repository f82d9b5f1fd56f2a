/* view_rename: mailboxes that the site wants to have another name on the target (migration.rename). Pure.
 *
 * A rule is "FROM=TO", two patterns of view_pattern.h in the source's spelling, with the same wildcards in
 * the same order. What lies below such a mailbox goes along:
 *
 *   Sent Items=Sent          "Sent Items" -> "Sent", "Sent Items/2020" -> "Sent/2020"
 *   Archive.*=Old.*          "Archive.2020" -> "Old.2020"; "Archive" by itself stays
 *   Projects %=Projects/%    "Projects 7" -> "Projects/7"
 *
 * The first rule that means a name makes the new one; no second rule is applied to that. A rule has an
 * inverse, by which a target's name leads back. Where a rule makes a name that another mailbox has by itself,
 * the plan finds that both exist and refuses (nothing is merged). Names alone can't tell the two apart: who
 * has records of mailboxes looks there first. */
#ifndef IMAPFERRY_VIEW_RENAME_H
#define IMAPFERRY_VIEW_RENAME_H

#include "view_pattern.h"

struct view_renames; /* opaque */

struct view_renames *view_renames_new(void);
void view_renames_free(struct view_renames **r);
/* Adds a rule behind the others. False: *why is a fixed text. */
bool view_renames_add(struct view_renames *r, const char *rule, const char **why) MUST_CHECK;

/* Appends what the name of place becomes: that name itself where no rule means it. r may be NULL, for no
 * rules. back: from TO to FROM. Returns the number of the rule, from 1 on; 0: no rule means the name. */
size_t view_rename(const struct view_renames *r, const struct view_place *place, bool back, struct buf *out);

#endif
