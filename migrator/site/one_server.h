/* one_server: do two backends lead to one server? Then whatever is "on the new server" is the original
 * itself: nothing was copied, all compares equal, and the mail is gone with the old server. Names don't tell,
 * since one server may have several; addresses do. Two ports, or two addresses, of one host are taken for two
 * servers. */
#ifndef IMAPFERRY_ONE_SERVER_H
#define IMAPFERRY_ONE_SERVER_H

#include "lib/options.h"

/* By what both connections reached, as stream_peer() says it. */
bool one_server_reached(const struct conf_backend *a, const char *a_peer, const struct conf_backend *b,
                        const char *b_peer);
/* By all addresses that their names have now: one that both have, to free; NULL: none, or a name can't be
 * resolved. Asks the resolver, and waits for it. */
char *one_server_resolved(const struct conf_backend *a, const struct conf_backend *b) MUST_CHECK;
/* Both are on one address that is not this host's own, by two ports. */
bool one_server_is_likely(const char *a_peer, const char *b_peer);

#endif
