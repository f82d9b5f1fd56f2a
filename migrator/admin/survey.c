#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/account.h"
#include "lib/xalloc.h"

#include "json_value.h"
#include "planning.h"
#include "survey.h"

enum {
    SURVEY_FAILED_IN_A_ROW = 20, /* then a server is away, not an account at fault */
    SURVEY_FAILED_REST_MS = 500, /* at least, behind each of these: what is away for a moment comes back */
};

struct survey {
    struct survey_request q; /* its out is owned */
    survey_step_fn step;
    survey_end_fn end;
    void *owner;
    struct survey_count count;
    size_t in_a_row;   /* that failed */
    enum action_rc rc; /* of the last plan */
    struct planning *planning;
    struct timer *rest;
    /* What a thread works with while it is busy. */
    uv_work_t work;
    bool busy, dead; /* dead: nobody waits for it, and it is freed once the thread is done */
    FILE *f;
    json_t *done; /* names that the file has */
    json_t *line; /* to be written; NULL: the file is to be opened */
    char *fault;  /* owned; NULL: it went well */
};

static void survey_on_worked(uv_work_t *work, int status);

/* ---- in a thread: the file */

/* One user; NULL: it is no line that a survey has written. To decref. */
static json_t *survey_line(const char *line, size_t n)
{
    json_t *o = json_loadb(line, n, 0, NULL);

    if (json_is_string(json_object_get(o, "user")))
        return o;
    json_decref(o);
    return NULL;
}

/* A last line that a crash left without its end is cut off, and nothing else: it may be another file that was named by mistake. To
 * free; NULL: it was read. */
static char *survey_read(struct survey *s)
{
    char *line = NULL, *fault = NULL;
    size_t room = 0, number = 0;
    long whole = 0;

    for (ssize_t n; !fault && (n = getline(&line, &room, s->f)) > 0;) {
        bool ends = line[n - 1] == '\n';
        json_t *o = ends ? survey_line(line, (size_t)n) : NULL;
        number++;
        whole += ends ? n : 0;
        if (!o && (ends || *line != '{'))
            fault =
                xasprintf("%s:%zu: is no line of a survey, so nothing is written to it", s->q.out, number);
        else if (o && !json_object_get(o, "error")) /* what failed is tried again */
            json_object_set_new(s->done, json_string_value(json_object_get(o, "user")), json_true());
        json_decref(o);
    }
    free(line);
    if (!fault && (ferror(s->f) || ftruncate(fileno(s->f), whole) != 0 || fseek(s->f, whole, SEEK_SET) != 0))
        fault = xasprintf("%s: %s", s->q.out, strerror(errno));
    return fault;
}

/* Two at once would plan all twice, and cut off each other's last line. NULL: it is ours; else why not, to free. */
static char *survey_open(struct survey *s)
{
    int fd = open(s->q.out, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600); /* it names what people have */

    s->f = fd >= 0 ? fdopen(fd, "a+") : NULL;
    if (!s->f || fseek(s->f, 0, SEEK_SET) != 0)
        return xasprintf("%s: %s", s->q.out, strerror(errno));
    if (flock(fileno(s->f), LOCK_EX | LOCK_NB) != 0)
        return xasprintf("%s: %s", s->q.out,
                         errno == EWOULDBLOCK ? "another survey writes to it" : strerror(errno));
    return survey_read(s);
}

static char *survey_write(struct survey *s)
{
    bool good = json_dumpf(s->line, s->f, JSON_COMPACT | JSON_PRESERVE_ORDER) == 0 &&
                fputc('\n', s->f) != EOF && fflush(s->f) == 0;

    return good ? NULL : xasprintf("%s: %s", s->q.out, strerror(errno));
}

static void survey_in_thread(uv_work_t *work)
{
    struct survey *s = CONTAINER_OF(work, struct survey, work);

    s->fault = s->line ? survey_write(s) : survey_open(s);
}

static void survey_work(struct survey *s)
{
    s->busy = true;
    uv_queue_work(&s->q.m->loop->uv, &s->work, survey_in_thread, survey_on_worked);
}

