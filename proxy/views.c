#include <stdlib.h>

#include "lib/account.h"
#include "lib/log.h"
#include "lib/migration_rules.h"
#include "lib/mutf7.h"
#include "lib/view_name.h"
#include "lib/xalloc.h"

#include "handover.h"
#include "proxy.h"
#include "relay.h"
#include "routing.h"
#include "views.h"
#include "views_home.h"

/* The beginning of a route's view whose account is where its clients have come from. */
static const char HOME[] = "1<:";

/* The replicas of Redis, where they keep up, have a change within milliseconds. */
enum { KEEP_MS = 500, KEEP_AGAIN_MS = 5000 };

/* The members of a group are flipped one behind the other, within milliseconds. */
enum { OWNER_MS = 20, OWNER_WAITS = 100 };

/* A change that is under way in the store. */
struct change {
    LIST_ENTRY(change) link;
    struct views *views;         /* borrowed */
    struct view_changes changes; /* owned; of the view ... */
    struct view_changes stored;  /* ... as they are in the hash, where that is not the same; owned */
    route_done_fn fn;            /* NULL: the owner is gone */
    void *owner;
};

/* Somebody asks whether the view is still that of the route, or whether a change is kept. */
struct question {
    LIST_ENTRY(question) link;
    struct views *views; /* borrowed */
    route_done_fn fn;    /* NULL: the owner is gone */
    void *owner;
};

/* What is being read, until the records of all whose mailboxes the account is shown are there too. Owned. */
struct next {
    char *text, *backend;
    uint64_t epoch;
    struct view *view;
    struct views_home *home;
    size_t n;
    bool spelled;
    size_t owner;        /* which of view_spaces_of(view)->owners */
    unsigned waits;      /* for those who are about to be where the account is */
    struct store *store; /* the owner's, which is asked; borrowed; NULL: none is */
};

struct views {
    struct account *account; /* borrowed */
    enum views_state state;
    struct next next;
    char *text, *backend; /* of the view that is there; owned; NULL: none was read */
    uint64_t epoch;
    bool all;                /* its records were read, whatever the text is */
    struct view *view;       /* a reference; NULL: there is none, or none is needed */
    struct views_home *home; /* the account is where its clients have come from; NULL: it is not; owned */
    size_t n;                /* records in it, as they were read */
    bool spelled;            /* it says how both servers spell names */
    struct asked {
        char *text, *backend; /* owned */
        bool all;
    } asked;             /* READING */
    bool again;          /* READING: something was heard meanwhile */
    struct timer *later; /* asks for an owner's records once more; owned; NULL: was never needed */
    struct loop_task telling;
    LIST_HEAD(, change) changes;
    LIST_HEAD(, question) questions;
};

/* ---- life ---- */

static void change_free(struct change *c)
{
    LIST_REMOVE(c, link);
    view_changes_free(&c->changes);
    view_changes_free(&c->stored);
    free(c);
}

static void views_drop_next(struct views *v)
{
    if (v->next.store)
        store_forget(v->next.store, v);
    store_forget(v->account->branch->store, v);
    if (v->later)
        timer_stop(v->later);
    free(v->next.text);
    free(v->next.backend);
    view_unref(&v->next.view);
    views_home_free(&v->next.home);
    v->next = (struct next){0};
}

void views_free(struct views **vp)
{
    struct views *v = *vp;
    struct change *c, *next;
    if (!v)
        return;
    *vp = NULL;
    loop_undefer(v->account->proxy->loop, &v->telling);
    views_drop_next(v);
    timer_free(&v->later);
    for (c = LIST_FIRST(&v->changes); c; c = next) {
        next = LIST_NEXT(c, link);
        store_forget(v->account->branch->store, c);
        change_free(c);
    }
    for (struct question *q; (q = LIST_FIRST(&v->questions));) {
        store_forget(v->account->branch->store, q);
        LIST_REMOVE(q, link);
        free(q);
    }
    view_unref(&v->view);
    views_home_free(&v->home);
    free(v->text);
    free(v->backend);
    free(v->asked.text);
    free(v->asked.backend);
    free(v);
}

