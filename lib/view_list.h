/* view_list: which messages a client has, by message number. The list is taken from the answers to FETCH 1:*
 * (UID) on the connection that the client had, and compared with what the same command shows on the
 * connection with which it goes on. Pure.
 *
 * Beside it a digest of each message's flags can be kept, so that two lists show where flags differ.
 *
 * A FETCH with message numbers can't bring an EXPUNGE (RFC 3501 7.4.1), so its answers show the messages as
 * the client counts them, with those that the server knows to be gone and has not told the client of yet. */
#ifndef IMAPFERRY_VIEW_LIST_H
#define IMAPFERRY_VIEW_LIST_H

#include "imap_seq.h"

enum { VIEW_LIST_MAX = 2000000 }; /* messages */

struct view_list {
    struct imap_seq uids; /* owned; message number n is the n-th UID of it */
    uint32_t n;
    bool broken; /* numbers or UIDs did not rise, or there were too many: this is no list */
    /* Digests of flags, by message number - 1; 0: not told. Owned; NULL: of no message */
    uint32_t *flags;
    uint32_t flags_cap;
};

void view_list_free(struct view_list *l);

enum view_list_line {
    VIEW_LIST_OTHER, /* no UID in it, or none that is new */
    VIEW_LIST_ALONE, /* a message, and nothing but its UID: nobody else asked for it */
    VIEW_LIST_MORE,  /* a message, and something that others want to hear */
};
/* Takes a line "* number FETCH items" into the list. */
enum view_list_line view_list_take(struct view_list *l, uint32_t number, struct span items);

enum view_list_flags {
    VIEW_FLAGS_NONE,  /* none in it, or of a message that is not on the list */
    VIEW_FLAGS_FIRST, /* the first of this message, and nothing else in the line */
    VIEW_FLAGS_NEWS,
};
/* Takes the flags in such a line. */
enum view_list_flags view_list_take_flags(struct view_list *l, uint32_t number, struct span items);
void view_list_drop_flags(struct view_list *l);

/* What a client that has one list has to be told so that it has another. */
struct view_list_change {
    struct imap_seq gone; /* message numbers of the list that it has; owned */
    uint32_t arrived;     /* messages behind the last one that it has */
};
/* False where no such change can be told: the new list has a message that is not behind all that the client
 * has. */
bool view_list_compare(const struct view_list *client, const struct view_list *now,
                       struct view_list_change *_r) MUST_CHECK;

/* Messages of both lists whose flags are not known to be the same: their numbers on the list `now`. None, where one of
 * them has flags of no message. */
void view_list_reflagged(const struct view_list *client, const struct view_list *now,
                         struct imap_seq *numbers);

/* The UIDs of these message numbers; those that are not on the list have none. */
void view_list_uids(const struct view_list *l, const struct imap_seq *numbers, struct imap_seq *uids);

#endif
