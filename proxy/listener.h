/* listener: where clients come in. Sockets are bound before there are threads, so that a port in use ends the
 * program at its start, and each thread has one of its own for each TCP address (SO_REUSEPORT: the kernel
 * spreads the connections). A UNIX socket is thread 0's alone.
 *
 * A round of the loop takes some connections; the others wait in the kernel's queue. They wait there too when
 * descriptors run out and the crowd has no idle connection left to end (crowd.h): a session that has signed
 * in is not cut off for them. */
#ifndef IMAPFERRY_LISTENER_H
#define IMAPFERRY_LISTENER_H

#include "lib/address.h"
#include "lib/loop.h"

struct proxy;

/* Binds n sockets to the address (for a UNIX socket one, the others are -1), not listening yet. Port 0: all
 * get the same free one. *_text: the address as it is now, to free. False: *error to free. */
bool listener_bind(const char *url, size_t n, int *sockets, char **_text, char **error) MUST_CHECK;
/* Takes the file of a UNIX socket away; nothing for other addresses. */
void listener_unlink(const char *url);

struct listener {
    struct proxy *proxy; /* borrowed */
    enum address_scheme scheme;
    bool proxy_protocol; /* connections begin with a PROXY header */
    bool asks;           /* clients for a certificate */
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    bool open;
    bool waiting; /* a connection waits for room */
};

/* Takes the socket; -1: does nothing. */
void listener_open(struct listener *l, struct proxy *p, const char *url, int socket);
void listener_listen(struct listener *l);
/* There is room again. */
void listener_go_on(struct listener *l);
void listener_close(struct listener *l);

#endif