/* The account goes with its last session, and that is the last here. */
static void views_tell(struct loop_task *task)
{
    struct account *a = CONTAINER_OF(task, struct views, telling)->account;
    struct session *s, *next;
    for (s = LIST_FIRST(&a->sessions); s; s = next) {
        next = LIST_NEXT(s, of_account);
        if (s->state == IN_ENTERING)
            routing_view_there(s);
        else if (s->state == IN_HANDOVER)
            handover_step(s);
        else if (session_is_live(s) && s->relay)
            relay_view_is(s);
    }
}

/* Soon: who has asked for something is in the middle of it. */
static void views_tell_sessions(struct views *v)
{
    loop_defer(v->account->proxy->loop, &v->telling);
}

static struct views *views_of(struct account *a)
{
    struct views *v = a->views;
    if (v)
        return v;
    v = a->views = xcalloc(1, sizeof *v);
    v->account = a;
    v->telling.fn = views_tell;
    LIST_INIT(&v->changes);
    LIST_INIT(&v->questions);
    return v;
}

/* ---- reading ---- */

static void views_set_text(char **text, const char *now)
{
    char *was = *text; /* may be what now is */
    *text = xstrdup(now);
    free(was);
}

static const struct view_renames *views_renames(const struct proxy *p)
{
    const struct conf_migration *m = &p->conf->migration;
    return m->rules && m->rename.n > 0 ? m->rules->renames : NULL;
}

/* NULL: it can't be read. */
static struct view *views_make(const struct account *a, struct views_home *home, const struct span *rows,
                               size_t n)
{
    struct view *view = view_new(home ? NULL : views_renames(a->proxy));
    for (size_t i = 0; view && i + 1 < n; i += 2) {
        bool good =
            home ? views_home_take(home, view, rows[i], rows[i + 1]) : view_take(view, rows[i], rows[i + 1]);
        if (good)
            continue;
        LOG(ERROR, "view_record_unreadable", LOG_S("user", a->key), LOG_SPAN("mailbox", rows[i]));
        view_unref(&view);
    }
    return view;
}

static bool has_spelling(const struct span *rows, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2)
        if (rows[i].len == 0)
            return true;
    return false;
}

/* "VIEW", "BACKEND", "EPOCH", records. */
static bool views_take(struct views *v, const struct span *rows, size_t n)
{
    uint64_t epoch;
    if (n < 3 || !span_u64(rows[2], UINT64_MAX, &epoch))
        return false;
    struct next *next = &v->next;
    *next = (struct next){.text = xspandup(rows[0]), .backend = xspandup(rows[1]), .epoch = epoch};
    bool has_records = *next->text && (v->asked.all || route_view_is_needed(next->text));
    next->home = has_records && strncmp(next->text, HOME, sizeof HOME - 1) == 0 ? views_home_new() : NULL;
    next->view = has_records ? views_make(v->account, next->home, rows + 3, n - 3) : NULL;
    next->n = next->view ? (n - 3) / 2 : 0;
    next->spelled = next->view && has_spelling(rows + 3, n - 3);
    return next->view || !has_records;
}

static void views_read(struct views *v);

/* All of it is there. */
static void views_settle(struct views *v)
{
    struct account *a = v->account;
    struct next *next = &v->next;
    view_unref(&v->view);
    views_home_free(&v->home);
    v->view = next->view;
    v->home = next->home;
    next->view = NULL;
    next->home = NULL;
    v->n = next->n;
    v->spelled = next->spelled;
    v->epoch = next->epoch;
    v->all = v->asked.all;
    views_set_text(&v->text, next->text);
    views_set_text(&v->backend, next->backend);
    views_drop_next(v);
    if (v->again && a->view && strcmp(a->view, v->text) != 0) {
        views_read(v);
        return;
    }
    v->state = VIEWS_READ;
    views_tell_sessions(v);
}

/* ---- the records of those whose mailboxes the account is shown ---- */

