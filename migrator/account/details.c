#include <stdlib.h>

#include "lib/xalloc.h"

#include "details.h"

enum {
    WINDOW = 100, /* commands under way */
    IN_VAIN = 4,  /* refusals of a kind without any answer, after which it is not asked for any more */
};

enum kind { RIGHTS, ANNOTATIONS, ACCOUNT, QUOTA, KINDS };

/* One command: end_command() needs to know its kind. */
struct details_op {
    struct details_read *r;
    enum kind kind;
};

/* A name for looking up. */
struct place {
    const char *name; /* borrowed */
    size_t item;
};

struct details_read {
    struct imapc *c;
    const char *const *names; /* borrowed */
    size_t n;
    details_fn fn;
    void *owner;
    struct details *d;    /* owned */
    struct place *sorted; /* by name; owned */
    bool asks[KINDS];
    size_t next[KINDS], pending[KINDS];
    bool starting; /* the first command is under way */
    struct {
        size_t refused;
        bool answered;
    } luck[KINDS];
    struct details_op ops[KINDS];
};

void details_free(struct details **dp)
{
    struct details *d = *dp;

    *dp = NULL;
    if (!d)
        return;
    for (size_t i = 0; i < d->n; i++) {
        rights_free(&d->items[i].rights);
        annotations_free(&d->items[i].annotations);
    }
    free(d->items);
    annotations_free(&d->account);
    free(d);
}

bool details_has_rights(const struct imapc *c)
{
    return imap_caps_has(imapc_caps(c), CAP_ACL);
}

bool details_has_annotations(const struct imapc *c)
{
    return imap_caps_has(imapc_caps(c), CAP_METADATA) || imap_caps_has(imapc_caps(c), CAP_ANNOTATEMORE);
}

bool details_old_rights(const struct imapc *c)
{
    return !imap_caps_has(imapc_caps(c), CAP_RIGHTS);
}

/* No other has these. */
enum rights_speech details_speech(const struct imapc *c)
{
    const struct imap_caps *caps = imapc_caps(c);

    if (imap_caps_has(caps, CAP_X_REPLICATION))
        return RIGHTS_OF_CYRUS;
    return imap_caps_has(caps, CAP_I18NLEVEL_1) && imap_caps_has(caps, CAP_CONTEXT_SEARCH) ? RIGHTS_OF_DOVECOT
                                                                                           : RIGHTS_OF_OTHERS;
}

bool details_are_offered(const struct imapc *c, bool quota)
{
    return details_has_rights(c) || details_has_annotations(c) ||
           (quota && imap_caps_has(imapc_caps(c), CAP_QUOTA));
}

struct details *details_none(size_t n)
{
    struct details *d = xcalloc(1, sizeof(*d));

    d->n = n;
    d->items = xcalloc(n + 1, sizeof(*d->items));
    return d;
}

/* ---- the end */

static void details_read_free(struct details_read *r)
{
    details_free(&r->d);
    free(r->sorted);
    free(r);
}

static void details_forget_commands(struct details_read *r)
{
    for (size_t i = 0; i < KINDS; i++)
        imapc_forget(r->c, &r->ops[i]);
}

void details_read_cancel(struct details_read **rp)
{
    struct details_read *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    details_forget_commands(r);
    details_read_free(r);
}

/* A mailbox without annotations is answered by an OK alone, one without rights is not. */
static void count_untold(struct details_read *r)
{
    if (r->asks[ANNOTATIONS])
        r->d->untold_annotations = r->luck[ANNOTATIONS].refused + r->n - r->next[ANNOTATIONS];
    for (size_t i = 0; r->asks[RIGHTS] && i < r->n; i++)
        r->d->untold_rights += !r->d->items[i].told;
}

static void details_finish(struct details_read *r, bool ok)
{
    struct details *d = ok ? r->d : NULL;

    if (ok) {
        for (size_t i = 0; i < d->n; i++)
            annotations_sort(&d->items[i].annotations);
        annotations_sort(&d->account);
        count_untold(r);
        r->d = NULL;
    }
    details_forget_commands(r);
    r->fn(r->owner, d);
    details_read_free(r);
}

/* ---- answers */

static int compare_places(const void *a, const void *b)
{
    return strcmp(((const struct place *)a)->name, ((const struct place *)b)->name);
}

static struct mailbox_details *details_find(struct details_read *r, const struct imap_value *name)
{
    struct span bytes;

    if (!imap_value_string(name, &bytes))
        return NULL;
    char *key = span_is_ci(bytes, "INBOX") ? xstrdup("INBOX") : xspandup(bytes);
    struct place *p =
        r->n ? bsearch(&(struct place){.name = key}, r->sorted, r->n, sizeof(*p), compare_places) : NULL;
    free(key);
    return p ? &r->d->items[p->item] : NULL;
}

static bool details_is_empty(const struct imap_value *v)
{
    struct span bytes;

    return v && imap_value_string(v, &bytes) && bytes.len == 0;
}

/* What is not understood is not told, and counted as that. */
static void take_rights(struct details_read *r, const struct imap_value *data)
{
    struct mailbox_details *m = details_find(r, data);

    if (m && !(m->told = rights_take(&m->rights, data, details_old_rights(r->c))))
        rights_free(&m->rights);
}

/* What comes unasked (names of entries alone) is none. */
static enum imapc_taken take_annotations(struct details_read *r, const struct imap_resp *resp,
                                         const struct imap_value *data)
{
    struct mailbox_details *m = details_is_empty(data) ? NULL : details_find(r, data);
    bool ok = data != NULL, unasked = data && !(data->next && data->next->kind == IMAP_LIST) &&
                                      span_is_ci(resp->word, "METADATA");

    if (unasked)
        return IMAPC_TAKEN;
    if (m)
        ok = annotations_take(&m->annotations, resp, data, false);
    else if (details_is_empty(data))
        ok = annotations_take(&r->d->account, resp, data, true);
    return ok ? IMAPC_TAKEN : IMAPC_ODD;
}

