/* http_status: what monitoring asks of a daemon, on a server of its own or beside an API:
 *
 *   GET /metrics   the metrics (metrics.h), for Prometheus
 *   GET /healthz   200 as long as the loop of the main thread comes round: else the process is to be ended
 *   GET /readyz    200 when the daemon does what it is there for, else 503 and a line for each thing that it lacks
 *
 * Nothing secret and nobody's name is told, so who can connect may ask. */
#ifndef IMAPFERRY_HTTP_STATUS_H
#define IMAPFERRY_HTTP_STATUS_H

#include "http_server.h"

/* Borrowed as long as the server lives. */
struct http_status {
    unsigned program; /* METRIC_OF_PROXY, METRIC_OF_MIGRATOR */
    /* Adds a line for each thing that is lacking, with its line feed; ready where it adds none. */
    void (*lacks)(void *owner, struct buf *out);
    /* Sets the gauges that nobody sets as they change; may be NULL. */
    void (*refresh)(void *owner);
    void *owner;
};

/* Adds the routes. */
void http_status_serve(struct http_server *s, const struct http_status *st);
/* The same with a server of its own, bound to listen; "" = none: *_r is NULL. False: *error is a text to free. beside: see
 * http_server.h. */
bool http_status_listen(struct loop *l, const char *listen, bool beside, const struct http_status *st,
                        struct http_server **_r, char **error) MUST_CHECK;

#endif
