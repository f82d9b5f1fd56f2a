#include <stdlib.h>

#include "lib/account.h"

#include "actions_priv.h"

/* ---- verbs that change something */

static struct route_staff action_staff(const struct run *r)
{
    return (struct route_staff){.user = r->user, .who = r->action.who, .reason = r->action.reason};
}

static void action_set_state(struct run *r, const char *state)
{
    json_object_set_new(r->data, "state", json_string(state));
}

static void on_simple(void *owner, enum route_rc rc, const char *detail)
{
    struct run *r = owner;

    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, detail);
        return;
    }
    action_set_state(r, detail);
    run_end(r, ACTION_DONE, "%s is %s", r->user, detail);
}

static void action_on_kicked(void *owner, enum route_rc rc, const char *detail)
{
    struct run *r = owner;

    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, detail);
        return;
    }
    json_object_set_new(r->data, "sessions", json_integer(atoll(detail)));
    run_end(r, ACTION_DONE, "%s session%s of %s %s told to end", detail, strcmp(detail, "1") ? "s" : "",
            r->user, strcmp(detail, "1") ? "are" : "is");
}

static void action_on_forgotten(void *owner, enum route_rc rc, const char *detail)
{
    struct run *r = owner;

    if (rc == ROUTE_REFUSED)
        run_end(r, ACTION_REFUSED, "%s %s%s", r->user, detail,
                strncmp(detail, "has been", 8) ? "" : "; where no server has it any more: --gone");
    else if (rc != ROUTE_OK)
        run_end_failed(r, rc, detail);
    else if (!strcmp(detail, "none"))
        run_end(r, ACTION_NO_RECORD, "%s has no record", r->user);
    else
        run_end(r, ACTION_DONE, "%s is forgotten: it was %s", r->user, detail);
}

static const char *target_of(const struct run *r)
{
    return *r->action.to ? r->action.to : conf_pair_of(store_conf(r->store), r->user).target;
}

static bool goes_back(const struct run *r)
{
    return !strcmp(target_of(r), conf_pair_of(store_conf(r->store), r->user).source);
}

/* What staff would not expect of the end. */
static const char *what_then(const struct run *r)
{
    return goes_back(r) ? "; sent back, it will be held there until \"release\"" : "";
}

static void on_now(void *owner, enum route_rc rc, const char *detail)
{
    struct run *r = owner;

    /* Between the two calls the job went on: what was asked for is under way, or it was said with the first. */
    if (rc != ROUTE_OK && rc != ROUTE_REFUSED) {
        run_end_failed(r, rc, detail);
        return;
    }
    action_set_state(r, detail);
    run_end(r, ACTION_DONE, "%s is %s, and will be switched over as soon as it is copied%s", r->user, detail,
            what_then(r));
}

static void on_enqueued(void *owner, enum route_rc rc, const char *detail)
{
    struct run *r = owner;

    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, detail);
        return;
    }
    if (r->action.now && !r->action.force) {
        struct route_staff a = action_staff(r);
        route_now(r->store, &a, on_now, r);
        return;
    }
    action_set_state(r, detail);
    run_end(r, ACTION_DONE, "%s is %s%s%s", r->user, detail,
            r->action.force ? ", and will be switched over without a copy" : "", what_then(r));
}

static bool under_way(const struct route *route)
{
    return route->state >= ROUTE_QUEUED && route->state <= ROUTE_FLIPPING;
}

static bool at_rest_on(const struct route *route, const char *backend)
{
    return !strcmp(route->backend, backend) && !under_way(route) && route->state != ROUTE_HELD;
}

/* Nothing is looked at there any more, and it may be off. */
static bool action_is_retired(const struct run *r, const char *backend)
{
    const struct conf_backend *b = conf_backend(store_conf(r->store), backend);

    return b && b->retired;
}

/* Of a route that was read before: what it is by now, the script compares. */
static void enqueue(struct run *r)
{
    struct route_staff a = action_staff(r);

    route_enqueue(r->store, &a, r->from, target_of(r), false, r->action.force, goes_back(r),
                  r->action.now && !r->action.force, on_enqueued, r);
}

