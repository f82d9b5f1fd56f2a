#include <inttypes.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "carry.h"
#include "shares.h"

enum { WINDOW = 50, ROUNDS = 2 };

/* A mailbox with something to bring. The account as a whole is the last one. */
struct carry_wanted {
    const char *source_name, *target_name; /* borrowed */
    const struct rights *source;           /* borrowed; NULL: not told, or of the account as a whole */
    struct rights rights;                  /* what the target has to have; owned */
    struct rights unsaid;                  /* what it can't say; owned */
    bool extra;                            /* it has what it does not have to have */
    const struct annotations *annotations; /* borrowed */
    char *refusal;                         /* what the target said last; owned */
};

/* A command under way. */
struct carry_op {
    struct carry *c; /* NULL: free */
    size_t wanted;
};

struct carry {
    struct carry_request request;
    carry_fn fn;
    void *owner;
    struct carry_wanted *wanted; /* owned */
    size_t n;
    const char **names; /* on the target, but for the account; owned */
    struct details_read *reading;
    struct details *there; /* owned */
    unsigned round;
    size_t next, pending;
    struct carry_op ops[WINDOW];
};

static void read_target(struct carry *c);

static bool has_grants(const struct rights *r, const struct rights_self *self)
{
    for (size_t i = 0; i < r->n; i++)
        if (rights_is_grant(&r->entries[i], self))
            return true;
    return false;
}

/* ---- what was brought before */

void carried_free(struct carried *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->items[i].target);
        rights_free(&c->items[i].rights);
    }
    free(c->items);
    *c = (struct carried){0};
}

static int compare_carried(const void *a, const void *b)
{
    return strcmp(((const struct carried_item *)a)->target, ((const struct carried_item *)b)->target);
}

static const struct carried_item *carried_find(const struct carried *c, const char *target)
{
    struct carried_item key = {.target = (char *)target};

    return c && c->n ? bsearch(&key, c->items, c->n, sizeof(key), compare_carried) : NULL;
}

/* A mailbox that the target has by itself is INBOX; where there is another, somebody has used the account. */
static bool is_used(const struct carry_request *q)
{
    size_t there = 0;

    for (size_t i = 0; i < q->plan->n; i++)
        there += !q->plan->items[i].create;
    return there > 1;
}

static bool is_wanted(const struct carry_request *q, size_t i)
{
    const struct mailbox_details *m = &q->source->items[i];
    const struct plan_item *item = &q->plan->items[i];

    return !item->refused &&
           (has_grants(&m->rights, q->self) || m->annotations.n > 0 ||
            (q->look_at_all && !item->create && is_used(q)) || carried_find(q->carried, item->target_name));
}

bool carry_is_needed(const struct carry_request *q)
{
    for (size_t i = 0; i < q->source->n; i++)
        if (is_wanted(q, i))
            return true;
    return q->source->account.n > 0;
}

/* ---- the end */

static void carry_free(struct carry *c)
{
    for (size_t i = 0; i < c->n; i++) {
        rights_free(&c->wanted[i].rights);
        rights_free(&c->wanted[i].unsaid);
        free(c->wanted[i].refusal);
    }
    free(c->wanted);
    free(c->names);
    details_free(&c->there);
    free(c);
}

static void carry_forget_commands(struct carry *c)
{
    for (size_t i = 0; i < WINDOW; i++)
        imapc_forget(c->request.target, &c->ops[i]);
}

void carry_cancel(struct carry **cp)
{
    struct carry *c = *cp;

    *cp = NULL;
    if (!c)
        return;
    details_read_cancel(&c->reading);
    carry_forget_commands(c);
    carry_free(c);
}

static void carry_finish(struct carry *c, bool ok)
{
    carry_forget_commands(c);
    c->fn(c->owner, ok);
    carry_free(c);
}

/* ---- what is missing */

typedef void (*right_fn)(struct carry *c, size_t i, const struct rights_entry *e, const char *missing);
typedef void (*annotation_fn)(struct carry *c, size_t i, const struct annotation *a);

