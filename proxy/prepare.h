/* prepare: while an account is `preparing`, each of its sessions is signed in at the target in the
 * background, as the target's sign_in says; the client goes on at the source and notices nothing.
 *
 * step    | does, and waits for                       | leaves to
 * --------+-------------------------------------------+---------------------------------------------------------
 * SIGN_IN | backend_login at the target               | WARM; CHECK where it refuses; UNFIT; SIGN_IN (no answer)
 * CHECK   | backend_login at the source, the same     | REFUSED where that takes them; UNFIT where it refuses too
 *         | credentials                               | (the password was changed since, the token has expired);
 *         |                                           | SIGN_IN (no answer)
 * WARM    | what the client has open is opened there  | READY, also where it can't be, or the connection is lost
 *         | once, and left (warm.h)                   |
 * READY   | says `prepared`; keeps the connection     |
 * UNFIT   | says `prepared`; this session can't be    |
 *         | moved, and the account is not kept for it |
 * REFUSED | says `refuse`, which thaws the account    |
 *
 * A target that does not answer leaves a session in SIGN_IN, and the migrator gives the attempt up by its
 * deadline: nobody was frozen. What the client has enabled is enabled there by the hand-over, since it may be
 * more by then. */
#ifndef IMAPFERRY_PREPARE_H
#define IMAPFERRY_PREPARE_H

#include "session.h"

/* The account is in `preparing`. Does nothing where this was begun for the same epoch of the same generation already. */
void prepare_begin(struct session *s);
/* Gives the attempt up and closes its connection, which is not needed (any more). */
void prepare_drop(struct session *s);
/* Takes the connection to this backend, which has all capabilities that the client is shown; NULL where there
 * is none (any more). *unfit: why there never was one, NULL where it may be tried again; borrowed, a word for
 * the log. */
struct stream *prepare_take(struct session *s, const struct conf_backend *at, const char **unfit);

/* Whether the server was told what the client says of itself by now: it has said nothing else since the
 * sign-in there. */
bool prepare_knows_id(const struct session *s);

#endif
