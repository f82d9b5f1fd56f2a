/* mailboxes: the mailboxes of an account on one server, as that server lists them. NAMESPACE, LIST, LSUB and
 * STATUS are sent together: that takes one round trip where the server has LIST-STATUS (RFC 5819), two
 * elsewhere. Names are kept as the bytes that were on the wire (modified UTF-7, or whatever a server takes
 * for it); INBOX is spelled in capitals. Only the mailboxes of the personal namespace are kept; those of
 * other users' or shared namespaces are only named. Where a server tells of no namespaces, names that begin
 * with "#" (#news, #shared) are no mailboxes of the user (RFC 3501 5.1.2).
 *
 * A line that is not understood whole is kept as odd, and what can be understood of it is taken: a name whose
 * attributes or separator make no sense is a mailbox that will be tried. Where two lines say different things
 * of one mailbox, only what both say counts. Where LIST and NAMESPACE disagree about the separator, LIST is
 * believed. Where there is no LSUB (RFC 9051), subscriptions are asked for by LIST (SUBSCRIBED); where that
 * is not there either, nobody knows them. */
#ifndef IMAPFERRY_MAILBOXES_H
#define IMAPFERRY_MAILBOXES_H

#include "migrator/found/oddity.h"
#include "migrator/imap/imap_client.h"
#include "migrator/mailbox/stamp.h"

enum { MAILBOXES_MAX = 50000, MAILBOX_NAME_MAX = 2000 /* bytes */ };

enum mailbox_flag {
    MAILBOX_LISTED = 1,    /* LIST has it; without: only subscribed */
    MAILBOX_NO_SELECT = 2, /* \Noselect or \NonExistent: a place in the hierarchy without messages */
    MAILBOX_SUBSCRIBED = 4,
    MAILBOX_HAS_STATUS = 8, /* `status` is known, and `bytes` if the server tells */
};

/* RFC 6154 and RFC 8457, as bits. */
enum special_use {
    USE_ALL = 1,
    USE_ARCHIVE = 2,
    USE_DRAFTS = 4,
    USE_FLAGGED = 8,
    USE_JUNK = 16,
    USE_SENT = 32,
    USE_TRASH = 64,
    USE_IMPORTANT = 128
};

struct mailbox {
    char *name;           /* owned */
    unsigned flags;       /* enum mailbox_flag */
    unsigned special_use; /* enum special_use */
    char separator;       /* its own, by LIST; 0: none */
    struct stamp_side status;
    uint64_t bytes;
};

/* A mailbox of other users' or of a shared namespace. */
struct mailbox_elsewhere {
    char *name; /* owned */
    char *
        owner; /* owned; who the server says has it: the level behind the prefix of other users' namespaces, in UTF-8; NULL: nobody */
    char *
        space; /* owned; where it lies: the prefix of its namespace, or the first level where that is empty */
};

struct mailboxes {
    char separator;        /* 0: the server has no hierarchy */
    char *prefix;          /* of the personal namespace, with the separator at its end: "INBOX.", ""; owned */
    struct mailbox *items; /* owned; sorted by name, INBOX first */
    size_t n;
    struct oddities odd, disagreeing;
    bool subscriptions_untold;
    /* Prefixes of the namespaces of other users and of nobody, where there is one of the kind, it has the account's separator,
     * and its prefix is not empty; NULL; owned */
    char *users, *shared;
    bool inbox_by_user; /* another user's INBOX is called by the user alone (view_spaces.h) */
    struct mailbox_elsewhere *elsewhere; /* left out; owned */
    size_t n_elsewhere;
};

void mailboxes_free(struct mailboxes **m);
/* NULL where there is none. */
struct mailbox *mailboxes_find(const struct mailboxes *m, const char *name);
/* "\Sent \Archive", blanks between. */
void special_use_write(struct buf *out, unsigned special_use);

/* What follows LIST or LSUB. */
struct list_line {
    struct span name; /* borrowed from the tree */
    char separator;   /* 0: none */
    bool no_select;
    unsigned special_use;
    bool whole; /* false: its attributes or its separator are none, and not told here */
};
/* False: not even the name is sure. */
bool list_line_read(const struct imap_value *data, struct list_line *line) MUST_CHECK;

/* GARBLED: the connection broke for bytes that are no response, which another try ends in too. */
enum mailboxes_rc { MAILBOXES_OK, MAILBOXES_DOWN, MAILBOXES_REFUSED, MAILBOXES_GARBLED };
/* m is taken by the callee; NULL unless MAILBOXES_OK. why: for people, borrowed. */
typedef void (*mailboxes_fn)(void *owner, enum mailboxes_rc rc, struct mailboxes *m, const char *why);

struct mailboxes_read;
/* What of STATUS is asked for: nothing; the numbers; the bytes of the messages too, for which some servers
 * look at each message. */
enum mailboxes_ask { MAILBOXES_NAMES, MAILBOXES_NUMBERS, MAILBOXES_SIZES };
/* Never calls back before it returned. Before the connection may be freed, the read has to end or be
 * cancelled. */
struct mailboxes_read *mailboxes_read(struct imapc *c, enum mailboxes_ask ask, mailboxes_fn fn, void *owner);
void mailboxes_read_cancel(struct mailboxes_read **r);

#endif
