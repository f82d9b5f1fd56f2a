#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/xalloc.h"

#include "one_server.h"

enum { PLACE_SIZE = INET6_ADDRSTRLEN + 16 };

/* "localhost" is the one or the other, as the resolver likes. */
static const char *one_server_plain(const char *peer, char out[PLACE_SIZE])
{
    static const char v6[] = "[::1]:";

    if (strncmp(peer, v6, sizeof(v6) - 1))
        return peer;
    snprintf(out, PLACE_SIZE, "127.0.0.1:%s", peer + sizeof(v6) - 1);
    return out;
}

static bool one_socket(const char *a, const char *b)
{
    struct stat x, y;

    return !strcmp(a, b) || (!stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

/* A connection does not tell by which of them it came. */
static bool share_socket(const struct conf_backend *a, const struct conf_backend *b)
{
    const struct address *x, *y;

    for (size_t i = 0; (x = backend_address(a, i)); i++)
        for (size_t k = 0; (y = backend_address(b, k)); k++)
            if (one_socket(x->path, y->path))
                return true;
    return false;
}

bool one_server_reached(const struct conf_backend *a, const char *a_peer, const struct conf_backend *b,
                        const char *b_peer)
{
    char x[PLACE_SIZE], y[PLACE_SIZE];

    if (a->address.path || b->address.path)
        return a->address.path && b->address.path && share_socket(a, b);
    return strchr(a_peer, ':') && !strcmp(one_server_plain(a_peer, x), one_server_plain(b_peer, y));
}

/* ---- by name */

static struct addrinfo *one_server_look_up(const struct address *a)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
    char port[8];

    snprintf(port, sizeof(port), "%u", a->port);
    return a->host && getaddrinfo(a->host, port, &hints, &list) == 0 ? list : NULL;
}

/* As stream_peer() writes it. */
static bool one_server_place(const struct addrinfo *a, char out[PLACE_SIZE])
{
    char ip[INET6_ADDRSTRLEN], text[PLACE_SIZE];
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a->ai_addr;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)a->ai_addr;

    if (a->ai_family == AF_INET && inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip)))
        snprintf(text, sizeof(text), "%s:%u", ip, ntohs(v4->sin_port));
    else if (a->ai_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) &&
             inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], ip, sizeof(ip)))
        snprintf(text, sizeof(text), "%s:%u", ip, ntohs(v6->sin6_port));
    else if (a->ai_family == AF_INET6 && inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip)))
        snprintf(text, sizeof(text), "[%s]:%u", ip, ntohs(v6->sin6_port));
    else
        return false;
    memmove(out, text, sizeof(text));
    char plain[PLACE_SIZE];
    const char *same = one_server_plain(out, plain);
    if (same != out)
        memcpy(out, same, strlen(same) + 1);
    return true;
}

static char *one_server_common(const struct addrinfo *a, const struct addrinfo *list)
{
    char x[PLACE_SIZE], y[PLACE_SIZE];

    for (; a; a = a->ai_next)
        for (const struct addrinfo *b = list; b && one_server_place(a, x); b = b->ai_next)
            if (one_server_place(b, y) && !strcmp(x, y))
                return xstrdup(x);
    return NULL;
}

static char *one_server_of_two(const struct address *a, const struct address *b)
{
    struct addrinfo *x = one_server_look_up(a), *y = x ? one_server_look_up(b) : NULL;
    char *common = y ? one_server_common(x, y) : NULL;

    if (x)
        freeaddrinfo(x);
    if (y)
        freeaddrinfo(y);
    return common;
}

char *one_server_resolved(const struct conf_backend *a, const struct conf_backend *b)
{
    const struct address *x, *y;
    char *common = NULL;

    for (size_t i = 0; !common && (x = backend_address(a, i)); i++)
        for (size_t k = 0; !common && (y = backend_address(b, k)); k++)
            common = one_server_of_two(x, y);
    return common;
}

/* ---- perhaps */

bool one_server_is_likely(const char *a_peer, const char *b_peer)
{
    char x[PLACE_SIZE], y[PLACE_SIZE];

    a_peer = one_server_plain(a_peer, x);
    b_peer = one_server_plain(b_peer, y);
    const char *a_port = strrchr(a_peer, ':'), *b_port = strrchr(b_peer, ':');
    if (!a_port || !b_port || a_port - a_peer != b_port - b_peer || !strncmp(a_peer, "127.", 4))
        return false;
    return !strncmp(a_peer, b_peer, (size_t)(a_port - a_peer)) && strcmp(a_port, b_port) != 0;
}
