#include <assert.h>
#include <stdlib.h>

#include "lib/metrics.h"
#include "lib/xalloc.h"

#include "match.h"
#include "outbox.h"
#include "readback.h"
#include "remove.h"

enum {
    AHEAD_MULTI = 6,      /* APPENDs in flight with MULTIAPPEND */
    AHEAD_SINGLE = 32,    /* without */
    AHEAD_NUMBERED = 2,   /* with it, where messages keep their numbers */
    FILL_APPEND = 500,    /* fillers in an APPEND */
    LEARN_MAX = 10 * 1000 /* messages that others may add while we look for ours */
};

struct outbox_filler {
    uint32_t number, uid; /* uid: which it got; 0 as long as it isn't known */
    size_t row;           /* in front of which it goes */
};

/* One APPEND. */
struct append {
    TAILQ_ENTRY(append) link;
    struct outbox *o;
    struct ledger_row *rows; /* messages that went out whole; target_uid 0 as long as it isn't known; owned */
    size_t n, room;          /* room 0: it is for fillers alone */
    struct outbox_filler *fillers; /* owned */
    size_t n_fillers, fillers_cap;
    uint32_t next;           /* the UID that the first in it was to get */
    uint32_t last_uid;       /* of the source, that it was for */
    uint32_t target_uidnext; /* before it, or lower */
    bool answered;
    bool cancelled; /* the one ahead was refused: this one must store nothing */
    bool known;     /* the UIDs of its rows */
    char *refused;  /* owned */
    bool any;       /* refused, and so would any other be */
    bool quota;
    bool limit; /* refused by LIMIT: for what it is, or for how much there was */
};

struct outbox {
    struct pair *p; /* borrowed */
    const struct outbox_fns *fns;
    void *owner;
    bool multi;
    size_t ahead;
    TAILQ_HEAD(appends, append) appends; /* in order; an open one is last */
    struct append *open;
    bool closing; /* the last one has all its bytes, and goes to its end when the ledger has their hashes */
    struct append *held; /* all its bytes are out, but not its end: the one ahead is not answered */
    size_t unanswered, writing;
    uint32_t uidnext, first;
    uint64_t largest; /* bytes of a message that was taken */

    /* of numbers */
    uint32_t next; /* which UID the next message will get */
    uint32_t tail; /* the source's UIDNEXT, where the message that is kept next is the last; else 0 */
    bool apart;    /* fillers go by themselves */
    struct numbering_jump jump;
    bool jumping;        /* to `next` */
    bool asking, proved; /* whether a jump has led to where it should */
    bool unfit;          /* the ledger has not got what the APPEND that is closing would store */

    struct readback *learning;
    struct readback_item *learned;
    size_t n_learned, learned_room;
    struct remove *undo;
};

static void append_free(struct append *a)
{
    TAILQ_REMOVE(&a->o->appends, a, link);
    free(a->rows);
    free(a->fillers);
    free(a->refused);
    free(a);
}

static void outbox_on_jumped(void *owner, enum numbering_jump_rc rc, const char *why);

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
    o->uidnext = o->next = selected_uidnext(&p->target);
    o->jump = (struct numbering_jump){outbox_on_jumped, o};
    o->proved = true;
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
    if (o->jumping)
        o->p->numbering->forget(o->p->numbering->owner, &o->jump);
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

/* Must an APPEND wait with its end for the one ahead? */
static bool keeps_back(const struct outbox *o)
{
    return o->multi && (pair_keeps_numbers(o->p) || o->p->depot);
}

