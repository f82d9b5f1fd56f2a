#include <stdlib.h>

#include "view_rename.h"
#include "xalloc.h"

struct view_renames {
    struct pair {
        struct view_pattern *from, *to;
    } * items; /* owned */
    size_t n;
};

struct view_renames *view_renames_new(void)
{
    return xcalloc(1, sizeof(struct view_renames));
}

void view_renames_free(struct view_renames **rp)
{
    struct view_renames *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++) {
        view_pattern_free(&r->items[i].from);
        view_pattern_free(&r->items[i].to);
    }
    free(r->items);
    free(r);
}

/* The "=" that no backslash takes away; NULL where there is none or there are several. */
static const char *find_equals(const char *rule)
{
    const char *found = NULL;

    for (const char *s = rule; *s; s++) {
        if (*s == '\\' && s[1]) {
            s++;
        } else if (*s == '=') {
            if (found)
                return NULL;
            found = s;
        }
    }
    return found;
}

bool view_renames_add(struct view_renames *r, const char *rule, const char **why)
{
    const char *equals = find_equals(rule);

    *why = "is not \"old name=new name\"; an \"=\" of a name is written \"\\=\"";
    if (!equals)
        return false;
    struct pair p = {0};
    p.from = view_pattern_new(span_of(rule, (size_t)(equals - rule)), why);
    p.to = p.from ? view_pattern_new(span_str(equals + 1), why) : NULL;
    if (p.to && !view_pattern_pairs(p.from, p.to))
        *why = "has not the same wildcards on both sides of the \"=\"";
    if (*why) {
        view_pattern_free(&p.from);
        view_pattern_free(&p.to);
        return false;
    }
    r->items = xreallocarray(r->items, r->n + 1, sizeof(*r->items));
    r->items[r->n++] = p;
    return true;
}

size_t view_rename(const struct view_renames *r, const struct view_place *place, bool back, struct buf *out)
{
    for (size_t i = 0; r && i < r->n; i++) {
        const struct pair *p = &r->items[i];
        if (view_pattern_swap(back ? p->to : p->from, back ? p->from : p->to, place, out))
            return i + 1;
    }
    buf_add_span(out, place->name);
    return 0;
}
