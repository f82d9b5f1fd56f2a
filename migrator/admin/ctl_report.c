/* The report of `user NAME --report`, for people. */
#include <inttypes.h>

#include "ctl_report.h"
#include "ctl_screen.h"
#include "ctl_text.h"

/* "1,200 messages, 3.4 MiB; compared: 1,190 by bytes, 10 not" */
static void write_numbers(struct buf *out, const json_t *o)
{
    static const char *const how[][2] = {
        {"bytes", "by bytes"}, {"headers", "by header and size"}, {"listing", "by size only"}};
    const json_t *compared = json_object_get(o, "compared");
    uint64_t messages = ctl_number_of(o, "messages"), left = messages;
    const char *comma = " ";

    ctl_write_number(out, messages);
    buf_add_str(out, messages == 1 ? " message, " : " messages, ");
    ctl_write_bytes(out, ctl_number_of(o, "bytes"));
    buf_add_str(out, "; compared:");
    for (size_t i = 0; i < COUNTOF(how); i++) {
        uint64_t n = ctl_number_of(compared, how[i][0]);
        if (n == 0)
            continue;
        buf_add_str(out, comma);
        ctl_write_number(out, n);
        buf_printf(out, " %s", how[i][1]);
        left -= n < left ? n : left;
        comma = ", ";
    }
    if (left > 0 || messages == 0) {
        buf_add_str(out, comma);
        ctl_write_number(out, left);
        buf_add_str(out, messages ? " not" : "");
    }
    if (ctl_number_of(o, "zones_changed")) {
        buf_add_str(out, "; time zone changed: ");
        ctl_write_number(out, ctl_number_of(o, "zones_changed"));
    }
    if (ctl_number_of(o, "foreign")) {
        buf_add_str(out, "; the new server's own: ");
        ctl_write_number(out, ctl_number_of(o, "foreign"));
    }
    buf_add_str(out, "\n");
}

static void write_finding(struct buf *out, const json_t *f)
{
    const char *mark = json_is_true(json_object_get(f, "waived"))   ? STYLE_DIM "waived" STYLE_OFF " "
                       : json_is_true(json_object_get(f, "blocks")) ? STYLE_RED "BLOCKS" STYLE_OFF " "
                                                                    : "";

    buf_printf(out, "    %s%s", mark, ctl_text_of(f, "kind"));
    if (*ctl_text_of(f, "mailbox")) /* one that was not copied, so that it is not listed by itself */
        buf_printf(out, " \"%s\"", ctl_text_of(f, "mailbox"));
    if (ctl_number_of(f, "uid"))
        buf_printf(out, " UID %" PRIu64, ctl_number_of(f, "uid"));
    buf_printf(out, ": %s\n", ctl_text_of(f, "detail"));
}

static void write_findings(struct buf *out, json_t *list, uint64_t more)
{
    json_t *f;
    size_t i;

    json_array_foreach(list, i, f) write_finding(out, f);
    if (more > 0) {
        buf_add_str(out, "    and ");
        ctl_write_number(out, more);
        buf_add_str(out, " more\n");
    }
}

static void write_mailboxes(struct buf *out, const json_t *report)
{
    json_t *list = json_object_get(report, "mailboxes"), *m;
    size_t i;

    json_array_foreach(list, i, m)
    {
        buf_printf(out, "  \"%s\"", ctl_text_of(m, "name"));
        if (strcmp(ctl_text_of(m, "name"), ctl_text_of(m, "target")) != 0)
            buf_printf(out, " -> \"%s\"", ctl_text_of(m, "target"));
        if (json_is_true(json_object_get(m, "looked_at"))) {
            buf_add_str(out, ": ");
            write_numbers(out, m);
        } else {
            buf_add_str(out, ": not compared\n");
        }
        if (*ctl_text_of(m, "tier_why"))
            buf_printf(out, "    %s: %s\n", ctl_text_of(m, "tier"), ctl_text_of(m, "tier_why"));
        write_findings(out, json_object_get(m, "findings"), ctl_number_of(m, "more_findings"));
    }
    if (ctl_number_of(report, "more_mailboxes"))
        buf_printf(out, "  and %" PRIu64 " more mailboxes\n", ctl_number_of(report, "more_mailboxes"));
}

