#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "dial.h"
#include "xalloc.h"

/* A question to the resolver. It can't always be called back, so it lives on its own and a late answer finds
 * no dial. */
struct lookup {
    uv_getaddrinfo_t req;
    struct dial *d; /* NULL: nobody waits any more */
};

struct dial {
    struct loop *loop;
    enum address_scheme scheme;
    char *host, *path; /* owned */
    uint16_t port;
    struct tls_policy *policy; /* borrowed */
    struct stream_limits limits;
    struct buf first; /* bytes that each connection begins with; owned */
    dial_fn fn;
    void *owner; /* borrowed */
    uint64_t ends_ms;
    struct timer *timer;
    struct lookup *lookup;
    struct sockaddr_storage *addrs; /* owned; to be tried in this order */
    size_t n_addrs, next;
    struct stream *s; /* the attempt under way; owned */
    bool shaking;     /* ... is in its TLS handshake */
    char trying[80];  /* for a text */
    enum dial_rc rc;  /* of the failures so far: TLS_FAILED tells more than the others and stays */
    char *detail;     /* owned */
};

static void forget_lookup(struct dial *d)
{
    if (!d->lookup)
        return;
    d->lookup->d = NULL;
    uv_cancel((uv_req_t *)&d->lookup->req);
    d->lookup = NULL;
}

static void dial_free(struct dial *d)
{
    forget_lookup(d);
    stream_close(&d->s, false);
    timer_free(&d->timer);
    buf_free(&d->first);
    free(d->addrs);
    free(d->host);
    free(d->path);
    free(d->detail);
    free(d);
}

/* The one exit: the dial is gone when the owner hears of it. */
static void dial_finish(struct dial *d, enum dial_rc rc)
{
    dial_fn fn = d->fn;
    void *owner = d->owner;
    struct stream *s = NULL;
    char *detail = d->detail ? d->detail : xstrdup("");
    d->detail = NULL;
    if (rc == DIAL_OK) {
        s = d->s;
        d->s = NULL;
        stream_deadline(s, 0);
    }
    dial_free(d);
    fn(owner, rc, s, detail);
    free(detail);
}

static bool wants_tls(const struct dial *d)
{
    return d->scheme == ADDRESS_IMAPS || d->scheme == ADDRESS_REDISS;
}

/* Takes detail. */
static void dial_note_failure(struct dial *d, enum dial_rc rc, char *detail)
{
    if (d->detail && d->rc == DIAL_TLS_FAILED && rc != DIAL_TLS_FAILED) {
        free(detail);
        return;
    }
    free(d->detail);
    d->detail = detail;
    d->rc = rc;
}

static void try_next(struct dial *d);

static void attempt_failed(struct dial *d, enum dial_rc rc, const char *why)
{
    dial_note_failure(d, rc, xasprintf("%s: %s", d->trying, why));
    stream_close(&d->s, false);
    try_next(d);
}

/* The TCP connection is there, and the handshake is not answered: who does not speak TLS may wait for a whole
 * command. */
static const char *late_text(const struct dial *d)
{
    return d->shaking
               ? "no answer to the TLS handshake in time: see whether this port speaks TLS from its first byte"
               : "no answer in time";
}

static void dial_stream_event(struct stream *s, enum stream_event ev, void *owner)
{
    struct dial *d = owner;
    switch (ev) {
    case STREAM_CONNECTED:
        if (d->first.len > 0)
            stream_send(s, buf_span(&d->first).p, d->first.len);
        d->shaking = wants_tls(d);
        if (d->shaking)
            stream_secure(s, d->policy, d->host);
        else
            dial_finish(d, DIAL_OK);
        break;
    case STREAM_SECURE:
        dial_finish(d, DIAL_OK);
        break;
    case STREAM_TIMEOUT:
        attempt_failed(d, DIAL_TIMEOUT, late_text(d));
        break;
    case STREAM_ERROR:
        attempt_failed(d, stream_error_is_tls(s) ? DIAL_TLS_FAILED : DIAL_UNREACHABLE, stream_error(s));
        break;
    case STREAM_DATA:
    case STREAM_DRAINED:
    case STREAM_EOF:
        break; /* nothing of these comes before the dial is over */
    }
}

static void name_attempt(struct dial *d, const struct sockaddr *addr)
{
    char ip[INET6_ADDRSTRLEN] = "?";
    if (addr->sa_family == AF_INET6) {
        uv_ip6_name((const struct sockaddr_in6 *)addr, ip, sizeof(ip));
        snprintf(d->trying, sizeof(d->trying), "[%s]:%u", ip, d->port);
    } else {
        uv_ip4_name((const struct sockaddr_in *)addr, ip, sizeof(ip));
        snprintf(d->trying, sizeof(d->trying), "%s:%u", ip, d->port);
    }
}

static uint64_t ms_left(const struct dial *d)
{
    uint64_t now = clock_boot_ms();
    return d->ends_ms > now ? d->ends_ms - now : 1;
}

