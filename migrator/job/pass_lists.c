/* WAIVERS, LISTS and RENAMES: what there is on both sides, by which names, and what staff have waived. */
#include <stdlib.h>

#include "lib/xalloc.h"

#include "pass_priv.h"

/* A sign-in takes several round trips. Where that is long, all lanes of an account of which nothing is known are signed in
 * while both sides are listed. Where it is short, they wait until it is known how many mailboxes there are: many accounts
 * have one, and a sign-in costs the servers more than the wait is worth. */
enum { LONG_SIGN_IN_MS = 40 };

/* ---- WAIVERS */

static void pass_lists_on_merged(void *owner, enum route_rc rc)
{
    struct pass *p = owner;

    if (rc != ROUTE_OK)
        pass_fail_by_store(p, rc);
    else
        pass_enter(p, LISTS);
}

static void on_waivers(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct pass *p = owner;

    if (rc != ROUTE_OK) {
        pass_fail_by_store(p, rc);
        return;
    }
    for (size_t i = 0; i + 1 < n; i += 2)
        waivers_add(p->waivers, rows[i]);
    if (pass_is_last(p) && p->move->viewed)
        records_merge(p->move->records, pass_lists_on_merged, p);
    else
        pass_enter(p, LISTS);
}

void pass_read_waivers(struct pass *p)
{
    route_waivers_read(p->move->m->store, p->move->user, on_waivers, p);
}

/* ---- LISTS */

static bool pass_lists_was_copied(const void *owner, const char *name)
{
    return records_has(owner, name);
}

static void pass_lists_make_plan(struct pass *p)
{
    const struct move *m = p->move;
    const struct mailboxes *source = p->mailboxes[SOURCE], *target = p->mailboxes[TARGET];

    renames_settle(m->records, target);
    const struct plan_request request = {
        .source = source,
        .target = target,
        .rules = m->m->conf->migration.rules,
        .back = m->back,
        .waivers = p->waivers,
        .was_copied = pass_lists_was_copied,
        .owner = m->records,
        .goes_along = shares_group_goes_along,
        .move = m,
    };
    p->plan = plan_make(&request);
    if (p->plan->fault) {
        char *fault = xasprintf("the %s: %s", p->plan->fault_side, p->plan->fault);
        pass_fail(p, WHY_CANNOT, fault);
        free(fault);
        return;
    }
    if (pass_is_last(p) || !records_are_spelled(m->records)) { /* a flip by force needs it too */
        const struct view_names names = plan_view_names(&request);
        struct view_spaces spaces;
        plan_view_spaces(&request, m->login, &spaces);
        records_spell(m->records, &names, &spaces);
        view_spaces_free(&spaces);
    }
    if (p->rounds < ROUNDS && renames_are_needed(m->records, p->plan, source, target)) {
        pass_enter(p, RENAMES);
    } else {
        pass_prepare(p);
    }
}

/* Nothing of the account is known. Then INSPECT is what follows, which begins in the same breath and keeps
 * the lane. */
static bool is_first(struct pass *p)
{
    return !pass_is_last(p) && !records_first(p->move->records) && !baggage_is_done(pass_baggage(p));
}

static void lists_failed(struct pass *p, const struct both_result *result)
{
    const struct conf_backend *b = result->failed == BOTH_SOURCE ? p->move->source : p->move->target;
    char *detail = xasprintf("%s: %s", b->name, result->why);

    pass_stop_prepare(p);
    crew_drop(p->move->crew, p->lane);
    p->lane = NULL;
    if (result->rc == MAILBOXES_GARBLED)
        pass_fail(p, WHY_NOT_UNDERSTOOD, detail);
    else if (result->rc == MAILBOXES_REFUSED)
        pass_fail(p, WHY_REFUSED, detail);
    else if (++p->tries >= TRIES)
        pass_fail(p, WHY_UNREACHABLE, detail);
    free(detail);
    pass_step_soon(p);
}

static void pass_on_lists(void *owner, const struct both_result *result)
{
    struct pass *p = owner;

    p->both = NULL;
    if (result->rc != MAILBOXES_OK) {
        lists_failed(p, result);
        return;
    }
    p->mailboxes[SOURCE] = result->source;
    p->mailboxes[TARGET] = result->target;
    if (!is_first(p)) {
        crew_give(p->move->crew, p->lane);
        p->lane = NULL;
    }
    pass_lists_make_plan(p);
}

/* For the time that a first copy has left it is good to know bytes; a stamp needs numbers that are proof. In
 * the freeze the source is looked at anyway. */
static enum mailboxes_ask what_to_ask(const struct pass *p, const struct imapc *c, int side)
{
    if (side == SOURCE && pass_is_last(p))
        return MAILBOXES_NAMES;
    if (side == SOURCE)
        return records_counted(p->move->records) ? MAILBOXES_NUMBERS : MAILBOXES_SIZES;
    return imap_caps_has(imapc_caps(c), CAP_CONDSTORE) ? MAILBOXES_NUMBERS : MAILBOXES_NAMES;
}

void pass_step_lists(struct pass *p)
{
    struct lane *l = p->lane;

    if (l || !(l = p->lane = crew_take(p->move->crew)))
        return;
    p->move->condstore = imap_caps_has(imapc_caps(l->source), CAP_CONDSTORE) &&
                         imap_caps_has(imapc_caps(l->target), CAP_CONDSTORE);
    p->both =
        both_read(l, what_to_ask(p, l->source, SOURCE), what_to_ask(p, l->target, TARGET), pass_on_lists, p);
    if (is_first(p)) {
        baggage_begin(pass_baggage(p), l);
        if (crew_sign_in_ms(p->move->crew) >= LONG_SIGN_IN_MS)
            crew_want(p->move->crew, CREW_MAX);
    }
}

/* ---- RENAMES */

static void pass_lists_list_again(struct pass *p)
{
    plan_free(&p->plan);
    mailboxes_free(&p->mailboxes[SOURCE]);
    mailboxes_free(&p->mailboxes[TARGET]);
    pass_enter(p, LISTS);
}

static void on_renames(void *owner, const struct renames_result *result)
{
    struct pass *p = owner;

    p->renames = NULL;
    p->rounds++;
    if (result->rc == COPY_EQUAL)
        crew_give(p->move->crew, p->lane);
    else
        crew_drop(p->move->crew, p->lane);
    p->lane = NULL;
    if (result->rc == COPY_LOST)
        pass_fail_by_store(p, ROUTE_LOST);
    else if (result->rc == COPY_DOWN && ++p->tries >= TRIES)
        pass_fail(p, WHY_UNREACHABLE, result->why);
    else if (result->rc == COPY_DOWN || result->renamed)
        pass_lists_list_again(p);
    else
        pass_prepare(p);
    pass_step_soon(p);
}

void pass_step_renames(struct pass *p)
{
    if (!p->lane && (p->lane = crew_take(p->move->crew)))
        p->renames = renames_start(p->move, p->lane, p->plan, p->mailboxes[SOURCE], p->mailboxes[TARGET],
                                   on_renames, p);
}

void pass_stop_lists(struct pass *p)
{
    both_cancel(&p->both);
    renames_cancel(&p->renames);
}
