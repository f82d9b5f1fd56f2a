/* doctor --without-proxy: who would notice if clients spoke to the server themselves? Of each account whose names or
 * numbers proxies rewrite, the mailboxes are looked at. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/view_record.h"

#include "actions_priv.h"
#include "name_scan.h"

enum {
    DIRECT_ACCOUNTS = 1000,       /* that are told one by one */
    DIRECT_MAILBOXES = 200,       /* of each */
    DIRECT_RUNS_MAX = 1000 * 1000 /* of a map */
};

struct direct {
    struct run *run;
    struct name_scan *scan;
    char **users; /* owned; of the batch at hand, whose records are still to be read */
    size_t n, at;
    json_t *accounts; /* owned */
    uint64_t unmoved, plain, seen, mailboxes;
    uint64_t tiers[VIEW_T3 + 1]; /* of the mailboxes that would be noticed */
};

static void direct_drop_users(struct direct *d)
{
    for (size_t i = 0; i < d->n; i++)
        free(d->users[i]);
    free(d->users);
    d->users = NULL;
    d->n = d->at = 0;
}

static void direct_free(struct direct *d)
{
    name_scan_cancel(&d->scan);
    direct_drop_users(d);
    json_decref(d->accounts);
    free(d);
}

static void direct_fail(struct direct *d, enum route_rc rc)
{
    struct run *r = d->run;

    direct_free(d);
    run_end_failed(r, rc, "");
}

/* ---- one account ---- */

/* What a client would find other than it knows it; nothing: it would not notice. */
static void direct_write_change(const struct view_record *v, struct span name, struct buf *out)
{
    uint32_t shown = v->highest_uidvalidity;

    if (!span_is(name, v->target_name))
        buf_printf(out, "is called %s there", v->target_name);
    if (v->tier == VIEW_T2)
        buf_printf(out, "%sits messages have other UIDs there, and are downloaded again",
                   out->len ? "; " : "");
    else if (shown && shown != v->target_uidvalidity)
        buf_printf(out, "%sits UIDVALIDITY is another one there, so its messages are downloaded again",
                   out->len ? "; " : "");
    else if (v->modseq_shift > 0)
        buf_printf(out, "%sits MODSEQs are others there, so clients compare all flags once",
                   out->len ? "; " : "");
}

static void direct_take_record(struct direct *d, json_t *list, struct span name, struct span text)
{
    struct view_record v;
    struct buf change = {0};

    if (name.len == 0 || !view_record_decode(text, DIRECT_RUNS_MAX, &v))
        return; /* how names are spelled, or of a later version */
    direct_write_change(&v, name, &change);
    if (change.len > 0) {
        d->mailboxes++;
        d->tiers[v.tier]++;
    }
    if (change.len > 0 && json_array_size(list) < DIRECT_MAILBOXES) {
        json_t *o = json_object();
        json_object_set_new(o, "mailbox", json_text(name));
        json_object_set_new(o, "tier", json_string(view_tier_text(v.tier)));
        json_object_set_new(o, "change", json_text(buf_span(&change)));
        json_array_append_new(list, o);
    }
    buf_free(&change);
    view_record_free(&v);
}

static void direct_next_user(struct direct *d);

static void direct_on_records(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct direct *d = owner;
    json_t *list = json_array(), *o;

    if (rc != ROUTE_OK) {
        json_decref(list);
        direct_fail(d, rc);
        return;
    }
    for (size_t i = 0; i + 1 < n; i += 2)
        direct_take_record(d, list, rows[i], rows[i + 1]);
    if (json_array_size(d->accounts) < DIRECT_ACCOUNTS) {
        o = json_object();
        json_object_set_new(o, "user", json_string(d->users[d->at]));
        json_object_set(o, "mailboxes", list);
        json_array_append_new(d->accounts, o);
    }
    json_decref(list);
    d->at++;
    direct_next_user(d);
}

static void direct_next_user(struct direct *d)
{
    if (d->at < d->n) {
        route_views_read(d->run->store, d->users[d->at], direct_on_records, d);
        return;
    }
    direct_drop_users(d);
    name_scan_on(d->scan);
}

/* ---- all ---- */

static void direct_on_rows(void *owner, enum route_rc rc, const struct span *rows, size_t n)
{
    struct direct *d = owner;

    if (rc != ROUTE_OK) {
        direct_fail(d, rc);
        return;
    }
    d->users = xcalloc(n / 2 + 1, sizeof(*d->users));
    for (size_t i = 0; i + 1 < n; i += 2) {
        d->plain += span_is(rows[i + 1], "plain");
        d->unmoved += span_is(rows[i + 1], "unmoved");
        if (!span_is(rows[i + 1], "seen"))
            continue;
        d->seen++;
        d->users[d->n++] = xspandup(rows[i]);
    }
    direct_next_user(d);
}

