/* Waves, as staff see them: all of them in `status`, the one of an account in `user`, and the name that `pause` and
 * `resume` take. What the configuration says of a wave is put together with what the store knows. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/account_names.h"
#include "lib/waves.h"

#include "actions_priv.h"
#include "nearest.h"

/* What waves_read.lua tells of one. */
struct wave_now {
    uint64_t now_ms, day, today, parked, since_ms;
    bool known, paused;
    struct span by, reason; /* borrowed */
};

static struct wave_now action_waves_find(const char *name, const struct span *rows, size_t n)
{
    struct wave_now w = {0};
    size_t len = strlen(name);
    const struct {
        const char *field;
        uint64_t *number;
        struct span *text;
    } fields[] = {{"day", &w.day, NULL},       {"today", &w.today, NULL},
                  {"parked", &w.parked, NULL}, {"paused_at", &w.since_ms, NULL},
                  {"paused_by", NULL, &w.by},  {"paused_reason", NULL, &w.reason}};

    if (n == 0 || !span_u64(rows[0], UINT64_MAX, &w.now_ms))
        return w;
    for (size_t i = 1; i + 1 < n; i += 2) {
        if (rows[i].len <= len || memcmp(rows[i].p, name, len) != 0 || rows[i].p[len] != ':')
            continue;
        struct span field = span_of(rows[i].p + len + 1, rows[i].len - len - 1);
        w.known = true;
        w.paused = w.paused || (span_is(field, "paused") && span_is(rows[i + 1], "1"));
        for (size_t k = 0; k < COUNTOF(fields); k++)
            if (span_is(field, fields[k].field) && fields[k].text)
                *fields[k].text = rows[i + 1];
            else if (span_is(field, fields[k].field) && !span_u64(rows[i + 1], INT64_MAX, fields[k].number))
                *fields[k].number = 0;
    }
    return w;
}

static uint64_t action_waves_day(uint64_t now_ms)
{
    return (uint64_t)((int64_t)now_ms + wave_offset_ms((time_t)(now_ms / 1000))) / WAVE_DAY_MS;
}

/* How many of the day that it is now: the store's number is of the last one on which there was any. */
static uint64_t action_waves_today(const struct wave_now *n)
{
    return n->day >= action_waves_day(n->now_ms) ? n->today : 0;
}

static const struct conf_wave *action_waves_conf(const struct conf *c, const char *name)
{
    for (size_t i = 0; i < c->n_waves; i++)
        if (!strcmp(c->waves[i].name, name))
            return &c->waves[i];
    return NULL;
}

/* ---- user ---- */

static void action_waves_local(uint64_t ms, char to[24])
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;

    localtime_r(&s, &tm);
    strftime(to, 24, "%Y-%m-%d %H:%M", &tm);
}

static char *action_waves_paused(const struct wave_now *n)
{
    char since[24];

    action_waves_local(n->since_ms, since);
    return xasprintf("it is paused by %.*s since %s%s%.*s", (int)n->by.len, (const char *)n->by.p, since,
                     n->reason.len ? ": " : "", (int)n->reason.len, (const char *)n->reason.p);
}

/* Why a login would not queue an account of this wave; NULL: it would. To free. */
static char *action_waves_why_not(const struct conf *c, const struct conf_wave *w, const struct wave_now *n,
                                  const char *user)
{
    uint32_t per_day = wave_store_part(c, w); /* as its store counts */
    char at[24];

    if (!wave_shares(w, user))
        return xasprintf("the account is not among the %" PRIu32 " %% that are moved (share)", w->share);
    if (n->paused)
        return action_waves_paused(n);
    action_waves_local(w->after_ms, at);
    if (n->now_ms < w->after_ms)
        return xasprintf("it begins at %s (after)", at);
    uint64_t day = action_waves_day(n->now_ms);
    day = n->day > day ? n->day : day;
    action_waves_local((day + 1) * WAVE_DAY_MS - (uint64_t)wave_offset_ms((time_t)(n->now_ms / 1000)), at);
    if (per_day > 0 && action_waves_today(n) >= per_day)
        return xasprintf("the %" PRIu32 " accounts of this day have begun (per_day); it goes on at %s",
                         per_day, at);
    return NULL;
}

/* Its next step would be held up by its wave. */
static bool action_waves_waits(const char *state)
{
    static const enum route_state states[] = {ROUTE_QUEUED, ROUTE_COPYING, ROUTE_READY, ROUTE_BACKOFF};

    for (size_t i = 0; i < COUNTOF(states); i++)
        if (!strcmp(state, route_state_name(states[i])))
            return true;
    return false;
}

