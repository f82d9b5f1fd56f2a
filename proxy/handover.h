/* handover: a session at rest goes on over another connection (DESIGN.md 6): after a flip over the one that was prepared
 * at the target, or a new one where that is gone; after a thaw, where the source closed the resting one, over a new one
 * there.
 *
 * step    | does                                             | leaves to
 * --------+--------------------------------------------------+----------------------------------------------------
 * SIGN_IN | backend_login, where no connection stands        | ASK
 * ASK     | SELECT or EXAMINE of the mailbox that the client | JUDGE
 *         | has open, FETCH 1:* (UID), NAMESPACE             |
 * JUDGE   | waits for the records of the account (views.h),  | RELAY, with what the client has to be told; or the end
 *         | and for the lease; compares                      |
 *
 * A client that has a mailbox open goes on where UIDVALIDITY and all UIDs are equal on both sides, and no UID that it may
 * have seen is given out again; one that knows other names than INBOX, where both servers spell names alike (the same
 * personal namespaces, and the same name for each mailbox). Who can't ends with BYE, and the log says why:
 *
 * why            | what could not be had
 * ---------------+-----------------------------------------------------------------------------------------------
 * old_password, limit, capabilities, no_such_backend, no_credentials: could not be prepared (prepare.h)
 * refused        | the target refuses the sign-in now
 * unavailable    | no connection, no answer in time, one that can't be understood; no records of the account
 * list           | the source's list of messages could not be drawn
 * mailbox        | it can't be opened there: deleted or renamed meanwhile
 * read_only      | it was open for writing, and can't be there
 * names          | servers spell names in different ways
 * no_record      | the migrator has not recorded the mailbox (a forced flip)
 * uidvalidity    | it differs, or is not the one that the client knows
 * uids           | UIDs differ
 * uidnext        | UIDs would be given out again
 * timeout        | all of this together took too long
 *
 * FLAGS and PERMANENTFLAGS of the target are told anew, messages that arrived at once, those that are gone when a client
 * may hear of it. How many went over, and how many could not for which reason, is counted (tally.h). */
#ifndef IMAPFERRY_HANDOVER_H
#define IMAPFERRY_HANDOVER_H

#include "session.h"

/* From FROZEN: to the account's backend, which may be the one that the session had. */
void handover_begin(struct session *s);
/* Something that it may wait for is there: records, the lease. */
void handover_step(struct session *s);
/* It can't go on: the end. why: a word of the table, never freed. detail may be NULL. */
void handover_failed(struct session *s, const char *why, const char *detail);
/* What is under way is dropped. */
void handover_drop(struct session *s);

#endif
