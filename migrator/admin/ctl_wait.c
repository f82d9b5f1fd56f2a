#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/events.h"
#include "lib/xalloc.h"

#include "ctl_print.h"
#include "ctl_screen.h"
#include "ctl_wait.h"
#include "holdup.h"

enum {
    POLL_MS = 300,     /* for the counters, of which there are no events */
    OUTAGE_MS = 30000, /* without an answer of Redis */
    BAR_LEAST = 8,
    BAR_MOST = 30,
    RATE_MS = 3000,   /* over which the rate is taken */
    HOLDUP_MS = 2000, /* between looks at what holds up all accounts */
};

struct waited {
    char *user; /* owned; account key */
    bool any_shown;
    enum route_state shown;         /* the state that was printed last */
    char *reason;                   /* owned; as it was printed last; NULL: not yet */
    struct route_progress progress; /* as it was read last, with the two below */
    enum route_state state;
    bool arrived, ready; /* ready: that is an end, too */
    json_t *data;        /* owned; NULL: it was not read yet */
};

struct waiting {
    struct wait_request request; /* its strings are owned */
    action_fn fn;
    void *owner;
    struct events *events;
    struct timer *timer;
    bool asking, again, terminal, line_open;
    uint64_t heard_ms;
    struct waited *all; /* owned; request.n of them, asked one after the other */
    size_t at;          /* which one is asked */
    char *held_up;      /* owned; as it was printed last; NULL: not yet */
    struct holdup *holdup;
    uint64_t asked_ms;            /* of the holdup */
    uint64_t mark_ms, mark_bytes; /* for the rate */
    double rate;                  /* bytes a second */
};

void wait_cancel(struct waiting **wp)
{
    struct waiting *w = *wp;

    *wp = NULL;
    if (!w)
        return;
    if (w->line_open)
        putchar('\n');
    store_forget(w->request.store, w);
    holdup_cancel(&w->holdup);
    for (size_t i = 0; i < w->request.n; i++) {
        free(w->all[i].user);
        free(w->all[i].reason);
        json_decref(w->all[i].data);
    }
    free(w->all);
    free(w->held_up);
    events_free(&w->events);
    timer_free(&w->timer);
    free((char *)w->request.group);
    free((char *)w->request.target);
    free(w);
}

/* Of an account; of a group with all its members as they were read last. To decref. */
static json_t *ctl_wait_data(const struct waiting *w)
{
    if (!w->request.group)
        return w->all[0].data ? json_incref(w->all[0].data) : json_object();
    json_t *o = json_object(), *members = json_array();
    for (size_t i = 0; i < w->request.n; i++)
        if (w->all[i].data)
            json_array_append(members, w->all[i].data);
    json_object_set_new(o, "group", json_string(w->request.group));
    json_object_set_new(o, "members", members);
    return o;
}

/* by: whoever holds the group up; NULL: nobody does. */
static void ctl_wait_finish(struct waiting *w, enum action_rc rc, const char *text, const struct waited *by)
{
    action_fn fn = w->fn;
    void *owner = w->owner;
    json_t *data = ctl_wait_data(w);

    if (w->request.group)
        json_object_set_new(data, "held_up_by", by ? json_string(by->user) : json_null());
    json_object_set_new(data, rc == ACTION_DONE ? "message" : "error", json_string(text));
    wait_cancel(&w);
    fn(owner, &(struct action_result){.rc = rc, .text = text, .data = data});
    json_decref(data);
}

/* ---- progress */

static void take_rate(struct waiting *w, uint64_t bytes)
{
    uint64_t now = clock_boot_ms(), past = now - w->mark_ms;

    if (w->mark_ms == 0 || bytes < w->mark_bytes) {
        w->mark_ms = now;
        w->mark_bytes = bytes;
    } else if (past >= RATE_MS) {
        w->rate = (double)(bytes - w->mark_bytes) * 1000.0 / (double)past;
        w->mark_ms = now;
        w->mark_bytes = bytes;
    }
}

/* What stands behind the bar: "161/364 messages, 22.2 of 93.2 MiB, 9.1 MiB/s, 5 s left". */
static void write_amounts(const struct waiting *w, struct buf *out, const struct route_progress *p)
{
    buf_add_str(out, " ");
    ctl_write_number(out, p->messages_done);
    buf_add_str(out, "/");
    ctl_write_number(out, p->messages_total);
    buf_add_str(out, " messages, ");
    ctl_write_bytes(out, p->bytes_done);
    buf_add_str(out, " of ");
    ctl_write_bytes(out, p->bytes_total);
    if (w->rate <= 0)
        return;
    buf_add_str(out, ", ");
    ctl_write_bytes(out, (uint64_t)w->rate);
    buf_add_str(out, "/s");
    if (p->bytes_total > p->bytes_done) {
        buf_add_str(out, ", ");
        ctl_write_duration(out, (uint64_t)((double)(p->bytes_total - p->bytes_done) / w->rate * 1000));
        buf_add_str(out, " left");
    }
}

