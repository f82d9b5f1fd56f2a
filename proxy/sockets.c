#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/address.h"
#include "lib/process.h"
#include "lib/xalloc.h"

#include "sockets.h"

/* ---- binding ---- */

static bool sockets_failed(char **error, const char *url, const char *what)
{
    *error = xasprintf("%s: %s: %s", url, what, strerror(errno));
    return false;
}

static bool sockets_resolve(const struct address *a, struct addrinfo **_r, const char *url, char **error)
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

/* beside: another process of ours has the port at some address, until it drains, which may be this one too ("0.0.0.0" and
 * "127.0.0.1"). That it is a process of ours is what the kernel looks at. */
static bool bind_tcp(const struct address *a, const char *url, size_t n, bool beside, int *sockets,
                     char **error)
{
    struct addrinfo *found = NULL;
    struct sockaddr_storage addr;
    if (!sockets_resolve(a, &found, url, error))
        return false;
    socklen_t len = found->ai_addrlen;
    memcpy(&addr, found->ai_addr, len);
    freeaddrinfo(found);
    if (!beside && !is_free(&addr, len))
        return sockets_failed(error, url, "can't listen");
    for (size_t i = 0; i < n; i++) {
        sockets[i] = bind_one(&addr, len);
        socklen_t room = sizeof addr;
        if (sockets[i] < 0 || getsockname(sockets[i], (struct sockaddr *)&addr, &room) != 0)
            return sockets_failed(error, url, "can't listen");
    }
    return true;
}

static void sockets_unlink(const struct address *a)
{
    struct stat st;

    if (lstat(a->path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(a->path);
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

/* all: may ask who may enter its folder, since mail servers are other users. There is no other thread yet. */
static bool sockets_bind_unix(int fd, const struct sockaddr_un *addr, bool all)
{
    mode_t before = umask(0);
    if (!all)
        umask(before);
    bool ok = bind(fd, (const struct sockaddr *)addr, sizeof *addr) == 0;
    int e = errno;
    umask(before);
    errno = e;
    return ok;
}

static bool bind_unix(const struct address *a, const char *url, int *socket_r, char **error)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(a->path) >= sizeof addr.sun_path) {
        errno = ENAMETOOLONG;
        return sockets_failed(error, url, "can't listen");
    }
    memcpy(addr.sun_path, a->path, strlen(a->path) + 1);
    if (somebody_listens(&addr)) {
        errno = EADDRINUSE;
        return sockets_failed(error, url, "can't listen");
    }
    sockets_unlink(a);
    *socket_r = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok = *socket_r >= 0 && sockets_bind_unix(*socket_r, &addr, a->scheme == ADDRESS_REDIS_UNIX);
    return ok || sockets_failed(error, url, "can't listen");
}

/* ---- what a socket is ---- */

union sockets_name {
    struct sockaddr any;
    struct sockaddr_storage storage;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
};

static bool sockets_name_of(int fd, union sockets_name *name)
{
    socklen_t len = sizeof *name;

    memset(name, 0, sizeof *name);
    return getsockname(fd, &name->any, &len) == 0;
}

static uint16_t port_of(const union sockets_name *name)
{
    return ntohs(name->any.sa_family == AF_INET6 ? name->v6.sin6_port : name->v4.sin_port);
}

static char *sockets_text(const struct address *a, int fd)
{
    union sockets_name name;
    struct address now = *a;

    if (!a->path && sockets_name_of(fd, &name))
        now.port = port_of(&name);
    return address_text(&now);
}

static bool is_same_host(const union sockets_name *a, const union sockets_name *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    return a->any.sa_family == AF_INET6
               ? memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr) == 0
               : memcmp(&a->v4.sin_addr, &b->v4.sin_addr, sizeof a->v4.sin_addr) == 0;
}

/* Port 0 means none that is there already. */
static bool sockets_fit(const struct address *a, const char *url, const union sockets_name *name)
{
    union sockets_name wanted = {.any.sa_family = AF_UNSPEC};
    struct addrinfo *found = NULL;
    char *why = NULL;

    if (a->path)
        return name->any.sa_family == AF_UNIX && strcmp(name->un.sun_path, a->path) == 0;
    if ((name->any.sa_family != AF_INET && name->any.sa_family != AF_INET6) || a->port != port_of(name))
        return false;
    if (sockets_resolve(a, &found, url, &why)) {
        memcpy(&wanted, found->ai_addr, found->ai_addrlen);
        freeaddrinfo(found);
    }
    free(why);
    return is_same_host(&wanted, name);
}

static bool accepts(int fd)
{
    int yes = 0, type = 0;
    socklen_t len = sizeof yes, len_of_type = sizeof type;

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len_of_type) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &len) == 0 && yes;
}

/* ---- groups ---- */

static void group_add(struct sockets_group *g, int fd)
{
    struct address a;
    char *why = NULL;

    g->fds = xreallocarray(g->fds, g->n + 1, sizeof *g->fds);
    g->fds[g->n++] = fd;
    if (g->text || !address_parse(g->url, &a, &why)) {
        free(why);
        return;
    }
    g->text = sockets_text(&a, fd);
    address_free(&a);
}

struct sockets *sockets_new(const struct conf_list *listen)
{
    struct sockets *s = xcalloc(1, sizeof *s);

    sockets_add(s, listen);
    return s;
}

void sockets_add(struct sockets *s, const struct conf_list *listen)
{
    s->groups = xreallocarray(s->groups, s->n + listen->n + 1, sizeof *s->groups);
    for (size_t i = 0; i < listen->n; i++)
        s->groups[s->n++] = (struct sockets_group){.url = listen->items[i]};
}