/* The account of one of them, as a client calls that user: without a domain it is the account's own. To free; NULL: none. */
static char *views_owner_key(const struct views *v, const char *owner)
{
    const char *domain = strchr(v->account->key, '@'), *why;
    struct buf name = {0};
    if (!mutf7_to_utf8(&name, span_str(owner))) {
        buf_clear(&name);
        buf_add_str(&name, owner);
    }
    char *user = xasprintf("%s%s", buf_str(&name), domain && !strchr(owner, '@') ? domain : "");
    for (char *c = user; view_client_separator(v->next.view) == '.' && *c; c++)
        *c = *c == '^' ? '.' : *c;
    char *key = account_key(v->account->proxy->conf, span_str(user), &why);
    free(user);
    buf_free(&name);
    return key;
}

static void views_lend_row(struct views *v, const struct view_spelling *his, bool home, struct span field,
                           struct span text)
{
    struct buf seen = {0};
    const char *owner = view_spaces_of(v->next.view)->owners[v->next.owner];
    bool good = !home || views_home_see(text, &seen);
    if (!good || !view_lend(v->next.view, owner, his, field, home ? buf_span(&seen) : text))
        LOG(WARN, "view_record_unreadable", LOG_S("user", v->account->key), LOG_S("of", owner),
            LOG_SPAN("mailbox", field));
    buf_free(&seen);
}

/* Only where both are on the same server by now. */
static void views_take_lent(struct views *v, const struct span *rows, size_t n)
{
    struct view_spelling his;
    bool known = false,
         home = n >= 3 && rows[0].len >= sizeof HOME - 1 && memcmp(rows[0].p, HOME, sizeof HOME - 1) == 0;
    if (n < 3 || rows[0].len == 0 || !span_is(rows[1], v->next.backend) || home != (v->next.home != NULL))
        return;
    for (size_t i = 3; i + 1 < n && !known; i += 2)
        known = rows[i].len == 0 && view_spelling_decode(rows[i + 1], &his);
    if (!known)
        return;
    if (home)
        views_home_spelling(&his);
    for (size_t i = 3; i + 1 < n; i += 2)
        if (rows[i].len > 0)
            views_lend_row(v, &his, home, rows[i], rows[i + 1]);
    view_spelling_free(&his);
}

static void views_ask_owners(struct views *v);

static void views_on_later(void *owner)
{
    views_ask_owners(owner);
}

static void views_wait_for_owner(struct views *v)
{
    v->next.waits++;
    if (!v->later)
        v->later = timer_new(v->account->proxy->loop, views_on_later, v);
    timer_start(v->later, OWNER_MS);
}

/* Who can't be asked lends nothing: then the server's own numbers are shown, whose UIDVALIDITY is another one where UIDs are. */
static void views_on_lent(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct views *v = owner;
    v->next.store = NULL;
    if (rc == ROUTE_WAIT && v->next.waits < OWNER_WAITS) {
        views_wait_for_owner(v);
        return;
    }
    if (rc == ROUTE_OK)
        views_take_lent(v, rows, n);
    v->next.owner++;
    views_ask_owners(v);
}

static void views_ask_owners(struct views *v)
{
    struct next *next = &v->next;
    for (; next->view && next->owner < view_spaces_of(next->view)->n_owners; next->owner++) {
        char *key = views_owner_key(v, view_spaces_of(next->view)->owners[next->owner]);
        if (key && strcmp(key, v->account->key) != 0) {
            next->store = branch_of(v->account->proxy, key)->store;
            route_view_read(next->store, key, true, views_on_lent, v);
            free(key);
            return;
        }
        free(key);
    }
    views_settle(v);
}

static void views_on_rows(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct views *v = owner;
    if (rc == ROUTE_OK && views_take(v, rows, n)) {
        views_ask_owners(v);
        return;
    }
    views_drop_next(v);
    v->state = VIEWS_FAILED;
    LOG(WARN, "view_unread", LOG_S("user", v->account->key), LOG_S("backend", v->asked.backend));
    views_tell_sessions(v);
}

static void views_read(struct views *v)
{
    struct account *a = v->account;
    v->state = VIEWS_READING;
    v->again = false;
    views_drop_next(v);
    route_view_read(a->branch->store, a->key, v->asked.all, views_on_rows, v);
}

static bool is_there(const struct views *v, const char *backend, const char *text, bool all)
{
    return v->state == VIEWS_READ && strcmp(v->text, text) == 0 && strcmp(v->backend, backend) == 0 &&
           (v->all || !all);
}

