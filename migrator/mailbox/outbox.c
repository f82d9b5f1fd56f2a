#include <assert.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "match.h"
#include "outbox.h"
#include "readback.h"
#include "remove.h"

enum {
    AHEAD_MULTI = 6,      /* APPENDs in flight with MULTIAPPEND */
    AHEAD_SINGLE = 32,    /* without */
    LEARN_MAX = 10 * 1000 /* messages that others may add while we look for ours */
};

/* One APPEND. */
struct append {
    TAILQ_ENTRY(append) link;
    struct outbox *o;
    struct ledger_row *rows; /* messages that went out whole; target_uid 0 as long as it isn't known; owned */
    size_t n, room;
    uint32_t last_uid;       /* of the source, that it was for */
    uint32_t target_uidnext; /* before it, or lower */
    bool answered;
    bool known;    /* the UIDs of its rows */
    char *refused; /* owned */
    bool any;      /* refused, and so would any other be */
    bool quota;
    bool limit; /* refused by LIMIT: for what it is, or for how much there was */
};

struct outbox {
    struct pair *p; /* borrowed */
    const struct outbox_fns *fns;
    void *owner;
    bool multi;
    size_t ahead;
    TAILQ_HEAD(, append) appends; /* in order; an open one is last */
    struct append *open;
    bool closing; /* the last one has all its bytes, and goes to its end when the ledger has their hashes */
    size_t unanswered, writing;
    uint32_t uidnext, first;
    uint64_t largest; /* bytes of a message that was taken */

    struct readback *learning;
    struct readback_item *learned;
    size_t n_learned, learned_room;
    struct remove *undo;
};

static void append_free(struct append *a)
{
    TAILQ_REMOVE(&a->o->appends, a, link);
    free(a->rows);
    free(a->refused);
    free(a);
}

struct outbox *outbox_new(struct pair *p, const struct outbox_fns *fns, void *owner)
{
    struct outbox *o = xcalloc(1, sizeof *o);
    const struct imap_caps *caps = imapc_caps(p->target.imap);
    o->p = p;
    o->fns = fns;
    o->owner = owner;
    o->multi = imap_caps_has(caps, CAP_MULTIAPPEND);
    o->ahead = o->multi ? AHEAD_MULTI : AHEAD_SINGLE;
    if (!imap_caps_has(caps, CAP_UIDPLUS) || imapc_literals(p->target.imap) == LITERALS_SYNC)
        o->ahead = 1;
    o->uidnext = selected_uidnext(&p->target);
    TAILQ_INIT(&o->appends);
    return o;
}

void outbox_free(struct outbox **op)
{
    struct outbox *o = *op;
    struct append *a;
    if (!o)
        return;
    *op = NULL;
    ledger_forget(o->p->ledger, o);
    readback_stop(&o->learning);
    remove_stop(&o->undo);
    imapc_forget(o->p->target.imap, o);
    while ((a = TAILQ_FIRST(&o->appends))) {
        imapc_forget(o->p->target.imap, a);
        append_free(a);
    }
    free(o->learned);
    free(o);
}

uint32_t outbox_first(const struct outbox *o)
{
    return o->first;
}

uint64_t outbox_largest(const struct outbox *o)
{
    return o->largest;
}

uint32_t outbox_uidnext(const struct outbox *o)
{
    return o->uidnext;
}

static void outbox_failed(struct outbox *o, enum copy_rc rc, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void outbox_failed(struct outbox *o, enum copy_rc rc, const char *fmt, ...)
{
    struct buf why = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&why, fmt, ap);
    va_end(ap);
    o->fns->failed(o->owner, rc, buf_str(&why));
    buf_free(&why);
}

/* --- out --- */

/* Is something stored whose UIDs have to be found out first? */
static bool has_unknown(const struct outbox *o)
{
    const struct append *a;
    TAILQ_FOREACH(a, &o->appends, link)
    if (a->answered && !a->refused && !a->known)
        return true;
    return false;
}

bool outbox_may_begin(const struct outbox *o)
{
    return o->open || (!o->closing && o->unanswered < o->ahead && !has_unknown(o));
}

bool outbox_is_open(const struct outbox *o)
{
    return o->open != NULL;
}

