/* rest: a session in a freeze (DESIGN.md 6), from the last commands under way to word of how it ended.
 *
 *   told    `frozen` was said to the store: nothing is under way that changes anything at the source, nothing new passes.
 *           Said only for an epoch whose freezing was heard of
 *   drawn   with nothing under way at all, the client's list of messages was drawn, and how the source spells names; both
 *           by commands of ours whose answers the client does not see. Reading commands may finish after the flip, so
 *           this may be after it too
 *   FROZEN  told and drawn: the session waits for word; the client is not read, what the source says is left unread, and
 *           where it closes the connection, that is remembered
 *
 * Word that does not come ends the session with BYE, 10 s behind the deadline of the freeze: it never resumes on its
 * own. In `flipping`, which has no deadline, it is waited for a minute. */
#ifndef IMAPFERRY_REST_H
#define IMAPFERRY_REST_H

#include "lib/imap_resp.h"
#include "lib/view_list.h"

#include "relay.h"

/* In RELAY, told to rest: does what can be done now. May move the session on, or end it. */
void rest_step(struct session *s);
/* Data while a command of ours is under way. True: it is for us alone. */
bool rest_takes(struct session *s, const struct imap_resp *r, struct span line);
void rest_answered(struct session *s, enum relay_own own, enum imap_status status);
/* The source's connection, in FROZEN. */
void rest_backend_event(struct session *s, enum stream_event ev);

/* Data of the source while nothing but commands of ours is under way. True, after `frozen` was said: the client does not
 * see it now. A message that comes from then on may not be on the other server yet, where it would be gone and come again
 * under another UID. */
bool rest_withholds(struct session *s, const struct imap_resp *r);
/* How many messages the source has, where the client was told of fewer; else 0. For who goes on at the source. */
uint32_t rest_withheld(const struct session *s);

/* `frozen` was said, and nothing has passed since. */
bool rest_is_told(const struct session *s);
/* There is word that the account is flipping: waits on. */
void rest_goes_on(struct session *s);
/* The freeze is over. A session that stands still is left to the caller. */
void rest_over(struct session *s);
/* How long to wait for word, ms. */
uint64_t rest_word_ms(const struct session *s);

/* What was drawn: NULL where no mailbox is open. *broken: it is, but no list could be drawn. */
const struct view_list *rest_list(const struct session *s, bool *broken);
/* The source's personal namespaces as they stand in its answer, NULL where they were not asked for. */
const char *rest_namespaces(const struct session *s);

#endif
