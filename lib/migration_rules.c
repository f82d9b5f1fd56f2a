#include <stdlib.h>

#include "migration_rules.h"
#include "xalloc.h"

static bool load_renames(struct view_renames **to, const struct conf_list *from, size_t *nth,
                         const char **why)
{
    *to = view_renames_new();
    for (*nth = 0; *nth < from->n; ++*nth)
        if (!view_renames_add(*to, from->items[*nth], why))
            return false;
    return true;
}

static bool load_excluded(struct migration_rules *r, const struct conf_list *from, size_t *nth,
                          const char **why)
{
    r->excluded = xcalloc(from->n ? from->n : 1, sizeof(struct view_pattern *));
    for (*nth = 0; *nth < from->n; ++*nth) {
        r->excluded[*nth] = view_pattern_new(span_str(from->items[*nth]), why);
        if (!r->excluded[*nth])
            return false;
        r->n_excluded++;
    }
    return true;
}

static bool load_leave_out(struct migration_rules *r, const struct conf_list *from, size_t *nth,
                           const char **why)
{
    r->leave_out = leave_out_new();
    for (*nth = 0; *nth < from->n; ++*nth)
        if (!leave_out_add(r->leave_out, from->items[*nth], why))
            return false;
    return true;
}

bool migration_rules_load(struct conf_migration *m, const char **option, size_t *nth, const char **why)
{
    struct migration_rules *r = m->rules = xcalloc(1, sizeof(*r));

    *option = "rename";
    if (!load_renames(&r->renames, &m->rename, nth, why))
        return false;
    *option = "exclude";
    if (!load_excluded(r, &m->exclude, nth, why))
        return false;
    *option = "leave_out";
    if (!load_leave_out(r, &m->leave_out, nth, why))
        return false;
    *option = "acl_map";
    return load_renames(&r->identities, &m->acl_map, nth, why);
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
