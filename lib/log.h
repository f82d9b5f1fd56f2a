/* log: writes one line for each event to standard error, in key=value form, or as JSON where log_format says so
 * (conf/EVENTS.md has all events):
 *
 *   ts=2026-01-31T10:00:00.123Z level=info event=login user=ann backend=old session=p1-7f3a/12
 *   {"ts":"2026-01-31T10:00:00.123Z","level":"info","event":"login","user":"ann","backend":"old","session":"p1-7f3a/12"}
 *
 * Values are escaped here and nowhere else: a value that holds a blank, a quote, a backslash or anything but
 * printable ASCII is put in quotes, with \xNN for the odd bytes, so a peer can't write a second line or a
 * second key. In JSON all is valid UTF-8: what is none becomes U+FFFD. There is no way to log a secret by accident: nothing takes a format string with data of a peer,
 * and passwords have no LOG_ field.
 *
 *   LOG(INFO, "login", LOG_S("user", s->user), LOG_U("port", port)); */
#ifndef IMAPFERRY_LOG_H
#define IMAPFERRY_LOG_H

#include "base.h"

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log_field {
    const char *key; /* NULL: the field is left out */
    enum { LOG_FIELD_STRING, LOG_FIELD_SPAN, LOG_FIELD_UNSIGNED, LOG_FIELD_SIGNED } kind;
    struct span bytes;
    uint64_t u;
    int64_t i;
};

/* A NULL string is logged as key=- */
/* Left out of the line where the string is empty. */
#define LOG_SET(k, s)  LOG_S(*(s) ? (k) : NULL, s)
#define LOG_S(k, s)    ((struct log_field){.key = (k), .kind = LOG_FIELD_STRING, .bytes = span_str(s)})
#define LOG_SPAN(k, s) ((struct log_field){.key = (k), .kind = LOG_FIELD_SPAN, .bytes = (s)})
#define LOG_U(k, v)    ((struct log_field){.key = (k), .kind = LOG_FIELD_UNSIGNED, .u = (uint64_t)(v)})
#define LOG_I(k, v)    ((struct log_field){.key = (k), .kind = LOG_FIELD_SIGNED, .i = (int64_t)(v)})

#define LOG(level, event, ...)                                                                               \
    log_event(LOG_LEVEL_##level, (event), (struct log_field[]){{.key = NULL}, ##__VA_ARGS__},                \
              COUNTOF(((struct log_field[]){{.key = NULL}, ##__VA_ARGS__})))

/* Lines that are less severe than this level are dropped; it is INFO at first. To be set before threads
 * start. */
void log_set_level(enum log_level level);
/* The same; it is LOG_FORMAT_TEXT at first. */
void log_set_format(enum log_format format);
/* Use LOG(); fields[0] is a placeholder, whose key is NULL. May be called from any thread: a line is one write(2). A field is
 * cut at 512 bytes. */
void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t n);

#endif
