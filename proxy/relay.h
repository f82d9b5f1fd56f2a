/* relay: passes commands to the backend and responses to the client, after login. It knows where lines,
 * literals, commands and responses begin and end, reads a command's verb and the arguments that the
 * allow-list concerns, and in responses capabilities and codes; bodies of literals pass unread.
 *
 *   client -> backend   imap_line, allow-list; what is refused is swallowed and answered here
 *   backend -> client   imap_line; CAPABILITY and codes of hidden extensions are rewritten, all else passes
 *
 * One byte stream has one reader's opinion: where the client has to wait for "+" (a synchronizing literal,
 * IDLE), what it sends too early is not looked at before the backend decided, since a NO turns the body of a
 * literal into a command. Answers of ours go out between two responses.
 *
 * Back-pressure: a side is read only while the other takes it, so a session holds LIMIT_HIGH_WATER bytes and
 * one read in each direction at most. Nothing passes in either direction without a valid lease
 * (session_may_pass()), which is asked after the bytes were read. */
#ifndef IMAPFERRY_RELAY_H
#define IMAPFERRY_RELAY_H

#include "lib/imap_caps.h"

#include "session.h"

struct relay;

/* The session enters RELAY. shown: what the client is shown, and held to. */
void relay_begin(struct session *s, const struct imap_caps *shown);
void relay_free(struct relay **r);
/* What the client is shown; borrowed. */
const struct imap_caps *relay_shown(const struct session *s);

void relay_client_event(struct session *s, enum stream_event ev);
void relay_backend_event(struct session *s, enum stream_event ev);
/* The deadline passed: nothing moved for idle_timeout? */
void relay_timeout(struct session *s);

/* The lease or the account's state changed: reads on, or stops reading. */
void relay_flow(struct session *s);
/* No new command is passed; when those under way have ended (at once in IDLE), the session ends with this
 * why. WHY_NONE takes it back. */
void relay_rest(struct session *s, enum why why);
/* A line of ours may be sent: no response is half sent. */
bool relay_at_boundary(const struct session *s);

#endif
