#include <stdio.h>
#include <stdlib.h>

#include "lib/account.h"
#include "lib/xalloc.h"

#include "actions.h"
#include "check.h"
#include "ctl_check.h"
#include "ctl_print.h"
#include "ctl_screen.h"
#include "json_value.h"

enum { LEVEL_WIDTH = 9 };

struct checking {
    struct loop *loop;
    const char *fault;
    bool json;
    int status;
};

static size_t width_of(json_t *lines)
{
    size_t i, width = 0;
    json_t *o;

    json_array_foreach(lines, i, o)
    {
        size_t n = strlen(ctl_text_of(o, "of"));
        width = n > width ? n : width;
    }
    return width + 2;
}

static const char *ctl_check_style(const char *level)
{
    return !strcmp(level, "error") ? STYLE_RED : !strcmp(level, "warning") ? STYLE_YELLOW : STYLE_GREEN;
}

/* Appends, and counts what is no "ok". */
static void ctl_check_write_lines(struct buf *out, json_t *lines, size_t counts[2])
{
    size_t i, width = width_of(lines);
    int indent = LEVEL_WIDTH + (int)width;
    json_t *o;

    json_array_foreach(lines, i, o)
    {
        const char *level = ctl_text_of(o, "level");
        buf_printf(out, "%s%-*s%s%-*s", ctl_check_style(level), LEVEL_WIDTH, level, STYLE_OFF, (int)width,
                   ctl_text_of(o, "of"));
        ctl_write_wrapped(out, ctl_text_of(o, "text"), indent);
        counts[0] += strcmp(level, "error") == 0;
        counts[1] += strcmp(level, "warning") == 0;
        if (!*ctl_text_of(o, "advice"))
            continue;
        buf_printf(out, "%*s", indent, "");
        ctl_write_wrapped(out, ctl_text_of(o, "advice"), indent);
    }
}

static void print_lines(json_t *lines)
{
    struct buf out = {0};
    size_t counts[2] = {0};

    ctl_check_write_lines(&out, lines, counts);
    buf_printf(&out, "\n%zu error%s, %zu warning%s\n", counts[0], counts[0] == 1 ? "" : "s", counts[1],
               counts[1] == 1 ? "" : "s");
    screen_print(&out);
    buf_free(&out);
}

static json_t *line_of_fault(const char *fault)
{
    return json_pack(
        "{s:s, s:s, s:o, s:s}", "of", "file", "level", "warning", "text", json_text(span_str(fault)),
        "advice",
        "So the passwords of masters are not known here: run this where a migrator runs, as its user.");
}

static void ctl_check_on_checked(void *owner, bool ok, json_t *data)
{
    struct checking *g = owner;
    json_t *lines = json_object_get(data, "checks");

    if (g->fault)
        json_array_insert_new(lines, 0, line_of_fault(g->fault));
    if (g->json)
        ctl_print_json(data);
    else
        print_lines(lines);
    g->status = ok ? ACTION_DONE : ACTION_FAILED;
    loop_stop(g->loop);
}

int ctl_check(const struct conf *conf, const char *login, const char *fault, bool json)
{
    struct checking g = {.loop = loop_new(), .fault = fault, .json = json, .status = ACTION_FAILED};
    struct check *c = check_start(&(struct check_request){.loop = g.loop, .conf = conf, .login = login},
                                  ctl_check_on_checked, &g);

    loop_run(g.loop);
    check_free(&c);
    loop_free(&g.loop);
    return g.status;
}
