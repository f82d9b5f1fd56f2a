/* Groups of accounts that share mailboxes (lib/route_sharing.h): made, changed, moved and shown. All members of one lie in one store. */
#include <stdlib.h>

#include "lib/account.h"
#include "lib/route_sharing.h"

#include "actions_priv.h"

/* ---- what a group is, as JSON */

static json_t *sharing_member(const struct span *row)
{
    static const char *const names[SHARING_MEMBER] = {"user",   "state",  "backend", "reason",
                                                      "gather", "source", "target"};
    json_t *o = json_object();

    for (size_t i = 0; i < SHARING_MEMBER; i++)
        json_object_set_new(o, names[i], json_text(row[i]));
    return o;
}

/* NULL: there is none. */
static json_t *sharing_json(const struct span *rows, size_t n)
{
    uint64_t at = 0;

    if (n < SHARING_HEAD)
        return NULL;
    json_t *o = json_object(), *members = json_array();
    for (size_t i = SHARING_HEAD; i + SHARING_MEMBER <= n; i += SHARING_MEMBER)
        json_array_append_new(members, sharing_member(&rows[i]));
    json_object_set_new(o, "group", json_text(rows[0]));
    json_object_set_new(o, "rev", json_text(rows[1]));
    json_object_set_new(o, "changed_by", json_text(rows[2]));
    json_object_set_new(o, "changed", json_time(span_u64(rows[3], UINT64_MAX, &at) ? at : 0));
    json_object_set_new(o, "why", json_text(rows[4]));
    json_object_set_new(o, "members", members);
    return o;
}

/* ---- group show, group list */

static void sharing_on_shown(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    json_t *group = rc == ROUTE_OK ? sharing_json(rows, n) : NULL;

    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, "");
    } else if (!group) {
        run_end(r, ACTION_NO_RECORD, "there is no group %s", r->action.group);
    } else {
        json_object_update(r->data, group);
        json_decref(group);
        run_end(r, ACTION_DONE, "%s", "");
    }
}

/* The name may be a member's. */
static void sharing_on_named(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    const char *why;
    char *key =
        rc == ROUTE_OK && n == 0 ? account_key(store_conf(r->store), span_str(r->action.group), &why) : NULL;

    if (key)
        route_sharing_read(r->store, "", key, sharing_on_shown, r);
    else
        sharing_on_shown(r, rc, rows, n);
    free(key);
}

static void sharing_next(struct run *r);

static void sharing_on_listed(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    json_t *group = rc == ROUTE_OK ? sharing_json(rows, n) : NULL;

    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, "");
        return;
    }
    if (group) /* else it was dropped meanwhile */
        json_array_append_new(json_object_get(r->data, "sharing"), group);
    r->pending++;
    sharing_next(r);
}

static int sharing_by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* One after the other: they are in action.keys. */
static void sharing_next(struct run *r)
{
    if (r->pending == r->action.n_keys) {
        r->pending = 0;
        r->go_on(r);
    } else {
        route_sharing_read(r->store, r->action.keys[r->pending], "", sharing_on_listed, r);
    }
}

static void sharing_on_names(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;
    char **names = xcalloc(n + 1, sizeof(*names));

    if (rc != ROUTE_OK) {
        free(names);
        run_end_failed(r, rc, "");
        return;
    }
    for (size_t i = 0; i < n; i++)
        names[i] = xspandup(rows[i]);
    qsort(names, n, sizeof(*names), sharing_by_name);
    for (size_t i = 0; i < r->action.n_keys; i++)
        free((char *)(uintptr_t)r->action.keys[i]);
    free((void *)(uintptr_t)r->action.keys);
    r->action.keys = (const char *const *)names;
    r->action.n_keys = n;
    json_object_set_new(r->data, "sharing", json_array());
    sharing_next(r);
}

void sharing_collect(struct run *r, void (*go_on)(struct run *r))
{
    r->go_on = go_on;
    route_sharing_list(r->store, sharing_on_names, r);
}

static void sharing_on_all(struct run *r)
{
    run_end(r, ACTION_DONE, "%s", "");
}

/* ---- group make, add, remove, drop */

static enum route_sharing_edit sharing_edit_of(enum action_verb verb)
{
    return verb == ACTION_SHARING_MAKE     ? SHARING_MAKE
           : verb == ACTION_SHARING_ADD    ? SHARING_ADD
           : verb == ACTION_SHARING_REMOVE ? SHARING_REMOVE
                                           : SHARING_DROP;
}

/* False: it was not done, and the run has ended. Else the answer has its name. */
static bool sharing_is_done(struct run *r, enum route_rc rc, const char *detail)
{
    if (rc == ROUTE_REFUSED)
        run_end(r, ACTION_REFUSED, "the group %s %s", r->action.group, detail);
    else if (rc != ROUTE_OK)
        run_end_failed(r, rc, detail);
    else
        json_object_set_new(r->data, "group", json_string(r->action.group));
    return rc == ROUTE_OK;
}

static void sharing_on_edited(void *owner, enum route_rc rc, const char *detail)
{
    struct run *r = owner;

    if (!sharing_is_done(r, rc, detail))
        return;
    json_object_set_new(r->data, "accounts", json_integer(atoll(detail)));
    if (r->action.verb == ACTION_SHARING_DROP)
        run_end(r, ACTION_DONE, "the group %s is no more: each of its accounts goes by itself",
                r->action.group);
    else
        run_end(r, ACTION_DONE, "the group %s has %s accounts", r->action.group, detail);
}

