#include <stdlib.h>

#include "lib/xalloc.h"

#include "finding.h"
#include "plan.h"

enum { PROBLEMS_SHOWN = 5 };

void plan_show_name(struct buf *out, const char *name)
{
    finding_show_mailbox(out, name);
}

struct view_names plan_view_names(const struct mailboxes *source, const struct mailboxes *target)
{
    return (struct view_names){.source = {.separator = source->separator, .prefix = source->prefix},
                               .target = {.separator = target->separator, .prefix = target->prefix}};
}

static void add_problem(struct plan *p, const char *name, const char *what)
{
    if (p->n_problems++ < PROBLEMS_SHOWN) {
        buf_add_str(&p->problems, p->problems.len ? ", " : "");
        plan_show_name(&p->problems, name);
        buf_printf(&p->problems, " %s", what);
    }
}

static void end_problems(struct plan *p)
{
    if (p->n_problems > PROBLEMS_SHOWN)
        buf_printf(&p->problems, " and %zu more", p->n_problems - PROBLEMS_SHOWN);
}

static void add_name(struct plan_names *names, const char *name)
{
    names->items = xreallocarray(names->items, names->n + 1, sizeof(*names->items));
    names->items[names->n++] = xstrdup(name);
}

static void free_names(struct plan_names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->items[i]);
    free(names->items);
    *names = (struct plan_names){0};
}

void plan_free(struct plan **pp)
{
    struct plan *p = *pp;

    *pp = NULL;
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        free(p->items[i].target_name);
    free(p->items);
    free_names(&p->subscribe);
    free_names(&p->unsubscribe);
    buf_free(&p->problems);
    free(p);
}

/* A listed name that has no equal on the target stops the account; one that is only subscribed is not mail.
 */
static void plan_mailbox(struct plan *p, const struct view_names *names, const struct mailbox *m,
                         const struct mailboxes *target)
{
    struct buf name = {0};
    bool holds_messages = (m->flags & MAILBOX_LISTED) && !(m->flags & MAILBOX_NO_SELECT);

    if (!view_name_to_target(names, span_str(m->name), &name)) {
        if (holds_messages)
            add_problem(p, m->name, "has no name on the target");
        buf_free(&name);
        return;
    }
    const struct mailbox *there = mailboxes_find(target, buf_str(&name));
    bool exists = there && (there->flags & MAILBOX_LISTED) && !(there->flags & MAILBOX_NO_SELECT);
    if (holds_messages) {
        p->items[p->n++] =
            (struct plan_item){.source = m, .target_name = xstrdup(buf_str(&name)), .create = !exists};
        p->special_use_differs += exists && there->special_use != m->special_use;
    }
    if ((m->flags & MAILBOX_SUBSCRIBED) && !(there && (there->flags & MAILBOX_SUBSCRIBED)))
        add_name(&p->subscribe, buf_str(&name));
    buf_free(&name);
}

static void plan_unsubscribe(struct plan *p, const struct view_names *names, const struct mailbox *there,
                             const struct mailboxes *source)
{
    struct buf name = {0};

    if (!(there->flags & MAILBOX_SUBSCRIBED))
        return;
    bool mapped = view_name_to_source(names, span_str(there->name), &name);
    const struct mailbox *m = mapped ? mailboxes_find(source, buf_str(&name)) : NULL;
    if (!m || !(m->flags & MAILBOX_SUBSCRIBED))
        add_name(&p->unsubscribe, there->name);
    buf_free(&name);
}

static const char *side_fault(const struct view_names *names, const char **which)
{
    const char *fault = view_side_fault(&names->source);

    *which = "source";
    if (!fault) {
        fault = view_side_fault(&names->target);
        *which = "target";
    }
    return fault;
}

struct plan *plan_make(const struct mailboxes *source, const struct mailboxes *target)
{
    struct plan *p = xcalloc(1, sizeof(*p));
    struct view_names names = plan_view_names(source, target);
    const char *which, *fault = side_fault(&names, &which);

    if (fault) {
        p->n_problems = 1;
        buf_printf(&p->problems, "the %s: %s", which, fault);
        return p;
    }
    p->items = xcalloc(source->n ? source->n : 1, sizeof(*p->items));
    for (size_t i = 0; i < source->n; i++)
        plan_mailbox(p, &names, &source->items[i], target);
    for (size_t i = 0; i < target->n; i++)
        plan_unsubscribe(p, &names, &target->items[i], source);
    end_problems(p);
    return p;
}
