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
    struct check_request request;
    struct check *check;
    struct loop_task next;
    json_t *data; /* owned; of the first, with the lines of the others */
};

static void ctl_check_on_checked(void *owner, bool ok, json_t *data);

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

/* The next store, or the end: stores behind the first are looked at one after the other. */
static void ctl_check_go_on(struct checking *g)
{
    check_free(&g->check);
    if (g->request.login || ++g->request.store >= g->request.conf->redis.n_stores) {
        loop_stop(g->loop);
        return;
    }
    g->check = check_start(&g->request, ctl_check_on_checked, g);
}

static void ctl_check_on_next(struct loop_task *task)
{
    ctl_check_go_on(CONTAINER_OF(task, struct checking, next));
}

/* What was found of another store too, word for word, is told once. */
static void ctl_check_add(json_t *lines, const json_t *more)
{
    size_t i, k;
    json_t *line, *known;

    json_array_foreach(more, i, line)
    {
        bool found = false;
        json_array_foreach(lines, k, known) found = found || json_equal(known, line);
        if (!found)
            json_array_append(lines, line);
    }
}

static void ctl_check_on_checked(void *owner, bool ok, json_t *data)
{
    struct checking *g = owner;

    if (!g->data) {
        g->data = json_incref(data);
    } else {
        ctl_check_add(json_object_get(g->data, "checks"), json_object_get(data, "checks"));
        if (!ok)
            json_object_set_new(g->data, "ok", json_false());
    }
    loop_defer(g->loop, &g->next);
}

static void ctl_check_tell(struct checking *g, const char *fault, bool json)
{
    json_t *lines = json_object_get(g->data, "checks");

    if (fault)
        json_array_insert_new(lines, 0, line_of_fault(fault));
    if (json)
        ctl_print_json(g->data);
    else
        print_lines(lines);
}

int ctl_check(const struct conf *conf, const char *login, bool doctor, const char *fault, bool json)
{
    struct checking g = {.loop = loop_new(),
                         .request = {.conf = conf, .login = login, .doctor = doctor},
                         .next.fn = ctl_check_on_next};

    g.request.loop = g.loop;
    g.check = check_start(&g.request, ctl_check_on_checked, &g);
    loop_run(g.loop);
    check_free(&g.check);
    ctl_check_tell(&g, fault, json);
    bool ok = json_is_true(json_object_get(g.data, "ok"));
    json_decref(g.data);
    loop_free(&g.loop);
    return ok ? ACTION_DONE : ACTION_FAILED;
}
