/* A site with several stores: an action about one account runs at the store that has it, one about all accounts at each
 * store, one store after the other, and what they told is added up. A store that is out of reach takes no part, and is
 * named: what was asked for is done in the others, and may be asked for again. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/account.h"

#include "actions_priv.h"
#include "apart.h"

struct everywhere {
    const struct stores *stores; /* borrowed */
    struct action action;        /* its strings are owned */
    action_fn fn;
    void *owner;
    size_t at, unknown; /* unknown: how many stores know nothing of what it is about */
    enum action_rc rc;
    struct buf text; /* of those where it failed */
    char *said;      /* owned; of the first where it did not; NULL: none */
    json_t *data;    /* owned */
    json_t *told;    /* owned; of each store */
    struct loop_task task;
};

/* ---- adding up ---- */

/* By which members two objects of a list are about the same thing; of other lists, all are kept. */
static const struct {
    const char *list, *members[2];
} same_by[] = {
    {"proxies", {"proxy", NULL}}, {"migrators", {"migrator", NULL}}, {"breakers", {"proxy", "backend"}},
    {"waves", {"wave", NULL}},    {"groups", {"state", "reason"}},   {"reasons", {"state", "reason"}},
};

static bool stores_same(const json_t *a, const json_t *b, size_t row)
{
    for (size_t i = 0; i < 2 && same_by[row].members[i]; i++)
        if (!json_equal(json_object_get(a, same_by[row].members[i]),
                        json_object_get(b, same_by[row].members[i])))
            return false;
    return true;
}

static void stores_add(json_t *into, const char *name, json_t *more);

/* Where it is paused in this store and in none before, it is told by whom and why it is here. */
static void stores_take_pause(json_t *into, const json_t *more)
{
    static const char *const names[] = {"paused_by", "paused_reason", "paused_since"};

    if (!json_is_true(json_object_get(more, "paused")) || json_is_true(json_object_get(into, "paused")))
        return;
    for (size_t i = 0; i < COUNTOF(names); i++)
        if (json_object_get(more, names[i]))
            json_object_set(into, names[i], json_object_get(more, names[i]));
}

static void stores_add_list(json_t *into, const char *name, json_t *more)
{
    size_t row = 0, i, k;
    json_t *o, *known;

    while (row < COUNTOF(same_by) && strcmp(same_by[row].list, name) != 0)
        row++;
    json_array_foreach(more, i, o)
    {
        bool found = false;
        json_array_foreach(into, k, known)
        {
            found = found || (json_is_string(o) && json_equal(known, o));
            if (row == COUNTOF(same_by) || !stores_same(known, o, row))
                continue;
            const char *member;
            json_t *value;
            stores_take_pause(known, o);
            json_object_foreach(o, member, value) stores_add(known, member, value);
            found = true;
            break;
        }
        if (!found)
            json_array_append(into, o);
    }
}

