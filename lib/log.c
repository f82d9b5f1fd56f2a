#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "log.h"
#include "metrics.h"

enum { FIELD_MAX = 512 };

static enum log_level max_level = LOG_LEVEL_INFO;
static enum log_format log_format = LOG_FORMAT_TEXT;
static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_set_level(enum log_level level)
{
    max_level = level;
}

void log_set_format(enum log_format format)
{
    log_format = format;
}

/* ---- key=value ---- */

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

static void log_write_text(struct buf *line, const char *ts, const char *level, const char *event,
                           const struct log_field *fields, size_t n)
{
    buf_printf(line, "ts=%s level=%s event=%s", ts, level, event);
    for (size_t i = 1; i < n; i++)
        if (fields[i].key)
            add_field(line, &fields[i]);
}

/* ---- JSON (RFC 8259) ---- */

/* How many bytes the UTF-8 character at p has (RFC 3629, 4); 0: there is none. */
static size_t log_utf8(const uint8_t *p, size_t n)
{
    static const struct {
        uint8_t from, to, second_from, second_to;
        size_t len;
    } rows[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
                {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};

    for (size_t i = 0; i < COUNTOF(rows); i++) {
        if (*p < rows[i].from || *p > rows[i].to)
            continue;
        bool good = n >= rows[i].len && p[1] >= rows[i].second_from && p[1] <= rows[i].second_to;
        for (size_t k = 2; good && k < rows[i].len; k++)
            good = (p[k] & 0xc0) == 0x80;
        return good ? rows[i].len : 0;
    }
    return 0;
}

static size_t log_add_json_char(struct buf *line, const uint8_t *p, size_t n)
{
    if (*p == '"' || *p == '\\') {
        buf_printf(line, "\\%c", *p);
    } else if (*p < 0x20 || *p == 0x7f) {
        buf_printf(line, "\\u%04x", *p);
    } else if (*p < 0x80) {
        buf_add(line, p, 1);
    } else {
        size_t len = log_utf8(p, n);
        if (len > 0)
            buf_add(line, p, len);
        else
            buf_add_str(line, "\xef\xbf\xbd");
        return len ? len : 1;
    }
    return 1;
}

static void log_add_json(struct buf *line, struct span v)
{
    size_t len = v.len > FIELD_MAX ? FIELD_MAX : v.len;

    buf_add_str(line, "\"");
    for (size_t i = 0; i < len;)
        i += log_add_json_char(line, v.p + i, len - i);
    buf_add_str(line, "\"");
}

static void log_add_json_field(struct buf *line, const struct log_field *f)
{
    buf_printf(line, ",\"%s\":", f->key);
    if (f->kind == LOG_FIELD_UNSIGNED)
        buf_printf(line, "%" PRIu64, f->u);
    else if (f->kind == LOG_FIELD_SIGNED)
        buf_printf(line, "%" PRId64, f->i);
    else if (f->bytes.p)
        log_add_json(line, f->bytes);
    else
        buf_add_str(line, "null");
}

static void log_write_json(struct buf *line, const char *ts, const char *level, const char *event,
                           const struct log_field *fields, size_t n)
{
    buf_printf(line, "{\"ts\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"", ts, level, event);
    for (size_t i = 1; i < n; i++)
        if (fields[i].key)
            log_add_json_field(line, &fields[i]);
    buf_add_str(line, "}");
}

/* ---- a line ---- */

static void log_timestamp(char *ts, size_t room)
{
    struct timespec now;
    struct tm tm;
    char text[32];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ts, room, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
    if (level > max_level)
        return;
    struct buf line = {0};
    char ts[48];
    metric_add(METRIC_LOG_LINES, 1, level_names[level], NULL);
    log_timestamp(ts, sizeof ts);
    if (log_format == LOG_FORMAT_JSON)
        log_write_json(&line, ts, level_names[level], event, fields, n);
    else
        log_write_text(&line, ts, level_names[level], event, fields, n);
    buf_add(&line, "\n", 1);
    struct span out = buf_span(&line);
    /* A log that can't be written is not worth a session. */
    if (write(STDERR_FILENO, out.p, out.len) < 0)
        (void)0;
    buf_free(&line);
}
