#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "http_priv.h"
#include "log.h"
#include "xalloc.h"

/* Those that were shut down are there until libmicrohttpd has come round to them. */
enum { PEM_MAX = 256 * 1024, BACKLOG = 64, LEAVING_MAX = 64 };

/* ---- connections ---- */

static void http_on_deadline(void *owner)
{
    struct http_client *c = owner;
    struct http_request *r = c->request;

    shutdown(c->fd, SHUT_RDWR);
    if (r)
        http_request_drop(r);
    http_server_kick(c->server);
}

static void http_name_peer(struct http_client *c, const struct sockaddr *a)
{
    const struct sockaddr_in6 *v6 = (const void *)a;

    if (a && a->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a)->sin_addr, c->peer, sizeof c->peer);
    else if (a && a->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, c->peer, sizeof c->peer);
    else if (a && a->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &v6->sin6_addr, c->peer, sizeof c->peer);
    else
        snprintf(c->peer, sizeof c->peer, "unix");
}

/* ---- how many */

/* It holds a place that another one may have: nobody works for it, and it is no stream. */
static bool http_is_idle(const struct http_client *c)
{
    const struct http_request *r = c->request;

    return !r || r->state == HTTP_READING || (r->state == HTTP_ANSWERED && !r->stream);
}

/* One that is to give its place to the newest: the oldest that is idle, and of this address where one is given (NULL: any). */
static struct http_client *http_oldest_idle(struct http_server *s, const char *peer)
{
    struct http_client *c, *oldest = NULL, *newest = LIST_FIRST(&s->clients);

    LIST_FOREACH(c, &s->clients, link)
    if (c != newest && !c->leaving && http_is_idle(c) && (!peer || !strcmp(peer, c->peer)))
        oldest = c;
    return oldest;
}

static unsigned http_count(const struct http_server *s, const char *peer)
{
    const struct http_client *c;
    unsigned n = 0;

    LIST_FOREACH(c, &s->clients, link)
    n += !c->leaving && (!peer || !strcmp(peer, c->peer));
    return n;
}

static void http_shut(struct http_client *c)
{
    c->leaving = true;
    shutdown(c->fd, SHUT_RDWR);
}

/* Where the newest is one too many, of its address or in all, an idle one gives way, or else it goes itself. */
static void http_make_room(struct http_server *s, struct http_client *newest)
{
    const char *peers[] = {s->listen.path ? NULL : newest->peer, NULL};
    const unsigned most[] = {s->listen.path ? UINT_MAX : s->set.connections_per_address,
                             s->set.connections_max};

    for (size_t i = 0; i < COUNTOF(peers) && !newest->leaving; i++) {
        struct http_client *old = http_count(s, peers[i]) > most[i] ? http_oldest_idle(s, peers[i]) : NULL;
        if (http_count(s, peers[i]) > most[i])
            http_shut(old ? old : newest);
    }
}

/* What MHD_get_connection_info() points to is one place for all that is asked (since 1.0), so each answer is read before the next. */
static void http_know_client(struct http_client *c, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    c->fd = info ? info->connect_fd : -1;
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    http_name_peer(c, info ? info->client_addr : NULL);
}

static void http_client_new(struct http_server *s, struct MHD_Connection *connection, void **context)
{
    struct http_client *c = xcalloc(1, sizeof *c);

    c->server = s;
    http_know_client(c, connection);
    c->deadline = timer_new(s->loop, http_on_deadline, c);
    timer_start(c->deadline, s->set.request_ms);
    LIST_INSERT_HEAD(&s->clients, c, link);
    *context = c;
    http_make_room(s, c);
}

static void http_client_free(void **context)
{
    struct http_client *c = *context;

    *context = NULL;
    if (!c)
        return;
    LIST_REMOVE(c, link);
    timer_free(&c->deadline);
    free(c);
}

static void http_on_connection(void *server, struct MHD_Connection *connection, void **context,
                               enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        http_client_new(server, connection, context);
    else
        http_client_free(context);
}

/* ---- libmicrohttpd on our loop ---- */

static void http_server_run(struct http_server *s)
{
    MHD_UNSIGNED_LONG_LONG ms;

    MHD_run(s->daemon);
    if (MHD_get_timeout(s->daemon, &ms) == MHD_YES)
        timer_start(s->timer, ms);
    else
        timer_stop(s->timer);
}

static void http_on_ready(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    http_server_run(CONTAINER_OF(poll, struct http_server, poll));
}

static void http_on_timer(void *owner)
{
    http_server_run(owner);
}

static void http_on_kick(struct loop_task *task)
{
    http_server_run(CONTAINER_OF(task, struct http_server, kick));
}

