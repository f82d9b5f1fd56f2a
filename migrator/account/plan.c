#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>

#include "lib/xalloc.h"

#include "plan.h"

/* While a plan is made. */
struct planning {
    const struct plan_request *request;
    struct plan *plan;
    struct view_names names;
    uint64_t biggest, together; /* messages of the mailboxes that are no views */
};

void plan_show_name(struct buf *out, const char *name)
{
    finding_show_mailbox(out, name);
}

/* Names map from the side that users came from, whichever way the account goes. */
struct view_names plan_view_names(const struct plan_request *r)
{
    const struct mailboxes *first = r->back ? r->target : r->source,
                           *second = r->back ? r->source : r->target;

    return (struct view_names){.source = {.separator = first->separator, .prefix = first->prefix},
                               .target = {.separator = second->separator, .prefix = second->prefix},
                               .renames = r->rules ? r->rules->renames : NULL};
}

static bool shows_any(const struct mailboxes *m, bool of_users)
{
    for (size_t i = 0; i < m->n_elsewhere; i++)
        if ((m->elsewhere[i].owner != NULL) == of_users)
            return true;
    return false;
}

/* Does the server leave the domain out of the names of users? 1: yes; 0: no; -1: nobody knows. */
static int leaves_domain_out(const struct mailboxes *m, const char *domain)
{
    for (size_t i = 0; i < m->n_elsewhere; i++) {
        const char *at = m->elsewhere[i].owner ? strchr(m->elsewhere[i].owner, '@') : NULL;
        if (at && !strcasecmp(at + 1, domain))
            return 0;
        if (m->elsewhere[i].owner && !at)
            return 1;
    }
    return m->inbox_by_user ? 1 : -1; /* a Cyrus does */
}

static void plan_find_domain(const struct mailboxes *const sides[VIEW_SIDES], const char *login,
                             struct view_spaces *out)
{
    const char *at = strchr(login, '@');
    int left[VIEW_SIDES];

    for (int side = 0; at && side < VIEW_SIDES; side++)
        left[side] = leaves_domain_out(sides[side], at + 1);
    if (!at || left[VIEW_CLIENT] < 0 || left[VIEW_BACKEND] < 0 || left[VIEW_CLIENT] == left[VIEW_BACKEND])
        return;
    out->domain = xstrdup(at + 1);
    out->without_domain = left[VIEW_CLIENT] ? VIEW_CLIENT : VIEW_BACKEND;
}

/* As the side that clients have come from spells them. */
static void plan_add_owners(const struct plan_request *r, struct view_spaces *out)
{
    const struct mailboxes *m = r->back ? r->target : r->source;
    size_t prefix = strlen(m->users);

    for (size_t i = 0; i < m->n_elsewhere; i++) {
        const struct mailbox_elsewhere *e = &m->elsewhere[i];
        if (!e->owner || strncmp(e->name, m->users, prefix) != 0)
            continue;
        const char *level = e->name + prefix, *end = m->separator ? strchr(level, m->separator) : NULL;
        view_spaces_add_owner(out, span_of(level, end ? (size_t)(end - level) : strlen(level)));
    }
}

void plan_view_spaces(const struct plan_request *r, const char *login, struct view_spaces *out)
{
    const struct mailboxes *const sides[] = {r->back ? r->target : r->source,
                                             r->back ? r->source : r->target};
    const struct mailboxes *client = sides[VIEW_CLIENT], *backend = sides[VIEW_BACKEND];

    *out = (struct view_spaces){.inbox_by_user = VIEW_SIDES};
    if (client->users && backend->users && shows_any(r->source, true)) {
        out->users[VIEW_CLIENT] = xstrdup(client->users);
        out->users[VIEW_BACKEND] = xstrdup(backend->users);
        if (client->inbox_by_user != backend->inbox_by_user)
            out->inbox_by_user = client->inbox_by_user ? VIEW_CLIENT : VIEW_BACKEND;
        plan_find_domain(sides, login, out);
        plan_add_owners(r, out);
    }
    if (client->shared && backend->shared && shows_any(r->source, false)) {
        out->shared[VIEW_CLIENT] = xstrdup(client->shared);
        out->shared[VIEW_BACKEND] = xstrdup(backend->shared);
    }
}

/* A mailbox whose own separator is another one than that of the account has its levels by that. Without one,
 * a name in which the account's stands is one level. */
