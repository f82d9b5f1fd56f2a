/* /api/v1/look: what goes through all accounts, or asks all servers: too much for a call that anybody may repeat. An operator
 * begins it, one is under way at a time in this migrator, and whoever may look asks how far it is and what the last one found. */
#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "migrator/admin/check.h"
#include "migrator/admin/json_value.h"

#include "api_priv.h"

enum { LOOK_LINES = 500 /* of what was found; more are counted */ };

static const struct look_row {
    const char *what;
    enum action_verb verb;
    bool of_backend, doctor;
} rows[] = {
    {"retire", ACTION_RETIRE, .of_backend = true},
    {"without-proxy", ACTION_DIRECT, .of_backend = false},
    {"doctor", ACTION_STATUS, .doctor = true},
};

struct api_look {
    struct api *api;            /* NULL: freed, and waits for the answer that is still to come */
    const struct look_row *row; /* NULL: there was none yet */
    char *backend, *who;        /* owned */
    uint64_t began_ms, ended_ms;
    bool running;
    struct action_look looked;
    struct check *check;   /* owned; of a doctor */
    struct loop_task task; /* takes that away behind its answer */
    char *result;          /* owned; NULL: it runs */
    const char *verdict;   /* "good", "bad", "failed"; of a fixed text */
    json_t *lines;         /* owned */
    uint64_t more;
};

/* ---- how it ends */

static void look_drop(struct api_look *l)
{
    json_decref(l->lines);
    free(l->backend);
    free(l->who);
    free(l->result);
    free(l);
}

static void look_take_lines(struct api_look *l, json_t *lines)
{
    json_t *o;
    size_t i;

    json_array_foreach(lines, i, o)
    {
        if (json_array_size(l->lines) < LOOK_LINES)
            json_array_append(l->lines, o);
        else
            l->more++;
    }
}

static void look_end(struct api_look *l, const char *verdict, const char *result, json_t *data)
{
    l->running = false;
    l->ended_ms = clock_wall_ms();
    l->verdict = verdict;
    l->result = xstrdup(result);
    look_take_lines(l, json_object_get(data, "checks"));
    LOG(INFO, "api_look", LOG_S("who", l->who), LOG_S("what", l->row->what), LOG_S("verdict", verdict),
        LOG_U("ms", l->ended_ms - l->began_ms));
}

static void look_on_result(void *owner, const struct action_result *r)
{
    struct api_look *l = owner;

    if (!l->api)
        look_drop(l);
    else
        look_end(l,
                 r->rc == ACTION_DONE      ? "good"
                 : r->rc == ACTION_REFUSED ? "bad"
                                           : "failed",
                 r->text, r->data);
}

static void look_on_task(struct loop_task *task)
{
    check_free(&CONTAINER_OF(task, struct api_look, task)->check);
}

static void look_on_checked(void *owner, bool ok, json_t *data)
{
    struct api_look *l = owner;

    look_end(l, ok ? "good" : "bad",
             ok ? "nothing was found that would lose or delay mail" : "something would lose or delay mail",
             data);
    loop_defer(l->api->loop, &l->task);
}

/* ---- how it begins */

static void look_begin(struct api_look *l, const struct look_row *row, const char *backend, const char *who)
{
    free(l->backend);
    free(l->who);
    free(l->result);
    json_decref(l->lines);
    l->row = row;
    l->backend = xstrdup(row->of_backend ? backend : "");
    l->who = xasprintf("token %s", who);
    l->began_ms = clock_wall_ms();
    l->ended_ms = 0;
    l->result = NULL;
    l->lines = json_array();
    l->more = 0;
    l->looked = (struct action_look){0};
    l->running = true;
    if (row->doctor)
        l->check = check_start(
            &(struct check_request){
                .loop = l->api->loop, .conf = l->api->conf, .doctor = true, .serving = true},
            look_on_checked, l);
    else
        api_run(l->api,
                &(struct action){
                    .verb = row->verb, .login = "", .to = l->backend, .who = l->who, .look = &l->looked},
                look_on_result, l);
}

static const struct look_row *look_find(const char *what)
{
    for (size_t i = 0; i < COUNTOF(rows); i++)
        if (!strcmp(rows[i].what, what))
            return &rows[i];
    return NULL;
}

/* ---- what is told */

static json_t *look_json(const struct api_look *l)
{
    json_t *o = json_object();

    json_object_set_new(o, "what", l->row ? json_string(l->row->what) : json_null());
    json_object_set_new(o, "backend", l->row && *l->backend ? json_string(l->backend) : json_null());
    json_object_set_new(o, "who", l->row ? json_string(l->who) : json_null());
    json_object_set_new(o, "running", json_boolean(l->running));
    json_object_set_new(o, "began", json_time(l->began_ms));
    json_object_set_new(o, "ended", json_time(l->ended_ms));
    json_object_set_new(o, "looked_at", json_integer((json_int_t)l->looked.accounts));
    json_object_set_new(o, "verdict", l->result ? json_string(l->verdict) : json_null());
    json_object_set_new(o, "result", l->result ? json_text(span_str(l->result)) : json_null());
    json_object_set_new(o, "checks", l->lines ? json_incref(l->lines) : json_array());
    json_object_set_new(o, "more", json_integer((json_int_t)l->more));
    return o;
}

static void look_on_ask(void *owner, struct http_request *r)
{
    struct api_look *l = owner;
    struct api_who who;

    if (api_gate(l->api, r, TOKEN_READ, &who))
        api_answer(r, 200, look_json(l));
}

static void look_start(struct api_look *l, struct http_request *r, const struct action *a, const char *who)
{
    const struct look_row *row = look_find(a->word);

    if (!row) {
        api_refuse(r, 400, "\"what\" is none of retire, without-proxy and doctor");
    } else if (row->of_backend && !conf_backend(l->api->conf, a->to)) {
        char *text = action_no_backend(l->api->conf, a->to);
        api_refuse(r, 400, "\"to\": %s", text);
        free(text);
    } else if (l->running || l->check) {
        api_refuse(r, 409, "%s began %s, which is under way: one at a time", l->who, l->row->what);
    } else {
        look_begin(l, row, a->to, who);
        api_answer(r, 200, look_json(l));
    }
}

static void look_on_start(void *owner, struct http_request *r)
{
    struct api_look *l = owner;
    struct api_body *b = xcalloc(1, sizeof(*b));
    struct api_who who;

    if (api_gate(l->api, r, TOKEN_OPERATOR, &who) && api_body_read(r, TAKES_LOOK | TAKES_TO, b))
        look_start(l, r, &b->action, who.name);
    api_body_free(b);
    free(b);
}

/* ---- the life of it */

struct api_look *api_look_new(struct api *a)
{
    struct api_look *l = xcalloc(1, sizeof(*l));

    l->api = a;
    l->task.fn = look_on_task;
    return l;
}

void api_look_route(struct api_look *l)
{
    http_server_route(l->api->server, "GET", "/api/v1/look", look_on_ask, l);
    http_server_route(l->api->server, "POST", "/api/v1/look", look_on_start, l);
}

void api_look_free(struct api_look **lp)
{
    struct api_look *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    loop_undefer(l->api->loop, &l->task);
    bool comes = l->running && !l->check;
    check_free(&l->check);
    l->looked.given_up = true;
    l->api = NULL;
    if (!comes)
        look_drop(l);
}
