/* dial: from a configured address to a connected (and, for imaps and rediss, secured) stream: resolve, try
 * each address in turn, TLS. One deadline over all of it; each address may take an equal share of what is
 * left, so one that swallows packets does not keep the next from its turn. A literal address is not looked
 * up. */
#ifndef IMAPFERRY_DIAL_H
#define IMAPFERRY_DIAL_H

#include "address.h"
#include "stream.h"

enum dial_rc { DIAL_OK, DIAL_UNREACHABLE, DIAL_TLS_FAILED, DIAL_TIMEOUT };

struct dial; /* one attempt under way */

/* s is taken by the callee (it must set itself as owner at once, or close it); NULL unless DIAL_OK. detail: a
 * text for a log, borrowed. The dial is gone when this is called. Never called from inside dial_start(). */
typedef void (*dial_fn)(void *owner, enum dial_rc rc, struct stream *s, const char *detail);

/* The stream keeps no deadline of the dial. policy may be NULL for schemes without TLS; it must live as long
 * as the stream. address is borrowed for the call. */
struct dial *dial_start(struct loop *l, const struct address *address, struct tls_policy *policy,
                        const struct stream_limits *limits, uint64_t timeout_ms, dial_fn fn, void *owner);
/* Nulls; no callback after it. NULL is fine. */
void dial_cancel(struct dial **d);

#endif