static char separator_of(const struct planning *g, const struct mailbox *m)
{
    char usual = g->request->source->separator;
    bool told = (m->flags & MAILBOX_LISTED) && (m->separator || (usual && strchr(m->name, usual)));

    return told && strcmp(m->name, "INBOX") != 0 ? m->separator : usual;
}

static bool to_target(const struct planning *g, const struct mailbox *m, struct buf *out)
{
    struct view_names names = g->names;

    *(g->request->back ? &names.target.separator : &names.source.separator) = separator_of(g, m);
    return g->request->back ? view_name_to_source(&names, span_str(m->name), out)
                            : view_name_to_target(&names, span_str(m->name), out);
}

static bool to_source(const struct planning *g, const char *name, struct buf *out)
{
    return g->request->back ? view_name_to_target(&g->names, span_str(name), out)
                            : view_name_to_source(&g->names, span_str(name), out);
}

static struct view_place place_of(const struct planning *g, const char *name)
{
    return (struct view_place){.name = span_str(name),
                               .separator = g->request->source->separator,
                               .prefix = g->request->source->prefix};
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
    free(p->others);
    free_names(&p->subscribe);
    free_names(&p->unsubscribe);
    findings_free(&p->findings);
    free(p);
}

/* ---- what stays behind */

static bool holds_messages(const struct mailbox *m)
{
    return (m->flags & MAILBOX_LISTED) && !(m->flags & MAILBOX_NO_SELECT);
}

static void add_left(struct planning *g, enum finding_kind kind, const struct mailbox *m, const char *why)
{
    struct findings *f = g->plan->findings;

    if ((m->flags & MAILBOX_HAS_STATUS) && m->bytes)
        findings_add(f, kind, m->name, 0, "%s; it has %" PRIu32 " messages, %" PRIu64 " bytes", why,
                     m->status.messages, m->bytes);
    else if (m->flags & MAILBOX_HAS_STATUS)
        findings_add(f, kind, m->name, 0, "%s; it has %" PRIu32 " messages", why, m->status.messages);
    else
        findings_add(f, kind, m->name, 0, "%s", why);
}

/* The rule of exclude that means it; NULL: none. */
static bool is_excluded(const struct planning *g, const char *name)
{
    struct view_place place = place_of(g, name);

    return !g->request->back && migration_rules_exclude(g->request->rules, &place) > 0;
}

static bool is_view(const struct mailbox *m)
{
    return (m->special_use & (USE_ALL | USE_FLAGGED)) && strcmp(m->name, "INBOX") != 0;
}

static bool is_renamed(const struct planning *g, const char *name)
{
    struct view_place place = place_of(g, name);
    struct buf out = {0};
    bool is =
        g->request->rules && view_rename(g->request->rules->renames, &place, g->request->back, &out) > 0;

    buf_free(&out);
    return is;
}

static bool is_gmail(const char *name)
{
    return !strncmp(name, "[Gmail]/", 8) || !strncmp(name, "[Google Mail]/", 14);
}

static bool plan_was_copied(const struct planning *g, const struct mailbox *m)
{
    return g->request->was_copied && g->request->was_copied(g->request->owner, m->name);
}

/* An \All mailbox that has less than another one is a mailbox that somebody calls so, and stays one: in the
 * freeze nothing is counted, and what was copied must not be left out there. */
static bool stays_as_view(struct planning *g, const struct mailbox *m)
{
    bool all = m->special_use & USE_ALL, counted = m->flags & MAILBOX_HAS_STATUS;

    if (!is_view(m) || is_renamed(g, m->name) || plan_was_copied(g, m) ||
        (all && counted && m->status.messages < g->biggest))
        return false;
    if (all && is_gmail(m->name))
        add_left(g, FINDING_ALL_MAIL, m, "archived messages lie in no other mailbox");
    else if (all && counted && m->status.messages > g->together)
        add_left(g, FINDING_ALL_MAIL, m, "it has more messages than all other mailboxes together");
    else
        add_left(g, FINDING_VIRTUAL, m, all ? "\\All" : "\\Flagged");
    return true;
}

static void sum_messages(struct planning *g)
{
    const struct mailboxes *l = g->request->source;

    for (size_t i = 0; i < l->n; i++) {
        const struct mailbox *m = &l->items[i];
        if (!holds_messages(m) || is_view(m))
            continue;
        g->together += m->status.messages;
        if (m->status.messages > g->biggest)
            g->biggest = m->status.messages;
    }
}