static void direct_on_users(void *owner, const struct span *users, size_t n)
{
    struct direct *d = owner;

    if (!run_looks(d->run, n))
        direct_fail(d, ROUTE_DOWN);
    else
        route_direct(d->run->store, store_conf(d->run->store)->migration.target, users, n, direct_on_rows, d);
}

static void direct_line(struct run *r, const char *of, const char *level, const char *advice, const char *fmt,
                        ...) PRINTF_LIKE(5, 6);
static void direct_line(struct run *r, const char *of, const char *level, const char *advice, const char *fmt,
                        ...)
{
    struct buf text = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    json_array_append_new(json_object_get(r->data, "checks"),
                          json_pack("{s:s, s:s, s:o, s:s}", "of", of, "level", level, "text",
                                    json_text(buf_span(&text)), "advice", advice));
    buf_free(&text);
}

static void direct_say_account(struct run *r, const json_t *account)
{
    const char *user = json_string_value(json_object_get(account, "user"));
    json_t *list = json_object_get(account, "mailboxes"), *o;
    size_t i;

    if (json_array_size(list) == 0)
        direct_line(r, user, "warning", "", "names are spelled another way there");
    json_array_foreach(list, i, o) direct_line(
        r, user, "warning", "", "%s (%s) %s", json_string_value(json_object_get(o, "mailbox")),
        json_string_value(json_object_get(o, "tier")), json_string_value(json_object_get(o, "change")));
}

static void direct_say(struct direct *d)
{
    struct run *r = d->run;
    json_t *account;
    size_t i;

    if (d->unmoved > 0)
        direct_line(r, "accounts", "error", "Move them first: \"retire\" says more of the old server.",
                    "%" PRIu64 " account%s with a record %s not on the new server", d->unmoved,
                    d->unmoved == 1 ? "" : "s", d->unmoved == 1 ? "is" : "are");
    direct_line(r, "accounts", "ok", "", "%" PRIu64 " account%s would notice nothing", d->plain,
                d->plain == 1 ? "" : "s");
    if (d->seen > 0)
        direct_line(
            r, "accounts", "error",
            "Leave the proxy in front of them; or tell their users that mail programs will download again.",
            "%" PRIu64 " account%s would notice, in %" PRIu64 " mailbox%s (T0 %" PRIu64 ", T1 %" PRIu64
            ", T2 %" PRIu64 ", T3 %" PRIu64 ")%s",
            d->seen, d->seen == 1 ? "" : "s", d->mailboxes, d->mailboxes == 1 ? "" : "es", d->tiers[0],
            d->tiers[1], d->tiers[2], d->tiers[3],
            d->seen > DIRECT_ACCOUNTS ? "; these are the first of them" : "");
    json_array_foreach(d->accounts, i, account) direct_say_account(r, account);
}

static void direct_begin(struct direct *d);

static void direct_on_end(void *owner, bool good)
{
    struct direct *d = owner;
    struct run *r = d->run;
    bool nobody = d->seen == 0 && d->unmoved == 0;

    d->scan = NULL;
    if (!good) {
        direct_fail(d, ROUTE_DOWN);
        return;
    }
    if (run_next_store(r)) {
        direct_begin(d);
        return;
    }
    direct_say(d);
    json_object_set(r->data, "accounts", d->accounts);
    json_object_set_new(r->data, "unmoved", json_integer((json_int_t)d->unmoved));
    json_object_set_new(r->data, "would_notice", json_integer((json_int_t)d->seen));
    json_object_set_new(r->data, "would_not", json_integer((json_int_t)d->plain));
    direct_free(d);
    if (nobody)
        run_end(r, ACTION_DONE, "%s", "the proxy can be taken away, and nobody notices");
    else
        run_end(r, ACTION_REFUSED, "%s", "the proxy is needed");
}

/* At the store at hand. */
static void direct_begin(struct direct *d)
{
    d->scan = name_scan_start(d->run->store, "route", "", direct_on_users, direct_on_end, d);
}

void run_direct(struct run *r)
{
    struct direct *d = xcalloc(1, sizeof(*d));

    d->run = r;
    d->accounts = json_array();
    json_object_set_new(r->data, "checks", json_array());
    direct_begin(d);
}
