/* address: what a configured URL or listener names. Pure.
 *
 *   imaps://host[:993]  imap+starttls://host[:143]  imap://host[:143]  imap+unix:///path     backends and listeners
 *   redis://[:password@]host[:6379][/db]  rediss://...  unix:///path[?db=N]                  the store
 *   sentinel://h1[:26379],h2[:26379]/NAME is known by name and refused with a text until it is obeyed. */
#ifndef IMAPFERRY_ADDRESS_H
#define IMAPFERRY_ADDRESS_H

#include "base.h"

enum address_scheme {
    ADDRESS_IMAPS, ADDRESS_IMAP_STARTTLS, ADDRESS_IMAP, ADDRESS_IMAP_UNIX,
    ADDRESS_REDIS, ADDRESS_REDISS, ADDRESS_REDIS_UNIX
};

struct address {
    enum address_scheme scheme;
    char *host;     /* owned; name or address, no brackets; NULL for UNIX sockets */
    uint16_t port;
    char *path;     /* owned; UNIX sockets */
    char *user;     /* owned; redis ACL user, NULL = none */
    char *password; /* owned; redis, NULL = none */
    uint32_t db;
};

/* False: *error is a text to free that says what was expected. */
bool address_parse(const char *text, struct address *_r, char **error) MUST_CHECK;
void address_free(struct address *a);
/* Without password, to log; to free. */
char *address_text(const struct address *a);

#endif
