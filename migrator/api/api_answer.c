#include <stdlib.h>

#include "migrator/admin/json_value.h"

#include "api_priv.h"

void api_answer(struct http_request *r, unsigned status, json_t *data)
{
    char *text = json_dumps(data, JSON_COMPACT | JSON_PRESERVE_ORDER);

    http_add_header(r, "Cross-Origin-Resource-Policy", "same-origin");
    http_add_header(r, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
    http_answer(r, status, "application/json", span_str(text ? text : "{}"));
    free(text);
    json_decref(data);
}

void api_refuse(struct http_request *r, unsigned status, const char *fmt, ...)
{
    struct buf text = {0};
    json_t *data = json_object();
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    json_object_set_new(data, "error", json_text(buf_span(&text)));
    api_answer(r, status, data);
    buf_free(&text);
}
