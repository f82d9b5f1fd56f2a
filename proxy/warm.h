/* warm: before the freeze, the mailbox that a client has open is opened at the target once, and left again.
 * At the first opening a server reads its index, or builds one; done beforehand, that is not waited for while
 * the account stands still.
 *
 * step    | sent                                        | leaves to
 * --------+---------------------------------------------+----------------------------------------------------------
 * OPEN    | EXAMINE, which changes nothing there        | LEAVE after OK; done after NO or BAD: the mailbox is not there
 * LEAVE   | UNSELECT (RFC 3691), or CLOSE, which takes  | done
 *         | nothing out of what was opened by EXAMINE   |
 *         | (RFC 3501 6.4.2)                            |
 *
 * The connection is lost where it ends, says what can't be understood, or takes longer than
 * backend_timeout. */
#ifndef IMAPFERRY_WARM_H
#define IMAPFERRY_WARM_H

#include "session.h"

struct warm;

/* Called once, and not from inside warm_start(). stream: given back to the owner, signed in, with no mailbox
 * selected and nothing unread; NULL where the connection was lost, and then lost is a text for the log,
 * borrowed. */
typedef void (*warm_fn)(void *owner, struct stream *stream, const char *lost);

/* Takes *stream, which is signed in at that backend for this session, and begins. NULL, and *stream stays
 * with the caller, where the client has no mailbox open, or one whose name can't be sent in one piece. */
struct warm *warm_start(struct session *s, const struct conf_backend *at, struct stream **stream, warm_fn fn,
                        void *owner);
/* Nulls *w (NULL is fine) and closes the connection. */
void warm_cancel(struct warm **w);

#endif
