/* throttle: which logins are tried at once, and which wait first. A login goes through here before anything is
 * asked for it, and routing.h tries it (with login_delay = "0s" at once):
 *
 *   - Of the logins by one name's password from one network, THROTTLE_TRIES are tried at a time in a thread, and the
 *     others wait until one of these was answered: so nobody learns of many passwords at once before it is known that
 *     the first ones were wrong. A master's name counts, whosever account it asks for.
 *     Who signs in by a certificate (EXTERNAL) guesses nothing, and does not go through here.
 *   - Where there were failures, at this thread or, as the reading of the route tells, anywhere, the login waits for its turn
 *     (penalty.h): until the end of the wait that it is
 *     told, or, where that would be longer than twice login_delay_max or than is left of login_timeout, it is
 *     refused with [LIMIT].
 *
 * All of that is the state THROTTLED. A session in it is one that may lose its place (crowd.h). */
#ifndef IMAPFERRY_THROTTLE_H
#define IMAPFERRY_THROTTLE_H

#include "lib/route.h"

#include "session.h"

enum { THROTTLE_TRIES = 2 };

/* The login of the session, which has its account, may begin: calls routing_try(), at once or later. */
void throttle_begin(struct session *s);
/* route_where() of the session's account, which tells how often whoever tries has failed. */
void throttle_where(struct session *s, route_read_fn fn);
/* What was read so, before a server was asked. True: the login has to wait for its turn, which it did not know when it began; then it is
 * tried once more (routing_try()). */
bool throttle_heard(struct session *s, const struct route_failures *f) MUST_CHECK;
/* In THROTTLED: the time has come that was waited for. */
void throttle_wake(struct session *s);
/* A server has said what the password is worth. */
void throttle_failed(struct session *s);
void throttle_passed(struct session *s);
/* It is not tried any more: others may be. Nothing where it is not. */
void throttle_end(struct session *s);

#endif
