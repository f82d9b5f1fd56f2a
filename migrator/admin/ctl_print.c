#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/loop.h"

#include "ctl_print.h"

enum { LABEL_WIDTH = 12, COLUMNS = 79 /* of a terminal, less one */ };

/* ---- values */

void ctl_write_bytes(struct buf *out, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double n = (double)bytes;
    size_t i = 0;

    for (; n >= 1024 && i + 1 < COUNTOF(units); i++)
        n /= 1024;
    if (i == 0)
        buf_printf(out, "%" PRIu64 " bytes", bytes);
    else
        buf_printf(out, "%.*f %s", n < 10 ? 1 : 0, n, units[i]);
}

void ctl_write_duration(struct buf *out, uint64_t ms)
{
    uint64_t s = ms / 1000;

    if (s < 10)
        buf_printf(out, "%" PRIu64 ".%" PRIu64 " s", s, ms / 100 % 10);
    else if (s < 120)
        buf_printf(out, "%" PRIu64 " s", s);
    else if (s < 2 * 3600)
        buf_printf(out, "%" PRIu64 " min", s / 60);
    else if (s < 48 * 3600)
        buf_printf(out, "%" PRIu64 " h", s / 3600);
    else
        buf_printf(out, "%" PRIu64 " days", s / 86400);
}

void ctl_write_number(struct buf *out, uint64_t n)
{
    if (n >= 1000) {
        ctl_write_number(out, n / 1000);
        buf_printf(out, ",%03" PRIu64, n % 1000);
    } else {
        buf_printf(out, "%" PRIu64, n);
    }
}

static const char *text_of(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));

    return s ? s : "";
}

static uint64_t number_of(const json_t *o, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(o, name));

    return n > 0 ? (uint64_t)n : 0;
}

static bool time_of(const char *text, time_t *_r)
{
    struct tm tm = {0};

    if (!strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm))
        return false;
    *_r = timegm(&tm);
    return true;
}

/* By the clock of Redis where the answer has it. */
static void write_time(struct buf *out, const char *text, const char *now_text)
{
    time_t t, now;

    if (!time_of(text, &t)) {
        buf_add_str(out, "-");
        return;
    }
    if (!time_of(now_text, &now))
        now = (time_t)(clock_wall_ms() / 1000);
    buf_printf(out, "%s (", text);
    if (t > now) {
        buf_add_str(out, "in ");
        ctl_write_duration(out, (uint64_t)(t - now) * 1000);
    } else {
        ctl_write_duration(out, (uint64_t)(now - t) * 1000);
        buf_add_str(out, " ago");
    }
    buf_add_str(out, ")");
}

/* What comes from servers and users goes to a terminal: no control characters. */
static void print(const struct buf *b)
{
    for (size_t i = 0; i < b->len; i++) {
        uint8_t c = b->mem[b->off + i];
        putchar((c < ' ' && c != '\n') || c == 0x7f ? '?' : c);
    }
}

static void label(struct buf *out, const char *name)
{
    buf_printf(out, "%-*s", LABEL_WIDTH, name);
}

static void line(struct buf *out, const char *name, const char *value)
{
    if (*value) {
        label(out, name);
        buf_printf(out, "%s\n", value);
    }
}

static void time_line(struct buf *out, const json_t *o, const char *name, const char *key)
{
    if (json_is_string(json_object_get(o, key))) {
        label(out, name);
        write_time(out, text_of(o, key), text_of(o, "time"));
        buf_add_str(out, "\n");
    }
}

/* ---- user */

static void amount_line(struct buf *out, const json_t *o, const char *name, bool bytes)
{
    const json_t *amount = json_object_get(o, name);
    uint64_t done = number_of(amount, "done"), total = number_of(amount, "total");

    label(out, name);
    (bytes ? ctl_write_bytes : ctl_write_number)(out, done);
    buf_add_str(out, " of ");
    (bytes ? ctl_write_bytes : ctl_write_number)(out, total);
    if (total > 0)
        buf_printf(out, " (%u %%)", (unsigned)(100.0 * (double)done / (double)total));
    if (json_object_get(amount, "verified")) {
        buf_add_str(out, ", verified ");
        ctl_write_number(out, number_of(amount, "verified"));
    }
    buf_add_str(out, "\n");
}

