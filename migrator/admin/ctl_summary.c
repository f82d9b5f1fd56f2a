#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "ctl_report.h"
#include "ctl_summary.h"
#include "ctl_table.h"
#include "ctl_text.h"

enum {
    SUMMARY_ROWS = 30 /* of domains and rules */,
    SUMMARY_GROUPS = 30,
    SUMMARY_MEMBERS = 8,
};

/* To free. */
static char *summary_number(uint64_t n)
{
    struct buf text = {0};

    ctl_write_number(&text, n);
    char *s = xstrdup(buf_str(&text));
    buf_free(&text);
    return s;
}

static void summary_write_percent(struct buf *out, uint64_t part, uint64_t whole)
{
    if (whole > 0)
        buf_printf(out, " (%.1f %%)", 100.0 * (double)part / (double)whole);
}

static void summary_write_scope(struct buf *out, const json_t *data)
{
    json_t *scope = json_object_get(data, "scope"), *value;
    const char *name;

    buf_add_str(out, STYLE_BOLD);
    if (json_object_size(scope) == 0)
        buf_add_str(out, "all accounts with a record");
    else
        buf_add_str(out, "accounts with");
    json_object_foreach(scope, name, value) buf_printf(out, " %s %s", name, json_string_value(value));
    buf_printf(out, STYLE_OFF ", at %s\n\n", ctl_text_of(data, "time"));
}

static void summary_write_moved(struct buf *out, const json_t *data)
{
    const json_t *moved = json_object_get(data, "moved");
    uint64_t all = ctl_number_of(data, "accounts"), n = ctl_number_of(moved, "accounts");

    ctl_write_label(out, "accounts");
    ctl_write_number(out, all);
    buf_add_str(out, ", moved ");
    ctl_write_number(out, n);
    summary_write_percent(out, n, all);
    if (*ctl_text_of(moved, "first"))
        buf_printf(out, ", from %s to %s", ctl_text_of(moved, "first"), ctl_text_of(moved, "last"));
    buf_add_str(out, "\n");
}

static void summary_write_counts(struct buf *out, const char *label, json_t *counts, bool states)
{
    struct table t = {.n_columns = 2, .right = {true}};
    const char *name;
    json_t *n;

    json_object_foreach(counts, name, n)
    {
        struct buf text = {0};
        if (states)
            ctl_write_state(&text, name);
        else
            buf_add_str(&text, name);
        table_add(&t, (char *[]){summary_number((uint64_t)json_integer_value(n)), xstrdup(buf_str(&text))});
        buf_free(&text);
    }
    table_write(&t, out, label);
}

static void summary_write_amount(struct buf *out, const json_t *data, const char *name)
{
    const json_t *amount = json_object_get(data, name);
    uint64_t done = ctl_number_of(amount, "done"), total = ctl_number_of(amount, "total");
    bool bytes = !strcmp(name, "bytes");

    ctl_write_label(out, name);
    (bytes ? ctl_write_bytes : ctl_write_number)(out, done);
    buf_add_str(out, " of ");
    (bytes ? ctl_write_bytes : ctl_write_number)(out, total);
    summary_write_percent(out, done, total);
    if (json_object_get(amount, "verified")) {
        buf_add_str(out, ", read back and compared ");
        ctl_write_number(out, ctl_number_of(amount, "verified"));
    }
    buf_add_str(out, "\n");
}

static void summary_write_tiers(struct buf *out, const json_t *data)
{
    json_t *tiers = json_object_get(data, "tiers"), *n;
    const char *name, *comma = "";

    if (json_object_size(tiers) == 0)
        return;
    ctl_write_label(out, "tiers");
    json_object_foreach(tiers, name, n)
    {
        buf_printf(out, "%s%s: ", comma, name);
        ctl_write_number(out, (uint64_t)json_integer_value(n));
        comma = ", ";
    }
    buf_add_str(out, "\n");
}

static void summary_write_waived(struct buf *out, const json_t *data)
{
    const json_t *waived = json_object_get(data, "waived");

    if (ctl_number_of(waived, "findings") == 0)
        return;
    ctl_write_label(out, "waived");
    ctl_write_number(out, ctl_number_of(waived, "findings"));
    buf_add_str(out, " findings of ");
    ctl_write_number(out, ctl_number_of(waived, "accounts"));
    buf_add_str(out, " accounts\n");
}

