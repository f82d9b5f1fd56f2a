#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/account.h"
#include "lib/loop.h"
#include "lib/route_sharing.h"
#include "lib/stores.h"
#include "lib/xalloc.h"

#include "ctl_text.h"
#include "json_value.h"
#include "regroup.h"

enum { AT_ONCE = 500 /* accounts of one call, or one group: Redis does nothing else meanwhile */ };

struct regroup {
    struct regroup_request q;
    regroup_fn fn;
    void *owner;
    struct loop_task task;
    json_t *seen; /* owned; regroup_seen() */
    size_t next;  /* of the groups */
    bool begun;   /* those that an attempt before has made are gone */
};

/* ---- what a file says ---- */

bool regroup_is_in(const struct store *s, const char *name, const json_t *members, json_t *apart)
{
    size_t i, here = 0, n = json_array_size(members);
    const json_t *m;

    json_array_foreach(members, i, m) here += stores_is_in(s, json_string_value(m));
    if (here > 0 && here < n && stores_is_in(s, json_string_value(json_array_get(members, 0))))
        json_array_append_new(apart, json_string(name));
    return n > 0 && here == n;
}

bool regroup_has_export(const struct flips *f)
{
    return f->groups && f->groups_ms > f->move_ms;
}

static bool regroup_is_key(const struct conf *c, const char *user)
{
    const char *why;
    char *login = account_login(user), *key = login ? account_key(c, span_str(login), &why) : NULL;
    bool is = key && !strcmp(key, user);

    free(login);
    free(key);
    return is;
}

json_t *regroup_seen(void)
{
    return json_pack("{s:{}, s:{}}", "groups", "accounts");
}

/* An account in two groups would be in the first alone, and the other one in none. */
static char *regroup_twice(json_t *seen, const char *name, const json_t *members)
{
    json_t *names = json_object_get(seen, "groups"), *accounts = json_object_get(seen, "accounts");
    const json_t *m;
    size_t i;

    if (json_object_get(names, name))
        return xasprintf("the group %s is there twice", name);
    json_object_set_new(names, name, json_true());
    json_array_foreach(members, i, m)
    {
        const char *user = json_string_value(m), *other = ctl_text_of(accounts, user);
        if (*other)
            return xasprintf("%s in the group %s is there already, in the group %s", user, name, other);
        json_object_set_new(accounts, user, json_string(name));
    }
    return NULL;
}

char *regroup_fault(const struct conf *c, const json_t *group, json_t *seen)
{
    const char *name = ctl_text_of(group, "group");
    const json_t *members = json_object_get(group, "members"), *m;
    size_t i;

    if (!route_sharing_is_name(name))
        return xasprintf("\"%s\" can't be a group", name);
    json_array_foreach(members, i, m)
    {
        const char *user = json_string_value(m);
        if (!user || !regroup_is_key(c, user))
            return xasprintf("\"%s\" in the group %s is no name of an account as imapferry writes it",
                             user ? user : "", name);
    }
    if (json_array_size(members) < 2)
        return xasprintf("the group %s has fewer than two accounts", name);
    return regroup_twice(seen, name, members);
}

/* ---- into the store ---- */

void regroup_cancel(struct regroup **gp)
{
    struct regroup *g = *gp;

    *gp = NULL;
    if (!g)
        return;
    store_forget(g->q.store, g);
    loop_undefer(store_loop(g->q.store), &g->task);
    json_decref(g->seen);
    free(g);
}

static void regroup_finish(struct regroup *g, enum route_rc rc, const char *detail)
{
    regroup_fn fn = g->fn;
    void *owner = g->owner;

    regroup_cancel(&g);
    fn(owner, rc, detail);
}