static void tier_line(struct buf *out, json_t *tiers)
{
    const char *name;
    json_t *n;
    const char *comma = "";

    if (json_object_size(tiers) == 0)
        return;
    label(out, "tiers");
    json_object_foreach(tiers, name, n)
    {
        buf_printf(out, "%s%s: %" JSON_INTEGER_FORMAT, comma, name, json_integer_value(n));
        comma = ", ";
    }
    buf_add_str(out, "\n");
}

static void write_user(struct buf *out, const json_t *o)
{
    line(out, "user", text_of(o, "user"));
    line(out, "backend", text_of(o, "backend"));
    label(out, "state");
    buf_add_str(out, text_of(o, "state"));
    if (json_is_true(json_object_get(o, "force")))
        buf_add_str(out, ", to be switched over without a copy");
    else if (json_is_true(json_object_get(o, "now")))
        buf_add_str(out, ", to be switched over as soon as it is copied");
    buf_add_str(out, "\n");
    line(out, "reason", text_of(o, "reason"));
    line(out, "", text_of(o, "advice"));
    if (!json_is_true(json_object_get(o, "record"))) {
        line(out, "record", "none: nothing was begun");
        return;
    }
    time_line(out, o, "waits since", "waits_since");
    time_line(out, o, "next try", "next_try");
    time_line(out, o, "deadline", "deadline");
    time_line(out, o, "flipped", "flipped");
    line(out, "held from", text_of(o, "held_from"));
    label(out, "way");
    buf_printf(out, "%s -> %s, epoch %" PRIu64 "\n", text_of(o, "source"), text_of(o, "target"),
               number_of(o, "epoch"));
    if (number_of(o, "attempts")) {
        label(out, "attempts");
        buf_printf(out, "%" PRIu64 " failed\n", number_of(o, "attempts"));
    }
    if (number_of(json_object_get(o, "mailboxes"), "total")) {
        amount_line(out, o, "mailboxes", false);
        amount_line(out, o, "messages", false);
        amount_line(out, o, "bytes", true);
        tier_line(out, json_object_get(o, "tiers"));
    }
}

/* ---- sessions, audit */

static void write_sessions(struct buf *out, const json_t *o)
{
    json_t *list = json_object_get(o, "sessions"), *s;
    size_t i;

    if (json_array_size(list) == 0)
        buf_add_str(out, "no sessions\n");
    else
        buf_printf(out, "%-9s %-12s %-22s %-28s %s\n", "MODE", "BACKEND", "ADDRESS", "SINCE", "SESSION");
    json_array_foreach(list, i, s)
    {
        struct buf since = {0};
        write_time(&since, text_of(s, "since"), text_of(o, "time"));
        buf_printf(out, "%-9s %-12s %-22s %-28s %s\n", text_of(s, "mode"), text_of(s, "backend"),
                   text_of(s, "address"), buf_str(&since), text_of(s, "session"));
        buf_free(&since);
    }
}

static void write_audit(struct buf *out, const json_t *o)
{
    json_t *list = json_object_get(o, "audit"), *e;
    size_t i;

    if (json_array_size(list) == 0)
        buf_add_str(out, "nothing\n");
    json_array_foreach(list, i, e)
    {
        buf_printf(out, "%s  %s  %s", text_of(e, "time"), text_of(e, "who"), text_of(e, "what"));
        if (*text_of(e, "user"))
            buf_printf(out, " %s", text_of(e, "user"));
        buf_printf(out, ": %s -> %s", text_of(e, "before"), text_of(e, "after"));
        if (*text_of(e, "reason"))
            buf_printf(out, " (%s)", text_of(e, "reason"));
        buf_add_str(out, "\n");
    }
}

/* ---- status */

static void count_lines(struct buf *out, const char *head, json_t *counts, const char *none)
{
    const char *name;
    json_t *n;
    bool first = true;

    json_object_foreach(counts, name, n)
    {
        label(out, first ? head : "");
        ctl_write_number(out, (uint64_t)json_integer_value(n));
        buf_printf(out, " %s\n", name);
        first = false;
    }
    if (first)
        line(out, head, none);
}

static void write_store(struct buf *out, const json_t *store)
{
    label(out, "store");
    buf_printf(out, "%s, generation %" PRIu64 "\n", text_of(store, "address"),
               number_of(store, "generation"));
    if (strcmp(text_of(store, "durability"), "good") != 0) {
        label(out, "");
        buf_printf(out, "%s: %s\n", text_of(store, "durability"), text_of(store, "detail"));
    }
    if (number_of(store, "quarantine_ms")) {
        label(out, "");
        buf_add_str(out, "quarantine after a change of master: ");
        ctl_write_duration(out, number_of(store, "quarantine_ms"));
        buf_add_str(out, " left\n");
    }
}

