#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "dial.h"
#include "lookup.h"
#include "xalloc.h"

struct dial {
    struct loop *loop;
    enum address_scheme scheme;
    char *host, *path; /* owned */
    char *name;        /* that the certificate has to be for; owned; NULL: the host */
    uint16_t port;
    struct tls_policy *policy; /* borrowed */
    struct stream_limits limits;
    struct buf first; /* bytes that each connection begins with; owned */
    bool *connected;  /* borrowed; NULL: nobody asks */
    dial_fn fn;
    void *owner; /* borrowed */
    uint64_t ends_ms;
    struct timer *timer;
    struct lookup *lookup;
    struct sockaddr_storage *addrs; /* owned; to be tried in this order */
    size_t n_addrs, next;
    struct stream *s; /* the attempt under way; owned */
    bool shaking;     /* ... is in its TLS handshake */
    char trying[120]; /* for a text: LOOKUP_TEXT_SIZE, or a path */
    enum dial_rc rc;  /* of the failures so far: TLS_FAILED tells more than the others and stays */
    char *detail;     /* owned */
};

static void dial_free(struct dial *d)
{
    lookup_cancel(&d->lookup);
    stream_close(&d->s, false);
    timer_free(&d->timer);
    buf_free(&d->first);
    free(d->addrs);
    free(d->host);
    free(d->name);
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
    return scheme_begins_with_tls(d->scheme);
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

static enum dial_rc dial_rc_of(const struct stream *s)
{
    if (stream_error_is_tls(s))
        return DIAL_TLS_FAILED;
    return stream_error_is_ours(s) ? DIAL_OURS : DIAL_UNREACHABLE;
}

static void dial_stream_event(struct stream *s, enum stream_event ev, void *owner)
{
    struct dial *d = owner;
    switch (ev) {
    case STREAM_CONNECTED:
        if (d->connected)
            *d->connected = true;
        if (d->first.len > 0)
            stream_send(s, buf_span(&d->first).p, d->first.len);
        d->shaking = wants_tls(d);
        if (d->shaking)
            stream_secure(s, d->policy, d->name ? d->name : d->host);
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
        attempt_failed(d, dial_rc_of(s), stream_error(s));
        break;
    case STREAM_DATA:
    case STREAM_DRAINED:
    case STREAM_EOF:
        break; /* nothing of these comes before the dial is over */
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
    const struct sockaddr_storage *addr = &d->addrs[d->next++];
    lookup_text(addr, d->trying);
    d->shaking = false;
    d->s = stream_connect(d->loop, (const struct sockaddr *)addr, &d->limits, dial_stream_event, d);
    stream_deadline(d->s, share > 0 ? share : 1);
}

static void keep_addresses(struct dial *d, const struct sockaddr_storage *addrs, size_t n)
{
    d->addrs = xcalloc(n, sizeof(*d->addrs));
    memcpy(d->addrs, addrs, n * sizeof(*d->addrs));
    d->n_addrs = n;
}

static void on_looked_up(void *owner, int status, const struct sockaddr_storage *addrs, size_t n)
{
    struct dial *d = owner;
    d->lookup = NULL;
    if (n > 0)
        keep_addresses(d, addrs, n);
    else
        dial_note_failure(d, DIAL_UNREACHABLE, dial_unresolved_text(d->host, status));
    try_next(d);
}

static void look_up(struct dial *d)
{
    int status;
    d->lookup = lookup_start(d->loop, d->host, d->port, on_looked_up, d, &status);
    if (d->lookup)
        return;
    /* dial_start() may not call back, so the timer does, at once. */
    dial_note_failure(d, DIAL_UNREACHABLE, xasprintf("%.100s: %s", d->host, uv_strerror(status)));
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

static bool dial_is_literal(struct dial *d)
{
    struct sockaddr_storage a;
    if (!lookup_literal(d->host, d->port, &a))
        return false;
    keep_addresses(d, &a, 1);
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
    return dial_start_at(l, address, NULL, policy, limits, timeout_ms, fn, owner);
}

struct dial *dial_start_at(struct loop *l, const struct address *address, const struct sockaddr_storage *at,
                           struct tls_policy *policy, const struct stream_limits *limits, uint64_t timeout_ms,
                           dial_fn fn, void *owner)
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
    if (at)
        keep_addresses(d, at, 1);
    if (d->scheme == ADDRESS_IMAP_UNIX || d->scheme == ADDRESS_REDIS_UNIX)
        start_unix(d);
    else if (at || dial_is_literal(d))
        try_next(d);
    else
        look_up(d);
    return d;
}

void dial_begin_with(struct dial *d, struct span bytes)
{
    buf_add_span(&d->first, bytes);
}

void dial_expect_name(struct dial *d, const char *name)
{
    free(d->name);
    d->name = xstrdup(name);
}

void dial_note_connected(struct dial *d, bool *connected)
{
    d->connected = connected;
}

char *dial_unresolved_text(const char *host, int status)
{
    return xasprintf("%s: the name can't be resolved (%s): see how it is spelled, and this host's DNS", host,
                     status != 0 ? uv_strerror(status) : "it has no address");
}

void dial_cancel(struct dial **d)
{
    if (*d)
        dial_free(*d);
    *d = NULL;
}
