/* Lists of accounts that are given with a call, a login name a line, as imapferryctl takes them from a file; and POST /api/v1/migrate,
 * which queues all of one. */
#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "migrator/admin/bulk.h"
#include "migrator/admin/bulk_list.h"

#include "api_priv.h"

/* The list of one call that is under way; there is one at a time (api.many_by). */
struct api_list {
    struct api *api;
    struct http_request *request; /* NULL: it has gone */
    struct bulk *bulk;
    char *who; /* owned */
};

bool api_list_read(struct http_request *r, const struct conf *c, const char *names, struct bulk_list *l)
{
    bulk_list_read(l, c, span_str(names));
    for (size_t i = 0; i < l->n_problems; i++) {
        const struct bulk_line *p = &l->problems[i];
        if (p->twice)
            continue;
        api_refuse(r, 400, "line %zu of \"names\": \"%s\" %s", p->number, p->text, p->why);
        return false;
    }
    return true;
}

static bool api_list_may_be_large(void *owner, const struct http_request *r)
{
    return api_gate_list(owner, r);
}

void api_list_allow(struct api *a, const char *path)
{
    http_server_allow_large(a->server, "POST", path, API_LIST_MAX, api_list_may_be_large, a);
}

/* ---- migrate */

void api_list_free(struct api_list **lp)
{
    struct api_list *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    l->api->many_by = NULL;
    bulk_cancel(&l->bulk);
    free(l->who);
    free(l);
}

/* Some could not be queued, since they are no names, or are held: the others were. */
static unsigned api_list_status(enum action_rc rc)
{
    return rc == ACTION_FAILED ? api_status(ACTION_REFUSED) : api_status(rc);
}

static void api_list_on_queued(void *owner, const struct action_result *result)
{
    struct api *a = owner;
    struct api_list *l = a->list;
    unsigned status = api_list_status(result->rc);

    l->bulk = NULL;
    LOG(INFO, "api_change", LOG_S("who", l->who), LOG_S("path", "/api/v1/migrate"), LOG_S("user", ""),
        LOG_U("status", status), LOG_S("result", result->text));
    if (l->request)
        api_answer(l->request, status, json_incref(result->data));
    api_list_free(&a->list);
}

/* What was begun goes on: said again, the list queues those that are not queued yet. */
static void api_list_on_gone(void *owner)
{
    struct api_list *l = owner;

    l->request = NULL;
}

static void api_list_queue(struct api *a, struct http_request *r, const struct api_body *b, const char *who)
{
    struct api_list *l = xcalloc(1, sizeof(*l));
    struct bulk_list list;

    *l = (struct api_list){.api = a, .request = r, .who = xasprintf("token %s", who)};
    a->list = l;
    a->many_by = l->who;
    bulk_list_read(&list, a->conf, span_str(b->names));
    http_request_hold(r, api_list_on_gone, l);
    http_request_allow(r, API_MANY_MS);
    l->bulk = bulk_start(
        &(struct bulk_request){
            .stores = a->stores, .to = b->action.to, .who = l->who, .reason = b->action.reason},
        &list, api_list_on_queued, a);
}

static void api_list_start(struct api *a, struct http_request *r, const struct api_body *b, const char *who)
{
    const char *to = b->action.to;

    if (*to && !conf_backend(a->conf, to)) {
        char *text = action_no_backend(a->conf, to);
        api_refuse(r, 400, "\"to\": %s", text);
        free(text);
    } else if (!*b->names) {
        api_refuse(r, 400, "\"names\" is needed: a login name a line");
    } else if (a->many_by) {
        api_refuse(r, 409, "%s changes many accounts at this moment: one after the other", a->many_by);
    } else if (!stores_are_up(a->stores)) {
        api_refuse(r, 503, "Redis is out of reach");
    } else {
        api_list_queue(a, r, b, who);
    }
}

static void api_list_on_migrate(void *owner, struct http_request *r)
{
    struct api *a = owner;
    struct api_body *b = xcalloc(1, sizeof(*b));
    struct api_who who;

    if (api_gate(a, r, TOKEN_OPERATOR, &who) && api_body_read(r, TAKES_NAMES | TAKES_TO, b))
        api_list_start(a, r, b, who.name);
    api_body_free(b);
    free(b);
}

void api_list_route(struct api *a)
{
    http_server_route(a->server, "POST", "/api/v1/migrate", api_list_on_migrate, a);
    api_list_allow(a, "/api/v1/migrate");
}
