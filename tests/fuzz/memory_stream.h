/* memory_stream: lib/stream.h without a socket, for targets that play a session of the proxy. What a peer sends is put there by
 * memory_give(), what the session sends is in out. Nothing calls back by itself: the target runs the session while again is set. */
#ifndef IMAPFERRY_MEMORY_STREAM_H
#define IMAPFERRY_MEMORY_STREAM_H

#include "lib/stream.h"

#include "fuzz.h"

struct stream {
    uint8_t *mem; /* unread, and no byte more; owned */
    size_t len, off;
    struct buf out;
    size_t unsent, high_water; /* what the peer has not taken */
    bool paused, again, secure, compressed, closed;
    bool dead; /* nothing may be sent any more */
};

/* Unread bytes, and these behind them. */
static inline void memory_give(struct stream *s, struct span more)
{
    size_t left = s->len - s->off;
    uint8_t *mem = xmalloc(left + more.len);
    if (left > 0)
        memcpy(mem, s->mem + s->off, left);
    if (more.len > 0)
        memcpy(mem + left, more.p, more.len);
    free(s->mem);
    s->mem = mem;
    s->len = left + more.len;
    s->off = 0;
    s->again = true;
}

static inline void memory_free(struct stream *s)
{
    free(s->mem);
    buf_free(&s->out);
    *s = (struct stream){0};
}

struct span stream_peek(const struct stream *s)
{
    return span_of(s->mem ? s->mem + s->off : NULL, s->len - s->off);
}

void stream_eat(struct stream *s, size_t n)
{
    MUST(n <= s->len - s->off);
    s->off += n;
}

void stream_send(struct stream *s, const void *bytes, size_t len)
{
    MUST(!s->dead);
    buf_add(&s->out, bytes, len);
    s->unsent += len;
}

bool stream_full(const struct stream *s)
{
    return s->high_water > 0 && s->unsent > s->high_water;
}

size_t stream_unsent(const struct stream *s)
{
    return s->unsent;
}

void stream_again(struct stream *s)
{
    s->again = true;
}

void stream_pause(struct stream *s)
{
    s->paused = true;
}

void stream_resume(struct stream *s)
{
    s->paused = false;
    s->again = true;
}

void stream_cork(struct stream *s)
{
    (void)s;
}

void stream_uncork(struct stream *s)
{
    (void)s;
}

bool stream_is_secure(const struct stream *s)
{
    return s->secure;
}

void stream_secure(struct stream *s, struct tls_policy *policy, const char *name)
{
    (void)policy, (void)name;
    MUST(!s->secure && s->len == s->off); /* nothing that came in clear */
    s->secure = true;
}

void stream_compress(struct stream *s)
{
    MUST(!s->compressed && s->len == s->off);
    s->compressed = true;
}

void stream_set_limits(struct stream *s, const struct stream_limits *limits)
{
    s->high_water = limits->high_water;
}

void stream_without_secrets(struct stream *s)
{
    (void)s;
}

void stream_close(struct stream **s, bool flush)
{
    (void)flush;
    if (*s)
        (*s)->closed = true;
    *s = NULL;
}

const char *stream_error(const struct stream *s)
{
    (void)s;
    return "";
}

const char *stream_peer(const struct stream *s)
{
    (void)s;
    return "127.0.0.1:4711";
}

const char *stream_peer_ip(const struct stream *s)
{
    (void)s;
    return "127.0.0.1";
}

uint16_t stream_peer_port(const struct stream *s)
{
    (void)s;
    return 4711;
}

bool stream_local(const struct stream *s, char ip[INET6_ADDRSTRLEN], uint16_t *port_r)
{
    (void)s, (void)ip, (void)port_r;
    return false;
}

/* Sizes of the pieces in which the network brings what was sent: always the same ones for the same seed; 0: all at once. */
static inline struct span memory_piece(struct span *in, uint32_t *seed)
{
    size_t n = in->len;
    if (*seed) {
        *seed = *seed * 1664525u + 1013904223u;
        n = *seed >> 28 ? *seed >> 29 : 1;
        n = n == 0 ? 1 : n > in->len ? in->len : n;
    }
    struct span piece = span_of(in->p, n);
    *in = span_of(in->p + n, in->len - n);
    return piece;
}

#endif