/* What is no number of accounts, and is not added. */
static bool stores_is_one(const char *name)
{
    static const char *const names[] = {"listed",  "share",         "per_day",   "epoch",
                                        "idle_ms", "quarantine_ms", "generation"};

    for (size_t i = 0; i < COUNTOF(names); i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

/* Numbers are added up; what is true anywhere is true, but for what is said to hold of all. */
static void stores_add(json_t *into, const char *name, json_t *more)
{
    json_t *known = json_object_get(into, name), *value;
    const char *member;

    if (!known || json_is_null(known)) {
        json_object_set(into, name, more);
    } else if (json_is_object(known) && json_is_object(more)) {
        json_object_foreach(more, member, value) stores_add(known, member, value);
    } else if (json_is_array(known) && json_is_array(more)) {
        stores_add_list(known, name, more);
    } else if (json_is_integer(known) && json_is_integer(more) && !stores_is_one(name)) {
        json_object_set_new(into, name, json_integer(json_integer_value(known) + json_integer_value(more)));
    } else if (json_is_boolean(known) && json_is_boolean(more)) {
        bool of_all = !strcmp(name, "counted") || !strcmp(name, "may_retire");
        bool is =
            of_all ? json_is_true(known) && json_is_true(more) : json_is_true(known) || json_is_true(more);
        json_object_set_new(into, name, json_boolean(is));
    }
}

static const char *stores_time(const json_t *o)
{
    const char *time = json_string_value(json_object_get(o, "time"));

    return time ? time : "";
}

/* Each store notes how far it is in its own time: to each point of the first one is added what the other noted last before it, or,
 * where that was nothing yet, first. Both rise. */
static void stores_add_points(json_t *into, json_t *more)
{
    size_t i, k = 0, n = json_array_size(more);
    json_t *point, *value;
    const char *member;

    json_array_foreach(into, i, point)
    {
        while (k + 1 < n && strcmp(stores_time(json_array_get(more, k + 1)), stores_time(point)) <= 0)
            k++;
        json_object_foreach(json_array_get(more, k), member, value) stores_add(point, member, value);
    }
}

static int stores_by_user(const void *a, const void *b)
{
    const json_t *const *x = a, *const *y = b;

    return strcmp(json_string_value(json_object_get(*x, "user")),
                  json_string_value(json_object_get(*y, "user")));
}

/* The newest first, as each store tells them. */
static int stores_by_time(const void *a, const void *b)
{
    const json_t *const *x = a, *const *y = b;

    return strcmp(stores_time(*y), stores_time(*x));
}

static void stores_sort(json_t *data, const char *name, int (*compare)(const void *, const void *),
                        size_t max)
{
    json_t *list = json_object_get(data, name), *sorted = json_array(), *o;
    size_t n = json_array_size(list), i;
    json_t **all = xcalloc(n + 1, sizeof(json_t *));

    json_array_foreach(list, i, o) all[i] = o;
    qsort(all, n, sizeof(json_t *), compare);
    for (i = 0; i < n && (max == 0 || i < max); i++)
        json_array_append(sorted, all[i]);
    free(all);
    json_object_set_new(data, name, sorted);
}

/* ---- a page ---- */

/* Where a text begins behind so many blanks. */
static const char *stores_word(const char *text, unsigned blanks)
{
    for (; blanks > 0 && *text; text++)
        blanks -= *text == ' ';
    return text;
}

static int stores_compare_numbers(unsigned long long a, unsigned long long b)
{
    return (a > b) - (a < b);
}

/* "SOURCE MS ACCOUNT", or "SOURCE MS-SEQ ACCOUNT": the order of list_page.lua. */
static int stores_compare_places(const char *a, const char *b)
{
    const char *x = stores_word(a, 1), *y = stores_word(b, 1);
    size_t n = (size_t)(x - a), m = (size_t)(y - b);
    int of_source = strncmp(a, b, n < m ? n : m);
    char *x_seq, *y_seq;

    if (of_source != 0 || n != m)
        return of_source ? of_source : stores_compare_numbers(n, m);
    int by_time = stores_compare_numbers(strtoull(x, &x_seq, 10), strtoull(y, &y_seq, 10));
    int by_seq = by_time || *x_seq != '-' || *y_seq != '-'
                     ? by_time
                     : stores_compare_numbers(strtoull(x_seq + 1, NULL, 10), strtoull(y_seq + 1, NULL, 10));
    return by_seq ? by_seq : strcmp(stores_word(x, 1), stores_word(y, 1));
}

static const char *stores_place_of(const json_t *account)
{
    const char *at = json_string_value(json_object_get(account, "at"));

    return at ? at : "";
}

static int stores_by_place(const void *a, const void *b)
{
    const json_t *const *x = a, *const *y = b;

    return stores_compare_places(stores_place_of(*x), stores_place_of(*y));
}

/* Behind the place where the first of the stores broke off, it is not known what others have before it; "": none did. */
static const char *stores_bound(const json_t *nexts)
{
    const char *bound = "", *next;
    const json_t *o;
    size_t i;

    json_array_foreach(nexts, i, o)
    {
        next = json_string_value(o);
        if (next && (!*bound || stores_compare_places(next, bound) < 0))
            bound = next;
    }
    return bound;
}

/* Of the pages of all stores the one that follows the cursor; what is behind it comes again. A store that is away has its error in
 * "stores", and the page is of the others. */
static void stores_make_page(struct everywhere *e)
{
    json_t *page = json_array(), *o, *list;
    const char *bound = stores_bound(json_object_get(e->data, "nexts")), *last = "";
    size_t i, n = 0;

    if (!json_object_get(e->data, "accounts")) {
        json_decref(page);
        return;
    }
    stores_sort(e->data, "accounts", stores_by_place, 0);
    list = json_object_get(e->data, "accounts");
    while (n < json_array_size(list) &&
           (!*bound || stores_compare_places(stores_place_of(json_array_get(list, n)), bound) <= 0))
        n++;
    bool is_cut = n > page_count(&e->action);
    n = is_cut ? page_count(&e->action) : n;
    for (i = 0; i < n; i++)
        json_array_append(page, json_array_get(list, i));
    last = is_cut ? stores_place_of(json_array_get(list, n - 1)) : bound;
    json_object_set_new(e->data, "next", *last ? json_string(last) : json_null());
    json_array_foreach(page, i, o) json_object_del(o, "at");
    json_object_set_new(e->data, "accounts", page);
    json_object_del(e->data, "nexts");
    buf_clear(&e->text);
    e->rc = ACTION_DONE;
}

static void stores_put_in_order(struct everywhere *e)
{
    switch (e->action.verb) {
    case ACTION_LIST:
        stores_sort(e->data, "accounts", stores_by_user, 0);
        break;
    case ACTION_PAGE:
        stores_make_page(e);
        break;
    case ACTION_EVENTS:
        stores_sort(e->data, "events", stores_by_time, e->action.count);
        break;
    case ACTION_AUDIT:
        stores_sort(e->data, "audit", stores_by_time, 0);
        break;
    default:
        break;
    }
}

/* ---- one store after the other ---- */

static void stores_finish(struct everywhere *e)
{
    const char *text = e->text.len > 0 ? buf_str(&e->text) : e->said ? e->said : "";

    stores_put_in_order(e);
    json_object_set(e->data, "stores", e->told);
    if (e->action.verb == ACTION_STATUS) /* as of a site with one */
        json_object_set(e->data, "store", json_array_get(e->told, 0));
    if (*text)
        json_object_set_new(e->data, e->rc == ACTION_DONE ? "message" : "error", json_text(span_str(text)));
    e->fn(e->owner, &(struct action_result){.rc = e->rc, .text = text, .data = e->data});
    json_decref(e->data);
    json_decref(e->told);
    buf_free(&e->text);
    free(e->said);
    action_free(&e->action);
    free(e);
}

static void stores_tell(struct everywhere *e, const struct action_result *r)
{
    struct store *s = e->stores->all[e->at];
    char *address = address_text(store_address(s));
    json_t *o = json_object();
    bool unknown = json_is_true(json_object_get(r->data, "unknown"));

    json_object_set_new(o, "store", json_integer((json_int_t)e->at + 1));
    json_object_set_new(o, "address", json_text(span_str(address)));
    json_object_set_new(o, "error",
                        r->rc == ACTION_DONE || unknown ? json_null() : json_text(span_str(r->text)));
    if (r->data && json_object_get(r->data, "store"))
        json_object_update(o, json_object_get(r->data, "store"));
    if (e->action.verb == ACTION_STATUS && json_object_get(r->data, "paused"))
        json_object_set(o, "paused", json_object_get(r->data, "paused"));
    json_array_append_new(e->told, o);
    e->unknown += unknown;
    if (r->rc != ACTION_DONE && !unknown) {
        buf_printf(&e->text, "%sstore %zu of %zu (%s): %s", e->text.len ? "; " : "", e->at + 1, e->stores->n,
                   address, r->text);
        e->rc = r->rc > e->rc ? r->rc : e->rc;
    }
    free(address);
}

static void stores_take(struct everywhere *e, const char *name, json_t *value)
{
    json_t *points = json_object_get(e->data, "points");

    if (points && !strcmp(name, "points"))
        stores_add_points(points, value);
    else
        stores_add(e->data, name, value);
}

/* What each store says for itself. */
static bool stores_is_of_one(const char *name)
{
    static const char *const names[] = {"message", "error", "store", "unknown", "next"};

    for (size_t i = 0; i < COUNTOF(names); i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

static void stores_on_result(void *owner, const struct action_result *r)
{
    struct everywhere *e = owner;
    const char *name;
    json_t *value;

    stores_tell(e, r);
    stores_take_pause(e->data, r->data);
    json_object_foreach(r->data, name, value)
    {
        if (!stores_is_of_one(name))
            stores_take(e, name, value);
    }
    if (e->unknown == e->stores->n) {
        e->rc = r->rc;
        buf_add_str(&e->text, r->text);
    }
    if (r->rc == ACTION_DONE && !e->said)
        e->said = xstrdup(r->text);
    e->at++;
    e->action.more = true;
    loop_defer(store_loop(e->stores->all[0]), &e->task);
}

static long long stores_sum(const struct everywhere *e, const char *member)
{
    return (long long)json_integer_value(json_object_get(e->data, member));
}

/* Where a line of text tells how many there were, it is said of all. */
static void stores_say_sum(struct everywhere *e)
{
    char *text = NULL;

    if (!e->said)
        return;
    if (e->action.verb == ACTION_EXPORT)
        text = export_text(stores_sum(e, "exported"), json_array_size(json_object_get(e->data, "sharing")));
    else if (e->action.verb == ACTION_MOVE)
        text = xasprintf("%lld accounts; the stores are closed, and nobody is signed in by them",
                         stores_sum(e, "moved"));
    else if (e->action.verb == ACTION_RETRY)
        text = xasprintf("%lld accounts are queued again", stores_sum(e, "queued"));
    else if (e->action.verb == ACTION_WAIVE)
        text = xasprintf("%lld findings of %lld accounts are waived", stores_sum(e, "findings"),
                         stores_sum(e, "accounts"));
    else if (e->action.verb == ACTION_RECOUNT)
        text = xstrdup("the accounts of all stores were counted");
    else if (e->action.verb == ACTION_INIT)
        text = xasprintf("%zu stores are made", e->stores->n);
    if (!text)
        return;
    free(e->said);
    e->said = text;
}

/* It is closed for its accounts, while others of the site are not. */
static void stores_say_closed(struct everywhere *e)
{
    size_t closed = 0, i;
    json_t *o;

    json_array_foreach(e->told, i, o) closed += json_is_null(json_object_get(o, "error"));
    if (e->action.verb == ACTION_MOVE && e->rc != ACTION_DONE && closed > 0)
        buf_printf(
            &e->text,
            "; nobody is signed in by %zu of %zu stores, which are closed: \"route reopen\", and do it again",
            closed, e->stores->n);
}

/* An export ends once, behind the last store, and not at all where a store is missing: else it would be taken for whole. */
static void stores_tell_export(struct everywhere *e)
{
    e->action.goes_on = e->rc != ACTION_DONE || e->at + 1 < e->stores->n;
    e->action.before = (uint64_t)stores_sum(e, "exported");
    e->action.sharing = json_object_get(e->data, "sharing");
}

static bool stores_is_for_foreign(enum action_verb verb, const struct store *s)
{
    bool makes = verb == ACTION_INIT || verb == ACTION_REOPEN;

    return store_state(s) == STORE_FOREIGN && (makes || (verb == ACTION_SOURCE && store_is_at_odds(s)));
}

static void stores_step(struct loop_task *task)
{
    struct everywhere *e = CONTAINER_OF(task, struct everywhere, task);

    if (e->at == e->stores->n) {
        stores_say_sum(e);
        stores_say_closed(e);
        stores_finish(e);
        return;
    }
    struct store *s = e->stores->all[e->at];
    stores_tell_export(e);
    if (store_state(s) == STORE_UP || stores_is_for_foreign(e->action.verb, s))
        action_run_at(s, &e->action, stores_on_result, e);
    else
        stores_on_result(e, &(struct action_result){.rc = ACTION_UNREACHABLE, .text = store_detail(s)});
}

/* ---- what is asked for ---- */

/* Says at once what is the matter. */
struct refusal {
    struct loop_task task;
    char *text; /* owned */
    action_fn fn;
    void *owner;
    enum action_rc rc;
};

static void stores_on_refusal(struct loop_task *task)
{
    struct refusal *r = CONTAINER_OF(task, struct refusal, task);
    json_t *data = json_object();

    json_object_set_new(data, "error", json_text(span_str(r->text)));
    r->fn(r->owner, &(struct action_result){.rc = r->rc, .text = r->text, .data = data});
    json_decref(data);
    free(r->text);
    free(r);
}

static void stores_refuse(const struct stores *s, enum action_rc rc, char *text, action_fn fn, void *owner)
{
    struct refusal *r = xcalloc(1, sizeof(*r));

    *r = (struct refusal){.task.fn = stores_on_refusal, .text = text, .fn = fn, .owner = owner, .rc = rc};
    loop_defer(store_loop(s->all[0]), &r->task);
}

/* A store that is made without the others would know of another site than they. */
static bool stores_are_all_there(const struct stores *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (store_state(s->all[i]) != STORE_UP && store_state(s->all[i]) != STORE_FOREIGN)
            return false;
    return true;
}

static void stores_everywhere(struct stores *s, const struct action *a, action_fn fn, void *owner)
{
    struct everywhere *e = xcalloc(1, sizeof(*e));

    e->stores = s;
    action_copy(&e->action, a);
    e->fn = fn;
    e->owner = owner;
    e->data = json_object();
    e->told = json_array();
    e->task.fn = stores_step;
    loop_defer(store_loop(s->all[0]), &e->task);
}

/* A record anywhere is that of a site that is at work already: an empty store beside it would send its users to the old
 * server. What forbids to make them, to free; NULL: all are empty. */
static char *stores_forbid_init(const struct stores *s)
{
    size_t made = s->n, empty = s->n;

    for (size_t i = 0; i < s->n; i++) {
        made = made == s->n && !store_is_empty(s->all[i]) ? i : made;
        empty = empty == s->n && store_is_empty(s->all[i]) ? i : empty;
    }
    if (made == s->n)
        return NULL;
    if (empty == s->n)
        return xstrdup("Redis holds a store already: nothing was changed");
    return xasprintf(
        "there is a store already at url %zu of %zu, and none at url %zu: nothing was changed. Where a store has lost its "
        "data, an empty one would send its users to the old server: \"route restore\" brings them back. Where the site is "
        "new and nobody has signed in yet, take away all keys that begin with the prefix, and make all stores anew",
        made + 1, s->n, empty + 1);
}

/* All are empty, so they are made, if they are apart. */
struct making {
    struct stores *stores; /* borrowed */
    struct action action;  /* its strings are owned */
    action_fn fn;
    void *owner;
    struct apart *apart; /* owned */
};

static void stores_on_apart(void *owner, enum action_rc rc, const char *text)
{
    struct making *m = owner;

    if (rc == ACTION_DONE)
        stores_everywhere(m->stores, &m->action, m->fn, m->owner);
    else
        stores_refuse(m->stores, rc, xstrdup(text), m->fn, m->owner);
    action_free(&m->action);
    free(m);
}

static void stores_make(struct stores *s, const struct action *a, action_fn fn, void *owner)
{
    struct making *m = xcalloc(1, sizeof(*m));

    *m = (struct making){.stores = s, .fn = fn, .owner = owner};
    action_copy(&m->action, a);
    m->apart = apart_look(s, NULL, stores_on_apart, m);
}

static void stores_init(struct stores *s, const struct action *a, action_fn fn, void *owner)
{
    char *why = stores_are_all_there(s) ? stores_forbid_init(s) : NULL;

    if (!stores_are_all_there(s))
        stores_refuse(s, ACTION_UNREACHABLE,
                      xstrdup("stores of a site are made together, and not all answer"), fn, owner);
    else if (why)
        stores_refuse(s, ACTION_REFUSED, why, fn, owner);
    else
        stores_make(s, a, fn, owner);
}

/* NULL: there is none, or it can't be one. */
static char *stores_account(const struct stores *s, const struct action *a)
{
    const char *why;

    return a->login && *a->login ? account_key(store_conf(s->all[0]), span_str(a->login), &why) : NULL;
}

void action_run(struct stores *s, const struct action *a, action_fn fn, void *owner)
{
    char *user = s->n > 1 ? stores_account(s, a) : NULL;
    bool of_one = user || (a->login && *a->login && s->n > 1);

    if (s->n == 1)
        action_run_at(s->all[0], a, fn, owner);
    else if (sharing_is_of_one(a))
        sharing_run_in_stores(s, a, fn, owner);
    else if (of_one && user && store_state(stores_of(s, user)) != STORE_UP)
        stores_refuse(
            s, ACTION_UNREACHABLE,
            xasprintf("the store that has %s is out of reach: %s", user, store_detail(stores_of(s, user))),
            fn, owner);
    else if (of_one)
        action_run_at(user ? stores_of(s, user) : s->all[0], a, fn, owner);
    else if (a->verb == ACTION_RETIRE || a->verb == ACTION_DIRECT)
        action_run_through(s, a, fn, owner);
    else if (a->verb == ACTION_SOURCE && !a->yes) /* what it would mean is the same of all */
        action_run_at(s->all[0], a, fn, owner);
    else if (a->verb == ACTION_INIT)
        stores_init(s, a, fn, owner);
    else
        stores_everywhere(s, a, fn, owner);
    free(user);
}