static void move_account(struct run *r, const struct route *route)
{
    const char *to = target_of(r);

    if (at_rest_on(route, to)) {
        action_set_state(r, route_state_name(route->state));
        run_end(r, ACTION_DONE, "%s is on %s already", r->user, to);
    } else if (action_is_retired(r, to)) {
        run_end(r, ACTION_REFUSED, "%s is retired, as its section says: nobody is moved to it", to);
    } else if (action_is_retired(r, route->backend) && !r->action.force) {
        run_end(r, ACTION_REFUSED,
                "%s is on %s, which is retired, as its section says: nothing is copied from there", r->user,
                route->backend);
    } else if (under_way(route) && !strcmp(route->backend, to)) {
        run_end(r, ACTION_REFUSED, "%s is on %s and on its way to %s; \"hold\" keeps it where it is", r->user,
                to, route->target);
    } else if (route->state == ROUTE_HELD) {
        run_end(r, ACTION_REFUSED, "%s is held: release it first", r->user);
    } else if (route->state == ROUTE_PREPARING || route->state == ROUTE_FREEZING ||
               route->state == ROUTE_FLIPPING) {
        run_end(r, r->action.force ? ACTION_REFUSED : ACTION_DONE, "%s is being switched over at this moment",
                r->user);
    } else {
        r->from = xstrdup(route->backend);
        if (r->action.force && !r->action.yes)
            force_look(r, to, enqueue);
        else
            enqueue(r);
    }
}

static void on_route_to_move(void *owner, enum route_rc rc, const struct route *route)
{
    struct run *r = owner;

    if (rc != ROUTE_OK)
        run_end_failed(r, rc, "");
    else
        move_account(r, route);
}

static void on_paused(void *owner, enum route_rc rc, const char *detail)
{
    struct run *r = owner;
    bool on = r->action.verb == ACTION_PAUSE;

    if (rc != ROUTE_OK) {
        run_end_failed(r, rc, detail);
        return;
    }
    json_object_set_new(r->data, "paused", json_boolean(on));
    run_end(r, ACTION_DONE,
            on ? "migrations are paused; what is being switched over at this moment is carried out"
               : "migrations go on");
}

static void on_init(void *owner, enum route_rc rc, const char *detail)
{
    struct run *r = owner;

    if (rc == ROUTE_OK)
        run_end(r, ACTION_DONE, "the store is made");
    else if (rc == ROUTE_REFUSED && !strcmp(detail, "restoring"))
        run_end(
            r, ACTION_REFUSED,
            "a \"route restore\" has begun here and has not ended, so that Redis holds only some of the accounts: "
            "do it again. If it was a mistake, take away all keys that begin with the prefix");
    else if (rc == ROUTE_REFUSED && !strcmp(detail, "moved"))
        run_end(
            r, ACTION_REFUSED,
            "the store that was here was moved to others (\"route move\"): nothing was changed. Name these in the "
            "section redis, or take that back (\"route reopen\")");
    else if (rc == ROUTE_REFUSED)
        run_end(r, ACTION_REFUSED, "Redis holds a store already: nothing was changed");
    else
        run_end_failed(r, rc, detail);
}

/* ---- route source */

static void on_source(void *owner, enum route_rc rc, const char *before)
{
    struct run *r = owner;

    if (rc == ROUTE_OK)
        run_end(
            r, ACTION_DONE,
            "accounts without a record live on %s (before: %s): start all proxies and migrators with it as "
            "migration.source",
            r->action.to, *before ? before : "not known");
    else if (rc == ROUTE_REFUSED)
        run_end(r, ACTION_REFUSED,
                "%s is alive, and would go on with the source before: stop all proxies and migrators first",
                before);
    else
        run_end_failed(r, rc, before);
}

