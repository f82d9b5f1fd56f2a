/* cidr: networks as an administrator writes them (RFC 4632 3.1, RFC 4291 2.3): "192.0.2.0/24",
 * "2001:db8::/32", or one address. IPv4 that is mapped into IPv6 is IPv4. */
#ifndef IMAPFERRY_CIDR_H
#define IMAPFERRY_CIDR_H

#include "base.h"

enum { CIDR_IP_SIZE = 46 /* INET6_ADDRSTRLEN */ };

struct cidr {
    uint8_t address[16]; /* IPv4 as ::ffff:0:0/96 has it */
    unsigned bits;       /* of these 128 */
};

/* An address as inet_ntop() writes it. False: the text is none. */
bool cidr_read_ip(struct span text, char ip_r[CIDR_IP_SIZE]) MUST_CHECK;
/* False: *why is a fixed text that says what is wrong, to stand behind the network in quotes. */
bool cidr_parse(const char *text, struct cidr *_r, const char **why) MUST_CHECK;
/* Is the address in the network? What is no address is in none. */
bool cidr_has(const struct cidr *c, const char *ip);
/* Is it in one of these networks? Texts that are no networks are passed over. */
bool cidr_any(char *const *networks, size_t n, const char *ip);

#endif
