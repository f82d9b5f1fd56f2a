#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

/* Lines that are whole; a last one that a crash left is cut off. False: errno says why. */
static bool survey_read(struct surveying *s)
{
    char *line = NULL;
    size_t room = 0;
    long whole = 0;

    for (ssize_t n; (n = getline(&line, &room, s->f)) > 0;) {
        json_t *o = line[n - 1] == '\n' ? json_loadb(line, (size_t)n, 0, NULL) : NULL;
        const char *user = json_string_value(json_object_get(o, "user"));
        if (o)
            whole += n;
        if (user && !json_object_get(o, "error")) /* what failed is tried again */
            json_object_set_new(s->done, user, json_true());
        json_decref(o);
        if (!o)
            break;
    }
    free(line);
    return !ferror(s->f) && ftruncate(fileno(s->f), whole) == 0 && fseek(s->f, whole, SEEK_SET) == 0;
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

    s.f = fopen(q->out, "a+");
    if (!s.f || fseek(s.f, 0, SEEK_SET) != 0 || !survey_read(&s)) {
        char *text = xasprintf("%s: %s", q->out, strerror(errno));
        ctl_print_error(q->json, text, NULL);
        free(text);
    } else {
        status = survey_all(&s);
        survey_say(&s);
    }
    if (s.f)
        fclose(s.f);
    json_decref(s.done);
    return status;
}
