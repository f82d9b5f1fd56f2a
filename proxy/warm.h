/* warm: the mailbox that a client has open is opened once at the target and left again, before the freeze: what a server
 * does at a first opening, which is reading an index or building it, is not waited for while the account stands still.
 *
 * step    | sent                                        | leaves to
 * --------+---------------------------------------------+----------------------------------------------------------
 * OPEN    | EXAMINE, which changes nothing there        | LEAVE by OK; done by NO and BAD: it is not there (yet)
 * LEAVE   | UNSELECT (RFC 3691), or CLOSE, which takes  | done
 *         | nothing out of what was opened by EXAMINE   |
 *         | (RFC 3501 6.4.2)                            |
 *
 * The connection is lost where it ends, says what can't be understood, or takes longer than backend_timeout. */
#ifndef IMAPFERRY_WARM_H
#define IMAPFERRY_WARM_H

#include "session.h"

struct warm;

/* Once, not from inside warm_start(): signed in with nothing selected and nothing unread, given back to the caller, who
 * owns it; NULL where it was lost, with a text for the log in lost, which is borrowed. */
typedef void (*warm_fn)(void *owner, struct stream *stream, const char *lost);

/* Takes *stream, a connection of this session at that backend, where the client has a mailbox open whose name can be
 * sent there in one piece; else NULL, and *stream stays. */
struct warm *warm_start(struct session *s, const struct conf_backend *at, struct stream **stream, warm_fn fn,
                        void *owner);
/* Nulls *w (NULL is fine) and closes the connection. */
void warm_cancel(struct warm **w);

#endif
