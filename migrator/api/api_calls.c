/* The table of calls, and how one of them goes: the gate, what is asked for, the verb, its answer. */
#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "migrator/admin/json_value.h"

#include "api_priv.h"

static const struct call_row {
    const char *method, *path;
    enum token_role role;
    enum action_verb verb;
    unsigned takes;
    bool report, all; /* of the action */
} rows[] = {
    {"GET", "/api/v1/status", TOKEN_READ, ACTION_STATUS, .takes = 0},
    {"GET", "/api/v1/groups", TOKEN_READ, ACTION_GROUPS, .takes = 0},
    {"GET", "/api/v1/accounts", TOKEN_READ, ACTION_PAGE,
     .takes = TAKES_STATE | TAKES_WORD | TAKES_PAGE | TAKES_COUNT},
    {"GET", "/api/v1/events", TOKEN_READ, ACTION_EVENTS, .takes = TAKES_COUNT},
    {"GET", "/api/v1/history", TOKEN_READ, ACTION_HISTORY, .takes = TAKES_SINCE | TAKES_COUNT},
    {"GET", "/api/v1/audit", TOKEN_READ, ACTION_AUDIT, .takes = 0},
    {"GET", "/api/v1/account", TOKEN_READ, ACTION_USER, .takes = TAKES_USER},
    {"GET", "/api/v1/account/report", TOKEN_READ, ACTION_USER, .takes = TAKES_USER, .report = true},
    {"GET", "/api/v1/account/sessions", TOKEN_READ, ACTION_SESSIONS, .takes = TAKES_USER},
    {"GET", "/api/v1/account/audit", TOKEN_READ, ACTION_AUDIT, .takes = TAKES_USER},
    {"POST", "/api/v1/account/migrate", TOKEN_OPERATOR, ACTION_MIGRATE,
     .takes = TAKES_USER | TAKES_TO | TAKES_NOW},
    {"POST", "/api/v1/account/flip", TOKEN_OPERATOR, ACTION_FLIP,
     .takes = TAKES_USER | TAKES_TO | TAKES_FORCE},
    {"POST", "/api/v1/account/hold", TOKEN_OPERATOR, ACTION_HOLD, .takes = TAKES_USER},
    {"POST", "/api/v1/account/release", TOKEN_OPERATOR, ACTION_RELEASE, .takes = TAKES_USER},
    {"POST", "/api/v1/account/retry", TOKEN_OPERATOR, ACTION_RETRY, .takes = TAKES_USER},
    {"POST", "/api/v1/account/kick", TOKEN_OPERATOR, ACTION_KICK, .takes = TAKES_USER},
    {"POST", "/api/v1/account/waive", TOKEN_OPERATOR, ACTION_WAIVE, .takes = TAKES_USER | TAKES_KEYS},
    {"POST", "/api/v1/account/forget", TOKEN_OPERATOR, ACTION_FORGET, .takes = TAKES_USER},
    {"POST", "/api/v1/retry", TOKEN_OPERATOR, ACTION_RETRY, .takes = TAKES_STATE | TAKES_WORD, .all = true},
    {"POST", "/api/v1/waive", TOKEN_OPERATOR, ACTION_WAIVE,
     .takes = TAKES_KINDS | TAKES_STATE | TAKES_WORD | TAKES_WHICH, .all = true},
    {"GET", "/api/v1/sharing", TOKEN_READ, ACTION_SHARING_LIST, .takes = 0},
    {"GET", "/api/v1/sharing/group", TOKEN_READ, ACTION_SHARING, .takes = TAKES_GROUP},
    {"POST", "/api/v1/sharing/make", TOKEN_OPERATOR, ACTION_SHARING_MAKE, .takes = TAKES_GROUP | TAKES_USERS},
    {"POST", "/api/v1/sharing/add", TOKEN_OPERATOR, ACTION_SHARING_ADD, .takes = TAKES_GROUP | TAKES_USERS},
    {"POST", "/api/v1/sharing/remove", TOKEN_OPERATOR, ACTION_SHARING_REMOVE,
     .takes = TAKES_GROUP | TAKES_USERS},
    {"POST", "/api/v1/sharing/drop", TOKEN_OPERATOR, ACTION_SHARING_DROP, .takes = TAKES_GROUP},
    {"POST", "/api/v1/sharing/migrate", TOKEN_OPERATOR, ACTION_SHARING_MOVE,
     .takes = TAKES_GROUP | TAKES_TO | TAKES_NOW},
    {"POST", "/api/v1/pause", TOKEN_OPERATOR, ACTION_PAUSE, .takes = TAKES_WAVE},
    {"POST", "/api/v1/resume", TOKEN_OPERATOR, ACTION_RESUME, .takes = TAKES_WAVE},
};

/* ---- actions under way: a stop waits for them */

struct api_running {
    struct api *api;
    action_fn fn;
    void *owner;
    struct loop_task task; /* of one that the store is not there for */
};

static void calls_ended(struct api *a)
{
    if (--a->running == 0 && a->stopped)
        loop_defer(a->loop, &a->task);
}

static void calls_on_result(void *owner, const struct action_result *result)
{
    struct api_running *g = owner;
    struct api *a = g->api;

    g->fn(g->owner, result);
    free(g);
    calls_ended(a);
}

static void calls_unreachable(struct loop_task *task)
{
    struct api_running *g = CONTAINER_OF(task, struct api_running, task);
    json_t *data = json_object();
    const char *why = "Redis is out of reach";

    json_object_set_new(data, "error", json_string(why));
    calls_on_result(g, &(struct action_result){.rc = ACTION_UNREACHABLE, .text = why, .data = data});
    json_decref(data);
}

