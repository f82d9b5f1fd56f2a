/* The scripts that staff and the schedule run. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "route_priv.h"
#include "xalloc.h"

static void args_staff(struct args *a, const struct route_staff *who)
{
    args_text(a, who->user);
    args_text(a, who->who);
    args_text(a, who->reason);
}

void route_enqueue(struct store *s, const struct route_staff *staff, const char *source, const char *target,
                   bool bulk, bool force, bool back, bool now, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_staff(&a, staff);
    args_text(&a, source);
    args_text(&a, target);
    args_bool(&a, bulk);
    args_bool(&a, force);
    args_bool(&a, back);
    args_text(&a, route_home(s, staff->user));
    args_bool(&a, now);
    route_run(s, "enqueue", &a, fn, owner);
}

void route_write_retired(const struct conf *c, struct buf *out)
{
    for (size_t i = 0; i < c->n_backends; i++)
        if (c->backends[i].retired)
            buf_printf(out, " %s ", c->backends[i].name);
}

void route_bulk(struct store *s, const char *user, const char *run, const char *target, bool back,
                route_done_fn fn, void *owner)
{
    struct args a = {0};
    struct buf retired = {0};
    route_write_retired(store_conf(s), &retired);
    args_text(&a, user);
    args_text(&a, run);
    args_text(&a, target);
    args_bool(&a, back);
    args_text(&a, route_home(s, user));
    args_text(&a, buf_str(&retired));
    route_run(s, "bulk", &a, fn, owner);
    buf_free(&retired);
}

void route_note(struct store *s, const char *run, const char *who, const char *what, const char *reason,
                const char *after, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, run);
    args_text(&a, who);
    args_text(&a, what);
    args_text(&a, reason);
    args_text(&a, after);
    route_run(s, "note", &a, fn, owner);
}

static void run_staff(struct store *s, const char *name, const struct route_staff *staff, route_done_fn fn,
                      void *owner)
{
    struct args a = {0};
    args_staff(&a, staff);
    args_text(&a, route_home(s, staff->user));
    route_run(s, name, &a, fn, owner);
}

void route_now(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner)
{
    run_staff(s, "now", a, fn, owner);
}

void route_hold(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner)
{
    run_staff(s, "hold", a, fn, owner);
}

void route_kick(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner)
{
    run_staff(s, "kick", a, fn, owner);
}

void route_release(struct store *s, const struct route_staff *a, route_done_fn fn, void *owner)
{
    run_staff(s, "release", a, fn, owner);
}

void route_retry(struct store *s, const struct route_staff *staff, const char *run, route_done_fn fn,
                 void *owner)
{
    struct args a = {0};
    args_staff(&a, staff);
    args_text(&a, route_home(s, staff->user));
    args_text(&a, run);
    route_run(s, "retry", &a, fn, owner);
}

void route_forget(struct store *s, const struct route_staff *staff, bool gone, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_staff(&a, staff);
    args_text(&a, route_home(s, staff->user));
    args_bool(&a, gone);
    route_run(s, "forget", &a, fn, owner);
}

void route_list(struct store *s, const struct route_filter *f, const struct span *users, size_t n,
                route_rows_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, f->state);
    args_text(&a, f->reason);
    args_text(&a, f->backend);
    args_number(&a, f->within_ms);
    args_number(&a, f->beyond_ms);
    for (size_t i = 0; i < n; i++)
        args_span(&a, users[i]);
    route_run_rows(s, "list", &a, fn, owner);
}

void route_retire(struct store *s, const char *backend, const char *what, const struct span *users, size_t n,
                  route_rows_fn fn, void *owner)
{
    struct args a = {0};
    args_text(&a, backend);
    args_text(&a, what);
    for (size_t i = 0; i < n; i++)
        args_span(&a, users[i]);
    route_run_rows(s, "retire", &a, fn, owner);
}

void route_direct(struct store *s, const char *target, const struct span *users, size_t n, route_rows_fn fn,
                  void *owner)
{
    struct args a = {0};
    args_text(&a, target);
    for (size_t i = 0; i < n; i++)
        args_span(&a, users[i]);
    route_run_rows(s, "direct", &a, fn, owner);
}

static void run_keys(struct store *s, const char *name, const struct route_staff *staff,
                     const struct span *keys, size_t n, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_staff(&a, staff);
    for (size_t i = 0; i < n; i++)
        args_span(&a, keys[i]);
    route_run(s, name, &a, fn, owner);
}

void route_waive(struct store *s, const struct route_staff *a, const struct span *keys, size_t n,
                 route_done_fn fn, void *owner)
{
    run_keys(s, "waive", a, keys, n, fn, owner);
}

void route_unwaive(struct store *s, const struct route_staff *a, const struct span *keys, size_t n,
                   route_done_fn fn, void *owner)
{
    run_keys(s, "unwaive", a, keys, n, fn, owner);
}

/* ---- the brake ---- */

