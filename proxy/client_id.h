/* client_id: what a client says of itself by ID, kept in its session for servers that are to hear it
 * (forward_id = "client"): behind each sign-in that is made for the session, and when it says it after its
 * login. Where no server is, it is not kept. */
#ifndef IMAPFERRY_PROXY_CLIENT_ID_H
#define IMAPFERRY_PROXY_CLIENT_ID_H

#include "lib/backend_login.h"

#include "session.h"

/* Some server is to hear it. */
bool client_id_wanted(const struct session *s);
/* Takes the pairs (imap_id.h). */
void client_id_said(struct session *s, struct buf *pairs);
/* It has said nothing. */
void client_id_forget(struct session *s);
/* For a sign-in of this session. Borrowed from it. */
void client_id_for(const struct session *s, struct login_request *request);
/* This server is to hear it when it is said, and knows the command. */
bool client_id_is_heard(const struct session *s, const struct conf_backend *at);

#endif