static enum imapc_taken on_append_data(void *owner, const struct imap_resp *resp,
                                       const struct imap_value *data)
{
    struct append *a = owner;
    return selected_data(&a->o->p->target, resp, data);
}

static void on_appended(void *owner, const struct imapc_end *e);

static void open_append(struct outbox *o, const uint32_t *uids, size_t n)
{
    struct append *a = xcalloc(1, sizeof *a);
    const struct imapc_command cmd = {.data = on_append_data, .end = on_appended, .owner = a};
    a->o = o;
    a->room = o->multi ? n : 1;
    a->rows = xcalloc(a->room, sizeof *a->rows);
    a->last_uid = uids[a->room - 1];
    a->target_uidnext = o->uidnext;
    TAILQ_INSERT_TAIL(&o->appends, a, link);
    o->unanswered++;
    o->open = a;
    imapc_append_begin(o->p->target.imap, span_str(o->p->target.name), &cmd);
}

void outbox_begin(struct outbox *o, const struct mbox_msg *m, uint64_t size, const uint32_t *uids, size_t n)
{
    struct buf date = {0};
    uint32_t kept, lost;
    if (!o->open)
        open_append(o, uids, n);
    flags_split(o->p->flags, &o->p->target.permanent, m->flags, &kept, &lost);
    date_format(&date, (struct mail_date){m->instant, m->zone});
    imapc_append_message(o->p->target.imap, span_str(flags_text(o->p->flags, kept)), buf_span(&date), size);
    buf_free(&date);
}

void outbox_bytes(struct outbox *o, struct span bytes)
{
    imapc_append_bytes(o->p->target.imap, bytes);
}

/* Nothing is stored before the end of the APPEND. Whatever becomes of it and of us, its messages can be told
 * from others' from now on. */
static void on_sent(void *owner, enum route_rc rc)
{
    struct outbox *o = owner;
    o->closing = false;
    if (rc == ROUTE_OK) {
        imapc_append_end(o->p->target.imap);
        o->fns->moved(o->owner);
    } else {
        outbox_failed(o, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, "%s", ledger_error(o->p->ledger));
    }
}

void outbox_close(struct outbox *o)
{
    struct append *a = o->open;
    if (!a)
        return;
    o->open = NULL;
    o->closing = true;
    ledger_sent(o->p->ledger, a->rows, a->n, on_sent, o);
}

void outbox_keep(struct outbox *o, const struct ledger_row *row)
{
    struct append *a = o->open;
    assert(a && a->n < a->room);
    a->rows[a->n++] = *row;
    if (a->n == a->room)
        outbox_close(o);
}

/* --- answers --- */

struct uid_reader {
    struct append *a;
    size_t n;
    bool ascending;
    bool old; /* one of them was there before, or is another copy of ours */
};

/* What the target had before can't be what it just took. */
static bool was_there(const struct outbox *o, uint32_t uid)
{
    return mbox_list_find(&o->p->target.list, uid) || ledger_find_target(o->p->ledger, uid);
}

static void outbox_take_uid(void *arg, uint32_t uid)
{
    struct uid_reader *r = arg;
    r->old = r->old || was_there(r->a->o, uid);
    if (r->n < r->a->n) {
        r->ascending = r->ascending && (r->n == 0 || uid > r->a->rows[r->n - 1].target_uid);
        r->a->rows[r->n].target_uid = uid;
    }
    r->n++;
}

/* [APPENDUID uidvalidity uids] (RFC 4315 3, RFC 3502 6.3.11). What does not fit is as good as none: a row for
 * somebody else's message would have that removed one day. */
static bool read_append_uids(struct append *a, struct span code)
{
    struct uid_reader r = {.a = a, .ascending = true};
    struct span args;
    uint32_t uidvalidity;
    if (!imap_code_is(code, "APPENDUID", &args) || args.len == 0)
        return false;
    const uint8_t *blank = memchr(args.p, ' ', args.len);
    size_t head = blank ? (size_t)(blank - args.p) : args.len;
    if (!blank || !span_u32(span_of(args.p, head), &uidvalidity) ||
        uidvalidity != a->o->p->target.uidvalidity)
        return false;
    struct span uids = span_of(blank + 1, args.len - head - 1);
    return imap_seq_each(uids, a->n, outbox_take_uid, &r) && r.n == a->n && r.ascending && !r.old;
}

