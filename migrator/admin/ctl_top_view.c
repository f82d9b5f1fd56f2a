#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "ctl_screen.h"
#include "ctl_table.h"
#include "ctl_text.h"
#include "ctl_top_view.h"

enum {
    TOP_BAR = 16,
    TOP_NAME_LEAST = 16, /* columns of an account's name */
    TOP_NAME_MOST = 40,
    TOP_HEAD = 7, /* lines above the lists */
    TOP_FROZEN_MAX = 256,
};

/* ---- the head */

static uint64_t top_sum_of(const json_t *counts, const char *const *names, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += ctl_number_of(counts, names[i]);
    return sum;
}

static uint64_t top_all(json_t *counts)
{
    const char *name;
    json_t *n;
    uint64_t sum = 0;

    json_object_foreach(counts, name, n) sum += (uint64_t)json_integer_value(n);
    return sum;
}

static size_t top_alive(json_t *list)
{
    size_t i, n = 0;
    json_t *o;

    json_array_foreach(list, i, o) n += !json_is_true(json_object_get(o, "silent"));
    return n;
}

static void top_write_title(struct buf *out, const struct top_view *v)
{
    size_t proxies = top_alive(json_object_get(v->status, "proxies")),
           migrators = top_alive(json_object_get(v->status, "migrators"));

    buf_printf(out, STYLE_BOLD "imapferry" STYLE_OFF "  %s  threads of proxies %zu, migrators ",
               ctl_text_of(v->status, "time"), proxies);
    if (migrators == 0)
        ctl_write_styled(out, STYLE_RED, "NONE");
    else
        buf_printf(out, "%zu", migrators);
    if (json_is_true(json_object_get(v->status, "paused")))
        buf_printf(out, "  " STYLE_YELLOW "PAUSED" STYLE_OFF " by %s", ctl_text_of(v->status, "paused_by"));
    if (v->still)
        buf_add_str(out, "  " STYLE_YELLOW "STOPPED" STYLE_OFF);
    buf_add_str(out, "\n");
}

static void top_write_accounts(struct buf *out, const struct top_view *v)
{
    static const char *const moved[] = {"flipped", "settled"},
                             *const running[] = {"copying", "ready", "preparing", "freezing", "flipping"},
                             *const queued[] = {"queued"}, *const blocked[] = {"blocked"},
                             *const backoff[] = {"backoff"}, *const held[] = {"held"};
    json_t *counts = json_object_get(v->status, "accounts");
    uint64_t all = top_all(counts), n = top_sum_of(counts, moved, COUNTOF(moved));
    const struct {
        const char *name, *const *states;
        size_t n;
        const char *style;
    } rest[] = {{"under way", running, COUNTOF(running), STYLE_CYAN},
                {"queued", queued, 1, NULL},
                {"blocked", blocked, 1, STYLE_RED},
                {"backoff", backoff, 1, STYLE_YELLOW},
                {"held", held, 1, STYLE_YELLOW}};

    ctl_write_label(out, "accounts");
    ctl_write_bar(out, n, all, TOP_BAR);
    buf_add_str(out, " ");
    ctl_write_number(out, n);
    buf_add_str(out, " of ");
    ctl_write_number(out, all);
    buf_add_str(out, " moved\n");
    ctl_write_label(out, "");
    for (size_t i = 0; i < COUNTOF(rest); i++) {
        uint64_t number = top_sum_of(counts, rest[i].states, rest[i].n);
        buf_add_str(out, i ? ", " : "");
        if (rest[i].style && number > 0)
            buf_add_str(out, rest[i].style);
        ctl_write_number(out, number);
        buf_printf(out, " %s%s", rest[i].name, rest[i].style && number > 0 ? STYLE_OFF : "");
    }
    buf_add_str(out, "\n");
}

static void top_write_rates(struct buf *out, const struct top_view *v)
{
    const json_t *bytes = json_object_get(v->status, "bytes");
    uint64_t done = ctl_number_of(bytes, "done"), total = ctl_number_of(bytes, "total");

    ctl_write_label(out, "copying");
    if (v->bytes_rate < 0) {
        buf_add_str(out, "...\n");
        return;
    }
    ctl_write_bytes(out, (uint64_t)v->bytes_rate);
    buf_add_str(out, "/s, ");
    ctl_write_number(out, (uint64_t)(v->messages_rate + 0.5));
    buf_add_str(out, " messages/s");
    if (v->bytes_rate >= 1 && total > done) {
        buf_add_str(out, ", ");
        ctl_write_duration(out, (uint64_t)((double)(total - done) / v->bytes_rate * 1000));
        buf_add_str(out, " left of what is known");
    }
    buf_add_str(out, "\n");
}

/* What the last events tell of switch-overs. */
struct top_flips {
    size_t flips, thaws, failures;
    uint64_t last_ms, longest_ms; /* of a freeze that ended in a flip */
};

static uint64_t top_ms_of(const json_t *event)
{
    return strtoull(ctl_text_of(event, "id"), NULL, 10);
}