/* To free. */
static char *summary_examples(const json_t *reason)
{
    json_t *list = json_object_get(reason, "examples"), *name;
    struct buf text = {0};
    size_t i;

    json_array_foreach(list, i, name) buf_printf(&text, "%s%s", i ? " " : "", json_string_value(name));
    char *s = xstrdup(buf_str(&text));
    buf_free(&text);
    return s;
}

static void summary_write_reasons(struct buf *out, const json_t *data)
{
    json_t *list = json_object_get(data, "reasons"), *o;
    struct table t = {.n_columns = 4, .right = {true}, .head = true};
    size_t i;

    if (json_array_size(list) == 0)
        return;
    table_add(&t, (char *[]){xstrdup("ACCOUNTS"), xstrdup("STATE"), xstrdup("REASON"), xstrdup("SUCH AS")});
    json_array_foreach(list, i, o)
    {
        struct buf state = {0};
        ctl_write_state(&state, ctl_text_of(o, "state"));
        table_add(&t, (char *[]){summary_number(ctl_number_of(o, "accounts")), xstrdup(buf_str(&state)),
                                 xstrdup(ctl_text_of(o, "reason")), summary_examples(o)});
        buf_free(&state);
    }
    buf_add_str(out, "\n");
    table_write(&t, out, NULL);
}

struct summary_name {
    const char *name;
    uint64_t accounts, moved;
};

static int summary_compare_names(const void *a, const void *b)
{
    const struct summary_name *x = a, *y = b;

    return x->accounts < y->accounts ? 1 : x->accounts > y->accounts ? -1 : strcmp(x->name, y->name);
}

/* The largest first; nothing where there is only one. */
static void summary_write_names(struct buf *out, const json_t *data, const char *what, const char *head)
{
    json_t *names = json_object_get(data, what), *o;
    struct table t = {.n_columns = 4, .right = {false, true, true, true}, .head = true};
    size_t n = 0, all = json_object_size(names);
    struct summary_name *rows = xcalloc(all + 1, sizeof(*rows));
    const char *name;

    json_object_foreach(names, name, o) rows[n++] =
        (struct summary_name){name, ctl_number_of(o, "accounts"), ctl_number_of(o, "moved")};
    qsort(rows, n, sizeof(*rows), summary_compare_names);
    if (n > 1)
        table_add(&t, (char *[]){xstrdup(head), xstrdup("ACCOUNTS"), xstrdup("MOVED"), xstrdup("SHARE")});
    for (size_t i = 0; n > 1 && i < n && i < SUMMARY_ROWS; i++) {
        char *share = xasprintf("%.1f %%", 100.0 * (double)rows[i].moved / (double)rows[i].accounts);
        table_add(&t, (char *[]){xstrdup(*rows[i].name ? rows[i].name : "(others)"),
                                 summary_number(rows[i].accounts), summary_number(rows[i].moved), share});
    }
    if (n > 1)
        buf_add_str(out, "\n");
    table_write(&t, out, NULL);
    if (n > SUMMARY_ROWS)
        buf_printf(out, "and %zu more\n", n - SUMMARY_ROWS);
    free(rows);
}

void ctl_write_summary(struct buf *out, const json_t *data)
{
    summary_write_scope(out, data);
    if (ctl_number_of(data, "accounts") == 0) {
        buf_add_str(out, "no such accounts\n");
        return;
    }
    summary_write_moved(out, data);
    summary_write_counts(out, "state", json_object_get(data, "states"), true);
    summary_write_counts(out, "mail on", json_object_get(data, "backends"), false);
    summary_write_amount(out, data, "mailboxes");
    summary_write_amount(out, data, "messages");
    summary_write_amount(out, data, "bytes");
    summary_write_tiers(out, data);
    summary_write_waived(out, data);
    summary_write_reasons(out, data);
    summary_write_names(out, data, "rules", "RULE");
    summary_write_names(out, data, "domains", "DOMAIN");
}

