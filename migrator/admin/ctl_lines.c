#include <string.h>

#include "ctl_lines.h"
#include "ctl_screen.h"
#include "ctl_text.h"

enum { LEVEL_WIDTH = 9, OF_WIDEST = 30 /* one that is longer pads nobody else's line */ };

static size_t ctl_lines_width(json_t *lines)
{
    size_t i, width = 0;
    json_t *o;

    json_array_foreach(lines, i, o)
    {
        size_t n = strlen(ctl_text_of(o, "of"));
        width = n > width && n <= OF_WIDEST ? n : width;
    }
    return width + 2;
}

static const char *ctl_lines_style(const char *level)
{
    return !strcmp(level, "error") ? STYLE_RED : !strcmp(level, "warning") ? STYLE_YELLOW : STYLE_GREEN;
}

/* Appends, and counts what is no "ok". */
static void ctl_lines_write(struct buf *out, json_t *lines, size_t counts[2])
{
    size_t i, width = ctl_lines_width(lines);
    int indent = LEVEL_WIDTH + (int)width;
    json_t *o;

    json_array_foreach(lines, i, o)
    {
        const char *level = ctl_text_of(o, "level"), *of = ctl_text_of(o, "of");
        bool over = strlen(of) >= width;
        buf_printf(out, "%s%-*s%s%-*s%s%*s", ctl_lines_style(level), LEVEL_WIDTH, level, STYLE_OFF,
                   (int)width, of, over ? "\n" : "", over ? indent : 0, "");
        ctl_write_wrapped(out, ctl_text_of(o, "text"), indent);
        counts[0] += strcmp(level, "error") == 0;
        counts[1] += strcmp(level, "warning") == 0;
        if (!*ctl_text_of(o, "advice"))
            continue;
        buf_printf(out, "%*s", indent, "");
        ctl_write_wrapped(out, ctl_text_of(o, "advice"), indent);
    }
}

void ctl_write_lines(struct buf *out, json_t *lines, const char *text)
{
    size_t counts[2] = {0};

    ctl_lines_write(out, lines, counts);
    buf_printf(out, "\n%zu error%s, %zu warning%s%s%s\n", counts[0], counts[0] == 1 ? "" : "s", counts[1],
               counts[1] == 1 ? "" : "s", *text ? ": " : "", text);
}