bool outbox_may_begin(const struct outbox *o)
{
    size_t ahead = keeps_back(o) && o->ahead > AHEAD_NUMBERED ? AHEAD_NUMBERED : o->ahead;
    return o->open || (!o->closing && !o->held && !o->jumping && o->unanswered < ahead && !has_unknown(o));
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

/* n = 0: it is for fillers. */
static void open_append(struct outbox *o, const uint32_t *uids, size_t n)
{
    struct append *a = xcalloc(1, sizeof *a);
    const struct imapc_command cmd = {.data = on_append_data, .end = on_appended, .owner = a};
    a->o = o;
    a->room = o->multi || n == 0 ? n : 1;
    a->rows = xcalloc(a->room ? a->room : 1, sizeof *a->rows);
    a->last_uid = n > 0 ? uids[a->room - 1] : 0;
    a->target_uidnext = o->uidnext;
    a->next = o->next;
    TAILQ_INSERT_TAIL(&o->appends, a, link);
    o->unanswered++;
    o->open = a;
    imapc_append_begin(selected_imap(&o->p->target), span_str(o->p->target.name), &cmd);
}

/* The next UID goes to a filler, in the APPEND that is open. */
static void outbox_add_filler(struct outbox *o)
{
    struct append *a = o->open;
    struct buf text = {0};
    if (a->n_fillers == a->fillers_cap) {
        a->fillers_cap = a->fillers_cap ? 2 * a->fillers_cap : 16;
        a->fillers = xreallocarray(a->fillers, a->fillers_cap, sizeof *a->fillers);
    }
    filler_write(&text, ledger_filler_id(o->p->ledger), o->next);
    imapc_append_message(o->p->target.imap, span_str("\\Seen \\Deleted"),
                         span_str("01-Jan-2000 00:00:00 +0000"), text.len);
    imapc_append_bytes(o->p->target.imap, buf_span(&text));
    buf_free(&text);
    a->fillers[a->n_fillers++] = (struct outbox_filler){.number = o->next++, .row = a->n};
    o->p->numbering->gaps_left--;
}

void outbox_begin(struct outbox *o, const struct mbox_msg *m, uint64_t size, const uint32_t *uids, size_t n)
{
    struct buf date = {0};
    uint32_t kept, lost;
    if (!o->open)
        open_append(o, uids, n);
    while (pair_keeps_numbers(o->p) && o->next < m->uid)
        outbox_add_filler(o);
    o->next +=
        o->next < UINT32_MAX; /* where it is above the message's, the numbers are lost if that is taken */
    flags_split(o->p->flags, &o->p->target.permanent, m->flags, &kept, &lost);
    date_format(&date, (struct mail_date){m->instant, m->zone});
    imapc_append_message(o->p->target.imap, span_str(flags_text(o->p->flags, kept)), buf_span(&date), size);
    buf_free(&date);
}

void outbox_bytes(struct outbox *o, struct span bytes)
{
    imapc_append_bytes(o->p->target.imap, bytes);
}

static void outbox_let_end(struct outbox *o)
{
    struct append *a = o->held;
    if (!a || (keeps_back(o) && o->unanswered > !a->answered))
        return;
    o->held = NULL;
    if (a->cancelled && !a->answered)
        imapc_append_message(o->p->target.imap, span_str(""), span_str("01-Jan-2000 00:00:00 +0000"), 0);
    imapc_append_end(o->p->target.imap);
}

/* Nothing is stored before the end of the APPEND. Whatever becomes of it and of us, its messages can be told
 * from others' from now on. */
static void on_sent(void *owner, enum route_rc rc)
{
    struct outbox *o = owner;
    o->closing = false;
    if (rc == ROUTE_OK && !o->unfit) {
        o->held = TAILQ_LAST(&o->appends, appends);
        outbox_let_end(o);
        o->fns->moved(o->owner);
    } else {
        outbox_failed(o, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, "%s", ledger_error(o->p->ledger));
    }
}

static void on_fill_sent(void *owner, enum route_rc rc)
{
    struct outbox *o = owner;
    o->unfit = rc != ROUTE_OK;
    if (o->unfit)
        outbox_failed(o, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, "%s", ledger_error(o->p->ledger));
}

void outbox_close(struct outbox *o)
{
    struct append *a = o->open;
    struct imap_seq numbers = {0};
    if (!a)
        return;
    o->open = NULL;
    o->closing = true;
    for (size_t i = 0; i < a->n_fillers; i++)
        imap_seq_add(&numbers, a->fillers[i].number, a->fillers[i].number);
    if (numbers.n > 0)
        ledger_fill(o->p->ledger, &numbers, a->n > 0 ? on_fill_sent : on_sent, o);
    if (a->n > 0)
        ledger_sent(o->p->ledger, a->rows, a->n, on_sent, o);
    imap_seq_free(&numbers);
}

void outbox_keep(struct outbox *o, const struct ledger_row *row)
{
    struct append *a = o->open;
    assert(a && a->n < a->room);
    a->rows[a->n++] = *row;
    if (a->n < a->room)
        return;
    while (pair_keeps_numbers(o->p) && o->next < o->tail)
        outbox_add_filler(o);
    o->tail = 0;
    outbox_close(o);
}

static void outbox_check_numbers(const struct append *a, bool told);

void outbox_stored(struct outbox *o, const struct ledger_row *row)
{
    struct append *a = xcalloc(1, sizeof *a);
    a->o = o;
    a->rows = xcalloc(1, sizeof *a->rows);
    a->rows[0] = *row;
    a->n = a->room = 1;
    a->last_uid = row->source_uid;
    a->answered = a->known = true;
    TAILQ_INSERT_TAIL(&o->appends, a, link);
    o->next = row->target_uid < UINT32_MAX ? row->target_uid + 1 : row->target_uid;
    outbox_check_numbers(a, true);
}

void outbox_ends_at(struct outbox *o, uint32_t uidnext)
{
    const struct numbering *n = o->p->numbering;
    if (!pair_keeps_numbers(o->p) || !o->multi || o->apart || uidnext <= o->next)
        return;
    uint32_t gap = uidnext - o->next;
    bool jumps = n->jump && gap > n->fill_max;
    if (!jumps && gap <= n->gaps_left && o->open->n_fillers + gap <= FILL_APPEND)
        o->tail = uidnext;
}

/* --- numbers --- */

static void outbox_on_jumped(void *owner, enum numbering_jump_rc rc, const char *why)
{
    struct outbox *o = owner;
    o->jumping = false;
    o->proved = false;
    if (rc == JUMP_LATER) {
        outbox_failed(o, COPY_DOWN, "the target's next UID can't be set to %u: %s", o->next, why);
        return;
    }
    if (rc == JUMP_DONE)
        o->uidnext = o->next;
    else
        pair_lose_numbers(o->p, "the target's next UID can't be set to %u: %s", o->next, why);
    o->fns->moved(o->owner);
}

static bool jumps_now(struct outbox *o, uint32_t uid)
{
    outbox_close(o);
    if (o->unanswered > 0 || o->closing || has_unknown(o))
        return false;
    o->jumping = true;
    o->next = uid;
    o->p->numbering->gaps_left--;
    o->p->numbering->jump(o->p->numbering->owner, uid, &o->jump);
    return false;
}

/* By APPENDs of their own. */
static bool fills_now(struct outbox *o, uint32_t uid)
{
    if (o->open && o->open->room > 0)
        outbox_close(o);
    while (o->next < uid && outbox_may_begin(o)) {
        open_append(o, NULL, 0);
        do
            outbox_add_filler(o);
        while (o->multi && o->next < uid && o->open->n_fillers < FILL_APPEND);
        outbox_close(o);
    }
    return o->next == uid;
}

enum outbox_gap { GAP_NONE, GAP_WAIT, GAP_JUMP, GAP_FILL };

static bool has_refused(const struct outbox *o)
{
    const struct append *a;
    TAILQ_FOREACH(a, &o->appends, link)
    if (a->refused)
        return true;
    return false;
}

/* What lies between the UID that is the next one and the one that is to be. */
static enum outbox_gap outbox_gap(struct outbox *o, uint32_t uid)
{
    const struct numbering *numbering = o->p->numbering;
    if (!pair_keeps_numbers(o->p))
        return GAP_NONE;
    if (o->jumping || o->asking || has_refused(o) || imapc_append_full(o->p->target.imap))
        return GAP_WAIT;
    if (uid < o->next)
        return GAP_NONE;
    uint32_t gap = uid - o->next;
    bool jumps = numbering->jump && gap > numbering->fill_max;
    if (gap > 0 && (jumps ? 1 : gap) > numbering->gaps_left)
        pair_lose_numbers(o->p, "too many UIDs have no message");
    else if (gap > 0)
        return jumps ? GAP_JUMP : GAP_FILL;
    return GAP_NONE;
}

bool outbox_reach(struct outbox *o, uint32_t uid)
{
    switch (outbox_gap(o, uid)) {
    case GAP_NONE:
        return true;
    case GAP_WAIT:
        return false;
    case GAP_JUMP:
        return jumps_now(o, uid);
    case GAP_FILL:
        break;
    }
    size_t fillers = (o->open ? o->open->n_fillers : 0) + (size_t)(uid - o->next);
    return (o->multi && !o->apart && fillers <= FILL_APPEND) || fills_now(o, uid);
}

static void on_proved(void *owner, const struct imapc_end *e)
{
    struct outbox *o = owner;
    o->asking = false;
    o->proved = true;
    if (e->rc == IMAPC_DOWN)
        outbox_failed(o, COPY_DOWN, "target: %s", imapc_error(o->p->target.imap));
    else if (o->p->target.uidnext != o->next)
        pair_lose_numbers(o->p, "the target's next UID is %u, and was to be %u", o->p->target.uidnext,
                          o->next);
    o->fns->moved(o->owner);
}

static enum imapc_taken on_target_data(void *owner, const struct imap_resp *resp,
                                       const struct imap_value *data);
static void ignore_end(void *owner, const struct imapc_end *e);

/* Is UIDNEXT what the jump was to make it? Before STATUS the server looks at the mailbox. */
static void ask_uidnext(struct outbox *o)
{
    const struct imapc_command noop = {.data = on_target_data, .end = ignore_end, .owner = o};
    const struct imapc_command status = {.data = on_target_data, .end = on_proved, .owner = o};
    o->asking = true;
    imapc_sendf(selected_imap(&o->p->target), &noop, "NOOP");
    imapc_send_named(selected_imap(&o->p->target), &status, "STATUS", o->p->target.name, " (UIDNEXT)");
}

bool outbox_raise(struct outbox *o, uint32_t uidnext)
{
    switch (outbox_gap(o, uidnext)) {
    case GAP_NONE:
        if (uidnext < o->next)
            pair_lose_numbers(o->p, "the target's next UID is %u, above %u", o->next, uidnext);
        if (pair_keeps_numbers(o->p) && !o->proved)
            ask_uidnext(o);
        return !o->asking;
    case GAP_WAIT:
        return false;
    case GAP_JUMP:
        return jumps_now(o, uidnext);
    case GAP_FILL:
        break;
    }
    return fills_now(o, uidnext);
}

/* Each has the UID that was wanted for it? */
static void outbox_check_numbers(const struct append *a, bool told)
{
    struct pair *p = a->o->p;
    if (!told)
        pair_lose_numbers(p, "the target does not tell the UIDs that it gives (APPENDUID)");
    for (size_t i = 0; told && i < a->n_fillers; i++)
        if (a->fillers[i].uid != a->fillers[i].number)
            pair_lose_numbers(p, "the target gave UID %u where UID %u was wanted", a->fillers[i].uid,
                              a->fillers[i].number);
    for (size_t i = 0; told && i < a->n; i++)
        if (a->rows[i].target_uid != a->rows[i].source_uid)
            pair_lose_numbers(p, "the target gave UID %u where UID %u was wanted", a->rows[i].target_uid,
                              a->rows[i].source_uid);
}

/* --- answers --- */

struct uid_reader {
    struct append *a;
    size_t n, row, filler;
    uint32_t last;
    bool ascending;
    bool old; /* one of them was there before, or is another copy of ours */
};

/* What the target had before can't be what it just took. */
static bool was_there(const struct outbox *o, uint32_t uid)
{
    return mbox_list_find(&o->p->target.list, uid) || ledger_find_target(o->p->ledger, uid) ||
           imap_seq_has(&ledger_fillers(o->p->ledger)->there, uid);
}

static void outbox_take_uid(void *arg, uint32_t uid)
{
    struct uid_reader *r = arg;
    struct append *a = r->a;
    r->old = r->old || was_there(a->o, uid);
    r->ascending = r->ascending && uid > r->last;
    r->last = uid;
    if (r->filler < a->n_fillers && a->fillers[r->filler].row == r->row)
        a->fillers[r->filler++].uid = uid;
    else if (r->row < a->n)
        a->rows[r->row++].target_uid = uid;
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
    size_t n = a->n + a->n_fillers;
    return imap_seq_each(uids, n, outbox_take_uid, &r) && r.n == n && r.ascending && !r.old;
}

/* RFC 5530: codes that are about the account or the mailbox and not about the message. */
static void outbox_note_refusal(struct append *a, const struct imapc_end *e, const char *text)
{
    a->refused = xstrdup(text);
    if (a->cancelled)
        return;
    a->o->apart = a->o->apart || a->n_fillers > 0;
    if (a->room == 0)
        pair_lose_numbers(a->o->p, "the target refuses what is to hold the place of a UID: %s", text);
    a->limit = imapc_end_is_limit(e);
    a->quota = imap_code_is(e->code, "OVERQUOTA", NULL);
    a->any = a->quota || imap_code_is(e->code, "NOPERM", NULL) || imap_code_is(e->code, "TRYCREATE", NULL) ||
             imap_code_is(e->code, "NONEXISTENT", NULL);
}

/* Just the message at fault: it is left out. */
static bool is_one(const struct append *a)
{
    return a->refused && !a->cancelled && a->room == 1 && a->n_fillers == 0 && !a->any;
}

static bool is_refused_fillers(const struct append *a)
{
    return a->refused && a->room == 0;
}

/* Without UIDs fillers are known by their bytes (fillers.h). */
static void outbox_taken(struct append *a, const struct imapc_end *e)
{
    bool told = read_append_uids(a, e->code);
    a->known = told || a->n == 0;
    for (size_t i = 0; !told && i < a->n_fillers; i++)
        a->fillers[i].uid = 0;
    outbox_check_numbers(a, told);
}

/* What would have followed must not be stored: it would get the number of what was refused. */
static void cancel_behind(const struct outbox *o, const struct append *a)
{
    if (!keeps_back(o))
        return;
    for (struct append *b = TAILQ_NEXT(a, link); b; b = TAILQ_NEXT(b, link)) {
        b->cancelled = true;
        b->next = a->next;
    }
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
        outbox_taken(a, e);
    else if (imapc_end_temporary(e) && !imapc_end_is_limit(e))
        outbox_failed(o, COPY_DOWN, "target: %s", text);
    else
        outbox_note_refusal(a, e, text);
    free(text);
    if (a->refused)
        cancel_behind(o, a);
    const struct append *behind = TAILQ_NEXT(a, link);
    if (a->refused && ((behind && behind->cancelled) || (!is_one(a) && !is_refused_fillers(a))))
        o->fns->refused(o->owner);
    outbox_let_end(o);
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

static void note_uid(struct outbox *o, uint32_t uid)
{
    uint32_t next = uid == UINT32_MAX ? uid : uid + 1;
    o->uidnext = next > o->uidnext ? next : o->uidnext;
    if (next > o->p->target.uidnext && o->p->target.uidnext > 0)
        o->p->target.uidnext = next;
    if (o->first == 0 || uid < o->first)
        o->first = uid;
}

static void note_fillers(struct outbox *o, const struct append *a)
{
    struct imap_seq numbers = {0}, uids = {0};
    for (size_t i = 0; i < a->n_fillers && a->fillers[i].uid > 0; i++) {
        imap_seq_add(&numbers, a->fillers[i].number, a->fillers[i].number);
        imap_seq_add(&uids, a->fillers[i].uid, a->fillers[i].uid);
        note_uid(o, a->fillers[i].uid);
    }
    if (uids.n > 0) {
        o->writing++;
        o->proved = true;
        ledger_filled(o->p->ledger, &numbers, &uids, outbox_on_done, o);
    } else if (a->n_fillers > 0 && o->first == 0) {
        o->first = a->target_uidnext;
    }
    imap_seq_free(&numbers);
    imap_seq_free(&uids);
}

static void outbox_count(const struct append *a)
{
    metric_add(METRIC_MESSAGES_COPIED, a->n, NULL, NULL);
    for (size_t i = 0; i < a->n; i++) {
        metric_add(METRIC_BYTES_COPIED, a->rows[i].size, NULL, NULL);
        if (a->rows[i].verified) {
            metric_add(METRIC_MESSAGES_VERIFIED, 1, NULL, NULL);
            metric_add(METRIC_BYTES_VERIFIED, a->rows[i].size, NULL, NULL);
        }
    }
}

static void note_rows(struct outbox *o, const struct append *a)
{
    for (size_t i = 0; i < a->n; i++) {
        note_uid(o, a->rows[i].target_uid);
        o->largest = a->rows[i].size > o->largest ? a->rows[i].size : o->largest;
    }
    o->proved = true;
    o->p->counts.appended += a->n;
    outbox_count(a);
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
    imapc_sendf(selected_imap(&o->p->target), &noop, "NOOP"); /* Courier shows what was appended only then */
    o->learning = readback_start(&o->p->target, &set, got_learned, outbox_on_learned, o);
    imap_seq_free(&set);
}

/* The UID of what was refused is given to what follows: nothing may have gone out behind it. */
static void unuse_number(struct outbox *o, struct append *a)
{
    const struct append *behind = TAILQ_NEXT(a, link);
    if (behind && !behind->cancelled)
        pair_lose_numbers(o->p, "the target refused UID %u, and what followed got its number", a->last_uid);
    o->next = a->next;
}

void outbox_settle(struct outbox *o)
{
    struct append *a;
    while ((a = TAILQ_FIRST(&o->appends)) && a->answered && a != o->open &&
           (is_one(a) || is_refused_fillers(a) || (!a->refused && a->known))) {
        if (a->refused)
            unuse_number(o, a);
        if (is_one(a)) {
            (a->limit ? o->fns->limited : o->fns->skipped)(o->owner, a->last_uid, a->refused);
        } else if (!a->refused) {
            note_fillers(o, a);
            if (a->n > 0)
                note_rows(o, a);
        }
        append_free(a);
    }
    learn_uids(o);
}

static bool all_answered(const struct outbox *o)
{
    return o->unanswered == 0 && !o->open && !o->closing && !o->held && o->writing == 0 && !o->learning &&
           !o->undo && !o->jumping && !o->asking;
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
    o->next = TAILQ_FIRST(&o->appends)->next;
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
    if (uids.n > 0)
        pair_lose_numbers(o->p, "the target refused messages, and what followed got their numbers");
    if (unknown) /* the next run settles that */
        outbox_failed(o, COPY_DOWN, "a refused APPEND, and unknown UIDs behind it");
    else if (uids.n > 0)
        o->undo = remove_start(o->p, &uids, on_undone, o);
    else
        outbox_forget_all(o);
    imap_seq_free(&uids);
}
