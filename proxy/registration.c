#include "lib/route.h"

#include "proxy.h"
#include "registration.h"

bool registration_is_leased(const struct session *s)
{
    const struct lease *l = s->proxy->lease;
    return lease_is_valid(l, s->reg.engaged) && s->reg.lapses == lease_lapses(l, s->reg.engaged);
}

/* What the lease of a new master covers is what stands in its registry. */
bool registration_may_pass(const struct session *s)
{
    return registration_is_leased(s) && !s->reg.unconfirmed;
}

void registration_engage(struct session *s, bool engaged)
{
    if (s->reg.engaged == engaged)
        return;
    const struct lease *l = s->proxy->lease;
    bool good = registration_is_leased(s);
    s->reg.engaged = engaged;
    s->reg.lapses = good && lease_is_valid(l, engaged) ? lease_lapses(l, engaged) : LAPSES_UNKNOWN;
}

void registration_doubt(struct session *s)
{
    s->reg.lapses = s->reg.asked_lapses = LAPSES_UNKNOWN;
}

void registration_new_master(struct session *s)
{
    s->reg.unconfirmed = true;
}

/* ---- asking ---- */

static bool has_to_ask(const struct session *s)
{
    const struct lease *l = s->proxy->lease;
    /* Who is frozen waits for word of the account first: it does not go on before it. */
    if (!session_is_live(s) || s->state == IN_FROZEN)
        return false;
    /* An answer from within a lapse would not show what happens in the rest of it. */
    if (!lease_is_valid(l, s->reg.engaged))
        return false;
    return s->reg.lapses != lease_lapses(l, s->reg.engaged) || s->reg.unconfirmed;
}

static void take_yes(struct session *s)
{
    struct session_registration *r = &s->reg;
    if (r->asked_masters == lease_masters(s->proxy->lease))
        r->unconfirmed = false;
    if (r->asked_engaged == r->engaged)
        r->lapses = r->asked_lapses;
}

static void on_registration(void *owner, enum route_rc rc, const char *detail)
{
    struct session *s = owner;
    queue_done(s->proxy->queue, &s->reg.call);
    if (s->reg.asked_at != s->at) { /* it has been handed over meanwhile */
        registration_ask(s);
        return;
    }
    switch (rc) {
    case ROUTE_OK:
    case ROUTE_WAIT:
        take_yes(s);
        if (rc == ROUTE_WAIT && s->state == IN_RELAY) {
            accounts_read(s->account); /* the freeze may be over already */
            session_rest(s, END_FREEZE);
        } else {
            session_go_on(s);
        }
        registration_ask(s); /* it may have lapsed again meanwhile */
        break;
    case ROUTE_LOST:
    case ROUTE_REFUSED:
        if (s->state != IN_FROZEN) /* the flip itself takes it from its backend: there will be word of that */
            session_close(s, END_LEASE_LOST, detail);
        break;
    default:
        proxy_resume_later(s->proxy);
    }
}

/* It is the session's turn in the queue. */
static void registration_call(struct queued *q)
{
    struct session *s = CONTAINER_OF(q, struct session, reg.call);
    struct session_registration *r = &s->reg;
    struct proxy *p = s->proxy;
    uint64_t lapses = lease_lapses(p->lease, r->engaged);
    if (!has_to_ask(s)) {
        queue_done(p->queue, &r->call);
        session_go_on(s);
        return;
    }
    r->asked_at = s->at;
    r->asked_engaged = r->engaged;
    r->asked_lapses = lapses;
    r->asked_masters = lease_masters(p->lease);
    if (r->lapses != lapses)
        route_resume(p->store, s->account->key, s->name, s->at->name, s->account->epoch, on_registration, s);
    else
        doubts_register(p->doubts, s->account->key, s->name, s->at->name, s->account->epoch, s->peer,
                        on_registration, s);
}

void registration_ask(struct session *s)
{
    if (has_to_ask(s))
        queue_add(s->proxy->queue, &s->reg.call, RANK_SESSION);
}

bool registration_is_asked(const struct session *s)
{
    return s->reg.call.place != NOT_QUEUED;
}

/* ---- life ---- */

void registration_init(struct session_registration *r)
{
    r->call.fn = registration_call;
}

void registration_drop(struct session *s)
{
    queue_done(s->proxy->queue, &s->reg.call);
    if (s->reg.may_exist)
        doubts_leave(s->proxy->doubts, s->account->key, s->name);
    s->reg.may_exist = false;
}
