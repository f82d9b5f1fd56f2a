/* What staff make of findings: `waive`, its undoing, and the report of `user NAME --report`. */
#include <stdlib.h>

#include "lib/account.h"

#include "migrator/found/waiver.h"

#include "actions_priv.h"
#include "nearest.h"
#include "waive_check.h"

enum { WAIVE_NAMED = 10 /* of those it shares with */ };

/* ---- waive */

static char *cannot_waive(const char *typed, const char *why)
{
    const char *words[FINDING_KINDS], *colon = strrchr(typed, ':');
    size_t n = 0;
    enum finding_kind known;

    for (size_t k = 0; k < FINDING_KINDS; k++)
        if (finding_is_waivable_in_one((enum finding_kind)k))
            words[n++] = finding_word((enum finding_kind)k);
    const char *kind = colon ? colon + 1 : typed,
               *meant = finding_parse(span_str(kind), &known) ? NULL : nearest(kind, words, n);
    return meant ? xasprintf("\"%s\" can't be waived: did you mean \"%.*s%s\"?", typed, (int)(kind - typed),
                             typed, meant)
                 : xasprintf("\"%s\" can't be waived: %s", typed, why);
}

char *waive_fault(const struct action *a)
{
    const char *why = NULL;

    if (a->n_keys == 0)
        return xstrdup("say what to waive: MAILBOX:UID, MAILBOX:KIND or KIND (see \"user NAME --report\")");
    if (!*a->reason && !a->remove)
        return xstrdup("waive needs --reason TEXT");
    for (size_t i = 0; i < a->n_keys; i++) {
        char *key = waiver_key(span_str(a->keys[i]), &why);
        if (!key)
            return cannot_waive(a->keys[i], why);
        free(key);
    }
    return NULL;
}

json_t *action_kinds(void)
{
    json_t *list = json_array();

    for (size_t k = 0; k < FINDING_KINDS; k++)
        if (finding_is_waivable((enum finding_kind)k) &&
            finding_class((enum finding_kind)k) == FINDING_BLOCKS)
            json_array_append_new(list, json_pack("{s:s, s:s}", "kind", finding_word((enum finding_kind)k),
                                                  "text", finding_text((enum finding_kind)k)));
    return list;
}

/* What was typed, as a key; to be freed. */
static char *key_of(const struct run *r, size_t i)
{
    const char *why;

    return waiver_key(span_str(r->action.keys[i]), &why);
}

/* Whoever lets it go although it shares has the others to think of: "together" has those that the last pass saw. */
static void action_waive_note_shares(struct run *r, const json_t *report)
{
    json_t *shares = json_object_get(report, "shares"), *together = json_array(), *share;
    bool about = false;
    size_t i;

    for (i = 0; i < r->action.n_keys; i++) {
        char *key = key_of(r, i);
        const char *colon = strrchr(key, ':');
        about = about || !strcmp(colon ? colon + 1 : key, finding_word(FINDING_SHARED));
        free(key);
    }
    json_array_foreach(shares, i, share)
    {
        json_t *who = json_object_get(share, "who");
        const char *with = json_string_value(json_object_get(share, "with"));
        bool there = false;
        for (size_t k = 0; k < json_array_size(together); k++)
            there = there || json_equal(json_array_get(together, k), who);
        if (about && !there && with && !strcmp(with, "account"))
            json_array_append(together, who);
    }
    if (json_array_size(together) > 0)
        json_object_set(r->data, "together", together);
    json_decref(together);
}

/* Appends "; it shares mailboxes with ann@example.org and 3 more: ...". */
static void action_waive_say_shares(const struct run *r, struct buf *text)
{
    json_t *together = json_object_get(r->data, "together");
    size_t n = json_array_size(together);

    for (size_t i = 0; i < n && i < WAIVE_NAMED; i++)
        buf_printf(text, "%s%s", i ? ", " : "; it shares mailboxes with ",
                   json_string_value(json_array_get(together, i)));
    if (n > WAIVE_NAMED)
        buf_printf(text, " and %zu more", n - WAIVE_NAMED);
    if (n > 0)
        buf_add_str(text, ": they are to move in the same hour");
}

static void action_waive_on_done(void *owner, enum route_rc rc, const char *detail)
{
    struct run *r = owner;

    if (rc == ROUTE_REFUSED) {
        run_end(r, ACTION_REFUSED, "the account is %s", detail);
    } else if (rc != ROUTE_OK) {
        run_end_failed(r, rc, detail);
    } else {
        struct buf more = {0};
        json_object_set_new(r->data, "state", json_string(detail));
        action_waive_say_shares(r, &more);
        run_end(r, ACTION_DONE, "%s; %s is %s%s", r->action.remove ? "no longer waived" : "waived", r->user,
                detail, buf_str(&more));
        buf_free(&more);
    }
}

