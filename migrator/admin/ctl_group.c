#include <inttypes.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "migrator/found/finding.h"

#include "ctl_group.h"
#include "ctl_table.h"
#include "ctl_text.h"
#include "json_value.h"

struct ctl_group {
    struct store *store;
    const struct conf *conf;
    json_t *members; /* borrowed */
    size_t at;       /* the one that is asked about */
    ctl_group_fn fn;
    void *owner;
};

json_t *ctl_group_find(const json_t *sum, const char *key)
{
    json_t *groups = json_object_get(json_object_get(sum, "sharing"), "groups"), *group, *m;
    size_t i, k;

    json_array_foreach(groups, i, group) json_array_foreach(json_object_get(group, "members"), k, m)
    {
        if (!strcmp(ctl_text_of(m, "user"), key))
            return json_incref(group);
    }
    return NULL;
}

void ctl_group_cancel(struct ctl_group **gp)
{
    struct ctl_group *g = *gp;

    *gp = NULL;
    if (!g)
        return;
    store_forget(g->store, g);
    free(g);
}

static void ctl_group_end(struct ctl_group *g, const char *error)
{
    ctl_group_fn fn = g->fn;
    void *owner = g->owner;

    ctl_group_cancel(&g);
    fn(owner, error);
}

/* ---- one after the other */

static const char *ctl_group_user(const struct ctl_group *g)
{
    return ctl_text_of(json_array_get(g->members, g->at), "user");
}

static void ctl_group_on_route(void *owner, enum route_rc rc, const struct route *r);

static void ctl_group_next(struct ctl_group *g)
{
    if (g->at == json_array_size(g->members))
        ctl_group_end(g, NULL);
    else
        route_read(g->store, ctl_group_user(g), ctl_group_on_route, g);
}

static void ctl_group_on_waivers(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct ctl_group *g = owner;
    bool waived = false;

    if (rc != ROUTE_OK) {
        ctl_group_end(g, store_why(g->store));
        return;
    }
    for (size_t i = 0; i + 1 < n; i += 2)
        waived = waived || span_is(rows[i], finding_word(FINDING_SHARED));
    json_object_set_new(json_array_get(g->members, g->at), "waived", json_boolean(waived));
    g->at++;
    ctl_group_next(g);
}

static void ctl_group_on_route(void *owner, enum route_rc rc, const struct route *r)
{
    struct ctl_group *g = owner;
    json_t *m = json_array_get(g->members, g->at);

    if (rc != ROUTE_OK) {
        ctl_group_end(g, store_why(g->store));
        return;
    }
    const char *on = r->exists ? r->backend : conf_pair_of(g->conf, ctl_group_user(g)).source;
    json_object_set_new(m, "state", json_string(route_state_name(r->state)));
    json_object_set_new(m, "on", json_text(span_str(on)));
    json_object_set_new(m, "reason", json_text(span_str(r->reason)));
    route_waivers_read(g->store, ctl_group_user(g), ctl_group_on_waivers, g);
}

struct ctl_group *ctl_group_start(struct store *s, const struct conf *conf, json_t *group, ctl_group_fn fn,
                                  void *owner)
{
    struct ctl_group *g = xcalloc(1, sizeof(*g));

    *g = (struct ctl_group){
        .store = s, .conf = conf, .members = json_object_get(group, "members"), .fn = fn, .owner = owner};
    ctl_group_next(g);
    return g;
}

/* ---- for people */

static void ctl_group_add_row(struct table *t, const json_t *m)
{
    bool surveyed = json_is_true(json_object_get(m, "surveyed"));
    struct buf state = {0}, bytes = {0};

    ctl_write_state(&state, ctl_text_of(m, "state"));
    ctl_write_bytes(&bytes, ctl_number_of(m, "bytes"));
    table_add(t, (char *[]){xstrdup(ctl_text_of(m, "user")), xstrdup(buf_str(&state)),
                            xstrdup(ctl_text_of(m, "on")), xasprintf("%" PRIu64, ctl_number_of(m, "ties")),
                            surveyed ? xstrdup(buf_str(&bytes)) : xstrdup("not surveyed"),
                            xstrdup(json_is_true(json_object_get(m, "waived")) ? "yes" : "no"),
                            xstrdup(ctl_text_of(m, "reason"))});
    buf_free(&state);
    buf_free(&bytes);
}

