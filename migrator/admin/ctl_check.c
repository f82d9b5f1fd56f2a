#include <stdio.h>
#include <stdlib.h>

#include "lib/account.h"
#include "lib/xalloc.h"

#include "actions.h"
#include "check.h"
#include "ctl_check.h"
#include "ctl_lines.h"
#include "ctl_print.h"
#include "ctl_screen.h"
#include "ctl_text.h"
#include "json_value.h"

struct checking {
    struct loop *loop;
    const char *fault;
    bool json;
    int status;
};

static void print_lines(json_t *lines)
{
    struct buf out = {0};
    json_t *shown = ctl_one_line_each(lines);

    ctl_write_lines(&out, shown, "");
    screen_print(&out);
    json_decref(shown);
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

int ctl_check(const struct conf *conf, const char *login, bool doctor, const char *fault, bool json)
{
    struct checking g = {.loop = loop_new(), .fault = fault, .json = json, .status = ACTION_FAILED};
    struct check *c =
        check_start(&(struct check_request){.loop = g.loop, .conf = conf, .login = login, .doctor = doctor},
                    ctl_check_on_checked, &g);

    loop_run(g.loop);
    check_free(&c);
    loop_free(&g.loop);
    return g.status;
}