/* keys: a JSON list of texts. */
static void send_keys(struct run *r, json_t *keys)
{
    struct route_staff staff = {.user = r->user, .who = r->action.who, .reason = r->action.reason};
    size_t n = json_array_size(keys);
    struct span *spans = xcalloc(n ? n : 1, sizeof(*spans));

    for (size_t i = 0; i < n; i++)
        spans[i] = span_str(json_string_value(json_array_get(keys, i)));
    if (r->action.remove)
        route_unwaive(r->store, &staff, spans, n, action_waive_on_done, r);
    else
        route_waive(r->store, &staff, spans, n, action_waive_on_done, r);
    free(spans);
}

/* ---- a message is one of the UIDVALIDITY that the last report tells of its mailbox */

static char *action_waive_bound(const struct run *r, const json_t *report, size_t i)
{
    char *key = key_of(r, i);

    if (!waiver_is_unbound(key))
        return key;
    uint32_t uidvalidity =
        (uint32_t)json_integer_value(json_object_get(waive_mailbox(report, key), "uidvalidity"));
    char *whole = uidvalidity ? waiver_bind(key, uidvalidity) : NULL;
    free(key);
    return whole;
}

static void action_waive_on_checked(void *owner, enum route_rc rc, const char *key)
{
    struct run *r = owner;
    json_t *keys = json_object_get(r->data, "waived");
    size_t i = 0;

    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, "");
    } else if (!key) {
        send_keys(r, keys);
    } else {
        while (strcmp(json_string_value(json_array_get(keys, i)), key) != 0)
            i++;
        run_end(
            r, ACTION_REFUSED,
            "\"%s\": the mailbox had no such message when it was last looked at (see \"user NAME --report\")",
            r->action.keys[i]);
    }
}

static void waive_by(struct run *r, json_t *report)
{
    json_t *keys = json_array();

    json_object_set_new(r->data, "waived", keys);
    action_waive_note_shares(r, report);
    for (size_t i = 0; i < r->action.n_keys; i++) {
        char *key = action_waive_bound(r, report, i);
        if (!key) {
            run_end(r, ACTION_REFUSED,
                    "no report has the mailbox of \"%s\", so that it is not known which message is meant; "
                    "MAILBOX:UIDVALIDITY/UID says it",
                    r->action.keys[i]);
            return;
        }
        json_array_append_new(keys, json_text(span_str(key)));
        free(key);
    }
    waive_check(r->store, r->user, report, keys, action_waive_on_checked, r);
}

static void on_waive_report(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    json_t *report = n > 0 ? json_loadb((const char *)rows[0].p, rows[0].len, 0, NULL) : NULL;

    if (rc == ROUTE_OK)
        waive_by(r, report);
    else
        run_end_failed(r, rc, "");
    json_decref(report);
}

/* ---- what is taken back is what is kept */

static void action_waive_on_kept(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    json_t *keys = json_array();

    json_object_set_new(r->data, "removed", keys);
    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, "");
        return;
    }
    for (size_t i = 0; i < r->action.n_keys; i++) {
        char *key = key_of(r, i);
        size_t before = json_array_size(keys);
        for (size_t k = 0; k + 1 < n; k += 2)
            if (waiver_means(key, rows[k]))
                json_array_append_new(keys, json_text(rows[k]));
        free(key);
        if (json_array_size(keys) == before) {
            run_end(r, ACTION_REFUSED, "\"%s\" is not waived", r->action.keys[i]);
            return;
        }
    }
    send_keys(r, keys);
}

void run_waive(struct run *r)
{
    if (r->action.remove)
        route_waivers_read(r->store, r->user, action_waive_on_kept, r);
    else
        route_report_read(r->store, r->user, on_waive_report, r);
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

json_t *waiver_json(struct span key, struct span value)
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
    json_object_set_new(o, "when", json_time(ms));
    return o;
}

static void on_report_waivers(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    json_t *list = json_array();

    for (size_t i = 0; rc == ROUTE_OK && i + 1 < n; i += 2)
        json_array_append_new(list, waiver_json(rows[i], rows[i + 1]));
    json_object_set_new(r->data, "waivers", list);
    if (rc != ROUTE_OK)
        run_end_failed(r, rc, "");
    else if (json_is_null(json_object_get(r->data, "report")))
        route_read(r->store, r->user, on_report_route, r);
    else
        run_end(r, ACTION_DONE, "%s", "");
}

static void action_waive_on_report(void *owner, enum route_rc rc, const struct span *rows, size_t n)
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
    route_report_read(r->store, r->user, action_waive_on_report, r);
}
