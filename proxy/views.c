#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "handover.h"
#include "opened.h"
#include "proxy.h"
#include "views.h"

enum { RUNS_MAX = 1000000, RECORDS_MAX = 100000 };

struct views {
    struct account *account; /* borrowed */
    uint64_t epoch;
    enum views_state state;
    bool alike;
    struct view_record *rows; /* owned */
    size_t n;
};

static void forget_rows(struct views *v)
{
    for (size_t i = 0; i < v->n; i++)
        view_record_free(&v->rows[i]);
    free(v->rows);
    v->rows = NULL;
    v->n = 0;
    v->alike = true;
}

void views_free(struct views **vp)
{
    struct views *v = *vp;
    if (!v)
        return;
    *vp = NULL;
    store_forget(v->account->proxy->store, v);
    forget_rows(v);
    free(v);
}

/* False: a record that is not ours to understand. */
static bool views_take(struct views *v, struct span text)
{
    struct view_record r;
    if (v->n >= RECORDS_MAX || !view_record_decode(text, RUNS_MAX, &r))
        return false;
    v->rows = xreallocarray(v->rows, v->n + 1, sizeof *v->rows);
    v->rows[v->n++] = r;
    v->alike &= strcmp(r.source_name, r.target_name) == 0;
    return true;
}

static void tell_sessions(struct account *a)
{
    struct session *s, *next;
    for (s = LIST_FIRST(&a->sessions); s; s = next) {
        next =
            LIST_NEXT(s, of_account); /* the account goes with its last session, and that is the last here */
        if (s->state == IN_HANDOVER)
            handover_step(s);
    }
}

static void views_on_rows(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct views *v = owner;
    v->state = rc == ROUTE_OK ? VIEWS_READ : VIEWS_FAILED;
    for (size_t i = 0; rc == ROUTE_OK && i + 1 < n; i += 2)
        if (!views_take(v, rows[i + 1])) {
            LOG(WARN, "view_record_unreadable", LOG_S("user", v->account->key), LOG_SPAN("mailbox", rows[i]));
            v->state = VIEWS_FAILED;
        }
    tell_sessions(v->account);
}

void views_want(struct account *a)
{
    struct views *v = a->views;
    if (v && v->epoch == a->epoch && v->state != VIEWS_FAILED)
        return;
    if (!v)
        v = a->views = xcalloc(1, sizeof *v);
    store_forget(a->proxy->store, v);
    forget_rows(v);
    v->account = a;
    v->epoch = a->epoch;
    v->state = VIEWS_READING;
    route_views_read(a->proxy->store, a->key, views_on_rows, v);
}

enum views_state views_state(const struct account *a)
{
    return a->views ? a->views->state : VIEWS_FAILED;
}

const struct view_record *views_of(const struct account *a, struct span name)
{
    const struct views *v = a->views;
    for (size_t i = 0; v && i < v->n; i++) {
        struct span known = span_str(v->rows[i].source_name);
        if (span_eq(known, name) || (opened_is_inbox(known) && opened_is_inbox(name)))
            return &v->rows[i];
    }
    return NULL;
}

bool views_alike(const struct account *a)
{
    return a->views && a->views->n > 0 && a->views->alike;
}
