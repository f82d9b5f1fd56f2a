/* share: how many of those who have signed in come from one network (crowd.h), in all threads of this process
 * together (`max_connections_per_network`). It is the one thing that threads share. How many an account has, at
 * all proxies, the store counts (`max_connections_per_account`, route_enter()). Those who have not signed in yet
 * are a matter of crowd.h. */
#ifndef IMAPFERRY_SHARE_H
#define IMAPFERRY_SHARE_H

#include "session.h"

/* The session is about to be signed in: takes a place of its network. False: there is none. Nothing where it has one
 * already, where there is no limit, and for a trusted peer that does not say for whom it comes (peer.h). */
bool share_take(struct session *s) MUST_CHECK;
/* It is not, or not any more. Nothing where it has none. */
void share_give(struct session *s);

#endif