/* The keys of accounts that are named; to free, each too. NULL: it was said what is wrong. */
static char **sharing_users(struct run *r)
{
    const struct conf *c = store_conf(r->store);
    char **users = xcalloc(r->action.n_keys + 1, sizeof(*users));
    const char *why = NULL;

    for (size_t i = 0; i < r->action.n_keys; i++) {
        if ((users[i] = account_key(c, span_str(r->action.keys[i]), &why)))
            continue;
        run_end(r, ACTION_USAGE, "\"%s\" can't be an account: %s", r->action.keys[i], why);
        while (i > 0)
            free(users[--i]);
        free(users);
        return NULL;
    }
    return users;
}

static void sharing_edit(struct run *r)
{
    char **users = sharing_users(r);

    if (!users)
        return;
    route_sharing_edit(r->store, sharing_edit_of(r->action.verb),
                       &(struct route_sharing_change){.group = r->action.group,
                                                      .who = r->action.who,
                                                      .reason = r->action.reason,
                                                      .most = store_conf(r->store)->migration.group_max,
                                                      .users = (const char *const *)users,
                                                      .n = r->action.n_keys},
                       sharing_on_edited, r);
    for (size_t i = 0; i < r->action.n_keys; i++)
        free(users[i]);
    free(users);
}

/* ---- group migrate */

static void sharing_on_moved(void *owner, enum route_rc rc, const char *detail)
{
    struct run *r = owner;

    if (!sharing_is_done(r, rc, detail))
        return;
    json_object_set_new(r->data, "to", json_string(r->from));
    json_object_set_new(r->data, "queued", json_integer(atoll(detail)));
    run_end(r, ACTION_DONE, "%s of the group %s are queued, or on their way to %s%s", detail, r->action.group,
            r->from, r->action.now ? ", and will be switched over as soon as all are copied" : "");
}

/* What is not said otherwise is where the configuration moves the first of them. */
static void sharing_move(struct run *r, const struct span *rows, size_t n)
{
    const struct conf *c = store_conf(r->store);
    size_t members = (n - SHARING_HEAD) / SHARING_MEMBER;
    char **users = xcalloc(members + 1, sizeof(*users)), *rev = xspandup(rows[1]);
    bool *back = xcalloc(members + 1, sizeof(*back));

    json_t *names = json_array();

    for (size_t i = 0; i < members; i++) {
        users[i] = xspandup(rows[SHARING_HEAD + i * SHARING_MEMBER]);
        json_array_append_new(names, json_string(users[i]));
    }
    json_object_set_new(r->data, "members", names);
    r->from = xstrdup(*r->action.to ? r->action.to : conf_pair_of(c, users[0]).target);
    for (size_t i = 0; i < members; i++)
        back[i] = !strcmp(r->from, conf_pair_of(c, users[i]).source);
    route_sharing_move(r->store,
                       &(struct route_sharing_move){.group = r->action.group,
                                                    .who = r->action.who,
                                                    .reason = r->action.reason,
                                                    .rev = rev,
                                                    .target = r->from,
                                                    .now = r->action.now,
                                                    .users = (const char *const *)users,
                                                    .back = back,
                                                    .n = members},
                       sharing_on_moved, r);
    for (size_t i = 0; i < members; i++)
        free(users[i]);
    free(users);
    free(back);
    free(rev);
}

static void sharing_on_to_move(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct run *r = owner;

    if (rc != ROUTE_OK)
        run_end_failed(r, rc, "");
    else if (n < SHARING_HEAD + SHARING_MEMBER)
        run_end(r, ACTION_NO_RECORD, "there is no group %s", r->action.group);
    else
        sharing_move(r, rows, n);
}

/* ---- */

char *sharing_fault(const struct action *a)
{
    bool named = a->group && *a->group;

    if (a->verb == ACTION_SHARING_LIST)
        return NULL;
    if (!named)
        return xstrdup("a group must be named");
    if (a->verb != ACTION_SHARING && !route_sharing_is_name(a->group))
        return xasprintf(
            "\"%s\" can't be a group: letters, digits, \".\", \"_\" and \"-\", 64 of them at most", a->group);
    if (a->verb != ACTION_SHARING && a->verb != ACTION_SHARING_MOVE && a->verb != ACTION_SHARING_DROP &&
        a->n_keys == 0)
        return xstrdup("the accounts must be named");
    return NULL;
}

void run_sharing(struct run *r)
{
    switch (r->action.verb) {
    case ACTION_SHARING_LIST:
        sharing_collect(r, sharing_on_all);
        break;
    case ACTION_SHARING:
        route_sharing_read(r->store, r->action.group, "", sharing_on_named, r);
        break;
    case ACTION_SHARING_MOVE:
        route_sharing_read(r->store, r->action.group, "", sharing_on_to_move, r);
        break;
    default:
        sharing_edit(r);
        break;
    }
}

bool sharing_is_of_one(const struct action *a)
{
    return a->verb == ACTION_SHARING || (a->verb >= ACTION_SHARING_MAKE && a->verb <= ACTION_SHARING_MOVE);
}
