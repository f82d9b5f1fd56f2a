/* myself: is the address of a backend one that this proxy listens at? Such a proxy would sign in at itself.
 * Looked at once, at the start, when the listeners are bound: a backend's name is resolved where its port is
 * one of theirs. A way back that leads over another host, or a translated address, is found at the first
 * login (preauth.h). */
#ifndef IMAPFERRY_MYSELF_H
#define IMAPFERRY_MYSELF_H

#include "lib/conf.h"

#include "sockets.h"

/* False: *error to free. May wait for the resolver. */
bool myself_check(const struct conf *c, const struct sockets *listening, char **error) MUST_CHECK;
/* For --check-conf: the same of the addresses as they are configured; one error for each listener. */
void myself_try(const struct conf *c, struct conf_source *src);

#endif
