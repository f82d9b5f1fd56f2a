#include <stdlib.h>

#include "lib/imap_write.h"
#include "lib/mutf7.h"
#include "lib/xalloc.h"

#include "finding.h"
#include "waiver.h"

enum { DESCRIBED = 3, NAME_SHOWN = 120 /* bytes */ };

static const struct {
    const char *word;
    enum finding_class class;
    bool again;     /* a later try may mend it */
    bool by_person; /* all of the kind may be waived by its word */
    const char *text;
    enum why why; /* of an account that has it alone; 0: WHY_CANNOT */
    bool one;     /* not by_person, but all of the kind in one mailbox may be waived */
} rows[FINDING_KINDS] = {
    [FINDING_TOO_LARGE] = {"too_large", FINDING_BLOCKS, false, true,
                           "larger than the new server takes (APPENDLIMIT)"},
    [FINDING_REFUSED] = {"refused", FINDING_BLOCKS, false, true, "refused by the new server"},
    [FINDING_EMPTY] = {"empty", FINDING_BLOCKS, false, true, "messages without a byte"},
    [FINDING_BAD_DATE] = {"bad_date", FINDING_BLOCKS, false, true, "the old server gives no date for them"},
    [FINDING_UNREADABLE] = {"unreadable", FINDING_BLOCKS, true, true, "the old server does not give them"},
    [FINDING_MUTABLE] = {"mutable", FINDING_BLOCKS, true, true,
                         "the old server gives other bytes at each reading"},
    [FINDING_LEFT_BY_WAIVER] = {"left_by_waiver", FINDING_COUNTED, false, false,
                                "not copied, since a person waived them"},
    [FINDING_LEFT_OUT] = {"left_out", FINDING_COUNTED, false, false,
                          "left out by a rule of the configuration"},
    [FINDING_NOT_COPIED] = {"not_copied", FINDING_BLOCKS, true, false, "not copied"},
    [FINDING_MISSING] = {"missing", FINDING_BLOCKS, true, false, "copied, and gone from the new server"},
    [FINDING_BYTES] = {"bytes", FINDING_BLOCKS, true, true, "other bytes on the new server"},
    [FINDING_UNREAD] = {"unread", FINDING_BLOCKS, true, false, "the new server does not give them back"},
    [FINDING_DATE] = {"date", FINDING_BLOCKS, true, true, "another instant on the new server"},
    [FINDING_FLAGS] = {"flags", FINDING_BLOCKS, true, true, "other flags on the new server"},
    [FINDING_FLAGS_LOST] = {"flags_lost", FINDING_BLOCKS, false, true,
                            "flags or keywords that the new server can't keep"},
    [FINDING_ZONE] = {"zone", FINDING_COUNTED, false, false, "the same instant, in another time zone"},
    [FINDING_ORDER] = {"order", FINDING_BLOCKS, false, true, "another order on the new server"},
    [FINDING_BETWEEN] = {"between", FINDING_COUNTED, false, false,
                         "messages of the new server's own that lie between the copies"},
    [FINDING_LEFTOVER] = {"leftover", FINDING_BLOCKS, true, true,
                          "gone from the old server, while the copy is there"},
    [FINDING_UNREMOVABLE] = {"unremovable", FINDING_BLOCKS, false, false,
                             "copies to be removed, which the new server can't without UIDPLUS"},
    [FINDING_SHARE] =
        {"share", FINDING_BLOCKS, false, true,
         "so many messages went from the old server that their copies were not removed unasked"},
    [FINDING_LISTING] = {"listing", FINDING_BLOCKS, true, false, "a server does not list what it has",
                         .one = true},
    [FINDING_NOT_UNDERSTOOD] = {"not_understood", FINDING_BLOCKS, false, false,
                                "answers of a server that can't be understood", WHY_NOT_UNDERSTOOD, .one = true},
    [FINDING_DISAGREES] = {"disagrees", FINDING_COUNTED, false, false,
                           "a server contradicts itself about mailboxes, which were tried"},
    [FINDING_NAME] = {"name", FINDING_BLOCKS, false, true, "mailboxes that the new server can't spell"},
    [FINDING_COLLISION] = {"collision", FINDING_BLOCKS, false, true,
                           "mailboxes that get the same name on the new server"},
    [FINDING_VIRTUAL] = {"virtual", FINDING_COUNTED, false, false,
                         "views of messages that lie in other mailboxes"},
    [FINDING_ALL_MAIL] = {"all_mail", FINDING_BLOCKS, false, true,
                          "views that also show messages which lie in no other mailbox"},
    [FINDING_EXTRA_MAILBOX] = {"extra_mailbox", FINDING_COUNTED, false, false,
                               "mailboxes that only the new server has"},
    [FINDING_SPECIAL_USE] = {"special_use", FINDING_COUNTED, false, false, "special uses that differ"},
    [FINDING_SUBSCRIPTION] = {"subscription", FINDING_COUNTED, false, false,
                              "subscriptions that the new server does not take"},
    [FINDING_NO_SUBSCRIPTIONS] = {"no_subscriptions", FINDING_COUNTED, false, false,
                                  "a server does not tell what is subscribed, so that was left as it is"},
    [FINDING_ACL] = {"acl", FINDING_BLOCKS, false, true, "rights that the new server does not take"},
    [FINDING_METADATA] = {"metadata", FINDING_BLOCKS, false, true,
                          "annotations that the new server does not take"},
    [FINDING_NO_METADATA] = {"no_metadata", FINDING_COUNTED, false, false,
                             "annotations, which the new server does not have"},
    [FINDING_UNTOLD] = {"untold", FINDING_COUNTED, false, false,
                        "rights or annotations that the old server says it has, and does not tell"},
    [FINDING_SHARED] = {"shared", FINDING_BLOCKS, false, true, "mailboxes shared with others, or of others",
                        WHY_SHARED},
    [FINDING_SAME_ACCOUNT] = {"same_account", FINDING_BLOCKS, false, true,
                              "has the mail of another account", WHY_SAME_ACCOUNT},
    [FINDING_QUOTA] = {"quota", FINDING_BLOCKS, false, false, "over the quota of the new server", WHY_QUOTA},
    [FINDING_QUOTA_LIMIT] = {"quota_limit", FINDING_COUNTED, false, false, "limits that differ"},
};