/* ---- what goes */

static void compare_use(struct planning *g, const struct mailbox *m, const struct mailbox *there)
{
    struct buf use = {0}, use_there = {0};

    special_use_write(&use, m->special_use);
    special_use_write(&use_there, there->special_use);
    if (m->special_use != there->special_use)
        findings_add(g->plan->findings, FINDING_SPECIAL_USE, m->name, 0, "source (%s) target (%s)",
                     buf_str(&use), buf_str(&use_there));
    buf_free(&use);
    buf_free(&use_there);
}

static void plan_add_item(struct planning *g, const struct mailbox *m, const char *target_name)
{
    const struct mailbox *there = mailboxes_find(g->request->target, target_name);
    struct view_place place = place_of(g, m->name);
    const struct migration_rules *rules = g->request->rules;

    g->plan->items[g->plan->n++] = (struct plan_item){
        .source = m,
        .target_name = xstrdup(target_name),
        .create = !there || !holds_messages(there),
        .leave_out = rules && !g->request->back ? leave_out_rules_of(rules->leave_out, &place) : 0};
}

/* A listed name that has no equal on the target is a finding; one that is only subscribed is not mail. */
static void plan_mailbox(struct planning *g, const struct mailbox *m)
{
    struct buf name = {0};
    bool holds = holds_messages(m);

    if (is_excluded(g, m->name)) {
        if (holds)
            add_left(g, FINDING_LEFT_OUT, m, "excluded");
        return;
    }
    if (holds && stays_as_view(g, m))
        return;
    if (to_target(g, m, &name)) {
        const struct mailbox *there = mailboxes_find(g->request->target, buf_str(&name));
        if (holds)
            plan_add_item(g, m, buf_str(&name));
        if ((m->flags & MAILBOX_SUBSCRIBED) && !(there && (there->flags & MAILBOX_SUBSCRIBED)))
            add_name(&g->plan->subscribe, buf_str(&name));
    } else if (holds) {
        add_left(g, FINDING_NAME, m, "has no name on the target");
    }
    buf_free(&name);
}

static void plan_unsubscribe(struct planning *g, const struct mailbox *there)
{
    struct buf name = {0};

    if (!(there->flags & MAILBOX_SUBSCRIBED) || g->request->source->subscriptions_untold)
        return;
    bool mapped = to_source(g, there->name, &name);
    const struct mailbox *m = mapped ? mailboxes_find(g->request->source, buf_str(&name)) : NULL;
    /* After a rename the name that is made may be its own, too. */
    if (!m && mapped)
        m = mailboxes_find(g->request->source, there->name);
    if (!m || !(m->flags & MAILBOX_SUBSCRIBED))
        add_name(&g->plan->unsubscribe, there->name);
    buf_free(&name);
}

/* ---- two that would become one */

static int plan_compare_targets(const void *a, const void *b)
{
    const struct plan_item *x = *(const struct plan_item *const *)a, *y = *(const struct plan_item *const *)b;
    int c = strcmp(x->target_name, y->target_name);

    return c ? c : x < y ? -1 : x > y;
}

/* Which of some items with one name on the target has it: the one that no rule renames, else the first. */
static size_t owner_of(const struct planning *g, struct plan_item *const *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_renamed(g, items[i]->source->name))
            return i;
    return 0;
}

static void plan_refuse(struct planning *g, struct plan_item *item, const struct plan_item *owner)
{
    struct buf name = {0};

    plan_show_name(&name, owner->source->name);
    findings_add(g->plan->findings, FINDING_COLLISION, item->source->name, 0,
                 "would have the same name on the target as %s", buf_str(&name));
    buf_free(&name);
    free(item->target_name);
    item->target_name = NULL;
}

static void plan_drop_refused(struct plan *p)
{
    size_t kept = 0;

    for (size_t i = 0; i < p->n; i++)
        if (p->items[i].target_name)
            p->items[kept++] = p->items[i];
    p->n = kept;
}