static const struct annotations *annotations_there(const struct carry *c, size_t i)
{
    return i < c->there->n ? &c->there->items[i].annotations : &c->there->account;
}

static void each_right(struct carry *c, size_t i, right_fn fn)
{
    const struct carry_wanted *w = &c->wanted[i];

    for (size_t k = 0; k < w->rights.n; k++) {
        const struct rights_entry *e = &w->rights.entries[k];
        const struct rights_entry *has = rights_find(&c->there->items[i].rights, e->who);
        char missing[RIGHTS_LETTERS_MAX];
        rights_missing(e->letters, has ? has->letters : "", missing);
        if (*missing)
            fn(c, i, e, missing);
    }
}

/* What others have on the target and not on the source. */
static void each_extra(struct carry *c, size_t i, right_fn fn)
{
    const struct rights *there = &c->there->items[i].rights;

    for (size_t k = 0; c->wanted[i].source && k < there->n; k++) {
        const struct rights_entry *has = &there->entries[k];
        const struct rights_entry *e = rights_find(&c->wanted[i].rights, has->who);
        char extra[RIGHTS_LETTERS_MAX];
        if (!rights_is_grant(has, c->request.self))
            continue;
        rights_missing(has->letters, e ? e->letters : "", extra);
        if (*extra)
            fn(c, i, has, extra);
    }
}

static void each_annotation(struct carry *c, size_t i, annotation_fn fn)
{
    const struct annotations *wanted = c->wanted[i].annotations;

    for (size_t k = 0; k < wanted->n; k++) {
        const struct annotation *has = annotations_find(annotations_there(c, i), wanted->items[k].entry);
        if (!has || !span_eq(buf_span(&has->value), buf_span(&wanted->items[k].value)))
            fn(c, i, &wanted->items[k]);
    }
}

/* ---- findings */

static const char *carry_refusal_of(const struct carry *c, size_t i)
{
    return c->wanted[i].refusal ? c->wanted[i].refusal : "";
}

static void name_right(struct carry *c, size_t i, const struct rights_entry *e, const char *missing)
{
    bool has = details_has_rights(c->request.target);

    findings_add(c->request.findings, FINDING_ACL, c->wanted[i].source_name, 0, "%s of %.100s %s%s%s",
                 missing, e->who,
                 has ? "is not taken" : "can't be kept: the target has no access control lists",
                 *carry_refusal_of(c, i) ? ": " : "", carry_refusal_of(c, i));
}

static void name_unsaid(struct carry *c, size_t i)
{
    const struct rights *r = &c->wanted[i].unsaid;

    for (size_t k = 0; k < r->n; k++)
        findings_add(c->request.findings, FINDING_ACL, c->wanted[i].source_name, 0,
                     "%s of %.100s: the target can't say who that is (acl_map can)", r->entries[k].letters,
                     r->entries[k].who);
}

static void name_extra(struct carry *c, size_t i, const struct rights_entry *has, const char *extra)
{
    bool user = rights_is_user(has->who, details_speech(c->request.target));

    c->wanted[i].extra = true;
    findings_add(c->request.findings, user ? FINDING_ACL : FINDING_ACL_MORE, c->wanted[i].source_name, 0,
                 "%.100s has %s on the target, and not on the source", has->who, extra);
}

static void name_annotation(struct carry *c, size_t i, const struct annotation *a)
{
    bool has = details_has_annotations(c->request.target);

    findings_add(c->request.findings, has ? FINDING_METADATA : FINDING_NO_METADATA, c->wanted[i].source_name,
                 0, "%.100s%s%s", a->entry, *carry_refusal_of(c, i) ? ": " : "", carry_refusal_of(c, i));
}

static void name_all(struct carry *c)
{
    for (size_t i = 0; i < c->n; i++) {
        name_unsaid(c, i);
        if (i < c->there->n) {
            each_right(c, i, name_right);
            each_extra(c, i, name_extra);
        }
        each_annotation(c, i, name_annotation);
    }
}