void api_run(struct api *a, const struct action *action, action_fn fn, void *owner)
{
    struct api_running *g = xcalloc(1, sizeof(*g));

    *g = (struct api_running){.api = a, .fn = fn, .owner = owner, .task = {.fn = calls_unreachable}};
    a->running++;
    if (a->stores->n > 1 || store_state(a->stores->all[0]) == STORE_UP)
        action_run(a->stores, action, calls_on_result, g);
    else
        loop_defer(a->loop, &g->task);
}

/* ---- a call */

struct call {
    struct api *api;
    struct http_request *request; /* NULL: it has gone */
    const struct call_row *row;
    char *who; /* owned */
};

unsigned api_status(enum action_rc rc)
{
    static const unsigned of[] = {
        [ACTION_DONE] = 200,      [ACTION_FAILED] = 500,  [ACTION_USAGE] = 400,
        [ACTION_NO_RECORD] = 404, [ACTION_REFUSED] = 409, [ACTION_UNREACHABLE] = 503,
    };

    return of[rc];
}

static void call_free(struct call *c)
{
    free(c->who);
    free(c);
}

static void calls_log(const struct call *c, const struct action_result *result)
{
    const char *user = json_string_value(json_object_get(result->data, "user"));

    if (c->row->role == TOKEN_OPERATOR)
        LOG(INFO, "api_change", LOG_S("who", c->who), LOG_S("path", c->row->path),
            LOG_S("user", user ? user : ""), LOG_U("status", api_status(result->rc)),
            LOG_S("result", result->text));
}

static void calls_on_answer(void *owner, const struct action_result *result)
{
    struct call *c = owner;

    if (c->row->all)
        c->api->many_by = NULL;
    calls_log(c, result);
    if (c->request)
        api_answer(c->request, api_status(result->rc), json_incref(result->data));
    call_free(c);
}

static void calls_on_gone(void *owner)
{
    struct call *c = owner;

    c->request = NULL;
}

/* One that goes through all accounts is under way at a time. */
static void calls_start(struct api *a, struct http_request *r, const struct call_row *row, const char *name,
                        struct api_body *b)
{
    if (row->all && a->many_by) {
        api_refuse(r, 409, "%s changes many accounts at this moment: one after the other", a->many_by);
        return;
    }
    struct call *c = xcalloc(1, sizeof(*c));
    *c = (struct call){.api = a, .request = r, .row = row, .who = xasprintf("token %s", name)};
    if (row->all)
        a->many_by = c->who;
    b->action.verb = row->verb;
    b->action.report = row->report;
    b->action.all = row->all;
    b->action.who = c->who;
    http_request_hold(r, calls_on_gone, c);
    if (row->all)
        http_request_allow(r, API_MANY_MS);
    api_run(a, &b->action, calls_on_answer, c);
}

/* Of a body of 64 KiB with its keys: too much for the stack of each call. */
static void calls_handle(struct api *a, struct http_request *r, const struct call_row *row)
{
    struct api_body *b = xcalloc(1, sizeof(*b));
    struct api_who who;

    if (api_gate(a, r, row->role, &who) && api_body_read(r, row->takes, b))
        calls_start(a, r, row, who.name, b);
    api_body_free(b);
    free(b);
}

/* ---- who asks */

static json_t *calls_backends(const struct conf *c)
{
    json_t *list = json_array();

    for (size_t i = 0; i < c->n_backends; i++)
        json_array_append_new(list, json_string(c->backends[i].name));
    return list;
}

static json_t *calls_rules(const struct conf *c)
{
    json_t *list = json_array();

    for (size_t i = 0; i < c->n_rules; i++)
        json_array_append_new(list, json_string(c->rules[i].pattern));
    return list;
}

/* What a page has to know before it shows anything. */
static void calls_on_me(void *owner, struct http_request *r)
{
    static const char *const cutovers[] = {[CUTOVER_IMMEDIATE] = "immediate",
                                           [CUTOVER_IDLE] = "idle",
                                           [CUTOVER_WINDOW] = "window",
                                           [CUTOVER_MANUAL] = "manual"};
    struct api *a = owner;
    const struct conf_migration *m = &a->conf->migration;
    struct api_who who;

    if (!api_gate(a, r, TOKEN_READ, &who))
        return;
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(who.name));
    json_object_set_new(o, "role", json_string(token_role_word(who.role)));
    json_object_set_new(o, "version", json_string(IMAPFERRY_VERSION));
    json_object_set_new(o, "source", json_string(m->source));
    json_object_set_new(o, "target", json_string(m->target));
    json_object_set_new(o, "trigger", json_string(m->trigger == TRIGGER_LOGIN ? "login" : "manual"));
    json_object_set_new(o, "cutover", json_string(cutovers[m->cutover]));
    json_object_set_new(o, "backends", calls_backends(a->conf));
    json_object_set_new(o, "rules", calls_rules(a->conf));
    json_object_set_new(o, "kinds", action_kinds());
    api_answer(r, 200, o);
}

/* ---- the table as routes */

struct api_route {
    struct api *api;
    const struct call_row *row;
};

static void calls_on_request(void *owner, struct http_request *r)
{
    struct api_route *route = owner;

    calls_handle(route->api, r, route->row);
}

void api_calls_route(struct api *a)
{
    a->routes = xcalloc(COUNTOF(rows), sizeof(*a->routes));
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        a->routes[i] = (struct api_route){a, &rows[i]};
        http_server_route(a->server, rows[i].method, rows[i].path, calls_on_request, &a->routes[i]);
    }
    http_server_route(a->server, "GET", "/api/v1/me", calls_on_me, a);
}
