#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/loop.h"

#include "ctl_print.h"

enum { COLUMNS = 79 /* of a terminal, less one */ };

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

const char *ctl_text_of(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));

    return s ? s : "";
}

uint64_t ctl_number_of(const json_t *o, const char *name)
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
void ctl_write_time(struct buf *out, const char *text, const char *now_text)
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

void ctl_print_text(const struct buf *b)
{
    for (size_t i = 0; i < b->len; i++) {
        uint8_t c = b->mem[b->off + i];
        putchar((c < ' ' && c != '\n') || c == 0x7f ? '?' : c);
    }
}

void ctl_write_label(struct buf *out, const char *name)
{
    buf_printf(out, "%-*s", CTL_LABEL_WIDTH, name);
}

void ctl_write_line(struct buf *out, const char *name, const char *value)
{
    if (*value) {
        ctl_write_label(out, name);
        buf_printf(out, "%s\n", value);
    }
}

static void time_line(struct buf *out, const json_t *o, const char *name, const char *key)
{
    if (json_is_string(json_object_get(o, key))) {
        ctl_write_label(out, name);
        ctl_write_time(out, ctl_text_of(o, key), ctl_text_of(o, "time"));
        buf_add_str(out, "\n");
    }
}

/* ---- user */

static void amount_line(struct buf *out, const json_t *o, const char *name, bool bytes)
{
    const json_t *amount = json_object_get(o, name);
    uint64_t done = ctl_number_of(amount, "done"), total = ctl_number_of(amount, "total");

    ctl_write_label(out, name);
    (bytes ? ctl_write_bytes : ctl_write_number)(out, done);
    buf_add_str(out, " of ");
    (bytes ? ctl_write_bytes : ctl_write_number)(out, total);
    if (total > 0)
        buf_printf(out, " (%u %%)", (unsigned)(100.0 * (double)done / (double)total));
    if (json_object_get(amount, "verified")) {
        buf_add_str(out, ", verified ");
        ctl_write_number(out, ctl_number_of(amount, "verified"));
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
    ctl_write_label(out, "tiers");
    json_object_foreach(tiers, name, n)
    {
        buf_printf(out, "%s%s: %" JSON_INTEGER_FORMAT, comma, name, json_integer_value(n));
        comma = ", ";
    }
    buf_add_str(out, "\n");
}

static void write_user(struct buf *out, const json_t *o)
{
    ctl_write_line(out, "user", ctl_text_of(o, "user"));
    ctl_write_line(out, "backend", ctl_text_of(o, "backend"));
    ctl_write_label(out, "state");
    buf_add_str(out, ctl_text_of(o, "state"));
    if (json_is_true(json_object_get(o, "force")))
        buf_add_str(out, ", to be switched over without a copy");
    else if (json_is_true(json_object_get(o, "now")))
        buf_add_str(out, ", to be switched over as soon as it is copied");
    buf_add_str(out, "\n");
    ctl_write_line(out, "reason", ctl_text_of(o, "reason"));
    ctl_write_line(out, "", ctl_text_of(o, "advice"));
    ctl_write_line(out, "held up", ctl_text_of(o, "held_up"));
    if (!json_is_true(json_object_get(o, "record"))) {
        ctl_write_line(out, "record", "none: nothing was begun");
        return;
    }
    time_line(out, o, "waits since", "waits_since");
    time_line(out, o, "next try", "next_try");
    time_line(out, o, "deadline", "deadline");
    time_line(out, o, "flipped", "flipped");
    ctl_write_line(out, "held from", ctl_text_of(o, "held_from"));
    ctl_write_label(out, "way");
    buf_printf(out, "%s -> %s, epoch %" PRIu64 "\n", ctl_text_of(o, "source"), ctl_text_of(o, "target"),
               ctl_number_of(o, "epoch"));
    if (ctl_number_of(o, "attempts")) {
        ctl_write_label(out, "attempts");
        buf_printf(out, "%" PRIu64 " failed\n", ctl_number_of(o, "attempts"));
    }
    if (*ctl_text_of(o, "last_failure") && strcmp(ctl_text_of(o, "last_failure"), ctl_text_of(o, "reason")) != 0)
        ctl_write_line(out, "last failed", ctl_text_of(o, "last_failure"));
    if (ctl_number_of(json_object_get(o, "mailboxes"), "total")) {
        amount_line(out, o, "mailboxes", false);
        amount_line(out, o, "messages", false);
        amount_line(out, o, "bytes", true);
        tier_line(out, json_object_get(o, "tiers"));
    }
}

/* ---- audit */

static void write_audit(struct buf *out, const json_t *o)
{
    json_t *list = json_object_get(o, "audit"), *e;
    size_t i;

    if (json_array_size(list) == 0)
        buf_add_str(out, "nothing\n");
    json_array_foreach(list, i, e)
    {
        buf_printf(out, "%s  %s  %s", ctl_text_of(e, "time"), ctl_text_of(e, "who"), ctl_text_of(e, "what"));
        if (*ctl_text_of(e, "user"))
            buf_printf(out, " %s", ctl_text_of(e, "user"));
        buf_printf(out, ": %s -> %s", ctl_text_of(e, "before"), ctl_text_of(e, "after"));
        if (*ctl_text_of(e, "reason"))
            buf_printf(out, " (%s)", ctl_text_of(e, "reason"));
        buf_add_str(out, "\n");
    }
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
        ctl_write_sessions(&out, r->data);
    else if (r->rc == ACTION_DONE && a->verb == ACTION_LIST)
        ctl_write_list(&out, r->data);
    else if (r->rc == ACTION_DONE && a->verb == ACTION_AUDIT)
        write_audit(&out, r->data);
    else if (r->rc == ACTION_DONE && a->verb == ACTION_STATUS)
        ctl_write_status(&out, r->data);
    else if (r->rc == ACTION_DONE)
        buf_printf(&out, "%s\n", r->text);
    ctl_print_text(&out);
    if (r->rc != ACTION_DONE && !out.len)
        fprintf(stderr, "imapferryctl: %s\n", r->text);
    buf_free(&out);
}
