#include <stdlib.h>

#include "lib/xalloc.h"

#include "baggage.h"
#include "carry.h"
#include "fingerprint.h"

struct baggage {
    const struct move *move;
    struct findings *findings; /* owned */
    bool done, only_look, again;
    bool offered;              /* the source has rights or annotations */
    enum rights_speech speech; /* of the source */
    bool looking;              /* and not all is there */
    struct lane *lane;         /* borrowed; of a step under way */
    const struct plan *plan;   /* borrowed */
    baggage_fn fn;
    void *owner;
    const char **names;              /* of the plan's mailboxes on the source; owned */
    struct details *source, *target; /* owned; target: quota alone */
    struct details_read *reading[2];
    struct fingerprint_read *fingerprint;
    bool read; /* the marks are; by the lane's connection */
    struct fingerprint marks;
    struct carry *carry;
    struct carry_request request; /* of carry */
    struct loop_task task;        /* ends a look that has nothing to ask */
    struct shares shares;
    struct carried carried;
    struct rights_self self;
    char *local; /* of the login name, what stands before the "@"; owned */
};

static void baggage_finish(struct baggage *b, enum baggage_rc rc, const char *why)
{
    baggage_fn fn = b->fn;

    b->fn = NULL;
    if (fn)
        fn(b->owner, rc, why);
}

static void stop_look(struct baggage *b)
{
    b->fn = NULL;
    b->looking = false;
    details_read_cancel(&b->reading[0]);
    details_read_cancel(&b->reading[1]);
    carry_cancel(&b->carry);
    loop_undefer(b->move->m->loop, &b->task);
    store_forget(b->move->m->store, b);
    details_free(&b->source);
    details_free(&b->target);
    free(b->names);
    b->names = NULL;
    b->plan = NULL;
}

void baggage_stop(struct baggage *b)
{
    stop_look(b);
    fingerprint_read_cancel(&b->fingerprint);
    b->read = false;
}

void baggage_free(struct baggage **bp)
{
    struct baggage *b = *bp;

    *bp = NULL;
    if (!b)
        return;
    baggage_stop(b);
    findings_free(&b->findings);
    shares_free(&b->shares);
    carried_free(&b->carried);
    free(b->local);
    free(b);
}

bool baggage_is_done(const struct baggage *b)
{
    return b->done;
}

const struct findings *baggage_findings(const struct baggage *b)
{
    return b->findings;
}

const struct shares *baggage_shares(const struct baggage *b)
{
    return &b->shares;
}

/* ---- inspect: source, target, fingerprint */

static void baggage_on_same(void *owner, enum route_rc rc, const char *detail)
{
    struct baggage *b = owner;

    if (rc == ROUTE_REFUSED)
        findings_add(b->findings, FINDING_SAME_ACCOUNT, "", 0, "the same account as %s", detail);
    if (rc == ROUTE_LOST)
        baggage_finish(b, BAGGAGE_LOST, "");
    else if (rc != ROUTE_OK && rc != ROUTE_REFUSED)
        baggage_finish(b, BAGGAGE_STORE, "Redis does not answer");
    else
        baggage_finish(b, BAGGAGE_OK, "");
}

static void ask_store(struct baggage *b, const struct fingerprint *f)
{
    const char *marks[FINGERPRINT_MARKS];

    for (size_t i = 0; i < f->n; i++)
        marks[i] = f->marks[i];
    route_fingerprint(b->move->m->store, &b->move->job, marks, f->n, baggage_on_same, b);
}

static void baggage_find_shares(struct baggage *b)
{
    shares_free(&b->shares);
    for (size_t i = 0; i < b->source->n; i++)
        shares_add_rights(&b->shares, b->names[i], &b->source->items[i].rights, &b->self);
    for (size_t i = 0; i < b->plan->n_others; i++)
        shares_add_elsewhere(&b->shares, b->plan->others[i]);
}

/* All is read at the same time; what it says is asked of the store once everything is there. */
static void baggage_settle(struct baggage *b)
{
    if (!b->looking || !b->source || !b->target || b->fingerprint)
        return;
    b->looking = false;
    loop_undefer(b->move->m->loop, &b->task);
    carry_find_grants(b->move, b->plan, b->source, &b->self, b->findings);
    baggage_find_shares(b);
    carry_find_untold(b->source, b->findings);
    carry_find_quota(b->plan, &b->source->quota, &b->target->quota, b->findings);
    if (b->marks.n > 0)
        ask_store(b, &b->marks);
    else
        baggage_finish(b, BAGGAGE_OK, "");
}

static void fail_down(struct baggage *b, const struct imapc *c)
{
    details_read_cancel(&b->reading[0]);
    details_read_cancel(&b->reading[1]);
    fingerprint_read_cancel(&b->fingerprint);
    b->looking = false;
    baggage_finish(b, BAGGAGE_DOWN, imapc_error(c));
}

