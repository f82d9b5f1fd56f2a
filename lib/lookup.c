#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lookup.h"
#include "xalloc.h"

/* It can't always be called back, so it lives on its own, and a late answer finds nobody. */
struct lookup {
    uv_getaddrinfo_t req;
    lookup_fn fn; /* NULL: nobody waits any more */
    void *owner;  /* borrowed */
};

static size_t lookup_copy(const struct addrinfo *list, struct sockaddr_storage addrs[LOOKUP_MAX])
{
    size_t n = 0;
    for (; list && n < LOOKUP_MAX; list = list->ai_next)
        if (list->ai_family == AF_INET || list->ai_family == AF_INET6)
            memcpy(&addrs[n++], list->ai_addr, list->ai_addrlen);
    return n;
}

/* glibc says that a name is unknown where it could open neither a file nor a socket to look for it. */
static int lookup_status(uv_loop_t *uv, int status)
{
    int fd = status == 0 ? -1 : fcntl(uv_backend_fd(uv), F_DUPFD_CLOEXEC, 0);
    if (status == 0 || (fd < 0 && errno != EMFILE))
        return status;
    if (fd < 0)
        return UV_EMFILE;
    close(fd);
    return status;
}

static void on_getaddrinfo(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct lookup *k = CONTAINER_OF(req, struct lookup, req);
    struct sockaddr_storage addrs[LOOKUP_MAX] = {0};
    size_t n = status == 0 ? lookup_copy(list, addrs) : 0;
    uv_freeaddrinfo(list);
    if (k->fn)
        k->fn(k->owner, lookup_status(req->loop, status), addrs, n);
    free(k);
}

struct lookup *lookup_start(struct loop *l, const char *host, uint16_t port, lookup_fn fn, void *owner,
                            int *status)
{
    char digits[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct lookup *k = xcalloc(1, sizeof *k);
    k->fn = fn;
    k->owner = owner;
    snprintf(digits, sizeof digits, "%u", port);
    *status = uv_getaddrinfo(&l->uv, &k->req, on_getaddrinfo, host, digits, &hints);
    if (*status == 0)
        return k;
    free(k);
    return NULL;
}

void lookup_cancel(struct lookup **kp)
{
    struct lookup *k = *kp;
    *kp = NULL;
    if (!k)
        return;
    k->fn = NULL;
    uv_cancel((uv_req_t *)&k->req);
}

bool lookup_literal(const char *host, uint16_t port, struct sockaddr_storage *_r)
{
    struct sockaddr_storage a = {0};
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&a) != 0 &&
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)&a) != 0)
        return false;
    *_r = a;
    return true;
}

void lookup_text(const struct sockaddr_storage *a, char out[LOOKUP_TEXT_SIZE])
{
    char ip[INET6_ADDRSTRLEN] = "?";
    if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
        uv_ip6_name(v6, ip, sizeof ip);
        snprintf(out, LOOKUP_TEXT_SIZE, "[%s]:%u", ip, ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
        uv_ip4_name(v4, ip, sizeof ip);
        snprintf(out, LOOKUP_TEXT_SIZE, "%s:%u", ip, ntohs(v4->sin_port));
    }
}
