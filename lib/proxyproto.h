/* proxyproto: the PROXY protocol, versions 1 and 2, read and written: by it a load balancer or a proxy says,
 * in the first bytes of a connection and before TLS, whose connection it hands on. Pure. Sections are those
 * of "The PROXY protocol", doc/proxy-protocol.txt of haproxy.
 *
 * Whom to believe is the caller's matter. A header either names both ends of the client's connection, or says
 * nothing of it: LOCAL and UNKNOWN (the balancer's own connection, a health check), and families that are not
 * IP. Then the connection's own address is the client's.
 *
 * Of version 2, the length of each TLV and a CRC32C (2.2.3) are checked. What TLVs say, of TLS too, is not
 * believed: a balancer's word for a client's encryption would be one for where passwords may be shown. */
#ifndef IMAPFERRY_PROXYPROTO_H
#define IMAPFERRY_PROXYPROTO_H

#include <arpa/inet.h>

#include "buf.h"

enum {
    PROXYPROTO_V1_MAX = 107, /* bytes of a header of version 1 (2.1), CRLF counted */
    PROXYPROTO_MAX = 4096,   /* of version 2: longer ones are refused; 536 is what a sender may need (2.2) */
};

struct proxyproto_end {
    char ip[INET6_ADDRSTRLEN]; /* as inet_ntop() writes it, IPv4 where it is mapped into IPv6; "" = unknown */
    uint16_t port;
};

/* A client's connection: from where, and to where. */
struct proxyproto_ends {
    struct proxyproto_end from, to;
};

enum proxyproto_rc { PROXYPROTO_MORE, PROXYPROTO_DONE, PROXYPROTO_BAD };

struct proxyproto {
    size_t len; /* bytes of the header */
    bool tells; /* ends is set */
    struct proxyproto_ends ends;
};

/* Reads a header from all bytes that have come since the connection began. DONE: *_r is set. BAD: *why is a
 * fixed text for a log; it is told as soon as the bytes can't become a header. MORE is never the answer to
 * PROXYPROTO_MAX bytes. */
enum proxyproto_rc proxyproto_read(struct span in, struct proxyproto *_r, const char **why);

/* Appends a header of this version (1 or 2), without TLVs. ends NULL, or of an unknown client: UNKNOWN or
 * LOCAL. Where the ends are of two families, that of the client counts, and where it came to is left open
 * (0.0.0.0 or ::). */
void proxyproto_write(struct buf *out, unsigned version, const struct proxyproto_ends *ends);

#endif
