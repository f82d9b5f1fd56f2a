/* lmtp: mail servers deliver here (RFC 2033), and each recipient's mail goes on to the server that its route names at that
 * moment. One transaction may be for both servers: then the message is passed to both while it comes, and each recipient
 * gets the answer of its own.
 *
 * What is promised:
 *   - 2yz behind the last dot is what a server has said of that recipient, and nothing else. Where none has said anything
 *     (it is gone, it is out of time, the store gives no answer), it is 451, and the mail server tries again.
 *   - The last dot goes to servers when the client has sent all of the message, and the route was read again and still
 *     names them. Else the connection to that server is closed before the dot, which makes the message none there, and its
 *     recipients get 451. What fails at one server is repeated at no other one: the others' recipients have their answers.
 *   - A recipient whose account is in a freeze gets its answer to RCPT when the freeze is over, by the route as it is
 *     then; at the latest after hold_max, 451.
 *   - A freeze that begins later, between RCPT and the last dot, holds nothing up: the source takes the message, and the
 *     late watch brings it over. (To wait would hold up the other recipients, and end in 451 and minutes of waiting.)
 *   - A message is in none of our memory as a whole: the slowest server sets the client's pace.
 *
 * What LMTP can't tell: a server that is gone behind the last dot without an answer may have the message or not. Its
 * recipients get 451, and may get the message twice. The same is so for a client that goes before it has our answer.
 *
 *   client          a server, and another one
 *   LHLO            (each connection begins with the first recipient there)
 *   MAIL            kept
 *   RCPT            route; MAIL, RCPT
 *   DATA            DATA at each that has taken a recipient
 *   message         message, but for its last dot
 *   .               routes again; "."; an answer for each recipient, in the order of RCPT
 *
 * Files: lmtp_data, lmtp_command, lmtp_reply read, and are pure; lmtp_next is the connection to a server, lmtp_session that
 * of a client, lmtp_mail what is between them: a transaction. */
#ifndef IMAPFERRY_LMTP_H
#define IMAPFERRY_LMTP_H

#include "lib/stores.h"
#include "lib/stream.h"

struct lmtp;

/* Told in the thread, from its loop, when the last connection of a client is gone. */
typedef void (*lmtp_idle_fn)(void *owner);

struct lmtp *lmtp_new(const struct stores *stores, unsigned thread, lmtp_idle_fn fn, void *owner);
/* There is no client any more. */
void lmtp_free(struct lmtp **l);
/* Takes the next connection of a listening handle. */
void lmtp_accept(struct lmtp *l, uv_stream_t *listener);
/* There are news of this account: who waits for it looks again. */
void lmtp_heard(struct lmtp *l, struct span user);
/* No further transactions: each client is told 421 once its own is over, or at once. */
void lmtp_drain(struct lmtp *l);
/* Ends all, also what is under way. */
void lmtp_end(struct lmtp *l);
/* How many clients there are; one that has ended counts up to the next turn of the loop. */
size_t lmtp_count(const struct lmtp *l);

#endif
