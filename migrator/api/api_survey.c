/* /api/v1/survey: plans of many accounts, one after the other, by this migrator (../admin/survey.h): within the connections and the pace
 * that its jobs share. An operator gives the list and may stop it; whoever may look asks how far it is and what was found. The plans
 * stand in the file survey/plans in journal_dir, so the same list goes on with a survey that was stopped, also after a restart, and
 * `imapferryctl report --survey` reads it too. What is found is added up by a thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "migrator/admin/bulk_list.h"
#include "migrator/admin/json_value.h"
#include "migrator/admin/survey.h"
#include "migrator/admin/survey_sum.h"

#include "api_priv.h"

enum {
    SURVEY_SUM_MS = 3000,  /* at least between the end of one addition and the beginning of the next ... */
    SURVEY_SUM_TIMES = 20, /* ... and so many times what it took */
    SURVEY_POINTS = 2000,
    SURVEY_GROUPS = 100, /* that share, of the largest */
};

struct api_survey {
    struct api *api;
    char *path;            /* owned */
    struct survey *survey; /* NULL: none is under way */
    struct bulk_list list; /* of it */
    char *who, *why;       /* owned; NULL: nobody began one; it was not cut short */
    uint64_t began_ms, ended_ms;
    struct survey_count count;
    size_t bad_lines;
    /* What a thread does with the file. */
    uv_work_t work;
    size_t group_max; /* of the configuration, which its thread may outlive with the API */
    bool busy, erases;
    size_t pending; /* threads and questions that are not answered yet */
    bool dead;      /* freed, but for these */
    json_t *fresh;  /* of the thread; NULL: there is none */
    char *fault;    /* of the thread; owned; NULL: it went well */
    json_t *sum;    /* owned; the last one; NULL: none */
    char *sum_fault;
    bool stale; /* the file has more than the sum */
    uint64_t work_ms, next_ms,
        sum_ms; /* clock_boot_ms(): the thread began, the next may begin; the sum's time */
};

static void api_survey_drop(struct api_survey *s)
{
    bulk_list_free(&s->list);
    json_decref(s->fresh);
    json_decref(s->sum);
    free(s->fault);
    free(s->sum_fault);
    free(s->path);
    free(s->who);
    free(s->why);
    free(s);
}

/* One of what is pending has come. False: nobody waits for it any more. */
static bool api_survey_is_wanted(struct api_survey *s)
{
    s->pending--;
    if (!s->dead)
        return true;
    if (s->pending == 0)
        api_survey_drop(s);
    return false;
}

/* ---- the file, in a thread */

