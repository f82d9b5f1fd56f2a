#include <stdlib.h>
#include <time.h>

#include <jansson.h>

#include "lib/imap_write.h"
#include "lib/mutf7.h"
#include "lib/xalloc.h"

#include "report.h"

enum { REPORT_SHARES = 200 };

static json_t *report_number(uint64_t n)
{
    return json_integer((json_int_t)(n < INT64_MAX ? n : INT64_MAX));
}

/* A string that may hold any byte. */
static json_t *report_text(const char *s)
{
    json_t *j = json_string(s);
    struct buf plain = {0};

    if (j)
        return j;
    imap_write_text(&plain, span_str(s));
    j = json_string(buf_str(&plain));
    buf_free(&plain);
    return j;
}

/* Controls and marks of direction: C0, DEL, C1, U+061C, U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069. */
static bool report_is_odd(const uint8_t *p)
{
    return p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xd8 && p[1] == 0x9c) ||
           (p[0] == 0xe2 && p[1] == 0x80 &&
            (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae))) ||
           (p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
}

/* Can it be shown, and typed again for what it is? A key of waiver.h is taken for modified UTF-7 where it is that. */
static bool report_is_plain(const char *shown, const char *wire)
{
    struct buf other = {0};
    bool plain = !strcmp(shown, wire) || !mutf7_to_utf8(&other, span_str(shown));

    for (; plain && *shown; shown++)
        plain = !report_is_odd((const uint8_t *)shown);
    buf_free(&other);
    return plain;
}

/* As people and clients spell it; in modified UTF-7 where a person would take it for another name, or for two: names come from
 * users, and a line feed in one would end the line of a list of keys. */
static json_t *mailbox_name(const char *wire)
{
    struct buf utf8 = {0}, seven = {0};
    bool is_seven = mutf7_to_utf8(&utf8, span_str(wire));
    const char *shown = is_seven ? buf_str(&utf8) : wire;

    if (!report_is_plain(shown, wire))
        shown = is_seven || !mutf7_from_utf8(&seven, span_str(wire)) ? wire : buf_str(&seven);
    json_t *j = report_text(shown);
    buf_free(&utf8);
    buf_free(&seven);
    return j;
}

static json_t *report_time_text(uint64_t ms)
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    char out[32];

    gmtime_r(&t, &tm);
    strftime(out, sizeof(out), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(out);
}

static void report_set(json_t *o, const char *name, json_t *value)
{
    json_object_set_new(o, name, value);
}

static bool is_waivable(const struct finding *f)
{
    return *f->mailbox ? finding_is_waivable_in_one(f->kind) : finding_is_waivable(f->kind);
}

static void set_key(json_t *o, const struct finding *f)
{
    json_t *name = mailbox_name(f->mailbox);
    char *key;

    if (f->uid)
        key = xasprintf("%s:%u", json_string_value(name), f->uid);
    else if (*f->mailbox)
        key = xasprintf("%s:%s", json_string_value(name), finding_word(f->kind));
    else
        key = xstrdup(finding_word(f->kind));
    if (finding_class(f->kind) == FINDING_BLOCKS && (f->uid || is_waivable(f)))
        report_set(o, "key", report_text(key));
    free(key);
    json_decref(name);
}

static json_t *report_finding(const struct finding *f)
{
    json_t *o = json_object();

    report_set(o, "kind", json_string(finding_word(f->kind)));
    if (f->uid)
        report_set(o, "uid", report_number(f->uid));
    report_set(o, "blocks", json_boolean(finding_class(f->kind) == FINDING_BLOCKS && !f->waived));
    report_set(o, "waived", json_boolean(f->waived));
    report_set(o, "detail", report_text(f->detail));
    set_key(o, f);
    return o;
}

static json_t *report_compared(const struct copy_counts *c)
{
    json_t *o = json_object();

    report_set(o, "bytes", report_number(c->compared_bytes));
    report_set(o, "headers", report_number(c->compared_headers));
    report_set(o, "listing", report_number(c->compared_listing));
    return o;
}

static void set_numbers(json_t *o, const struct copy_counts *c)
{
    report_set(o, "messages", report_number(c->messages_total));
    report_set(o, "bytes", report_number(c->bytes_total));
    report_set(o, "compared", report_compared(c));
    report_set(o, "zones_changed", report_number(c->zones_changed));
    report_set(o, "foreign", report_number(c->foreign));
}

/* Zones have a number of their own and no names. */
static bool is_a_zone(enum finding_kind k)
{
    return k == FINDING_ZONE;
}

static json_t *named_of(const struct findings *f, uint64_t *more)
{
    json_t *list = json_array();
    size_t n;
    const struct finding *named = findings_named(f, &n);

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, report_finding(&named[i]));
    *more = findings_total(f) - findings_of(f, FINDING_ZONE) - n;
    return list;
}

static json_t *report_of_mailbox(const struct report_mailbox *m)
{
    json_t *o = json_object();
    uint64_t more = 0;

    report_set(o, "name", mailbox_name(m->source_name));
    report_set(o, "target", mailbox_name(m->target_name));
    if (m->uidvalidity)
        report_set(o, "uidvalidity", report_number(m->uidvalidity));
    report_set(o, "tier", json_string(view_tier_text(m->tier)));
    if (m->tier_why && *m->tier_why)
        report_set(o, "tier_why", report_text(m->tier_why));
    if (m->modseqs)
        report_set(o, "modseqs", json_string(m->modseqs));
    report_set(o, "looked_at", json_boolean(m->looked));
    set_numbers(o, m->counts);
    report_set(o, "findings", m->findings ? named_of(m->findings, &more) : json_array());
    report_set(o, "more_findings", report_number(more));
    return o;
}

