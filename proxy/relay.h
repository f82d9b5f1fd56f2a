/* relay: passes commands to the backend and responses to the client, after login. It knows where lines,
 * literals, commands and responses begin and end, reads a command's verb and the arguments that the
 * allow-list concerns, and in responses capabilities and codes; bodies of literals pass unread.
 *
 *   client -> backend   imap_line, allow-list; what is refused is swallowed and answered here
 *   backend -> client   imap_line; CAPABILITY and codes of hidden extensions are rewritten, all else passes
 *
 * Where clients see other names or numbers than the backend has (views.h), both are rewritten too, by
 * lib/view_rewrite.h. Then a command may have to wait until those before it were answered, and what has to be
 * in the store before it may pass (a RENAME, and a SELECT of a mailbox that is another one now) waits for the
 * store, for store_timeout at most. What can't be understood ends the session (END_VIEW).
 *
 * Proxy and backend have to read the client's bytes in the same way. So where the client has to wait for "+"
 * (a synchronizing literal, IDLE), what it sends too early is not looked at before the backend has answered:
 * a NO turns the body of a literal into a command. Answers of ours go out between two responses of the
 * backend.
 *
 * COMPRESS=DEFLATE (RFC 4978) is between the client and us, and the backends never hear of it. Its OK is the
 * last that goes out in clear: it waits until no command is under way. The client may not send anything
 * before it has seen that; where bytes are there already, the session ends, so that nothing that was sent in
 * clear is taken for something that came compressed. What comes a little later is unpacked like all else, and
 * ends the session as damaged.
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

/* Appends what a client is told to be there: what it is shown of the backends, and what the proxy does
 * itself. */
void relay_write_capabilities(struct buf *out, const struct imap_caps *shown, bool compress);
/* The session enters RELAY. shown: what the client is shown of the backends, and held to. view: by which
 * names and numbers are rewritten; NULL: nothing is. */
struct view;
void relay_begin(struct session *s, const struct imap_caps *shown, struct view *view);
void relay_free(struct relay **r);
/* What the client is shown of the backends; borrowed. */
const struct imap_caps *relay_shown(const struct session *s);

void relay_client_event(struct session *s, enum stream_event ev);
void relay_backend_event(struct session *s, enum stream_event ev);
/* The deadline of RELAY has passed. Ends the session if no byte has moved for idle_timeout, else sets the
 * deadline anew. After a LOGOUT close_timeout is enough (backend_timeout while commands before it are under
 * way), and we tell the client BYE and OK. */
void relay_timeout(struct session *s);

/* The lease or the account's state has changed: goes on reading from both sides, or stops. */
void relay_flow(struct session *s);
/* The same. Before that, does what waits until no command is under way: the end of the session, or a step of
 * its rest. */
void relay_settle(struct session *s);
/* No new command is passed on from here on. What comes then, by end:
 *   END_SHUTDOWN   the session ends when the commands under way have ended (in IDLE at once)
 *   END_FREEZE     an IDLE is ended at the server, while the client stays in it; rest_step() is called
 *                  whenever something has changed
 *   END_NONE       takes END_FREEZE back: the IDLE is begun again, and commands pass */
void relay_rest(struct session *s, enum session_end end);
/* Nothing is under way that changes anything at the server. */
bool relay_only_reads(const struct session *s);
/* Nothing is under way at all. */
bool relay_is_quiet(const struct session *s);
/* Sends a command of ours. Only while nothing is under way, or nothing but other commands of ours. The
 * untagged responses that come meanwhile are shown to rest_takes(), the tagged answer is given to
 * rest_answered(); the client's next command waits for that. */
enum relay_own {
    OWN_NONE,
    OWN_NAMESPACE,
    OWN_LIST,
    OWN_LIST_FLAGS,
    OWN_FLAGS, /* the relay's own: behind relay_owe_flags(); its data go to the client */
    OWN_VIEW, /* the relay's own: part of what the client has asked for (relay_view.c), to whom its data go */
};
void relay_send_own(struct session *s, enum relay_own own, const char *text);
/* Which mailbox the client has open, and what it knows of it (opened.h); borrowed. */
struct opened;
const struct opened *relay_opened(const struct session *s);
/* The client still counts messages that are gone (relay_attach()): until it is told, its message numbers
 * differ from the server's. */
bool relay_owes_expunges(const struct session *s);
/* A client at rest is to go on with relay_attach() by this view; NULL: nothing is rewritten from then on.
 * sight: how the mailbox that it has open is seen by it; NULL: none is open. */
struct view_sight;
void relay_set_view(struct session *s, struct view *view, const struct view_sight *sight);
/* The view by which it goes, and in *_map the UIDs of the mailbox that it has open; NULL: nothing is
 * rewritten, UIDs are the same; borrowed. */
struct view_uid;
const struct view *relay_view(const struct session *s, const struct view_uid **_map);
struct relay_gone {
    struct imap_seq numbers;
    struct imap_seq uids; /* the same messages, where the client has enabled QRESYNC; else empty */
};
void relay_gone_free(struct relay_gone *g);
/* A client at rest goes on over this connection (taken), on which the same mailbox is open. lines: sent to
 * the client as soon as something may pass. gone (taken): messages that the client will be told of as
 * expunged, once that is permitted. exists: how many messages the client counts after these
 * lines. */
void relay_attach(struct session *s, struct stream *stream, const struct conf_backend *at, struct span lines,
                  struct relay_gone *gone, uint32_t exists);
/* Before relay_attach(): the flags of these messages, by the UIDs that they have there (NULL: of all), are asked for, and told, before
 * any command passes; modseqs: with their MODSEQs. Nobody has told the client what others have changed since its last
 * command at the server that it leaves. The session ends (END_MOVED) where the server does not tell all of
 * them, or is silent for backend_timeout. */
void relay_owe_flags(struct session *s, const struct imap_seq *uids, bool modseqs);
/* Tells a client at rest, before it goes on, that its mailbox has n messages. */
void relay_tell_exists(struct session *s, uint32_t n);
/* The account's view was read anew (views.h): the session goes by it. */
void relay_view_is(struct session *s);
/* No response is half sent: a line of ours may go out. */
bool relay_at_boundary(const struct session *s);

#endif
