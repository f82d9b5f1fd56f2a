/* `report`: what a provider shows its customer, of one account, or of all that are asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "actions_priv.h"
#include "csv.h"
#include "summary.h"

struct report_walk {
    struct run *run;
    struct summary *summary;
    uint64_t now_ms;
};

/* ---- CSV: a line for each account, as it is found */

static void csv_time(char text[32], uint64_t ms)
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;

    *text = '\0';
    if (ms > 0 && gmtime_r(&t, &tm))
        strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void csv_head(FILE *f)
{
    static const char *const names[] = {"account",   "domain",        "state",     "server", "reason",
                                        "mailboxes", "messages",      "compared",  "bytes",  "tiers",
                                        "waived",    "switched over", "last login"};

    for (size_t i = 0; i < COUNTOF(names); i++)
        csv_cell(f, names[i], i + 1 == COUNTOF(names));
}

static void csv_account(FILE *f, const struct walk_account *a)
{
    const struct route_progress *p = &a->progress;
    const uint64_t numbers[] = {p->mailboxes_done, p->messages_done, p->messages_verified, p->bytes_done};
    char flipped[32], login[32];

    csv_time(flipped, a->flipped_ms);
    csv_time(login, a->login_ms);
    csv_cell(f, a->user, false);
    csv_cell(f, a->domain, false);
    csv_cell(f, a->state, false);
    csv_cell(f, a->backend, false);
    csv_cell(f, a->reason, false);
    for (size_t i = 0; i < COUNTOF(numbers); i++)
        fprintf(f, "%llu,", (unsigned long long)numbers[i]);
    csv_cell(f, p->tiers, false);
    fprintf(f, "%llu,", (unsigned long long)a->waivers);
    csv_cell(f, flipped, false);
    csv_cell(f, login, true);
}

/* ---- of many */

static void report_on_account(void *owner, const struct walk_account *a)
{
    struct report_walk *w = owner;

    if (!run_looks(w->run, 1))
        walk_give_up(w->run->walk);
    w->now_ms = a->now_ms;
    summary_add(w->summary, a);
    if (w->run->action.out)
        csv_account(w->run->action.out, a);
}

static void report_set_scope(struct run *r)
{
    const struct action *a = &r->action;
    const char *const parts[][2] = {{"domain", r->domain ? r->domain : ""},
                                    {"rule", a->rule},
                                    {"backend", a->backend},
                                    {"state", a->state},
                                    {"reason", a->word}};
    json_t *scope = json_object();

    for (size_t i = 0; i < COUNTOF(parts); i++)
        if (*parts[i][1])
            json_object_set_new(scope, parts[i][0], json_text(span_str(parts[i][1])));
    json_object_set_new(r->data, "scope", scope);
}

static void report_on_walked(void *owner, enum route_rc rc)
{
    struct report_walk *w = owner;
    struct run *r = w->run;

    r->walk = NULL;
    if (rc == ROUTE_OK) {
        json_t *o = summary_json(w->summary);
        report_set_scope(r);
        json_object_set_new(r->data, "time", json_time(w->now_ms ? w->now_ms : clock_wall_ms()));
        json_object_update(r->data, o);
        json_decref(o);
    }
    summary_free(&w->summary);
    free(w);
    if (rc == ROUTE_OK)
        run_end(r, ACTION_DONE, "%s", "");
    else
        run_end_failed(r, rc, "");
}

void report_summary(struct run *r)
{
    struct report_walk *w = xcalloc(1, sizeof(*w));
    struct walk_filter f = run_filter(r);

    w->run = r;
    w->summary = summary_new();
    if (r->action.out && !r->action.more)
        csv_head(r->action.out);
    r->walk = walk_start(r->store, &f, report_on_account, report_on_walked, w);
}

/* ---- of one account: where it is, what its last pass compared and found, what is waived, who did what */

static void report_on_waivers(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    json_t *list = json_array();

    if (rc != ROUTE_OK) {
        json_decref(list);
        run_end_failed(r, rc, "");
        return;
    }
    for (size_t i = 0; i + 1 < n; i += 2)
        json_array_append_new(list, waiver_json(rows[i], rows[i + 1]));
    json_object_set_new(r->data, "waivers", list);
    report_audit(r);
}

static void report_on_pass(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    json_t *report = n > 0 ? json_loadb((const char *)rows[0].p, rows[0].len, 0, NULL) : NULL;

    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, "");
        return;
    }
    json_object_set_new(r->data, "report", report ? report : json_null());
    route_waivers_read(r->store, r->user, report_on_waivers, r);
}

static void report_on_route(void *owner, enum route_rc rc, const struct route *route)
{
    struct run *r = owner;

    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, "");
    } else if (!route->exists) {
        run_end(r, ACTION_NO_RECORD, "%s has no record", r->user);
    } else {
        json_decref(r->data);
        r->data = action_account(r->store, r->user, route);
        route_report_read(r->store, r->user, report_on_pass, r);
    }
}

void report_account(struct run *r)
{
    route_read(r->store, r->user, report_on_route, r);
}
