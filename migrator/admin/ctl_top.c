#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "ctl_screen.h"
#include "ctl_text.h"
#include "ctl_top.h"
#include "ctl_top_view.h"
#include "ctl_tty.h"

enum {
    TOP_RUNNING = 100 /* of each state */,
    TOP_EVENTS = 300,
    TOP_SAMPLES = 10,
    TOP_FASTEST = 250,
    TOP_SLOWEST = 30000
};

static const char *const top_states[] = {"flipping", "freezing", "preparing", "copying", "ready"};

/* How much there was at one look. */
struct top_sample {
    uint64_t ms, messages, bytes;
};

struct top {
    struct stores *stores;
    struct tty *tty; /* owned; NULL: it is over, but for answers that are on their way */
    struct timer *timer;
    top_fn fn;
    void *owner;
    json_t *status, *groups, *events, *running; /* owned; of the last look */
    json_t *coming;                             /* owned; what is running, of the look under way */
    json_t *rates;                              /* owned; by account: "bytes" at the last look, "rate" */
    struct top_sample samples[TOP_SAMPLES];
    size_t n_samples;
    uint64_t looked_ms, interval_ms;
    size_t pending, skip;
    bool still;
    int number;
    char *fault; /* owned; of the look under way, then of the last one */
};

static void top_look(struct top *t);

static void top_finish(struct top *t)
{
    json_t *const all[] = {t->status, t->groups, t->events, t->running, t->coming, t->rates};
    top_fn fn = t->fn;
    void *owner = t->owner;
    int number = t->number;

    for (size_t i = 0; i < COUNTOF(all); i++)
        json_decref(all[i]);
    timer_free(&t->timer);
    free(t->fault);
    free(t);
    fn(owner, number);
}

/* The terminal is as before at once; what was asked is still answered. */
static void top_end(struct top *t, int number)
{
    t->number = number;
    tty_free(&t->tty);
    timer_stop(t->timer);
    if (t->pending == 0)
        top_finish(t);
}

/* ---- drawing */

static void top_set_rates(const struct top *t, struct top_view *v)
{
    const struct top_sample *first = &t->samples[0], *last = &t->samples[t->n_samples - (t->n_samples > 0)];
    double seconds = (double)(last->ms - first->ms) / 1000;

    v->messages_rate = v->bytes_rate = -1;
    if (t->n_samples < 2 || seconds <= 0)
        return;
    /* Where an account was forgotten there is less than before. */
    v->bytes_rate = last->bytes > first->bytes ? (double)(last->bytes - first->bytes) / seconds : 0;
    v->messages_rate =
        last->messages > first->messages ? (double)(last->messages - first->messages) / seconds : 0;
}

static void top_show(struct top *t)
{
    struct screen s = screen_look();
    struct buf out = {0};
    struct top_view v = {.status = t->status,
                         .groups = t->groups,
                         .events = t->events,
                         .running = t->running,
                         .columns = s.columns,
                         .rows = s.rows,
                         .skip = t->skip,
                         .still = t->still,
                         .interval_s = (double)t->interval_ms / 1000,
                         .fault = t->fault ? t->fault : ""};

    if (!t->tty)
        return;
    top_set_rates(t, &v);
    top_draw(&out, &v);
    tty_draw(t->tty, &out);
    buf_free(&out);
}

/* ---- looking */

static uint64_t top_number(const json_t *o, const char *part)
{
    return (uint64_t)json_integer_value(json_object_get(json_object_get(o, part), "done"));
}

static void top_add_sample(struct top *t)
{
    if (t->n_samples == TOP_SAMPLES) {
        memmove(t->samples, t->samples + 1, (TOP_SAMPLES - 1) * sizeof(*t->samples));
        t->n_samples--;
    }
    t->samples[t->n_samples++] = (struct top_sample){clock_boot_ms(), top_number(t->status, "messages"),
                                                     top_number(t->status, "bytes")};
}

/* What each has copied since the look before. */
static void top_rate_jobs(struct top *t)
{
    uint64_t now = clock_boot_ms();
    double seconds = (double)(now - t->looked_ms) / 1000;
    json_t *rates = json_object(), *job, *before;
    size_t i;

    json_array_foreach(t->running, i, job)
    {
        const char *user = json_string_value(json_object_get(job, "user"));
        uint64_t bytes = top_number(job, "bytes");
        before = json_object_get(t->rates, user);
        uint64_t had = (uint64_t)json_integer_value(before);
        double rate = before && bytes > had && seconds > 0 ? (double)(bytes - had) / seconds : 0;
        json_object_set_new(job, "rate", json_real(rate));
        json_object_set_new(rates, user, json_integer((json_int_t)bytes));
    }
    json_decref(t->rates);
    t->rates = rates;
    t->looked_ms = now;
}