struct findings {
    const struct waivers *waivers; /* borrowed */
    uint32_t uidvalidity;
    struct finding *items;         /* the named ones; owned */
    size_t n, cap;
    size_t named[2]; /* open, waived */
    struct {
        uint64_t open, waived;
    } kinds[FINDING_KINDS];
};

const char *finding_word(enum finding_kind k)
{
    return rows[k].word;
}

const char *finding_text(enum finding_kind k)
{
    return rows[k].text;
}

enum finding_class finding_class(enum finding_kind k)
{
    return rows[k].class;
}

bool finding_is_waivable(enum finding_kind k)
{
    return rows[k].by_person;
}

bool finding_is_waivable_in_one(enum finding_kind k)
{
    return rows[k].by_person || rows[k].one;
}

bool finding_parse(struct span word, enum finding_kind *_k)
{
    for (size_t k = 0; k < FINDING_KINDS; k++)
        if (span_is(word, rows[k].word)) {
            *_k = (enum finding_kind)k;
            return true;
        }
    return false;
}

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

static void put(struct findings *f, const struct finding *new)
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
    put(f, &(struct finding){.kind = kind,
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
    for (size_t k = 0; k < FINDING_KINDS; k++) {
        f->kinds[k].open += other->kinds[k].open;
        f->kinds[k].waived += other->kinds[k].waived;
    }
    for (size_t i = 0; i < other->n; i++)
        put(f, &other->items[i]);
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

    for (size_t k = 0; k < FINDING_KINDS; k++)
        n += findings_of(f, (enum finding_kind)k);
    return n;
}

uint64_t findings_open(const struct findings *f)
{
    uint64_t n = 0;

    for (size_t k = 0; k < FINDING_KINDS; k++)
        n += rows[k].class == FINDING_BLOCKS ? f->kinds[k].open : 0;
    return n;
}

enum why findings_why(const struct findings *f)
{
    enum why why = WHY_DIFFERS;

    if (f->kinds[FINDING_SAME_ACCOUNT].open > 0)
        return WHY_SAME_ACCOUNT;
    for (size_t k = 0; k < FINDING_KINDS; k++) {
        if (rows[k].class != FINDING_BLOCKS || rows[k].again || f->kinds[k].open == 0)
            continue;
        if (why != WHY_DIFFERS || !rows[k].why)
            return WHY_CANNOT;
        why = rows[k].why;
    }
    return why;
}

/* The mailbox is said where it is another than the last one's. */
static void describe(struct buf *out, const struct finding *x, const char *last_mailbox)
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
            if (x->waived || rows[x->kind].class != FINDING_BLOCKS || rows[x->kind].again != (again == 1))
                continue;
            describe(out, x, mailbox);
            mailbox = x->mailbox;
            said++;
        }
    if (open > said)
        buf_printf(out, "; and %llu more", (unsigned long long)(open - said));
}