/* ---- setting */

static void on_set(void *owner, const struct imapc_end *end);

static struct carry_op *carry_free_op(struct carry *c)
{
    for (size_t i = 0; i < WINDOW; i++)
        if (!c->ops[i].c)
            return &c->ops[i];
    return NULL;
}

static void send_set(struct carry *c, size_t i, struct imap_writer *w)
{
    struct carry_op *op = carry_free_op(c);

    *op = (struct carry_op){c, i};
    c->pending++;
    imapc_send(c->request.target, w, &(struct imapc_command){.end = on_set, .owner = op});
}

static void send_right(struct carry *c, size_t i, const char *who, char sign, const char *letters)
{
    char lost[RIGHTS_LETTERS_MAX];
    struct buf spelled = {0};
    struct imap_writer w;

    rights_write(&spelled, letters, details_old_rights(c->request.target), lost);
    if (spelled.len > 0 && details_has_rights(c->request.target) && carry_free_op(c)) {
        imap_writer_init(&w, imapc_literals(c->request.target));
        imap_write_raw(&w, "SETACL ");
        imap_write_astring(&w, span_str(c->wanted[i].target_name));
        imap_write_raw(&w, " ");
        imap_write_astring(&w, span_str(who));
        imap_write_raw(&w, " %c%s", sign, buf_str(&spelled));
        send_set(c, i, &w);
    }
    buf_free(&spelled);
}

/* "+": what others of our side have set meanwhile stays. Letters that not every server has go by themselves, since a server
 * refuses all of a command for one of them. */
static void set_right(struct carry *c, size_t i, const struct rights_entry *e, const char *missing)
{
    char usual[RIGHTS_LETTERS_MAX], others[RIGHTS_LETTERS_MAX];

    rights_missing(missing, "aeiklprstwx", others);
    rights_missing(missing, others, usual);
    send_right(c, i, e->who, '+', usual);
    send_right(c, i, e->who, '+', others);
}

/* What of these rights is ours. */
static bool carry_is_ours(const struct carry *c, size_t i, const struct rights_entry *has, const char *extra,
                          char *ours)
{
    const struct carried_item *item = carried_find(c->request.carried, c->wanted[i].target_name);
    const struct rights_entry *e = item ? rights_find(&item->rights, has->who) : NULL;
    char others[RIGHTS_LETTERS_MAX];

    rights_missing(extra, e ? e->letters : "", others);
    rights_missing(extra, others, ours);
    return *ours;
}

static void take_extra(struct carry *c, size_t i, const struct rights_entry *has, const char *extra)
{
    char ours[RIGHTS_LETTERS_MAX];

    if (carry_is_ours(c, i, has, extra, ours))
        send_right(c, i, has->who, '-', ours);
}

static void set_annotation(struct carry *c, size_t i, const struct annotation *a)
{
    bool draft = !imap_caps_has(imapc_caps(c->request.target), CAP_METADATA);
    bool is_private = !strncmp(a->entry, "/private", 8);
    struct imap_writer w;

    if (!details_has_annotations(c->request.target) || !carry_free_op(c))
        return;
    imap_writer_init(&w, imapc_literals(c->request.target));
    imap_write_raw(&w, draft ? "SETANNOTATION " : "SETMETADATA ");
    imap_write_astring(&w, span_str(c->wanted[i].target_name));
    imap_write_raw(&w, draft ? " " : " (");
    imap_write_astring(&w, span_str(draft ? a->entry + (is_private ? 8 : 7) : a->entry));
    imap_write_raw(&w, draft ? " (\"value.%s\" " : " ", is_private ? "priv" : "shared");
    imap_write_string(&w, buf_span(&a->value));
    imap_write_raw(&w, ")");
    send_set(c, i, &w);
}

static void set_some(struct carry *c)
{
    /* A mailbox with more than a window of entries gets the rest in the next round, or they are named. */
    while (c->next < c->n && c->pending < WINDOW / 2) {
        size_t i = c->next++;
        if (i < c->there->n) {
            each_right(c, i, set_right);
            each_extra(c, i, take_extra);
        }
        each_annotation(c, i, set_annotation);
    }
    if (c->pending > 0)
        return;
    c->round++;
    details_free(&c->there);
    read_target(c);
}

