/* What relay_view.c and relay_view_up.c share: how a session stands whose client sees other names or numbers than the
 * backend has. */
#ifndef IMAPFERRY_RELAY_VIEW_PRIV_H
#define IMAPFERRY_RELAY_VIEW_PRIV_H

#include "relay_priv.h"

enum collecting { COLLECTS_NOTHING, COLLECTS_NAME, COLLECTS_WHOLE, COLLECTS_LINE };

/* What has to be in the store before something goes on:
 *
 *   BEFORE        the changes of a RENAME or DELETE, which is not sent yet. Where the store refuses, the client is
 *                 told NO; but what can do without them (view_command_does_without()) goes on while the account is
 *                 being moved once more
 *   KEPT          they are, but a failover of Redis could lose the records of a RENAME: then another mailbox that gets
 *                 the old name could be shown by them. So the replicas have to have them, or the client is told NO. The
 *                 records stay then, and fit nothing
 *   SEND          they are; it is sent once something may pass
 *   AFTER         the changes of an answer: the mailbox that was opened is another one now, or a RENAME was
 *                 done. Where the store refuses, the client is told NO, or the session ends
 *   CURRENT       nothing: whether another proxy has changed the view before the backend has opened the mailbox. Of
 *                 two mailboxes with one UIDVALIDITY, one may be under the other's name by now
 *   GIVE          they are; the answer is given once something may pass
 *   VIEW_BEFORE, VIEW_AFTER
 *                 records were others than we knew: they are being read, and then it is tried again */
enum asking {
    ASKS_NOTHING,
    ASKS_BEFORE,
    ASKS_VIEW_BEFORE,
    ASKS_KEPT,
    ASKS_SEND,
    ASKS_AFTER,
    ASKS_CURRENT,
    ASKS_VIEW_AFTER,
    ASKS_GIVE
};

struct relay_view {
    struct session *s;      /* borrowed */
    struct view_rewrite *w; /* owned */

    /* the command that the client is sending */
    enum view_takes takes;
    enum collecting collects;
    struct buf first;       /* its first part; COLLECTS_LINE: all of it so far, in one line */
    struct imap_tree *args; /* COLLECTS_WHOLE; owned */
    struct buf literal;     /* the one under way; COLLECTS_NAME: the name */
    bool bad_literal;       /* COLLECTS_LINE: one can't be in the line */
    struct buf name;        /* of SELECT and EXAMINE, where it was a literal */

    /* what it became: pieces, before each of which but the first "+" is waited for */
    struct imap_writer out;
    size_t sent; /* bytes of it */
    size_t next; /* of out.waits */
    bool unsent;
    bool tail, tail_sync;        /* the client's own literal follows */
    struct view_command *became; /* until it is one of relay->commands; owned by w */

    /* the response that is collected; NULL: none is */
    struct imap_tree *data; /* owned */
    struct buf head, body;  /* its first part; the literal under way */

    enum asking asks;
    unsigned tries;
    struct timer *timer;      /* owned */
    struct command *answered; /* AFTER ... */
    struct buf tagged;        /* ... and its answer; GIVE: what the client is told */
    bool goes_on;             /* ... before commands of ours */

    /* A command of the client that the backend has answered, and that commands of ours belong to; one of them
     * is under way. NULL: none is. */
    struct command *asks_for;
};

/* ---- commands (relay_view_up.c) ---- */

/* Of the command that the client is sending, nothing is left; nor of what it became. */
void relay_view_forget_command(struct relay_view *v);
void relay_view_forget_out(struct relay_view *v);
/* What a command became is sent, outside of relay_pump_up(). */
void relay_view_send(struct relay_view *v);

/* ---- the store (relay_view.c) ---- */

/* What a command became has changes that have to be in the store before it is sent. */
void relay_view_ask_before(struct relay_view *v);

#endif
