/* /api/v1/look: what goes through all accounts, or asks all servers: too much for a call that anybody may repeat. An operator
 * begins it, one is under way at a time in this migrator, and whoever may look asks how far it is and what the last one found. */
#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "migrator/admin/bulk_list.h"
#include "migrator/admin/check.h"
#include "migrator/admin/json_value.h"
#include "migrator/admin/planning.h"

#include "api_priv.h"

enum { LOOK_LINES = 500 /* of what was found; more are counted */ };

enum look_kind { LOOK_VERB, LOOK_REPORT, LOOK_DOCTOR, LOOK_PLAN };
static const struct look_row {
    const char *what;
    enum look_kind kind;
    enum action_verb verb;
    bool of_backend;
} rows[] = {
    {"retire", LOOK_VERB, ACTION_RETIRE, .of_backend = true},
    {"without-proxy", LOOK_VERB, ACTION_DIRECT, .of_backend = false},
    {"report", LOOK_REPORT, ACTION_REPORT, .of_backend = false},
    {"doctor", LOOK_DOCTOR, ACTION_STATUS, .of_backend = false},
    {"plan", LOOK_PLAN, ACTION_STATUS, .of_backend = false},
};

struct api_look {
    struct api *api;            /* NULL: freed, and waits for the answer that is still to come */
    const struct look_row *row; /* NULL: there was none yet */
    char *backend, *user, *who; /* owned; of it; "" where none is meant */
    uint64_t began_ms, ended_ms;
    bool running;
    struct action_look looked;
    struct check *check;       /* owned; of a doctor */
    struct planning *planning; /* owned; of a plan */
    struct loop_task task;     /* takes the check away behind its answer */
    char *result;              /* owned; NULL: it runs */
    const char *verdict;       /* "good", "bad", "failed"; of a fixed text */
    json_t *lines;             /* owned */
    uint64_t more;
    size_t listed;             /* names of the list that was given */
    struct api_report *report; /* owned; of a report; NULL: none was made */
    json_t *plan;              /* owned; NULL: none was made */
};

/* ---- how it ends */

