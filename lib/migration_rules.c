#include <stdlib.h>

#include "migration_rules.h"
#include "xalloc.h"

struct rules_load {
    rules_fault_fn fn;
    void *owner;
    const char *option;
    bool ok;
};

static void rules_fault(struct rules_load *l, const struct conf_list *from, size_t nth, const char *why)
{
    l->ok = false;
    if (l->fn)
        l->fn(l->owner, l->option, from->items[nth], nth, why);
}

static struct view_renames *load_renames(struct rules_load *l, const char *option,
                                         const struct conf_list *from)
{
    struct view_renames *all = view_renames_new();
    const char *why = "";

    l->option = option;
    for (size_t i = 0; i < from->n; i++)
        if (!view_renames_add(all, from->items[i], &why))
            rules_fault(l, from, i, why);
    return all;
}

static void load_excluded(struct rules_load *l, struct migration_rules *r, const struct conf_list *from)
{
    const char *why = "";

    l->option = "exclude";
    r->excluded = xcalloc(from->n ? from->n : 1, sizeof(struct view_pattern *));
    for (size_t i = 0; i < from->n; i++) {
        struct view_pattern *p = view_pattern_new(span_str(from->items[i]), &why);
        if (p)
            r->excluded[r->n_excluded++] = p;
        else
            rules_fault(l, from, i, why);
    }
}

static void load_leave_out(struct rules_load *l, struct migration_rules *r, const struct conf_list *from)
{
    const char *why = "";

    l->option = "leave_out";
    r->leave_out = leave_out_new();
    for (size_t i = 0; i < from->n; i++)
        if (!leave_out_add(r->leave_out, from->items[i], &why))
            rules_fault(l, from, i, why);
}

bool migration_rules_load(struct conf_migration *m, rules_fault_fn fn, void *owner)
{
    struct migration_rules *r = m->rules = xcalloc(1, sizeof(*r));
    struct rules_load l = {.fn = fn, .owner = owner, .ok = true};

    r->renames = load_renames(&l, "rename", &m->rename);
    load_excluded(&l, r, &m->exclude);
    load_leave_out(&l, r, &m->leave_out);
    r->identities = load_renames(&l, "acl_map", &m->acl_map);
    return l.ok;
}

void migration_rules_free(struct conf_migration *m)
{
    struct migration_rules *r = m->rules;

    m->rules = NULL;
    if (!r)
        return;
    view_renames_free(&r->renames);
    view_renames_free(&r->identities);
    for (size_t i = 0; i < r->n_excluded; i++)
        view_pattern_free(&r->excluded[i]);
    free(r->excluded);
    leave_out_free(&r->leave_out);
    free(r);
}

size_t migration_rules_exclude(const struct migration_rules *r, const struct view_place *mailbox)
{
    for (size_t i = 0; r && i < r->n_excluded; i++)
        if (view_pattern_means(r->excluded[i], mailbox))
            return i + 1;
    return 0;
}
