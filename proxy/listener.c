#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "listener.h"
#include "proxy.h"

enum { BACKLOG = 4096 };

/* ---- binding ---- */

static bool listener_failed(char **error, const char *url, const char *what)
{
    *error = xasprintf("%s: %s: %s", url, what, strerror(errno));
    return false;
}

static bool listener_resolve(const struct address *a, struct addrinfo **_r, const char *url, char **error)
{
    char port[8];
    snprintf(port, sizeof port, "%u", a->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int rc = getaddrinfo(a->host, port, &hints, _r);
    if (rc == 0)
        return true;
    *error = xasprintf("%s: %s", url, gai_strerror(rc));
    return false;
}

/* [::] takes IPv4 too. */
static int bind_one(const struct sockaddr_storage *addr, socklen_t len)
{
    int on = 1, off = 0;
    int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 &&
        (addr->ss_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
        bind(fd, (const struct sockaddr *)addr, len) == 0)
        return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

/* SO_REUSEPORT lets a second proxy of the same user bind too, and take half of the clients: a socket without
 * it tells. */
static bool is_free(const struct sockaddr_storage *addr, socklen_t len)
{
    int on = 1, off = 0;
    int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (addr->ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    bool ok = bind(fd, (const struct sockaddr *)addr, len) == 0;
    int e = errno;
    close(fd);
    errno = e;
    return ok;
}

static bool bind_tcp(const struct address *a, const char *url, size_t n, int *sockets, char **_text,
                     char **error)
{
    struct addrinfo *found = NULL;
    struct sockaddr_storage addr;
    if (!listener_resolve(a, &found, url, error))
        return false;
    socklen_t len = found->ai_addrlen;
    memcpy(&addr, found->ai_addr, len);
    freeaddrinfo(found);
    if (!is_free(&addr, len))
        return listener_failed(error, url, "can't listen");
    for (size_t i = 0; i < n; i++) {
        sockets[i] = bind_one(&addr, len);
        socklen_t room = sizeof addr;
        if (sockets[i] < 0 || getsockname(sockets[i], (struct sockaddr *)&addr, &room) != 0)
            return listener_failed(error, url, "can't listen");
    }
    struct address now = *a;
    now.port = ntohs(addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port
                                                : ((struct sockaddr_in *)&addr)->sin_port);
    *_text = address_text(&now);
    return true;
}

/* A file that a killed proxy left behind may be replaced, the socket of one that lives may not. */
static bool somebody_listens(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0;
    if (fd >= 0)
        close(fd);
    return yes;
}

static bool bind_unix(const struct address *a, const char *url, int *socket_r, char **_text, char **error)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(a->path) >= sizeof addr.sun_path) {
        errno = ENAMETOOLONG;
        return listener_failed(error, url, "can't listen");
    }
    memcpy(addr.sun_path, a->path, strlen(a->path) + 1);
    if (somebody_listens(&addr)) {
        errno = EADDRINUSE;
        return listener_failed(error, url, "can't listen");
    }
    listener_unlink(url);
    *socket_r = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*socket_r < 0 || bind(*socket_r, (struct sockaddr *)&addr, sizeof addr) != 0)
        return listener_failed(error, url, "can't listen");
    *_text = address_text(a);
    return true;
}

bool listener_bind(const char *url, size_t n, int *sockets, char **_text, char **error)
{
    struct address a;
    for (size_t i = 0; i < n; i++)
        sockets[i] = -1;
    if (!address_parse(url, &a, error))
        return false;
    bool ok = a.scheme == ADDRESS_IMAP_UNIX ? bind_unix(&a, url, sockets, _text, error)
                                            : bind_tcp(&a, url, n, sockets, _text, error);
    address_free(&a);
    for (size_t i = 0; i < n && !ok; i++)
        if (sockets[i] >= 0)
            close(sockets[i]);
    return ok;
}

void listener_unlink(const char *url)
{
    struct address a;
    struct stat st;
    char *error = NULL;
    if (!address_parse(url, &a, &error)) {
        free(error);
        return;
    }
    if (a.scheme == ADDRESS_IMAP_UNIX && lstat(a.path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(a.path);
    address_free(&a);
}

/* ---- listening ---- */

void listener_open(struct listener *l, struct proxy *p, const char *url, int socket)
{
    struct address a;
    char *error = NULL;
    l->proxy = p;
    if (socket < 0)
        return;
    if (!address_parse(url, &a, &error)) { /* conf_check() took it */
        free(error);
        close(socket);
        return;
    }
    l->scheme = a.scheme;
    l->proxy_protocol = a.proxy_protocol;
    l->asks = conf_asks_clients(&p->conf->proxy, url);
    address_free(&a);
    int rc;
    if (l->scheme == ADDRESS_IMAP_UNIX) {
        uv_pipe_init(&p->loop->uv, &l->uv.pipe, 0);
        rc = uv_pipe_open(&l->uv.pipe, socket);
    } else {
        uv_tcp_init(&p->loop->uv, &l->uv.tcp);
        rc = uv_tcp_open(&l->uv.tcp, socket);
    }
    l->open = true;
    if (rc != 0)
        LOG(ERROR, "listen_failed", LOG_S("address", url), LOG_S("detail", uv_strerror(rc)));
}

static void take_next(struct listener *l)
{
    struct proxy *p = l->proxy;
    l->waiting = !proxy_may_accept(p) || !proxy_has_room(p);
    if (!l->waiting)
        session_accept(l);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *l = CONTAINER_OF(stream, struct listener, uv);
    if (status == 0)
        take_next(l);
    else
        LOG(WARN, "accept_failed", LOG_S("detail", uv_strerror(status)));
}

void listener_listen(struct listener *l)
{
    if (!l->open)
        return;
    int rc = uv_listen(&l->uv.stream, BACKLOG, on_connection);
    if (rc != 0)
        LOG(ERROR, "listen_failed", LOG_S("detail", uv_strerror(rc)));
}

void listener_go_on(struct listener *l)
{
    if (l->open && l->waiting)
        take_next(l);
}

void listener_close(struct listener *l)
{
    if (l->open)
        uv_close(&l->uv.handle, NULL);
    l->open = false;
}
