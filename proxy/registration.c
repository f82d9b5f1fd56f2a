#include <string.h>

#include "lib/route.h"

#include "proxy.h"
#include "registration.h"
#include "rest.h"

bool registration_is_leased(const struct session *s)
{
    const struct lease *l = s->account->branch->lease;
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
    const struct lease *l = s->account->branch->lease;
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
    s->reg.refused_at = NULL;
}

/* ---- asking ---- */

/* Where the store has it: a flip takes those that have acknowledged along to the target, where they go on. What one in
 * RELAY still waits for only reads, so its end may pass behind the flip (rest.h), also after a lapse: nothing that was
 * sent on before can change the source any more, and nothing is sent on before the hand-over but reading commands of ours.
 * Who has not acknowledged is never taken along: a flip that came all the same has come because the registration was
 * taken away, and a command of it may be executed at the source at any later time. */
static const struct conf_backend *registered_at(const struct session *s)
{
    const char *backend = s->account->known ? s->account->backend : NULL;
    if (s->state != IN_RELAY || !rest_is_acknowledged(s) || !backend || strcmp(backend, s->at->name) == 0)
        return s->at;
    return conf_backend(s->proxy->conf, backend);
}

/* Who has acknowledged does not go on before there is word of the account: in FROZEN there is nothing to ask before; in
 * RELAY the store may have said no because it has been taken along. */
static bool waits_for_word(const struct session *s)
{
    const struct conf_backend *at = registered_at(s);
    bool said_no = s->state == IN_RELAY && rest_is_acknowledged(s) && (!at || at == s->reg.refused_at);
    return s->state == IN_FROZEN || said_no;
}

static bool has_to_ask(const struct session *s)
{
    const struct lease *l = s->account->branch->lease;
    if (!session_is_live(s) || waits_for_word(s))
        return false;
    /* An answer from within a lapse would not show what happens in the rest of it. */
    if (!lease_is_valid(l, s->reg.engaged))
        return false;
    return s->reg.lapses != lease_lapses(l, s->reg.engaged) || s->reg.unconfirmed;
}

static void take_yes(struct session *s)
{
    struct session_registration *r = &s->reg;
    r->refused_at = NULL;
    if (r->asked_masters == lease_masters(s->account->branch->lease))
        r->unconfirmed = false;
    if (r->asked_engaged == r->engaged)
        r->lapses = r->asked_lapses;
}

/* Where the registration is not there, the account may have been flipped, which takes it along; then it is asked for
 * there. A thaw leads back here, and so to the end. */
static void take_no(struct session *s, const char *detail)
{
    bool may_be_elsewhere = s->state == IN_RELAY && rest_is_acknowledged(s) && s->reg.asked_at == s->at;
    if (s->state == IN_FROZEN) /* the flip itself takes it from its backend: there will be word of that */
        return;
    if (!may_be_elsewhere) {
        session_close(s, END_LEASE_LOST, detail);
        return;
    }
    s->reg.refused_at = s->at;
    accounts_read(s->account);
}

static void on_registration(void *owner, enum route_rc rc, const char *detail)
{
    struct session *s = owner;
    queue_done(s->account->branch->queue, &s->reg.call);
    if (s->reg.asked_at != registered_at(s)) { /* it has been handed over, or will be, meanwhile */
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
        take_no(s, detail);
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
    struct branch *b = s->account->branch;
    uint64_t lapses = lease_lapses(b->lease, r->engaged);
    if (!has_to_ask(s)) {
        queue_done(b->queue, &r->call);
        session_go_on(s);
        return;
    }
    r->asked_at = registered_at(s);
    r->asked_engaged = r->engaged;
    r->asked_lapses = lapses;
    r->asked_masters = lease_masters(b->lease);
    if (r->lapses != lapses)
        route_resume(b->store, s->account->key, s->name, r->asked_at->name, s->account->epoch,
                     on_registration, s);
    else
        doubts_register(b->doubts, s->account->key, s->name, r->asked_at->name, s->account->epoch, s->peer,
                        on_registration, s);
}

void registration_ask(struct session *s)
{
    if (has_to_ask(s))
        queue_add(s->account->branch->queue, &s->reg.call, RANK_SESSION);
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
    queue_done(s->account->branch->queue, &s->reg.call);
    if (s->reg.may_exist)
        doubts_leave(s->account->branch->doubts, s->account->key, s->name);
    s->reg.may_exist = false;
}