static void run_source(struct run *r)
{
    if (r->action.yes)
        route_source(r->store, r->action.to, r->action.who, r->action.reason, on_source, r);
    else
        run_end(
            r, ACTION_REFUSED,
            "all accounts without a record would be signed in on %s: only where their mail is there, and once all "
            "proxies and migrators are stopped, do it with --yes --reason TEXT",
            r->action.to);
}

/* ---- the start */

static void run_now(struct run *r)
{
    struct route_staff a = action_staff(r);

    switch (r->action.verb) {
    case ACTION_INIT:
        route_init(r->store, 0, NULL, on_init, r);
        break;
    case ACTION_SOURCE:
        run_source(r);
        break;
    case ACTION_STATUS:
        report_status(r);
        break;
    case ACTION_RECOUNT:
        run_recount(r);
        break;
    case ACTION_USER:
        if (r->action.report)
            report_of_pass(r);
        else
            report_user(r);
        break;
    case ACTION_SESSIONS:
        report_sessions(r);
        break;
    case ACTION_LIST:
        report_list(r);
        break;
    case ACTION_REPORT:
        if (r->user)
            report_account(r);
        else
            report_summary(r);
        break;
    case ACTION_PAGE:
        report_page(r);
        break;
    case ACTION_GROUPS:
        report_groups(r);
        break;
    case ACTION_EVENTS:
        report_events(r);
        break;
    case ACTION_HISTORY:
        report_history(r);
        break;
    case ACTION_EXPORT:
        run_export(r);
        break;
    case ACTION_MOVE:
        run_move(r);
        break;
    case ACTION_REOPEN:
        run_reopen(r);
        break;
    case ACTION_RETIRE:
        run_retire(r);
        break;
    case ACTION_DIRECT:
        run_direct(r);
        break;
    case ACTION_AUDIT:
        report_audit(r);
        break;
    case ACTION_MIGRATE:
    case ACTION_FLIP:
        route_read(r->store, r->user, on_route_to_move, r);
        break;
    case ACTION_HOLD:
        route_hold(r->store, &a, on_simple, r);
        break;
    case ACTION_RELEASE:
        route_release(r->store, &a, on_simple, r);
        break;
    case ACTION_RETRY:
        if (r->action.all)
            run_all(r);
        else
            route_retry(r->store, &a, "", on_simple, r);
        break;
    case ACTION_KICK:
        route_kick(r->store, &a, action_on_kicked, r);
        break;
    case ACTION_FORGET:
        route_forget(r->store, &a, r->action.gone, action_on_forgotten, r);
        break;
    case ACTION_WAIVE:
        if (r->action.all)
            run_all(r);
        else
            run_waive(r);
        break;
    case ACTION_PAUSE:
    case ACTION_RESUME:
        if (*r->action.wave)
            run_pause_wave(r);
        else
            route_pause(r->store, r->action.verb == ACTION_PAUSE, r->action.who, r->action.reason, "",
                        on_paused, r);
        break;
    case ACTION_PROXY_FORGET:
        run_proxy_forget(r);
        break;
    case ACTION_SHARING_LIST:
    case ACTION_SHARING:
    case ACTION_SHARING_MAKE:
    case ACTION_SHARING_ADD:
    case ACTION_SHARING_REMOVE:
    case ACTION_SHARING_DROP:
    case ACTION_SHARING_MOVE:
        run_sharing(r);
        break;
    }
}

static bool needs_account(enum action_verb verb)
{
    return verb == ACTION_USER || verb == ACTION_SESSIONS || (verb >= ACTION_MIGRATE && verb <= ACTION_WAIVE);
}