/* events: the newest first. */
static void top_count_flips(json_t *events, struct top_flips *f)
{
    struct {
        const char *user;
        uint64_t ms;
    } frozen[TOP_FROZEN_MAX];
    size_t n = 0;

    for (size_t i = json_array_size(events); i-- > 0;) {
        const json_t *e = json_array_get(events, i);
        const char *user = ctl_text_of(e, "user"), *state = ctl_text_of(e, "state");
        size_t at = 0;
        if (strcmp(ctl_text_of(e, "kind"), "state") != 0)
            continue;
        while (at < n && strcmp(frozen[at].user, user) != 0)
            at++;
        if (!strcmp(state, "freezing") && (at < n || n < TOP_FROZEN_MAX)) {
            frozen[at].user = user;
            frozen[at].ms = top_ms_of(e);
            n += at == n;
        } else if (at < n && strcmp(state, "flipping") != 0) {
            bool flipped = !strcmp(state, "flipped") || !strcmp(state, "held");
            uint64_t took = top_ms_of(e) - frozen[at].ms;
            f->flips += flipped;
            f->thaws += !flipped;
            if (flipped) {
                f->last_ms = took;
                f->longest_ms = took > f->longest_ms ? took : f->longest_ms;
            }
            frozen[at] = frozen[--n];
        }
        f->failures += !strcmp(state, "backoff") || !strcmp(state, "blocked");
    }
}

static void top_write_freezes(struct buf *out, const struct top_view *v)
{
    static const char *const frozen[] = {"freezing", "flipping"};
    struct top_flips f = {0};
    json_t *counts = json_object_get(v->status, "accounts");

    top_count_flips(json_object_get(v->events, "events"), &f);
    ctl_write_label(out, "switching");
    ctl_write_number(out, top_sum_of(counts, frozen, COUNTOF(frozen)));
    buf_add_str(out, " stand still; of late ");
    buf_printf(out, "%zu flip%s", f.flips, f.flips == 1 ? "" : "s");
    if (f.flips > 0) {
        buf_add_str(out, ", still for ");
        ctl_write_duration(out, f.last_ms);
        buf_add_str(out, ", at most ");
        ctl_write_duration(out, f.longest_ms);
    }
    buf_printf(out, "; %s%zu thawed%s, %s%zu failed%s\n", f.thaws ? STYLE_YELLOW : "", f.thaws,
               f.thaws ? STYLE_OFF : "", f.failures ? STYLE_RED : "", f.failures,
               f.failures ? STYLE_OFF : "");
}

/* Each backend, whether logins reach it, and how many live there. */
static void top_write_backends(struct buf *out, const struct top_view *v)
{
    json_t *backends = json_object_get(v->status, "backends"),
           *breakers = json_object_get(v->status, "breakers"), *n, *b;
    const char *name, *comma = "";
    size_t i;

    ctl_write_label(out, "backends");
    json_object_foreach(backends, name, n)
    {
        bool dead = false;
        json_array_foreach(breakers, i, b) dead = dead || !strcmp(ctl_text_of(b, "backend"), name);
        buf_printf(out, "%s%s ", comma, name);
        ctl_write_number(out, (uint64_t)json_integer_value(n));
        buf_add_str(out, " ");
        ctl_write_styled(out, dead ? STYLE_RED : STYLE_GREEN, dead ? "DOES NOT ANSWER" : "ok");
        comma = ", ";
    }
    const json_t *jobs = json_object_get(v->status, "jobs");
    buf_printf(out, "%sjobs of logins %" PRIu64 ", bulk %" PRIu64 "\n", *comma ? "; " : "",
               ctl_number_of(jobs, "logins"), ctl_number_of(jobs, "bulk"));
}

/* ---- lists */

/* To free. */
static char *top_cut(const char *text, size_t columns)
{
    struct buf out = {0};

    screen_cut(&out, text, columns);
    char *s = xstrdup(buf_str(&out));
    buf_free(&out);
    return s;
}

static void top_pad(struct buf *out, const char *text, size_t columns)
{
    char *cut = top_cut(text, columns);

    buf_add_str(out, cut);
    for (size_t n = screen_width(cut); n < columns; n++)
        buf_add_str(out, " ");
    free(cut);
}

static void top_write_job(struct buf *out, const json_t *job, size_t name_columns)
{
    const json_t *messages = json_object_get(job, "messages"), *bytes = json_object_get(job, "bytes");
    uint64_t done = ctl_number_of(bytes, "done"), total = ctl_number_of(bytes, "total");
    double rate = json_real_value(json_object_get(job, "rate"));
    struct buf state = {0};

    top_pad(out, ctl_text_of(job, "user"), name_columns);
    ctl_write_state(&state, ctl_text_of(job, "state"));
    buf_add_str(out, " ");
    top_pad(out, buf_str(&state), 9);
    buf_free(&state);
    buf_add_str(out, " ");
    ctl_write_bar(out, done, total, TOP_BAR);
    buf_printf(out, " %3u %% ", total ? (unsigned)(100.0 * (double)done / (double)total) : 0);
    ctl_write_number(out, ctl_number_of(messages, "done"));
    buf_add_str(out, "/");
    ctl_write_number(out, ctl_number_of(messages, "total"));
    if (rate >= 1) {
        buf_add_str(out, " ");
        ctl_write_bytes(out, (uint64_t)rate);
        buf_add_str(out, "/s");
    }
    if (*ctl_text_of(job, "reason"))
        buf_printf(out, " %s", ctl_text_of(job, "reason"));
    buf_add_str(out, "\n");
}

