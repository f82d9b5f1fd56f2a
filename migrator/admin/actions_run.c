/* How an action ends, whichever verb it was. */
#include <stdlib.h>

#include "actions_priv.h"

void action_free(struct action *a)
{
    free((char *)a->login);
    free((char *)a->to);
    free((char *)a->state);
    free((char *)a->who);
    free((char *)a->reason);
    free((char *)a->cursor);
    free((char *)a->word);
    free((char *)a->backend);
    free((char *)a->domain);
    free((char *)a->rule);
    free((char *)a->wave);
    free((char *)a->group);
    for (size_t i = 0; i < a->n_keys; i++)
        free((char *)a->keys[i]);
    free((void *)a->keys);
}

static void run_free(struct run *r)
{
    store_forget(r->store, r);
    loop_undefer(store_loop(r->store), &r->task);
    action_free(&r->action);
    free(r->domain);
    walk_cancel(&r->walk);
    carry_out_cancel(&r->carry);
    naming_cancel(&r->naming);
    free(r->as_key);
    free(r->from);
    free(r->note);
    free(r->wave);
    json_decref(r->wave_counts);
    free(r->user);
    free(r->text);
    json_decref(r->data);
    free(r);
}

static void run_deliver(struct run *r, enum action_rc rc, const char *text)
{
    if (r->user)
        json_object_set_new(r->data, "user", json_string(r->user));
    if (r->user && store_conf(r->store)->redis.n_stores > 1)
        json_object_set_new(r->data, "store", json_integer((json_int_t)store_nth(r->store) + 1));
    if (r->note)
        json_object_set_new(r->data, "note", json_text(span_str(r->note)));
    if (rc != ACTION_DONE || *text)
        json_object_set_new(r->data, rc == ACTION_DONE ? "message" : "error", json_text(span_str(text)));
    r->fn(r->owner, &(struct action_result){.rc = rc, .text = text, .data = r->data});
    run_free(r);
}

static void run_on_kept(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct run *r = owner;

    (void)reply;
    if (rc == REDIS_OK) {
        run_deliver(r, ACTION_DONE, r->text);
        return;
    }
    char *text = xasprintf("%s, %s", r->text, ACTION_NOT_KEPT);
    run_deliver(r, ACTION_UNREACHABLE, text);
    free(text);
}

/* Staff are told that something is done when a failover of Redis can't undo it any more. */
void run_end(struct run *r, enum action_rc rc, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    if (r->note && text.len > 0)
        buf_printf(&text, "; %s", r->note);
    if (rc == ACTION_DONE && r->action.verb >= ACTION_MIGRATE) {
        r->text = xstrdup(buf_str(&text));
        store_wait(r->store, STORE_WAIT_MS, run_on_kept, r);
    } else {
        run_deliver(r, rc, buf_str(&text));
    }
    buf_free(&text);
}

bool run_next_store(struct run *r)
{
    size_t next = store_nth(r->store) + 1;

    if (!r->stores || next == r->stores->n)
        return false;
    r->store = r->stores->all[next];
    return true;
}

void run_end_failed(struct run *r, enum route_rc rc, const char *detail)
{
    switch (rc) {
    case ROUTE_REFUSED:
        if (!strncmp(detail, "in the group ", 13)) {
            run_end(
                r, ACTION_REFUSED,
                "%s is %s, whose accounts are switched over as one: \"group migrate %s\" moves all of it, \"group remove\" takes one out",
                r->user, detail, detail + 13);
            break;
        }
        run_end(r, ACTION_REFUSED, "the account is %s, which does not allow it", detail);
        break;
    case ROUTE_NO_STORE:
        run_end(r, ACTION_UNREACHABLE, "Redis holds no store of ours, or another one than before");
        break;
    case ROUTE_DOWN:
        if (r->stores)
            run_end(r, ACTION_UNREACHABLE, "store %zu of %zu: %s", store_nth(r->store) + 1, r->stores->n,
                    store_why(r->store));
        else
            run_end(r, ACTION_UNREACHABLE, "%s", store_why(r->store));
        break;
    default:
        run_end(r, ACTION_FAILED, "the store refuses: %s", detail);
        break;
    }
}

bool run_looks(struct run *r, size_t n)
{
    if (r->action.look)
        r->action.look->accounts += n;
    return !r->action.look || !r->action.look->given_up;
}
