/* stream: one ordered byte connection: TCP or a UNIX socket at first, TLS from stream_secure() on.
 *
 * One callback receives everything. It may call any stream_ function, stream_close() too; it is never called
 * from inside a stream_ function, and never after stream_close() returned. Errors of a call are reported by
 * event.
 *
 *   STREAM_CONNECTED  after stream_connect_*()
 *   STREAM_SECURE     the handshake is done and the peer's name verified
 *   STREAM_DATA       there are unread bytes: stream_peek(), stream_eat(). What is not eaten is kept (copied
 *                     out of the loop's buffer) and given again together with what comes next, or at once
 *                     after stream_resume() or stream_again(). The stream stops reading by itself while more
 *                     than high_water bytes are unread.
 *   STREAM_DRAINED    the queue of unsent bytes, once above high_water, has fallen to a quarter of it
 *   STREAM_EOF        the peer sends no more (all data were given before). Sending goes on.
 *   STREAM_TIMEOUT    the deadline set with stream_deadline() passed
 *   STREAM_ERROR      broken; stream_error() says how. Only stream_close() is left to do.
 *
 *   In what phase        reads                                      ends
 *   connecting           no                                         CONNECTED, ERROR
 *   handshake            always (also while paused)                 SECURE, ERROR
 *   open                 unless paused, over high_water or at EOF;  stream_close()
 *                        256 KiB in a round of the loop
 *   closing with flush   yes, and throws the bytes away, so that    all is sent, and the peer has closed too
 *                        the peer gets what we sent, no reset       or a second went by; flush_ms at most
 *
 * Memory: an idle stream holds no buffers. It takes 1 KiB; with TLS about 15 KiB as server, and 20 KiB as
 * client, which keeps the peer's certificates. Bytes in a write belong to the write until its callback.
 * Closing is two-phase: stream_close() stops and unlinks at once, the memory goes with the last uv handle.
 *
 * A peer that has vanished while nothing is sent is noticed after five minutes (keepalive.h): STREAM_ERROR.
 * There is no keepalive while the stream has a silence_ms.
 *
 * Secrets: buffers that hold plaintext are overwritten once the bytes went on (the loop's shared ones and
 * those of TLS after each callback, the stream's own when their bytes were eaten and when they are freed),
 * until stream_without_secrets() says that what comes now is mail. Bytes that TLS has encrypted are not
 * overwritten. */
#ifndef IMAPFERRY_STREAM_H
#define IMAPFERRY_STREAM_H

#include "loop.h"
#include "tls.h"

struct stream;
enum stream_event {
    STREAM_CONNECTED,
    STREAM_SECURE,
    STREAM_DATA,
    STREAM_DRAINED,
    STREAM_EOF,
    STREAM_TIMEOUT,
    STREAM_ERROR
};
typedef void (*stream_fn)(struct stream *s, enum stream_event ev, void *owner);

struct stream_limits {
    /* In bytes: with more unread bytes than this, the stream stops reading; with more unsent ones,
     * stream_full() is true. As TLS server it also stops reading with more than twice as many unsent, since
     * TLS sends by itself what it answers to a client (key updates). */
    size_t high_water;
    size_t queue_max;  /* in bytes: more unsent ones than this are STREAM_ERROR */
    uint64_t flush_ms; /* how long stream_close() with flush may go on sending; 0 = 5 s */
    /* These two are for an owner that must not be heard any more once it is gone (TCP alone). silence_ms, 0 =
     * as the system has it: the connection ends where the peer's system has not taken bytes for so long
     * (TCP_USER_TIMEOUT, RFC 5482), even if this process is stopped or gone by then. abortive: a connection
     * that is closed without flush, or by the end of the process, is reset (SO_LINGER of 0): what the kernel
     * holds is dropped and not sent any more. */
    uint64_t silence_ms;
    bool abortive;
};

/* Takes the next connection of a listening handle (uv_tcp_t or uv_pipe_t) of this loop; NULL where accept
 * fails. Reading starts at once. TCP_NODELAY is as the listening socket has it (tcp(7)), which saves a call for each. */
struct stream *stream_accept(struct loop *l, uv_stream_t *listener, const struct stream_limits *limits,
                             stream_fn fn, void *owner);
/* Ends in STREAM_CONNECTED or STREAM_ERROR. */
struct stream *stream_connect(struct loop *l, const struct sockaddr *addr, const struct stream_limits *limits,
                              stream_fn fn, void *owner);
struct stream *stream_connect_unix(struct loop *l, const char *path, const struct stream_limits *limits,
                                   stream_fn fn, void *owner);

/* Other limits than it was made with; flush_ms too. */
void stream_set_limits(struct stream *s, const struct stream_limits *limits);

/* Says that this is the stream of a stranger: bytes are read, and a handshake is begun, when it is its turn
 * in this line (turns.h), a few KiB at a time; unread bytes are given again when it is its turn. line must
 * live until the stream is closed, or until this is called with NULL, which ends the waiting. */
void stream_wait_in(struct stream *s, struct turn_line *line);

/* Starts TLS, as client (name, a DNS name or an IP address, is verified against the certificate) or as server
 * (name is NULL). Ends in STREAM_SECURE or STREAM_ERROR. Bytes that are unread or unsent at this moment are
 * an attack or a bug (RFC 3501 11.1): STREAM_ERROR. The policy must live as long as the stream. */