static void write_proxy(struct buf *out, const json_t *e, const char *now)
{
    buf_printf(out, "%s, version %s %s", text_of(e, "proxy"), text_of(e, "version"), text_of(e, "address"));
    if (json_is_true(json_object_get(e, "silent"))) {
        buf_add_str(out, ", SILENT since ");
        write_time(out, text_of(e, "renewed"), now);
    }
    buf_add_str(out, "\n");
}

static void write_members(struct buf *out, const char *head, json_t *list, bool proxies, const char *now)
{
    json_t *e;
    size_t i;

    if (json_array_size(list) == 0)
        line(out, head, "none");
    json_array_foreach(list, i, e)
    {
        label(out, i == 0 ? head : "");
        if (proxies)
            write_proxy(out, e, now);
        else
            buf_printf(out, "%s, %" PRIu64 " jobs\n", text_of(e, "migrator"), number_of(e, "jobs"));
    }
}

static void write_status(struct buf *out, const json_t *o)
{
    const json_t *jobs = json_object_get(o, "jobs");

    if (json_is_true(json_object_get(o, "paused"))) {
        label(out, "PAUSED");
        buf_printf(out, "by %s: %s, ", text_of(o, "paused_by"), text_of(o, "paused_reason"));
        write_time(out, text_of(o, "paused_since"), "");
        buf_add_str(out, "\n");
    }
    write_store(out, json_object_get(o, "store"));
    count_lines(out, "accounts", json_object_get(o, "accounts"), "none has a record yet");
    count_lines(out, "mail on", json_object_get(o, "backends"), "");
    if (!json_is_true(json_object_get(o, "counted")))
        line(out, "", "not all accounts are counted yet: a migrator does it, or imapferryctl recount");
    label(out, "jobs");
    buf_printf(out, "%" PRIu64 " of logins, %" PRIu64 " bulk, %" PRIu64 " to be tried again later\n",
               number_of(jobs, "logins"), number_of(jobs, "bulk"), number_of(jobs, "later"));
    write_members(out, "proxies", json_object_get(o, "proxies"), true, text_of(o, "time"));
    write_members(out, "migrators", json_object_get(o, "migrators"), false, "");
}

/* ---- */

void ctl_print_json(json_t *data)
{
    json_dumpf(data, stdout, JSON_INDENT(2));
    putchar('\n');
}

void ctl_print_error(bool json, const char *text, const char *hint)
{
    json_t *o = json_object();

    json_object_set_new(o, "error", json_text(span_str(text)));
    if (hint)
        json_object_set_new(o, "hint", json_string(hint));
    if (json)
        ctl_print_json(o);
    else
        fprintf(stderr, hint ? "imapferryctl: %s\n%s\n" : "imapferryctl: %s\n", text, hint);
    json_decref(o);
}

void ctl_write_wrapped(struct buf *out, const char *text, int indent)
{
    size_t column = (size_t)indent;
    bool begins = true;

    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");
        if (!begins && column + 1 + len > COLUMNS) {
            buf_printf(out, "\n%*s", indent, "");
            column = (size_t)indent;
        } else if (!begins) {
            buf_add_str(out, " ");
            column++;
        }
        buf_add(out, text, len);
        column += len;
        begins = false;
        text += len;
    }
    buf_add_str(out, "\n");
}

void ctl_print_result(const struct action *a, const struct action_result *r)
{
    struct buf out = {0};
    bool report = r->rc == ACTION_DONE || r->rc == ACTION_NO_RECORD;

    if (r->rc == ACTION_DONE && a->verb == ACTION_USER && a->report)
        ctl_write_report(&out, r->data);
    else if (report && a->verb == ACTION_USER && !a->report)
        write_user(&out, r->data);
    else if (r->rc == ACTION_DONE && a->verb == ACTION_SESSIONS)
        write_sessions(&out, r->data);
    else if (r->rc == ACTION_DONE && a->verb == ACTION_AUDIT)
        write_audit(&out, r->data);
    else if (r->rc == ACTION_DONE && a->verb == ACTION_STATUS)
        write_status(&out, r->data);
    else if (r->rc == ACTION_DONE)
        buf_printf(&out, "%s\n", r->text);
    print(&out);
    if (r->rc != ACTION_DONE && !out.len)
        fprintf(stderr, "imapferryctl: %s\n", r->text);
    buf_free(&out);
}
