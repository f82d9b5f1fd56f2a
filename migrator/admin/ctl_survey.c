#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "ctl_print.h"
#include "ctl_screen.h"
#include "ctl_site.h"
#include "ctl_survey.h"
#include "ctl_text.h"
#include "survey.h"

enum { SURVEY_BAR = 20 };

struct ctl_surveying {
    const struct ctl_survey_request *q;
    struct ctl_site site;
    struct survey *survey;
    struct survey_count count;
    char *error; /* owned; why it stopped; NULL: it went to the end */
    bool terminal;
};

static void ctl_survey_show(void *owner)
{
    struct ctl_surveying *s = owner;
    struct survey_count c = survey_count(s->survey);
    struct buf out = {0}, cut = {0};
    size_t room = screen_look().columns - 1, tried = c.planned + c.failed;

    if (!s->terminal)
        return;
    ctl_write_bar(&out, c.at, c.n, SURVEY_BAR);
    buf_printf(&out, " %zu/%zu accounts, %zu failed", c.at, c.n, c.failed);
    if (tried > 0) {
        buf_add_str(&out, ", ");
        ctl_write_duration(&out, (clock_boot_ms() - c.began_ms) / tried * (c.n - c.at));
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

static void ctl_survey_on_end(void *owner, enum action_rc rc, const struct survey_count *count,
                              const char *error)
{
    struct ctl_surveying *s = owner;

    s->survey = NULL;
    s->site.rc = rc;
    s->count = *count;
    s->error = *error ? xstrdup(error) : NULL;
    loop_stop(s->site.m.loop);
}

static void ctl_survey_begin(void *owner)
{
    struct ctl_surveying *s = owner;

    s->survey = survey_start(
        &(struct survey_request){
            .m = &s->site.m, .list = s->q->list, .out = s->q->out, .pause_ms = s->q->pause_ms},
        ctl_survey_show, ctl_survey_on_end, s);
}

static void ctl_survey_end(void *owner)
{
    struct ctl_surveying *s = owner;

    survey_cancel(&s->survey);
}

static void ctl_survey_say(const struct ctl_surveying *s)
{
    const struct survey_count *c = &s->count;

    if (s->terminal && c->n)
        putchar('\n');
    if (s->error)
        ctl_print_error(s->q->json, s->error, NULL);
    if (s->q->json && !s->error) {
        json_t *o = json_pack("{s:I, s:I, s:I}", "planned", (json_int_t)c->planned, "before",
                              (json_int_t)c->before, "failed", (json_int_t)c->failed);
        ctl_print_json(o);
        json_decref(o);
    } else if (!s->q->json && c->at) {
        printf("%zu planned, %zu before, %zu failed: \"report --survey %s\" adds them up\n", c->planned,
               c->before, c->failed, s->q->out);
    }
}

int ctl_survey(const struct ctl_survey_request *q)
{
    struct ctl_surveying s = {.q = q, .terminal = !q->json && screen_look().terminal};

    s.site =
        (struct ctl_site){.conf = q->conf, .begin = ctl_survey_begin, .end = ctl_survey_end, .owner = &s};
    ctl_site_run(&s.site);
    if (s.site.error)
        ctl_print_error(q->json, s.site.error, NULL);
    else
        ctl_survey_say(&s);
    free(s.site.error);
    free(s.error);
    return (int)s.site.rc;
}