void http_server_kick(struct http_server *s)
{
    loop_defer(s->loop, &s->kick);
}

static struct MHD_Daemon *http_daemon(struct http_server *s)
{
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (s->cert ? MHD_USE_TLS : 0);
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_KEY, 0, s->key},
        {MHD_OPTION_HTTPS_MEM_CERT, 0, s->cert},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t) "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
        {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};

    return MHD_start_daemon(
        flags, 0, NULL, NULL, http_request_step, s, MHD_OPTION_LISTEN_SOCKET, s->fd,
        MHD_OPTION_NOTIFY_CONNECTION, http_on_connection, s, MHD_OPTION_URI_LOG_CALLBACK, http_request_begin,
        s, MHD_OPTION_NOTIFY_COMPLETED, http_request_end, s, MHD_OPTION_CONNECTION_LIMIT,
        s->set.connections_max + LEAVING_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, s->set.header_max,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, s->cert ? tls : none, MHD_OPTION_END);
}

bool http_server_start(struct http_server *s, char **error)
{
    assert(!s->daemon);
    s->daemon = http_daemon(s);
    wipe_free(&s->key);
    if (!s->daemon) {
        *error = xasprintf("%s: can't serve%s", s->address,
                           s->cert ? " (are certificate and key a pair, in PEM?)" : "");
        return false;
    }
    s->fd = -1;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    assert(info);
    int rc = uv_poll_init(&s->loop->uv, &s->poll, info->epoll_fd);
    s->polls = rc == 0;
    if (rc == 0)
        rc = uv_poll_start(&s->poll, UV_READABLE, http_on_ready);
    if (rc != 0) {
        *error = xasprintf("%s: %s", s->address, uv_strerror(rc));
        return false;
    }
    char *text = xasprintf("listening on %s", s->address);
    LOG(INFO, "listening", LOG_S("text", text));
    free(text);
    http_server_kick(s);
    return true;
}

/* ---- binding ---- */

static bool http_failed(const struct http_settings *set, const char *what, char **error)
{
    *error = xasprintf("%s: %s: %s", set->listen, what, strerror(errno));
    return false;
}

/* SO_REUSEPORT, which lets a successor bind, lets anybody of our user do so: a socket without it tells. */
static bool http_is_free(const struct sockaddr *a, socklen_t len)
{
    int on = 1, fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok =
        fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 && bind(fd, a, len) == 0;
    int e = errno;

    if (fd >= 0)
        close(fd);
    errno = e;
    return ok;
}