/* Of all that were read. */
static struct route_progress ctl_wait_sum(const struct waiting *w)
{
    struct route_progress sum = {0};

    for (size_t i = 0; i < w->request.n; i++) {
        const struct route_progress *p = &w->all[i].progress;
        sum.messages_done += p->messages_done;
        sum.messages_total += p->messages_total;
        sum.bytes_done += p->bytes_done;
        sum.bytes_total += p->bytes_total;
    }
    return sum;
}

/* One line that is written over, as wide as the terminal: the bar has what the rest leaves. */
static void show_progress(struct waiting *w)
{
    struct buf amounts = {0}, out = {0};
    struct route_progress sum = ctl_wait_sum(w);
    const struct route_progress *p = &sum;
    size_t room = screen_look().columns - 1;

    take_rate(w, p->bytes_done);
    write_amounts(w, &amounts, p);
    size_t rest = amounts.len + 2, width = room > rest + BAR_LEAST ? room - rest : BAR_LEAST;
    ctl_write_bar(&out, p->bytes_done, p->bytes_total, width > BAR_MOST ? BAR_MOST : width);
    buf_add_str(&out, buf_str(&amounts));
    printf("\r");
    struct buf cut = {0};
    screen_cut(&cut, buf_str(&out), room);
    screen_print(&cut);
    for (size_t n = screen_width(buf_str(&cut)); n < room; n++)
        putchar(' '); /* what was longer before */
    fflush(stdout);
    w->line_open = true;
    buf_free(&cut);
    buf_free(&amounts);
    buf_free(&out);
}

static void print_line(struct waiting *w, const char *whom, const char *what, const char *why)
{
    struct buf out = {0};
    char *line = ctl_one_line(why);

    if (w->line_open)
        putchar('\n');
    w->line_open = false;
    buf_printf(&out, "%s: %s%s%s\n", whom, what, *why ? ": " : "", line);
    free(line);
    screen_print(&out);
    fflush(stdout);
    buf_free(&out);
}

/* True: it is another text than before. Keeps it. */
static bool is_news(char **had, const char *text)
{
    if (!strcmp(*had ? *had : "", text))
        return false;
    free(*had);
    *had = xstrdup(text);
    return true;
}

static void ctl_wait_on_holdup(void *owner, const char *text)
{
    struct waiting *w = owner;

    w->holdup = NULL;
    if (!is_news(&w->held_up, text))
        return;
    print_line(w, w->request.group ? w->request.group : w->all[0].user, *text ? "held up" : "goes on", text);
}

/* What holds up all accounts, each few seconds. */
static void look_for_holdups(struct waiting *w, const struct route *r)
{
    uint64_t now = clock_boot_ms();

    if (w->holdup || !holdup_concerns(r->state) || now - w->asked_ms < HOLDUP_MS)
        return;
    w->asked_ms = now;
    w->holdup = holdup_ask(w->request.store, ctl_wait_on_holdup, w);
}

static bool given_up(const struct route *r)
{
    return r->state == ROUTE_BACKOFF || r->state == ROUTE_BLOCKED || r->state == ROUTE_HELD ||
           r->state == ROUTE_RESTING || r->state == ROUTE_FLIPPED || r->state == ROUTE_SETTLED;
}

static void ctl_wait_show(struct waiting *w, struct waited *m, const struct route *r)
{
    if (w->request.quiet)
        return;
    look_for_holdups(w, r);
    if (w->terminal && r->state == ROUTE_COPYING && r->progress.messages_total)
        show_progress(w);
    bool same = m->any_shown && m->shown == r->state;
    bool why = !given_up(r) && is_news(&m->reason, r->reason) && *r->reason; /* else the last line says it */
    if (same && !why)
        return;
    m->any_shown = true;
    m->shown = r->state;
    print_line(w, m->user, route_state_name(r->state), why ? r->reason : "");
}

/* ---- is it over? */

static bool ctl_wait_arrived(const struct waiting *w, const struct route *r)
{
    bool at_rest = r->state == ROUTE_FLIPPED || r->state == ROUTE_SETTLED || r->state == ROUTE_HELD ||
                   r->state == ROUTE_RESTING;

    return at_rest && !strcmp(r->backend, w->request.target);
}

static void ctl_wait_take(struct waiting *w, struct waited *m, const struct route *r)
{
    m->progress = r->progress;
    m->state = r->state;
    m->arrived = ctl_wait_arrived(w, r);
    m->ready = w->request.manual && r->state == ROUTE_READY && !r->now;
    json_decref(m->data);
    m->data = action_account(w->request.store, m->user, r);
}

