#include <stdlib.h>

#include "lib/xalloc.h"

#include "busy.h"
#include "freeze.h"
#include "proxy.h"
#include "relay.h"
#include "views.h"

/* ---- which sessions ---- */

static void account_reads(struct queued *q);
static void account_tells_seen(struct queued *q);

static struct account *account_make(struct proxy *p, const char *key)
{
    struct account *a = xcalloc(1, sizeof *a);
    a->proxy = p;
    a->branch = branch_of(p, key);
    a->key = xstrdup(key);
    a->read.fn = account_reads;
    a->seen.fn = account_tells_seen;
    LIST_INIT(&a->sessions);
    HASH_ADD_KEYPTR(hh, p->accounts, a->key, strlen(a->key), a);
    return a;
}

void accounts_attach(struct proxy *p, const char *key, struct session *s)
{
    struct account *a;
    HASH_FIND_STR(p->accounts, key, a);
    if (!a)
        a = account_make(p, key);
    s->account = a;
    LIST_INSERT_HEAD(&a->sessions, s, of_account);
}

void accounts_detach(struct session *s)
{
    struct account *a = s->account;
    if (!a)
        return;
    s->account = NULL;
    LIST_REMOVE(s, of_account);
    if (!LIST_EMPTY(&a->sessions))
        return;
    HASH_DEL(a->proxy->accounts, a);
    store_forget(a->branch->store, a);
    queue_done(a->branch->queue, &a->read);
    queue_done(a->branch->queue, &a->seen);
    free(a->key);
    free(a->backend);
    free(a->target);
    free(a->view);
    views_free(&a->views);
    free(a);
}

/* ---- what is known ---- */

static void nothing_to_do(void *owner, enum route_rc rc, const char *detail)
{
    (void)owner, (void)rc, (void)detail;
}

static void tell_seen(struct account *a)
{
    route_seen(a->branch->store, a->key, lease_incarnation(a->branch->lease), a->epoch, nothing_to_do, a);
}

/* now: NULL where nothing was said. */
static void accounts_set_text(char **text, const char *now)
{
    if (!now || (*text && strcmp(*text, now) == 0))
        return;
    free(*text);
    *text = xstrdup(now);
}

void accounts_heard(struct account *a, const struct account_news *n)
{
    bool risen = a->known && n->epoch > a->epoch;
    bool engages = a->known && route_is_engaged(n->state) && !route_is_engaged(a->state);
    a->known = true;
    a->state = n->state;
    a->epoch = n->epoch;
    a->generation = n->generation;
    accounts_set_text(&a->backend, n->backend);
    accounts_set_text(&a->target, n->target);
    if (n->state != ROUTE_FLIPPING) /* from there on the route has the view of the target */
        accounts_set_text(&a->view, n->view);
    if (n->left_ms > 0)
        a->deadline_ms = clock_boot_ms() + n->left_ms;
    struct proxy *p = a->proxy;
    char *key = xstrdup(a->key);
    thaws_heard(a->branch->thaws, span_str(key), n->state, n->left_ms);
    views_heard(a);
    freeze_heard(a); /* may end sessions, and with the last one the account */
    HASH_FIND_STR(p->accounts, key, a);
    free(key);
    if (a && (risen || engages))
        tell_seen(a);
    if (a)
        busy_heard(a);
}

/* What a former master says, to which this connection may stand longer than others, is worth nothing. */
static bool accounts_is_answer(const struct account *a, enum route_rc rc, const struct route *r)
{
    return rc == ROUTE_OK && r->generation >= lease_generation(a->branch->lease);
}

static void accounts_on_read(void *owner, enum route_rc rc, const struct route *r)
{
    struct account *a = owner;
    queue_done(a->branch->queue, &a->read);
    if (a->news != a->read_news) {
        accounts_read(a);
    } else if (accounts_is_answer(a, rc, r)) {
        accounts_heard(a, &(struct account_news){r->state, r->epoch, r->generation, r->backend, r->target,
                                                 r->view, route_left_ms(r)});
    } else if (rc == ROUTE_OK || !store_refuses(a->branch->store)) {
        /* Nothing else would bring it: events come over another connection, which may be whole. */
        a->unread = true;
        proxy_resume_later(a->proxy);
    }
}

