/* `retry --all` and `waive --all`: first all accounts that are asked for are found, then one script runs for each, many of
 * them at once. The audit has one entry of what was asked for; a waiver is one of its account, too. */
#include <stdio.h>
#include <stdlib.h>

#include "migrator/found/waiver.h"

#include "actions_priv.h"

enum { ALL_UNDER_WAY = 200 /* scripts without an answer */ };

struct all {
    struct run *run;
    json_t *found; /* names; owned */
    char id[33];   /* of this call of the program */
    size_t next, under_way;
    size_t changed;       /* accounts */
    uint64_t findings;    /* of waive: how many these were */
    enum route_rc broken; /* the first answer that ends it */
    bool ending;
};

/* One account. */
struct all_call {
    struct all *all;
    const char *user; /* borrowed of found */
};

static void all_free(struct all *l)
{
    json_decref(l->found);
    free(l);
}

static void all_fail(struct all *l, enum route_rc rc)
{
    struct run *r = l->run;

    all_free(l);
    run_end_failed(r, rc, "");
}

static bool all_is_waive(const struct all *l)
{
    return l->run->action.verb == ACTION_WAIVE;
}

/* ---- the end */

static void all_say(struct all *l)
{
    struct run *r = l->run;
    size_t n = l->changed;
    unsigned long long findings = l->findings;
    bool waive = all_is_waive(l);

    json_object_set_new(r->data, waive ? "accounts" : "queued", json_integer((json_int_t)n));
    if (waive)
        json_object_set_new(r->data, "findings", json_integer((json_int_t)findings));
    all_free(l);
    if (!waive)
        run_end(r, ACTION_DONE, "%zu account%s queued again", n, n == 1 ? " is" : "s are");
    else if (r->action.yes || n == 0)
        run_end(r, ACTION_DONE, "%llu finding%s of %zu account%s waived", findings, findings == 1 ? "" : "s",
                n, n == 1 ? " is" : "s are");
    else
        run_end(r, ACTION_REFUSED, "%llu finding%s of %zu account%s would be waived: --yes does it", findings,
                findings == 1 ? "" : "s", n, n == 1 ? "" : "s");
}

static void all_on_noted(void *owner, enum route_rc rc, const char *detail)
{
    struct all *l = owner;

    (void)detail;
    if (rc == ROUTE_OK)
        all_say(l);
    else
        all_fail(l, rc);
}

/* What was asked for, as it would be typed. To free. */
static char *all_what(const struct action *a)
{
    const char *const asked[][2] = {{"--state", a->state},
                                    {"--why", a->word},
                                    {"--backend", a->backend},
                                    {"--domain", a->domain},
                                    {"--rule", a->rule}};
    struct buf text = {0};

    buf_add_str(&text, a->verb == ACTION_WAIVE ? "waive --all" : "retry --all");
    for (size_t i = 0; i < a->n_keys; i++)
        buf_printf(&text, " %s", a->keys[i]);
    for (size_t i = 0; i < COUNTOF(asked); i++)
        if (*asked[i][1])
            buf_printf(&text, " %s %s", asked[i][0], asked[i][1]);
    if (a->within_ms || a->beyond_ms)
        buf_add_str(&text, " by last login");
    char *what = xstrdup(buf_str(&text));
    buf_free(&text);
    return what;
}

static void all_end(struct all *l)
{
    const struct action *a = &l->run->action;

    l->ending = true;
    if (l->broken != ROUTE_OK) {
        all_fail(l, l->broken);
    } else if (all_is_waive(l) && (!a->yes || l->changed == 0)) {
        all_say(l);
    } else {
        char *after = xasprintf("%zu %s", l->changed, all_is_waive(l) ? "waived" : "queued"),
             *what = all_what(a);
        route_note(l->run->store, l->id, a->who, what, a->reason, after, all_on_noted, l);
        free(after);
        free(what);
    }
}

/* ---- one account */

static void all_more(struct all *l);

static void all_call_end(struct all_call *c, enum route_rc rc)
{
    struct all *l = c->all;

    free(c);
    l->under_way--;
    if (rc != ROUTE_OK && rc != ROUTE_REFUSED && l->broken == ROUTE_OK)
        l->broken = rc;
    all_more(l);
}

