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

struct waiting {
    struct wait_request request; /* its strings are owned */
    action_fn fn;
    void *owner;
    struct events *events;
    struct timer *timer;
    bool asking, again, terminal, line_open;
    uint64_t heard_ms;
    enum route_state shown; /* the state that was printed last */
    bool any_shown;
    char *reason, *held_up; /* owned; as they were printed last; NULL: not yet */
    struct holdup *holdup;
    uint64_t asked_ms;            /* of the holdup */
    uint64_t mark_ms, mark_bytes; /* for the rate */
    double rate;                  /* bytes a second */
};

static void ctl_wait_ask(struct waiting *w);

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
    free(w->reason);
    free(w->held_up);
    events_free(&w->events);
    timer_free(&w->timer);
    free((char *)w->request.user);
    free((char *)w->request.target);
    free(w);
}

static void ctl_wait_finish(struct waiting *w, enum action_rc rc, const char *text, json_t *data)
{
    action_fn fn = w->fn;
    void *owner = w->owner;

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

/* One line that is written over, as wide as the terminal: the bar has what the rest leaves. */
static void show_progress(struct waiting *w, const struct route *r)
{
    struct buf amounts = {0}, out = {0};
    const struct route_progress *p = &r->progress;
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

static void print_line(struct waiting *w, const char *what, const char *why)
{
    struct buf out = {0};
    char *line = ctl_one_line(why);

    if (w->line_open)
        putchar('\n');
    w->line_open = false;
    buf_printf(&out, "%s: %s%s%s\n", w->request.user, what, *why ? ": " : "", line);
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
    print_line(w, *text ? "held up" : "goes on", text);
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

static void ctl_wait_show(struct waiting *w, const struct route *r)
{
    if (w->request.quiet)
        return;
    look_for_holdups(w, r);
    if (w->terminal && r->state == ROUTE_COPYING && r->progress.messages_total)
        show_progress(w, r);
    bool same = w->any_shown && w->shown == r->state;
    bool why = !given_up(r) && is_news(&w->reason, r->reason) && *r->reason; /* else the last line says it */
    if (same && !why)
        return;
    w->any_shown = true;
    w->shown = r->state;
    print_line(w, route_state_name(r->state), why ? r->reason : "");
}

/* ---- is it over? */

static bool ctl_wait_arrived(const struct waiting *w, const struct route *r)
{
    bool at_rest = r->state == ROUTE_FLIPPED || r->state == ROUTE_SETTLED || r->state == ROUTE_HELD ||
                   r->state == ROUTE_RESTING;

    return at_rest && !strcmp(r->backend, w->request.target);
}

static void ctl_wait_on_route(void *owner, enum route_rc rc, const struct route *r)
{
    struct waiting *w = owner;

    w->asking = false;
    if (rc != ROUTE_OK) {
        if (clock_boot_ms() - w->heard_ms > OUTAGE_MS)
            ctl_wait_finish(w, ACTION_UNREACHABLE, store_why(w->request.store), json_object());
        return;
    }
    w->heard_ms = clock_boot_ms();
    ctl_wait_show(w, r);
    json_t *data = action_account(w->request.store, w->request.user, r);
    char *text = NULL;
    if (ctl_wait_arrived(w, r)) {
        text = xasprintf("%s is on %s%s", w->request.user, r->backend,
                         r->state == ROUTE_HELD ? ", and held there until \"release\"" : "");
        ctl_wait_finish(w, ACTION_DONE, text, data);
    } else if (w->request.manual && r->state == ROUTE_READY && !r->now) {
        text = xasprintf("%s is copied and verified, and waits for \"flip\"", w->request.user);
        ctl_wait_finish(w, ACTION_DONE, text, data);
    } else if (given_up(r)) {
        text = xasprintf("%s is %s: %s", w->request.user, route_state_name(r->state),
                         r->reason ? r->reason : "");
        ctl_wait_finish(w, ACTION_FAILED, text, data);
    } else {
        json_decref(data);
        if (w->again)
            ctl_wait_ask(w);
    }
    free(text);
}

static void ctl_wait_ask(struct waiting *w)
{
    w->again = w->asking;
    if (w->asking)
        return;
    w->asking = true;
    route_read(w->request.store, w->request.user, ctl_wait_on_route, w);
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

    if (span_is(e->user, w->request.user))
        ctl_wait_ask(w);
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
    w->request.user = xstrdup(request->user);
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
