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
 * (registration_may_pass()), which is asked after the bytes were read. */
#ifndef IMAPFERRY_RELAY_H
#define IMAPFERRY_RELAY_H

#include "lib/imap_caps.h"
#include "lib/imap_seq.h"

#include "session.h"

struct relay;

/* The session enters RELAY. shown: what the client is shown, and held to. */
void relay_begin(struct session *s, const struct imap_caps *shown);
void relay_free(struct relay **r);
/* What the client is shown; borrowed. */
const struct imap_caps *relay_shown(const struct session *s);

void relay_client_event(struct session *s, enum stream_event ev);
void relay_backend_event(struct session *s, enum stream_event ev);
/* The deadline passed: nothing moved for idle_timeout? Behind a LOGOUT close_timeout is enough (backend_timeout while
 * commands before it are under way), and the client is told BYE and OK by us. */
void relay_timeout(struct session *s);

/* The lease or the account's state changed: reads on, or stops reading. */
void relay_flow(struct session *s);
/* The same, and looks whether what is to come once no command is under way may come. */
void relay_settle(struct session *s);
/* No new command is passed. END_SHUTDOWN: when those under way have ended (at once in IDLE), the session ends. END_FREEZE:
 * an IDLE is ended at the server, the client stays in it, and rest_step() is called whenever something changed. END_NONE
 * takes that back, and the IDLE is begun again. */
void relay_rest(struct session *s, enum session_end end);
/* Nothing is under way that changes anything at the server. */
bool relay_only_reads(const struct session *s);
/* Nothing is under way at all. */
bool relay_is_quiet(const struct session *s);
/* Sends a command of ours, only while it is quiet or by another of ours. What it brings goes to rest_takes(), its tagged
 * answer to rest_answered(); the client's next command waits for it. */
enum relay_own { OWN_NONE, OWN_NAMESPACE, OWN_LIST };
void relay_send_own(struct session *s, enum relay_own own, const char *text);
/* Where the client stands; borrowed. */
struct opened;
const struct opened *relay_opened(const struct session *s);
/* It counts messages that are gone: the server's numbers are others until it was told (relay_attach()). */
bool relay_owes_expunges(const struct session *s);
/* The client, at rest, goes on over this connection (taken), which stands where the client stands. lines: for the client,
 * as soon as something may pass. gone (taken): numbers of messages that it is told of as expunged when it may be. exists:
 * the messages it counts after these lines. */
void relay_attach(struct session *s, struct stream *stream, const struct conf_backend *at, struct span lines,
                  struct imap_seq *gone, uint32_t exists);
/* Tells the client that its mailbox has so many messages; at rest, before it goes on. */
void relay_tell_exists(struct session *s, uint32_t n);
/* A line of ours may be sent: no response is half sent. */
bool relay_at_boundary(const struct session *s);

#endif
