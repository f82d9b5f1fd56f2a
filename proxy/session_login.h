/* session_login: a session signs in at a backend, at its login and once more for a hand-over, always as the
 * same client: with its credential, its address, its name and what it says of itself. */
#ifndef IMAPFERRY_SESSION_LOGIN_H
#define IMAPFERRY_SESSION_LOGIN_H

#include "lib/backend_login.h"
#include "lib/pop3_login.h"

#include "session.h"

/* With the credential of the session's login (s->secret), which is shown for LOGIN_AS_USER alone; by the master
 * all the same where that is a certificate. */
struct backend_login *session_login_start(struct session *s, const struct conf_backend *at, enum login_as as,
                                          backend_login_fn fn, void *owner);
/* The same by POP3. */
struct pop3_login *session_login_pop3(struct session *s, const struct conf_backend *at, enum login_as as,
                                      backend_login_fn fn, void *owner);
/* The same for a session that has signed in before: its credential, or the master's where the backend's
 * sign_in says so. */
struct backend_login *session_login_again(struct session *s, const struct conf_backend *at,
                                          backend_login_fn fn, void *owner);
/* Whether that would be the master's. */
bool session_login_is_by_master(const struct conf_backend *at);
/* Does a backend with these have everything that the client is shown? */
bool session_login_has_what_is_shown(const struct session *s, const struct imap_caps *caps);

#endif
