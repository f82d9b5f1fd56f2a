#include <stdlib.h>

#include "lib/xalloc.h"

#include "bulk.h"
#include "naming.h"

enum { UNDER_WAY_MAX = 200 /* calls without an answer */ };

struct bulk {
    struct stores *stores;
    struct loop *loop;
    const struct conf *conf;
    char *to, *who, *reason; /* owned */
    char run[33];            /* of this call of the program */
    struct bulk_list list;
    action_fn fn;
    void *owner;
    struct loop_task task;
    TAILQ_HEAD(, bulk_call) calls; /* without an answer */
    size_t next, under_way;
    size_t queued, there_already, busy_already, refused;
    bool ending, not_kept;
    enum route_rc broken;    /* the first answer that ends it all ... */
    struct store *broken_at; /* ... and whose it was */
    size_t waits;            /* stores whose replicas are waited for */
    json_t *problems;        /* owned */
};

struct bulk_call {
    TAILQ_ENTRY(bulk_call) link;
    struct bulk *bulk;
    const struct bulk_line *line;
    const char *user;    /* borrowed of the line */
    struct store *store; /* the one that was asked last */
    struct naming *naming;
};

void bulk_cancel(struct bulk **bp)
{
    struct bulk *b = *bp;

    *bp = NULL;
    if (!b)
        return;
    struct bulk_call *call;
    while ((call = TAILQ_FIRST(&b->calls))) {
        naming_cancel(&call->naming);
        store_forget(call->store, call);
        TAILQ_REMOVE(&b->calls, call, link);
        free(call);
    }
    for (size_t i = 0; i < b->stores->n; i++)
        store_forget(b->stores->all[i], b);
    loop_undefer(b->loop, &b->task);
    bulk_list_free(&b->list);
    json_decref(b->problems);
    free(b->to);
    free(b->who);
    free(b->reason);
    free(b);
}

/* ---- the result */

static void bulk_add_problem(struct bulk *b, const struct bulk_line *line, const char *why)
{
    json_t *o = json_object();

    json_object_set_new(o, "line", json_integer((json_int_t)line->number));
    json_object_set_new(o, "name", json_string(line->text));
    json_object_set_new(o, "error", json_string(why));
    json_array_append_new(b->problems, o);
}

static size_t count_twice(const struct bulk *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->list.n_problems; i++)
        n += b->list.problems[i].twice;
    return n;
}

/* Where the site adds one, there are none without. */
static bool names_lack_domain(const struct bulk *b)
{
    return b->list.n_bare > 0 && !*b->conf->migration.default_domain;
}

static void write_summary(const struct bulk *b, struct buf *out)
{
    size_t twice = count_twice(b), bad = b->list.n_problems - twice;

    buf_printf(out, "%zu queued, %zu under way before, %zu there before", b->queued, b->busy_already,
               b->there_already);
    if (b->refused)
        buf_printf(out, ", %zu refused", b->refused);
    if (bad)
        buf_printf(out, ", %zu no names", bad);
    if (twice)
        buf_printf(out, ", %zu twice in the list", twice);
    if (names_lack_domain(b))
        buf_printf(
            out,
            "; %zu of these names have no domain and migration.default_domain is not set: who logs in as "
            "NAME@DOMAIN is another account",
            b->list.n_bare);
    if (b->broken != ROUTE_OK)
        buf_printf(out, ", %zu not asked: %s",
                   b->list.n_accounts - b->queued - b->busy_already - b->there_already - b->refused,
                   b->broken == ROUTE_NO_STORE ? "Redis holds no store of ours, or another one than before"
                                               : store_why(b->broken_at));
    if (b->not_kept)
        buf_printf(out, ", %s", ACTION_NOT_KEPT);
}

static json_t *make_data(struct bulk *b)
{
    size_t twice = count_twice(b);
    json_t *o = json_object();
    const struct {
        const char *name;
        size_t n;
    } counts[] = {{"queued", b->queued},
                  {"under_way", b->busy_already},
                  {"there", b->there_already},
                  {"refused", b->refused},
                  {"twice", twice},
                  {"bad", b->list.n_problems - twice},
                  {"without_domain", names_lack_domain(b) ? b->list.n_bare : 0}};

    for (size_t i = 0; i < COUNTOF(counts); i++)
        json_object_set_new(o, counts[i].name, json_integer((json_int_t)counts[i].n));
    json_object_set(o, "problems", b->problems);
    return o;
}

static void bulk_finish(struct bulk *b)
{
    struct buf text = {0};
    action_fn fn = b->fn;
    void *owner = b->owner;
    bool bad = b->list.n_problems > count_twice(b);
    enum action_rc rc = b->broken != ROUTE_OK || b->not_kept ? ACTION_UNREACHABLE
                        : bad                                ? ACTION_FAILED
                        : b->refused                         ? ACTION_REFUSED
                                                             : ACTION_DONE;

    write_summary(b, &text);
    json_t *data = make_data(b);
    json_object_set_new(data, rc == ACTION_DONE ? "message" : "error", json_string(buf_str(&text)));
    bulk_cancel(&b);
    fn(owner, &(struct action_result){.rc = rc, .text = buf_str(&text), .data = data});
    json_decref(data);
    buf_free(&text);
}

