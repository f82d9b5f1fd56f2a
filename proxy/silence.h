/* silence: what a session has sent to the server that its account may leave, and that the kernel still holds,
 * must not arrive there once somebody else may have moved the account.
 *
 * As long as the lease holds, such a session tells the kernel several times in the lease's short term that
 * its bytes may wait on: a server that is only slow keeps its session. Where the process is stopped or dead,
 * its host cut off, or the lease lost, nobody does, and the kernel gives the connection up when the validity
 * of the lease that it was told of is over (TCP_USER_TIMEOUT, stream.h): nine tenths of the term behind the
 * sending of the last renewal, and what it takes the kernel to look at it, some 200 ms. Whoever watches the
 * proxy takes eleven tenths. A session that ends when it may not be heard any more leaves by a reset.
 *
 * Only where the account is engaged and not flipped; others cost nothing, and have no timer. */
#ifndef IMAPFERRY_PROXY_SILENCE_H
#define IMAPFERRY_PROXY_SILENCE_H

#include "session.h"

/* To be called when something that it depends on is another: the account's state, the term of the lease,
 * whether that holds, the backend's connection. */
void silence_update(struct session *s);
/* The end of the session: closes the backend's connection. */
void silence_close(struct session *s);

#endif
