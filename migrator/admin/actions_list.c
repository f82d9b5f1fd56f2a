/* `list`, `retry --all` and `route export` go through all routes, some hundreds at a time. What changes
 * meanwhile may be seen as it was or as it is. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/reasons.h"

#include "actions_priv.h"
#include "nearest.h"

enum {
    SCAN_COUNT = 500,
    LISTED_MAX = 100000, /* more are counted */
    UNDER_WAY_MAX = 200, /* retries without an answer */
    FIELDS = 5,          /* of a row of route_list() */
};

struct list_walk {
    struct run *run;
    const char *state, *reason; /* borrowed of the action */
    char *cursor;               /* of SCAN; owned */
    json_t *found;              /* by account; owned */
    uint64_t more;
    char id[33]; /* retry: of this call of the program */
    void *at;    /* retry: the next of found */
    size_t under_way, queued;
    enum route_rc broken; /* the first answer that ends it */
    uint64_t exported;
    void (*ask)(struct list_walk *w, const struct span *users, size_t n);
    void (*done)(struct list_walk *w);
};

static void walk_free(struct list_walk *w)
{
    free(w->cursor);
    json_decref(w->found);
    free(w);
}

static void walk_fail(struct list_walk *w, enum route_rc rc)
{
    struct run *r = w->run;

    walk_free(w);
    run_end_failed(r, rc, "");
}

/* ---- going through them */

static void action_list_scan(struct list_walk *w);

static uint64_t action_list_ms_of(struct span text)
{
    uint64_t ms = 0;

    return span_u64(text, UINT64_MAX, &ms) ? ms : 0;
}

static void action_list_take(struct list_walk *w, const struct span *row)
{
    char *user = xspandup(row[0]);

    if (json_object_size(w->found) < LISTED_MAX || w->run->action.verb == ACTION_RETRY) {
        json_t *o = json_object();
        json_object_set_new(o, "user", json_text(row[0]));
        json_set_login(o, user);
        json_object_set_new(o, "state", json_text(row[1]));
        json_object_set_new(o, "backend", json_text(row[2]));
        struct span reason = row[3];
        while (reason.len && strchr(": ", reason.p[reason.len - 1])) /* "held: " where nobody said why */
            reason.len--;
        json_object_set_new(o, "reason", reason.len ? json_text(reason) : json_null());
        json_object_set_new(o, "next_try", json_time(action_list_ms_of(row[4])));
        json_object_set_new(w->found, user, o); /* SCAN may tell a key twice */
    } else {
        w->more++;
    }
    free(user);
}

static void action_list_go_on(struct list_walk *w)
{
    if (strcmp(w->cursor, "0") == 0)
        w->done(w);
    else
        action_list_scan(w);
}

static void action_list_on_list(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct list_walk *w = owner;

    if (rc != ROUTE_OK) {
        walk_fail(w, rc);
        return;
    }
    for (size_t i = 0; i + FIELDS <= n; i += FIELDS)
        action_list_take(w, &rows[i]);
    action_list_go_on(w);
}

static void action_list_ask_list(struct list_walk *w, const struct span *users, size_t n)
{
    route_list(w->run->store, w->state, w->reason, users, n, action_list_on_list, w);
}

static void action_list_on_scan(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct list_walk *w = owner;
    const struct reply *keys = reply_at(reply, 1);
    size_t n = reply_count(keys);

    if (rc != REDIS_OK) {
        walk_fail(w, ROUTE_DOWN);
        return;
    }
    char *before = store_key(w->run->store, "route:");
    struct span *users = xcalloc(n + 1, sizeof(*users));
    for (size_t i = 0; i < n; i++) {
        struct span key = reply_str(reply_at(keys, i));
        users[i] = span_of(key.p + strlen(before), key.len - strlen(before));
    }
    free(w->cursor);
    w->cursor = xspandup(reply_str(reply_at(reply, 0)));
    w->ask(w, users, n);
    free(users);
    free(before);
}

