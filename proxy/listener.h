/* listener: where clients and mail servers come in, at a socket that a thread was given (sockets.h).
 *
 * A round of the loop takes some connections; the others wait in the kernel's queue. They wait there too when
 * descriptors run out and the crowd has no idle connection left to end (crowd.h): a session that has signed
 * in is not cut off for them. */
#ifndef IMAPFERRY_LISTENER_H
#define IMAPFERRY_LISTENER_H

#include "lib/address.h"
#include "lib/loop.h"

struct proxy;

struct listener {
    struct proxy *proxy; /* borrowed */
    enum address_scheme scheme;
    bool proxy_protocol; /* connections begin with a PROXY header */
    bool asks;           /* clients for a certificate */
    bool local;          /* a UNIX socket */
    bool delivery;       /* mail servers ask here (delivery/socketmap.h), or ... */
    bool lmtp;           /* ... deliver here (delivery/lmtp.h) */
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    bool open;
    bool waiting; /* a connection waits for room */
};

/* Takes the socket. */
void listener_open(struct listener *l, struct proxy *p, const char *url, int socket);
void listener_listen(struct listener *l);
/* There is room again. */
void listener_go_on(struct listener *l);
void listener_close(struct listener *l);

#endif