static void on_fingerprint(void *owner, bool ok, const struct fingerprint *f)
{
    struct baggage *b = owner;

    b->fingerprint = NULL;
    b->marks = *f;
    b->read = ok;
    if (ok)
        baggage_settle(b);
    else if (b->looking)
        fail_down(b, b->lane->source);
}

static void on_details(struct baggage *b, struct details *d, bool of_target)
{
    b->reading[of_target] = NULL;
    if (of_target)
        b->target = d;
    else
        b->source = d;
    if (d)
        baggage_settle(b);
    else
        fail_down(b, of_target ? b->lane->target : b->lane->source);
}

static void baggage_on_source(void *owner, struct details *d)
{
    on_details(owner, d, false);
}

static void baggage_on_target(void *owner, struct details *d)
{
    on_details(owner, d, true);
}

/* Those of a server that has none are known at once. */
static struct details *read_details(struct baggage *b, struct imapc *c, struct details_read **reading,
                                    size_t n, details_fn fn)
{
    if (!details_are_offered(c, true))
        return details_none(n);
    *reading = details_read(c, n > 0 ? b->names : NULL, n, true, fn, b);
    return NULL;
}

void baggage_begin(struct baggage *b, struct lane *lane)
{
    if (lane != b->lane)
        baggage_stop(b);
    b->lane = lane;
    if (b->done || b->only_look || b->read || b->fingerprint)
        return;
    b->marks = (struct fingerprint){0};
    b->fingerprint = fingerprint_read(lane->source, on_fingerprint, b);
}

bool baggage_renew(struct baggage *b)
{
    if (!b->done || !b->offered || b->move->back)
        return false;
    b->done = false;
    b->again = true;
    return true;
}

void baggage_inspect(struct baggage *b, struct lane *lane, const struct plan *plan,
                     const struct waivers *waivers, baggage_fn fn, void *owner)
{
    if (b->again)
        b->lane = lane;
    else
        baggage_begin(b, lane);
    stop_look(b);
    b->offered = details_are_offered(lane->source, false);
    b->speech = details_speech(lane->source);
    findings_clear(b->findings, waivers);
    b->looking = true;
    b->plan = plan;
    b->fn = fn;
    b->owner = owner;
    b->names = xcalloc(plan->n + 1, sizeof(*b->names));
    for (size_t i = 0; i < plan->n; i++)
        b->names[i] = plan->items[i].source->name;
    b->source = read_details(b, lane->source, &b->reading[0], plan->n, baggage_on_source);
    b->target = read_details(b, lane->target, &b->reading[1], 0, baggage_on_target);
    loop_defer(b->move->m->loop, &b->task); /* all may be there */
}

/* ---- bring */

static void on_carried(void *owner, bool ok)
{
    struct baggage *b = owner;

    b->carry = NULL;
    b->done = ok;
    baggage_finish(b, ok ? BAGGAGE_OK : BAGGAGE_DOWN, ok ? "" : imapc_error(b->lane->target));
}

static void baggage_on_task(struct loop_task *task)
{
    struct baggage *b = CONTAINER_OF(task, struct baggage, task);

    baggage_settle(b);
}

bool baggage_has_nothing(struct baggage *b)
{
    const struct migration_rules *rules = b->move->m->conf->migration.rules;

    b->request = (struct carry_request){
        .plan = b->plan,
        .source = b->source,
        .self = &b->self,
        .map = rules ? rules->identities : NULL,
        .speech = b->speech,
        .look_at_all = !b->again,
        .carried = &b->carried,
        .findings = b->findings,
    };
    b->done = !carry_is_needed(&b->request);
    return b->done;
}

void baggage_bring(struct baggage *b, struct lane *lane, baggage_fn fn, void *owner)
{
    b->lane = lane;
    b->fn = fn;
    b->owner = owner;
    b->request.target = lane->target;
    b->carry = carry_start(&b->request, on_carried, b);
}

struct baggage *baggage_new(const struct move *move, bool only_look)
{
    struct baggage *b = xcalloc(1, sizeof(*b));
    size_t n = 0;

    b->move = move;
    b->only_look = only_look;
    b->done = move->back;
    b->findings = findings_new(NULL);
    b->task.fn = baggage_on_task;
    b->shares = (struct shares){.conf = move->m->conf, .login = move->login};
    b->local = xspandup(span_of(move->login, strcspn(move->login, "@")));
    b->self.names[n++] = move->login;
    b->self.names[n++] = b->local;
    b->self.names[n++] = move->user;
    if (move->source->master_user && *move->source->master_user)
        b->self.names[n++] = move->source->master_user;
    if (move->target->master_user && *move->target->master_user)
        b->self.names[n++] = move->target->master_user;
    return b;
}
