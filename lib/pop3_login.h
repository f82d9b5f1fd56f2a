/* pop3_login: the dialog from a backend's POP3 (option pop3) to an authenticated connection, as backend_login is for
 * IMAP, by the same request and with the same kinds of result.
 *
 * | state    | sends                   | waits for                                | leaves to              |
 * |----------|-------------------------|------------------------------------------|------------------------|
 * | DIALING  |                         | the end of the dial (connect_timeout)    | GREETING               |
 * | GREETING |                         | +OK                                      | CAPA                   |
 * | CAPA     | CAPA (RFC 2449)         | a list, or -ERR: the server has nothing  | STLS, AUTH, USER       |
 * | STLS     | STLS (RFC 2595)         | +OK, and nothing behind it               | SECURING               |
 * | SECURING | a handshake             | STREAM_SECURE                            | CAPA                   |
 * | AUTH     | AUTH MECHANISM          | "+"                                      | RESPONSE               |
 * | RESPONSE | the message, in base64  | +OK; of a token, one more "+" that tells | done                   |
 * |          |                         | why it is refused, and is acknowledged   |                        |
 * | USER     | USER name               | +OK                                      | PASS                   |
 * | PASS     | PASS password           | +OK                                      | done                   |
 *
 * Nothing secret is sent before TLS where the address says so, and nothing is sent ahead: bytes that come before they
 * can answer anything end the dialog, so a server that says +OK before it knows the password lets nobody in. Each state
 * has step_timeout, for all of it, a cap on its lines and on their number. LOGIN_AS_NOBODY ends where AUTH or USER would
 * begin.
 *
 * -ERR to USER, PASS or the message is LOGIN_REFUSED, unless its code says that the user is not at fault: IN-USE,
 * LOGIN-DELAY (RFC 2449), SYS/TEMP, SYS/PERM (RFC 3206). A password goes by AUTH PLAIN (RFC 5034) where that is offered, else by
 * USER and PASS, which is impossible for a name with a blank in it. */
#ifndef IMAPFERRY_POP3_LOGIN_H
#define IMAPFERRY_POP3_LOGIN_H

#include "backend_login.h"

struct pop3_login;

/* As backend_login_start(). Of the request, what is for ID and COMPRESS is passed over; outage is what is known of the address
 * of POP3. The backend has POP3 (backend_has_pop3()). result->stream: all that has come was read. result->caps is empty. */
struct pop3_login *pop3_login_start(struct loop *l, const struct login_request *request, backend_login_fn fn,
                                    void *owner);
void pop3_login_cancel(struct pop3_login **p);

#endif