/* RFC 5530: codes that are about the account or the mailbox and not about the message. */
static void outbox_note_refusal(struct append *a, const struct imapc_end *e, const char *text)
{
    a->refused = xstrdup(text);
    a->limit = imapc_end_is_limit(e);
    a->quota = imap_code_is(e->code, "OVERQUOTA", NULL);
    a->any = a->quota || imap_code_is(e->code, "NOPERM", NULL) || imap_code_is(e->code, "TRYCREATE", NULL) ||
             imap_code_is(e->code, "NONEXISTENT", NULL);
}

/* Just the message at fault: it is left out. */
static bool is_one(const struct append *a)
{
    return a->refused && a->room == 1 && !a->any;
}

static void on_appended(void *owner, const struct imapc_end *e)
{
    struct append *a = owner;
    struct outbox *o = a->o;
    char *text = imapc_end_text(e);
    a->answered = true;
    o->unanswered--;
    if (e->rc == IMAPC_DOWN)
        outbox_failed(o, COPY_DOWN, "target: %s", imapc_error(o->p->target.imap));
    else if (e->rc == IMAPC_OK)
        a->known = read_append_uids(a, e->code);
    else if (imapc_end_temporary(e) && !imapc_end_is_limit(e))
        outbox_failed(o, COPY_DOWN, "target: %s", text);
    else
        outbox_note_refusal(a, e, text);
    free(text);
    if (a->refused && !is_one(a))
        o->fns->refused(o->owner);
    o->fns->moved(o->owner);
}

static void outbox_on_done(void *owner, enum route_rc rc)
{
    struct outbox *o = owner;
    o->writing--;
    pair_count_done(o->p);
    o->p->progress(o->p);
    if (rc == ROUTE_OK)
        o->fns->moved(o->owner);
    else
        outbox_failed(o, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, "%s", ledger_error(o->p->ledger));
}

static void note_rows(struct outbox *o, const struct append *a)
{
    uint32_t last = a->rows[a->n - 1].target_uid;
    o->uidnext = last == UINT32_MAX ? last : last + 1;
    for (size_t i = 0; i < a->n; i++)
        o->largest = a->rows[i].size > o->largest ? a->rows[i].size : o->largest;
    if (o->first == 0 || a->rows[0].target_uid < o->first)
        o->first = a->rows[0].target_uid;
    o->p->counts.appended += a->n;
    o->writing++;
    if (a->rows[0].verified) /* found by its bytes */
        ledger_done(o->p->ledger, a->rows, a->n, outbox_on_done, o);
    else
        ledger_landed(o->p->ledger, a->rows, a->n, outbox_on_done, o);
}

/* --- UIDs of what was stored without APPENDUID --- */

static void got_learned(void *owner, const struct readback_item *item)
{
    struct outbox *o = owner;
    if (was_there(o, item->uid) ||
        o->n_learned > LEARN_MAX) /* "9:*" gives the last one where there is none from 9 on */
        return;
    if (o->n_learned == o->learned_room) {
        o->learned_room = o->learned_room ? 2 * o->learned_room : 64;
        o->learned = xreallocarray(o->learned, o->learned_room, sizeof *o->learned);
    }
    o->learned[o->n_learned++] = *item;
}

/* The rows of an APPEND find their messages among those that were read, by hash and in order. */
static bool match_append(struct outbox *o, struct append *a)
{
    struct readback_item *sources = xcalloc(a->n, sizeof *sources);
    struct ledger_row *rows = xcalloc(a->n, sizeof *rows);
    for (size_t i = 0; i < a->n; i++) {
        sources[i] = (struct readback_item){.uid = a->rows[i].source_uid, .size = a->rows[i].size};
        memcpy(sources[i].hash, a->rows[i].hash, HASH_SIZE);
    }
    size_t n = match_items(sources, a->n, o->learned, o->n_learned, rows);
    if (n == a->n)
        memcpy(a->rows, rows, n * sizeof *rows);
    free(sources);
    free(rows);
    return n == a->n;
}

