/* Do two listeners take the same connections? SO_REUSEPORT lets them bind, and the kernel spreads clients
 * over both. */
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

#include "conf_priv.h"

/* The first address is the one that is bound to. False: that name leads nowhere, as a start will tell. IPv4
 * as the IPv6 address that it is mapped to. */
static bool conf_listen_resolve(const struct address *a, bool resolve, struct in6_addr *_r)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | (resolve ? 0 : AI_NUMERICHOST)},
                    *found = NULL;

    if (getaddrinfo(a->host, NULL, &hints, &found) != 0)
        return false;
    if (found->ai_family == AF_INET6) {
        *_r = ((const struct sockaddr_in6 *)(const void *)found->ai_addr)->sin6_addr;
    } else {
        *_r = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
        memcpy(_r->s6_addr + 12, &((const struct sockaddr_in *)(const void *)found->ai_addr)->sin_addr, 4);
    }
    freeaddrinfo(found);
    return true;
}

/* [::] takes IPv4 too. */
static bool conf_listen_takes(const struct in6_addr *wide, const struct in6_addr *a)
{
    static const uint8_t none[4] = {0};

    if (IN6_IS_ADDR_UNSPECIFIED(wide))
        return true;
    return IN6_IS_ADDR_V4MAPPED(wide) && !memcmp(wide->s6_addr + 12, none, sizeof(none)) &&
           IN6_IS_ADDR_V4MAPPED(a);
}

enum conf_listen conf_listen_meets(const struct address *a, const struct address *b, bool resolve)
{
    struct in6_addr x, y;

    if (a->path || b->path)
        return a->path && b->path && !strcmp(a->path, b->path) ? LISTEN_SAME : LISTEN_APART;
    if (a->port != b->port || a->port == 0)
        return LISTEN_APART;
    if (!strcasecmp(a->host, b->host))
        return LISTEN_SAME;
    if (!conf_listen_resolve(a, resolve, &x) || !conf_listen_resolve(b, resolve, &y))
        return LISTEN_APART;
    if (!memcmp(&x, &y, sizeof(x)))
        return LISTEN_SAME;
    bool alike = a->scheme == b->scheme && a->proxy_protocol == b->proxy_protocol;
    return !alike && (conf_listen_takes(&x, &y) || conf_listen_takes(&y, &x)) ? LISTEN_OVERLAP : LISTEN_APART;
}
