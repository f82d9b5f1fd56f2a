#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "log.h"

enum { FIELD_MAX = 512 };

static enum log_level max_level = LOG_LEVEL_INFO;
static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_set_level(enum log_level level)
{
    max_level = level;
}

static bool log_is_plain(uint8_t c)
{
    return c > 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

static void log_add_value(struct buf *line, struct span v)
{
    size_t len = v.len > FIELD_MAX ? FIELD_MAX : v.len;
    bool plain = len > 0;
    for (size_t i = 0; plain && i < len; i++)
        plain = log_is_plain(v.p[i]);
    if (plain) {
        buf_add(line, v.p, len);
        return;
    }
    buf_add(line, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        uint8_t c = v.p[i];
        if (c == '"' || c == '\\')
            buf_printf(line, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            buf_printf(line, "\\x%02x", c);
        else
            buf_add(line, &c, 1);
    }
    buf_add(line, "\"", 1);
}

static void add_field(struct buf *line, const struct log_field *f)
{
    buf_printf(line, " %s=", f->key);
    switch (f->kind) {
    case LOG_FIELD_UNSIGNED:
        buf_printf(line, "%" PRIu64, f->u);
        break;
    case LOG_FIELD_SIGNED:
        buf_printf(line, "%" PRId64, f->i);
        break;
    case LOG_FIELD_STRING:
    case LOG_FIELD_SPAN:
        if (f->bytes.p)
            log_add_value(line, f->bytes);
        else
            buf_add(line, "-", 1);
        break;
    }
}

static void add_timestamp(struct buf *line)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    char text[32];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_printf(line, "ts=%s.%03ldZ", text, now.tv_nsec / 1000000);
}

void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
    if (level > max_level)
        return;
    struct buf line = {0};
    add_timestamp(&line);
    buf_printf(&line, " level=%s event=%s", level_names[level], event);
    for (size_t i = 1; i < n; i++)
        if (fields[i].key)
            add_field(&line, &fields[i]);
    buf_add(&line, "\n", 1);
    struct span out = buf_span(&line);
    /* A log that can't be written is not worth a session. */
    if (write(STDERR_FILENO, out.p, out.len) < 0)
        (void)0;
    buf_free(&line);
}
