#include <assert.h>
#include <stdlib.h>
#include <strings.h>

#include "http_priv.h"
#include "xalloc.h"

/* ---- what it asks ---- */

const char *http_request_method(const struct http_request *r)
{
    return r->method;
}

const char *http_request_path(const struct http_request *r)
{
    return r->path;
}

const char *http_request_rest(const struct http_request *r)
{
    size_t n = r->route ? strlen(r->route->path) : 0;

    return n > 0 && r->route->path[n - 1] == '*' ? r->path + n - 1 : "";
}

const char *http_request_query(const struct http_request *r, const char *name)
{
    const char *value = NULL;
    size_t n = 0;

    if (MHD_lookup_connection_value_n(r->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value, &n) !=
        MHD_YES)
        return NULL;
    return value ? value : "";
}

const char *http_request_header(const struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

struct span http_request_body(const struct http_request *r)
{
    return buf_span(&r->body);
}

struct span http_request_bearer(const struct http_request *r)
{
    static const char scheme[] = "Bearer ";
    const char *text = http_request_header(r, "Authorization");
    size_t n = sizeof scheme - 1;

    if (!text || strncasecmp(text, scheme, n) != 0)
        return span_of(NULL, 0);
    return span_str(text + n + strspn(text + n, " "));
}

const char *http_request_peer(const struct http_request *r)
{
    return r->client->peer;
}

/* ---- the answer ---- */

static void http_must_be_one_line(const char *s)
{
    assert(!strpbrk(s, "\r\n"));
}

void http_add_header(struct http_request *r, const char *name, const char *value)
{
    http_must_be_one_line(name);
    http_must_be_one_line(value);
    r->headers = xreallocarray(r->headers, r->n_headers + 1, sizeof *r->headers);
    r->headers[r->n_headers++] = (struct http_header){xstrdup(name), xstrdup(value)};
}

static void http_add_unless_set(struct http_request *r, const char *name, const char *value)
{
    for (size_t i = 0; i < r->n_headers; i++)
        if (strcasecmp(r->headers[i].name, name) == 0)
            return;
    MHD_add_response_header(r->response, name, value);
}

void http_response_finish(struct http_request *r, const char *type)
{
    assert(r->response);
    for (size_t i = 0; i < r->n_headers; i++)
        MHD_add_response_header(r->response, r->headers[i].name, r->headers[i].value);
    http_add_unless_set(r, "Cache-Control", "no-store");
    http_add_unless_set(r, "X-Content-Type-Options", "nosniff");
    if (type)
        http_add_unless_set(r, "Content-Type", type);
    bool held = r->state == HTTP_HELD;
    r->state = HTTP_ANSWERED;
    r->gone = NULL;
    if (held) {
        MHD_resume_connection(r->connection);
        http_server_kick(r->server);
    }
}

static void http_answer_with(struct http_request *r, unsigned status, const char *type, struct span body,
                             enum MHD_ResponseMemoryMode mode)
{
    assert(r->state == HTTP_HANDLING || r->state == HTTP_HELD);
    r->status = status;
    r->response = MHD_create_response_from_buffer(
        body.len, (void *)(uintptr_t)(body.p ? body.p : (const uint8_t *)""), mode);
    http_response_finish(r, type);
}

void http_answer(struct http_request *r, unsigned status, const char *type, struct span body)
{
    http_answer_with(r, status, type, body, MHD_RESPMEM_MUST_COPY);
}

void http_answer_static(struct http_request *r, unsigned status, const char *type, struct span body)
{
    http_answer_with(r, status, type, body, MHD_RESPMEM_PERSISTENT);
}

static void http_refuse(struct http_request *r, unsigned status, const char *text)
{
    http_answer_static(r, status, "text/plain; charset=utf-8", span_str(text));
}

void http_request_hold(struct http_request *r, http_gone_fn gone, void *owner)
{
    assert(r->state == HTTP_HANDLING);
    r->state = HTTP_HELD;
    r->gone = gone;
    r->owner = owner;
}

void http_request_allow(struct http_request *r, uint64_t ms)
{
    timer_start(r->client->deadline, ms);
}

/* ---- which route ---- */

static bool http_path_fits(const struct http_route *route, const char *path)
{
    size_t n = strlen(route->path);

    return route->path[n - 1] == '*' ? strncmp(route->path, path, n - 1) == 0
                                     : strcmp(route->path, path) == 0;
}

static bool http_method_fits(const struct http_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

static bool http_allowed(const struct http_request *r, struct buf *methods)
{
    for (size_t i = 0; i < r->server->n_routes; i++)
        if (http_path_fits(&r->server->routes[i], r->path))
            buf_printf(methods, "%s%s", methods->len ? ", " : "", r->server->routes[i].method);
    return methods->len > 0;
}

static void http_refuse_route(struct http_request *r)
{
    struct buf methods = {0};

    if (http_allowed(r, &methods)) {
        http_add_header(r, "Allow", buf_str(&methods));
        http_refuse(r, 405, "this path has no such method\n");
    } else {
        http_refuse(r, 404, "there is nothing at this path\n");
    }
    buf_free(&methods);
}

static const struct http_route *http_find_route(const struct http_request *r)
{
    for (size_t i = 0; i < r->server->n_routes; i++)
        if (http_path_fits(&r->server->routes[i], r->path) &&
            http_method_fits(&r->server->routes[i], r->method))
            return &r->server->routes[i];
    return NULL;
}

static void http_dispatch(struct http_request *r)
{
    r->state = HTTP_HANDLING;
    r->route = http_find_route(r);
    if (r->refused)
        http_refuse(r, 400, "the path holds a NUL\n");
    else if (r->too_large)
        http_refuse(r, 413, "the body is too large\n");
    else if (!r->route)
        http_refuse_route(r);
    else
        r->route->fn(r->route->owner, r);
    assert(r->state == HTTP_HELD || r->state == HTTP_ANSWERED);
}

/* ---- libmicrohttpd's callbacks ---- */

void *http_request_begin(void *server, const char *uri, struct MHD_Connection *c)
{
    struct http_request *r = xcalloc(1, sizeof *r);
    const union MHD_ConnectionInfo *context = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    r->server = server;
    r->connection = c;
    r->client = context->socket_context;
    r->client->request = r;
    r->refused = strstr(uri, "%00") != NULL;
    timer_start(r->client->deadline, r->server->set.request_ms);
    return r;
}

static enum MHD_Result http_queue(struct http_request *r)
{
    enum MHD_Result rc = MHD_queue_response(r->connection, r->status, r->response);

    MHD_destroy_response(r->response);
    r->response = NULL;
    return rc;
}

/* A length that is too large is refused before the client sends any of it. */
static bool http_announces_too_much(struct http_request *r)
{
    const char *length = http_request_header(r, "Content-Length");
    const struct http_route *route = http_find_route(r);
    uint64_t n;

    r->body_max = r->server->set.body_max;
    if (!length || (span_u64(span_str(length), UINT64_MAX, &n) && n <= r->body_max))
        return false;
    if (route && route->large && route->large(route->large_owner, r))
        r->body_max = route->large_max;
    return !span_u64(span_str(length), UINT64_MAX, &n) || n > r->body_max;
}

static enum MHD_Result http_begin_body(struct http_request *r, const char *url, const char *method)
{
    r->begun = true;
    r->method = xstrdup(method);
    r->path = xstrdup(url);
    r->too_large = http_announces_too_much(r);
    if (!r->too_large)
        return MHD_YES;
    http_dispatch(r);
    return http_queue(r);
}

/* What is too much is read and forgotten, within the deadline: libmicrohttpd takes no answer while a body comes in. */
static enum MHD_Result http_add_body(struct http_request *r, const char *bytes, size_t *n)
{
    r->too_large = r->too_large || r->body.len + *n > r->body_max;
    if (!r->too_large)
        buf_add(&r->body, bytes, *n);
    *n = 0;
    return MHD_YES;
}

enum MHD_Result http_request_step(void *server, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *bytes, size_t *n, void **request)
{
    struct http_request *r = *request;

    (void)server;
    (void)version;
    if (!r->begun)
        return http_begin_body(r, url, method);
    if (*n > 0)
        return http_add_body(r, bytes, n);
    if (r->state == HTTP_READING)
        http_dispatch(r);
    if (r->state == HTTP_DEAD)
        return MHD_NO;
    if (r->state == HTTP_HELD) {
        MHD_suspend_connection(c);
        return MHD_YES;
    }
    return r->response ? http_queue(r) : MHD_YES;
}

void http_request_drop(struct http_request *r)
{
    http_gone_fn gone = r->gone;

    if (r->stream) {
        http_stream_drop(r->stream);
    } else if (r->state == HTTP_HELD) {
        r->state = HTTP_DEAD;
        r->gone = NULL;
        MHD_resume_connection(r->connection);
        http_server_kick(r->server);
        if (gone)
            gone(r->owner);
    }
}

static void http_request_free(struct http_request *r)
{
    for (size_t i = 0; i < r->n_headers; i++) {
        free(r->headers[i].name);
        free(r->headers[i].value);
    }
    free(r->headers);
    if (r->response)
        MHD_destroy_response(r->response);
    buf_wipe(&r->body);
    http_stream_free(&r->stream);
    free(r->method);
    free(r->path);
    free(r);
}

/* Until the next request of this connection has been answered. */
static void http_request_rearm(const struct http_request *r)
{
    const struct http_settings *set = &r->server->set;

    r->client->request = NULL;
    timer_start(r->client->deadline, set->idle_ms + set->request_ms);
}

void http_request_end(void *server, struct MHD_Connection *c, void **request,
                      enum MHD_RequestTerminationCode why)
{
    struct http_request *r = *request;

    (void)server;
    (void)c;
    (void)why;
    *request = NULL;
    if (!r)
        return;
    http_request_rearm(r);
    http_request_free(r);
}
