#include <stdlib.h>
#include <time.h>

#include <jansson.h>

#include "lib/imap_write.h"
#include "lib/mutf7.h"
#include "lib/xalloc.h"

#include "report.h"

static json_t *number(uint64_t n)
{
    return json_integer((json_int_t)(n < INT64_MAX ? n : INT64_MAX));
}

/* A string that may hold any byte. */
static json_t *text(const char *s)
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

/* As people and clients spell it. */
static json_t *mailbox_name(const char *wire)
{
    struct buf utf8 = {0};
    json_t *j = mutf7_to_utf8(&utf8, span_str(wire)) ? text(buf_str(&utf8)) : text(wire);

    buf_free(&utf8);
    return j;
}

static json_t *time_text(uint64_t ms)
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    char out[32];

    gmtime_r(&t, &tm);
    strftime(out, sizeof(out), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(out);
}

static void set(json_t *o, const char *name, json_t *value)
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
        set(o, "key", text(key));
    free(key);
    json_decref(name);
}

static json_t *finding(const struct finding *f)
{
    json_t *o = json_object();

    set(o, "kind", json_string(finding_word(f->kind)));
    if (f->uid)
        set(o, "uid", number(f->uid));
    set(o, "blocks", json_boolean(finding_class(f->kind) == FINDING_BLOCKS && !f->waived));
    set(o, "waived", json_boolean(f->waived));
    set(o, "detail", text(f->detail));
    set_key(o, f);
    return o;
}

static json_t *compared(const struct copy_counts *c)
{
    json_t *o = json_object();

    set(o, "bytes", number(c->compared_bytes));
    set(o, "headers", number(c->compared_headers));
    set(o, "listing", number(c->compared_listing));
    return o;
}

static void set_numbers(json_t *o, const struct copy_counts *c)
{
    set(o, "messages", number(c->messages_total));
    set(o, "bytes", number(c->bytes_total));
    set(o, "compared", compared(c));
    set(o, "zones_changed", number(c->zones_changed));
    set(o, "foreign", number(c->foreign));
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
        json_array_append_new(list, finding(&named[i]));
    *more = findings_total(f) - findings_of(f, FINDING_ZONE) - n;
    return list;
}

static json_t *mailbox(const struct report_mailbox *m)
{
    json_t *o = json_object();
    uint64_t more = 0;

    set(o, "name", mailbox_name(m->source_name));
    set(o, "target", mailbox_name(m->target_name));
    if (m->uidvalidity)
        set(o, "uidvalidity", number(m->uidvalidity));
    set(o, "tier", json_string("T3"));
    set(o, "looked_at", json_boolean(m->looked));
    set_numbers(o, m->counts);
    set(o, "findings", m->findings ? named_of(m->findings, &more) : json_array());
    set(o, "more_findings", number(more));
    return o;
}

static json_t *kinds(const struct findings *f)
{
    json_t *o = json_object();

    for (size_t i = 0; i < FINDING_KINDS; i++) {
        enum finding_kind k = (enum finding_kind)i;
        if (findings_of(f, k) == 0 || is_a_zone(k))
            continue;
        json_t *row = json_object();
        set(row, "open", number(findings_of(f, k) - findings_waived(f, k)));
        set(row, "waived", number(findings_waived(f, k)));
        set(row, "blocks", json_boolean(finding_class(k) == FINDING_BLOCKS));
        set(row, "text", json_string(finding_text(k)));
        set(o, finding_word(k), row);
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
        json_t *o = finding(&named[i]);
        if (*named[i].mailbox)
            set(o, "mailbox", mailbox_name(named[i].mailbox));
        json_array_append_new(list, o);
    }
    return list;
}

static uint64_t weight(const struct report_mailbox *m)
{
    if (!m->findings)
        return 0;
    return findings_open(m->findings) ? 2
                                      : findings_total(m->findings) > findings_of(m->findings, FINDING_ZONE);
}

static int compare_mailboxes(const void *a, const void *b)
{
    const struct report_mailbox *x = a, *y = b;

    if (weight(x) != weight(y))
        return weight(x) < weight(y) ? 1 : -1;
    return strcmp(x->source_name, y->source_name);
}

static struct copy_counts sum(const struct report *r)
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
        qsort(r->mailboxes, r->n, sizeof(*r->mailboxes), compare_mailboxes);
    for (i = 0; i < r->n && bytes < REPORT_MAX; i++) {
        json_t *m = mailbox(&r->mailboxes[i]);
        bytes += json_dumpb(m, NULL, 0, JSON_COMPACT);
        json_array_append_new(list, m);
    }
    set(o, "mailboxes", list);
    set(o, "more_mailboxes", number(r->n - i));
}

void report_write(struct buf *out, struct report *r)
{
    struct copy_counts s = sum(r);
    json_t *o = json_object();

    set(o, "time", time_text(r->time_ms));
    set(o, "source", text(r->source));
    set(o, "target", text(r->target));
    set(o, "verify", text(r->verify));
    set(o, "result", text(r->result));
    set(o, "reason", text(r->reason));
    set(o, "last", json_boolean(r->last));
    set_numbers(o, &s);
    set(o, "findings", kinds(r->all));
    set(o, "account", of_the_account(r));
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
