/* opened: where a client stands: which mailbox it has opened, by which numbers, whether it knows other names
 * than INBOX, and what it has enabled. Learned from its commands and the answers to them, as they pass. Pure.
 *
 * What the data of a SELECT say (EXISTS, UIDVALIDITY) counts when its tagged OK comes; a NO leaves no mailbox
 * open (RFC 3501 6.3.1). */
#ifndef IMAPFERRY_OPENED_H
#define IMAPFERRY_OPENED_H

#include "lib/imap_cmd.h"
#include "lib/imap_resp.h"

enum { OPENED_NAME_MAX = 4096 }; /* bytes of a mailbox's name */

struct opened {
    bool selected;
    bool examined;        /* by EXAMINE */
    struct buf mailbox;   /* its name, as it was given: bytes; owned */
    uint32_t uidvalidity; /* 0: it said none */
    uint32_t exists;      /* messages that the client was told of */
    /* of which it has heard in all: who has a list knows by it that numbers have changed */
    uint32_t expunges;
    bool names; /* the client was told, or has used, another name than INBOX */
    /* RFC 7162: the server tells MODSEQs with flags, and VANISHED with UIDs in place of EXPUNGE. Both last as
     * long as the connection; QRESYNC has CONDSTORE in it. */
    bool condstore, qresync;
};

void opened_free(struct opened *o);

/* The first part of a command that is passed on. For SELECT and EXAMINE, *name is the mailbox's name where it
 * stands in this part; where it is a literal, *name stays empty and the owner collects it. */
void opened_said(struct opened *o, const struct imap_cmd *cmd, struct span part, struct buf *name);
/* Untagged data and status responses; line: the first part. */
void opened_heard(struct opened *o, const struct imap_resp *r, struct span line);
/* The tagged answer. name: of SELECT and EXAMINE, empty where it was too long to be kept. */
void opened_answered(struct opened *o, enum imap_verb verb, struct span name, enum imap_status status);
/* The tagged answer to a command that has asked for MODSEQs (imap_cmd.h). */
void opened_asked_modseqs(struct opened *o, enum imap_status status);
/* "* VANISHED 3,5:7": messages that are gone now, and were there. In *_n how many. False: it is another
 * response, VANISHED (EARLIER) too, which tells of messages that were gone before. */
bool opened_vanished(const struct imap_resp *r, struct span line, uint64_t *_n) MUST_CHECK;
bool opened_is_inbox(struct span name);

#endif