static void refuse_collisions(struct planning *g)
{
    struct plan *p = g->plan;
    struct plan_item **sorted = xcalloc(p->n ? p->n : 1, sizeof(struct plan_item *));

    for (size_t i = 0; i < p->n; i++)
        sorted[i] = &p->items[i];
    qsort(sorted, p->n, sizeof(struct plan_item *), plan_compare_targets);
    for (size_t i = 0, n; i < p->n; i += n) {
        for (n = 1; i + n < p->n && !strcmp(sorted[i]->target_name, sorted[i + n]->target_name); n++)
            ;
        size_t owner = n > 1 ? owner_of(g, sorted + i, n) : 0;
        for (size_t k = 0; k < n; k++)
            if (k != owner)
                plan_refuse(g, sorted[i + k], sorted[i + owner]);
    }
    free(sorted);
    plan_drop_refused(p);
}

/* ---- all of it */

static void find_others(struct planning *g)
{
    const struct mailboxes *l = g->request->source;
    struct plan *p = g->plan;

    p->others = xcalloc(l->n_elsewhere ? l->n_elsewhere : 1, sizeof(struct mailbox_elsewhere *));
    for (size_t i = 0; i < l->n_elsewhere; i++) {
        const struct mailbox_elsewhere *m = &l->elsewhere[i];
        bool excluded = is_excluded(g, m->name);
        bool along = m->owner && g->request->goes_along && g->request->goes_along(g->request->move, m->owner);
        if (!along || excluded)
            findings_add(p->findings, excluded ? FINDING_LEFT_OUT : FINDING_SHARED, m->name, 0,
                         "lies in a namespace of others");
        if (!excluded)
            p->others[p->n_others++] = m;
    }
}

static void find_odd(struct planning *g, const struct mailboxes *l, const char *side)
{
    oddities_name(&l->odd, g->plan->findings, FINDING_NOT_UNDERSTOOD);
    oddities_name(&l->disagreeing, g->plan->findings, FINDING_DISAGREES);
    if (l->subscriptions_untold)
        findings_add(g->plan->findings, FINDING_NO_SUBSCRIPTIONS, "", 0,
                     "the %s has neither LSUB nor LIST (SUBSCRIBED)", side);
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void find_extra(struct planning *g)
{
    const struct plan *p = g->plan;
    const struct mailboxes *l = g->request->target;
    const char **mine = xcalloc(p->n ? p->n : 1, sizeof(const char *));

    for (size_t i = 0; i < p->n; i++)
        mine[i] = p->items[i].target_name;
    qsort(mine, p->n, sizeof(const char *), compare_text);
    for (size_t i = 0; i < l->n; i++) {
        const struct mailbox *m = &l->items[i];
        if (holds_messages(m) && !bsearch(&m->name, mine, p->n, sizeof(const char *), compare_text))
            findings_add(p->findings, FINDING_EXTRA_MAILBOX, m->name, 0, "stays as it is");
    }
    free(mine);
}

static bool plan_find_fault(struct planning *g)
{
    struct plan *p = g->plan;
    bool back = g->request->back;

    p->fault = view_side_fault(&g->names.source);
    p->fault_side = back ? "target" : "source";
    if (!p->fault) {
        p->fault = view_side_fault(&g->names.target);
        p->fault_side = back ? "source" : "target";
    }
    return p->fault != NULL;
}

static void find_uses(struct planning *g)
{
    for (size_t i = 0; i < g->plan->n; i++) {
        const struct plan_item *item = &g->plan->items[i];
        const struct mailbox *there = mailboxes_find(g->request->target, item->target_name);
        if (!item->create && there)
            compare_use(g, item->source, there);
    }
}

struct plan *plan_make(const struct plan_request *request)
{
    struct plan *p = xcalloc(1, sizeof(*p));
    struct planning g = {.request = request, .plan = p, .names = plan_view_names(request)};
    const struct mailboxes *source = request->source;

    p->findings = findings_new(request->waivers);
    if (plan_find_fault(&g))
        return p;
    sum_messages(&g);
    p->items = xcalloc(source->n ? source->n : 1, sizeof(*p->items));
    for (size_t i = 0; i < source->n; i++)
        plan_mailbox(&g, &source->items[i]);
    refuse_collisions(&g);
    for (size_t i = 0; i < request->target->n; i++)
        plan_unsubscribe(&g, &request->target->items[i]);
    find_odd(&g, source, "source");
    find_odd(&g, request->target, "target");
    find_others(&g);
    find_uses(&g);
    find_extra(&g);
    return p;
}
