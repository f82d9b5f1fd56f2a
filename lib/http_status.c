#include "http_status.h"
#include "metrics.h"

static const char http_status_text[] = "text/plain; charset=utf-8";

static void http_status_metrics(void *owner, struct http_request *r)
{
    const struct http_status *st = owner;
    struct buf out = {0};

    st->lacks(st->owner, &out);
    metric_set(METRIC_READY, out.len == 0, NULL, NULL);
    buf_clear(&out);
    if (st->refresh)
        st->refresh(st->owner);
    metrics_write(&out, st->program);
    http_answer(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_span(&out));
    buf_free(&out);
}

static void http_status_health(void *owner, struct http_request *r)
{
    (void)owner;
    http_answer(r, 200, http_status_text, span_str("ok\n"));
}

static void http_status_ready(void *owner, struct http_request *r)
{
    const struct http_status *st = owner;
    struct buf out = {0};

    st->lacks(st->owner, &out);
    if (out.len > 0)
        http_answer(r, 503, http_status_text, buf_span(&out));
    else
        http_answer(r, 200, http_status_text, span_str("ready\n"));
    buf_free(&out);
}

void http_status_serve(struct http_server *s, const struct http_status *st)
{
    void *owner = (void *)(uintptr_t)st;

    http_server_route(s, "GET", "/metrics", http_status_metrics, owner);
    http_server_route(s, "GET", "/healthz", http_status_health, owner);
    http_server_route(s, "GET", "/readyz", http_status_ready, owner);
}

bool http_status_listen(struct loop *l, const char *listen, bool beside, const struct http_status *st,
                        struct http_server **_r, char **error)
{
    const struct http_settings set = {
        .listen = listen, .beside = beside, .connections_max = 16, .body_max = 1};

    *_r = NULL;
    if (!*listen)
        return true;
    struct http_server *s = http_server_new(l, &set, error);
    if (!s)
        return false;
    http_status_serve(s, st);
    *_r = s;
    return true;
}