void route_waves_read(struct store *s, route_rows_fn fn, void *owner)
{
    struct args a = {0};
    route_run_rows(s, "waves_read", &a, fn, owner);
}

void route_pause(struct store *s, bool on, const char *who, const char *reason, const char *wave,
                 route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_bool(&a, on);
    args_text(&a, who);
    args_text(&a, reason);
    args_text(&a, wave);
    route_run(s, "pause", &a, fn, owner);
}

struct control {
    struct store *s;
    route_control_fn fn;
    void *owner; /* borrowed */
};

static void on_control(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct control c = *(struct control *)owner;
    enum route_rc status = route_status(c.s, rc, r);
    char *by = xspandup(reply_str(reply_at(r, 2))), *reason = xspandup(reply_str(reply_at(r, 3)));
    struct route_control control = {
        .paused = span_is(reply_str(reply_at(r, 1)), "1"), .by = by, .reason = reason};

    free(owner);
    if (!span_u64(reply_str(reply_at(r, 4)), UINT64_MAX, &control.since_ms))
        control.since_ms = 0;
    c.fn(c.owner, status, status == ROUTE_OK ? &control : NULL);
    free(by);
    free(reason);
}

void route_control_read(struct store *s, route_control_fn fn, void *owner)
{
    struct control *c = xcalloc(1, sizeof(*c));
    *c = (struct control){.s = s, .fn = fn, .owner = owner};
    store_script_for(s, owner, "control_read", NULL, 0, on_control, c, free);
}

/* ---- later ---- */

/* Accounts whose time has come, one script after the other. */
struct due {
    struct store *s;
    route_done_fn fn;
    void *owner;  /* borrowed */
    char **users; /* owned */
    size_t n, next;
    uint64_t queued;
};

static void due_drop(void *owner)
{
    struct due *d = owner;
    for (size_t i = 0; i < d->n; i++)
        free(d->users[i]);
    free(d->users);
    free(d);
}

static void due_done(struct due *d, enum route_rc rc)
{
    char text[24];
    route_done_fn fn = d->fn;
    void *owner = d->owner;
    snprintf(text, sizeof(text), "%" PRIu64, d->queued);
    due_drop(d);
    if (fn)
        fn(owner, rc, text);
}

static void due_next(struct due *d);

static void on_due(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct due *d = owner;
    enum route_rc status = route_status(d->s, rc, r);
    if (status != ROUTE_OK) {
        due_done(d, status);
        return;
    }
    d->queued += span_is(reply_str(reply_at(r, 1)), "1");
    due_next(d);
}

static void due_next(struct due *d)
{
    struct args a = {0};
    if (d->next == d->n) {
        due_done(d, ROUTE_OK);
        return;
    }
    args_text(&a, d->users[d->next++]);
    store_script_for(d->s, d->owner, "due", a.v, a.n, on_due, d, due_drop);
    free(a.v);
}

