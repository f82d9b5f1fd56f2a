/* annotations: what a server keeps beside messages, for a mailbox or for the whole account: METADATA (RFC
 * 5464), and ANNOTATEMORE, the draft before it. Pure.
 *
 * Both are kept as METADATA spells them: "/private/comment". What a server of the draft calls "/comment" with
 * "value.priv" and "value.shared" is "/private/comment" and "/shared/comment". Three things are left alone:
 * what servers keep there for themselves (sizes, identifiers, settings of Cyrus and Dovecot), the special
 * use, which CREATE takes care of, and the shared annotations of the server as a whole. */
#ifndef IMAPFERRY_ANNOTATIONS_H
#define IMAPFERRY_ANNOTATIONS_H

#include "lib/buf.h"
#include "lib/imap_resp.h"
#include "lib/imap_tok.h"

/* A larger value is not sent to us, since we ask with MAXSIZE (RFC 5464 4.2.1). */
enum { ANNOTATIONS_MAX = 1000, ANNOTATION_BYTES_MAX = 60000 };

struct annotation {
    char *entry; /* owned */
    struct buf value;
};

struct annotations {
    struct annotation *items; /* owned; sorted by entry once annotations_sort() was called */
    size_t n;
};

void annotations_free(struct annotations *a);
/* Adds what stands behind "* METADATA" or "* ANNOTATION", mailbox first. False: it is no such response.
 * Entries without a value (NIL) are none. */
bool annotations_take(struct annotations *a, const struct imap_resp *resp, const struct imap_value *data,
                      bool of_server) MUST_CHECK;
/* Sorts; of an entry that came twice the first stays. */
void annotations_sort(struct annotations *a);
/* In a sorted one; NULL where there is none. */
const struct annotation *annotations_find(const struct annotations *a, const char *entry);

#endif
