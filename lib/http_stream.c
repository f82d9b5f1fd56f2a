#include <assert.h>
#include <stdlib.h>

#include "http_priv.h"
#include "xalloc.h"

enum { PIECE = 4096 };

/* ---- libmicrohttpd asks for what there is ---- */

static ssize_t http_stream_on_read(void *stream, uint64_t pos, char *out, size_t max)
{
    struct http_stream *st = stream;
    struct http_request *r = st->request;
    size_t n = st->out.len < max ? st->out.len : max;

    (void)pos;
    if (st->dead)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n > 0) {
        memcpy(out, buf_span(&st->out).p, n);
        buf_eat(&st->out, n);
        timer_start(r->client->deadline, r->server->set.request_ms); /* to be taken */
        return (ssize_t)n;
    }
    if (st->closing)
        return MHD_CONTENT_READER_END_OF_STREAM;
    st->suspended = true;
    timer_stop(r->client->deadline); /* all is with the client */
    MHD_suspend_connection(r->connection);
    return 0;
}

static void http_stream_wake(struct http_stream *st)
{
    struct http_request *r = st->request;

    if (!st->suspended)
        return;
    st->suspended = false;
    timer_start(r->client->deadline, r->server->set.request_ms);
    MHD_resume_connection(r->connection);
    http_server_kick(r->server);
}

/* ---- what goes out ---- */

static void http_stream_on_beat(void *owner)
{
    struct http_stream *st = owner;

    timer_start(st->beat, st->request->server->set.beat_ms);
    if (st->out.len == 0)
        buf_add_str(&st->out, ":\n\n");
    http_stream_wake(st);
}

static struct http_stream *http_stream_new(struct http_request *r, http_gone_fn gone, void *owner)
{
    struct http_stream *st = xcalloc(1, sizeof *st);

    st->request = r;
    st->gone = gone;
    st->owner = owner;
    st->beat = timer_new(r->server->loop, http_stream_on_beat, st);
    timer_start(st->beat, r->server->set.beat_ms);
    buf_add_str(&st->out, ":\n\n"); /* so that the headers go out at once */
    r->server->n_streams++;
    return st;
}

struct http_stream *http_answer_stream(struct http_request *r, http_gone_fn gone, void *owner)
{
    assert(r->state == HTTP_HANDLING || r->state == HTTP_HELD);
    if (r->server->n_streams >= r->server->set.streams_max) {
        http_answer_static(r, 503, "text/plain; charset=utf-8", span_str("there are too many streams\n"));
        return NULL;
    }
    r->stream = http_stream_new(r, gone, owner);
    r->status = 200;
    r->response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE, http_stream_on_read, r->stream, NULL);
    http_response_finish(r, "text/event-stream");
    return r->stream;
}

static void http_add_field(struct buf *b, const char *name, struct span value)
{
    buf_printf(b, "%s: ", name);
    buf_add_span(b, value);
    buf_add(b, "\n", 1);
}

/* A carriage return ends a line too. */
static void http_add_data(struct buf *b, struct span data)
{
    for (;;) {
        size_t n = 0;
        while (n < data.len && data.p[n] != '\n' && data.p[n] != '\r')
            n++;
        http_add_field(b, "data", span_of(data.p, n));
        if (n == data.len)
            return;
        n += n + 1 < data.len && data.p[n] == '\r' && data.p[n + 1] == '\n' ? 2 : 1;
        data = span_of(data.p + n, data.len - n);
    }
}

bool http_stream_send(struct http_stream *st, const char *event, const char *id, struct span data)
{
    struct buf b = {0};

    if (event)
        http_add_field(&b, "event", span_str(event));
    if (id)
        http_add_field(&b, "id", span_str(id));
    http_add_data(&b, data);
    buf_add(&b, "\n", 1);
    bool fits = st->out.len + b.len <= st->request->server->set.stream_max;
    if (fits) {
        buf_add_span(&st->out, buf_span(&b));
        http_stream_wake(st);
    }
    buf_free(&b);
    return fits;
}

/* ---- its end ---- */

void http_stream_close(struct http_stream **sp)
{
    struct http_stream *st = *sp;

    *sp = NULL;
    if (!st)
        return;
    st->gone = NULL;
    st->closing = true;
    http_stream_wake(st);
}

void http_stream_drop(struct http_stream *st)
{
    st->dead = true;
    http_stream_wake(st);
}

void http_stream_free(struct http_stream **sp)
{
    struct http_stream *st = *sp;

    *sp = NULL;
    if (!st)
        return;
    st->request->server->n_streams--;
    timer_free(&st->beat);
    if (st->gone)
        st->gone(st->owner);
    buf_free(&st->out);
    free(st);
}