static void on_set(void *owner, const struct imapc_end *end)
{
    struct carry_op *op = owner;
    struct carry *c = op->c;
    struct carry_wanted *w = &c->wanted[op->wanted];

    op->c = NULL;
    c->pending--;
    if (end->rc == IMAPC_DOWN) {
        carry_finish(c, false);
        return;
    }
    if (end->rc != IMAPC_OK) {
        free(w->refusal);
        w->refusal = imapc_end_text(end);
    }
    set_some(c);
}

/* ---- reading */

static void note_missing_right(struct carry *c, size_t i, const struct rights_entry *e, const char *missing)
{
    (void)i, (void)e, (void)missing;
    c->next++;
}

static void note_extra(struct carry *c, size_t i, const struct rights_entry *has, const char *extra)
{
    char ours[RIGHTS_LETTERS_MAX];

    c->next += carry_is_ours(c, i, has, extra, ours);
}

static void note_missing_annotation(struct carry *c, size_t i, const struct annotation *a)
{
    (void)i, (void)a;
    c->next++;
}

static bool is_complete(struct carry *c)
{
    c->next = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (i < c->there->n) {
            each_right(c, i, note_missing_right);
            each_extra(c, i, note_extra);
        }
        each_annotation(c, i, note_missing_annotation);
    }
    return c->next == 0;
}

/* What a server calls the account shows how it calls users. */
static enum rights_form carry_form(const struct details *d, const struct rights_self *self)
{
    enum rights_form form = RIGHTS_FORM_UNKNOWN;

    for (size_t i = 0; i < d->n && form == RIGHTS_FORM_UNKNOWN; i++)
        form = rights_form(&d->items[i].rights, self);
    return form;
}

static void carry_map(struct carry *c)
{
    const struct carry_request *q = &c->request;
    struct rights_way way = {.from = q->speech,
                             .to = details_speech(q->target),
                             .form_from = carry_form(q->source, q->self),
                             .form_to = carry_form(c->there, q->self),
                             .map = q->map};

    for (size_t i = 0; i < c->n; i++)
        if (c->wanted[i].source)
            rights_map(&c->wanted[i].rights, c->wanted[i].source, q->self, &way, &c->wanted[i].unsaid);
}

static void carry_keep(struct carry *c)
{
    struct carried *kept = c->request.carried;

    if (!kept)
        return;
    carried_free(kept);
    kept->items = xcalloc(c->n, sizeof(*kept->items));
    for (size_t i = 0; i < c->n; i++) {
        if (c->wanted[i].rights.n == 0 && !c->wanted[i].extra)
            continue;
        kept->items[kept->n++] =
            (struct carried_item){xstrdup(c->wanted[i].target_name), c->wanted[i].rights};
        c->wanted[i].rights = (struct rights){0};
    }
    qsort(kept->items, kept->n, sizeof(*kept->items), compare_carried);
}

static void carry_on_read(void *owner, struct details *d)
{
    struct carry *c = owner;

    c->reading = NULL;
    c->there = d;
    if (!d) {
        carry_finish(c, false);
        return;
    }
    if (c->round == 0)
        carry_map(c);
    bool complete = is_complete(c);
    c->next = 0;
    if (!complete && c->round < ROUNDS) {
        set_some(c);
        return;
    }
    name_all(c);
    carry_keep(c);
    carry_finish(c, true);
}

static void read_target(struct carry *c)
{
    c->reading = details_read(c->request.target, c->names, c->n - 1, false, carry_on_read, c);
}

struct carry *carry_start(const struct carry_request *q, carry_fn fn, void *owner)
{
    struct carry *c = xcalloc(1, sizeof(*c));

