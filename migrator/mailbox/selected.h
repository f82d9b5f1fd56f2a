/* selected: a mailbox as one connection sees it while it is selected: UIDVALIDITY, UIDNEXT, PERMANENTFLAGS
 * and the list of its messages, kept up to date by whatever the server says later. Whoever runs commands on
 * that connection passes untagged responses on to selected_data().
 *
 * selected_open() sends EXAMINE or SELECT, and in the same breath UID FETCH 1:* of UID, FLAGS, INTERNALDATE,
 * RFC822.SIZE (never SEARCH, which some servers answer with nothing). Where EXAMINE says no UIDNEXT, SELECT
 * follows: such a server (Courier) keeps the UIDs that it shows only then. There, and nowhere else, our
 * reading makes old what was \Recent on the source.
 *
 * On the target, STATUS first asks how large a message may be, where the server says that each mailbox has a
 * limit of its own (RFC 7889: the capability without a number).
 *
 * selected_refresh() sends NOOP (some servers show what was appended only then), then the same items of a set
 * of UIDs.
 *
 * Where an earlier comparison found the mailbox equal, selected_open() can be given what it was then (struct
 * selected_base), and lists only what may have changed since. With CONDSTORE (RFC 7162) that is: which UIDs
 * are there, as ranges where the server can (ESEARCH, RFC 4731), and all items of the messages that changed
 * since that HIGHESTMODSEQ. Without it: UIDs and flags of all messages, and all items of the new ones. All
 * other items are kept from the earlier listing (mbox_list.h). The whole list is read all the same where
 * there are not as many UIDs as EXISTS says, where UIDVALIDITY or a number that may only rise has changed
 * otherwise, and where the server refuses. (QRESYNC would tell the same, but with it servers send VANISHED
 * instead of EXPUNGE.)
 *
 * selected_catch_up() brings a list up to date after we changed the mailbox.
 *
 * A FETCH that can't be parsed into words is named nowhere at first. What it should have told is asked for
 * again, item by item, for up to 50 messages. So all but the broken item become known, and that one is named
 * with its UID; it then counts as no flags, as a date that is none, or as size 0. If the UID itself can't be
 * had, the list stays incomplete. Where more messages than that are broken, or none is missing, the whole
 * list is asked for again, and what is broken in it is named.
 *
 * Each of these functions ends well only when the list is whole: as many messages as EXISTS says, each with
 * its items, with ascending UIDs. What is missing is asked for twice more before that is an error; more often
 * where the first missing message is further down each time, since then mail is coming in. */
#ifndef IMAPFERRY_SELECTED_H
#define IMAPFERRY_SELECTED_H

#include "mbox_list.h"
#include "migrator/found/finding.h"
#include "migrator/imap/imap_client.h"
#include "stamp.h"
#include "step.h"
#include "uidset.h"

/* What was known at an earlier time. */
struct selected_base {
    struct stamp_side was;
    bool changes;        /* HIGHESTMODSEQ can be relied upon: list changes only */
    mbox_known_fn known; /* knows all messages of that time; called until the end of the open */
    void *owner;         /* borrowed */
};

struct selected {
    struct imapc *imap; /* borrowed */
    bool given;         /* the connection has gone on to another mailbox: nothing more is sent for this one */
    imapc_odd_fn odd;   /* who is told of odd answers; NULL: who watches the connection */
    void *odd_owner;
    const char *name; /* as on the wire; borrowed */
    const char *side; /* "source" or "target", for texts */
    bool examine;     /* the source's way: SELECT only where the server needs it */
    struct mbox_list list;
    uint32_t uidvalidity, uidnext; /* 0 = not said */
    struct flags_policy permanent;
    bool limited;           /* the mailbox has a limit of its own: */
    uint64_t appendlimit;   /* so many bytes a message may have; 0: the mailbox takes no message */
    struct stamp_side seen; /* what the server said before it was listed; modseq 0: it can't be relied upon */
    uint64_t modseq_told;   /* the greatest HIGHESTMODSEQ that it was told to have; 0: none */
    /* private */
    const struct selected_base *base; /* borrowed; NULL: list all */
    struct stamp_side told;           /* what the last STATUS said */
    bool catching_up;
    uint64_t modseq;
    enum { SELECTED_IDLE, SELECTED_OPENING, SELECTED_LISTING } phase;
    const char *wrong; /* what contradicts itself; a fixed text */
    bool read_only, reopen, exists_told;
    struct imap_seq wanted; /* what is being listed */
    struct uidset_place at; /* how far that has been asked for */
    struct imap_seq found;  /* by the searches */
    uint32_t missing;       /* number of the first message that the last listing lacked */
    unsigned tries, grown, outstanding, searching;
    char *refused; /* owned */
    bool temporary, down, vanished;
    bool broken; /* a FETCH could not be told apart into words */
    bool apart;  /* and what it should have told was asked for once more */
    step_fn fn;
    void *owner;
};

/* Why a step ends that would have had to send something. */
#define SELECTED_GIVEN "its connection has gone on to another mailbox"

void selected_init(struct selected *s, struct imapc *imap, struct flags_pool *pool, const char *name,
                   const char *side, bool examine);
/* Stops what is under way and frees the list. */
void selected_free(struct selected *s);
/* base: NULL, or what may be kept; borrowed until fn is called. */
void selected_open(struct selected *s, const struct selected_base *base, step_fn fn, void *owner);
/* uids is copied. */
void selected_refresh(struct selected *s, const struct imap_seq *uids, step_fn fn, void *owner);
/* first_new: all messages from this UID on have arrived since the list was read; 0: none has. */
void selected_catch_up(struct selected *s, uint32_t first_new, step_fn fn, void *owner);
/* Taken: it was something about this mailbox. What contradicts the list is found out by the next refresh or
 * by selected_wrong(). */
enum imapc_taken selected_data(struct selected *s, const struct imap_resp *resp,
                               const struct imap_value *data);
/* For commands that are about this mailbox: its connection, which must not be given away yet. */
struct imapc *selected_imap(const struct selected *s);
/* A fixed text, or NULL where all is well. */
const char *selected_wrong(const struct selected *s);
/* Could it not be opened, for a reason that is not temporary? */
bool selected_vanished(const struct selected *s);
/* What the next message's UID will be at least. */
uint32_t selected_uidnext(const struct selected *s);

#endif
