/* `list` and `route export` go through all accounts (walk.h). */
#include <stdio.h>
#include <stdlib.h>

#include "lib/reasons.h"

#include "actions_priv.h"
#include "nearest.h"

enum { LISTED_MAX = 100000 /* more are counted */ };

struct list_walk {
    struct run *run;
    json_t *found; /* by account; owned */
    uint64_t more;
    uint64_t exported;
};

static void list_walk_free(struct list_walk *w)
{
    json_decref(w->found);
    free(w);
}

/* The walk has ended; false: by what the run ends with. */
static bool list_walk_is_whole(struct list_walk *w, enum route_rc rc)
{
    struct run *r = w->run;

    r->walk = NULL;
    if (rc == ROUTE_OK)
        return true;
    list_walk_free(w);
    run_end_failed(r, rc, "");
    return false;
}

static struct list_walk *list_walk_new(struct run *r)
{
    struct list_walk *w = xcalloc(1, sizeof(*w));

    w->run = r;
    w->found = json_object();
    return w;
}

/* ---- list */

/* "held: " where nobody said why. */
static json_t *action_list_reason(const char *reason)
{
    struct span s = span_str(reason);

    while (s.len && strchr(": ", s.p[s.len - 1]))
        s.len--;
    return s.len ? json_text(s) : json_null();
}

static json_t *action_list_done(uint64_t done, uint64_t total)
{
    return json_pack("{s:I, s:I}", "done", (json_int_t)done, "total", (json_int_t)total);
}

/* What stands in `list` where columns are asked for. */
static void action_list_add_whole(json_t *o, const struct walk_account *a)
{
    const struct route_progress *p = &a->progress;

    json_object_set_new(o, "source", json_text(span_str(a->source)));
    json_object_set_new(o, "target", json_text(span_str(a->target)));
    json_object_set_new(o, "rule", json_text(span_str(a->rule)));
    json_object_set_new(o, "domain", json_text(span_str(a->domain)));
    json_object_set_new(o, "last_failure", action_list_reason(a->failed));
    json_object_set_new(o, "last_login", json_time(a->login_ms));
    json_object_set_new(o, "flipped", json_time(a->flipped_ms));
    json_object_set_new(o, "attempts", json_integer((json_int_t)a->attempts));
    json_object_set_new(o, "waivers", json_integer((json_int_t)a->waivers));
    json_object_set_new(o, "mailboxes", action_list_done(p->mailboxes_done, p->mailboxes_total));
    json_object_set_new(o, "messages", action_list_done(p->messages_done, p->messages_total));
    json_object_set_new(o, "bytes", action_list_done(p->bytes_done, p->bytes_total));
    json_object_set_new(o, "tiers", json_text(span_str(p->tiers)));
}

static void action_list_on_account(void *owner, const struct walk_account *a)
{
    struct list_walk *w = owner;

    if (json_object_size(w->found) >= LISTED_MAX) {
        w->more++;
        return;
    }
    json_t *o = json_object();
    json_object_set_new(o, "user", json_string(a->user));
    json_set_login(o, a->user);
    json_object_set_new(o, "state", json_text(span_str(a->state)));
    json_object_set_new(o, "backend", json_text(span_str(a->backend)));
    json_object_set_new(o, "reason", action_list_reason(a->reason));
    json_object_set_new(o, "next_try", json_time(a->next_try_ms));
    if (w->run->action.whole)
        action_list_add_whole(o, a);
    if (store_conf(w->run->store)->redis.n_stores > 1)
        json_object_set_new(o, "store", json_integer((json_int_t)store_nth(w->run->store) + 1));
    json_object_set_new(w->found, a->user, o);
}

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

static void action_list_on_walked(void *owner, enum route_rc rc)
{
    struct list_walk *w = owner;
    struct run *r = w->run;

    if (!list_walk_is_whole(w, rc))
        return;
    json_object_set_new(r->data, "total", json_integer((json_int_t)(json_object_size(w->found) + w->more)));
    json_object_set_new(r->data, "accounts", in_order(w->found));
    list_walk_free(w);
    run_end(r, ACTION_DONE, "%s", "");
}

struct walk_filter run_filter(const struct run *r)
{
    const struct action *a = &r->action;
    const char *word = a->verb == ACTION_LIST && !*a->word ? a->reason : a->word;

    return (struct walk_filter){.route = {.state = a->state,
                                          .reason = word,
                                          .backend = a->backend,
                                          .within_ms = a->within_ms,
                                          .beyond_ms = a->beyond_ms},
                                .domain = r->domain ? r->domain : "",
                                .rule = a->rule};
}

void report_list(struct run *r)
{
    struct walk_filter f = run_filter(r);

    r->walk = walk_start(r->store, &f, action_list_on_account, action_list_on_walked, list_walk_new(r));
}

/* ---- what is asked for */

char *action_no_backend(const struct conf *c, const char *name)
{
    const char **known = xcalloc(c->n_backends + 1, sizeof(*known));
    struct buf list = {0};

    for (size_t i = 0; i < c->n_backends; i++) {
        known[i] = c->backends[i].name;
        buf_printf(&list, "%s%s", i ? ", " : "", known[i]);
    }
    const char *meant = nearest(name, known, c->n_backends);
    char *text =
        meant ? xasprintf("there is no backend \"%s\": did you mean \"%s\"?", name, meant)
              : xasprintf("there is no backend \"%s\"; the configuration has: %s", name, buf_str(&list));
    buf_free(&list);
    free(known);
    return text;
}