static json_t *action_waves_account(struct run *r, const char *by, const struct span *rows, size_t n)
{
    const struct conf *c = store_conf(r->store);
    const char *state = json_string_value(json_object_get(r->data, "state"));
    const struct conf_wave *w = *by ? action_waves_conf(c, by) : wave_of(c, r->user);
    bool rests = !strcmp(state, route_state_name(ROUTE_RESTING));
    const char *name = w ? w->name : by;
    char *why = NULL;

    if (!*name || (!*by && !rests))
        return json_null();
    struct wave_now now = action_waves_find(name, rows, n);
    if (rests && w)
        why = action_waves_why_not(c, w, &now, r->user);
    else if (now.paused && action_waves_waits(state))
        why = action_waves_paused(&now);
    json_t *o = json_object();
    json_object_set_new(o, "name", json_text(span_str(name)));
    json_object_set_new(o, "not_its_turn", why ? json_text(span_str(why)) : json_null());
    json_object_set_new(o, "at_login", json_boolean(rests && !why));
    free(why);
    return o;
}

static void action_waves_on_user(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    char *by = r->wave;

    r->wave = NULL;
    json_object_set_new(r->data, "wave", rc == ROUTE_OK ? action_waves_account(r, by, rows, n) : json_null());
    free(by);
    r->go_on(r);
}

void waves_of_user(struct run *r, const char *by, void (*go_on)(struct run *r))
{
    const struct conf *c = store_conf(r->store);

    r->go_on = go_on;
    r->wave = xstrdup(by);
    if (!*by && c->n_waves == 0)
        action_waves_on_user(r, ROUTE_DOWN, NULL, 0);
    else
        route_waves_read(r->store, action_waves_on_user, r);
}

/* ---- status ---- */

/* "wave:NAME:STATE"; neither holds a colon. */
void waves_take_count(struct run *r, struct span name, struct span number)
{
    const uint8_t *colon =
        name.len > 5 && !memcmp(name.p, "wave:", 5) ? memrchr(name.p + 5, ':', name.len - 5) : NULL;
    uint64_t n;

    if (!colon || !span_u64(number, INT64_MAX, &n))
        return;
    char *wave = xspandup(span_of(name.p + 5, (size_t)(colon - name.p) - 5));
    char *state = xspandup(span_of(colon + 1, (size_t)(name.p + name.len - colon) - 1));
    if (!r->wave_counts)
        r->wave_counts = json_object();
    if (!json_object_get(r->wave_counts, wave))
        json_object_set_new(r->wave_counts, wave, json_object());
    json_object_set_new(json_object_get(r->wave_counts, wave), state, json_integer((json_int_t)n));
    free(wave);
    free(state);
}

static json_int_t action_waves_sum(const json_t *counts, const char *const *states, size_t n)
{
    json_int_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += json_integer_value(json_object_get(counts, states[i]));
    return sum;
}

static void action_waves_add_counts(json_t *o, json_t *counts)
{
    static const char *const moved[] = {"flipped", "settled"}, *const failing[] = {"backoff", "blocked"},
                             *const under_way[] = {"queued",    "copying",  "ready",
                                                   "preparing", "freezing", "flipping"};

    json_object_set_new(o, "moved", json_integer(action_waves_sum(counts, moved, COUNTOF(moved))));
    json_object_set_new(o, "failing", json_integer(action_waves_sum(counts, failing, COUNTOF(failing))));
    json_object_set_new(o, "under_way",
                        json_integer(action_waves_sum(counts, under_way, COUNTOF(under_way))));
    json_object_set_new(o, "accounts", counts ? json_incref(counts) : json_object());
}

