/* What the owner of a job keeps in the store: ledger, view records, stamps; and the credential that it finds
 * there.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "route_priv.h"
#include "xalloc.h"

enum { PAGE = 64 }; /* entries of a ledger; one of 500 messages takes 32 KiB */

/* ---- writing ---- */

void route_ledger_append(struct store *s, const struct route_job *j, const char *record_id,
                         const struct span *entries, size_t n, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_text(&a, record_id);
    for (size_t i = 0; i < n; i++)
        args_span(&a, entries[i]);
    route_run(s, "ledger", &a, fn, owner);
}

void route_touch(struct store *s, const struct route_job *j, const char *record_id, uint64_t ms,
                 struct span entry, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_text(&a, record_id);
    args_number(&a, ms);
    args_span(&a, entry);
    route_run(s, "touch", &a, fn, owner);
}

void route_touched(struct store *s, const struct route_job *j, const char *record_id, struct span entry,
                   route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_text(&a, record_id);
    args_span(&a, entry);
    route_run(s, "touched", &a, fn, owner);
}

void route_ledger_drop(struct store *s, const struct route_job *j, const char *record_id, route_done_fn fn,
                       void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_text(&a, record_id);
    route_run(s, "ledger_drop", &a, fn, owner);
}

void route_ledger_fold(struct store *s, const struct route_job *j, const char *record_id, uint64_t entries,
                       const struct route_fold *f, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_text(&a, record_id);
    args_number(&a, entries);
    args_text(&a, f->source);
    args_text(&a, f->target);
    args_span(&a, f->text);
    for (size_t i = 0; i < f->n; i++)
        args_span(&a, f->stay[i]);
    route_run(s, "ledger_fold", &a, fn, owner);
}

static void write_pairs(struct store *s, const char *script, const struct route_job *j,
                        const struct span *drop, size_t n_drop, const struct span *pairs, size_t n_pairs,
                        route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_number(&a, n_drop);
    for (size_t i = 0; i < n_drop; i++)
        args_span(&a, drop[i]);
    for (size_t i = 0; i < 2 * n_pairs; i++)
        args_span(&a, pairs[i]);
    route_run(s, script, &a, fn, owner);
}

void route_views_write(struct store *s, const struct route_job *j, const struct span *drop, size_t n_drop,
                       const struct span *pairs, size_t n_pairs, route_done_fn fn, void *owner)
{
    write_pairs(s, "views", j, drop, n_drop, pairs, n_pairs, fn, owner);
}

void route_stamps_write(struct store *s, const struct route_job *j, const struct span *drop, size_t n_drop,
                        const struct span *pairs, size_t n_pairs, route_done_fn fn, void *owner)
{
    write_pairs(s, "stamps", j, drop, n_drop, pairs, n_pairs, fn, owner);
}

void route_report_write(struct store *s, const struct route_job *j, struct span text, route_done_fn fn,
                        void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    args_span(&a, text);
    route_run(s, "report", &a, fn, owner);
}

void route_fingerprint(struct store *s, const struct route_job *j, const char *const *marks, size_t n,
                       route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_job(&a, j);
    for (size_t i = 0; i < n; i++)
        args_text(&a, marks[i]);
    route_run(s, "fingerprint", &a, fn, owner);
}

/* ---- reading ---- */

struct rows {
    struct store *s;
    route_rows_fn fn;
    void *owner;         /* borrowed */
    char *user, *record; /* owned; of a ledger */
    uint64_t next;       /* of a ledger: the first row of the next page */
};

static void rows_drop(void *owner)
{
    struct rows *w = owner;
    free(w->user);
    free(w->record);
    free(w);
}

static struct rows *rows_new(struct store *s, route_rows_fn fn, void *owner)
{
    struct rows *w = xcalloc(1, sizeof(*w));
    *w = (struct rows){.s = s, .fn = fn, .owner = owner};
    return w;
}

/* The elements of an answer from the second on. */
static struct span *take_rows(const struct reply *r, size_t *n)
{
    *n = reply_count(r) > 0 ? reply_count(r) - 1 : 0;
    struct span *out = xcalloc(*n + 1, sizeof(*out));
    for (size_t i = 0; i < *n; i++)
        out[i] = reply_str(reply_at(r, i + 1));
    return out;
}

static void on_rows(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct rows *w = owner;
    enum route_rc status = route_status(w->s, rc, r);
    route_rows_fn fn = w->fn;
    void *who = w->owner;
    size_t n = 0;
    struct span *v = take_rows(r, &n);

    rows_drop(w);
    fn(who, status, v, status == ROUTE_OK ? n : 0);
    free(v);
}

static void next_page(struct rows *w);

/* The next page is asked for before this one is told: so store_forget() from inside finds it. */
static void on_page(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct rows *w = owner;
    if (route_status(w->s, rc, r) != ROUTE_OK || reply_count(r) < 2) {
        on_rows(owner, rc, r);
        return;
    }
    size_t n = 0;
    struct span *v = take_rows(r, &n);
    route_rows_fn fn = w->fn;
    void *who = w->owner;
    next_page(w);
    fn(who, ROUTE_OK, v, n);
    free(v);
}

static void next_page(struct rows *w)
{
    struct args a = {0};
    args_text(&a, w->user);
    args_text(&a, w->record);
    args_number(&a, w->next);
    args_number(&a, w->next + PAGE - 1);
    w->next += PAGE;
    store_script_for(w->s, w->owner, "ledger_read", a.v, a.n, on_page, w, rows_drop);
    free(a.v);
}

void route_ledger_read(struct store *s, const char *user, const char *record_id, route_rows_fn fn,
                       void *owner)
{
    struct rows *w = rows_new(s, fn, owner);
    w->user = xstrdup(user);
    w->record = xstrdup(record_id);
    next_page(w);
}

void route_ledger_unfolded(struct store *s, const char *user, const struct span *ids, size_t n,
                           route_rows_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    for (size_t i = 0; i < n; i++)
        args_span(&a, ids[i]);
    route_run_rows(s, "ledger_unfolded", &a, fn, owner);
}

void route_run_rows(struct store *s, const char *name, struct args *a, route_rows_fn fn, void *owner)
{
    store_script_for(s, owner, name, a->v, a->n, on_rows, rows_new(s, fn, owner), rows_drop);
    free(a->v);
}

static void read_one(struct store *s, const char *name, const char *user, route_rows_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, user);
    route_run_rows(s, name, &a, fn, owner);
}

void route_views_read(struct store *s, const char *user, route_rows_fn fn, void *owner)
{
    read_one(s, "views_read", user, fn, owner);
}

void route_stamps_read(struct store *s, const char *user, route_rows_fn fn, void *owner)
{
    read_one(s, "stamps_read", user, fn, owner);
}

void route_secret_read(struct store *s, const char *user, route_rows_fn fn, void *owner)
{
    read_one(s, "secret_read", user, fn, owner);
}

void route_report_read(struct store *s, const char *user, route_rows_fn fn, void *owner)
{
    read_one(s, "report_read", user, fn, owner);
}

void route_counts_read(struct store *s, route_rows_fn fn, void *owner)
{
    struct args a = {0};
    route_run_rows(s, "counts_read", &a, fn, owner);
}

void route_waivers_read(struct store *s, const char *user, route_rows_fn fn, void *owner)
{
    read_one(s, "waivers_read", user, fn, owner);
}