/* ---- the calls */

static void bulk_on_queued(void *owner, enum route_rc rc, const char *detail)
{
    struct bulk_call *call = owner;
    struct bulk *b = call->bulk;

    b->under_way--;
    if (rc == ROUTE_OK && !strcmp(detail, "queued")) {
        b->queued++;
    } else if (rc == ROUTE_OK && !strcmp(detail, "there")) {
        b->there_already++;
    } else if (rc == ROUTE_OK) {
        b->busy_already++;
    } else if (rc == ROUTE_REFUSED) {
        char *why = xasprintf("is %s", detail);
        b->refused++;
        bulk_add_problem(b, call->line, why);
        free(why);
    } else if (b->broken == ROUTE_OK) {
        b->broken = rc;
        b->broken_at = call->store;
    }
    TAILQ_REMOVE(&b->calls, call, link);
    free(call);
    loop_defer(b->loop, &b->task); /* an answer may come from inside of a call */
}

static void call_queue(struct bulk_call *call)
{
    struct bulk *b = call->bulk;
    struct conf_pair pair = conf_pair_of(b->conf, call->user);
    const char *to = *b->to ? b->to : pair.target;

    call->store = stores_of(b->stores, call->user);
    route_bulk(call->store, call->user, b->run, to, !strcmp(to, pair.source), bulk_on_queued, call);
}

static void bulk_on_named(void *owner, enum naming_rc n, enum route_rc rc)
{
    struct bulk_call *call = owner;

    if (n == NAMING_KEY)
        call->user = call->line->as_key;
    if (n == NAMING_FAILED)
        bulk_on_queued(call, rc, "");
    else if (n == NAMING_BOTH)
        bulk_on_queued(call, ROUTE_REFUSED,
                       "a text that may mean two accounts: the login name, and the one that is shown so");
    else
        call_queue(call);
}

static void call_next(struct bulk *b)
{
    struct bulk_call *call = xcalloc(1, sizeof(*call));

    call->bulk = b;
    call->line = &b->list.accounts[b->next++];
    call->user = call->line->text;
    call->store = stores_of(b->stores, call->user);
    TAILQ_INSERT_TAIL(&b->calls, call, link);
    b->under_way++;
    if (call->line->as_key)
        naming_ask(call->store, call->line->text, call->line->as_key, &call->naming, bulk_on_named, call);
    else
        call_queue(call);
}

static void bulk_on_kept(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct bulk *b = owner;

    (void)reply;
    b->not_kept = b->not_kept || rc != REDIS_OK;
    if (--b->waits == 0)
        bulk_finish(b);
}

/* Also what a call before this one has queued. */
static void bulk_keep(struct bulk *b)
{
    b->ending = true;
    b->waits = b->stores->n;
    for (size_t i = 0; i < b->stores->n; i++)
        store_wait(b->stores->all[i], STORE_WAIT_MS, bulk_on_kept, b);
}

static void bulk_on_noted(void *owner, enum route_rc rc, const char *detail)
{
    struct bulk *b = owner;

    (void)detail;
    b->broken = rc;
    b->broken_at = b->stores->all[0];
    if (rc == ROUTE_OK)
        bulk_keep(b);
    else
        bulk_finish(b);
}

/* The list has one entry of an audit stream, after what it did: of the first store. */
static void bulk_note(struct bulk *b)
{
    char *after = xasprintf("%zu queued", b->queued),
         *what = xasprintf("migrate --all%s%s", *b->to ? " --to " : "", b->to);

    b->ending = true;
    route_note(b->stores->all[0], b->run, b->who, what, b->reason, after, bulk_on_noted, b);
    free(after);
    free(what);
}

static void bulk_step(struct loop_task *task)
{
    struct bulk *b = CONTAINER_OF(task, struct bulk, task);

    while (b->broken == ROUTE_OK && b->under_way < UNDER_WAY_MAX && b->next < b->list.n_accounts)
        call_next(b);
    if (b->under_way > 0 || b->ending)
        return;
    if (b->broken != ROUTE_OK)
        bulk_finish(b);
    else if (b->queued > 0)
        bulk_note(b);
    else
        bulk_keep(b);
}

struct bulk *bulk_start(const struct bulk_request *request, struct bulk_list *list, action_fn fn, void *owner)
{
    struct bulk *b = xcalloc(1, sizeof(*b));

    b->stores = request->stores;
    b->loop = store_loop(b->stores->all[0]);
    b->conf = store_conf(b->stores->all[0]);
    b->to = xstrdup(request->to ? request->to : "");
    b->who = xstrdup(request->who ? request->who : "");
    b->reason = xstrdup(request->reason ? request->reason : "");
    random_hex(b->run, 16);
    b->list = *list;
    *list = (struct bulk_list){0};
    b->fn = fn;
    b->owner = owner;
    b->problems = json_array();
    for (size_t i = 0; i < b->list.n_problems; i++)
        bulk_add_problem(b, &b->list.problems[i], b->list.problems[i].why);
    TAILQ_INIT(&b->calls);
    b->task.fn = bulk_step;
    loop_defer(b->loop, &b->task);
    return b;
}
