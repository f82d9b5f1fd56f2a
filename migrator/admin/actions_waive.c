/* What staff make of findings: `waive`, and the report of `user NAME --report`. */
#include <stdlib.h>

#include "lib/account.h"

#include "migrator/waiver.h"

#include "actions_priv.h"

/* ---- waive */

char *waive_fault(const struct action *a)
{
    const char *why = NULL;

    if (a->n_keys == 0)
        return xstrdup("say what to waive: MAILBOX:UID, MAILBOX:KIND or KIND (see \"user NAME --report\")");
    if (!*a->reason)
        return xstrdup("waive needs --reason TEXT");
    for (size_t i = 0; i < a->n_keys; i++) {
        char *key = waiver_key(span_str(a->keys[i]), &why);
        if (!key)
            return xasprintf("\"%s\" can't be waived: %s", a->keys[i], why);
        free(key);
    }
    return NULL;
}

static void on_waived(void *owner, enum route_rc rc, const char *detail)
{
    struct run *r = owner;

    if (rc == ROUTE_REFUSED) {
        run_end(r, ACTION_REFUSED, "the account is %s", detail);
    } else if (rc != ROUTE_OK) {
        run_end_failed(r, rc, detail);
    } else {
        json_object_set_new(r->data, "state", json_string(detail));
        run_end(r, ACTION_DONE, "waived; %s is %s", r->user, detail);
    }
}

void run_waive(struct run *r)
{
    const struct action *a = &r->action;
    struct route_staff staff = {.user = r->user, .who = a->who, .reason = a->reason};
    struct span *keys = xcalloc(a->n_keys, sizeof(*keys));
    json_t *list = json_array();
    const char *why;

    for (size_t i = 0; i < a->n_keys; i++) {
        keys[i] = span_str(waiver_key(span_str(a->keys[i]), &why));
        json_array_append_new(list, json_text(keys[i]));
    }
    json_object_set_new(r->data, "waived", list);
    route_waive(r->store, &staff, keys, a->n_keys, on_waived, r);
    for (size_t i = 0; i < a->n_keys; i++)
        free((char *)(uintptr_t)keys[i].p);
    free(keys);
}

/* ---- the report */

static void on_report_route(void *owner, enum route_rc rc, const struct route *route)
{
    struct run *r = owner;

    if (rc != ROUTE_OK)
        run_end_failed(r, rc, "");
    else if (route->exists)
        run_end(r, ACTION_DONE, "no pass over the account has ended yet");
    else
        run_end(r, ACTION_NO_RECORD, "%s has no record", r->user);
}

static json_t *waiver_of(struct span key, struct span value)
{
    json_t *o = json_loadb((const char *)value.p, value.len, 0, NULL);
    const char *when = json_string_value(json_object_get(o, "when"));
    uint64_t ms = 0;

    if (!json_is_object(o)) {
        json_decref(o);
        o = json_object();
    }
    if (when && !span_u64(span_str(when), UINT64_MAX, &ms))
        ms = 0;
    json_object_set_new(o, "key", json_text(key));
    json_object_set_new(o, "when", action_time(ms));
    return o;
}

static void on_report_waivers(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    json_t *list = json_array();

    for (size_t i = 0; rc == ROUTE_OK && i + 1 < n; i += 2)
        json_array_append_new(list, waiver_of(rows[i], rows[i + 1]));
    json_object_set_new(r->data, "waivers", list);
    if (rc != ROUTE_OK)
        run_end_failed(r, rc, "");
    else if (json_is_null(json_object_get(r->data, "report")))
        route_read(r->store, r->user, on_report_route, r);
    else
        run_end(r, ACTION_DONE, "%s", "");
}

static void on_report(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    json_t *report = n > 0 ? json_loadb((const char *)rows[0].p, rows[0].len, 0, NULL) : NULL;

    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, "");
        return;
    }
    json_object_set_new(r->data, "report", report ? report : json_null());
    route_waivers_read(r->store, r->user, on_report_waivers, r);
}

void report_of_pass(struct run *r)
{
    route_report_read(r->store, r->user, on_report, r);
}