/* It won't arrive by itself. A group moves as one, so none of it does. */
static void ctl_wait_give_up(struct waiting *w, const struct waited *m, const char *reason)
{
    char *group = w->request.group ? xasprintf("the group %s does not get on: ", w->request.group) : NULL;
    char *text = xasprintf("%s%s is %s: %s", group ? group : "", m->user, route_state_name(m->state),
                           reason ? reason : "");

    ctl_wait_finish(w, ACTION_FAILED, text, m);
    free(text);
    free(group);
}

static void ctl_wait_tell_arrived(struct waiting *w)
{
    char *group = w->request.group
                      ? xasprintf("all %zu accounts of the group %s are", w->request.n, w->request.group)
                      : xasprintf("%s is", w->all[0].user);
    bool held = false;

    for (size_t i = 0; i < w->request.n; i++)
        held = held || w->all[i].state == ROUTE_HELD;
    char *text =
        xasprintf("%s on %s%s", group, w->request.target, held ? ", and held there until \"release\"" : "");
    ctl_wait_finish(w, ACTION_DONE, text, NULL);
    free(text);
    free(group);
}

static void ctl_wait_tell_ready(struct waiting *w)
{
    char *text =
        w->request.group
            ? xasprintf("the group %s is copied and verified, and waits for \"group migrate %s --now\"",
                        w->request.group, w->request.group)
            : xasprintf("%s is copied and verified, and waits for \"flip\"", w->all[0].user);

    ctl_wait_finish(w, ACTION_DONE, text, NULL);
    free(text);
}

static void ctl_wait_ask(struct waiting *w);

/* All were read. */
static void ctl_wait_judge(struct waiting *w)
{
    size_t arrived = 0, ended = 0;

    for (size_t i = 0; i < w->request.n; i++) {
        arrived += w->all[i].arrived;
        ended += w->all[i].arrived || w->all[i].ready;
    }
    w->at = 0;
    w->asking = false;
    if (arrived == w->request.n)
        ctl_wait_tell_arrived(w);
    else if (ended == w->request.n)
        ctl_wait_tell_ready(w);
    else if (w->again)
        ctl_wait_ask(w);
}

static void ctl_wait_read(struct waiting *w);

static void ctl_wait_on_route(void *owner, enum route_rc rc, const struct route *r)
{
    struct waiting *w = owner;
    struct waited *m = &w->all[w->at];

    if (rc != ROUTE_OK) {
        w->asking = false;
        w->at = 0;
        if (clock_boot_ms() - w->heard_ms > OUTAGE_MS)
            ctl_wait_finish(w, ACTION_UNREACHABLE, store_why(w->request.store), NULL);
        return;
    }
    w->heard_ms = clock_boot_ms();
    ctl_wait_take(w, m, r);
    ctl_wait_show(w, m, r);
    if (!m->arrived && given_up(r))
        ctl_wait_give_up(w, m, r->reason);
    else if (++w->at < w->request.n)
        ctl_wait_read(w);
    else
        ctl_wait_judge(w);
}

static void ctl_wait_read(struct waiting *w)
{
    route_read(w->request.store, w->all[w->at].user, ctl_wait_on_route, w);
}

static void ctl_wait_ask(struct waiting *w)
{
    w->again = w->asking;
    if (w->asking)
        return;
    w->asking = true;
    ctl_wait_read(w);
}

static void ctl_wait_on_timer(void *owner)
{
    struct waiting *w = owner;

    timer_start(w->timer, POLL_MS);
    ctl_wait_ask(w);
}

static void ctl_wait_on_event(void *owner, const struct event *e)
{
    struct waiting *w = owner;

    for (size_t i = 0; i < w->request.n; i++)
        if (span_is(e->user, w->all[i].user)) {
            ctl_wait_ask(w);
            return;
        }
}

static void ctl_wait_on_news(void *owner, enum events_news news)
{
    (void)news;
    ctl_wait_ask(owner);
}

struct waiting *wait_start(const struct wait_request *request, action_fn fn, void *owner)
{
    struct waiting *w = xcalloc(1, sizeof(*w));
    struct loop *l = store_loop(request->store);

    w->request = *request;
    w->request.users = NULL; /* copied */
    w->all = xcalloc(request->n, sizeof(*w->all));
    for (size_t i = 0; i < request->n; i++)
        w->all[i].user = xstrdup(request->users[i]);
    w->request.group = request->group ? xstrdup(request->group) : NULL;
    w->request.target = xstrdup(request->target);
    w->fn = fn;
    w->owner = owner;
    w->terminal = isatty(STDOUT_FILENO);
    w->heard_ms = clock_boot_ms();
    w->timer = timer_new(l, ctl_wait_on_timer, w);
    w->events = events_new(l, store_conf(request->store), store_address(request->store), ctl_wait_on_event,
                           ctl_wait_on_news, w);
    ctl_wait_on_timer(w);
    return w;
}
