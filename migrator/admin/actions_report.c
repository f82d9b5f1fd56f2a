/* The verbs that only read: each gathers what it needs by a few calls, and ends with one JSON object. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/reasons.h"
#include "lib/registry.h"

#include "actions_priv.h"
#include "holdup.h"

enum {
    AUDIT_SHOWN = 100,
};

static json_t *action_report_number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

/* "held: " where nobody said why. */
static json_t *reason_or_null(const char *s)
{
    size_t n = s ? strlen(s) : 0;

    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == ':'))
        n--;
    return n > 0 ? json_text(span_of(s, n)) : json_null();
}

static json_t *text_or_null(const char *s)
{
    return s && *s ? json_text(span_str(s)) : json_null();
}

/* ---- user */

static json_t *done_of(uint64_t done, uint64_t total)
{
    json_t *o = json_object();

    json_object_set_new(o, "done", action_report_number(done));
    json_object_set_new(o, "total", action_report_number(total));
    return o;
}

/* "T3:12 T2:1" */
static json_t *action_report_tiers(const char *text)
{
    json_t *o = json_object();
    char tier[8];
    unsigned long n;
    int used;

    while (sscanf(text, " %7[^: ]:%lu%n", tier, &n, &used) == 2) {
        json_object_set_new(o, tier, action_report_number(n));
        text += used;
    }
    return o;
}

static void add_progress(json_t *o, const struct route_progress *p)
{
    json_t *messages = done_of(p->messages_done, p->messages_total);

    json_object_set_new(messages, "verified", action_report_number(p->messages_verified));
    json_object_set_new(o, "mailboxes", done_of(p->mailboxes_done, p->mailboxes_total));
    json_object_set_new(o, "messages", messages);
    json_object_set_new(o, "bytes", done_of(p->bytes_done, p->bytes_total));
    json_object_set_new(o, "tiers", action_report_tiers(p->tiers));
}

/* "SHA256 NUMBER MIGRATOR" (migrator/account/proof.h). */
static json_t *action_report_proof(const char *said)
{
    const char *number = said ? strchr(said, ' ') : NULL, *migrator = number ? strchr(number + 1, ' ') : NULL;

    if (!migrator)
        return json_null();
    return json_pack("{s:o, s:o, s:o}", "sha256", json_text(span_of(said, (size_t)(number - said))), "number",
                     json_text(span_of(number + 1, (size_t)(migrator - number - 1))), "migrator",
                     json_text(span_str(migrator + 1)));
}

json_t *action_account(const struct store *s, const char *user, const struct route *r)
{
    json_t *o = json_object();
    const struct conf_migration *m = &store_conf(s)->migration;

    json_object_set_new(o, "user", json_string(user));
    json_set_login(o, user);
    json_object_set_new(o, "record", json_boolean(r->exists));
    json_object_set_new(o, "backend", json_text(span_str(r->backend)));
    json_object_set_new(o, "state", json_string(route_state_name(r->state)));
    json_object_set_new(o, "epoch", action_report_number(r->epoch));
    json_object_set_new(o, "generation", action_report_number(r->generation));
    json_object_set_new(o, "source", json_text(span_str(*r->source ? r->source : m->source)));
    json_object_set_new(o, "target", json_text(span_str(*r->target ? r->target : m->target)));
    json_object_set_new(o, "reason", reason_or_null(r->reason));
    json_object_set_new(o, "advice", text_or_null(r->reason ? reason_advice(r->reason) : ""));
    json_object_set_new(o, "last_failure", text_or_null(r->failed));
    json_object_set_new(o, "attempts", action_report_number(r->attempts));
    json_object_set_new(o, "next_try", json_time(r->next_try_ms));
    json_object_set_new(o, "waits_since", json_time(r->waits_ms));
    json_object_set_new(o, "deadline", json_time(r->deadline_ms));
    json_object_set_new(o, "held_from", text_or_null(r->held_from));
    json_object_set_new(o, "force", json_boolean(r->force));
    json_object_set_new(o, "group", r->group && *r->group ? json_text(span_str(r->group)) : json_null());
    json_object_set_new(o, "now", json_boolean(r->now));
    json_object_set_new(o, "view", text_or_null(r->view));
    json_object_set_new(o, "flipped", json_time(r->flipped_ms));
    json_object_set_new(o, "proof", action_report_proof(r->proof));
    json_object_set_new(o, "time", json_time(r->now_ms));
    add_progress(o, &r->progress);
    return o;
}