/* NULL: it is one of the words, or "". Else what is wrong; to free. */
static char *action_list_unknown(const char *what, const char *word, const char *const *known, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(known[i], word))
            return NULL;
    const char *meant = *word ? nearest(word, known, n) : NULL;
    return !*word  ? NULL
           : meant ? xasprintf("there is no %s \"%s\": did you mean \"%s\"?", what, word, meant)
                   : xasprintf("there is no %s \"%s\"", what, word);
}

static char *action_list_state_fault(const char *state)
{
    const char *states[ROUTE_HELD + 1];

    for (int i = 0; i <= ROUTE_HELD; i++)
        states[i] = route_state_name((enum route_state)i);
    return action_list_unknown("state", state, states, COUNTOF(states));
}

static char *action_list_word_fault(const char *word)
{
    const char *words[WHY_COUNT + 1];

    for (int i = 0; i < WHY_COUNT; i++)
        words[i] = why_word((enum why)i);
    words[WHY_COUNT] = "held";
    return action_list_unknown("reason", word, words, COUNTOF(words));
}

static char *action_list_rule_fault(const struct conf *c, const char *rule)
{
    const char **patterns = xcalloc(c->n_rules + 1, sizeof(*patterns));

    for (size_t i = 0; i < c->n_rules; i++)
        patterns[i] = c->rules[i].pattern;
    patterns[c->n_rules] = WALK_NO_RULE;
    char *fault = action_list_unknown("rule", rule, patterns, c->n_rules + 1);
    free(patterns);
    return fault;
}

char *list_fault(struct run *r)
{
    const struct conf *c = store_conf(r->store);
    const struct action *a = &r->action;
    bool listed = a->verb == ACTION_LIST || a->verb == ACTION_PAGE;
    const char *why = NULL;
    char *fault = action_list_state_fault(a->state);

    if (!fault && listed)
        fault = action_list_word_fault(a->reason);
    if (!fault)
        fault = action_list_word_fault(a->word);
    if (!fault)
        fault = action_list_rule_fault(c, a->rule);
    if (!fault && *a->backend && !conf_backend(c, a->backend))
        fault = action_no_backend(c, a->backend);
    if (!fault && *a->domain && !(r->domain = walk_domain(c, a->domain, &why)))
        fault = xasprintf("\"%s\" can't be a domain: %s", a->domain, why);
    return fault;
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

static void action_list_on_exported(void *owner, const struct span *row)
{
    json_t *now = json_time(clock_wall_ms());

    write_line(owner, row, json_string_value(now));
    json_decref(now);
}

/* Of groups, as of `group list`, what does not follow from the accounts. */
static void action_list_add_groups(json_t *groups, const json_t *sharing)
{
    static const char *const names[] = {"group", "changed_by", "changed", "why"};
    json_t *of, *m;
    size_t i, k;

    json_array_foreach(sharing, i, of)
    {
        json_t *o = json_object(), *members = json_array();
        json_array_foreach(json_object_get(of, "members"), k, m)
            json_array_append(members, json_object_get(m, "user"));
        for (k = 0; k < COUNTOF(names); k++)
            json_object_set(o, names[k], json_object_get(of, names[k]));
        json_object_set_new(o, "members", members);
        json_array_append_new(groups, o);
    }
}

/* So that an export that was cut off is known when it is wanted. */
static void write_end(const struct run *r, uint64_t n)
{
    json_t *o = json_object(), *groups = json_array();

    action_list_add_groups(groups, r->action.sharing);
    action_list_add_groups(groups, json_object_get(r->data, "sharing"));
    json_object_set_new(o, "time", json_time(clock_wall_ms()));
    json_object_set_new(o, "end", json_integer((json_int_t)n));
    json_object_set_new(o, "groups", groups);
    json_dumpf(o, r->action.out, JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
    fputc('\n', r->action.out);
    json_decref(o);
}

static void action_list_on_sharing(struct run *r)
{
    uint64_t n = (uint64_t)json_integer_value(json_object_get(r->data, "exported"));

    if (!r->action.goes_on)
        write_end(r, r->action.before + n);
    char *text = export_text((long long)n, json_array_size(json_object_get(r->data, "sharing")));
    run_end(r, ACTION_DONE, "%s", text);
    free(text);
}

char *export_text(long long accounts, size_t groups)
{
    char *also = groups ? xasprintf(", and %zu group%s", groups, groups == 1 ? "" : "s") : xstrdup("");
    char *text = xasprintf("%lld accounts that were switched over, or are held%s", accounts, also);

    free(also);
    return text;
}

static void exported_all(void *owner, enum route_rc rc)
{
    struct list_walk *w = owner;
    struct run *r = w->run;
    unsigned long long n = w->exported;

    if (!list_walk_is_whole(w, rc))
        return;
    json_object_set_new(r->data, "exported", json_integer((json_int_t)n));
    list_walk_free(w);
    sharing_collect(r, action_list_on_sharing);
}

void run_export(struct run *r)
{
    r->walk = walk_export(r->store, action_list_on_exported, exported_all, list_walk_new(r));
}
