/* The scripts that proxies run for their sessions. */
#include <stdlib.h>

#include "route_priv.h"
#include "xalloc.h"

struct entering {
    struct store *s;
    route_enter_fn fn;
    void *owner; /* borrowed */
};

static void on_enter(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct entering e = *(struct entering *)owner;
    enum route_rc status = route_status(e.s, rc, r);
    enum route_state state = ROUTE_RESTING;
    uint64_t epoch = 0;

    free(owner);
    if (status == ROUTE_OK && (!route_state_parse(reply_str(reply_at(r, 1)), &state) ||
                               !span_u64(reply_str(reply_at(r, 2)), UINT64_MAX, &epoch)))
        status = ROUTE_DOWN;
    e.fn(e.owner, status, state, epoch);
}

void route_enter(struct store *s, const struct route_enter *e, route_enter_fn fn, void *owner)
{
    struct entering *d = xcalloc(1, sizeof(*d));
    struct args a = {0};
    *d = (struct entering){.s = s, .fn = fn, .owner = owner};
    args_text(&a, e->user);
    args_text(&a, e->session);
    args_text(&a, e->backend);
    args_text(&a, route_state_name(e->state));
    args_number(&a, e->epoch);
    args_number(&a, e->generation);
    args_text(&a, e->address);
    args_bool(&a, e->enqueue);
    args_text(&a, e->source);
    args_text(&a, e->target);
    args_text(&a, route_home(s, e->user));
    args_number(&a, e->sealed_ttl_ms);
    args_span(&a, e->sealed);
    args_number(&a, e->most);
    args_text(&a, e->view ? e->view : "*");
    if (e->wave && *e->wave)
        args_text(&a, e->wave);
    store_script_for(s, owner, "enter", a.v, a.n, on_enter, d, free);
    free(a.v);
}

/* What a proxy says of an attempt to cut over begins with: of which account, who says it (a session or an
 * incarnation), of which attempt, and in which store. */
static void args_attempt(struct args *a, struct store *s, const char *user, const char *who, uint64_t epoch)
{
    args_text(a, user);
    args_text(a, who);
    args_number(a, epoch);
    args_number(a, store_generation(s));
}

void route_leave(struct store *s, const char *user, const char *session, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    args_text(&a, session);
    route_run(s, "leave", &a, fn, owner);
}

void route_seen(struct store *s, const char *user, const char *incarnation, uint64_t epoch, route_done_fn fn,
                void *owner)
{
    struct args a = {0};
    args_attempt(&a, s, user, incarnation, epoch);
    route_run(s, "seen", &a, fn, owner);
}

void route_prepared(struct store *s, const char *user, const char *session, uint64_t epoch, route_done_fn fn,
                    void *owner)
{
    struct args a = {0};
    args_attempt(&a, s, user, session, epoch);
    route_run(s, "prepared", &a, fn, owner);
}

void route_refuse(struct store *s, const char *user, const char *session, uint64_t epoch, const char *reason,
                  route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_attempt(&a, s, user, session, epoch);
    args_text(&a, reason);
    route_run(s, "refuse", &a, fn, owner);
}

void route_frozen(struct store *s, const char *user, const char *session, uint64_t epoch, route_done_fn fn,
                  void *owner)
{
    struct args a = {0};
    args_attempt(&a, s, user, session, epoch);
    route_run(s, "frozen", &a, fn, owner);
}

void route_resume(struct store *s, const char *user, const char *session, const char *backend, uint64_t epoch,
                  route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    args_text(&a, session);
    args_text(&a, backend);
    args_number(&a, epoch);
    args_text(&a, route_home(s, user));
    args_number(&a, store_generation(s));
    route_run(s, "resume", &a, fn, owner);
}

void route_register(struct store *s, const char *user, const char *session, const char *backend,
                    uint64_t epoch, const char *address, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    args_text(&a, session);
    args_text(&a, backend);
    args_number(&a, epoch);
    args_text(&a, address);
    args_text(&a, route_home(s, user));
    args_number(&a, store_generation(s));
    route_run(s, "register", &a, fn, owner);
}

void route_reconcile(struct store *s, const char *user, const char *incarnation, uint64_t epoch,
                     const char *const *sessions, size_t n, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_attempt(&a, s, user, incarnation, epoch);
    for (size_t i = 0; i < n; i++)
        args_text(&a, sessions[i]);
    route_run(s, "reconcile", &a, fn, owner);
}

void route_thaw(struct store *s, const char *user, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    route_run(s, "thaw", &a, fn, owner);
}

void route_busy(struct store *s, const char *user, uint64_t ms, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    args_number(&a, ms);
    route_run(s, "busy", &a, fn, owner);
}