/* ---- the end */

static void survey_free(struct survey *s)
{
    if (s->f)
        fclose(s->f);
    json_decref(s->done);
    json_decref(s->line);
    free(s->fault);
    free((char *)s->q.out);
    free(s);
}

void survey_cancel(struct survey **sp)
{
    struct survey *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    planning_cancel(&s->planning);
    timer_free(&s->rest);
    s->dead = true;
    if (!s->busy)
        survey_free(s);
}

/* Takes error. */
static void survey_finish(struct survey *s, enum action_rc rc, char *error)
{
    struct survey_count count = s->count;
    survey_end_fn end = s->end;
    void *owner = s->owner;

    survey_cancel(&s);
    end(owner, rc, &count, error ? error : "");
    free(error);
}

/* ---- going through the list */

static void survey_on_planned(void *owner, enum action_rc rc, json_t *data)
{
    struct survey *s = owner;

    s->planning = NULL;
    s->rc = rc;
    s->count.planned += rc == ACTION_DONE;
    s->count.failed += rc != ACTION_DONE;
    /* An account that lives on the other server, or can't be signed in for, says nothing of servers. */
    s->in_a_row = rc == ACTION_DONE || rc == ACTION_REFUSED ? 0 : s->in_a_row + 1;
    s->line = data ? json_copy(data) : json_pack("{s:s}", "error", "is no name that can sign in");
    json_object_set_new(s->line, "user", json_string(s->q.list->accounts[s->count.at].text));
    json_object_set_new(s->line, "time", json_time(clock_wall_ms()));
    survey_work(s);
}

static void survey_plan(void *owner)
{
    struct survey *s = owner;
    char *login = account_login(s->q.list->accounts[s->count.at].text);

    if (s->count.began_ms == 0)
        s->count.began_ms = clock_boot_ms();
    if (login)
        s->planning = planning_start(s->q.m, login, survey_on_planned, s);
    else
        survey_on_planned(s, ACTION_FAILED, NULL);
    free(login);
}

/* The next that was not done before. */
static void survey_next(struct survey *s)
{
    const struct bulk_list *list = s->q.list;
    uint64_t rest =
        s->in_a_row > 0 && s->q.pause_ms < SURVEY_FAILED_REST_MS ? SURVEY_FAILED_REST_MS : s->q.pause_ms;

    while (s->count.at < list->n_accounts && json_object_get(s->done, list->accounts[s->count.at].text)) {
        s->count.at++;
        s->count.before++;
    }
    if (s->step)
        s->step(s->owner);
    if (s->count.at == list->n_accounts)
        survey_finish(s, s->count.failed ? ACTION_FAILED : ACTION_DONE, NULL);
    else
        timer_start(s->rest, s->count.planned + s->count.failed > 0 ? rest : 0);
}

static void survey_on_worked(uv_work_t *work, int status)
{
    struct survey *s = CONTAINER_OF(work, struct survey, work);

    (void)status;
    s->busy = false;
    if (s->dead) {
        survey_free(s);
        return;
    }
    s->count.at += s->line != NULL;
    json_decref(s->line);
    s->line = NULL;
    char *fault = s->fault;
    s->fault = NULL;
    if (fault)
        survey_finish(s, ACTION_FAILED, fault);
    else if (s->in_a_row == SURVEY_FAILED_IN_A_ROW)
        survey_finish(s, s->rc, xstrdup("so many accounts in a row could not be planned that it stops here"));
    else
        survey_next(s);
}

struct survey *survey_start(const struct survey_request *q, survey_step_fn step, survey_end_fn end,
                            void *owner)
{
    struct survey *s = xcalloc(1, sizeof(*s));

    *s = (struct survey){.q = *q, .step = step, .end = end, .owner = owner, .done = json_object()};
    s->q.out = xstrdup(q->out);
    s->count.n = q->list->n_accounts;
    s->rest = timer_new(q->m->loop, survey_plan, s);
    survey_work(s);
    return s;
}

struct survey_count survey_count(const struct survey *s)
{
    return s->count;
}