static void account_reads(struct queued *q)
{
    struct account *a = CONTAINER_OF(q, struct account, read);
    a->read_news = a->news;
    a->unread = false;
    route_where(a->branch->store, a->key, NULL, accounts_on_read, a);
}

static void read_later(struct account *a, enum queue_rank rank)
{
    queue_add(a->branch->queue, &a->read, rank);
}

void accounts_read(struct account *a)
{
    read_later(a, RANK_NOW);
}

/* ---- events ---- */

/* A registration of this thread may have been among those that were taken away. */
static void doubt_sessions(struct account *a)
{
    struct session *s, *next;
    for (s = LIST_FIRST(&a->sessions); s; s = next) {
        next = LIST_NEXT(s, of_account);
        if (!session_is_live(s))
            continue;
        registration_doubt(s); /* an answer that is on its way may be older than the event */
        session_flow(s);
        registration_ask(s);
    }
}

/* Staff have ended them. */
static void accounts_kick(struct account *a)
{
    struct session *s, *next;
    for (s = LIST_FIRST(&a->sessions); s; s = next) {
        next = LIST_NEXT(s, of_account);
        if (session_has_to_finish(s))
            session_rest(s, END_KICKED);
        else if (session_is_live(s))
            session_close(s, END_KICKED, "");
    }
}

/* An answer may have told more already. */
static bool accounts_is_old(const struct account *a, const struct event *e)
{
    return a->known &&
           (e->generation < a->generation || (e->generation == a->generation && e->epoch < a->epoch));
}

static void state_event(struct account *a, const struct event *e)
{
    char *backend = xspandup(e->backend), *target = xspandup(e->target);
    char *view = e->view.p ? xspandup(e->view) : NULL;
    accounts_heard(
        a, &(struct account_news){e->state, e->epoch, e->generation, backend, target, view, e->left_ms});
    free(backend);
    free(target);
    free(view);
}

void accounts_event(struct branch *b, const struct event *e)
{
    struct proxy *p = b->proxy;
    struct account *a;
    HASH_FIND(hh, p->accounts, e->user.p, e->user.len, a);
    freeze_count(b, a, e);
    lately_forget(p->lately, e->user);
    if (!a) {
        freeze_stranger(b, e);
        return;
    }
    events_stay_awake(b->events);
    a->news++;
    if ((span_is(e->kind, "state") || span_is(e->kind, "view")) && !accounts_is_old(a, e))
        state_event(a, e);
    else if (span_is(e->kind, "evicted"))
        doubt_sessions(a);
    else if (span_is(e->kind, "kick"))
        accounts_kick(a);
}

void accounts_read_again(struct proxy *p)
{
    struct account *a, *next;
    HASH_ITER(hh, p->accounts, a, next)
    {
        if (a->unread)
            read_later(a, RANK_ACCOUNT);
    }
}

void accounts_read_all(struct branch *b)
{
    struct account *a, *next;
    lately_forget_all(b->proxy->lately);
    HASH_ITER(hh, b->proxy->accounts, a, next)
    {
        if (a->branch != b)
            continue;
        a->news++;
        read_later(a, RANK_ACCOUNT);
    }
}

static void on_seen_told(void *owner, enum route_rc rc, const char *detail)
{
    struct account *a = owner;
    (void)rc, (void)detail;
    queue_done(a->branch->queue, &a->seen);
}

static void account_tells_seen(struct queued *q)
{
    struct account *a = CONTAINER_OF(q, struct account, seen);
    route_seen(a->branch->store, a->key, lease_incarnation(a->branch->lease), a->epoch, on_seen_told, a);
}

void accounts_seen_all(struct branch *b)
{
    struct account *a, *next;
    HASH_ITER(hh, b->proxy->accounts, a, next)
    {
        if (a->branch == b && a->known && route_is_engaged(a->state))
            queue_add(b->queue, &a->seen, RANK_SESSION);
    }
}