static json_t *report_kinds(const struct findings *f)
{
    json_t *o = json_object();

    for (size_t i = 0; i < FINDING_KINDS; i++) {
        enum finding_kind k = (enum finding_kind)i;
        if (findings_of(f, k) == 0 || is_a_zone(k))
            continue;
        json_t *row = json_object();
        report_set(row, "open", report_number(findings_of(f, k) - findings_waived(f, k)));
        report_set(row, "waived", report_number(findings_waived(f, k)));
        report_set(row, "blocks", json_boolean(finding_class(k) == FINDING_BLOCKS));
        report_set(row, "text", json_string(finding_text(k)));
        report_set(o, finding_word(k), row);
    }
    return o;
}

/* Is it a finding of the copy of a mailbox, which is listed with that? */
static bool is_of_a_copy(const struct report *r, const struct finding *f)
{
    size_t i = 0, n = 0;

    while (i < r->n && strcmp(r->mailboxes[i].source_name, f->mailbox) != 0)
        i++;
    const struct finding *own =
        i < r->n && r->mailboxes[i].findings ? findings_named(r->mailboxes[i].findings, &n) : NULL;
    for (size_t j = 0; j < n; j++)
        if (own[j].kind == f->kind && own[j].uid == f->uid)
            return true;
    return false;
}

/* And of mailboxes that are not copied, since the target does not make them or they are its own. */
static json_t *of_the_account(const struct report *r)
{
    json_t *list = json_array();
    size_t n;
    const struct finding *named = findings_named(r->all, &n);

    for (size_t i = 0; i < n; i++) {
        if (is_of_a_copy(r, &named[i]))
            continue;
        json_t *o = report_finding(&named[i]);
        if (*named[i].mailbox)
            report_set(o, "mailbox", mailbox_name(named[i].mailbox));
        json_array_append_new(list, o);
    }
    return list;
}

static uint64_t report_weight(const struct report_mailbox *m)
{
    if (!m->findings)
        return 0;
    return findings_open(m->findings) ? 2
                                      : findings_total(m->findings) > findings_of(m->findings, FINDING_ZONE);
}

static int report_compare_mailboxes(const void *a, const void *b)
{
    const struct report_mailbox *x = a, *y = b;

    if (report_weight(x) != report_weight(y))
        return report_weight(x) < report_weight(y) ? 1 : -1;
    return strcmp(x->source_name, y->source_name);
}

static struct copy_counts report_sum(const struct report *r)
{
    struct copy_counts s = {0};

    for (size_t i = 0; i < r->n; i++) {
        const struct copy_counts *c = r->mailboxes[i].counts;
        s.messages_total += c->messages_total;
        s.bytes_total += c->bytes_total;
        s.compared_bytes += c->compared_bytes;
        s.compared_headers += c->compared_headers;
        s.compared_listing += c->compared_listing;
        s.zones_changed += c->zones_changed;
        s.foreign += c->foreign;
    }
    return s;
}

static void set_mailboxes(json_t *o, struct report *r)
{
    json_t *list = json_array();
    size_t bytes = 0, i;

    if (r->n > 1)
        qsort(r->mailboxes, r->n, sizeof(*r->mailboxes), report_compare_mailboxes);
    for (i = 0; i < r->n && bytes < REPORT_MAX; i++) {
        json_t *m = report_of_mailbox(&r->mailboxes[i]);
        bytes += json_dumpb(m, NULL, 0, JSON_COMPACT);
        json_array_append_new(list, m);
    }
    report_set(o, "mailboxes", list);
    report_set(o, "more_mailboxes", report_number(r->n - i));
}

/* ---- with whom it shares */

static json_t *report_share(const struct share *s)
{
    json_t *o = json_object();

    report_set(o, "with", json_string(share_word(s->kind)));
    report_set(o, "who", report_text(s->who));
    if (s->other)
        report_set(o, "or", report_text(s->other));
    report_set(o, "gives", json_boolean(s->gives));
    report_set(o, "mailboxes", report_number(s->mailboxes));
    report_set(o, "such_as", mailbox_name(s->such_as));
    report_set(o, "rights", json_string(s->letters));
    return o;
}

static void set_shares(json_t *o, const struct shares *all)
{
    json_t *list = json_array();

    for (size_t i = 0; all && i < all->n && i < REPORT_SHARES; i++)
        json_array_append_new(list, report_share(&all->items[i]));
    report_set(o, "shares", list);
    if (all && all->n > REPORT_SHARES)
        report_set(o, "more_shares", report_number(all->n - REPORT_SHARES));
}

void report_write(struct buf *out, struct report *r)
{
    struct copy_counts s = report_sum(r);
    json_t *o = json_object();

    report_set(o, "time", report_time_text(r->time_ms));
    report_set(o, "source", report_text(r->source));
    report_set(o, "target", report_text(r->target));
    report_set(o, "verify", report_text(r->verify));
    report_set(o, "result", report_text(r->result));
    report_set(o, "reason", report_text(r->reason));
    report_set(o, "last", json_boolean(r->last));
    set_numbers(o, &s);
    report_set(o, "findings", report_kinds(r->all));
    report_set(o, "account", of_the_account(r));
    set_shares(o, r->shares);
    set_mailboxes(o, r);
    char *dump = json_dumps(o, JSON_COMPACT);
    buf_add_str(out, dump);
    free(dump);
    json_decref(o);
}

void report_free(struct report *r)
{
    free(r->mailboxes);
    *r = (struct report){0};
}
