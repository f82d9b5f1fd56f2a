#include <stdio.h>
#include <stdlib.h>

#include "lib/cidr.h"
#include "lib/xalloc.h"

#include "peer.h"
#include "proxy.h"

static bool peer_is_trusted(const struct session *s)
{
    const struct conf_list *l = &s->proxy->conf->proxy.trusted;
    return !*s->peer_ip || cidr_any(l->items, l->n, s->peer_ip);
}

static bool peer_is_loopback(const char *ip)
{
    return strncmp(ip, "127.", 4) == 0 || strcmp(ip, "::1") == 0;
}

void peer_of_connection(struct session *s)
{
    s->peer = xstrdup(stream_peer(s->client));
    s->peer_ip = xstrdup(stream_peer_ip(s->client));
    s->peer_port = stream_peer_port(s->client);
    s->is_local = peer_is_loopback(s->peer_ip);
    s->is_trusted = peer_is_trusted(s);
}

/* Somebody else than who has connected. */
static void peer_name(struct session *s, const char *ip, uint16_t port)
{
    free(s->peer);
    free(s->peer_ip);
    s->peer = xasprintf(strchr(ip, ':') ? "[%s]:%u" : "%s:%u", ip, port);
    s->peer_ip = xstrdup(ip);
    s->peer_port = port;
    s->via = stream_peer(s->client);
}

enum proxyproto_rc peer_read_header(struct session *s, const char **why)
{
    struct proxyproto h;
    enum proxyproto_rc rc = proxyproto_read(stream_peek(s->client), &h, why);
    if (rc != PROXYPROTO_DONE)
        return rc;
    stream_eat(s->client, h.len);
    if (!h.tells)
        return rc;
    peer_name(s, h.ends.from.ip, h.ends.from.port);
    s->came_to = xmalloc(sizeof *s->came_to);
    *s->came_to = h.ends.to;
    s->is_local = s->is_local && peer_is_loopback(s->peer_ip);
    s->is_trusted = peer_is_trusted(s);
    return rc;
}

void peer_take_id(struct session *s, struct span text, uint16_t port)
{
    char ip[CIDR_IP_SIZE];
    if (!cidr_read_ip(text, ip))
        return;
    peer_name(s, ip, port);
    crowd_leave(&s->proxy->crowd, s);
    if (!crowd_enter(&s->proxy->crowd, s))
        session_close(s, END_CROWD, NULL);
}

bool peer_is_many(const struct session *s)
{
    return !*s->peer_ip || (s->is_trusted && !*s->via);
}

bool peer_ends(const struct session *s, struct proxyproto_ends *_r)
{
    struct proxyproto_ends e = {.from = {.port = s->peer_port}};
    if (!*s->peer_ip)
        return false;
    snprintf(e.from.ip, sizeof e.from.ip, "%s", s->peer_ip);
    if (s->came_to)
        e.to = *s->came_to;
    else if (!stream_local(s->client, e.to.ip, &e.to.port))
        e.to = (struct proxyproto_end){0};
    *_r = e;
    return true;
}
