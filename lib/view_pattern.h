/* view_pattern: which mailboxes a rule of the configuration means. Pure.
 *
 *   Sent Items      that mailbox, and all below it
 *   %               any bytes but the hierarchy separator
 *   *               any bytes
 *   \%  \*  \=  \\  the byte behind the backslash, by itself
 *
 * A pattern is UTF-8 and is compared with the name as people see it: a name that is valid modified UTF-7 is
 * decoded first, any other is compared byte by byte. A pattern is spelled with the server's hierarchy
 * separator, and with or without the prefix of the personal namespace: "Sent Items" means INBOX.Sent Items
 * where all mailboxes lie below "INBOX.". INBOX itself is never meant: no rule can leave it out or give it
 * another name. Capital and small letters are different letters. */
#ifndef IMAPFERRY_VIEW_PATTERN_H
#define IMAPFERRY_VIEW_PATTERN_H

#include "buf.h"

/* The caps of a pattern: with more wildcards, comparing a long name would take long. */
enum { VIEW_PATTERN_MAX = 1000 /* bytes */, VIEW_WILDS_MAX = 6 };

struct view_pattern; /* opaque */

/* Parses a pattern. NULL: *why is a fixed text. */
struct view_pattern *view_pattern_new(struct span text, const char **why) MUST_CHECK;
void view_pattern_free(struct view_pattern **p);

/* The name of a mailbox as its server spells it. */
struct view_place {
    struct span name;
    char separator;     /* '\0': none */
    const char *prefix; /* of the personal namespace, "" = none */
};

bool view_pattern_means(const struct view_pattern *p, const struct view_place *place);

/* True where both have the same wildcards in the same order, so that what one matches can be put into the
 * other. */
bool view_pattern_pairs(const struct view_pattern *a, const struct view_pattern *b);
/* Appends the name that `to` makes of a name that `from` means. Each wildcard stands for what it matched (as
 * little as it can, the first ones first), and what lies below the mailbox stays as it is. False, and *out as
 * it was: `from` does not mean this name. */
bool view_pattern_swap(const struct view_pattern *from, const struct view_pattern *to,
                       const struct view_place *place, struct buf *out) MUST_CHECK;

#endif
