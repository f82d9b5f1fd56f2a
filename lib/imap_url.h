/* imap_url: which server a URL of IMAP names (RFC 5092), as it stands in a referral of a login (RFC 2221 section 4.1). Pure. */
#ifndef IMAPFERRY_IMAP_URL_H
#define IMAPFERRY_IMAP_URL_H

#include "base.h"

enum { IMAP_URL_HOST_SIZE = 254, IMAP_URL_USER_SIZE = 256 };

struct imap_url {
    char host[IMAP_URL_HOST_SIZE]; /* a name, or an address without brackets */
    uint16_t port;                 /* 0: it names none */
    char user[IMAP_URL_USER_SIZE]; /* "": it names none */
};

/* imap:// or imaps://, with or without user and ";AUTH=". False: it is none, or names more than a server. */
bool imap_url_parse(struct span text, struct imap_url *_r) MUST_CHECK;

#endif
