#include <stdio.h>
#include <stdlib.h>

#include "route_priv.h"
#include "route_recount.h"
#include "xalloc.h"

enum { SCAN_COUNT = 500 };

struct recount {
    struct store *s; /* borrowed */
    recount_fn fn;
    void *owner;
    char *series; /* owned; NULL: not begun */
    char *cursor; /* of SCAN; owned */
    uint64_t accounts;
};

void recount_cancel(struct recount **rp)
{
    struct recount *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    store_forget(r->s, r);
    free(r->series);
    free(r->cursor);
    free(r);
}

static void end(struct recount *r, enum route_rc rc)
{
    recount_fn fn = r->fn;
    void *owner = r->owner;
    uint64_t accounts = r->accounts;

    recount_cancel(&r);
    fn(owner, rc, accounts);
}

static void on_ended(void *owner, enum route_rc rc, const char *detail)
{
    (void)detail;
    end(owner, rc);
}

static void recount_finish(struct recount *r)
{
    struct args a = {0};

    args_text(&a, r->series);
    route_run(r->s, "recount_end", &a, on_ended, r);
}

static void scan(struct recount *r);

static void on_counted(void *owner, enum route_rc rc, const char *detail)
{
    struct recount *r = owner;

    (void)detail;
    if (rc != ROUTE_OK)
        end(r, rc);
    else if (strcmp(r->cursor, "0") == 0)
        recount_finish(r);
    else
        scan(r);
}

static void on_scan(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct recount *r = owner;
    const struct reply *keys = reply_at(reply, 1);
    struct args a = {0};

    if (rc != REDIS_OK) {
        end(r, ROUTE_DOWN);
        return;
    }
    struct span *users = xcalloc(reply_count(keys) + 1, sizeof(*users));
    size_t n = store_names(r->s, "route", keys, users);
    free(r->cursor);
    r->cursor = xspandup(reply_str(reply_at(reply, 0)));
    r->accounts += n;
    args_text(&a, r->series);
    for (size_t i = 0; i < n; i++)
        args_span(&a, users[i]);
    route_run(r->s, "recount", &a, on_counted, r);
    free(users);
}

static void scan(struct recount *r)
{
    char *pattern = store_key(r->s, "route:*"), count[16];

    snprintf(count, sizeof(count), "%d", SCAN_COUNT);
    struct span argv[] = {span_str("SCAN"),  span_str(r->cursor), span_str("MATCH"),
                          span_str(pattern), span_str("COUNT"),   span_str(count)};
    store_command_for(r->s, r, argv, COUNTOF(argv), on_scan, r, NULL);
    free(pattern);
}

static void on_begun(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct recount *r = owner;

    if (rc != ROUTE_OK || n < 2 || span_is(rows[1], "1")) {
        end(r, rc);
        return;
    }
    r->series = xspandup(rows[0]);
    r->cursor = xstrdup("0");
    scan(r);
}

struct recount *recount_start(struct store *s, bool needed, recount_fn fn, void *owner)
{
    struct recount *r = xcalloc(1, sizeof(*r));
    struct args a = {0};

    r->s = s;
    r->fn = fn;
    r->owner = owner;
    args_bool(&a, needed);
    route_run_rows(s, "recount_begin", &a, on_begun, r);
    return r;
}
