#include <stdlib.h>

#include "lib/imap_write.h"
#include "lib/mutf7.h"
#include "lib/xalloc.h"

#include "finding.h"
#include "waiver.h"

enum { DESCRIBED = 3, NAME_SHOWN = 120 /* bytes */ };

struct findings {
    const struct waivers *waivers; /* borrowed */
    uint32_t uidvalidity;
    struct finding *items; /* the named ones; owned */
    size_t n, cap;
    size_t named[2]; /* open, waived */
    struct {
        uint64_t open, waived;
    } kinds[FINDING_KINDS];
};

/* Bytes that are no text are shown by their numbers. */
static void add_raw_name(struct buf *text, const char *name)
{
    if (utf8_is_valid(span_str(name))) {
        buf_add_str(text, name);
        return;
    }
    for (const char *c = name; *c; c++)
        buf_printf(text, (uint8_t)*c < 0x80 ? "%c" : "\\x%02x", (uint8_t)*c);
}

void finding_show_mailbox(struct buf *out, const char *name)
{
    struct buf text = {0};

    if (!mutf7_to_utf8(&text, span_str(name)))
        add_raw_name(&text, name);
    struct span s = buf_span(&text);
    buf_add_str(out, "\"");
    for (size_t i = 0; i < s.len; i++) {
        if (i >= NAME_SHOWN && (s.p[i] & 0xc0) != 0x80) {
            buf_add_str(out, "...");
            break;
        }
        buf_add(out, s.p[i] < ' ' || s.p[i] == 0x7f ? (const uint8_t *)"?" : &s.p[i], 1);
    }
    buf_add_str(out, "\"");
    buf_free(&text);
}

/* ---- the list */

struct findings *findings_new(const struct waivers *waivers)
{
    struct findings *f = xcalloc(1, sizeof(*f));

    f->waivers = waivers;
    return f;
}

void findings_use(struct findings *f, const struct waivers *waivers)
{
    f->waivers = waivers;
    f->uidvalidity = 0;
}

void findings_of_uidvalidity(struct findings *f, uint32_t uidvalidity)
{
    f->uidvalidity = uidvalidity;
}

void findings_clear(struct findings *f, const struct waivers *waivers)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->items[i].mailbox);
        free(f->items[i].detail);
    }
    free(f->items);
    *f = (struct findings){.waivers = waivers};
}

void findings_free(struct findings **fp)
{
    struct findings *f = *fp;

    if (!f)
        return;
    *fp = NULL;
    findings_clear(f, NULL);
    free(f);
}

static void finding_put(struct findings *f, const struct finding *new)
{
    size_t *named = &f->named[new->waived];

    if (*named == FINDINGS_NAMED)
        return;
    ++*named;
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 8;
        f->items = xreallocarray(f->items, f->cap, sizeof(*f->items));
    }
    f->items[f->n] = *new;
    f->items[f->n].mailbox = xstrdup(new->mailbox);
    f->items[f->n++].detail = xstrdup(new->detail);
}

/* What peers said may be part of it: on one line, not endless, and cut between two characters. */
static void tidy(struct buf *out, struct span raw)
{
    size_t len = raw.len;

    if (len > FINDING_DETAIL_MAX) {
        len = FINDING_DETAIL_MAX;
        while (len > 0 && (raw.p[len] & 0xc0) == 0x80)
            len--;
    }
    for (size_t i = 0; i < len; i++)
        buf_add(out, raw.p[i] < ' ' || raw.p[i] == 0x7f ? (const uint8_t *)"?" : &raw.p[i], 1);
}

void findings_add(struct findings *f, enum finding_kind kind, const char *mailbox, uint32_t uid,
                  const char *fmt, ...)
{
    struct buf raw = {0}, detail = {0};
    bool waived = f->waivers && waivers_have(f->waivers, kind, mailbox, f->uidvalidity, uid);
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&raw, fmt, ap);
    va_end(ap);
    tidy(&detail, buf_span(&raw));
    if (waived)
        f->kinds[kind].waived++;
    else
        f->kinds[kind].open++;
    finding_put(f, &(struct finding){.kind = kind,
                                     .waived = waived,
                                     .uid = uid,
                                     .mailbox = (char *)(uintptr_t)mailbox,
                                     .detail = (char *)(uintptr_t)buf_str(&detail)});
    buf_free(&raw);
    buf_free(&detail);
}

void findings_count(struct findings *f, enum finding_kind kind, uint64_t n)
{
    f->kinds[kind].open += n;
}

void findings_join(struct findings *f, const struct findings *other)
{
    for (enum finding_kind k = 0; k < FINDING_KINDS; k++) {
        f->kinds[k].open += other->kinds[k].open;
        f->kinds[k].waived += other->kinds[k].waived;
    }
    for (size_t i = 0; i < other->n; i++)
        finding_put(f, &other->items[i]);
}

const struct finding *findings_named(const struct findings *f, size_t *n)
{
    *n = f->n;
    return f->items;
}

uint64_t findings_of(const struct findings *f, enum finding_kind kind)
{
    return f->kinds[kind].open + f->kinds[kind].waived;
}

uint64_t findings_waived(const struct findings *f, enum finding_kind kind)
{
    return f->kinds[kind].waived;
}

uint64_t findings_total(const struct findings *f)
{
    uint64_t n = 0;

    for (enum finding_kind k = 0; k < FINDING_KINDS; k++)
        n += findings_of(f, k);
    return n;
}

uint64_t findings_open(const struct findings *f)
{
    uint64_t n = 0;

    for (enum finding_kind k = 0; k < FINDING_KINDS; k++)
        n += finding_class(k) == FINDING_BLOCKS ? f->kinds[k].open : 0;
    return n;
}

enum why findings_why(const struct findings *f)
{
    enum why why = WHY_DIFFERS;

    if (f->kinds[FINDING_SAME_ACCOUNT].open > 0)
        return WHY_SAME_ACCOUNT;
    for (enum finding_kind k = 0; k < FINDING_KINDS; k++) {
        if (finding_class(k) != FINDING_BLOCKS || finding_is_mendable(k) || f->kinds[k].open == 0)
            continue;
        if (why != WHY_DIFFERS || !finding_why(k))
            return WHY_CANNOT;
        why = finding_why(k);
    }
    return why;
}

/* The mailbox is said where it is another than the last one's. */
static void finding_describe(struct buf *out, const struct finding *x, const char *last_mailbox)
{
    if (last_mailbox)
        buf_add_str(out, "; ");
    if (*x->mailbox && (!last_mailbox || strcmp(x->mailbox, last_mailbox) != 0)) {
        buf_add_str(out, "mailbox ");
        finding_show_mailbox(out, x->mailbox);
        buf_add_str(out, ": ");
    }
    if (x->uid)
        buf_printf(out, "UID %u: ", x->uid);
    buf_add_str(out, x->detail);
}

/* What a later try can't mend goes first. */
void findings_describe(struct buf *out, const struct findings *f)
{
    const char *mailbox = NULL;
    uint64_t said = 0, open = findings_open(f);

    for (int again = 0; again < 2; again++)
        for (size_t i = 0; i < f->n && said < DESCRIBED; i++) {
            const struct finding *x = &f->items[i];
            if (x->waived || finding_class(x->kind) != FINDING_BLOCKS ||
                finding_is_mendable(x->kind) != (again == 1))
                continue;
            finding_describe(out, x, mailbox);
            mailbox = x->mailbox;
            said++;
        }
    if (open > said)
        buf_printf(out, "; and %llu more", (unsigned long long)(open - said));
}
