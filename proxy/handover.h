/* handover: a session at rest goes on over another connection (DESIGN.md 6): after a flip over the one that
 * was prepared at the target, or a new one where that is gone; after a thaw, where the source closed the
 * resting one, over a new one there.
 *
 * step    | does                                             | leaves to
 * --------+--------------------------------------------------+----------------------------------------------------
 * SIGN_IN | backend_login, where no connection stands        | VIEW
 * VIEW    | waits for the view of the account (views.h);     | ASK
 *         | where nothing is to be rewritten, only if the    |
 *         | client knows of any mailbox                      |
 * ASK     | ENABLE of what the client has enabled; SELECT or | JUDGE
 *         | EXAMINE of the mailbox that it has open, by the  |
 *         | name that it has there; FETCH 1:* (UID),         |
 *         | NAMESPACE; STATUS, where SELECT does not say     |
 *         | UIDNEXT                                          |
 * JUDGE   | waits for the lease; compares                    | RELAY, with what the client has to be told; or the end
 *
 * A client that has a mailbox open goes on where it is seen, through the account's view, with the UIDVALIDITY
 * and the UIDs that the client knows, and no UID that it may have seen is given out again. A client that
 * knows other names than INBOX goes on where the view tells how they are called there, or where both servers
 * spell names alike (the same personal namespaces, and the same name for each mailbox). From then on the
 * relay rewrites what differs; after a thaw, what it has rewritten before. A session that can't go on ends
 * with BYE, and the log says why:
 *
 * why            | what could not be had
 * ---------------+-----------------------------------------------------------------------------------------------
 * old_password, old_token, limit, capabilities, no_such_backend, no_credentials: could not be prepared (prepare.h)
 * refused        | the target refuses the sign-in now
 * unavailable    | no connection, no answer in time, one that can't be understood; no records of the account
 * list           | the source did not give a whole list of the client's messages
 * mailbox        | it can't be opened there: deleted or renamed meanwhile
 * read_only      | it was open for writing, and can't be there
 * names          | servers spell names in different ways, and nobody has recorded how
 * no_record      | the migrator has not recorded the mailbox (a forced flip)
 * uidvalidity    | the one that it is shown with there is not the one that the client knows
 * uids           | UIDs differ, and are not mapped; or there are messages that it can't know
 * uidnext        | UIDs would be given out again, or nobody says that they are not
 * modseqs        | it was shown CONDSTORE (RFC 7162), and MODSEQs do not go on there, or are not enabled
 * timeout        | all of this together took too long
 *
 * The client is told FLAGS and PERMANENTFLAGS of the target and the number of messages at once, and which
 * messages are gone as soon as it may hear of that. Then it is told flags, before its next command passes or its
 * IDLE goes on (relay_owe_flags()): what another session has changed behind the list of the source, in the
 * freeze or at the target, was told to it by neither server. A client that goes by MODSEQs (RFC 7162) is told
 * those of all messages, since it would not ask for them again once it has heard a greater MODSEQ; another those
 * that differ from the source's list (rest.h), where that has flags. Where it is not told all of them, the session
 * ends (END_MOVED).
 *
 * How many sessions went over, and how many could not for which reason, is counted (tally.h). */
#ifndef IMAPFERRY_HANDOVER_H
#define IMAPFERRY_HANDOVER_H

#include "session.h"

/* From FROZEN: to the account's backend, which may be the one that the session had. */
void handover_begin(struct session *s);
/* Something that it may have waited for is there: the account's records, or the lease. Goes on where it
 * can. */
void handover_step(struct session *s);
/* The session can't go on, and ends. why: a word of the table above, never freed. detail is for the log; it
 * may be NULL. */
void handover_failed(struct session *s, const char *why, const char *detail);
/* What is under way is dropped. */
void handover_drop(struct session *s);

#endif
