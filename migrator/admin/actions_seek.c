/* A group on a site with several stores: it is in one of them, which is looked for by its name, or by its accounts. */
#include <stdlib.h>

#include "lib/account.h"
#include "lib/route_sharing.h"

#include "actions_priv.h"

struct seek {
    struct stores *stores; /* borrowed */
    struct action action;  /* its strings are owned */
    action_fn fn;
    void *owner;
    size_t at;
    struct loop_task task;
    char *fault; /* owned */
};

static void seek_end(struct seek *k, size_t place)
{
    action_run_at(k->stores->all[place], &k->action, k->fn, k->owner);
    action_free(&k->action);
    free(k->fault);
    free(k);
}

static void seek_refuse(struct seek *k, enum action_rc rc, const char *text)
{
    json_t *data = json_object();

    json_object_set_new(data, "error", json_text(span_str(text)));
    k->fn(k->owner, &(struct action_result){.rc = rc, .text = text, .data = data});
    json_decref(data);
    action_free(&k->action);
    free(k->fault);
    free(k);
}

static const char *seek_advice(const struct conf *c)
{
    return c->redis.spread == SPREAD_DOMAIN
               ? ""
               : ", as those of a domain do where stores are made with spread = \"domain\"";
}

/* The store of the accounts that are named; the number of stores: they name none. Sets fault where they are in several. */
static size_t seek_place(struct seek *k)
{
    const struct conf *c = store_conf(k->stores->all[0]);
    size_t n = k->stores->n, place = n;
    struct buf list = {0};
    bool apart = false;

    for (size_t i = 0; i < k->action.n_keys; i++) {
        const char *why;
        char *key = account_key(c, span_str(k->action.keys[i]), &why);
        size_t at = key ? stores_place(&c->redis, span_str(key)) : n;
        if (key)
            buf_printf(&list, "%s%s in store %zu", list.len ? ", " : "", key, at + 1);
        apart = apart || (key && place < n && at != place);
        place = key && place == n ? at : place;
        free(key);
    }
    if (apart)
        k->fault =
            xasprintf("accounts of a group have to lie in one store%s: %s", seek_advice(c), buf_str(&list));
    buf_free(&list);
    return place;
}

/* What is no group may be an account. */
static size_t seek_place_of_name(const struct seek *k)
{
    const char *why;
    const struct conf *c = store_conf(k->stores->all[0]);
    char *key = account_key(c, span_str(k->action.group), &why);
    size_t place = key ? stores_place(&c->redis, span_str(key)) : k->stores->n;

    free(key);
    return place;
}

/* Found at a place, or nowhere (n). */
static void seek_found(struct seek *k, size_t place)
{
    size_t n = k->stores->n,
           of_users = k->action.verb == ACTION_SHARING ? seek_place_of_name(k) : seek_place(k);
    bool joins = k->action.verb == ACTION_SHARING_ADD && place < n && of_users < n && of_users != place;

    if (!k->fault && joins)
        k->fault =
            xasprintf("accounts of a group have to lie in one store%s: %s lies in store %zu, %s in store %zu",
                      seek_advice(store_conf(k->stores->all[0])), k->action.group, place + 1,
                      k->action.keys[0], of_users + 1);
    if (k->fault)
        seek_refuse(k, ACTION_REFUSED, k->fault);
    else
        seek_end(k, place < n ? place : of_users < n ? of_users : 0);
}

static void seek_on_sought(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct seek *k = owner;

    (void)rows;
    if (rc == ROUTE_OK && n > 0) {
        seek_found(k, k->at);
        return;
    }
    if (rc != ROUTE_OK) {
        seek_refuse(k, ACTION_UNREACHABLE, store_why(k->stores->all[k->at]));
        return;
    }
    k->at++;
    loop_defer(store_loop(k->stores->all[0]), &k->task);
}

static void seek_next(struct loop_task *task)
{
    struct seek *k = CONTAINER_OF(task, struct seek, task);

    if (k->at == k->stores->n)
        seek_found(k, k->stores->n);
    else
        route_sharing_read(k->stores->all[k->at], k->action.group, "", seek_on_sought, k);
}

void sharing_run_in_stores(struct stores *s, const struct action *a, action_fn fn, void *owner)
{
    struct seek *k = xcalloc(1, sizeof(*k));

    k->stores = s;
    action_copy(&k->action, a);
    k->fn = fn;
    k->owner = owner;
    k->task.fn = seek_next;
    loop_defer(store_loop(s->all[0]), &k->task);
}