/* Copied, and nothing else to be waited for. */
static bool waits_for_staff(const struct run *r)
{
    const char *state = json_string_value(json_object_get(r->data, "state"));

    return store_conf(r->store)->migration.cutover == CUTOVER_MANUAL &&
           !strcmp(state, route_state_name(ROUTE_READY)) && !json_is_true(json_object_get(r->data, "now")) &&
           json_is_null(json_object_get(r->data, "reason"));
}

/* One that waits for nothing can't sign in either while Redis refuses writes. */
static void action_report_on_try(void *owner, bool answered, const char *why)
{
    struct run *r = owner;

    (void)answered;
    if (why)
        json_object_set_new(r->data, "held_up", json_text(span_str(why)));
    if (json_is_true(json_object_get(r->data, "record")))
        run_end(r, ACTION_DONE, "%s", "");
    else
        run_end(r, ACTION_NO_RECORD, "%s has no record: mail is on %s, and nothing was begun", r->user,
                json_string_value(json_object_get(r->data, "backend")));
}

static void action_report_on_holdup(void *owner, const char *text)
{
    struct run *r = owner;

    if (!*text && waits_for_staff(r))
        text = "it is copied, and waits for \"flip\" (migration: cutover = \"manual\")";
    json_object_set_new(r->data, "held_up", text_or_null(text));
    run_end(r, ACTION_DONE, "%s", "");
}

static void action_report_ask_holdup(struct run *r)
{
    holdup_ask(r->store, action_report_on_holdup, r); /* ends with the process, or the action */
}

static void action_report_try(struct run *r)
{
    store_try_write(r->store, action_report_on_try, r);
}

static void on_user(void *owner, enum route_rc rc, const struct route *route)
{
    struct run *r = owner;

    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, "");
        return;
    }
    json_decref(r->data);
    r->data = action_account(r->store, r->user, route);
    bool concerned = route->exists && holdup_concerns(route->state);
    waves_of_user(r, route->wave, concerned ? action_report_ask_holdup : action_report_try);
}

void report_user(struct run *r)
{
    route_read(r->store, r->user, on_user, r);
}

/* ---- sessions */

static json_t *session_of(const struct registration *row)
{
    static const char *const modes[] = {
        [SESSION_RUNNING] = "running", [SESSION_PREPARED] = "prepared", [SESSION_FROZEN] = "frozen"};
    json_t *o = json_object();
    size_t n = row->session.len;

    while (n > 0 && row->session.p[n - 1] != '/')
        n--;
    json_object_set_new(o, "session", json_text(row->session));
    json_object_set_new(o, "proxy", json_text(span_of(row->session.p, n > 0 ? n - 1 : 0)));
    json_object_set_new(o, "backend", json_text(row->backend));
    json_object_set_new(o, "epoch", action_report_number(row->epoch));
    json_object_set_new(o, "mode", json_string(modes[row->mode]));
    json_object_set_new(o, "address", json_text(row->address));
    json_object_set_new(o, "since", json_time(row->since_ms));
    return o;
}

static void on_sessions_route(void *owner, enum route_rc rc, const struct route *route)
{
    struct run *r = owner;
    bool any = json_array_size(json_object_get(r->data, "sessions")) > 0;

    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, "");
        return;
    }
    json_object_set_new(r->data, "time", json_time(route->now_ms));
    if (route->exists || any)
        run_end(r, ACTION_DONE, "%s", "");
    else
        run_end(r, ACTION_NO_RECORD, "%s has no record and no sessions", r->user);
}