    c->request = *q;
    c->fn = fn;
    c->owner = owner;
    c->wanted = xcalloc(q->source->n + 1, sizeof(*c->wanted));
    c->names = xcalloc(q->source->n + 1, sizeof(*c->names));
    for (size_t i = 0; i < q->source->n; i++) {
        const struct mailbox_details *m = &q->source->items[i];
        struct carry_wanted *w = &c->wanted[c->n];
        if (!is_wanted(q, i))
            continue;
        w->source_name = q->plan->items[i].source->name;
        w->target_name = c->names[c->n] = q->plan->items[i].target_name;
        w->annotations = &m->annotations;
        w->source = m->told ? &m->rights : NULL;
        c->n++;
    }
    c->wanted[c->n++] =
        (struct carry_wanted){.source_name = "", .target_name = "", .annotations = &q->source->account};
    read_target(c);
    return c;
}

/* ---- what is found without asking the target */

void carry_find_grants(const struct move *move, const struct plan *plan, const struct details *source,
                       const struct rights_self *self, struct findings *findings)
{
    for (size_t i = 0; i < source->n; i++) {
        const struct rights *r = &source->items[i].rights;
        for (size_t k = 0; k < r->n; k++)
            if (rights_is_grant(&r->entries[k], self) &&
                !shares_is_in(&move->members, move->m->conf, move->login, r->entries[k].who))
                findings_add(findings, FINDING_SHARED, plan->items[i].source->name, 0,
                             "%.100s has the rights %s", r->entries[k].who, r->entries[k].letters);
    }
}

static void find_untold(const char *what, size_t n, struct findings *findings)
{
    if (n > 0)
        findings_add(findings, FINDING_UNTOLD, "", 0, "the %s of %zu mailboxes", what, n);
}

void carry_find_untold(const struct details *source, struct findings *findings)
{
    find_untold("rights", source->untold_rights, findings);
    find_untold("annotations", source->untold_annotations, findings);
}

static void compare_kind(enum quota_kind k, uint64_t needed, const struct quota *source,
                         const struct quota *target, struct findings *findings)
{
    bool limited = target->kinds[k].limited;
    uint64_t limit = target->kinds[k].limit, was = source->kinds[k].limit;

    if (limited && needed > limit)
        findings_add(findings, FINDING_QUOTA, "", 0,
                     "%s: the account has %" PRIu64 ", and the new server allows %" PRIu64, quota_word(k),
                     needed, limit);
    else if (source->kinds[k].limited && !limited)
        findings_add(findings, FINDING_QUOTA_LIMIT, "", 0,
                     "%s: %" PRIu64 " on the source, none on the target", quota_word(k), was);
    else if (source->kinds[k].limited && limit != was)
        findings_add(findings, FINDING_QUOTA_LIMIT, "", 0,
                     "%s: %" PRIu64 " on the source, %" PRIu64 " on the target", quota_word(k), was, limit);
}

/* What moves is what counts; where the sizes of messages are not told, what the source says that it uses.
 * Where rules leave messages out, APPEND will tell. */
void carry_find_quota(const struct plan *plan, const struct quota *source, const struct quota *target,
                      struct findings *findings)
{
    uint64_t bytes = 0, messages = 0;
    bool rules = false,
         left =
             findings_of(plan->findings, FINDING_LEFT_OUT) + findings_of(plan->findings, FINDING_VIRTUAL) > 0;

    for (size_t i = 0; i < plan->n; i++) {
        bytes += plan->items[i].source->bytes;
        messages += plan->items[i].source->status.messages;
        rules = rules || plan->items[i].leave_out;
    }
    if (rules)
        bytes = messages = 0;
    left = left || rules;
    uint64_t storage = bytes / 1024;
    if (!left && source->kinds[QUOTA_STORAGE].used > storage)
        storage = source->kinds[QUOTA_STORAGE].used;
    compare_kind(QUOTA_STORAGE, storage, source, target, findings);
    compare_kind(QUOTA_MESSAGE, messages, source, target, findings);
    compare_kind(QUOTA_MAILBOX, plan->n, source, target, findings);
}
