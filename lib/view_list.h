/* view_list: which messages a client has, by message number: drawn from the answers to FETCH 1:* (UID) on the
 * connection that it had, and compared with what the same command shows on the one that it goes on with.
 * Pure.
 *
 * FETCH with message numbers can't bring an EXPUNGE (RFC 3501 7.4.1), so what it draws is what the client
 * counts, with messages that the server knows to be gone and has not told of yet. */
#ifndef IMAPFERRY_VIEW_LIST_H
#define IMAPFERRY_VIEW_LIST_H

#include "imap_seq.h"

enum { VIEW_LIST_MAX = 2000000 }; /* messages */

struct view_list {
    struct imap_seq uids; /* owned; message number n is the n-th of it */
    uint32_t n;
    bool broken; /* numbers or UIDs that do not rise, or too many: it is no list */
};

void view_list_free(struct view_list *l);

enum view_list_line {
    VIEW_LIST_OTHER, /* no UID in it, or none that is new */
    VIEW_LIST_ALONE, /* a message, and nothing but its UID: nobody else asked for it */
    VIEW_LIST_MORE,  /* a message, and something that others want to hear */
};
/* Of "* number FETCH items". */
enum view_list_line view_list_take(struct view_list *l, uint32_t number, struct span items);

/* What a client that has one list has to be told so that it has another. */
struct view_list_change {
    struct imap_seq gone; /* its message numbers; owned */
    uint32_t arrived;     /* messages behind the last one that it has */
};
/* False where that can't be told: the new list has a message that is not behind all that the client has. */
bool view_list_compare(const struct view_list *client, const struct view_list *now,
                       struct view_list_change *_r) MUST_CHECK;

#endif
