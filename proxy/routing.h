/* routing: a login, from the client's name and password to the relay (DESIGN.md section 6):
 *
 *   ROUTING    reads the route: where does this account live?
 *   SIGNIN     signs in there with the client's own name and password
 *   ENTERING   the script `enter` registers the session, if the route still is what was read, and queues the
 *              migration
 *   RELAY      only now, and with the account's view there (views.h), is the client told OK
 *
 * A login whose route was read of late (lately.h) begins in SIGNIN. Where the server refuses it, the route is read after
 * all: if it leads to another server now, the login goes on there, and else the refusal stands, so that a wrong
 * password is asked once.
 *
 * `enter` may answer "again", because the route has changed: the login goes back to ROUTING, and keeps its
 * connection, which is of use where the backend has stayed the same. Or it may answer "wait", because the
 * account is in a freeze: the login goes to WAITING.
 *
 * In a freeze, too, the password is checked first: otherwise the wait would tell somebody who knows no
 * password that there is such an account. The connection of a login that waits is not registered, and nothing
 * but the sign-in was sent over it. After a flip it is closed, and the login signs in at the other server;
 * after a thaw the login goes on with it. A server that can't be reached in a freeze is answered with NO
 * [UNAVAILABLE] at once.
 *
 * While the account's store is being made (store_is_coming()), every login waits so, before its password is checked: nothing is told
 * of an account by that, since nobody knows yet whether there is one.
 *
 * A token that is refused is answered with what the backend says of it, as a challenge (RFC 7628 3.2.2), and then, once
 * the client has answered that, like a wrong password.
 *
 * A wrong password is answered with the backend's RFC 5530 code and a text of ours, and nothing is written to
 * the store. Every other failure is answered with NO [UNAVAILABLE]. */
#ifndef IMAPFERRY_ROUTING_H
#define IMAPFERRY_ROUTING_H

#include "lib/sasl.h"

#include "session.h"

struct login;

/* The session is in PREAUTH; the credential's names and password passed login_name_ok() and
 * login_password_ok(). Where it is for somebody else (authzid), that is refused like a wrong password unless its
 * name stands in masters; then it is that account's login, with this credential. It is copied to memory that is
 * never swapped out or dumped (vault.h), and wiped when the login ended, either way; but where the account may be flipped, the session
 * keeps it. */
void routing_begin(struct session *s, const char *tag, const struct credential *c);
/* The login may be tried now (throttle.h). */
void routing_try(struct session *s);
/* Refused for a limit of ours: the client is told NO [LIMIT] with this fixed text at a full second. phase and detail are
 * for the log. */
void routing_limit(struct session *s, const char *phase, const char *detail, const char *text);
/* In WAITING: there are news of the account, or it has waited long enough. Reads the route again. */
void routing_wake(struct session *s);
/* In REFUSED, once it may be said: the client is told NO. */
void routing_say_refused(struct session *s);
/* Something that is not the user's fault: the client is told NO [UNAVAILABLE] and may try again. phase and
 * detail are for the log; detail may be NULL. */
void routing_unavailable(struct session *s, const char *phase, const char *detail);
/* In ENTERING: what was heard of the account's view, or of its failure (views.h), may be what it waits for. */
void routing_view_there(struct session *s);
/* The backend has closed its connection while the login waits for the store. */
void routing_backend_gone(struct session *s);
/* The session ends: drops the login that is under way. tell: the client is told NO [UNAVAILABLE]. */
void routing_cancel(struct session *s, bool tell);

#endif