static bool is_asked(const struct views *v, const char *backend, const char *text, bool all)
{
    return v->state == VIEWS_READING && strcmp(v->asked.text, text) == 0 &&
           strcmp(v->asked.backend, backend) == 0 && (v->asked.all || !all);
}

/* Nothing is to be rewritten, and nobody wants the records. */
static void views_take_plain(struct views *v, const char *backend, const char *text)
{
    bool read = v->state == VIEWS_READING; /* somebody else waits for that */
    views_drop_next(v);
    view_unref(&v->view);
    views_home_free(&v->home);
    v->state = VIEWS_READ;
    v->all = false;
    v->n = 0;
    v->spelled = false;
    views_set_text(&v->text, text);
    views_set_text(&v->backend, backend);
    if (read)
        views_tell_sessions(v);
}

void views_want(struct account *a, const char *backend, const char *text, bool all)
{
    struct views *v = views_of(a);
    if (is_there(v, backend, text, all) || is_asked(v, backend, text, all))
        return;
    if (!all && !route_view_is_needed(text)) {
        views_take_plain(v, backend, text);
        return;
    }
    views_set_text(&v->asked.text, text);
    views_set_text(&v->asked.backend, backend);
    v->asked.all = all || (v->state == VIEWS_READING && v->asked.all);
    views_read(v);
}

void views_heard(struct account *a)
{
    struct views *v = a->views;
    if (!v || !a->view || !a->backend || a->state == ROUTE_FLIPPING)
        return;
    if (v->state == VIEWS_READING)
        v->again = true;
    else if (v->backend && strcmp(v->backend, a->backend) == 0 && strcmp(v->text, a->view) != 0)
        views_want(a, a->backend, a->view, v->all);
    /* of another backend it is read by the session that goes there */
}

void views_try_again(struct account *a)
{
    if (views_state(a) == VIEWS_FAILED)
        views_read(a->views);
}

/* ---- what it is ---- */

enum views_state views_state(const struct account *a)
{
    return a->views ? a->views->state : VIEWS_NONE;
}

bool views_is_current(const struct account *a, const char *backend)
{
    const struct views *v = a->views;
    return v && v->state == VIEWS_READ && strcmp(v->backend, backend) == 0;
}

struct view *views_view(const struct account *a)
{
    return a->views ? a->views->view : NULL;
}

bool views_has_records(const struct account *a)
{
    return a->views && a->views->n > 0;
}

bool views_has_modseqs(const struct account *a)
{
    const struct views *v = a->views;
    if (!v || !v->text)
        return false; /* not read */
    if (!route_view_is_needed(v->text))
        return route_view_has_modseqs(v->text);
    return v->view && v->spelled && view_has_modseqs(v->view);
}

/* Records without a spelling are of a release that rewrote nothing: clients know the backend as it is. */
bool views_rewrites(const struct account *a)
{
    const struct views *v = a->views;
    return v && v->view && v->spelled && route_view_is_needed(v->text) && !view_is_plain(v->view);
}

/* ---- changes ---- */

/* The last number of the text; 0: it was not changed yet. */
static uint64_t changes_of(const char *text)
{
    const char *digest = strchr(text, ':'), *last = digest ? strchr(digest + 1, ':') : NULL;
    uint64_t n = 0;
    return last && span_u64(span_str(last + 1), UINT64_MAX, &n) ? n : 0;
}

static void views_read_again(struct views *v)
{
    if (v->state == VIEWS_READING) {
        v->again = true;
        return;
    }
    views_set_text(&v->asked.text, v->text);
    views_set_text(&v->asked.backend, v->backend);
    v->asked.all = v->all;
    views_read(v);
}

/* The store has them. What other sessions have changed meanwhile is read. */
static void change_apply(struct views *v, const struct view_changes *changes, const char *text)
{
    struct view *now = v->view ? view_apply(v->view, changes) : NULL;
    bool next = now && changes_of(text) == changes_of(v->text) + 1;
    if (now) {
        view_unref(&v->view);
        v->view = now;
    }
    if (next && v->state == VIEWS_READ)
        views_set_text(&v->text, text);
    else
        views_read_again(v);
    views_tell_sessions(v);
}