static void action_list_scan(struct list_walk *w)
{
    char *pattern = store_key(w->run->store, "route:*"), count[16];

    snprintf(count, sizeof(count), "%d", SCAN_COUNT);
    struct span argv[] = {span_str("SCAN"),  span_str(w->cursor), span_str("MATCH"),
                          span_str(pattern), span_str("COUNT"),   span_str(count)};
    store_command(w->run->store, argv, COUNTOF(argv), action_list_on_scan, w);
    free(pattern);
}

static struct list_walk *walk_new(struct run *r, const char *reason, void (*done)(struct list_walk *w))
{
    struct list_walk *w = xcalloc(1, sizeof(*w));

    w->run = r;
    w->state = r->action.state;
    w->reason = reason;
    w->cursor = xstrdup("0");
    w->found = json_object();
    w->ask = action_list_ask_list;
    w->done = done;
    random_hex(w->id, 16);
    return w;
}

/* ---- list */

static int action_list_compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *in_order(json_t *found)
{
    size_t n = json_object_size(found), i = 0;
    const char **names = xcalloc(n + 1, sizeof(*names)), *name;
    json_t *list = json_array(), *o;

    json_object_foreach(found, name, o) names[i++] = name;
    qsort(names, n, sizeof(*names), action_list_compare_names);
    for (i = 0; i < n; i++)
        json_array_append(list, json_object_get(found, names[i]));
    free(names);
    return list;
}

static void list_done(struct list_walk *w)
{
    struct run *r = w->run;

    json_object_set_new(r->data, "total", json_integer((json_int_t)(json_object_size(w->found) + w->more)));
    json_object_set_new(r->data, "accounts", in_order(w->found));
    walk_free(w);
    run_end(r, ACTION_DONE, "%s", "");
}

void report_list(struct run *r)
{
    action_list_scan(walk_new(r, r->action.reason, list_done));
}

char *list_fault(const struct action *a)
{
    const char *states[ROUTE_HELD + 1], *words[WHY_COUNT + 1];
    enum route_state state;
    bool known = false;

    for (int i = 0; i <= ROUTE_HELD; i++)
        states[i] = route_state_name((enum route_state)i);
    for (int i = 0; i < WHY_COUNT; i++)
        words[i] = why_word((enum why)i);
    words[WHY_COUNT] = "held";
    for (size_t i = 0; i < COUNTOF(words); i++)
        known = known || !strcmp(words[i], a->reason);
    bool is_state = !*a->state || route_state_parse(span_str(a->state), &state);
    bool is_reason = known || !*a->reason || a->verb == ACTION_RETRY;
    const char *meant = !is_state    ? nearest(a->state, states, COUNTOF(states))
                        : !is_reason ? nearest(a->reason, words, COUNTOF(words))
                                     : NULL;
    if (is_state && is_reason)
        return NULL;
    return xasprintf("there is no %s \"%s\"%s%s%s", is_state ? "reason" : "state",
                     is_state ? a->reason : a->state, meant ? ": did you mean \"" : "", meant ? meant : "",
                     meant ? "\"?" : "");
}

/* ---- retry --all */

static void retry_more(struct list_walk *w);

static void action_list_on_noted(void *owner, enum route_rc rc, const char *detail)
{
    struct list_walk *w = owner;
    struct run *r = w->run;
    size_t queued = w->queued;

    (void)detail;
    if (rc != ROUTE_OK) {
        walk_fail(w, rc);
        return;
    }
    walk_free(w);
    run_end(r, ACTION_DONE, "%zu account%s queued again", queued, queued == 1 ? " is" : "s are");
}

static void retried_all(struct list_walk *w)
{
    struct run *r = w->run;
    char *after = xasprintf("%zu queued", w->queued),
         *what = xasprintf("retry --all%s%s%s%s", *w->state ? " --state " : "", w->state,
                           *w->reason ? " --reason " : "", w->reason);

    json_object_set_new(r->data, "queued", json_integer((json_int_t)w->queued));
    if (w->broken != ROUTE_OK)
        walk_fail(w, w->broken);
    else
        route_note(r->store, w->id, r->action.who, what, r->action.reason, after, action_list_on_noted, w);
    free(what);
    free(after);
}

