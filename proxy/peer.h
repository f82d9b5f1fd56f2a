/* peer: whose a session is, for its limits, for logs, and for the server behind: session.peer and peer_ip.
 *
 *   the TCP connection comes from     and says by                     the client is
 *   any address                       nothing                         that address
 *   a network of `trusted`            a PROXY header (proxyproto.h)   whom the header names; that address where it
 *                                                                     names nobody
 *   such a network; or a client of    ID x-originating-ip, where a    whom ID names
 *   such a network, by the header     login would be allowed
 *   any other                         ID x-originating-ip             that address: it is not believed
 *
 * Whoever comes by a UNIX socket is trusted. A listener whose URL says "?proxy_protocol" takes nobody without a
 * header, and no header from others than those; one whose URL does not takes no header from anybody. Where
 * somebody else is named, session.via is who named him. */
#ifndef IMAPFERRY_PROXY_PEER_H
#define IMAPFERRY_PROXY_PEER_H

#include "lib/proxyproto.h"

#include "session.h"

/* The connection was accepted. */
void peer_of_connection(struct session *s);
/* Reads the header from what has come of it, and eats it. DONE: the client is known. */
enum proxyproto_rc peer_read_header(struct session *s, const char **why);
/* ID of a trusted peer names the client: moves the session to the client's network in the crowd, which may
 * end it. port: 0 = unknown. What is no address is passed over. */
void peer_take_id(struct session *s, struct span ip, uint16_t port);
/* Many people come from its address: that of a trusted peer that does not say for whom it comes. */
bool peer_is_many(const struct session *s);
/* For a PROXY header to a server: from where the client comes, and to where it came. False: not known. */
bool peer_ends(const struct session *s, struct proxyproto_ends *_r);

#endif
