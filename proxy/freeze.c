#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "freeze.h"
#include "handover.h"
#include "prepare.h"
#include "proxy.h"
#include "relay.h"
#include "rest.h"
#include "routing.h"
#include "silence.h"

static bool freeze_is_elsewhere(const struct session *s, const struct account *a)
{
    return a->backend && strcmp(a->backend, s->at->name) != 0;
}

/* The source is where it was, or is dialled again. */
static void freeze_thaw(struct session *s)
{
    if (s->account->state != ROUTE_PREPARING)
        prepare_drop(s);
    if (s->state == IN_FROZEN && !s->backend) {
        handover_begin(s);
        return;
    }
    uint32_t withheld = rest_withheld(s);
    rest_over(s, "thawed");
    if (withheld > 0 && s->state != IN_HANDOVER)
        relay_tell_exists(s, withheld);
    if (s->state == IN_FROZEN) {
        session_enter(s, IN_RELAY);
        stream_again(s->backend);
    }
    if (s->state == IN_RELAY)
        session_rest(s, END_NONE);
}

/* The account lives where this session does not. */
static void freeze_follow(struct session *s)
{
    if (s->state == IN_FROZEN && rest_is_acknowledged(s))
        handover_begin(s);
    else if (s->state == IN_HANDOVER || !rest_is_acknowledged(s))
        session_close(s, END_MOVED, NULL);
    /* else a command that only reads has not ended yet */
}

void freeze_session(struct session *s)
{
    const struct account *a = s->account;
    if (!session_is_live(s) || !a->known)
        return;
    registration_engage(s, route_is_engaged(a->state));
    if (freeze_is_elsewhere(s, a))
        freeze_follow(s);
    else if (a->state == ROUTE_FLIPPING && !rest_is_acknowledged(s))
        session_close(s, END_MOVED, NULL);
    else if (a->state == ROUTE_FLIPPING)
        rest_wait_for_flip(s);
    else if (a->state == ROUTE_FREEZING && s->state == IN_RELAY)
        session_rest(s, END_FREEZE);
    else if (a->state == ROUTE_FREEZING && s->state == IN_FROZEN)
        rest_step(s);
    else if (a->state != ROUTE_FREEZING && s->state != IN_HANDOVER)
        freeze_thaw(s);
    if (!session_is_live(s)) /* and the account may be gone with it */
        return;
    silence_update(s);
    if (a->state == ROUTE_PREPARING)
        prepare_begin(s);
    if (s->state == IN_RELAY)
        session_flow(s);
    registration_ask(s);
}

/* Logins under way are named too. */
void freeze_reconcile(struct branch *b, const char *user, uint64_t epoch)
{
    struct account *a;
    const char **names = NULL;
    size_t n = 0;
    struct session *s = NULL;
    HASH_FIND_STR(b->proxy->accounts, user, a);
    for (s = a ? LIST_FIRST(&a->sessions) : NULL; s; s = LIST_NEXT(s, of_account)) {
        names = xreallocarray(names, n + 1, sizeof *names);
        names[n++] = s->name;
    }
    doubts_reconcile(b->doubts, user, epoch, names, n);
    free(names);
}

/* Takes the next word from the front; empty at the end. */
static struct span freeze_next_word(struct span *rest)
{
    const uint8_t *blank = rest->len ? memchr(rest->p, ' ', rest->len) : NULL;
    size_t n = blank ? (size_t)(blank - rest->p) : rest->len;
    struct span word = span_of(rest->p, n);
    n += blank != NULL;
    *rest = span_of(rest->p + n, rest->len - n);
    return word;
}

/* The number behind the thread's name among "incarnation n incarnation n ...", 0 where it is not named. */
static uint64_t registrations_of(struct span all, const char *incarnation)
{
    uint64_t n = 0;
    while (all.len > 0) {
        struct span name = freeze_next_word(&all), count = freeze_next_word(&all);
        if (span_is(name, incarnation))
            return span_u64(count, UINT64_MAX, &n) ? n : 0;
    }
    return 0;
}

void freeze_count(struct branch *b, const struct account *a, const struct event *e)
{
    if (!span_is(e->kind, "state") || e->state != ROUTE_PREPARING)
        return;
    uint64_t n = 0;
    const struct session *s;
    for (s = a ? LIST_FIRST(&a->sessions) : NULL; s; s = LIST_NEXT(s, of_account))
        n += s->reg.may_exist;
    if (registrations_of(e->registered, lease_incarnation(b->lease)) > n)
        doubts_suspect(b->doubts, e->user);
}

/* Whose sessions are all gone; perhaps not all of their registrations. */
void freeze_stranger(struct branch *b, const struct event *e)
{
    if (!span_is(e->kind, "state") || e->state != ROUTE_PREPARING || !doubts_has(b->doubts, e->user))
        return;
    char *key = xspandup(e->user);
    freeze_reconcile(b, key, e->epoch);
    free(key);
}

static void log_freeze(const struct account *a)
{
    unsigned n = 0;
    struct session *s;
    LIST_FOREACH(s, &a->sessions, of_account)
    n += session_is_live(s);
    LOG(INFO, "freeze", LOG_S("user", a->key), LOG_S("state", route_state_name(a->state)),
        LOG_U("epoch", a->epoch), LOG_U("sessions", n));
}

void freeze_heard(struct account *a)
{
    struct session *s, *next;
    if (a->state == ROUTE_READY || a->state == ROUTE_PREPARING)
        lease_renew(a->branch->lease); /* the migrator waits for a sign of life of each proxy */
    if (a->state == ROUTE_PREPARING && doubts_has(a->branch->doubts, span_str(a->key)))
        freeze_reconcile(a->branch, a->key, a->epoch);
    if (a->state == ROUTE_FREEZING || a->state == ROUTE_FLIPPING)
        log_freeze(a);
    /* The account may go with its last session. */
    for (s = LIST_FIRST(&a->sessions); s; s = next) {
        next = LIST_NEXT(s, of_account);
        if (session_is_live(s))
            freeze_session(s);
        else if (s->state == IN_WAITING && a->state != ROUTE_FREEZING && a->state != ROUTE_FLIPPING)
            routing_wake(s);
    }
}
