/* rest: a session during a freeze (DESIGN.md 6): from its last commands until the store tells how the freeze
 * ended. No new command of the client is passed on; then the session goes through three steps:
 *
 *   acknowledged   nothing is under way any more that changes anything at the source. The store is told so by the script
 *                  `frozen` (rest_is_acknowledged()), but only in a freeze that this thread has heard of, and with the epoch
 *                  of that freeze
 *   listed         nothing is under way at all. Now the source is asked for the UIDs of the client's messages, and for the
 *                  spelling of its mailbox names, by commands of ours; the client does not see their answers. Commands that
 *                  only read may finish after the flip, so this step may come after it too. In the same breath it is
 *                  asked for their flags, but for a client that goes by MODSEQs, or has very many messages
 *   FROZEN         both are done. The session waits for the end of the freeze. It does not read from the
 *                  client, and what the source sends stays unread; where the source closes the connection,
 *                  s->backend is NULL from then on
 *
 * Where the store does not tell how the freeze ended, the session ends with BYE, 10 s after the freeze's
 * deadline: it never resumes on its own. In `flipping`, which has no deadline, it waits for a minute. */
#ifndef IMAPFERRY_REST_H
#define IMAPFERRY_REST_H

#include "lib/imap_resp.h"
#include "lib/view_list.h"

#include "relay.h"

/* The session is in RELAY and is to rest: takes the steps that can be taken now. May move the session to
 * FROZEN, or end it. */
void rest_step(struct session *s);
/* An untagged response (its first line) that came while a command of ours was under way. True: it answers
 * that command, and the client must not see it. */
bool rest_takes(struct session *s, const struct imap_resp *r, struct span line);
/* The tagged answer to a command of ours. */
void rest_answered(struct session *s, enum relay_own own, enum imap_status status);
/* An event of the source's connection, in FROZEN. */
void rest_backend_event(struct session *s, enum stream_event ev);

/* An untagged response of the source while nothing but commands of ours is under way. True: it is withheld
 * from the client, since it tells of a message that came after the acknowledgement. Such a message may be
 * missing on the target at first, and the client would see it vanish and come back under another UID. */
bool rest_withholds(struct session *s, const struct imap_resp *r);
/* How many messages the source has, where the client was told of fewer because some were withheld; else 0. A
 * session that goes on at the source tells the client. */
uint32_t rest_withheld(const struct session *s);

/* The store was told `frozen`, and nothing that changes anything has passed since. */
bool rest_is_acknowledged(const struct session *s);
/* The account is in `flipping` now: waits longer. */
void rest_wait_for_flip(struct session *s);
/* The freeze is over for this session: forgets all of the above. What becomes of the session is the caller's
 * affair; result says it to METRIC_SESSION_FREEZE. */
void rest_over(struct session *s, const char *result);
/* How long to wait for the end of the freeze, in ms from now. */
uint64_t rest_wait_ms(const struct session *s);

/* The UIDs of the client's messages; NULL where it has no mailbox open. *broken: it has, but no list could be
 * had. */
const struct view_list *rest_list(const struct session *s, bool *broken);
/* The source's personal namespaces as they stand in its answer, NULL where they were not asked for. */
const char *rest_namespaces(const struct session *s);

#endif
