/* pop3_relay: what passes between a client of POP3 and its backend behind the sign-in (the TRANSACTION state of RFC 1939).
 *
 * One command is under way at a time: the next line of the client is read when the answer to the last one is whole. So
 * pipelined commands are answered in order, whatever the server can do, and at each moment it is known what is under way.
 * Commands are those of pop3.h, written anew; CAPA and what is none of them are answered here. Answers pass unread but for
 * their first line and their end.
 *
 * Deletions are done by the server between QUIT and its answer (the UPDATE state), and by nothing else: a connection that
 * ends without QUIT leaves the maildrop as it was (RFC 1939 section 6). So a session that has to end, in a freeze, at a
 * kick or at the end of the proxy, ends between two commands and is told -ERR [SYS/TEMP]; none of its deletions is done, and
 * the client comes back for them. What is under way in a freeze:
 *
 *   QUIT        is waited for, however long it takes: the freeze does not end without this session, and its deadline
 *               thaws the account. So it is where the client has gone meanwhile: the server deletes all the same
 *   any other   is waited for, PATIENCE_MS at most; then the session ends in the middle of the answer
 *
 * A server may write of its own at the end of a session: Dovecot does so with \Seen of what was fetched, some milliseconds behind a
 * connection that broke, and that may be behind the last look at the account. So the session of an account that is to move and has
 * fetched something, of which nothing is marked as deleted, ends by a QUIT of ours, whose answer is waited for, PATIENCE_MS at most;
 * the client hears nothing of it. Where something is marked, the flag may come too late for the new server.
 *
 * Nor does staff's kick cut a QUIT, nor a client that goes. What does: the loss of the lease, since the account may live elsewhere
 * by then; the end of the proxy, once drain_time is over; and idle_timeout, counted from QUIT on.
 *
 * Nothing passes in either direction without a valid lease (registration_may_pass()). A side is read only while the other
 * takes it. */
#ifndef IMAPFERRY_POP3_RELAY_H
#define IMAPFERRY_POP3_RELAY_H

#include "../session.h"

void pop3_relay_begin(struct session *s);
void pop3_relay_free(struct session *s);

/* What struct protocol wants (protocol.h). */
void pop3_relay_client_event(struct session *s, enum stream_event ev);
void pop3_relay_backend_event(struct session *s, enum stream_event ev);
void pop3_relay_timeout(struct session *s);
void pop3_relay_flow(struct session *s);
void pop3_relay_settle(struct session *s);
void pop3_relay_rest(struct session *s, enum session_end end);
bool pop3_relay_at_boundary(const struct session *s);
bool pop3_relay_has_to_finish(const struct session *s);

#endif
