/* http_server: a small HTTP/1.1 server on the loop, for programs and a page of the site's own staff: metrics, health, API.
 * It belongs to the thread of its loop; nothing here may be called from another one.
 *
 *   server = http_server_new(loop, &settings, &error);     binds; to be called before privileges are dropped
 *   http_server_route(server, "GET", "/metrics", fn, owner);
 *   http_server_start(server, &error);
 *
 * A request is read whole, its body too, before the function of its route is called. That one answers at once, or holds the
 * request and answers from a later callback; each request is answered exactly once. Requests of one connection come one after
 * the other. HEAD is answered as GET without a body; a path that has other methods is 405, one without a route 404, a
 * body over the cap 413, headers over the cap 431.
 *
 * Every answer has Cache-Control: no-store and X-Content-Type-Options: nosniff, unless the handler set that header itself.
 *
 * What a stranger can take is bounded: connections in all and by address, header, body and queued stream bytes, the time
 * until a request is whole, is answered and has been taken. Where there are as many connections as may be, a new one takes the place
 * of the oldest that has asked for nothing yet, or that has its answer, so nobody is kept out by those who say nothing. Whoever may
 * connect at all is the handler's to judge: the server looks at no token. */
#ifndef IMAPFERRY_HTTP_SERVER_H
#define IMAPFERRY_HTTP_SERVER_H

#include "buf.h"
#include "loop.h"

struct http_server;
struct http_request;
struct http_stream;

/* Zero means the default in brackets. Strings are borrowed for the call of http_server_new(). */
struct http_settings {
    const char *listen; /* http://host:port, https://host:port, http+unix:///path; port 0: any */
    const char *cert_file, *key_file; /* PEM; for https */
    bool
        beside; /* another process of ours has the address until it ends, and this one takes its place (upgrade_socket) */
    unsigned connections_max;         /* [64] */
    unsigned connections_per_address; /* [32]; those of a UNIX socket are not counted by address */
    size_t header_max;                /* bytes of all headers and the request line [16 KiB] */
    size_t body_max;                  /* bytes [64 KiB] */
    size_t stream_max;                /* bytes that wait in one stream [256 KiB] */
    unsigned streams_max;             /* streams at once; further ones are answered 503 [16] */
    uint64_t beat_ms; /* of a stream: how often it is tried whether its client is there [15 s] */
    uint64_t idle_ms; /* between two requests of a connection [60 s] */
    /* from the connection, or the first byte of a further request, until the answer was taken; a stream: until its client
     * has taken something [30 s] */
    uint64_t request_ms;
};

/* Binds, and reads certificate and key. NULL: *error is a text to free. */
struct http_server *http_server_new(struct loop *l, const struct http_settings *set, char **error) MUST_CHECK;
/* method: "GET", "POST", ... (borrowed, as path is, until the server is freed). path: as it comes, decoded, without the
 * query; one that ends in "*" takes all that begin with what stands before it. The first route that fits counts. To be
 * called before http_server_start(). */
typedef void (*http_handler_fn)(void *owner, struct http_request *r);
void http_server_route(struct http_server *s, const char *method, const char *path, http_handler_fn fn,
                       void *owner);
/* Bodies of a route that is there already may be as large as max (bytes) where fn says so of a request, of which only the headers are
 * there yet; else body_max holds, also where the client does not say how long its body is. fn answers nothing. */
typedef bool (*http_large_fn)(void *owner, const struct http_request *r);
void http_server_allow_large(struct http_server *s, const char *method, const char *path, size_t max,
                             http_large_fn fn, void *owner);
/* Takes connections from now on; the log says `listening on ADDRESS`. No callback runs before it returns. False: *error. */
bool http_server_start(struct http_server *s, char **error) MUST_CHECK;
/* The address with the real port, borrowed. */
const char *http_server_address(const struct http_server *s);
/* Ends all connections at once; requests that are held and streams are told `gone` before it returns. Never from
 * a handler or a gone callback. Nulls *s. The file of a UNIX socket is taken away, where it is ours still. */
void http_server_free(struct http_server **s);

/* ---- a request: valid until it was answered, or was told gone. Strings are borrowed and hold as long as it does. */

const char *http_request_method(const struct http_request *r);
const char *http_request_path(const struct http_request *r);
/* What stands where the route has "*"; "" for one without. */
const char *http_request_rest(const struct http_request *r);
/* The first value of a parameter of the query, decoded; NULL: it is not there. "" where it has no value. */
const char *http_request_query(const struct http_request *r, const char *name);
/* By any spelling of its name; NULL: it is not there. */
const char *http_request_header(const struct http_request *r, const char *name);
struct span http_request_body(const struct http_request *r);
/* The token of "Authorization: Bearer TOKEN"; len 0 where there is none. Compare it in constant time. */
struct span http_request_bearer(const struct http_request *r);
/* Who asks: "192.0.2.1", "2001:db8::1" or "unix". */
const char *http_request_peer(const struct http_request *r);

/* For an answer that comes later: to be called by the handler before it returns. gone is called where the request ends
 * before it was answered (its deadline, or the server is freed); it is not to be touched then. */
typedef void (*http_gone_fn)(void *owner);
void http_request_hold(struct http_request *r, http_gone_fn gone, void *owner);
/* Its answer has this long from now, instead of request_ms: for what is known to take long. */
void http_request_allow(struct http_request *r, uint64_t ms);

/* ---- the answer */

/* Before the answer; both are copied. A line feed in them ends the process: what a peer sent is never put there unseen. */
void http_add_header(struct http_request *r, const char *name, const char *value);
/* The request is over with this call. type: "application/json", ...; NULL: none. The body is copied. */
void http_answer(struct http_request *r, unsigned status, const char *type, struct span body);
/* A body that is constant for the life of the process, and not copied. */
void http_answer_static(struct http_request *r, unsigned status, const char *type, struct span body);
/* A body that is large, and may be given to many at a time without a copy for each. The blob is counted: whoever made it holds it until
 * http_blob_drop(), each answer as long as it is on its way, the end of the server included. Each piece has to be taken within
 * request_ms, the whole in any time. */
struct http_blob;
/* Takes the bytes; *bytes is empty then. */
struct http_blob *http_blob_new(struct buf *bytes);
size_t http_blob_size(const struct http_blob *b);
/* Nulls *b; NULL is fine. */
void http_blob_drop(struct http_blob **b);
void http_answer_blob(struct http_request *r, unsigned status, const char *type, struct http_blob *b);
/* A text/event-stream (HTML, 9.2 "server-sent events") that goes on until either side ends it; the request is over with this
 * call. A comment goes out every beat_ms, so that a client that has vanished is noticed. NULL: there are too many streams, and
 * the request was answered 503. gone is called once when the client has left or did not take what waits; the stream is
 * freed then. */
struct http_stream *http_answer_stream(struct http_request *r, http_gone_fn gone, void *owner);
/* Queues one event; event and id may be NULL; each line of data gets its own "data:". False: more than stream_max would
 * wait: nothing was queued, and the client is better told to come again (http_stream_close()). */
bool http_stream_send(struct http_stream *st, const char *event, const char *id, struct span data) MUST_CHECK;
/* Ends it once what is queued was taken; gone is not called any more. Nulls *st. */
void http_stream_close(struct http_stream **st);

#endif
