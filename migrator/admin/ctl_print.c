#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/loop.h"
#include "lib/xalloc.h"

#include "ctl_group.h"
#include "ctl_lines.h"
#include "ctl_list.h"
#include "ctl_print.h"
#include "ctl_report.h"
#include "ctl_screen.h"
#include "ctl_status.h"
#include "ctl_summary.h"
#include "ctl_table.h"
#include "json_value.h"

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

static void wave_line(struct buf *out, const json_t *wave)
{
    const char *why = ctl_text_of(wave, "not_its_turn");

    if (!json_is_object(wave))
        return;
    ctl_write_label(out, "wave");
    buf_printf(out, "%s%s%s%s\n", ctl_text_of(wave, "name"), *why ? ": not its turn: " : "", why,
               json_is_true(json_object_get(wave, "at_login")) ? ": its next login sets it off" : "");
}

static void write_user(struct buf *out, const json_t *o)
{
    ctl_write_line(out, "user", ctl_text_of(o, "user"));
    ctl_write_line(out, "login", ctl_text_of(o, "login"));
    ctl_write_line(out, "backend", ctl_text_of(o, "backend"));
    ctl_write_label(out, "state");
    ctl_write_state(out, ctl_text_of(o, "state"));
    if (json_is_true(json_object_get(o, "force")))
        buf_add_str(out, ", to be switched over without a copy");
    else if (json_is_true(json_object_get(o, "now")))
        buf_add_str(out, ", to be switched over as soon as it is copied");
    buf_add_str(out, "\n");
    ctl_write_line(out, "reason", ctl_text_of(o, "reason"));
    ctl_write_line(out, "", ctl_text_of(o, "advice"));
    ctl_write_line(out, "held up", ctl_text_of(o, "held_up"));
    wave_line(out, json_object_get(o, "wave"));
    ctl_write_line(out, "group", ctl_text_of(o, "group"));
    if (ctl_number_of(o, "store")) {
        ctl_write_label(out, "store");
        buf_printf(out, "%" PRIu64 "\n", ctl_number_of(o, "store"));
    }
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
    if (*ctl_text_of(o, "last_failure") &&
        strcmp(ctl_text_of(o, "last_failure"), ctl_text_of(o, "reason")) != 0)
        ctl_write_line(out, "last failed", ctl_text_of(o, "last_failure"));
    if (ctl_number_of(json_object_get(o, "mailboxes"), "total")) {
        amount_line(out, o, "mailboxes", false);
        amount_line(out, o, "messages", false);
        amount_line(out, o, "bytes", true);
        tier_line(out, json_object_get(o, "tiers"));
    }
}

/* ---- audit */

/* To free. */
static char *audit_text(const json_t *e)
{
    const char *user = ctl_text_of(e, "user"), *reason = ctl_text_of(e, "reason");

    return xasprintf("%s%s%s: %s -> %s%s%s%s", ctl_text_of(e, "what"), *user ? " " : "", user,
                     ctl_text_of(e, "before"), ctl_text_of(e, "after"), *reason ? " (" : "", reason,
                     *reason ? ")" : "");
}

static void write_audit(struct buf *out, const json_t *o)
{
    struct table t = {.n_columns = 3};
    json_t *list = json_object_get(o, "audit"), *e;
    size_t i;

    if (json_array_size(list) == 0)
        buf_add_str(out, "nothing\n");
    json_array_foreach(list, i, e) table_add(
        &t, (char *[]){xstrdup(ctl_text_of(e, "time")), xstrdup(ctl_text_of(e, "who")), audit_text(e)});
    table_write(&t, out, NULL);
}

/* ---- */

/* On a terminal what is not printable is escaped: JSON lets all but C0 stand as it is. */
void ctl_print_json(json_t *data)
{
    char *text = json_dumps(data, JSON_INDENT(2));
    struct buf shown = {0};

    if (text && screen_look().terminal) {
        screen_render(&shown, span_str(text), false);
        if (strcmp(buf_str(&shown), text) != 0) {
            free(text);
            text = json_dumps(data, JSON_INDENT(2) | JSON_ENSURE_ASCII);
        }
    }
    printf("%s\n", text ? text : "{}");
    free(text);
    buf_free(&shown);
}