static void regroup_on_written(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct regroup *g = owner;
    struct span detail = reply_str(reply_at(r, 1));
    uint64_t made;

    if (rc == REDIS_OK && span_is(reply_str(reply_at(r, 0)), "ok")) {
        if (span_u64(detail, SIZE_MAX, &made))
            g->q.groups->made += (size_t)made;
        for (size_t i = 2; i < reply_count(r); i++)
            json_array_append_new(g->q.groups->unmade, json_text(reply_str(reply_at(r, i))));
        loop_defer(store_loop(g->q.store), &g->task);
        return;
    }
    char *text = xspandup(detail);
    regroup_finish(g, rc != REDIS_OK ? ROUTE_DOWN : ROUTE_REFUSED, text);
    free(text);
}

static void regroup_add(json_t *texts, const char *text)
{
    json_array_append_new(texts, json_text(span_str(text)));
}

static void regroup_add_number(json_t *texts, uint64_t n)
{
    char number[24];

    snprintf(number, sizeof(number), "%" PRIu64, n);
    regroup_add(texts, number);
}

/* A piece, as carry.lua has it. */
static void regroup_add_piece(json_t *texts, const char *kind, const char *name, size_t n)
{
    regroup_add(texts, "");
    regroup_add(texts, kind);
    regroup_add(texts, name);
    regroup_add_number(texts, 0);
    regroup_add_number(texts, n);
}

static void regroup_add_group(const struct regroup *g, json_t *texts, const json_t *group)
{
    const struct conf *c = store_conf(g->q.store);
    const json_t *members = json_object_get(group, "members"), *m;
    size_t i;

    regroup_add_piece(texts, "sharing", ctl_text_of(group, "group"), 3 + 2 * json_array_size(members));
    regroup_add(texts, ctl_text_of(group, "changed_by"));
    regroup_add_number(texts, flips_time_ms(ctl_text_of(group, "changed")));
    regroup_add(texts, ctl_text_of(group, "why"));
    json_array_foreach(members, i, m)
    {
        regroup_add(texts, json_string_value(m));
        regroup_add(texts, conf_pair_of(c, json_string_value(m)).source);
    }
}

/* Those of this store, until they have AT_ONCE accounts. */
static void regroup_add_groups(struct regroup *g, json_t *texts)
{
    const json_t *all = regroup_has_export(g->q.flips) ? g->q.flips->groups : NULL;
    size_t n = 0;

    for (; n < AT_ONCE && g->next < json_array_size(all); g->next++) {
        const json_t *group = json_array_get(all, g->next);
        char *fault = regroup_fault(store_conf(g->q.store), group, g->seen);
        if (!fault && regroup_is_in(g->q.store, ctl_text_of(group, "group"),
                                    json_object_get(group, "members"), g->q.groups->apart)) {
            regroup_add_group(g, texts, group);
            n += json_array_size(json_object_get(group, "members"));
        }
        free(fault);
    }
}

static void regroup_send(struct regroup *g, const json_t *texts)
{
    size_t n = json_array_size(texts);
    struct span *spans = xcalloc(n, sizeof(*spans));

    for (size_t i = 0; i < n; i++)
        spans[i] = span_str(json_string_value(json_array_get(texts, i)));
    store_script_for(g->q.store, g, "carry", spans, n, regroup_on_written, g, NULL);
    free(spans);
}

static void regroup_step(struct loop_task *task)
{
    struct regroup *g = CONTAINER_OF(task, struct regroup, task);
    json_t *texts = json_array();

    regroup_add_number(texts, g->q.generation);
    regroup_add(texts, g->q.token);
    size_t head = json_array_size(texts);
    if (!g->begun)
        regroup_add_piece(texts, "regroup", "", 0);
    g->begun = true;
    regroup_add_groups(g, texts);
    if (json_array_size(texts) > head)
        regroup_send(g, texts);
    else
        regroup_finish(g, ROUTE_OK, "");
    json_decref(texts);
}

struct regroup *regroup_start(const struct regroup_request *q, regroup_fn fn, void *owner)
{
    struct regroup *g = xcalloc(1, sizeof(*g));

    *g = (struct regroup){.q = *q, .fn = fn, .owner = owner, .task.fn = regroup_step, .seen = regroup_seen()};
    loop_defer(store_loop(q->store), &g->task);
    return g;
}