static void try_next(struct dial *d)
{
    if (d->next == d->n_addrs) {
        dial_finish(d, d->rc);
        return;
    }
    uint64_t share = ms_left(d) / (d->n_addrs - d->next);
    const struct sockaddr *addr = (const struct sockaddr *)&d->addrs[d->next++];
    name_attempt(d, addr);
    d->shaking = false;
    d->s = stream_connect(d->loop, addr, &d->limits, dial_stream_event, d);
    stream_deadline(d->s, share > 0 ? share : 1);
}

static void keep_addresses(struct dial *d, const struct addrinfo *list)
{
    enum { MOST = 16 }; /* a name with more is somebody's joke */
    d->addrs = xcalloc(MOST, sizeof(*d->addrs));
    for (; list && d->n_addrs < MOST; list = list->ai_next) {
        if (list->ai_family == AF_INET || list->ai_family == AF_INET6)
            memcpy(&d->addrs[d->n_addrs++], list->ai_addr, list->ai_addrlen);
    }
}

static void lookup_done(struct dial *d, int status, const struct addrinfo *list)
{
    d->lookup = NULL;
    if (status == 0)
        keep_addresses(d, list);
    if (d->n_addrs == 0)
        dial_note_failure(
            d, DIAL_UNREACHABLE,
            xasprintf("%s: the name can't be resolved (%s): see how it is spelled, and this host's DNS",
                      d->host, status != 0 ? uv_strerror(status) : "it has no address"));
    try_next(d);
}

static void on_getaddrinfo(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct lookup *k = CONTAINER_OF(req, struct lookup, req);
    if (k->d)
        lookup_done(k->d, status, list);
    uv_freeaddrinfo(list);
    free(k);
}

static void look_up(struct dial *d)
{
    char port[8];
    snprintf(port, sizeof(port), "%u", d->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    d->lookup = xcalloc(1, sizeof(*d->lookup));
    d->lookup->d = d;
    int rc = uv_getaddrinfo(&d->loop->uv, &d->lookup->req, on_getaddrinfo, d->host, port, &hints);
    if (rc == 0)
        return;
    /* A name that can't even be asked for; dial_start() may not call back, so the timer does, at once. */
    free(d->lookup);
    d->lookup = NULL;
    dial_note_failure(d, DIAL_UNREACHABLE, xasprintf("%.100s: %s", d->host, uv_strerror(rc)));
    timer_start(d->timer, 0);
}

static void dial_timeout(void *owner)
{
    struct dial *d = owner;
    if (d->lookup)
        dial_note_failure(d, DIAL_TIMEOUT, xasprintf("%s: the resolver gave no answer in time", d->host));
    else if (d->s)
        dial_note_failure(d, DIAL_TIMEOUT, xasprintf("%s: %s", d->trying, late_text(d)));
    dial_finish(d, d->rc);
}

static bool literal_address(struct dial *d)
{
    struct sockaddr_storage a = {0};
    if (uv_ip4_addr(d->host, d->port, (struct sockaddr_in *)&a) != 0 &&
        uv_ip6_addr(d->host, d->port, (struct sockaddr_in6 *)&a) != 0)
        return false;
    d->addrs = xcalloc(1, sizeof(a));
    d->addrs[0] = a;
    d->n_addrs = 1;
    return true;
}

static void start_unix(struct dial *d)
{
    snprintf(d->trying, sizeof(d->trying), "%s", d->path);
    d->s = stream_connect_unix(d->loop, d->path, &d->limits, dial_stream_event, d);
}

struct dial *dial_start(struct loop *l, const struct address *address, struct tls_policy *policy,
                        const struct stream_limits *limits, uint64_t timeout_ms, dial_fn fn, void *owner)
{
    struct dial *d = xcalloc(1, sizeof(*d));
    *d = (struct dial){.loop = l,
                       .scheme = address->scheme,
                       .host = xstrdup(address->host),
                       .path = xstrdup(address->path),
                       .port = address->port,
                       .policy = policy,
                       .limits = *limits,
                       .fn = fn,
                       .owner = owner,
                       .ends_ms = clock_boot_ms() + timeout_ms,
                       .rc = DIAL_UNREACHABLE};
    assert(policy || !wants_tls(d));
    d->timer = timer_new(l, dial_timeout, d);
    timer_start(d->timer, timeout_ms);
    if (d->scheme == ADDRESS_IMAP_UNIX || d->scheme == ADDRESS_REDIS_UNIX)
        start_unix(d);
    else if (literal_address(d))
        try_next(d);
    else
        look_up(d);
    return d;
}

void dial_begin_with(struct dial *d, struct span bytes)
{
    buf_add_span(&d->first, bytes);
}

void dial_cancel(struct dial **d)
{
    if (*d)
        dial_free(*d);
    *d = NULL;
}
