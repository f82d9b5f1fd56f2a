/* view_spaces: how a mailbox that is not the account's own is called on the one server and on the other: those of other users,
 * and those that belong to nobody (RFC 2342). Pure.
 *
 *   shared/ann.smith@example.org/Work     is  Other Users/ann.smith/Work   and  user.ann^smith.Work
 *   shared/ann.smith@example.org/INBOX    is  Other Users/ann.smith        and  user.ann^smith
 *   Public/news                           is  Shared Folders/news
 *
 * Behind the prefix stands the user. Some servers leave out the domain of whoever looks; where a dot separates levels, Cyrus
 * has "^" for the dots of a user's name; and it calls a user's INBOX by the user alone. What stands behind that is
 * spelled as in a namespace of one's own (view_name.h). The site's renames are for the account's own mailboxes alone. */
#ifndef IMAPFERRY_VIEW_SPACES_H
#define IMAPFERRY_VIEW_SPACES_H

#include "view_name.h"

enum { VIEW_CLIENT, VIEW_BACKEND, VIEW_SIDES };
enum { VIEW_OWNERS_MAX = 100 };

struct view_spaces {
    /* Prefixes on both sides, not empty; NULL: there is no such namespace on both. Owned, as all strings. */
    char *users[VIEW_SIDES], *shared[VIEW_SIDES];
    char *domain;       /* that one of the sides leaves out, "example.org"; NULL: neither does */
    int without_domain; /* ... which one */
    int inbox_by_user;  /* the side that calls INBOX by the user alone; VIEW_SIDES: both or neither */
    /* The users whose mailboxes the account was shown at its move, as the client calls them: who reads the view reads theirs as
     * well, see view_lend(). Owned */
    char **owners;
    size_t n_owners;
};
void view_spaces_free(struct view_spaces *s);
struct view_spaces view_spaces_copy(const struct view_spaces *s);
/* Adds one of the users; false: it is there, or there are too many. */
bool view_spaces_add_owner(struct view_spaces *s, struct span owner);
bool view_spaces_are_there(const struct view_spaces *s);
/* Are all names the same on both sides, where separators are? */
bool view_spaces_alike(const struct view_spaces *s);

/* " users=shared/,Other%20Users/,bexample.org,b,OWNER,OWNER shared=...", or nothing: the side that leaves the domain out, with the domain;
 * the side that calls INBOX by the user alone. One of them has one text. */
void view_spaces_encode(struct buf *out, const struct view_spaces *s);
/* Eats such a text up to its end. False: it is none. *_r is written on success alone. */
bool view_spaces_decode(struct span text, struct view_spaces *_r) MUST_CHECK;

enum view_space_name {
    VIEW_SPACE_OWN,   /* it is in none of these */
    VIEW_SPACE_NAMED, /* *out has what it is called on the other side */
    VIEW_SPACE_NONE   /* it has no name there */
};
/* sides: separators and bytes to avoid. from: whose name it is. */
enum view_space_name view_spaces_name(const struct view_spaces *s, const struct view_side sides[VIEW_SIDES],
                                      int from, struct span name, struct buf *out) MUST_CHECK;

/* The beginning of all names of a user's mailboxes, up to the separator and with it, as that side calls them. owner: as the client
 * calls the user. False: that side can't. */
bool view_spaces_before(const struct view_spaces *s, const struct view_side sides[VIEW_SIDES], int side,
                        const char *owner, struct buf *out) MUST_CHECK;

#endif