/* ---- a survey */

static void survey_write_findings(struct buf *out, const json_t *data)
{
    json_t *list = json_object_get(data, "findings"), *o;
    struct table t = {.n_columns = 5, .right = {true, true}, .head = true};
    size_t i;

    if (json_array_size(list) == 0)
        return;
    table_add(&t, (char *[]){xstrdup("ACCOUNTS"), xstrdup("FINDINGS"), xstrdup("KIND"), xstrdup("SUCH AS"),
                             xstrdup("WHAT")});
    json_array_foreach(list, i, o)
    {
        bool blocks = json_is_true(json_object_get(o, "blocks"));
        table_add(&t, (char *[]){summary_number(ctl_number_of(o, "accounts")),
                                 summary_number(ctl_number_of(o, "findings")),
                                 xasprintf("%s%s%s", blocks ? STYLE_RED : "", ctl_text_of(o, "kind"),
                                           blocks ? STYLE_OFF : ""),
                                 summary_examples(o),
                                 xasprintf("%s%s", blocks ? "blocks: " : "", ctl_text_of(o, "text"))});
    }
    buf_add_str(out, "\n");
    table_write(&t, out, NULL);
}

static void survey_write_failed(struct buf *out, const json_t *data)
{
    json_t *list = json_object_get(data, "failed"), *o;
    struct table t = {.n_columns = 3, .right = {true}, .head = true};
    size_t i;

    if (json_array_size(list) == 0)
        return;
    table_add(&t, (char *[]){xstrdup("ACCOUNTS"), xstrdup("SUCH AS"), xstrdup("COULD NOT BE PLANNED")});
    json_array_foreach(list, i, o)
        table_add(&t, (char *[]){summary_number(ctl_number_of(o, "accounts")), summary_examples(o),
                                 xstrdup(ctl_text_of(o, "error"))});
    buf_add_str(out, "\n");
    table_write(&t, out, NULL);
}

static void survey_write_sizes(struct buf *out, const json_t *data)
{
    static const char *const names[] = {"accounts", "blocked", "mailboxes", "messages", "bytes"};

    for (size_t i = 0; i < COUNTOF(names); i++) {
        ctl_write_label(out, names[i]);
        (strcmp(names[i], "bytes") ? ctl_write_number : ctl_write_bytes)(out, ctl_number_of(data, names[i]));
        buf_add_str(out, "\n");
    }
}

/* ---- who shares, in a survey */

/* The first of a list of names, or of objects with one; to free. */
static char *survey_names(json_t *list, const char *key)
{
    struct buf text = {0};
    size_t n = json_array_size(list);

    for (size_t i = 0; i < n && i < SUMMARY_MEMBERS; i++) {
        const json_t *o = json_array_get(list, i);
        buf_printf(&text, "%s%s", i ? ", " : "", key ? ctl_text_of(o, key) : json_string_value(o));
    }
    if (n > SUMMARY_MEMBERS)
        buf_printf(&text, " and %zu more", n - SUMMARY_MEMBERS);
    char *s = xstrdup(buf_str(&text));
    buf_free(&text);
    return s;
}

static char *survey_bytes(uint64_t n)
{
    struct buf text = {0};

    ctl_write_bytes(&text, n);
    char *s = xstrdup(buf_str(&text));
    buf_free(&text);
    return s;
}

void ctl_write_large(struct buf *out, const json_t *group, uint64_t limit)
{
    json_t *without = json_object_get(group, "without");
    uint64_t n = ctl_number_of(group, "accounts"), rest = ctl_number_of(group, "rest");
    const char *first = ctl_text_of(json_array_get(json_object_get(group, "members"), 0), "user");
    char *names = survey_names(without, NULL);

    buf_printf(out,
               "the group of %s: %" PRIu64 " accounts are more than group_max = %" PRIu64
               ". Raise it, or move %zu by themselves (%s): the others fall into groups of at most %" PRIu64
               "%s",
               first, n, limit, json_array_size(without), names, rest,
               rest > limit ? ", which is still too many" : "");
    free(names);
}

