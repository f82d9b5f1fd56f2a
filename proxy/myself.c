#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "lib/address.h"
#include "lib/xalloc.h"

#include "delivery/lmtp_next.h"
#include "myself.h"

/* An IPv4 address as the IPv6 one that it is mapped to, so that there is one kind of them. False: neither. */
static bool as_v6(const struct sockaddr *a, struct in6_addr *_r)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (a && a->sa_family == AF_INET6) {
        *_r = ((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
        return true;
    }
    if (!a || a->sa_family != AF_INET)
        return false;
    memcpy(_r->s6_addr, mapped, sizeof mapped);
    memcpy(_r->s6_addr + sizeof mapped, &((const struct sockaddr_in *)(const void *)a)->sin_addr, 4);
    return true;
}

static bool is_same(const struct in6_addr *a, const struct in6_addr *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static bool is_loopback(const struct in6_addr *a)
{
    return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

/* An address of this machine, or none at all, by which the machine reaches itself too. */
static bool myself_is_local(const struct in6_addr *a)
{
    struct ifaddrs *all = NULL;
    struct in6_addr own;
    bool found = is_loopback(a) || IN6_IS_ADDR_UNSPECIFIED(a) ||
                 (IN6_IS_ADDR_V4MAPPED(a) && memcmp(a->s6_addr + 12, "\0\0\0\0", 4) == 0);
    if (found || getifaddrs(&all) != 0)
        return found;
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next)
        found = as_v6(i->ifa_addr, &own) && is_same(&own, a);
    freeifaddrs(all);
    return found;
}

/* Does who listens there take what is sent to that address? [::] takes IPv4 too (listener.c). */
static bool takes(const struct in6_addr *listens, const struct in6_addr *address)
{
    bool any_v4 = IN6_IS_ADDR_V4MAPPED(listens) && memcmp(listens->s6_addr + 12, "\0\0\0\0", 4) == 0;
    if (IN6_IS_ADDR_UNSPECIFIED(listens))
        return myself_is_local(address);
    if (any_v4)
        return IN6_IS_ADDR_V4MAPPED(address) && myself_is_local(address);
    return is_same(listens, address);
}

static struct addrinfo *myself_resolve(const char *host)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    return getaddrinfo(host, NULL, &hints, &found) == 0 ? found : NULL;
}

/* The first address of a listener is the one that it is bound to (listener.c); a backend is dialled at all of
 * them. */
static bool meets_tcp(const struct address *listener, const struct address *backend)
{
    struct addrinfo *own = myself_resolve(listener->host), *its = myself_resolve(backend->host);
    struct in6_addr listens, address;
    bool meets = false;
    for (const struct addrinfo *i = its; i && own && !meets; i = i->ai_next)
        meets = as_v6(own->ai_addr, &listens) && as_v6(i->ai_addr, &address) && takes(&listens, &address);
    if (own)
        freeaddrinfo(own);
    if (its)
        freeaddrinfo(its);
    return meets;
}

static bool meets_unix(const char *listener, const char *backend)
{
    struct stat own, its;
    if (!strcmp(listener, backend)) /* before it is bound */
        return true;
    return stat(listener, &own) == 0 && stat(backend, &its) == 0 && own.st_dev == its.st_dev &&
           own.st_ino == its.st_ino;
}

static bool meets(const struct address *listener, const struct address *backend)
{
    if (listener->path || backend->path)
        return listener->path && backend->path && meets_unix(listener->path, backend->path);
    return listener->port == backend->port && meets_tcp(listener, backend);
}

/* An address of the backend that leads to the listener; NULL: none. */
static const struct address *myself_met(const struct address *listener, const struct conf_backend *b)
{
    const struct address *a;
    for (size_t i = 0; (a = backend_address(b, i)); i++)
        if ((a->host || a->path) && (listener->port || listener->path) && meets(listener, a))
            return a;
    if (backend_has_pop3(b) && listener->port && meets(listener, &b->pop3))
        return &b->pop3;
    return NULL;
}

/* Does mail for the backend come back to where mail servers deliver? */
static bool myself_met_mail(const struct address *listener, const struct conf_backend *b)
{
    struct address next;

    if (!lmtp_next_address(b->delivery, &next))
        return false;
    bool met = (listener->port || listener->path) && meets(listener, &next);
    address_free(&next);
    return met;
}

static bool myself_check_backend(const struct conf_backend *b, const char *listening, char **error)
{
    struct address listener;
    char *fault = NULL;
    if (!address_parse(listening, &listener, &fault)) { /* it was written by address_text() */
        free(fault);
        return true;
    }
    const struct address *me = myself_met(&listener, b);
    bool mail = myself_met_mail(&listener, b);
    address_free(&listener);
    if (mail)
        *error = xasprintf("backend \"%s\": its delivery, %s, is this proxy itself, which listens on %s",
                           b->name, b->delivery, listening);
    if (mail)
        return false;
    if (me) {
        char *text = address_text(me);
        *error = xasprintf("backend \"%s\": %s is this proxy itself, which listens on %s", b->name, text,
                           listening);
        free(text);
    }
    return !me;
}

bool myself_check(const struct conf *c, const struct sockets *listening, char **error)
{
    for (size_t b = 0; b < c->n_backends; b++)
        for (size_t i = 0; i < listening->n; i++)
            if (!myself_check_backend(&c->backends[b], listening->groups[i].text, error))
                return false;
    return true;
}

void myself_try(const struct conf *c, struct conf_source *src)
{
    const struct conf_list *l = &c->proxy.listen;

    for (size_t i = 0; i < l->n; i++) {
        struct address listener;
        char *fault = NULL;
        if (!address_parse(l->items[i], &listener, &fault)) {
            free(fault); /* told */
            continue;
        }
        for (size_t b = 0; b < c->n_backends; b++)
            if (myself_met(&listener, &c->backends[b]))
                conf_object(src, "proxy", NULL, "listen", i,
                            "\"%s\" is the address of backend \"%s\": a proxy can't be its own server",
                            l->items[i], c->backends[b].name);
        address_free(&listener);
    }
}
