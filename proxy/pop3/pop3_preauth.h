/* pop3_preauth: what a client of POP3 may say before it has signed in, as preauth.h is for IMAP: CAPA, USER and PASS,
 * AUTH (RFC 5034), STLS (RFC 2595), NOOP, QUIT. APOP is refused, since it needs the password in clear at the server: the
 * greeting has no time stamp. Nothing that a client says here reaches a backend but a name and a password or token.
 *
 *   code (RFC 2449, RFC 3206)   the sign-in failed because
 *   [AUTH]                      a backend refused name or password
 *   [IN-USE]                    the backend says that another session has the maildrop
 *   [SYS/TEMP]                  of all that is ours or the backend's, and will pass; of a limit, too
 *   [SYS/PERM]                  the backend says that an administrator is needed
 *
 * CAPA lists what holds whatever the server, and so is the same before and after a move: TOP and UIDL, which each server has that
 * is in use (one without them says -ERR, and clients go on as ever), and what the proxy does itself: RESP-CODES, AUTH-RESP-CODE,
 * PIPELINING, and how it lets users in. EXPIRE and LOGIN-DELAY are rules of each server, which change with the move; of LANG and UTF8
 * (RFC 6856) the commands do not pass. So nothing has to be learned of servers, unlike for IMAP.
 *
 * A USER is always answered with +OK. Commands that come behind a PASS in one segment are kept until it was answered. */
#ifndef IMAPFERRY_POP3_PREAUTH_H
#define IMAPFERRY_POP3_PREAUTH_H

#include "../session.h"

/* What follows +OK to CAPA, one a line and without its end; signed_in: behind the sign-in. */
void pop3_write_capabilities(const struct session *s, struct buf *out, bool signed_in);

#endif
