/* What the files of http_server.h share. libmicrohttpd runs without threads of its own: its epoll descriptor stands in our
 * loop, and it is run when that is ready, when its timer is due, and when we have something for it.
 *
 * A request in libmicrohttpd's words: its memory is made when the request line is there (http_request_begin()), handed over
 * to http_request_step() with the headers, with each piece of the body and at its end, and freed in http_request_end(), which
 * comes for every request, answered or not. While a handler holds it, and while a stream has nothing to send, its connection
 * is suspended: libmicrohttpd does not look at it, and does not notice that the client has left either. */
#ifndef IMAPFERRY_HTTP_PRIV_H
#define IMAPFERRY_HTTP_PRIV_H

#include <sys/queue.h>

#include <microhttpd.h>

#include "address.h"
#include "http_server.h"

struct http_route {
    const char *method, *path; /* borrowed */
    http_handler_fn fn;
    void *owner;
    size_t large_max; /* of a body that `large` allows; NULL: none */
    http_large_fn large;
    void *large_owner;
};

/* A connection, and until when its request has to be done. */
struct http_client {
    struct http_server *server;
    int fd; /* borrowed */
    struct timer *deadline;
    struct http_request *request; /* NULL: none at present */
    char peer[64];
    bool leaving;                 /* it was shut down, and is not counted any more */
    LIST_ENTRY(http_client) link; /* the newest first */
};

struct http_server {
    struct loop *loop;
    struct http_settings set;
    struct address listen;
    char *address; /* owned; with the real port */
    int fd;        /* -1: it is libmicrohttpd's */
    dev_t dev;     /* of the file of a UNIX socket; 0: there is none */
    ino_t ino;
    char *cert, *key;
    struct http_route *routes;
    size_t n_routes;
    struct MHD_Daemon *daemon; /* NULL: not started */
    uv_poll_t poll;
    bool polls;
    struct timer *timer; /* what libmicrohttpd waits for */
    struct loop_task kick;
    LIST_HEAD(, http_client) clients;
    unsigned n_streams;
};

enum http_state {
    HTTP_READING,  /* its body comes in */
    HTTP_HANDLING, /* inside the handler */
    HTTP_HELD,     /* suspended; the answer comes later */
    HTTP_ANSWERED, /* the answer is there, or on its way */
    HTTP_DEAD,     /* nobody waits for an answer */
};

struct http_header {
    char *name, *value; /* owned */
};

struct http_request {
    struct http_server *server;
    struct http_client *client;
    struct MHD_Connection *connection;
    enum http_state state;
    bool begun, too_large, refused; /* refused: its path holds a NUL */
    const struct http_route *route;
    char *method, *path; /* owned */
    struct buf body;
    size_t body_max;
    struct http_header *headers; /* of the answer; owned */
    size_t n_headers;
    struct MHD_Response *response; /* owned until it is queued */
    unsigned status;
    struct http_stream *stream; /* owned; NULL: a plain answer */
    http_gone_fn gone;
    void *owner;
};

struct http_stream {
    struct http_request *request;
    struct buf out;
    bool suspended, closing, dead;
    struct timer *beat;
    http_gone_fn gone; /* NULL: the owner has closed it */
    void *owner;
};

/* ---- http_server.c */

/* Has libmicrohttpd run from the loop, soon. */
void http_server_kick(struct http_server *s);

/* ---- http_request.c */

void *http_request_begin(void *server, const char *uri, struct MHD_Connection *c);
enum MHD_Result http_request_step(void *server, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *bytes, size_t *n, void **request);
void http_request_end(void *server, struct MHD_Connection *c, void **request,
                      enum MHD_RequestTerminationCode why);
/* Nobody waits for its answer any more: tells whoever holds it, and lets its connection end. */
void http_request_drop(struct http_request *r);
/* Has what was added by http_add_header(), and the headers of every answer. */
void http_response_finish(struct http_request *r, const char *type);

/* ---- http_stream.c */

void http_stream_drop(struct http_stream *st);
void http_stream_free(struct http_stream **st);

#endif