static bool http_bind_to(struct http_server *s, const struct sockaddr *a, socklen_t len)
{
    int on = 1, off = 0;

    s->fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return s->fd >= 0 &&
           (a->sa_family == AF_UNIX || (setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                                        setsockopt(s->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0)) &&
           (a->sa_family != AF_INET6 ||
            setsockopt(s->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
           bind(s->fd, a, len) == 0 && listen(s->fd, BACKLOG) == 0;
}

static bool http_bind_tcp(struct http_server *s, const struct http_settings *set, char **error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *found = NULL;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name;
    socklen_t len = sizeof name;
    char port[8];

    snprintf(port, sizeof port, "%u", s->listen.port);
    int rc = getaddrinfo(s->listen.host, port, &hints, &found);
    if (rc != 0) {
        *error = xasprintf("%s: %s", set->listen, gai_strerror(rc));
        return false;
    }
    bool ok = (set->beside || http_is_free(found->ai_addr, found->ai_addrlen)) &&
              http_bind_to(s, found->ai_addr, found->ai_addrlen) && getsockname(s->fd, &name.any, &len) == 0;
    freeaddrinfo(found);
    if (!ok)
        return http_failed(set, "can't listen", error);
    s->listen.port = ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
    return true;
}

/* A file that a killed process left behind may be replaced, the socket of one that lives may not. */
static bool http_somebody_listens(const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof *a) == 0;

    if (fd >= 0)
        close(fd);
    return yes;
}

static void http_unlink(const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path);
}

/* A successor may have put its own there. */
static void http_unlink_own(const struct http_server *s)
{
    struct stat st;

    if (s->ino && lstat(s->listen.path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
        unlink(s->listen.path);
}

static bool http_bind_unix(struct http_server *s, const struct http_settings *set, char **error)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    assert(strlen(s->listen.path) < sizeof a.sun_path); /* address_parse() has looked */
    memcpy(a.sun_path, s->listen.path, strlen(s->listen.path) + 1);
    if (!set->beside && http_somebody_listens(&a)) {
        errno = EADDRINUSE;
        return http_failed(set, "can't listen", error);
    }
    http_unlink(s->listen.path);
    struct stat st;
    if (!http_bind_to(s, (const struct sockaddr *)&a, sizeof a) || lstat(a.sun_path, &st) != 0)
        return http_failed(set, "can't listen", error);
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    return true;
}

static char *http_read_pem(const char *file, char **error)
{
    FILE *f = file ? fopen(file, "re") : NULL;
    char *text = xcalloc(PEM_MAX + 1, 1);
    size_t n = f ? fread(text, 1, PEM_MAX, f) : 0;

    if (n == 0)
        *error = xasprintf("%s: %s", file ? file : "no certificate or key is named for https",
                           f || !file ? "nothing to read there" : strerror(errno));
    if (f)
        fclose(f);
    char *pem = n ? xstrdup(text) : NULL;
    wipe(text, PEM_MAX);
    free(text);
    return pem;
}

static bool http_read_certificate(struct http_server *s, const struct http_settings *set, char **error)
{
    s->cert = http_read_pem(set->cert_file, error);
    s->key = s->cert ? http_read_pem(set->key_file, error) : NULL;
    return s->key != NULL;
}

/* ---- start and end ---- */

static void http_defaults(struct http_settings *set)
{
    set->listen = set->cert_file = set->key_file = NULL; /* were borrowed */
    set->connections_max = set->connections_max ? set->connections_max : 64;
    set->connections_per_address = set->connections_per_address ? set->connections_per_address : 32;
    set->header_max = set->header_max ? set->header_max : 16 * 1024;
    set->body_max = set->body_max ? set->body_max : 64 * 1024;
    set->stream_max = set->stream_max ? set->stream_max : 256 * 1024;
    set->streams_max = set->streams_max ? set->streams_max : 16;
    set->beat_ms = set->beat_ms ? set->beat_ms : 15 * 1000;
    set->idle_ms = set->idle_ms ? set->idle_ms : 60 * 1000;
    set->request_ms = set->request_ms ? set->request_ms : 30 * 1000;
}

struct http_server *http_server_new(struct loop *l, const struct http_settings *set, char **error)
{
    struct address a;

    if (!address_parse(set->listen, &a, error))
        return NULL;
    struct http_server *s = xcalloc(1, sizeof *s);
    s->loop = l;
    s->set = *set;
    s->listen = a;
    s->fd = -1;
    s->kick.fn = http_on_kick;
    LIST_INIT(&s->clients);
    s->timer = timer_new(l, http_on_timer, s);
    http_defaults(&s->set);
    bool ok = a.scheme != ADDRESS_HTTPS || http_read_certificate(s, set, error);
    ok = ok && (a.path ? http_bind_unix(s, set, error) : http_bind_tcp(s, set, error));
    if (!ok) {
        http_server_free(&s);
        return NULL;
    }
    s->address = address_text(&s->listen);
    return s;
}

void http_server_route(struct http_server *s, const char *method, const char *path, http_handler_fn fn,
                       void *owner)
{
    assert(!s->daemon);
    s->routes = xreallocarray(s->routes, s->n_routes + 1, sizeof *s->routes);
    s->routes[s->n_routes++] = (struct http_route){.method = method, .path = path, .fn = fn, .owner = owner};
}

void http_server_allow_large(struct http_server *s, const char *method, const char *path, size_t max,
                             http_large_fn fn, void *owner)
{
    for (size_t i = 0; i < s->n_routes; i++) {
        struct http_route *route = &s->routes[i];
        if (strcmp(route->method, method) || strcmp(route->path, path))
            continue;
        route->large_max = max;
        route->large = fn;
        route->large_owner = owner;
    }
}

const char *http_server_address(const struct http_server *s)
{
    return s->address;
}

static void http_server_on_close(uv_handle_t *handle)
{
    free(CONTAINER_OF((uv_poll_t *)(void *)handle, struct http_server, poll));
}

static void http_server_stop(struct http_server *s)
{
    struct http_client *c;

    LIST_FOREACH(c, &s->clients, link)
    if (c->request)
        http_request_drop(c->request);
    if (s->polls)
        uv_poll_stop(&s->poll);
    if (s->daemon)
        MHD_stop_daemon(s->daemon); /* ends all connections, and closes the socket */
    if (s->fd >= 0)
        close(s->fd);
    loop_undefer(s->loop, &s->kick);
    timer_free(&s->timer);
}

void http_server_free(struct http_server **sp)
{
    struct http_server *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    http_server_stop(s);
    http_unlink_own(s);
    address_free(&s->listen);
    free(s->address);
    free(s->cert);
    wipe_free(&s->key);
    free(s->routes);
    if (s->polls)
        uv_close((uv_handle_t *)&s->poll, http_server_on_close);
    else
        free(s);
}
