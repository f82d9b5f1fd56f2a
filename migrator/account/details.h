/* details: what one server has of an account besides mailboxes and messages: rights (GETACL), annotations
 * (GETMETADATA, or GETANNOTATION of the draft), quota (GETQUOTAROOT). It asks only where the server says that
 * it has such, and for all mailboxes in few round trips. A refused question is counted as untold, and so are
 * rights that make no sense. After a few refusals without any answer it asks for no more, since some servers
 * hang up on those who ask in vain. */
#ifndef IMAPFERRY_DETAILS_H
#define IMAPFERRY_DETAILS_H

#include "annotations.h"
#include "migrator/imap/imap_client.h"
#include "quota.h"
#include "rights.h"

struct mailbox_details {
    struct rights rights;
    bool told; /* the rights */
    struct annotations annotations;
};

struct details {
    struct mailbox_details *items; /* owned; as many as names were given, in their order */
    size_t n;
    struct annotations account; /* private ones of the server as a whole */
    struct quota quota;
    size_t untold_rights, untold_annotations; /* mailboxes */
};

void details_free(struct details **d); /* NULL is fine */

/* Whether the server has such at all. */
bool details_has_rights(const struct imapc *c);
bool details_has_annotations(const struct imapc *c);
/* A server of RFC 2086, see rights.h. */
bool details_old_rights(const struct imapc *c);

/* By what it offers. */
enum rights_speech details_speech(const struct imapc *c);

/* Does the server have anything that details_read() would ask it for? */
bool details_are_offered(const struct imapc *c, bool quota);
/* Of a server that has nothing: n mailboxes without any. */
struct details *details_none(size_t n);

/* d is taken by the callee; NULL: the connection broke, imapc_error(). */
typedef void (*details_fn)(void *owner, struct details *d);

struct details_read;
/* names: of mailboxes, as the server spells them; borrowed until the end. Never calls back before it
 * returned. */
struct details_read *details_read(struct imapc *c, const char *const *names, size_t n, bool quota,
                                  details_fn fn, void *owner);
void details_read_cancel(struct details_read **r); /* NULL is fine */

#endif
