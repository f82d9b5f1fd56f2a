/* login_who: who shows a secret to a backend, and for whom, whatever the protocol of the sign-in. Pure. */
#ifndef IMAPFERRY_LOGIN_WHO_H
#define IMAPFERRY_LOGIN_WHO_H

#include "backend_login.h"

/* *c is the user's credential, or (LOGIN_AS_MASTER) has the master's password as its secret; it becomes what is to be
 * shown, with parts that are borrowed from it, from the backend, from user, and from *_login, which is to be freed in any
 * case. Anything but LOGIN_OK: it can't be shown, and *why is a fixed text. */
enum login_rc login_who(const struct conf_backend *b, enum login_as as, const char *user,
                        struct credential *c, char **_login, const char **why) MUST_CHECK;

#endif
