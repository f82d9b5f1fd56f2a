#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "lib/account.h"
#include "lib/loop.h"
#include "lib/xalloc.h"

#include "actions.h"
#include "ctl_plan.h"
#include "ctl_print.h"
#include "ctl_screen.h"
#include "ctl_survey.h"
#include "ctl_text.h"
#include "json_value.h"

enum { SURVEY_BAR = 20, SURVEY_FAILED_IN_A_ROW = 20 /* then a server is away, not an account at fault */ };

struct surveying {
    const struct survey_request *q;
    FILE *f;
    json_t *done; /* names that the result has; owned */
    size_t planned, before, failed, in_a_row;
    uint64_t began_ms;
    bool terminal;
};

/* ---- the result */

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
static char *survey_read(struct surveying *s)
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
                xasprintf("%s:%zu: is no line of a survey, so nothing is written to it", s->q->out, number);
        else if (o && !json_object_get(o, "error")) /* what failed is tried again */
            json_object_set_new(s->done, json_string_value(json_object_get(o, "user")), json_true());
        json_decref(o);
    }
    free(line);
    if (!fault && (ferror(s->f) || ftruncate(fileno(s->f), whole) != 0 || fseek(s->f, whole, SEEK_SET) != 0))
        fault = xasprintf("%s: %s", s->q->out, strerror(errno));
    return fault;
}

/* Two at once would plan all twice, and cut off each other's last line. NULL: it is ours; else why not, to free. */
static char *survey_open(struct surveying *s)
{
    s->f = fopen(s->q->out, "a+");
    if (!s->f || fseek(s->f, 0, SEEK_SET) != 0)
        return xasprintf("%s: %s", s->q->out, strerror(errno));
    if (flock(fileno(s->f), LOCK_EX | LOCK_NB) != 0)
        return xasprintf("%s: %s", s->q->out,
                         errno == EWOULDBLOCK ? "another survey writes to it" : strerror(errno));
    return survey_read(s);
}

static bool survey_write(struct surveying *s, json_t *o)
{
    json_object_set_new(o, "time", json_time(clock_wall_ms()));
    json_dumpf(o, s->f, JSON_COMPACT | JSON_PRESERVE_ORDER);
    return fputc('\n', s->f) != EOF && fflush(s->f) == 0;
}

/* ---- going through the list */

static void survey_show(const struct surveying *s, size_t at)
{
    struct buf out = {0};
    size_t n = s->q->list->n_accounts, room = screen_look().columns - 1;
    struct buf cut = {0};

    if (!s->terminal)
        return;
    ctl_write_bar(&out, at, n, SURVEY_BAR);
    buf_printf(&out, " %zu/%zu accounts, %zu failed", at, n, s->failed);
    if (s->planned > 0) {
        buf_add_str(&out, ", ");
        ctl_write_duration(&out, (clock_boot_ms() - s->began_ms) / s->planned * (n - at));
        buf_add_str(&out, " left");
    }
    screen_cut(&cut, buf_str(&out), room);
    printf("\r");
    screen_print(&cut);
    for (size_t k = screen_width(buf_str(&cut)); k < room; k++)
        putchar(' ');
    fflush(stdout);
    buf_free(&cut);
    buf_free(&out);
}

static void survey_rest(uint64_t ms)
{
    struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

/* False: it can't go on; *status says how it ends. */
static bool survey_one(struct surveying *s, const char *key, int *status)
{
    char *login = account_login(key);
    json_t *o = NULL;

    if (s->planned + s->failed > 0)
        survey_rest(s->q->pause_ms);
    int rc = login ? ctl_plan_of(s->q->conf, login, &o) : ACTION_FAILED;
    free(login);
    json_object_set_new(o, "user", json_string(key));
    bool written = o && survey_write(s, o);
    json_decref(o);
    s->planned += rc == ACTION_DONE;
    /* An account that lives on the other server, or can't be signed in for, says nothing of servers. */
    s->in_a_row = rc == ACTION_DONE || rc == ACTION_REFUSED ? 0 : s->in_a_row + 1;
    s->failed += rc != ACTION_DONE;
    if (!written) {
        char *text = xasprintf("%s: %s", s->q->out, strerror(errno));
        ctl_print_error(s->q->json, text, NULL);
        free(text);
        *status = ACTION_FAILED;
    } else if (s->in_a_row == SURVEY_FAILED_IN_A_ROW) {
        ctl_print_error(s->q->json, "so many accounts in a row could not be planned that it stops here",
                        NULL);
        *status = rc;
    }
    return written && s->in_a_row < SURVEY_FAILED_IN_A_ROW;
}

static int survey_all(struct surveying *s)
{
    const struct bulk_list *list = s->q->list;
    int status = ACTION_DONE;

    s->began_ms = clock_boot_ms();
    for (size_t i = 0; i < list->n_accounts; i++) {
        survey_show(s, i);
        if (json_object_get(s->done, list->accounts[i].text))
            s->before++;
        else if (!survey_one(s, list->accounts[i].text, &status))
            return status;
    }
    survey_show(s, list->n_accounts);
    return s->failed ? ACTION_FAILED : ACTION_DONE;
}

static void survey_say(const struct surveying *s)
{
    if (s->terminal)
        putchar('\n');
    if (s->q->json) {
        json_t *o = json_pack("{s:I, s:I, s:I}", "planned", (json_int_t)s->planned, "before",
                              (json_int_t)s->before, "failed", (json_int_t)s->failed);
        ctl_print_json(o);
        json_decref(o);
    } else {
        printf("%zu planned, %zu before, %zu failed: \"report --survey %s\" adds them up\n", s->planned,
               s->before, s->failed, s->q->out);
    }
}

int ctl_survey(const struct survey_request *q)
{
    struct surveying s = {.q = q, .done = json_object(), .terminal = !q->json && screen_look().terminal};
    int status = ACTION_FAILED;

    char *fault = survey_open(&s);
    if (fault) {
        ctl_print_error(q->json, fault, NULL);
        free(fault);
    } else {
        status = survey_all(&s);
        survey_say(&s);
    }
    if (s.f)
        fclose(s.f);
    json_decref(s.done);
    return status;
}