/* w NULL: the configuration has it no more. */
static json_t *action_waves_describe(const struct run *r, const char *name, const struct conf_wave *w,
                                     const struct span *rows, size_t n)
{
    struct wave_now now = action_waves_find(name, rows, n);
    bool by_pattern = false;
    json_t *o = json_object();

    for (size_t i = 0; w && i < w->accounts.n; i++)
        by_pattern = by_pattern || w->accounts.items[i][0] != '/';
    json_object_set_new(o, "wave", json_text(span_str(name)));
    json_object_set_new(o, "configured", json_boolean(w != NULL));
    json_object_set_new(o, "listed",
                        w && !by_pattern ? json_integer((json_int_t)account_names_count(w->listed))
                                         : json_null());
    json_object_set_new(o, "share", w ? json_integer(w->share) : json_null());
    json_object_set_new(o, "after", json_time(w ? w->after_ms : 0));
    json_object_set_new(o, "begun", json_boolean(!w || now.now_ms >= w->after_ms));
    json_object_set_new(o, "per_day", w && w->per_day ? json_integer(w->per_day) : json_null());
    json_object_set_new(o, "today", json_integer((json_int_t)action_waves_today(&now)));
    json_object_set_new(o, "parked", json_integer((json_int_t)now.parked));
    json_object_set_new(o, "paused", json_boolean(now.paused));
    json_object_set_new(o, "paused_by", json_text(now.paused ? now.by : span_str("")));
    json_object_set_new(o, "paused_reason", json_text(now.paused ? now.reason : span_str("")));
    json_object_set_new(o, "paused_since", json_time(now.paused ? now.since_ms : 0));
    action_waves_add_counts(o, json_object_get(r->wave_counts, name));
    return o;
}

/* What the store still has of waves that are gone: accounts, or a pause that keeps some of them. */
static void action_waves_add_gone(const struct run *r, json_t *list, const struct span *rows, size_t n)
{
    const struct conf *c = store_conf(r->store);
    json_t *gone = json_object(), *counts;
    const char *name;

    json_object_foreach(r->wave_counts, name, counts) json_object_set_new(gone, name, json_null());
    for (size_t i = 1; i + 1 < n; i += 2) {
        const uint8_t *colon = rows[i].len ? memchr(rows[i].p, ':', rows[i].len) : NULL;
        char *wave = colon ? xspandup(span_of(rows[i].p, (size_t)(colon - rows[i].p))) : xstrdup("");
        if (*wave && action_waves_find(wave, rows, n).paused)
            json_object_set_new(gone, wave, json_null());
        free(wave);
    }
    json_object_foreach(gone, name, counts)
    {
        if (!action_waves_conf(c, name))
            json_array_append_new(list, action_waves_describe(r, name, NULL, rows, n));
    }
    json_decref(gone);
}

void waves_describe(struct run *r, enum route_rc rc, const struct span *rows, size_t n)
{
    const struct conf *c = store_conf(r->store);
    json_t *list = json_array();

    for (size_t i = 0; rc == ROUTE_OK && i < c->n_waves; i++)
        json_array_append_new(list, action_waves_describe(r, c->waves[i].name, &c->waves[i], rows, n));
    if (rc == ROUTE_OK)
        action_waves_add_gone(r, list, rows, n);
    json_object_set_new(r->data, "waves", list);
}

/* ---- pause, resume ---- */

static void action_waves_say_paused(void *owner, enum route_rc rc, const char *detail)
{
    struct run *r = owner;
    bool on = r->action.verb == ACTION_PAUSE;

    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, detail);
        return;
    }
    json_object_set_new(r->data, "paused", json_boolean(on));
    json_object_set_new(r->data, "wave", json_text(span_str(r->action.wave)));
    run_end(r, ACTION_DONE,
            on ? "the wave %s is paused; what is being switched over at this moment is carried out"
               : "the wave %s goes on",
            r->action.wave);
}

static char *action_waves_no_such(const struct conf *c, const char *name)
{
    const char **known = xcalloc(c->n_waves + 1, sizeof(*known));

    for (size_t i = 0; i < c->n_waves; i++)
        known[i] = c->waves[i].name;
    const char *meant = nearest(name, known, c->n_waves);
    char *text = meant ? xasprintf("there is no wave \"%s\": did you mean \"%s\"?", name, meant)
                       : xasprintf("there is no wave \"%s\" in the configuration", name);
    free(known);
    return text;
}

/* One that is gone from the configuration can be paused no more, but a pause can end. */
static void action_waves_on_known(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    const struct conf *c = store_conf(r->store);
    bool gone = !action_waves_conf(c, r->action.wave);

    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, "");
    } else if (gone &&
               !(r->action.verb == ACTION_RESUME && action_waves_find(r->action.wave, rows, n).known)) {
        char *text = action_waves_no_such(c, r->action.wave);
        run_end(r, ACTION_USAGE, "%s", text);
        free(text);
    } else {
        route_pause(r->store, r->action.verb == ACTION_PAUSE, r->action.who, r->action.reason, r->action.wave,
                    action_waves_say_paused, r);
    }
}

void run_pause_wave(struct run *r)
{
    route_waves_read(r->store, action_waves_on_known, r);
}