/* One that is in another state by now needs no retry, and one that is full of waivers gets no more. */
static void all_on_done(void *owner, enum route_rc rc, const char *detail)
{
    struct all_call *c = owner;

    (void)detail;
    c->all->changed += rc == ROUTE_OK;
    all_call_end(c, rc);
}

/* How many findings that are open and of these kinds the last pass named. */
static uint64_t all_count_findings(const struct action *a, const json_t *report)
{
    uint64_t n = 0;

    for (size_t i = 0; i < a->n_keys; i++) {
        const json_t *kind = json_object_get(json_object_get(report, "findings"), a->keys[i]);
        n += (uint64_t)json_integer_value(json_object_get(kind, "open"));
    }
    return n;
}

static void all_waive(struct all_call *c)
{
    const struct action *a = &c->all->run->action;
    struct route_staff staff = {.user = c->user, .who = a->who, .reason = a->reason};
    struct span *keys = xcalloc(a->n_keys, sizeof(*keys));

    for (size_t i = 0; i < a->n_keys; i++)
        keys[i] = span_str(a->keys[i]);
    route_waive(c->all->run->store, &staff, keys, a->n_keys, all_on_done, c);
    free(keys);
}

static void all_on_report(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct all_call *c = owner;
    const struct action *a = &c->all->run->action;
    json_t *report = n > 0 ? json_loadb((const char *)rows[0].p, rows[0].len, 0, NULL) : NULL;
    uint64_t findings = rc == ROUTE_OK ? all_count_findings(a, report) : 0;

    json_decref(report);
    c->all->findings += findings;
    if (findings > 0 && a->yes) {
        all_waive(c);
    } else {
        c->all->changed += findings > 0;
        all_call_end(c, rc);
    }
}

static void all_begin_call(struct all *l)
{
    const struct action *a = &l->run->action;
    struct all_call *c = xcalloc(1, sizeof(*c));
    struct route_staff staff = {.who = a->who, .reason = a->reason};

    c->all = l;
    staff.user = c->user = json_string_value(json_array_get(l->found, l->next++));
    l->under_way++;
    if (all_is_waive(l))
        route_report_read(l->run->store, c->user, all_on_report, c);
    else
        route_retry(l->run->store, &staff, l->id, all_on_done, c);
}

static void all_more(struct all *l)
{
    l->under_way++; /* an answer may come from inside of a call */
    while (l->broken == ROUTE_OK && l->under_way <= ALL_UNDER_WAY && l->next < json_array_size(l->found))
        all_begin_call(l);
    if (--l->under_way == 0 && !l->ending)
        all_end(l);
}

/* ---- which accounts */

static void all_on_account(void *owner, const struct walk_account *account)
{
    struct all *l = owner;

    if (!strcmp(account->state, "backoff") || !strcmp(account->state, "blocked"))
        json_array_append_new(l->found, json_string(account->user));
}

static void all_on_walked(void *owner, enum route_rc rc)
{
    struct all *l = owner;

    l->run->walk = NULL;
    if (rc == ROUTE_OK)
        all_more(l);
    else
        all_fail(l, rc);
}

void run_all(struct run *r)
{
    struct all *l = xcalloc(1, sizeof(*l));
    struct walk_filter f = run_filter(r);

    l->run = r;
    l->found = json_array();
    random_hex(l->id, 16);
    r->walk = walk_start(r->store, &f, all_on_account, all_on_walked, l);
}

char *run_all_fault(const struct action *a)
{
    enum finding_kind kind;

    if (a->verb == ACTION_RETRY)
        return NULL;
    if (a->remove)
        return xstrdup("waive --all can't be taken back at once: say it of each account");
    for (size_t i = 0; i < a->n_keys; i++)
        if (!finding_parse(span_str(a->keys[i]), &kind) || !finding_is_waivable(kind))
            return xasprintf("\"%s\": --all takes kinds that can be waived in a whole account", a->keys[i]);
    return NULL;
}
