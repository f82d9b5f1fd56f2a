/* fingerprint: tells whether an account was seen before under another login name. It is made of marks of the
 * first messages of INBOX, each a hash of UIDVALIDITY, UID, INTERNALDATE and header, and of the MAILBOXID
 * (RFC 8474) that a server may tell: accounts that were created in the same second, with the same mail,
 * differ by nothing else. An INBOX with fewer than two messages has none. */
#ifndef IMAPFERRY_FINGERPRINT_H
#define IMAPFERRY_FINGERPRINT_H

#include "migrator/imap/imap_client.h"

enum { FINGERPRINT_MARKS = 3, FINGERPRINT_MARK_SIZE = 25 /* 24 hex digits and NUL */ };

struct fingerprint {
    char marks[FINGERPRINT_MARKS][FINGERPRINT_MARK_SIZE];
    size_t n; /* 0: none */
};

/* False: the connection broke, imapc_error(). */
typedef void (*fingerprint_fn)(void *owner, bool ok, const struct fingerprint *f);

struct fingerprint_read;
/* Never calls back before it returned. Leaves INBOX selected. */
struct fingerprint_read *fingerprint_read(struct imapc *source, fingerprint_fn fn, void *owner);
void fingerprint_read_cancel(struct fingerprint_read **r); /* NULL is fine */

#endif