void ctl_write_group(struct buf *out, json_t *group)
{
    struct table t = {.n_columns = 7, .right = {false, false, false, true, true}, .head = true};
    json_t *members = json_object_get(group, "members"), *m;
    size_t i;

    buf_printf(out, "%zu accounts share mailboxes, and find them only while they are on the same server\n\n",
               json_array_size(members));
    table_add(&t, (char *[]){xstrdup("ACCOUNT"), xstrdup("STATE"), xstrdup("ON"), xstrdup("SHARES WITH"),
                             xstrdup("BYTES"), xstrdup("WAIVED"), xstrdup("REASON")});
    json_array_foreach(members, i, m) ctl_group_add_row(&t, m);
    table_write(&t, out, NULL);
}

/* ---- those that staff have made */

/* What a member does beside its state. */
static const char *ctl_group_does(const json_t *m)
{
    const char *does = ctl_text_of(m, "gather");

    return !strcmp(does, "in")   ? "copied, waits for the others"
           : !strcmp(does, "go") ? "called to be switched over"
                                 : "";
}

void ctl_write_sharing(struct buf *out, json_t *group)
{
    struct table t = {.n_columns = 5, .head = true};
    json_t *members = json_object_get(group, "members"), *m;
    size_t i;

    buf_printf(out, "%s: %zu accounts that are switched over as one; changed by %s%s%s%s\n\n",
               ctl_text_of(group, "group"), json_array_size(members), ctl_text_of(group, "changed_by"),
               *ctl_text_of(group, "why") ? " (" : "", ctl_text_of(group, "why"),
               *ctl_text_of(group, "why") ? ")" : "");
    table_add(&t, (char *[]){xstrdup("ACCOUNT"), xstrdup("STATE"), xstrdup("ON"), xstrdup("IN THE GROUP"),
                             xstrdup("REASON")});
    json_array_foreach(members, i, m)
    {
        struct buf state = {0};
        ctl_write_state(&state, ctl_text_of(m, "state"));
        table_add(&t, (char *[]){xstrdup(ctl_text_of(m, "user")), xstrdup(buf_str(&state)),
                                 xstrdup(ctl_text_of(m, "backend")), xstrdup(ctl_group_does(m)),
                                 xstrdup(ctl_text_of(m, "reason"))});
        buf_free(&state);
    }
    table_write(&t, out, NULL);
}

/* "2 ready, 1 copying": in the order in which they are met. */
static char *ctl_group_states(json_t *members)
{
    json_t *m, *k;
    size_t i, at;
    struct buf out = {0};

    json_array_foreach(members, i, m)
    {
        const char *state = ctl_text_of(m, "state");
        size_t n = 0, before = 0;
        json_array_foreach(members, at, k)
        {
            n += !strcmp(ctl_text_of(k, "state"), state);
            before += at < i && !strcmp(ctl_text_of(k, "state"), state);
        }
        if (before == 0)
            buf_printf(&out, "%s%zu %s", out.len ? ", " : "", n, state);
    }
    char *text = xstrdup(buf_str(&out));
    buf_free(&out);
    return text;
}

void ctl_write_sharings(struct buf *out, json_t *data)
{
    struct table t = {.n_columns = 3, .right = {false, true}, .head = true};
    json_t *list = json_object_get(data, "sharing"), *group;
    size_t i;

    if (json_array_size(list) == 0) {
        buf_add_str(out, "no groups\n");
        return;
    }
    table_add(&t, (char *[]){xstrdup("GROUP"), xstrdup("ACCOUNTS"), xstrdup("STATES")});
    json_array_foreach(list, i, group)
    {
        json_t *members = json_object_get(group, "members");
        table_add(&t, (char *[]){xstrdup(ctl_text_of(group, "group")),
                                 xasprintf("%zu", json_array_size(members)), ctl_group_states(members)});
    }
    table_write(&t, out, NULL);
}
