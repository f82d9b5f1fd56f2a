#include <assert.h>
#include <stdlib.h>

#include "http_priv.h"
#include "xalloc.h"

enum { BLOB_PIECE = 32 * 1024 };

struct http_blob {
    struct buf bytes;
    unsigned held;
};

/* One answer with it. */
struct http_blob_taken {
    struct http_blob *blob;
    struct http_request *request; /* is there as long as anybody reads */
};

struct http_blob *http_blob_new(struct buf *bytes)
{
    struct http_blob *b = xcalloc(1, sizeof *b);

    *b = (struct http_blob){.bytes = *bytes, .held = 1};
    *bytes = (struct buf){0};
    return b;
}

size_t http_blob_size(const struct http_blob *b)
{
    return b->bytes.len;
}

void http_blob_drop(struct http_blob **bp)
{
    struct http_blob *b = *bp;

    *bp = NULL;
    if (!b || --b->held > 0)
        return;
    buf_free(&b->bytes);
    free(b);
}

static ssize_t http_blob_read(void *owner, uint64_t at, char *into, size_t room)
{
    struct http_blob_taken *t = owner;
    struct http_request *r = t->request;
    struct span all = buf_span(&t->blob->bytes);

    if (at >= all.len)
        return MHD_CONTENT_READER_END_OF_STREAM;
    size_t n = all.len - at < room ? all.len - at : room;
    memcpy(into, all.p + at, n);
    timer_start(r->client->deadline, r->server->set.request_ms);
    return (ssize_t)n;
}

static void http_blob_taken(void *owner)
{
    struct http_blob_taken *t = owner;

    http_blob_drop(&t->blob);
    free(t);
}

void http_answer_blob(struct http_request *r, unsigned status, const char *type, struct http_blob *b)
{
    struct http_blob_taken *t = xcalloc(1, sizeof *t);

    assert(r->state == HTTP_HANDLING || r->state == HTTP_HELD);
    *t = (struct http_blob_taken){b, r};
    b->held++;
    r->status = status;
    r->response =
        MHD_create_response_from_callback(b->bytes.len, BLOB_PIECE, http_blob_read, t, http_blob_taken);
    http_response_finish(r, type);
}