static void ctl_report_write_kinds(struct buf *out, json_t *kinds)
{
    const char *word;
    json_t *k;

    json_object_foreach(kinds, word, k)
    {
        buf_printf(out, "  %s: ", word);
        ctl_write_number(out, ctl_number_of(k, "open"));
        buf_add_str(out, json_is_true(json_object_get(k, "blocks")) ? " that block" : "");
        if (ctl_number_of(k, "waived")) {
            buf_add_str(out, ", ");
            ctl_write_number(out, ctl_number_of(k, "waived"));
            buf_add_str(out, " waived");
        }
        buf_printf(out, " (%s)\n", ctl_text_of(k, "text"));
    }
}

static void write_waivers(struct buf *out, json_t *list)
{
    json_t *w;
    size_t i;

    if (json_array_size(list) > 0)
        buf_add_str(out, "waived by staff\n");
    json_array_foreach(list, i, w)
        buf_printf(out, "  %s  %s  %s (%s)\n", ctl_text_of(w, "key"), ctl_text_of(w, "when"),
                   ctl_text_of(w, "who"), ctl_text_of(w, "why"));
}

/* The separator at the end of a namespace is not part of the pattern, which means all below (view_pattern.h). */
void ctl_write_exclude(struct buf *out, const char *space)
{
    size_t n = strlen(space);

    n -= n > 1 && strchr("/.\\:^|~", space[n - 1]);
    buf_add_str(out, "exclude = {\"");
    for (size_t i = 0; i < n; i++)
        buf_printf(out, strchr("%*=\\\"", space[i]) ? "\\%c" : "%c", space[i]);
    buf_add_str(out, "\"}");
}

/* "gives ann@example.org lrs on 2 mailboxes, such as "Work"" */
void ctl_write_shares(struct buf *out, json_t *shares)
{
    size_t i;
    json_t *s;

    if (json_array_size(shares) > 0)
        buf_add_str(out, "\nshared with others:\n");
    json_array_foreach(shares, i, s)
    {
        bool gives = json_is_true(json_object_get(s, "gives"));
        uint64_t n = ctl_number_of(s, "mailboxes");
        const char *other = ctl_text_of(s, "or");
        buf_printf(out, "  %s %s%s%s%s%s%s%s%s", gives ? "gives" : "is shown what belongs to",
                   strcmp(ctl_text_of(s, "with"), "nobody") ? "" : "nobody: ", ctl_text_of(s, "who"),
                   *other ? " (or " : "", other, *other ? ")" : "", gives ? " the rights " : "",
                   ctl_text_of(s, "rights"), gives ? " on" : ":");
        if (n > 1)
            buf_printf(out, " %" PRIu64 " mailboxes, such as", n);
        buf_printf(out, " \"%s\"", ctl_text_of(s, "such_as"));
        if (!strcmp(ctl_text_of(s, "with"), "nobody")) {
            buf_add_str(out, "; ");
            ctl_write_exclude(out, ctl_text_of(s, "who"));
            buf_add_str(out, " leaves it where it is");
        }
        buf_add_str(out, "\n");
    }
}

void ctl_write_report(struct buf *out, const json_t *o)
{
    const json_t *r = json_object_get(o, "report");

    if (json_is_object(r)) {
        buf_printf(out, "%s  %s -> %s at %s, verify = %s\n", ctl_text_of(o, "user"), ctl_text_of(r, "source"),
                   ctl_text_of(r, "target"), ctl_text_of(r, "time"), ctl_text_of(r, "verify"));
        buf_printf(out, "result: %s", ctl_text_of(r, "result"));
        buf_printf(out, *ctl_text_of(r, "reason") ? ": %s\n" : "%s\n", ctl_text_of(r, "reason"));
        write_numbers(out, r);
        ctl_report_write_kinds(out, json_object_get(r, "findings"));
        write_findings(out, json_object_get(r, "account"), 0);
        ctl_write_shares(out, json_object_get(r, "shares"));
        write_mailboxes(out, r);
    } else {
        buf_printf(out, "%s  %s\n", ctl_text_of(o, "user"), ctl_text_of(o, "message"));
    }
    write_waivers(out, json_object_get(o, "waivers"));
}
