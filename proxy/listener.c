#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "listener.h"
#include "proxy.h"

enum { BACKLOG = 4096 };

static bool listener_is_in(const struct conf_list *urls, const char *url)
{
    for (size_t i = 0; i < urls->n; i++)
        if (strcmp(urls->items[i], url) == 0)
            return true;
    return false;
}

void listener_open(struct listener *l, struct proxy *p, const char *url, int socket)
{
    struct address a;
    char *error = NULL;
    l->proxy = p;
    if (!address_parse(url, &a, &error)) { /* conf_check() took it */
        free(error);
        close(socket);
        return;
    }
    l->scheme = a.scheme;
    l->proxy_protocol = a.proxy_protocol;
    l->asks = conf_asks_clients(&p->conf->proxy, url);
    l->local = a.path != NULL;
    l->delivery = l->scheme == ADDRESS_INET || l->scheme == ADDRESS_REDIS_UNIX;
    l->lmtp = l->delivery && listener_is_in(&p->conf->lmtp.listen, url);
    address_free(&a);
    int rc;
    if (l->local) {
        uv_pipe_init(&p->loop->uv, &l->uv.pipe, 0);
        rc = uv_pipe_open(&l->uv.pipe, socket);
    } else {
        uv_tcp_init(&p->loop->uv, &l->uv.tcp);
        rc = uv_tcp_open(&l->uv.tcp, socket);
    }
    l->open = true;
    if (!l->local && rc == 0)
        rc = uv_tcp_nodelay(&l->uv.tcp, 1); /* for all that are accepted */
    if (rc != 0)
        LOG(ERROR, "listen_failed", LOG_S("address", url), LOG_S("detail", uv_strerror(rc)));
}

static void listener_take(struct listener *l)
{
    if (l->lmtp)
        lmtp_accept(l->proxy->lmtp, &l->uv.stream);
    else if (l->delivery)
        socketmap_accept(l->proxy->socketmap, &l->uv.stream);
    else
        session_accept(l);
}

static void take_next(struct listener *l)
{
    struct proxy *p = l->proxy;
    l->waiting = !proxy_may_accept(p) || !proxy_has_room(p);
    if (!l->waiting)
        listener_take(l);
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

/* A connection that is taken from the kernel's queue already is told its BYE like the others. */
void listener_close(struct listener *l)
{
    if (l->open && l->waiting)
        listener_take(l);
    if (l->open)
        uv_close(&l->uv.handle, NULL);
    l->open = false;
}
