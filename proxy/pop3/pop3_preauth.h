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
 * A USER is always answered with +OK. Commands that come behind a PASS in one segment are kept until it was answered. */
#ifndef IMAPFERRY_POP3_PREAUTH_H
#define IMAPFERRY_POP3_PREAUTH_H

#include "../session.h"

/* What follows +OK to CAPA, one a line and without its end; signed_in: behind the sign-in. */
void pop3_write_capabilities(const struct session *s, struct buf *out, bool signed_in);

#endif