static void survey_write_groups(struct buf *out, const json_t *sharing)
{
    json_t *groups = json_object_get(sharing, "groups"), *g;
    struct table t = {.n_columns = 4, .right = {true, true, true}, .head = true};
    size_t i, n = json_array_size(groups);

    table_add(&t, (char *[]){xstrdup("ACCOUNTS"), xstrdup("SURVEYED"), xstrdup("BYTES"),
                             xstrdup("SHARE MAILBOXES, SO THEY MOVE IN THE SAME HOUR")});
    json_array_foreach(groups, i, g)
    {
        bool large = json_is_true(json_object_get(g, "too_large"));
        char *names = survey_names(json_object_get(g, "members"), "user");
        if (i < SUMMARY_GROUPS)
            table_add(
                &t, (char *[]){summary_number(ctl_number_of(g, "accounts")),
                               summary_number(ctl_number_of(g, "surveyed")),
                               survey_bytes(ctl_number_of(g, "bytes")),
                               xasprintf("%s%s", large ? STYLE_RED "too large" STYLE_OFF ": " : "", names)});
        free(names);
    }
    table_write(&t, out, NULL);
    if (n > SUMMARY_GROUPS)
        buf_printf(out, "and %zu more groups: --json and --format csv have all of them\n",
                   n - SUMMARY_GROUPS);
    json_array_foreach(groups, i, g)
    {
        if (i >= SUMMARY_GROUPS || !json_is_true(json_object_get(g, "too_large")))
            continue;
        buf_add_str(out, "  ");
        ctl_write_large(out, g, ctl_number_of(sharing, "group_max"));
        buf_add_str(out, "\n");
    }
}

/* To free. */
static char *survey_apart_text(const char *with, const char *who)
{
    struct buf text = {0};

    if (!strcmp(with, "everybody")) {
        buf_add_str(&text, "everybody: whoever uses it is not told");
    } else if (!strcmp(with, "group")) {
        buf_add_str(&text, "a group or a name of the server's: who that is, is not told");
    } else {
        buf_add_str(&text, "a namespace of nobody's: ");
        ctl_write_exclude(&text, who);
        buf_add_str(&text, ", or move it by other means");
    }
    char *owned = xstrdup(buf_str(&text));
    buf_free(&text);
    return owned;
}

static void survey_write_apart(struct buf *out, json_t *list)
{
    struct table t = {.n_columns = 4, .right = {true}, .head = true};
    json_t *o;
    size_t i;

    table_add(&t,
              (char *[]){xstrdup("ACCOUNTS"), xstrdup("SHARED WITH"), xstrdup("SUCH AS"), xstrdup("WHAT")});
    json_array_foreach(list, i, o)
        table_add(&t, (char *[]){summary_number(ctl_number_of(o, "accounts")), xstrdup(ctl_text_of(o, "who")),
                                 summary_examples(o),
                                 survey_apart_text(ctl_text_of(o, "with"), ctl_text_of(o, "who"))});
    table_write(&t, out, NULL);
}

static void survey_write_sharing(struct buf *out, const json_t *sharing)
{
    if (json_array_size(json_object_get(sharing, "groups")) > 0) {
        buf_add_str(out, "\n");
        survey_write_groups(out, sharing);
    }
    if (json_array_size(json_object_get(sharing, "apart")) > 0) {
        buf_add_str(out, "\n");
        survey_write_apart(out, json_object_get(sharing, "apart"));
    }
}

void ctl_write_survey(struct buf *out, const json_t *data)
{
    survey_write_sizes(out, data);
    summary_write_tiers(out, data);
    ctl_write_label(out, "time");
    if (ctl_number_of(data, "rate")) {
        buf_printf(out, "%.1f hours, at the ", json_real_value(json_object_get(data, "hours")));
        ctl_write_bytes(out, ctl_number_of(data, "rate"));
        buf_add_str(out, "/s that migrators have copied so far\n");
    } else {
        buf_add_str(out, "not known: nothing was copied yet by which it could be measured\n");
    }
    survey_write_findings(out, data);
    survey_write_sharing(out, json_object_get(data, "sharing"));
    survey_write_failed(out, data);
}