static void look_drop(struct api_look *l)
{
    json_decref(l->lines);
    json_decref(l->plan);
    api_report_free(&l->report);
    free(l->backend);
    free(l->user);
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

static const char *look_verdict(enum action_rc rc)
{
    return rc == ACTION_DONE ? "good" : rc == ACTION_REFUSED ? "bad" : "failed";
}

static void look_on_result(void *owner, const struct action_result *r)
{
    struct api_look *l = owner;

    if (!l->api)
        look_drop(l);
    else
        look_end(l, look_verdict(r->rc), r->text, r->data);
}

static void look_on_reported(void *owner, const struct action_result *r)
{
    struct api_look *l = owner;

    if (!l->api) {
        look_drop(l);
        return;
    }
    if (r->rc == ACTION_DONE)
        api_report_finish(l->report, r->data);
    else
        api_report_free(&l->report);
    look_end(l, look_verdict(r->rc), r->rc == ACTION_DONE ? "the report is made" : r->text, NULL);
}

static void look_on_planned(void *owner, enum action_rc rc, json_t *data)
{
    struct api_look *l = owner;
    const char *error = json_string_value(json_object_get(data, "error"));
    bool blocked = json_is_true(json_object_get(data, "blocked"));

    l->planning = NULL;
    l->plan = rc == ACTION_DONE ? json_incref(data) : NULL;
    look_end(l,
             rc != ACTION_DONE ? "failed"
             : blocked         ? "bad"
                               : "good",
             error     ? error
             : blocked ? "the account would be blocked until that is put right or waived"
                       : "nothing that is known now would stop it",
             NULL);
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

/* What the one before has left is gone. */
static void look_forget(struct api_look *l)
{
    free(l->backend);
    free(l->user);
    free(l->who);
    free(l->result);
    json_decref(l->lines);
    json_decref(l->plan);
    api_report_free(&l->report);
    l->result = NULL;
    l->plan = NULL;
    l->ended_ms = 0;
    l->more = 0;
    l->listed = 0;
    l->looked = (struct action_look){0};
}

static void look_begin_verb(struct api_look *l, struct action a, const struct bulk_list *list)
{
    const char **names = xcalloc(list->n_accounts + 1, sizeof(*names));
    bool report = l->row->kind == LOOK_REPORT;

    for (size_t i = 0; i < list->n_accounts; i++)
        names[i] = list->accounts[i].text;
    a.verb = l->row->verb;
    a.login = "";
    a.to = l->backend;
    a.who = l->who;
    a.look = &l->looked;
    a.keys = names;
    a.n_keys = l->listed = list->n_accounts;
    a.all = list->n_accounts > 0;
    if (report)
        l->report = api_report_new(&a.out);
    api_run(l->api, &a, report ? look_on_reported : look_on_result, l);
    free(names);
}

static void look_begin(struct api_look *l, const struct look_row *row, const struct action *a,
                       const struct bulk_list *list, const char *who)
{
    look_forget(l);
    l->row = row;
    l->backend = xstrdup(row->of_backend ? a->to : "");
    l->user = xstrdup(row->kind == LOOK_PLAN ? a->login : "");
    l->who = xasprintf("token %s", who);
    l->began_ms = clock_wall_ms();
    l->lines = json_array();
    l->running = true;
    if (row->kind == LOOK_DOCTOR)
        l->check = check_start(
            &(struct check_request){
                .loop = l->api->loop, .conf = l->api->conf, .doctor = true, .serving = true},
            look_on_checked, l);
    else if (row->kind == LOOK_PLAN)
        l->planning = planning_start(l->api->m, l->user, look_on_planned, l);
    else
        look_begin_verb(l, *a, list);
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
    json_object_set_new(o, "user", l->row && *l->user ? json_text(span_str(l->user)) : json_null());
    json_object_set_new(o, "who", l->row ? json_string(l->who) : json_null());
    json_object_set_new(o, "running", json_boolean(l->running));
    json_object_set_new(o, "began", json_time(l->began_ms));
    json_object_set_new(o, "ended", json_time(l->ended_ms));
    json_object_set_new(o, "listed", json_integer((json_int_t)l->listed));
    json_object_set_new(o, "looked_at", json_integer((json_int_t)l->looked.accounts));
    json_object_set_new(o, "verdict", l->result ? json_string(l->verdict) : json_null());
    json_object_set_new(o, "result", l->result ? json_text(span_str(l->result)) : json_null());
    json_object_set_new(o, "checks", l->lines ? json_incref(l->lines) : json_array());
    json_object_set_new(o, "more", json_integer((json_int_t)l->more));
    json_object_set_new(o, "report", l->report && !l->running ? api_report_json(l->report) : json_null());
    json_object_set_new(o, "plan", l->plan ? json_incref(l->plan) : json_null());
    return o;
}

static void look_on_ask(void *owner, struct http_request *r)
{
    struct api_look *l = owner;
    struct api_who who;

    if (api_gate(l->api, r, TOKEN_READ, &who))
        api_answer(r, 200, look_json(l));
}

/* What stands there that this look does not take; NULL: nothing. A server is none of it: it was always overlooked where it is not asked for. */
static const char *look_misfit(const struct look_row *row, const struct api_body *b)
{
    const struct action *a = &b->action;
    const struct {
        const char *name, *given;
        bool taken;
    } parts[] = {{"names", b->names, row->of_backend},
                 {"user", a->login, row->kind == LOOK_PLAN},
                 {"domain", a->domain, row->kind == LOOK_REPORT},
                 {"rule", a->rule, row->kind == LOOK_REPORT},
                 {"backend", a->backend, row->kind == LOOK_REPORT},
                 {"state", a->state, row->kind == LOOK_REPORT},
                 {"word", a->word, row->kind == LOOK_REPORT}};

    for (size_t i = 0; i < COUNTOF(parts); i++)
        if (*parts[i].given && !parts[i].taken)
            return parts[i].name;
    return NULL;
}

/* False: it was answered. */
static bool look_may_begin(struct api_look *l, struct http_request *r, const struct look_row *row,
                           const struct api_body *b)
{
    const char *misfit = row ? look_misfit(row, b) : NULL;

    if (!row) {
        api_refuse(r, 400, "\"what\" is none of retire, without-proxy, report, plan and doctor");
    } else if (misfit) {
        api_refuse(r, 400, "\"%s\" is nothing for %s", misfit, row->what);
    } else if (row->kind == LOOK_PLAN && !*b->action.login) {
        api_refuse(r, 400, "\"user\" is needed");
    } else if (row->of_backend && !conf_backend(l->api->conf, b->action.to)) {
        char *text = action_no_backend(l->api->conf, b->action.to);
        api_refuse(r, 400, "\"to\": %s", text);
        free(text);
    } else if (l->running || l->check) {
        api_refuse(r, 409, "%s began %s, which is under way: one at a time", l->who, l->row->what);
    } else {
        return true;
    }
    return false;
}

static void look_start(struct api_look *l, struct http_request *r, const struct api_body *b, const char *who)
{
    const struct look_row *row = look_find(b->what);
    struct bulk_list list;

    if (!look_may_begin(l, r, row, b))
        return;
    if (api_list_read(r, l->api->conf, b->names, &list)) {
        look_begin(l, row, &b->action, &list, who);
        api_answer(r, 200, look_json(l));
    }
    bulk_list_free(&list);
}

static void look_on_start(void *owner, struct http_request *r)
{
    struct api_look *l = owner;
    struct api_body *b = xcalloc(1, sizeof(*b));
    struct api_who who;

    if (api_gate(l->api, r, TOKEN_OPERATOR, &who) &&
        api_body_read(r,
                      TAKES_WHAT | TAKES_NO_REASON | TAKES_TO | TAKES_NAMES | TAKES_ACCOUNT | TAKES_WHICH |
                          TAKES_STATE | TAKES_WORD,
                      b))
        look_start(l, r, b, who.name);
    api_body_free(b);
    free(b);
}

/* ---- the report, to take away */

static void look_give(struct api_look *l, struct http_request *r, const char *format)
{
    static const char *const formats[] = {"json", "csv", "text"};
    bool known = false;

    for (size_t i = 0; i < COUNTOF(formats); i++)
        known = known || !strcmp(formats[i], format);
    if (!known)
        api_refuse(r, 400, "format is none of json, csv and text");
    else if (!l->report || l->running)
        api_refuse(r, 404, "the last look was no report of many accounts, or it is not made yet");
    else
        api_report_give(r, l->report, format);
}

static void look_on_give(void *owner, struct http_request *r)
{
    struct api_look *l = owner;
    struct api_body *b = xcalloc(1, sizeof(*b));
    struct api_who who;

    if (api_gate(l->api, r, TOKEN_READ, &who) && api_body_read(r, TAKES_FORMAT, b))
        look_give(l, r, *b->format ? b->format : "json");
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
    http_server_route(l->api->server, "GET", "/api/v1/look/report", look_on_give, l);
    api_list_allow(l->api, "/api/v1/look");
}

void api_look_free(struct api_look **lp)
{
    struct api_look *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    loop_undefer(l->api->loop, &l->task);
    bool comes = l->running && !l->check && !l->planning;
    check_free(&l->check);
    planning_cancel(&l->planning);
    l->looked.given_up = true;
    l->api = NULL;
    if (!comes)
        look_drop(l);
}