static enum imapc_taken details_on_data(void *owner, const struct imap_resp *resp,
                                        const struct imap_value *data)
{
    struct details_op *op = owner;
    struct details_read *r = op->r;

    if (resp->kind != RESP_DATA)
        return IMAPC_NOT_MINE;
    if (span_is_ci(resp->word, "ACL"))
        take_rights(r, data);
    else if (span_is_ci(resp->word, "METADATA") || span_is_ci(resp->word, "ANNOTATION"))
        return take_annotations(r, resp, data);
    else if (span_is_ci(resp->word, "QUOTA"))
        return quota_take(&r->d->quota, resp, data) ? IMAPC_TAKEN : IMAPC_ODD;
    else
        return span_is_ci(resp->word, "QUOTAROOT") ? IMAPC_TAKEN : IMAPC_NOT_MINE;
    return IMAPC_TAKEN;
}

static void details_go_on(struct details_read *r);

static void details_on_end(void *owner, const struct imapc_end *end)
{
    struct details_op *op = owner;
    struct details_read *r = op->r;

    r->pending[op->kind]--;
    if (end->rc == IMAPC_DOWN) {
        details_finish(r, false);
        return;
    }
    r->luck[op->kind].answered |= end->rc == IMAPC_OK;
    r->luck[op->kind].refused += end->rc != IMAPC_OK;
    details_go_on(r);
}

/* ---- questions */

static void details_ask(struct details_read *r, enum kind kind, const char *name)
{
    bool draft = !imap_caps_has(imapc_caps(r->c), CAP_METADATA);
    struct imap_writer w;

    imap_writer_init(&w, imapc_literals(r->c));
    switch (kind) {
    case RIGHTS:
        imap_write_raw(&w, "GETACL ");
        break;
    case QUOTA:
        imap_write_raw(&w, "GETQUOTAROOT ");
        break;
    case ANNOTATIONS:
    case ACCOUNT:
        if (draft)
            imap_write_raw(&w, "GETANNOTATION ");
        else
            imap_write_raw(&w, "GETMETADATA (MAXSIZE %d DEPTH infinity) ", ANNOTATION_BYTES_MAX);
        break;
    case KINDS:
        break;
    }
    imap_write_astring(&w, span_str(name));
    if (kind == ANNOTATIONS || kind == ACCOUNT)
        imap_write_raw(&w, draft ? " \"*\" (\"value.priv\" \"value.shared\")" : " (/private /shared)");
    imapc_send(r->c, &w,
               &(struct imapc_command){.data = details_on_data,
                                       .end = details_on_end,
                                       .owner = &r->ops[kind],
                                       .mailbox = kind == RIGHTS || kind == ANNOTATIONS ? name : NULL});
    r->pending[kind]++;
}

static bool in_vain(const struct details_read *r, enum kind k)
{
    return !r->luck[k].answered && r->luck[k].refused >= IN_VAIN;
}

static size_t questions_of(const struct details_read *r, enum kind k)
{
    if (!r->asks[k] || in_vain(r, k))
        return 0;
    return k == RIGHTS || k == ANNOTATIONS ? r->n : 1;
}

/* The first few of a kind are waited for: a server that has no answer is not asked 5,000 times. */
static size_t window_of(const struct details_read *r, enum kind k)
{
    return r->luck[k].answered ? WINDOW : IN_VAIN;
}

static void details_go_on(struct details_read *r)
{
    size_t pending = r->starting;

    for (enum kind k = 0; k < KINDS; k++) {
        while (r->next[k] < questions_of(r, k) && r->pending[k] < window_of(r, k)) {
            size_t i = r->next[k]++;
            details_ask(r, k, k == ACCOUNT ? "" : k == QUOTA ? "INBOX" : r->names[i]);
        }
        pending += r->pending[k];
    }
    if (pending == 0)
        details_finish(r, true);
}

/* Nothing to ask: that is told from a command of no effect, since nobody is called back before the start
 * returned. */
static void on_noop(void *owner, const struct imapc_end *end)
{
    struct details_op *op = owner;

    op->r->starting = false;
    if (end->rc == IMAPC_DOWN)
        details_finish(op->r, false);
    else
        details_go_on(op->r);
}

struct details_read *details_read(struct imapc *c, const char *const *names, size_t n, bool quota,
                                  details_fn fn, void *owner)
{
    struct details_read *r = xcalloc(1, sizeof(*r));

    r->c = c;
    r->names = names;
    r->n = n;
    r->fn = fn;
    r->owner = owner;
    r->d = details_none(n);
    r->sorted = xcalloc(n + 1, sizeof(*r->sorted));
    for (size_t i = 0; i < n; i++)
        r->sorted[i] = (struct place){names[i], i};
    qsort(r->sorted, n, sizeof(*r->sorted), compare_places);
    r->asks[RIGHTS] = details_has_rights(c);
    r->asks[ANNOTATIONS] = details_has_annotations(c);
    r->asks[ACCOUNT] = n > 0 && details_has_annotations(c);
    r->asks[QUOTA] = quota && imap_caps_has(imapc_caps(c), CAP_QUOTA);
    for (size_t i = 0; i < KINDS; i++)
        r->ops[i] = (struct details_op){r, (enum kind)i};
    r->starting = true;
    imapc_sendf(c, &(struct imapc_command){.end = on_noop, .owner = &r->ops[QUOTA]}, "NOOP");
    details_go_on(r);
    return r;
}