/* One that is in another state by now needs no retry. */
static void on_retried(void *owner, enum route_rc rc, const char *detail)
{
    struct list_walk *w = owner;

    (void)detail;
    w->under_way--;
    w->queued += rc == ROUTE_OK;
    if (rc != ROUTE_OK && rc != ROUTE_REFUSED && w->broken == ROUTE_OK)
        w->broken = rc;
    retry_more(w);
}

static bool is_given_up(const json_t *account)
{
    const char *state = json_string_value(json_object_get(account, "state"));

    return !strcmp(state, "backoff") || !strcmp(state, "blocked");
}

static void retry_more(struct list_walk *w)
{
    struct run *r = w->run;

    w->under_way++; /* an answer may come from inside of a call */
    while (w->at && w->broken == ROUTE_OK && w->under_way <= UNDER_WAY_MAX) {
        struct route_staff a = {
            .user = json_object_iter_key(w->at), .who = r->action.who, .reason = r->action.reason};
        bool due = is_given_up(json_object_iter_value(w->at));
        w->at = json_object_iter_next(w->found, w->at);
        if (!due)
            continue;
        w->under_way++;
        route_retry(r->store, &a, w->id, on_retried, w);
    }
    if (--w->under_way == 0)
        retried_all(w);
}

static void retry_found(struct list_walk *w)
{
    w->at = json_object_iter(w->found);
    retry_more(w);
}

void run_retry_all(struct run *r)
{
    action_list_scan(walk_new(r, r->action.word, retry_found));
}

/* ---- export */

static void write_line(struct list_walk *w, const struct span *row, const char *time)
{
    static const char *const names[] = {"user",      "backend", "state", "epoch", "generation",
                                        "source",    "target",  "home",  "left",  "flipped_at",
                                        "held_from", "reason",  "view"};
    json_t *o = json_object();
    uint64_t n;

    json_object_set_new(o, "time", json_string(time));
    for (size_t i = 0; i < COUNTOF(names); i++) {
        bool number = (i == 3 || i == 4) && span_u64(row[i], INT64_MAX, &n);
        json_object_set_new(o, names[i], number ? json_integer((json_int_t)n) : json_text(row[i]));
    }
    json_dumpf(o, w->run->action.out, JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
    fputc('\n', w->run->action.out);
    json_decref(o);
    w->exported++;
}

static void on_export(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    enum { EXPORTED = 13 };
    struct list_walk *w = owner;
    json_t *now = json_time(clock_wall_ms());

    if (rc != ROUTE_OK) {
        walk_fail(w, rc);
    } else {
        for (size_t i = 1; i + EXPORTED <= n; i += EXPORTED)
            write_line(w, &rows[i], json_string_value(now));
        action_list_go_on(w);
    }
    json_decref(now);
}

static void ask_export(struct list_walk *w, const struct span *users, size_t n)
{
    route_export(w->run->store, users, n, on_export, w);
}

/* So that an export that was cut off is known when it is wanted. */
static void write_end(struct list_walk *w)
{
    json_t *o = json_object();

    json_object_set_new(o, "time", json_time(clock_wall_ms()));
    json_object_set_new(o, "end", json_integer((json_int_t)w->exported));
    json_dumpf(o, w->run->action.out, JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
    fputc('\n', w->run->action.out);
    json_decref(o);
}

static void exported_all(struct list_walk *w)
{
    struct run *r = w->run;
    unsigned long long n = w->exported;

    write_end(w);
    json_object_set_new(r->data, "exported", json_integer((json_int_t)n));
    walk_free(w);
    run_end(r, ACTION_DONE, "%llu accounts that were switched over, or are held", n);
}

void run_export(struct run *r)
{
    struct list_walk *w = walk_new(r, "", exported_all);

    w->ask = ask_export;
    action_list_scan(w);
}
