#include "lib/xalloc.h"

#include "check_priv.h"
#include "json_value.h"

void check_line(struct check *c, json_t *lines, const char *of, enum level level, const char *advice,
                const char *fmt, ...)
{
    static const char *const words[] = {"ok", "warning", "error"};
    struct buf text = {0};
    json_t *o = json_object();
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    json_object_set_new(o, "of", json_string(of));
    json_object_set_new(o, "level", json_string(words[level]));
    json_object_set_new(o, "text", json_text(buf_span(&text)));
    json_object_set_new(o, "advice", json_string(advice));
    json_array_append_new(lines, o);
    c->errors += level == CHECK_ERROR;
    buf_free(&text);
}

void check_ended(struct check *c)
{
    if (--c->pending == 0)
        loop_defer(c->loop, &c->task);
}