static void top_answered(struct top *t)
{
    if (--t->pending > 0)
        return;
    if (!t->tty) {
        top_finish(t);
        return;
    }
    if (!t->fault) {
        json_decref(t->running);
        t->running = t->coming;
        t->coming = NULL;
        top_rate_jobs(t);
        top_add_sample(t);
    }
    top_show(t);
    timer_start(t->timer, t->interval_ms);
}

/* False: it failed, and the last answer stands. */
static bool top_take(struct top *t, const struct action_result *r)
{
    if (r->rc == ACTION_DONE)
        return true;
    free(t->fault);
    t->fault = ctl_one_line(r->text);
    return false;
}

static void top_keep(json_t **place, json_t *data)
{
    json_decref(*place);
    *place = ctl_one_line_each(data);
}

static void top_on_status(void *owner, const struct action_result *r)
{
    struct top *t = owner;

    if (top_take(t, r))
        top_keep(&t->status, r->data);
    top_answered(t);
}

static void top_on_groups(void *owner, const struct action_result *r)
{
    struct top *t = owner;

    if (top_take(t, r))
        top_keep(&t->groups, r->data);
    top_answered(t);
}

static void top_on_events(void *owner, const struct action_result *r)
{
    struct top *t = owner;

    if (top_take(t, r))
        top_keep(&t->events, r->data);
    top_answered(t);
}

static void top_on_page(void *owner, const struct action_result *r)
{
    struct top *t = owner;

    if (top_take(t, r)) {
        json_t *accounts = ctl_one_line_each(json_object_get(r->data, "accounts"));
        json_array_extend(t->coming, accounts);
        json_decref(accounts);
    }
    top_answered(t);
}

static void top_ask(struct top *t, const struct action *a, action_fn fn)
{
    t->pending++;
    action_run(t->stores, a, fn, t);
}

static void top_look(struct top *t)
{
    free(t->fault);
    t->fault = NULL;
    json_decref(t->coming);
    t->coming = json_array();
    top_ask(t, &(struct action){.verb = ACTION_STATUS, .login = ""}, top_on_status);
    top_ask(t, &(struct action){.verb = ACTION_GROUPS, .login = ""}, top_on_groups);
    top_ask(t, &(struct action){.verb = ACTION_EVENTS, .login = "", .count = TOP_EVENTS}, top_on_events);
    for (size_t i = 0; i < COUNTOF(top_states); i++)
        top_ask(
            t,
            &(struct action){.verb = ACTION_PAGE, .login = "", .state = top_states[i], .count = TOP_RUNNING},
            top_on_page);
}

static void top_on_timer(void *owner)
{
    struct top *t = owner;

    if (t->pending == 0 && !t->still)
        top_look(t);
}

/* ---- keys */

static void top_set_interval(struct top *t, uint64_t ms)
{
    t->interval_ms = ms < TOP_FASTEST ? TOP_FASTEST : ms > TOP_SLOWEST ? TOP_SLOWEST : ms;
    if (t->pending == 0 && !t->still)
        timer_start(t->timer, t->interval_ms);
}

static void top_on_key(struct top *t, int key)
{
    size_t n = json_array_size(t->running);

    if (key == ' ') {
        t->still = !t->still;
        if (!t->still && t->pending == 0)
            top_look(t);
    }
    if ((key == TTY_DOWN || key == 'j') && t->skip + 1 < n)
        t->skip++;
    if ((key == TTY_UP || key == 'k') && t->skip > 0)
        t->skip--;
    if (key == '+')
        top_set_interval(t, t->interval_ms / 2);
    if (key == '-')
        top_set_interval(t, t->interval_ms * 2);
    top_show(t);
}

static void top_on_tty(void *owner, enum tty_event ev, int what)
{
    struct top *t = owner;

    if (ev == TTY_ENDED)
        top_end(t, what);
    else if (ev == TTY_KEY && (what == 'q' || what == 'Q'))
        top_end(t, 0);
    else if (ev == TTY_KEY)
        top_on_key(t, what);
    else
        top_show(t);
}

struct top *top_start(struct stores *s, top_fn fn, void *owner)
{
    struct top *t = xcalloc(1, sizeof(*t));
    struct tty *tty = tty_new(store_loop(s->all[0]), top_on_tty, t);

    if (!tty) {
        free(t);
        return NULL;
    }
    t->stores = s;
    t->tty = tty;
    t->fn = fn;
    t->owner = owner;
    t->interval_ms = 1000;
    t->timer = timer_new(store_loop(s->all[0]), top_on_timer, t);
    t->rates = json_object();
    top_look(t);
    top_show(t);
    return t;
}