/* What was found may be said by a server, or be a name. */
static void ctl_print_complain(const char *text, const char *hint)
{
    struct buf said = {0}, out = {0};

    buf_printf(&said, "imapferryctl: %s\n", text);
    if (hint)
        buf_printf(&said, "%s\n", hint);
    screen_render(&out, buf_span(&said), false);
    fputs(buf_str(&out), stderr);
    buf_free(&said);
    buf_free(&out);
}

void ctl_print_text(const char *text)
{
    struct buf out = {0};
    char *line = ctl_one_line(text);

    buf_printf(&out, "%s\n", line);
    screen_print(&out);
    free(line);
    buf_free(&out);
}

void ctl_print_note(const char *fmt, ...)
{
    struct buf text = {0}, out = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    char *line = ctl_one_line(buf_str(&text));
    screen_render(&out, span_str(line), false);
    fprintf(stderr, "%s\n", buf_str(&out));
    free(line);
    buf_free(&text);
    buf_free(&out);
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
        ctl_print_complain(text, hint);
    json_decref(o);
}

/* One that was switched over, or not yet, as a whole. */
static void write_account_report(struct buf *out, const json_t *data)
{
    write_user(out, data);
    buf_add_str(out, "\n");
    if (json_is_object(json_object_get(data, "report")))
        ctl_write_report(out, data);
    else
        buf_add_str(out, "no pass over the account has ended yet\n");
    if (json_array_size(json_object_get(data, "audit")) > 0) {
        buf_add_str(out, "\n");
        write_audit(out, data);
    }
}

void ctl_print_result(const struct action *a, const char *columns, const struct action_result *r)
{
    struct buf out = {0};
    json_t *data = ctl_one_line_each(r->data);
    char *text = ctl_one_line(r->text);
    bool report = r->rc == ACTION_DONE || r->rc == ACTION_NO_RECORD;

    if (r->rc == ACTION_DONE && a->verb == ACTION_USER && a->report)
        ctl_write_report(&out, data);
    else if (report && a->verb == ACTION_USER && !a->report)
        write_user(&out, data);
    else if (r->rc == ACTION_DONE && a->verb == ACTION_SESSIONS)
        ctl_write_sessions(&out, data);
    else if (r->rc == ACTION_DONE && a->verb == ACTION_REPORT && a->login)
        write_account_report(&out, data);
    else if (r->rc == ACTION_DONE && a->verb == ACTION_REPORT)
        ctl_write_summary(&out, data);
    else if (r->rc == ACTION_DONE && a->verb == ACTION_LIST)
        ctl_write_list(&out, data, columns);
    else if (r->rc == ACTION_DONE && a->verb == ACTION_SHARING)
        ctl_write_sharing(&out, data);
    else if (r->rc == ACTION_DONE && a->verb == ACTION_SHARING_LIST)
        ctl_write_sharings(&out, data);
    else if (r->rc == ACTION_DONE && a->verb == ACTION_AUDIT)
        write_audit(&out, data);
    else if ((r->rc == ACTION_DONE || r->rc == ACTION_REFUSED) &&
             (a->verb == ACTION_RETIRE || a->verb == ACTION_DIRECT))
        ctl_write_lines(&out, json_object_get(data, "checks"), text);
    else if (r->rc == ACTION_DONE && a->verb == ACTION_STATUS)
        ctl_write_status(&out, data);
    else if (r->rc == ACTION_DONE)
        buf_printf(&out, "%s\n", text);
    screen_print(&out);
    if (r->rc != ACTION_DONE && !out.len)
        ctl_print_complain(text, NULL);
    buf_free(&out);
    json_decref(data);
    free(text);
}
