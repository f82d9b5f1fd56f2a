/* channel: the way by which a server is told numbers of its mailboxes that IMAP itself can't set: UIDVALIDITY,
 * UIDNEXT and HIGHESTMODSEQ. Where the server lets it, a message that APPEND refuses goes through it too
 * (channel_depot()).
 *
 *   doveadm   mailboxUpdate of Dovecot's HTTP API: one command a POST, since their order in one payload is not
 *             sure. Whoever has the mailbox selected is disconnected where UIDVALIDITY changes
 *   cyrus     SYNCGET and SYNCAPPLY MAILBOX in an IMAP session as the administrator (for a user the server
 *             refuses them). Rights and annotations are replaced by what is sent, so all that SYNCGET told goes
 *             back. What is lower than what the server has is refused; but an unused mailbox is made anew under
 *             another UNIQUEID, and takes any UIDVALIDITY then. SYNCAPPLY MESSAGE takes any bytes: NUL, a bare LF,
 *             no header
 *
 * Nothing here is ever lowered but the UIDVALIDITY of a mailbox that is unused. A channel that does not answer,
 * or says what is not understood, is asked once more; after that it is down for the rest of the job, and says
 * so at once. */
#ifndef IMAPFERRY_CHANNEL_H
#define IMAPFERRY_CHANNEL_H

#include "migrator.h"
#include "migrator/imap/depot.h"
#include "migrator/imap/imap_client.h"

struct channel;
struct channel_request {
    struct migrator *m;
    const struct conf_backend *backend;
    const char *user;             /* for logs */
    const char *login;            /* as the backend knows the user */
    const struct imap_caps *caps; /* of the backend */
    char separator;               /* of its names; 0: none */
    const char *prefix;           /* of its personal namespace */
    const uint64_t *until_ms;     /* how long the job is ours, see imapc_set_fence(); borrowed */
};
/* NULL: this backend has none; *why, for people, says why: a fixed text. Nothing is opened yet. */
struct channel *channel_new(const struct channel_request *request, const char **why);
/* What is under way ends without a callback. NULL is fine. */
void channel_free(struct channel **c);
/* "doveadm", "cyrus". */
const char *channel_word(const struct channel *c);
/* By its configuration, without any question to it: the same as channel_new() would find. NULL: it has none. */
const char *channel_of(const struct conf_backend *backend, const struct imap_caps *caps, const char **why);

/* What a mailbox is to have. */
struct channel_want {
    const char *mailbox; /* as on the wire; copied */
    uint32_t was; /* its UIDVALIDITY now: another mailbox is not touched (as far as the server can tell) */
    uint32_t uidvalidity; /* 0: as it is */
    uint32_t uidnext;     /* it is raised to that; 0: as it is */
    uint64_t modseq;      /* HIGHESTMODSEQ is raised to that; 0: as it is */
};

enum channel_rc {
    CHANNEL_OK,      /* the server says that it is done: what it is worth a STATUS will tell */
    CHANNEL_REFUSED, /* the server does not do that to this mailbox */
    CHANNEL_DOWN,    /* the channel is of no use; nothing was done */
    CHANNEL_LOST,    /* nor is it then, and nobody knows whether it was done, or will be */
};
/* why: for people, with the name of the channel in front; borrowed. */
typedef void (*channel_fn)(void *owner, enum channel_rc rc, const char *why);

/* Several may be under way. Never calls back before it returned. */
void channel_tell(struct channel *c, const struct channel_want *want, channel_fn fn, void *owner);
/* For messages that APPEND refuses. NULL: none go this way. Borrowed until channel_free(). A connection that breaks
 * under a message for the first time is opened anew for the next one; after the second time the channel is down. */
const struct depot *channel_depot(struct channel *c);
/* It is down, and by something that may be over soon: nobody answered, or the server said that it can't for the moment.
 * Another job may find it in order. */
bool channel_may_come_back(const struct channel *c);
/* No callback comes any more for what this owner has asked. */
void channel_forget(struct channel *c, const void *owner);

/* Does doveadm answer at doveadm_url, and take the key? Asks for nothing at all (an empty list of commands). error:
 * for people, NULL: it does; hint: what to do, "" where nobody knows; borrowed. date_s: what its clock said, in seconds since 1970; 0:
 * not known. Never calls back before it returned; the knock is gone when it does. */
struct channel_knock;
typedef void (*channel_knock_fn)(void *owner, const char *error, const char *hint, uint64_t date_s);
struct channel_knock *channel_knock_start(struct loop *l, const struct conf_backend *backend,
                                          uint64_t timeout_ms, channel_knock_fn fn, void *owner);
void channel_knock_cancel(struct channel_knock **k);

#endif