static void on_sessions(void *owner, enum redis_rc rc, const struct registration *rows, size_t n)
{
    struct run *r = owner;
    json_t *list = json_array();

    for (size_t i = 0; i < n && rc == REDIS_OK; i++)
        json_array_append_new(list, session_of(&rows[i]));
    json_object_set_new(r->data, "sessions", list);
    if (rc != REDIS_OK)
        run_end_failed(r, ROUTE_DOWN, "");
    else
        route_read(r->store, r->user, on_sessions_route, r);
}

void report_sessions(struct run *r)
{
    registry_list(r->store, r->user, on_sessions, r);
}

/* ---- audit */

static json_t *audit_entry(const struct reply *r)
{
    static const char *const names[] = {"who", "what", "user", "reason", "before", "after"};
    const struct reply *fields = reply_at(r, 1);
    json_t *o = json_object();
    struct span id = reply_str(reply_at(r, 0));
    const uint8_t *dash = id.len ? memchr(id.p, '-', id.len) : NULL;
    uint64_t ms = 0;

    if (dash && !span_u64(span_of(id.p, (size_t)(dash - id.p)), UINT64_MAX, &ms))
        ms = 0;
    json_object_set_new(o, "time", json_time(ms));
    for (size_t i = 0; i < COUNTOF(names); i++)
        json_object_set_new(o, names[i], json_text(reply_str(reply_get(fields, names[i]))));
    return o;
}

static void on_audit_route(void *owner, enum route_rc rc, const struct route *route)
{
    struct run *r = owner;

    if (rc != ROUTE_OK)
        run_end_failed(r, rc, "");
    else if (route->exists)
        run_end(r, ACTION_DONE, "%s", "");
    else
        run_end(r, ACTION_NO_RECORD, "%s has no record", r->user);
}

/* Newer than, by the id that Redis gave: ms, a dash, a number. */
static bool is_newer(const struct reply *a, const struct reply *b)
{
    unsigned long long ms[2] = {0}, n[2] = {0};
    const struct reply *const both[] = {a, b};

    for (int i = 0; i < 2; i++) {
        char *id = xspandup(reply_str(reply_at(both[i], 0)));
        sscanf(id, "%llu-%llu", &ms[i], &n[i]);
        free(id);
    }
    return ms[0] != ms[1] ? ms[0] > ms[1] : n[0] > n[1];
}

/* What was done, and what came late, the newest first: two lists that are so already. */
static json_t *merge_audit(const struct reply *done, const struct reply *late)
{
    json_t *list = json_array();
    size_t i = 0, k = 0;

    while (json_array_size(list) < AUDIT_SHOWN && (i < reply_count(done) || k < reply_count(late))) {
        bool first = k == reply_count(late) ||
                     (i < reply_count(done) && !is_newer(reply_at(late, k), reply_at(done, i)));
        json_array_append_new(list, audit_entry(first ? reply_at(done, i++) : reply_at(late, k++)));
    }
    return list;
}

static void on_audit(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct run *r = owner;

    if (rc == REDIS_ERROR_REPLY || rc == REDIS_DOWN || reply_count(reply) < 3) {
        run_end_failed(r, ROUTE_DOWN, "");
        return;
    }
    json_t *list = merge_audit(reply_at(reply, 1), reply_at(reply, 2));
    bool none = json_array_size(list) == 0;
    json_object_set_new(r->data, "audit", list);
    if (r->user && none)
        route_read(r->store, r->user, on_audit_route, r);
    else
        run_end(r, ACTION_DONE, "%s", "");
}

void report_audit(struct run *r)
{
    char count[16];

    snprintf(count, sizeof(count), "%d", AUDIT_SHOWN);
    struct span args[] = {span_str(r->user ? r->user : ""), span_str(count)};
    store_script(r->store, "audit_read", args, COUNTOF(args), on_audit, r);
}