/* NULL: the action may run. Else what is wrong with it; to free. */
static char *fault_of(struct run *r)
{
    const struct conf *c = store_conf(r->store);
    const struct action *a = &r->action;
    const char *why = NULL;

    r->as_key = naming_as_key(c, a->login);
    if (*a->login && !(r->user = account_key(c, span_str(a->login), &why)))
        return xasprintf("\"%s\" can't be an account: %s", a->login, why);
    if (needs_account(a->verb) && !r->user && !a->all)
        return xstrdup("an account must be named");
    if (*a->to && !conf_backend(c, a->to))
        return action_no_backend(c, a->to);
    if (a->verb == ACTION_FLIP && !*a->to)
        return xstrdup("flip needs --to BACKEND");
    if (a->verb == ACTION_FLIP && !*a->reason)
        return xstrdup("flip needs --reason TEXT");
    if (a->gone && !*a->reason)
        return xstrdup("forget --gone needs --reason TEXT");
    if (a->verb == ACTION_SOURCE && a->yes && !*a->reason)
        return xstrdup("route source --yes needs --reason TEXT");
    char *fault = list_fault(r);
    if (!fault && a->verb == ACTION_WAIVE)
        fault = waive_fault(a);
    if (!fault && a->all && a->verb != ACTION_RETIRE)
        fault = run_all_fault(a);
    if (fault)
        return fault;
    if (a->verb == ACTION_PROXY_FORGET)
        return proxy_forget_fault(a);
    if (a->verb == ACTION_SHARING_LIST || sharing_is_of_one(a))
        return sharing_fault(a);
    return NULL;
}

static void action_on_named(void *owner, enum naming_rc n, enum route_rc rc)
{
    struct run *r = owner;
    char *text;

    switch (n) {
    case NAMING_FAILED:
        run_end_failed(r, rc, "");
        return;
    case NAMING_BOTH:
        text = naming_say_both(r->action.login, r->user, r->as_key);
        run_end(r, ACTION_USAGE, "%s", text);
        free(text);
        return;
    case NAMING_KEY:
        free(r->user);
        r->user = r->as_key;
        r->as_key = NULL;
        break;
    case NAMING_NEITHER:
        r->note =
            xasprintf("that is the login name with the \"%%\" in it: %s has no record either", r->as_key);
        break;
    case NAMING_LOGIN:
        break;
    }
    run_now(r);
}

static void action_start(struct loop_task *task)
{
    struct run *r = CONTAINER_OF(task, struct run, task);

    if (r->text)
        run_end(r, ACTION_USAGE, "%s", r->text);
    else if (r->as_key && strcmp(r->as_key, r->user) != 0 && stores_is_in(r->store, r->as_key))
        naming_ask(r->store, r->user, r->as_key, &r->naming, action_on_named, r);
    else
        run_now(r);
}

static char *action_text(const char *s)
{
    return xstrdup(s ? s : "");
}

static void copy_keys(struct action *to, const struct action *from)
{
    char **keys = xcalloc(from->n_keys ? from->n_keys : 1, sizeof(*keys));

    for (size_t i = 0; i < from->n_keys; i++)
        keys[i] = xstrdup(from->keys[i]);
    to->keys = (const char *const *)keys;
}

void action_copy(struct action *to, const struct action *from)
{
    *to = *from;
    to->login = action_text(from->login);
    to->to = action_text(from->to);
    to->state = action_text(from->state);
    to->who = action_text(from->who);
    to->reason = action_text(from->reason);
    to->cursor = action_text(from->cursor);
    to->word = action_text(from->word);
    to->backend = action_text(from->backend);
    to->domain = action_text(from->domain);
    to->rule = action_text(from->rule);
    to->wave = action_text(from->wave);
    to->group = action_text(from->group);
    copy_keys(to, from);
}

static void action_begin(struct store *s, struct stores *stores, const struct action *a, action_fn fn,
                         void *owner)
{
    struct run *r = xcalloc(1, sizeof(*r));

    r->store = s;
    r->stores = stores;
    action_copy(&r->action, a);
    r->action.now = a->now || a->verb == ACTION_FLIP;
    r->fn = fn;
    r->owner = owner;
    r->data = json_object();
    r->text = fault_of(r);
    r->task.fn = action_start;
    loop_defer(store_loop(s), &r->task);
}

void action_run_at(struct store *s, const struct action *a, action_fn fn, void *owner)
{
    action_begin(s, NULL, a, fn, owner);
}

void action_run_through(struct stores *s, const struct action *a, action_fn fn, void *owner)
{
    action_begin(s->all[0], s, a, fn, owner);
}