static void change_on_done(void *owner, enum route_rc rc, const char *detail)
{
    struct change *c = owner;
    struct views *v = c->views;
    route_done_fn fn = c->fn;
    void *who = c->owner;
    struct view_changes changes = c->changes, stored = c->stored;
    c->changes = c->stored = (struct view_changes){0};
    change_free(c);
    if (rc == ROUTE_OK && v->home)
        views_home_apply(v->home, &stored);
    if (rc == ROUTE_OK)
        change_apply(v, &changes, detail);
    else if (rc == ROUTE_AGAIN)
        views_read_again(v);
    if (fn)
        fn(who, rc, detail);
    view_changes_free(&changes);
    view_changes_free(&stored);
}

bool views_change(struct account *a, const char *backend, const struct view_changes *changes,
                  route_done_fn fn, void *owner)
{
    struct views *v = a->views;
    if (!v || !v->view || strcmp(v->backend, backend) != 0)
        return false;
    struct change *c = xcalloc(1, sizeof *c);
    *c = (struct change){.views = v, .fn = fn, .owner = owner};
    c->changes.items = xcalloc(changes->n, sizeof *c->changes.items);
    c->changes.n = c->changes.cap = changes->n;
    for (size_t i = 0; i < changes->n; i++)
        c->changes.items[i] = (struct view_change){.field = xstrdup(changes->items[i].field),
                                                   .was = xstrdup(changes->items[i].was),
                                                   .is = xstrdup(changes->items[i].is)};
    if (v->home)
        views_home_changes(v->home, changes, &c->stored);
    LIST_INSERT_HEAD(&v->changes, c, link);
    route_view_change(a->branch->store, a->key, v->backend, v->epoch, v->home ? &c->stored : &c->changes,
                      change_on_done, c);
    return true;
}

static void question_on_route(void *owner, enum route_rc rc, const struct route *r)
{
    struct question *q = owner;
    struct views *v = q->views;
    route_done_fn fn = q->fn;
    void *who = q->owner;
    LIST_REMOVE(q, link);
    free(q);
    /* From `flip` on the route names the view of the target. */
    bool told = rc == ROUTE_OK && r->state != ROUTE_FLIPPING && strcmp(r->backend, v->backend) == 0;
    if (told && strcmp(r->view, v->text) != 0)
        views_want(v->account, v->backend, r->view, v->all);
    if (fn)
        fn(who, rc, "");
}

static void question_on_kept(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct question *q = owner;
    struct branch *b = q->views->account->branch;
    route_done_fn fn = q->fn;
    void *who = q->owner;
    (void)r;
    LIST_REMOVE(q, link);
    free(q);
    if (rc != REDIS_OK)
        b->replicas_late_ms = clock_boot_ms();
    if (fn)
        fn(who, rc == REDIS_OK ? ROUTE_OK : ROUTE_DOWN, "");
}

bool views_keep(struct account *a, route_done_fn fn, void *owner)
{
    struct views *v = a->views;
    struct branch *b = a->branch;
    if (!v || (b->replicas_late_ms && clock_boot_ms() - b->replicas_late_ms < KEEP_AGAIN_MS))
        return false;
    struct question *q = xcalloc(1, sizeof *q);
    *q = (struct question){.views = v, .fn = fn, .owner = owner};
    LIST_INSERT_HEAD(&v->questions, q, link);
    store_wait(b->store, KEEP_MS, question_on_kept, q);
    return true;
}

bool views_ask(struct account *a, const char *backend, route_done_fn fn, void *owner)
{
    struct views *v = a->views;
    if (!v || !v->view || strcmp(v->backend, backend) != 0)
        return false;
    struct question *q = xcalloc(1, sizeof *q);
    *q = (struct question){.views = v, .fn = fn, .owner = owner};
    LIST_INSERT_HEAD(&v->questions, q, link);
    route_read(a->branch->store, a->key, question_on_route, q);
    return true;
}

void views_forget(struct account *a, void *owner)
{
    struct change *c;
    struct question *q;
    if (!a || !a->views)
        return;
    LIST_FOREACH(q, &a->views->questions, link)
    if (q->owner == owner)
        q->fn = NULL;
    LIST_FOREACH(c, &a->views->changes, link)
    if (c->owner == owner)
        c->fn = NULL;
}
