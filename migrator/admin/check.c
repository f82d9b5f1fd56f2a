#include <stdlib.h>

#include "lib/account.h"
#include "lib/xalloc.h"

#include "check_priv.h"
#include "json_value.h"

enum { CHECK_TELLS_MS = 1500 /* after which an attempt to connect has told what is wrong */ };

static void check_join(json_t *all, json_t *lines)
{
    if (lines)
        json_array_extend(all, lines);
}

static void check_on_task(struct loop_task *task)
{
    struct check *c = CONTAINER_OF(task, struct check, task);
    json_t *data = json_object(), *lines = json_array(), *exists = json_object();

    timer_stop(c->all);
    check_pairs(c);
    if (!c->login && !c->store_alone)
        check_shown(c);
    check_join(lines, c->redis);
    for (size_t i = 0; i < c->n; i++) {
        check_join(lines, c->sides[i].lines);
        if (c->sides[i].exists)
            json_object_set(exists, c->sides[i].b->name, c->sides[i].exists);
    }
    check_join(lines, c->rest);
    json_object_set_new(data, "ok", json_boolean(c->errors == 0));
    if (c->user) {
        json_object_set_new(data, "user", json_text(span_str(c->user)));
        json_object_set(data, "exists", exists);
    }
    json_object_set_new(data, "checks", lines);
    json_decref(exists);
    c->fn(c->owner, c->errors == 0, data);
    json_decref(data);
}

/* What has not ended by now does not. */
static void on_all(void *owner)
{
    struct check *c = owner;

    for (size_t i = 0; i < c->n; i++) {
        struct side *s = &c->sides[i];
        if (s->b && (s->first.login || s->master.login || s->replica.login || s->plain.ended < s->plain.n ||
                     s->signed_in.ended < s->signed_in.n || check_header_pending(s)))
            SIDE_LINE(s, CHECK_ERROR, "See whether the server is overloaded, and its log.",
                      "not all was answered within %d seconds", CHECK_ALL_MS / 1000);
        check_side_drop(s);
        store_forget(c->store, s);
    }
    if (check_pop3_pending(c))
        check_line(c, c->rest, "pop3", CHECK_ERROR, "See whether a server is overloaded, and its log.",
                   "not all was answered within %d seconds", CHECK_ALL_MS / 1000);
    check_pop3_drop(c);
    naming_cancel(&c->naming);
    store_forget(c->store, c);
    loop_defer(c->loop, &c->task);
}

struct check *check_start(const struct check_request *r, check_fn fn, void *owner)
{
    struct check *c = xcalloc(1, sizeof(*c));
    const char *why;

    *c = (struct check){.loop = r->loop,
                        .conf = r->conf,
                        .fn = fn,
                        .owner = owner,
                        .n = r->store > 0 ? 0 : r->conf->n_backends,
                        .store_alone = r->store > 0,
                        .pending = 1,
                        .doctor = r->doctor,
                        .serving = r->serving};
    c->task.fn = check_on_task;
    c->redis = json_array();
    c->rest = json_array();
    c->sides = xcalloc(c->n, sizeof(*c->sides));
    c->as_key = r->login ? naming_as_key(r->conf, r->login) : NULL;
    check_set_user(c, r->login ? account_key(r->conf, span_str(r->login), &why) : NULL);
    if (c->as_key && c->user && !strcmp(c->as_key, c->user)) {
        free(c->as_key);
        c->as_key = NULL;
    }
    c->reach = timer_new(c->loop, check_on_reach, c);
    c->all = timer_new(c->loop, on_all, c);
    timer_start(c->reach, CHECK_STORE_MS + CHECK_TELLS_MS);
    timer_start(c->all, CHECK_ALL_MS);
    if (!c->login && !c->store_alone)
        check_certificates(c);
    c->nth = c->user ? stores_place(&c->conf->redis, span_str(c->user)) : r->store;
    c->store = store_new(c->loop, c->conf, c->nth, &c->site, CHECK_STORE_MS, check_on_store, c);
    return c;
}

void check_free(struct check **cp)
{
    struct check *c = *cp;

    *cp = NULL;
    if (!c)
        return;
    loop_undefer(c->loop, &c->task);
    naming_cancel(&c->naming);
    check_pop3_free(c);
    free(c->as_key);
    for (size_t i = 0; i < c->n; i++) {
        struct side *s = &c->sides[i];
        check_side_drop(s);
        tls_policy_free(&s->tls);
        free(s->peer);
        free(s->plain.refusal);
        free(s->signed_in.refusal);
        json_decref(s->lines);
        json_decref(s->exists);
    }
    recall_cancel(&c->recall);
    store_free(&c->store);
    timer_free(&c->reach);
    timer_free(&c->all);
    json_decref(c->redis);
    json_decref(c->rest);
    free(c->sides);
    free(c->user);
    free(c->login);
    free(c);
}