/* Who still writes, as the last line of a survey that was stopped, or imapferryctl, would leave a plan behind. */
static void api_survey_erase_file(struct api_survey *s)
{
    int fd = open(s->path, O_WRONLY | O_CLOEXEC);

    if (fd < 0) {
        s->fault = errno == ENOENT ? NULL : xasprintf("%s: %s", s->path, strerror(errno));
        return;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        s->fault = xasprintf("%s: a survey still writes to it, so nothing is erased: say it again", s->path);
    else if (ftruncate(fd, 0) != 0)
        s->fault = xasprintf("%s: %s", s->path, strerror(errno));
    close(fd);
}

static void api_survey_add_up(struct api_survey *s)
{
    FILE *f = fopen(s->path, "re");
    size_t line = 0;

    s->fresh = f ? survey_sum(f, s->group_max, &line) : NULL;
    survey_cut_groups(s->fresh, SURVEY_GROUPS);
    if (f && !s->fresh)
        s->fault = xasprintf("%s:%zu: is no line of a survey", s->path, line);
    else if (!f && errno != ENOENT)
        s->fault = xasprintf("%s: %s", s->path, strerror(errno));
    if (f)
        fclose(f);
}

static void api_survey_in_thread(uv_work_t *work)
{
    struct api_survey *s = CONTAINER_OF(work, struct api_survey, work);

    if (s->erases)
        api_survey_erase_file(s);
    else
        api_survey_add_up(s);
}

/* Without Redis, or where nothing was ever copied, there is no rate to tell hours by. */
static void api_survey_on_history(void *owner, const struct action_result *r)
{
    struct api_survey *s = owner;

    if (api_survey_is_wanted(s) && r->rc == ACTION_DONE && s->sum)
        survey_add_hours(s->sum, json_object_get(r->data, "points"));
}

static void api_survey_take_sum(struct api_survey *s)
{
    uint64_t now = clock_boot_ms(), rest = (now - s->work_ms) * SURVEY_SUM_TIMES;

    s->next_ms = now + (rest > SURVEY_SUM_MS ? rest : SURVEY_SUM_MS);
    s->sum_ms = clock_wall_ms();
    json_decref(s->sum);
    s->sum = s->fresh && json_integer_value(json_object_get(s->fresh, "accounts")) +
                                 (json_int_t)json_array_size(json_object_get(s->fresh, "failed")) >
                             0
                 ? json_incref(s->fresh)
                 : NULL;
    if (!s->sum)
        return;
    s->pending++;
    api_run(s->api, &(struct action){.verb = ACTION_HISTORY, .login = "", .count = SURVEY_POINTS},
            api_survey_on_history, s);
}

static void api_survey_on_worked(uv_work_t *work, int status)
{
    struct api_survey *s = CONTAINER_OF(work, struct api_survey, work);

    (void)status;
    s->busy = false;
    if (!api_survey_is_wanted(s))
        return;
    free(s->sum_fault);
    s->sum_fault = s->fault;
    s->fault = NULL;
    api_survey_take_sum(s);
    json_decref(s->fresh);
    s->fresh = NULL;
}

static void api_survey_work(struct api_survey *s, bool erases)
{
    s->busy = true;
    s->erases = erases;
    s->group_max = s->api->conf->migration.group_max;
    s->stale = false;
    s->pending++;
    s->work_ms = clock_boot_ms();
    uv_queue_work(&s->api->loop->uv, &s->work, api_survey_in_thread, api_survey_on_worked);
}

/* ---- what is told */

static json_t *api_survey_left(const struct api_survey *s)
{
    const struct survey_count *c = &s->count;
    size_t tried = c->planned + c->failed;

    return s->survey && tried > 0
               ? json_integer((json_int_t)((clock_boot_ms() - c->began_ms) / tried * (c->n - c->at) / 1000))
               : json_null();
}

static json_t *api_survey_json(const struct api_survey *s)
{
    const struct survey_count *c = &s->count;
    const struct {
        const char *name;
        size_t n;
    } numbers[] = {{"accounts", c->n},    {"done", c->at},       {"planned", c->planned},
                   {"before", c->before}, {"failed", c->failed}, {"bad_lines", s->bad_lines}};
    json_t *o = json_object();

    json_object_set_new(o, "running", json_boolean(s->survey != NULL));
    json_object_set_new(o, "who", s->who ? json_string(s->who) : json_null());
    json_object_set_new(o, "began", json_time(s->began_ms));
    json_object_set_new(o, "ended", json_time(s->ended_ms));
    for (size_t i = 0; i < COUNTOF(numbers); i++)
        json_object_set_new(o, numbers[i].name, json_integer((json_int_t)numbers[i].n));
    json_object_set_new(o, "left_s", api_survey_left(s));
    json_object_set_new(o, "why", s->why ? json_text(span_str(s->why)) : json_null());
    json_object_set_new(o, "adding", json_boolean(s->busy || s->stale));
    json_object_set_new(o, "added", json_time(s->sum_ms));
    json_object_set_new(o, "added_why", s->sum_fault ? json_text(span_str(s->sum_fault)) : json_null());
    json_object_set_new(o, "result", s->sum ? json_incref(s->sum) : json_null());
    return o;
}

static void api_survey_on_ask(void *owner, struct http_request *r)
{
    struct api_survey *s = owner;
    struct api_who who;

    if (!api_gate(s->api, r, TOKEN_READ, &who))
        return;
    if (s->stale && !s->busy && clock_boot_ms() >= s->next_ms)
        api_survey_work(s, false);
    api_answer(r, 200, api_survey_json(s));
}

/* ---- it begins, and ends */

static void api_survey_ended(struct api_survey *s, const char *why)
{
    s->survey = NULL;
    s->stale = true;
    s->next_ms = 0;
    s->ended_ms = clock_wall_ms();
    s->why = *why ? xstrdup(why) : NULL;
    bulk_list_free(&s->list);
    LOG(INFO, "api_survey", LOG_S("who", s->who), LOG_U("planned", s->count.planned),
        LOG_U("failed", s->count.failed), LOG_S("why", why));
}

static void api_survey_on_end(void *owner, enum action_rc rc, const struct survey_count *count,
                              const char *error)
{
    struct api_survey *s = owner;

    (void)rc;
    s->count = *count;
    api_survey_ended(s, error);
}

static void api_survey_on_step(void *owner)
{
    struct api_survey *s = owner;

    s->count = survey_count(s->survey);
    s->stale = true;
}

static void api_survey_begin(struct api_survey *s, const char *who, uint64_t pause_ms)
{
    free(s->who);
    free(s->why);
    s->who = xasprintf("token %s", who);
    s->why = NULL;
    s->bad_lines = s->list.n_problems;
    s->count = (struct survey_count){.n = s->list.n_accounts};
    s->began_ms = clock_wall_ms();
    s->ended_ms = 0;
    s->survey = survey_start(
        &(struct survey_request){.m = s->api->m, .list = &s->list, .out = s->path, .pause_ms = pause_ms},
        api_survey_on_step, api_survey_on_end, s);
    LOG(INFO, "api_survey", LOG_S("who", s->who), LOG_U("accounts", s->list.n_accounts));
}

static void api_survey_start_or_refuse(struct api_survey *s, struct http_request *r, const struct api_body *b,
                                       const char *who)
{
    struct bulk_list list;

    if (s->busy && s->erases) {
        api_refuse(r, 409, "the plans of the last survey are being erased: say it again");
        return;
    }
    if (s->survey) {
        api_refuse(r, 409, "%s began a survey, which is under way: stop it first",
                   s->who ? s->who : "somebody");
        return;
    }
    bulk_list_read(&list, s->api->conf, span_str(b->names));
    if (list.n_accounts == 0) {
        api_refuse(r, 400, "\"names\" has no account: a login name a line is wanted");
        bulk_list_free(&list);
        return;
    }
    s->list = list;
    api_survey_begin(s, who, b->pause_ms);
    api_answer(r, 200, api_survey_json(s));
}

static void api_survey_on_start(void *owner, struct http_request *r)
{
    struct api_survey *s = owner;
    struct api_body *b = xcalloc(1, sizeof(*b));
    struct api_who who;

    if (api_gate(s->api, r, TOKEN_OPERATOR, &who) &&
        api_body_read(r, TAKES_NO_REASON | TAKES_NAMES | TAKES_PAUSE, b))
        api_survey_start_or_refuse(s, r, b, who.name);
    api_body_free(b);
    free(b);
}

/* Of a call that takes nothing but its name. */
static bool api_survey_may(struct api_survey *s, struct http_request *r, struct api_who *_who)
{
    struct api_body *b = xcalloc(1, sizeof(*b));
    bool may = api_gate(s->api, r, TOKEN_OPERATOR, _who) && api_body_read(r, TAKES_NO_REASON, b);

    api_body_free(b);
    free(b);
    return may;
}

static void api_survey_on_stop(void *owner, struct http_request *r)
{
    struct api_survey *s = owner;
    struct api_who who;

    if (!api_survey_may(s, r, &who))
        return;
    if (!s->survey) {
        api_refuse(r, 409, "no survey is under way");
        return;
    }
    char *why = xasprintf("token %s stopped it", who.name);
    survey_cancel(&s->survey);
    api_survey_ended(s, why);
    free(why);
    api_answer(r, 200, api_survey_json(s));
}

static void api_survey_on_erase(void *owner, struct http_request *r)
{
    struct api_survey *s = owner;
    struct api_who who;

    if (!api_survey_may(s, r, &who))
        return;
    if (s->survey || s->busy) {
        api_refuse(r, 409, s->survey ? "a survey is under way: stop it first" : "it is read at this moment");
        return;
    }
    json_decref(s->sum);
    s->sum = NULL;
    s->count = (struct survey_count){0};
    LOG(INFO, "api_survey", LOG_S("who", who.name), LOG_S("why", "its plans are erased"));
    api_survey_work(s, true);
    api_answer(r, 200, api_survey_json(s));
}

/* ---- the life of it */

static char *api_survey_folder(const struct conf *c)
{
    return xasprintf("%s/survey", c->migrator.journal_dir);
}

char *api_folder_make(const struct conf *c)
{
    char *folder = api_survey_folder(c);

    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        LOG(WARN, "api_survey", LOG_S("path", folder), LOG_S("why", strerror(errno)));
    return folder;
}

struct api_survey *api_survey_new(struct api *a)
{
    struct api_survey *s = xcalloc(1, sizeof(*s));
    char *folder = api_survey_folder(a->conf);

    s->api = a;
    s->stale = true; /* one that was stopped before may have left its file */
    s->path = xasprintf("%s/plans", folder);
    free(folder);
    return s;
}

void api_survey_route(struct api_survey *s)
{
    http_server_route(s->api->server, "GET", "/api/v1/survey", api_survey_on_ask, s);
    http_server_route(s->api->server, "POST", "/api/v1/survey", api_survey_on_start, s);
    http_server_route(s->api->server, "POST", "/api/v1/survey/stop", api_survey_on_stop, s);
    http_server_route(s->api->server, "POST", "/api/v1/survey/erase", api_survey_on_erase, s);
    api_list_allow(s->api, "/api/v1/survey");
}

void api_survey_free(struct api_survey **sp)
{
    struct api_survey *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    survey_cancel(&s->survey);
    s->dead = true;
    if (s->pending == 0)
        api_survey_drop(s);
}
