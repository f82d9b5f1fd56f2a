/* refusals: who has shown wrong tokens of late, by network (an IPv4 address, a /64 of IPv6, "unix"). Ten in a minute are answered
 * and logged one by one, and further ones are put off until the minute is over. A right token is heard all the while: staff
 * come from the same host as everybody there, or all by one web server, and nobody guesses 32 letters. */
#ifndef IMAPFERRY_REFUSALS_H
#define IMAPFERRY_REFUSALS_H

#include "lib/base.h"

enum { REFUSALS_HEARD = 10, REFUSALS_MS = 60000, REFUSALS_NETWORKS = 256 };

/* {0} is one that knows of none. */
struct refusals {
    struct refusals_network {
        char name[48];
        uint64_t since_ms;
        unsigned n;
    } of[REFUSALS_NETWORKS];
};

/* For how long wrong ones from there are put off, in ms; 0: they are not. peer: as http_request_peer() says it. */
uint64_t refusals_wait_ms(const struct refusals *f, const char *peer, uint64_t now_ms);
/* A wrong token. Where there are more networks than fit, the one that was silent for longest is forgotten. */
void refusals_add(struct refusals *f, const char *peer, uint64_t now_ms);

#endif