static void on_due_list(void *owner, enum redis_rc rc, const struct reply *r)
{
    struct due *d = owner;
    enum route_rc status = route_status(d->s, rc, r);
    if (status != ROUTE_OK) {
        due_done(d, status);
        return;
    }
    d->n = reply_count(r) - 1;
    d->users = xcalloc(d->n + 1, sizeof(*d->users));
    for (size_t i = 0; i < d->n; i++)
        d->users[i] = xspandup(reply_str(reply_at(r, i + 1)));
    due_next(d);
}

void route_due(struct store *s, uint32_t max, route_done_fn fn, void *owner)
{
    struct due *d = xcalloc(1, sizeof(*d));
    struct args a = {0};
    *d = (struct due){.s = s, .fn = fn, .owner = owner};
    args_number(&a, max);
    store_script_for(s, owner, "due_list", a.v, a.n, on_due_list, d, due_drop);
    free(a.v);
}

char *route_counts_unknown(const struct store *s, const struct span *rows, size_t n)
{
    static const char before[] = "backend:";
    struct buf text = {0};

    for (size_t i = 1; i + 1 < n; i += 2) {
        size_t len = strlen(before);
        uint64_t accounts;
        if (rows[i].len <= len || memcmp(rows[i].p, before, len) != 0 ||
            !span_u64(rows[i + 1], INT64_MAX, &accounts) || accounts == 0)
            continue;
        char *name = xspandup(span_of(rows[i].p + len, rows[i].len - len));
        if (!conf_backend(store_conf(s), name))
            buf_printf(&text, "%s%" PRIu64 " on \"%s\"", text.len ? ", " : "", accounts, name);
        free(name);
    }
    char *out = text.len ? xstrdup(buf_str(&text)) : NULL;
    buf_free(&text);
    return out;
}

void route_log_unknown(const struct store *s, const struct span *rows, size_t n)
{
    char *text = route_counts_unknown(s, rows, n);

    if (text)
        LOG(ERROR, "backend_unknown", LOG_S("accounts", text), LOG_S("effect", "their users can't sign in"),
            LOG_S("advice", "the configuration has no backend of that name: give it back its name"));
    free(text);
}

/* ---- the store ---- */

void route_restore(struct store *s, uint64_t generation, const char *token, bool anyway,
                   const struct span *texts, size_t n, route_done_fn fn, void *owner)
{
    struct args a = {0};
    args_number(&a, generation);
    args_text(&a, token);
    args_bool(&a, anyway);
    for (size_t i = 0; i < n; i++)
        args_span(&a, texts[i]);
    route_run(s, "restore", &a, fn, owner);
}

void route_export(struct store *s, const struct span *users, size_t n, route_rows_fn fn, void *owner)
{
    struct args a = {0};
    for (size_t i = 0; i < n; i++)
        args_span(&a, users[i]);
    route_run_rows(s, "export", &a, fn, owner);
}

void route_init(struct store *s, uint64_t generation, const char *restore, route_done_fn fn, void *owner)
{
    struct args a = {0};
    char id[33];
    struct store_site *site = store_site(s);
    random_hex(id, 16);
    if (!*site->id)
        random_hex(site->id, 16);
    args_text(&a, id);
    args_number(&a, store_quarantine_length_ms(s));
    args_number(&a, generation);
    args_bool(&a, restore != NULL);
    args_text(&a, store_conf(s)->migration.source);
    args_text(&a, restore);
    args_number(&a, store_nth(s) + 1);
    args_text(&a, store_of_how_many(s));
    args_text(&a, site->id);
    args_number(&a, store_conf(s)->migrator.audit_keep_ms);
    route_run(s, "init", &a, fn, owner);
}

void route_source(struct store *s, const char *source, const char *who, const char *reason, route_done_fn fn,
                  void *owner)
{
    struct args a = {0};
    args_text(&a, source);
    args_text(&a, who);
    args_text(&a, reason);
    route_run(s, "source", &a, fn, owner);
}