/* How many lines were written. */
static size_t top_write_running(struct buf *out, const struct top_view *v, size_t lines)
{
    size_t n = json_array_size(v->running),
           skip = v->skip < n ? v->skip
                  : n > 0     ? n - 1
                              : 0,
           at = skip, used = 1;
    size_t names = v->columns > 100 ? TOP_NAME_MOST : v->columns > 60 ? TOP_NAME_LEAST + 8 : TOP_NAME_LEAST;

    if (lines == 0)
        return 0;
    buf_printf(out, STYLE_BOLD "UNDER WAY" STYLE_OFF " %zu", n);
    if (n > 0)
        buf_printf(out, "  %zu-%zu", skip + 1, n - skip > lines - 1 ? skip + lines - 1 : n);
    buf_add_str(out, "\n");
    for (; at < n && used < lines; at++, used++)
        top_write_job(out, json_array_get(v->running, at), names);
    return used;
}

static bool top_is_trouble(const json_t *group)
{
    const char *state = ctl_text_of(group, "state");

    return !strcmp(state, "blocked") || !strcmp(state, "backoff") || !strcmp(state, "held");
}

static size_t top_write_trouble(struct buf *out, const struct top_view *v, size_t lines)
{
    json_t *list = json_object_get(v->groups, "groups"), *o;
    size_t i, used = 1;

    if (lines < 2)
        return 0;
    buf_add_str(out, STYLE_BOLD "DO NOT GET ON" STYLE_OFF "\n");
    json_array_foreach(list, i, o)
    {
        if (!top_is_trouble(o) || used == lines)
            continue;
        buf_printf(out, "%8" PRIu64 "  ", ctl_number_of(o, "accounts"));
        ctl_write_state(out, ctl_text_of(o, "state"));
        buf_printf(out, " %s%s%s\n", ctl_text_of(o, "reason"), *ctl_text_of(o, "advice") ? ": " : "",
                   ctl_text_of(o, "advice"));
        used++;
    }
    if (used == 1) {
        buf_add_str(out, "       0\n");
        used++;
    }
    return used;
}

static size_t top_write_events(struct buf *out, const struct top_view *v, size_t lines)
{
    json_t *list = json_object_get(v->events, "events"), *e;
    size_t i, used = 1;

    if (lines < 2)
        return 0;
    buf_add_str(out, STYLE_BOLD "OF LATE" STYLE_OFF "\n");
    json_array_foreach(list, i, e)
    {
        if (used == lines || strcmp(ctl_text_of(e, "kind"), "state") != 0 || !*ctl_text_of(e, "user"))
            continue;
        const char *time = ctl_text_of(e, "time");
        buf_printf(out, "%.8s ", strlen(time) > 11 ? time + 11 : "");
        ctl_write_state(out, ctl_text_of(e, "state"));
        buf_printf(out, " %s on %s\n", ctl_text_of(e, "user"), ctl_text_of(e, "backend"));
        used++;
    }
    return used;
}

static size_t top_troubles(const struct top_view *v)
{
    json_t *list = json_object_get(v->groups, "groups"), *o;
    size_t i, n = 0;

    json_array_foreach(list, i, o) n += top_is_trouble(o);
    return n;
}

/* What is under way has half of the room at least, and all that the other two do not need. */
static void top_write_lists(struct buf *out, const struct top_view *v, size_t lines)
{
    size_t trouble = top_troubles(v) + 1, events = json_array_size(json_object_get(v->events, "events")) + 1,
           quarter = lines / 4;

    trouble = trouble < 2 ? 2 : trouble;
    trouble = trouble > quarter ? quarter : trouble;
    events = events > quarter ? quarter : events;
    size_t used = top_write_running(out, v, lines - trouble - events);
    used += top_write_trouble(out, v, trouble);
    used += top_write_events(out, v, lines - used);
    for (; used < lines; used++)
        buf_add_str(out, "\n");
}

void top_draw(struct buf *out, const struct top_view *v)
{
    top_write_title(out, v);
    top_write_accounts(out, v);
    top_write_rates(out, v);
    top_write_freezes(out, v);
    top_write_backends(out, v);
    if (*v->fault)
        ctl_write_styled(out, STYLE_RED, v->fault);
    buf_add_str(out, "\n");
    if (v->rows > TOP_HEAD + 1)
        top_write_lists(out, v, v->rows - TOP_HEAD - 1);
    buf_printf(out, STYLE_DIM "q quit  space stop  up/down scroll  +/- each %.1f s" STYLE_OFF "\n",
               v->interval_s);
}