const char *sockets_path(const struct sockets_group *g)
{
    const char *at = g->text ? strstr(g->text, "unix://") : NULL;

    return at ? at + strlen("unix://") : NULL;
}

static struct sockets_group *group_for(const struct sockets *s, int fd)
{
    union sockets_name name;
    struct sockets_group *found = NULL;
    struct address a;
    char *why = NULL;

    if (!sockets_name_of(fd, &name))
        return NULL;
    for (size_t i = 0; i < s->n && !found; i++) {
        if (!address_parse(s->groups[i].url, &a, &why)) { /* conf_check() took it */
            free(why);
            continue;
        }
        if (sockets_fit(&a, s->groups[i].url, &name))
            found = &s->groups[i];
        address_free(&a);
    }
    return found;
}

bool sockets_take_held(struct sockets *s, char **error)
{
    char **names = NULL, *wrong = NULL;
    int first;
    size_t n = process_held_sockets(&first, &names);

    for (size_t i = 0; i < n; i++) {
        int fd = first + (int)i;
        struct sockets_group *g = accepts(fd) ? group_for(s, fd) : NULL;
        if (g) {
            group_add(g, fd);
            g->held = true;
        } else if (!wrong) {
            wrong = xasprintf("socket %zu (\"%s\") of the service manager %s", i + 1, names[i],
                              accepts(fd) ? "has an address that is not in listen"
                                          : "is none that takes connections");
        }
        free(names[i]);
    }
    free(names);
    *error = wrong;
    return !wrong;
}

static struct sockets_group *group_named(const struct sockets *s, const char *url)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->groups[i].url, url) == 0)
            return &s->groups[i];
    return NULL;
}

static void sockets_leave(struct sockets *s, int fd)
{
    union sockets_name name;

    if (sockets_name_of(fd, &name) && (name.any.sa_family == AF_INET || name.any.sa_family == AF_INET6)) {
        s->others = xreallocarray(s->others, s->n_others + 1, sizeof *s->others);
        s->others[s->n_others++] = port_of(&name);
    }
    close(fd);
}

/* The spelling comes first: it is all that a port of 0 is known by, and nobody has to be asked what a name means. */
void sockets_take(struct sockets *s, const char *url, int fd)
{
    struct sockets_group *g = accepts(fd) ? group_named(s, url) : NULL;

    if (!g && accepts(fd))
        g = group_for(s, fd);
    if (g && !g->held)
        group_add(g, fd);
    else
        sockets_leave(s, fd);
}

static bool is_beside(const struct sockets *s, uint16_t port)
{
    for (size_t i = 0; i < s->n_others; i++)
        if (s->others[i] == port)
            return true;
    return false;
}

static bool group_bind(const struct sockets *s, struct sockets_group *g, size_t n, char **error)
{
    struct address a;

    if (!address_parse(g->url, &a, error))
        return false;
    int *fds = xmalloc(n * sizeof *fds);
    for (size_t i = 0; i < n; i++)
        fds[i] = -1;
    bool ok = a.path ? bind_unix(&a, g->url, fds, error)
                     : bind_tcp(&a, g->url, n, is_beside(s, a.port), fds, error);
    for (size_t i = 0; i < n; i++)
        if (ok && fds[i] >= 0)
            group_add(g, fds[i]);
        else if (fds[i] >= 0)
            close(fds[i]);
    free(fds);
    address_free(&a);
    return ok;
}

bool sockets_bind(struct sockets *s, size_t n_threads, char **error)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->groups[i].n == 0 && !group_bind(s, &s->groups[i], n_threads, error))
            return false;
    return true;
}

/* ---- threads ---- */

/* Each socket is somebody's, or who waits in its queue would wait for ever. */
static bool is_for(const struct sockets_group *g, size_t nth, size_t thread, size_t n_threads)
{
    union sockets_name name;

    if (nth % n_threads == thread)
        return true;
    bool spare = thread >= g->n && thread % g->n == nth;
    return spare && sockets_name_of(g->fds[nth], &name) && name.any.sa_family != AF_UNIX;
}

static int sockets_copy(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    if (copy < 0) {
        perror("F_DUPFD_CLOEXEC");
        exit(1);
    }
    return copy;
}

struct listen_socket *sockets_of_thread(const struct sockets *s, size_t thread, size_t n_threads, size_t *_n)
{
    struct listen_socket *list = NULL;
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++)
        for (size_t nth = 0; nth < s->groups[i].n; nth++) {
            if (!is_for(&s->groups[i], nth, thread, n_threads))
                continue;
            list = xreallocarray(list, n + 1, sizeof *list);
            list[n++] =
                (struct listen_socket){.url = s->groups[i].url, .fd = sockets_copy(s->groups[i].fds[nth])};
        }
    *_n = n;
    return list;
}

/* ---- the end ---- */

void sockets_close(struct sockets *s)
{
    for (size_t i = 0; i < s->n; i++) {
        for (size_t nth = 0; nth < s->groups[i].n; nth++)
            close(s->groups[i].fds[nth]);
        s->groups[i].n = 0;
    }
}

static void group_unlink(const struct sockets_group *g)
{
    struct address a;
    char *why = NULL;

    if (!address_parse(g->url, &a, &why)) {
        free(why);
        return;
    }
    if (a.path)
        sockets_unlink(&a);
    address_free(&a);
}

void sockets_free(struct sockets **sp, bool ended)
{
    struct sockets *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    sockets_close(s);
    for (size_t i = 0; i < s->n; i++) {
        if (ended && s->groups[i].text && !s->groups[i].held)
            group_unlink(&s->groups[i]);
        free(s->groups[i].text);
        free(s->groups[i].fds);
    }
    free(s->groups);
    free(s->others);
    free(s);
}