static void outbox_on_learned(void *owner, enum copy_rc rc, const char *why)
{
    struct outbox *o = owner;
    struct append *a = TAILQ_FIRST(&o->appends);
    readback_stop(&o->learning);
    if (rc == COPY_EQUAL)
        a->known = match_append(o, a);
    o->n_learned = 0;
    if (rc != COPY_EQUAL)
        outbox_failed(o, rc, "%s", why);
    else if (!a->known)
        outbox_failed(o, COPY_DIFFERS,
                      "UID %u to %u: the target took it, but not all of it can be found there",
                      a->rows[0].source_uid, a->rows[a->n - 1].source_uid);
    else
        o->fns->moved(o->owner);
}

static void ignore_end(void *owner, const struct imapc_end *e)
{
    (void)owner, (void)e; /* should it be down, the reading says so */
}

static enum imapc_taken on_target_data(void *owner, const struct imap_resp *resp,
                                       const struct imap_value *data)
{
    struct outbox *o = owner;
    return selected_data(&o->p->target, resp, data);
}

static void learn_uids(struct outbox *o)
{
    const struct imapc_command noop = {.data = on_target_data, .end = ignore_end, .owner = o};
    struct append *a = TAILQ_FIRST(&o->appends);
    struct imap_seq set = {0};
    if (!a || !a->answered || a->refused || a->known || o->learning || o->unanswered > 0 || o->open)
        return;
    imap_seq_add(&set, a->target_uidnext, UINT32_MAX);
    imapc_sendf(o->p->target.imap, &noop, "NOOP"); /* Courier shows what was appended only then */
    o->learning = readback_start(&o->p->target, &set, got_learned, outbox_on_learned, o);
    imap_seq_free(&set);
}

void outbox_settle(struct outbox *o)
{
    struct append *a;
    while ((a = TAILQ_FIRST(&o->appends)) && a->answered && a != o->open &&
           (is_one(a) || (!a->refused && a->known))) {
        if (a->refused)
            (a->limit ? o->fns->limited : o->fns->skipped)(o->owner, a->last_uid, a->refused);
        else if (a->n > 0)
            note_rows(o, a);
        append_free(a);
    }
    learn_uids(o);
}

static bool all_answered(const struct outbox *o)
{
    return o->unanswered == 0 && !o->open && !o->closing && o->writing == 0 && !o->learning && !o->undo;
}

bool outbox_is_idle(const struct outbox *o)
{
    return TAILQ_EMPTY(&o->appends) && all_answered(o);
}

bool outbox_is_stuck(const struct outbox *o)
{
    return !TAILQ_EMPTY(&o->appends) && all_answered(o) && TAILQ_FIRST(&o->appends)->refused;
}

/* --- refused --- */

struct outbox_refusal outbox_refusal(const struct outbox *o)
{
    const struct append *a = TAILQ_FIRST(&o->appends);
    return (struct outbox_refusal){a->last_uid, a->room, a->any, a->quota, a->refused};
}

static void outbox_forget_all(struct outbox *o)
{
    while (!TAILQ_EMPTY(&o->appends))
        append_free(TAILQ_FIRST(&o->appends));
    o->fns->moved(o->owner);
}

static void on_undone(void *owner, enum copy_rc rc, const char *why)
{
    struct outbox *o = owner;
    remove_stop(&o->undo);
    if (rc == COPY_EQUAL)
        outbox_forget_all(o);
    else
        outbox_failed(o, rc, "%s", why);
}

void outbox_undo(struct outbox *o)
{
    struct imap_seq uids = {0};
    const struct append *a;
    bool unknown = has_unknown(o);
    TAILQ_FOREACH(a, &o->appends, link)
    for (size_t i = 0; a->known && i < a->n; i++)
        imap_seq_add(&uids, a->rows[i].target_uid, a->rows[i].target_uid);
    if (unknown) /* the next run settles that */
        outbox_failed(o, COPY_DOWN, "a refused APPEND, and unknown UIDs behind it");
    else if (uids.n > 0)
        o->undo = remove_start(o->p, &uids, on_undone, o);
    else
        outbox_forget_all(o);
    imap_seq_free(&uids);
}