void stream_secure(struct stream *s, struct tls_policy *policy, const char *name);
/* The same as server, where bytes that are no TLS had to come first (a PROXY header): those that are still
 * unread are the beginning of the client's handshake. */
void stream_secure_behind(struct stream *s, struct tls_policy *policy);
bool stream_is_secure(const struct stream *s);
/* Who the peer is by its certificate: of a server, where tls_policy_server_asking() has it ask, for SASL
 * EXTERNAL say (RFC 4422 appendix A). False: it has shown none that is believed. _r is to be freed. */
bool stream_peer_certificate(const struct stream *s, struct tls_peer *_r) MUST_CHECK;

/* Starts COMPRESS=DEFLATE (RFC 4978) in both directions, over TLS where there is TLS. Unread bytes are taken
 * as compressed. Nothing may be corked. Bytes that can't be unpacked are STREAM_ERROR; the end of the
 * peer's compressed data is its STREAM_EOF. The limits hold for unpacked bytes: high_water, pause and the
 * buffers work as before, and no more than 256 KiB of them are given in a round of the loop, however few
 * bytes they came from. Of what waits to be sent the packed bytes count. What it costs in memory: deflate.h;
 * 3 KiB for a peer that has said little. */
void stream_compress(struct stream *s);

/* From here on the bytes are mail: buffers over 16 KiB are not overwritten any more. To be called after the
 * login. */
void stream_without_secrets(struct stream *s);

/* Hands the stream to a new owner. Bytes that are still unread are given to it soon, as by stream_again(). */
void stream_set_owner(struct stream *s, stream_fn fn, void *owner);

/* The unread bytes, borrowed until the callback returns; eat them with stream_eat(). Bytes stay valid after
 * stream_eat() until the callback returns. */
struct span stream_peek(const struct stream *s);
void stream_eat(struct stream *s, size_t n);
/* Has unread bytes, if there are any, given soon in a STREAM_DATA of their own. */
void stream_again(struct stream *s);
/* No more STREAM_DATA (and, after at most one more read, no more reading) until stream_resume(). */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);

/* Sends what the kernel takes at once and keeps a copy of the rest. After an error it does nothing. During
 * connecting and handshake it keeps all, and nothing of it goes out if these fail. */
void stream_send(struct stream *s, const void *bytes, size_t len);
/* Between cork and uncork bytes are gathered and go out as one write (and one TLS record where they fit). */
void stream_cork(struct stream *s);
void stream_uncork(struct stream *s);
size_t stream_unsent(const struct stream *s);
/* True while more than high_water bytes are unsent: stop giving it bytes; STREAM_DRAINED tells when to go
 * on. */
bool stream_full(const struct stream *s);

/* Sets silence_ms of an open stream, and counts as a stream_still_mine(); 0 = as the system has it. Where the
 * peer has not taken everything yet at this moment, nobody knows since when that is so, and the peer must not
 * be given up for what was before. So until it takes some bytes, the time since the connection was opened is
 * added to the silence. */
void stream_set_silence(struct stream *s, uint64_t ms);
/* To be called several times in each silence_ms as long as the owner may be heard: a peer that is only slow
 * then has silence_ms from the last call on. Without it the kernel gives up a peer that has not taken
 * anything for silence_ms, alive or not. */
void stream_still_mine(struct stream *s);
/* From *until_ms on, by clock_boot_ms(), not a byte goes out any more: STREAM_ERROR. Until then too, nothing
 * is left with libuv, which would send it without a look at the clock when a process that stood still wakes
 * up. until_ms is borrowed. May be called once, on an open stream that has nothing unsent. */
void stream_set_fence(struct stream *s, const uint64_t *until_ms);

/* One deadline a stream, ms from now; 0 takes it away. Fires once. */
void stream_deadline(struct stream *s, uint64_t ms);

/* What broke, as a text for a log; "" while nothing has. */
const char *stream_error(const struct stream *s);
/* True where the error is one of TLS (handshake, certificate, name). */
bool stream_error_is_tls(const struct stream *s);
/* This process or its host is short of descriptors or memory: it says nothing of the peer. */
bool stream_error_is_ours(const struct stream *s);
/* Where the peer came to: an address like that of stream_peer_ip(), and a port. False: a UNIX socket, or the
 * connection is gone. Asks the kernel. */
bool stream_local(const struct stream *s, char ip[INET6_ADDRSTRLEN], uint16_t *port_r);
/* The peer's address and port as text ("192.0.2.1:40000", "[2001:db8::1]:40000"), "unix" for a UNIX socket,
 * "unknown" where it was gone already. stream_peer_ip(): the address alone, "" where there is none.
 * stream_peer_port(): 0 where there is none. */
const char *stream_peer(const struct stream *s);
const char *stream_peer_ip(const struct stream *s);
uint16_t stream_peer_port(const struct stream *s);

/* Nulls *s (NULL is fine). With flush, what is queued is sent first (within flush_ms), without, it is
 * dropped. */
void stream_close(struct stream **s, bool flush);
/* Closes without flush, as if the stream were abortive. */
void stream_reset(struct stream **s);

#endif
