#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/loop.h"
#include "lib/xalloc.h"

#include "ctl_screen.h"
#include "ctl_text.h"

void ctl_write_bytes(struct buf *out, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double n = (double)bytes;
    size_t i = 0;

    for (; n >= 1024 && i + 1 < COUNTOF(units); i++)
        n /= 1024;
    if (i == 0)
        buf_printf(out, "%" PRIu64 " bytes", bytes);
    else
        buf_printf(out, "%.*f %s", n < 10 ? 1 : 0, n, units[i]);
}

void ctl_write_bar(struct buf *out, uint64_t done, uint64_t total, size_t width)
{
    double part = total ? (double)done / (double)total : 0;
    size_t full = part >= 1 ? width : (size_t)(part * (double)width);

    buf_add_str(out, "[" STYLE_CYAN);
    for (size_t i = 0; i < width; i++) {
        if (i == full)
            buf_add_str(out, STYLE_OFF);
        buf_add_str(out, i < full ? "#" : ".");
    }
    buf_add_str(out, full == width ? STYLE_OFF "]" : "]");
}

void ctl_write_duration(struct buf *out, uint64_t ms)
{
    uint64_t s = ms / 1000;

    if (s < 10)
        buf_printf(out, "%" PRIu64 ".%" PRIu64 " s", s, ms / 100 % 10);
    else if (s < 120)
        buf_printf(out, "%" PRIu64 " s", s);
    else if (s < 2 * 3600)
        buf_printf(out, "%" PRIu64 " min", s / 60);
    else if (s < 48 * 3600)
        buf_printf(out, "%" PRIu64 " h", s / 3600);
    else
        buf_printf(out, "%" PRIu64 " days", s / 86400);
}

void ctl_write_number(struct buf *out, uint64_t n)
{
    if (n >= 1000) {
        ctl_write_number(out, n / 1000);
        buf_printf(out, ",%03" PRIu64, n % 1000);
    } else {
        buf_printf(out, "%" PRIu64, n);
    }
}

const char *ctl_text_of(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));

    return s ? s : "";
}

uint64_t ctl_number_of(const json_t *o, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(o, name));

    return n > 0 ? (uint64_t)n : 0;
}

char *ctl_one_line(const char *text)
{
    char *line = xstrdup(text);

    for (char *at = line; (at = strchr(at, '\n'));)
        *at = '?';
    return line;
}

/* Has any of it a line feed? */
static bool ctl_text_breaks(json_t *value)
{
    bool breaks = json_is_string(value) && strchr(json_string_value(value), '\n');
    const char *name;
    json_t *o;
    size_t i;

    if (json_is_array(value))
        json_array_foreach(value, i, o) breaks = breaks || ctl_text_breaks(o);
    if (json_is_object(value))
        json_object_foreach(value, name, o) breaks = breaks || strchr(name, '\n') || ctl_text_breaks(o);
    return breaks;
}

static json_t *ctl_text_joined(json_t *value)
{
    json_t *joined = json_is_array(value) ? json_array() : json_object(), *o;
    const char *name;
    size_t i;

    if (json_is_array(value))
        json_array_foreach(value, i, o) json_array_append_new(joined, ctl_one_line_each(o));
    else
        json_object_foreach(value, name, o)
        {
            char *line = ctl_one_line(name);
            json_object_set_new(joined, line, ctl_one_line_each(o));
            free(line);
        }
    return joined;
}

json_t *ctl_one_line_each(json_t *data)
{
    if (!ctl_text_breaks(data))
        return json_incref(data);
    if (!json_is_string(data))
        return ctl_text_joined(data);
    char *line = ctl_one_line(json_string_value(data));
    json_t *text = json_string(line);
    free(line);
    return text;
}

static bool time_of(const char *text, time_t *_r)
{
    struct tm tm = {0};

    if (!strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm))
        return false;
    *_r = timegm(&tm);
    return true;
}

/* By the clock of Redis where the answer has it. */
void ctl_write_time(struct buf *out, const char *text, const char *now_text)
{
    time_t t, now;

    if (!time_of(text, &t)) {
        buf_add_str(out, "-");
        return;
    }
    if (!time_of(now_text, &now))
        now = (time_t)(clock_wall_ms() / 1000);
    buf_printf(out, "%s (", text);
    if (t > now) {
        buf_add_str(out, "in ");
        ctl_write_duration(out, (uint64_t)(t - now) * 1000);
    } else {
        ctl_write_duration(out, (uint64_t)(now - t) * 1000);
        buf_add_str(out, " ago");
    }
    buf_add_str(out, ")");
}

void ctl_write_styled(struct buf *out, const char *style, const char *text)
{
    buf_printf(out, "%s%s%s", style, text, STYLE_OFF);
}

void ctl_write_state(struct buf *out, const char *state)
{
    static const char *const styles[][2] = {
        {"blocked", STYLE_RED},   {"backoff", STYLE_YELLOW}, {"held", STYLE_YELLOW},
        {"copying", STYLE_CYAN},  {"ready", STYLE_CYAN},     {"preparing", STYLE_CYAN},
        {"freezing", STYLE_CYAN}, {"flipping", STYLE_CYAN},  {"flipped", STYLE_GREEN},
        {"settled", STYLE_GREEN},
    };
    const char *style = NULL;

    for (size_t i = 0; i < COUNTOF(styles); i++)
        if (!strcmp(state, styles[i][0]))
            style = styles[i][1];
    if (style)
        ctl_write_styled(out, style, state);
    else
        buf_add_str(out, state);
}

void ctl_write_label(struct buf *out, const char *name)
{
    buf_printf(out, "%-*s", CTL_LABEL_WIDTH, name);
}

void ctl_write_line(struct buf *out, const char *name, const char *value)
{
    if (!*value)
        return;
    ctl_write_label(out, name);
    if (screen_look().terminal)
        ctl_write_wrapped(out, value, CTL_LABEL_WIDTH);
    else
        buf_printf(out, "%s\n", value);
}

void ctl_write_wrapped(struct buf *out, const char *text, int indent)
{
    size_t column = (size_t)indent, columns = screen_text_width();
    bool begins = true;

    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");
        char *word = xasprintf("%.*s", (int)len, text);
        size_t width = screen_width(word);
        free(word);
        if (!begins && column + 1 + width > columns) {
            buf_printf(out, "\n%*s", indent, "");
            column = (size_t)indent;
        } else if (!begins) {
            buf_add_str(out, " ");
            column++;
        }
        buf_add(out, text, len);
        column += width;
        begins = false;
        text += len;
    }
    buf_add_str(out, "\n");
}
