/* views_home: the view of an account that is back on the server that its clients have come from (the route's text
 * begins with "1<:"). Names are that server's own, and so are numbers, but for a mailbox of T3, which has to be shown
 * by a UIDVALIDITY that no client has seen. The records go on pairing this server with the one that the account has
 * left, for the next move; the view is made of what they say of this server alone. Pure. */
#ifndef IMAPFERRY_VIEWS_HOME_H
#define IMAPFERRY_VIEWS_HOME_H

#include "lib/view.h"

struct views_home; /* opaque */

struct views_home *views_home_new(void);
void views_home_free(struct views_home **h);
/* Takes a field of the hash, and gives it to the view as it is to be seen. False: it can't be read. */
bool views_home_take(struct views_home *h, struct view *view, struct span name, struct span text) MUST_CHECK;
/* What changes of that view are in the hash. */
void views_home_changes(const struct views_home *h, const struct view_changes *seen,
                        struct view_changes *out);
/* They were made. */
void views_home_apply(struct views_home *h, const struct view_changes *made);

/* How names are spelled at home: alike. */
void views_home_spelling(struct view_spelling *s);
/* How the record of somebody else who has returned as well is seen. Appends; false: it can't be read. */
bool views_home_see(struct span text, struct buf *out) MUST_CHECK;

#endif
