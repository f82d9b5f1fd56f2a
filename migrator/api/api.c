#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "api_priv.h"

enum { BODY_MAX = 256 << 10, STREAM_MAX = 512 << 10, STREAMS_MAX = 16 };

static void api_on_stopped(struct loop_task *task)
{
    struct api *a = CONTAINER_OF(task, struct api, task);
    api_stopped_fn fn = a->stopped;

    a->stopped = NULL;
    if (fn)
        fn(a->stopped_owner);
}

static struct http_server *api_bind(struct loop *l, const struct conf_admin *c, char **error)
{
    return http_server_new(l,
                           &(struct http_settings){.listen = c->listen,
                                                   .cert_file = c->tls_cert,
                                                   .key_file = c->tls_key,
                                                   .body_max = BODY_MAX,
                                                   .stream_max = STREAM_MAX,
                                                   .streams_max = STREAMS_MAX},
                           error);
}

struct api *api_new(struct loop *l, const struct conf *conf, char **error)
{
    struct tokens *tokens;
    struct api *a;

    *error = NULL;
    if (!*conf->admin.listen || !(tokens = tokens_load(conf->admin.token_file, error)))
        return NULL;
    a = xcalloc(1, sizeof(*a));
    *a = (struct api){.loop = l, .conf = conf, .tokens = tokens, .task = {.fn = api_on_stopped}};
    a->server = api_bind(l, &conf->admin, error);
    if (!a->server) {
        api_free(&a);
        return NULL;
    }
    a->live = api_live_new(a);
    a->look = api_look_new(a);
    a->survey = api_survey_new(a);
    api_calls_route(a);
    api_live_route(a->live);
    api_look_route(a->look);
    api_list_route(a);
    api_survey_route(a->survey);
    api_page_route(a);
    return a;
}

bool api_start(struct api *a, struct migrator *m, struct stores *s, char **error)
{
    a->stores = s;
    a->m = m;
    return http_server_start(a->server, error);
}

bool api_renew(struct api *a, const struct conf *fresh, char **error)
{
    tokens_free(&a->fresh);
    a->fresh = tokens_load(fresh->admin.token_file, error);
    return a->fresh != NULL;
}

void api_renewed(struct api *a, bool take)
{
    struct tokens *before = a->tokens;

    if (take && a->fresh) {
        a->tokens = a->fresh;
        a->fresh = before;
    }
    tokens_free(&a->fresh);
}

void api_stop(struct api *a, api_stopped_fn fn, void *owner)
{
    http_server_free(&a->server);
    api_live_free(&a->live);
    api_look_free(&a->look);
    api_survey_free(&a->survey);
    api_list_free(&a->list);
    a->stopped = fn;
    a->stopped_owner = owner;
    if (a->running == 0)
        loop_defer(a->loop, &a->task);
}

void api_free(struct api **ap)
{
    struct api *a = *ap;

    *ap = NULL;
    if (!a)
        return;
    http_server_free(&a->server);
    api_live_free(&a->live);
    api_look_free(&a->look);
    api_survey_free(&a->survey);
    api_list_free(&a->list);
    loop_undefer(a->loop, &a->task);
    if (a->running > 0)
        return; /* the process ends before their answers */
    tokens_free(&a->tokens);
    tokens_free(&a->fresh);
    free(a->routes);
    free(a->files);
    free(a);
}
