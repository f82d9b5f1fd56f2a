/* dial: from a configured address to a connected stream, which for imaps and rediss is secured as well: it
 * resolves the name, tries each address in turn, and starts TLS. One deadline stands over all of it. Each
 * address may take an equal share of what is left, so that one which swallows packets does not keep the next
 * from its turn. A literal address is not looked up. */
#ifndef IMAPFERRY_DIAL_H
#define IMAPFERRY_DIAL_H

#include "address.h"
#include "stream.h"

enum dial_rc {
    DIAL_OK,
    DIAL_UNREACHABLE,
    DIAL_TLS_FAILED,
    DIAL_TIMEOUT,
    DIAL_OURS /* this process or its host has no room for a connection: nobody was asked */
};

struct dial; /* one attempt under way */

/* The callee takes s: it must set itself as owner at once, or close it. s is NULL unless rc is DIAL_OK.
 * detail is a text for a log, borrowed. The dial is gone when this is called. It is never called from inside
 * dial_start(). */
typedef void (*dial_fn)(void *owner, enum dial_rc rc, struct stream *s, const char *detail);

/* Begins a dial. The stream keeps no deadline of it. policy may be NULL for schemes without TLS; it must live
 * as long as the stream. address is borrowed for the call. */
struct dial *dial_start(struct loop *l, const struct address *address, struct tls_policy *policy,
                        const struct stream_limits *limits, uint64_t timeout_ms, dial_fn fn, void *owner);
/* The same to one address that the name of address was found to have; that name is what the certificate has to be
 * for. */
struct dial *dial_start_at(struct loop *l, const struct address *address, const struct sockaddr_storage *at,
                           struct tls_policy *policy, const struct stream_limits *limits, uint64_t timeout_ms,
                           dial_fn fn, void *owner);
/* To be called right behind dial_start(): these bytes (copied) are the first ones on the connection, before
 * TLS: a PROXY header. */
void dial_begin_with(struct dial *d, struct span bytes);
/* To be called right behind dial_start(): the certificate has to be for this name (copied), whatever the host of the address
 * is. */
void dial_expect_name(struct dial *d, const char *name);
/* To be called right behind dial_start(): *connected, which must live as long as the dial, becomes true once the peer has
 * taken the connection. */
void dial_note_connected(struct dial *d, bool *connected);
/* Why a name led nowhere, as a text for people, to free; status is that of a lookup. */
char *dial_unresolved_text(const char *host, int status);
/* Nulls *d; no callback comes after it. *d may be NULL. */
void dial_cancel(struct dial **d);

#endif
