#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "delta.h"
#include "deposit.h"
#include "hasher.h"
#include "limit.h"
#include "migrator/found/waiver.h"
#include "outbox.h"
#include "plain.h"
#include "transfer.h"

enum {
    BATCH_MESSAGES = 500,
    BATCH_BYTES = 8 * 1024 * 1024,
    /* A server may answer two FETCHes at once, and bodies are needed in their order. So the next window is asked
     * for when the last body of this one comes, which costs a round trip: few windows, then. But in trouble what
     * is left of one is thrown away, and where there was some there is seldom no more */
    WINDOW_MESSAGES = 20 * 1000,
    WINDOW_TROUBLED = 2000,
    WINDOW_BYTES = 64 * 1024 * 1024,
    WINDOW_TEXT = 4000, /* bytes of a set of UIDs, so that one more batch fits into 8000 */
    INTENTS_AHEAD = 6,  /* batches */
    NARROW = 5,         /* a refused batch is tried again in parts of a fifth, down to the message at fault */
    TRIES = 3,          /* of a message that the source does not give */
    REFUSED_MAX = 1000  /* messages that the target refuses, until no more are tried */
};

#define REFUSES "the target refuses it: %s"

enum transfer_state { RUN, DRAIN, UNDO, DEPOSIT, RESYNC };

/* Messages of one intent. */
struct transfer_batch {
    TAILQ_ENTRY(transfer_batch) link;
    struct transfer *t;
    uint32_t *uids; /* ascending; owned */
    size_t n, next; /* next: the first whose body has not come whole */
    bool intent_sent, intent_ok;
};

/* The messages of one FETCH. */
struct transfer_window {
    TAILQ_ENTRY(transfer_window) link;
    struct transfer *t;
    uint32_t last_uid;
};

/* The body that is coming. */
struct body {
    uint32_t uid;
    uint64_t size;
    bool held;   /* its head is there, but it may not go out yet */
    bool early;  /* ... and nobody has looked at it: the transfer is ahead */
    bool untold; /* its response has not told the UID yet */
    bool goes;   /* out; else it is thrown away */
    bool whole;  /* it went out, and its response has not ended */
    uint8_t hash[HASH_SIZE];
};

struct transfer {
    struct pair *p; /* borrowed */
    step_fn fn;
    void *owner;
    struct loop_task task; /* looks what there is to do, outside of any callback */
    enum transfer_state state;
    bool over;
    enum copy_rc rc;
    char *why; /* owned */

    uint32_t *plan; /* source UIDs; owned */
    size_t n_plan, planned;
    struct imap_seq left;    /* out of every plan, and named */
    struct imap_seq skipped; /* of these, those that an intent may name */
    bool noted;              /* skipped is in the ledger, or on its way */
    struct limits limits;    /* refused by LIMIT; judged once it is known what that means */
    bool smallest_first;     /* the plan is the smallest message alone: it tells what the limit is */
    size_t refused;
    bool stop;              /* no more, as soon as all is answered */
    size_t window_max;      /* messages */
    uint32_t careful_until; /* up to this UID a window is one batch, of at most careful_max messages */
    size_t careful_max;
    uint32_t suspect;   /* did not come when it was due */
    unsigned suspected; /* how often in a row */

    TAILQ_HEAD(windows, transfer_window) windows; /* FETCH not answered */
    TAILQ_HEAD(, transfer_batch) batches;         /* bodies to come, or intent not answered */
    bool last_began;                              /* the last body of the newest window */
    struct body body;
    struct hasher *hasher;
    size_t intents;   /* not answered */
    bool full;        /* the target is; the source is paused for it */
    bool source_read; /* pair.source_read() was called */
    /* Where what is refused may go another way: */
    struct plain plain;   /* of the body that is coming */
    bool seen;            /* ... it has come whole */
    struct imap_seq odd;  /* source UIDs of those that were read and are not plain */
    bool shuns_odd;       /* these are not appended any more */
    char *refusal;        /* ... since the target said this; owned */
    uint32_t deposit_uid; /* goes now */
    struct deposit *deposit;
    struct outbox *outbox; /* NULL: it is ahead, see transfer_start_ahead() */
};

static void transfer_step_soon(struct transfer *t)
{
    loop_defer(t->p->loop, &t->task);
}

/* --- ends --- */

static void batch_free(struct transfer_batch *b)
{
    TAILQ_REMOVE(&b->t->batches, b, link);
    free(b->uids);
    free(b);
}

static void window_free(struct transfer_window *w)
{
    TAILQ_REMOVE(&w->t->windows, w, link);
    free(w);
}

void transfer_stop(struct transfer **tp)
{
    struct transfer *t = *tp;
    struct transfer_batch *b;
    struct transfer_window *w;
    if (!t)
        return;
    *tp = NULL;
    loop_undefer(t->p->loop, &t->task);
    deposit_stop(&t->deposit);
    outbox_free(&t->outbox);
    ledger_forget(t->p->ledger, t);
    imapc_forget(t->p->source.imap, t);
    while ((w = TAILQ_FIRST(&t->windows))) {
        imapc_forget(t->p->source.imap, w);
        window_free(w);
    }
    while ((b = TAILQ_FIRST(&t->batches))) {
        ledger_forget(t->p->ledger, b);
        batch_free(b);
    }
    if (!t->p->source.given)
        imapc_resume(t->p->source.imap);
    hasher_free(&t->hasher);
    imap_seq_free(&t->left);
    imap_seq_free(&t->skipped);
    imap_seq_free(&t->odd);
    limits_free(&t->limits);
    free(t->plan);
    free(t->refusal);
    free(t->why);
    free(t);
}

static void transfer_finish(struct transfer *t, enum copy_rc rc, const char *why)
{
    if (t->over)
        return;
    t->over = true;
    t->rc = rc;
    t->why = xstrdup(why);
    transfer_step_soon(t);
}

uint32_t transfer_first(const struct transfer *t)
{
    return t->outbox ? outbox_first(t->outbox) : 0;
}

/* The message will not go, which is named; the rest does. */
static void transfer_skip(struct transfer *t, enum finding_kind kind, uint32_t uid, const char *why)
{
    imap_seq_add(&t->left, uid, uid);
    imap_seq_add(&t->skipped, uid, uid);
    pair_name(t->p, kind, uid, "%s", why);
}

/* --- the plan --- */

/* A message as rules see it. */
struct ruled {
    struct leave_out_message seen;
    const struct flags_pool *pool;
    uint32_t flags;
};

static bool transfer_has_flag(const struct leave_out_message *m, const char *flag)
{
    const struct ruled *r = CONTAINER_OF(m, const struct ruled, seen);
    return flags_has(r->pool, r->flags, flag);
}

/* The rule of the site that leaves it out; NULL: none. */
static const char *rule_of(const struct pair *p, const struct mbox_msg *m)
{
    struct ruled r = {.seen = {.size = m->size,
                               .instant = m->instant,
                               .dated = !m->date_bad,
                               .has_flag = transfer_has_flag},
                      .pool = p->flags,
                      .flags = m->flags};
    unsigned rule = leave_out_means(p->leave_out, p->leave_out_rules, &r.seen, p->began_s);
    return rule ? leave_out_rule(p->leave_out, rule) : NULL;
}

/* More than the server takes, or this mailbox of it? */
static bool is_too_large(const struct transfer *t, const struct mbox_msg *m, uint64_t *_limit)
{
    const struct selected *target = &t->p->target;
    uint64_t limit = imapc_caps(target->imap)->appendlimit;
    bool limited = limit > 0;
    if (target->limited && (!limited || target->appendlimit < limit))
        limit = target->appendlimit;
    *_limit = limit;
    return (limited || target->limited) && m->size > limit;
}

static void name_foreseen(struct transfer *t, const struct mbox_msg *m, enum finding_kind kind,
                          const char *rule, uint64_t limit)
{
    if (kind == FINDING_LEFT_OUT)
        pair_name(t->p, kind, m->uid, "%s (%u bytes)", rule, m->size);
    else if (kind == FINDING_LEFT_BY_WAIVER)
        pair_name(t->p, kind, m->uid, "left out, as a person waived it");
    else if (kind == FINDING_BAD_DATE)
        pair_name(t->p, kind, m->uid, "its INTERNALDATE is no date");
    else
        pair_name(t->p, kind, m->uid, "%u bytes are more than the target takes (%llu)", m->size,
                  (unsigned long long)limit);
}

/* What is known not to go, or shall not, before a byte is read. named: is it told as well? */
static bool foresee_fault(struct transfer *t, const struct mbox_msg *m, bool named)
{
    const char *rule = rule_of(t->p, m);
    enum finding_kind kind;
    uint64_t limit = 0;
    if (rule)
        kind = FINDING_LEFT_OUT;
    else if (t->p->waivers &&
             waivers_have_message(t->p->waivers, t->p->source.name, t->p->source.uidvalidity, m->uid))
        kind = FINDING_LEFT_BY_WAIVER;
    else if (m->date_bad)
        kind = FINDING_BAD_DATE;
    else if (is_too_large(t, m, &limit))
        kind = FINDING_TOO_LARGE;
    else
        return false;
    if (named)
        name_foreseen(t, m, kind, rule, limit);
    return true;
}

/* No more are tried. */
static void stop_refused(struct transfer *t)
{
    findings_add(t->p->findings, FINDING_REFUSED, t->p->source.name, 0,
                 "the target refused %d messages, so no more were tried", REFUSED_MAX);
    t->stop = true;
}

/* The target does not take it. */
static void transfer_refuse(struct transfer *t, uint32_t uid, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void transfer_refuse(struct transfer *t, uint32_t uid, const char *fmt, ...)
{
    struct buf why = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&why, fmt, ap);
    va_end(ap);
    transfer_skip(t, FINDING_REFUSED, uid, buf_str(&why));
    buf_free(&why);
    if (++t->refused == REFUSED_MAX)
        stop_refused(t);
}

static uint32_t transfer_size_of(const struct transfer *t, uint32_t uid)
{
    const struct mbox_msg *m = mbox_list_find(&t->p->source.list, uid);
    return m ? m->size : 0;
}

/* All of the plan is at least as large as what the target refuses. */
static void leave_larger(struct transfer *t)
{
    const struct limited *x = &t->limits.smallest;
    for (size_t i = 0; i < t->n_plan && !t->stop; i++)
        transfer_refuse(t, t->plan[i],
                        "not tried, since it is no smaller than UID %u, which the target refuses: %s", x->uid,
                        x->text);
    t->n_plan = 0;
}

/* It is tried before its turn: where others below it are taken later, it is taken back and appended again
 * behind them, as any late success is, which needs UIDPLUS. */
static bool wants_smallest(const struct transfer *t)
{
    return imap_caps_has(imapc_caps(t->p->target.imap), CAP_UIDPLUS) &&
           limits_want_smallest(&t->limits, outbox_largest(t->outbox));
}

static void plan_smallest(struct transfer *t)
{
    size_t best = 0;
    t->smallest_first = wants_smallest(t);
    if (!t->smallest_first || t->n_plan == 0)
        return;
    for (size_t i = 1; i < t->n_plan; i++)
        if (transfer_size_of(t, t->plan[i]) < transfer_size_of(t, t->plan[best]))
            best = i;
    if (transfer_size_of(t, t->plan[best]) >= t->limits.smallest.size) {
        leave_larger(t);
    } else {
        t->plan[0] = t->plan[best];
        t->n_plan = 1;
    }
}

static void transfer_make_plan(struct transfer *t)
{
    struct delta d = {.source = &t->p->source.list, .target = &t->p->target.list};
    size_t n, kept = 0;
    d.rows = ledger_rows(t->p->ledger, &d.n_rows);
    free(t->plan);
    t->planned = 0;
    t->plan = pair_missing(t->p, &n);
    for (size_t i = 0; i < n; i++) {
        uint32_t uid = t->plan[i];
        if (imap_seq_has(&t->left, uid))
            continue;
        if (foresee_fault(t, mbox_list_find(d.source, uid), true))
            imap_seq_add(&t->left, uid, uid);
        else
            t->plan[kept++] = uid;
    }
    t->n_plan = kept;
    plan_smallest(t);
}

/* As far as can be told while the target is not open: what is wrong is named by the plan that follows. */
static void make_plan_ahead(struct transfer *t)
{
    size_t n, kept = 0;
    t->plan = pair_missing(t->p, &n);
    for (size_t i = 0; i < n; i++)
        if (!foresee_fault(t, mbox_list_find(&t->p->source.list, t->plan[i]), false))
            t->plan[kept++] = t->plan[i];
    t->n_plan = kept;
}

static bool may_deposit(const struct transfer *t, uint32_t uid)
{
    const struct mbox_msg *m = mbox_list_find(&t->p->source.list, uid);
    return t->p->depot && m && depot_takes_instant(m->instant) && imap_seq_has(&t->odd, uid);
}

/* Is the next of the plan known to go another way? */
static bool next_is_shunned(const struct transfer *t)
{
    return t->shuns_odd && t->planned < t->n_plan && may_deposit(t, t->plan[t->planned]);
}

/* Around some trouble. */
static bool be_careful(const struct transfer *t)
{
    return t->plan[t->planned] <= t->careful_until;
}

/* Makes the next batch of the plan; adds to *messages and *bytes. */
static struct transfer_batch *add_batch(struct transfer *t, size_t *messages, uint64_t *bytes)
{
    struct transfer_batch *b = xcalloc(1, sizeof *b);
    size_t max = be_careful(t) && t->careful_max < BATCH_MESSAGES ? t->careful_max : BATCH_MESSAGES;
    uint64_t sum = 0;
    b->t = t;
    b->uids = xcalloc(max, sizeof *b->uids);
    while (b->n < max && t->planned < t->n_plan && !next_is_shunned(t)) {
        const struct mbox_msg *m = mbox_list_find(&t->p->source.list, t->plan[t->planned]);
        uint64_t size = m ? m->size : 0;
        if (b->n > 0 && (sum + size > BATCH_BYTES || size == 0))
            break;
        sum += size;
        b->uids[b->n++] = t->plan[t->planned++];
        if (size == 0)
            break; /* an empty one can be left out only where it is alone */
    }
    *messages += b->n;
    *bytes += sum;
    TAILQ_INSERT_TAIL(&t->batches, b, link);
    return b;
}

static void transfer_body_begin(void *owner, uint32_t seq, uint32_t uid, uint64_t size);
static void transfer_body_piece(void *owner, struct span bytes);
static void transfer_body_end(void *owner);
static enum imapc_taken transfer_on_fetch_data(void *owner, const struct imap_resp *resp,
                                               const struct imap_value *data);
static void transfer_on_fetched(void *owner, const struct imapc_end *e);
static void transfer_on_intent(void *owner, enum route_rc rc);

static void send_fetch(struct transfer *t, const struct imap_seq *uids, uint32_t last_uid)
{
    static const struct imapc_body_fns body = {
        .begin = transfer_body_begin, .piece = transfer_body_piece, .end = transfer_body_end};
    struct transfer_window *w = xcalloc(1, sizeof *w);
    const struct imapc_command cmd = {
        .data = transfer_on_fetch_data, .body = &body, .end = transfer_on_fetched, .owner = w};
    struct buf text = {0};
    w->t = t;
    w->last_uid = last_uid;
    TAILQ_INSERT_TAIL(&t->windows, w, link);
    t->last_began = false;
    imap_seq_write(&text, uids);
    imapc_sendf(selected_imap(&t->p->source), &cmd, "UID FETCH %s (UID BODY.PEEK[])", buf_str(&text));
    buf_free(&text);
}

static void add_window(struct transfer *t)
{
    struct imap_seq uids = {0};
    struct buf text = {0};
    size_t messages = 0;
    uint64_t bytes = 0;
    uint32_t last_uid = 0;
    bool careful = be_careful(t);
    while (t->planned < t->n_plan && !next_is_shunned(t) && messages < t->window_max &&
           bytes < WINDOW_BYTES && text.len < WINDOW_TEXT && !(careful && messages > 0)) {
        const struct transfer_batch *b = add_batch(t, &messages, &bytes);
        last_uid = b->uids[b->n - 1];
        for (size_t i = 0; i < b->n; i++)
            imap_seq_add(&uids, b->uids[i], b->uids[i]);
        buf_clear(&text);
        imap_seq_write(&text, &uids);
    }
    if (careful && t->careful_max < BATCH_MESSAGES)
        t->careful_max *= 2;
    send_fetch(t, &uids, last_uid);
    buf_free(&text);
    imap_seq_free(&uids);
}

/* Intents go out shortly before their batch: as few messages as may be are in doubt when we are killed. */
static void send_intents(struct transfer *t)
{
    struct transfer_batch *b;
    unsigned n = 0;
    TAILQ_FOREACH(b, &t->batches, link)
    {
        if (n++ == INTENTS_AHEAD)
            break;
        if (b->intent_sent)
            continue;
        b->intent_sent = true;
        t->intents++;
        ledger_intent(t->p->ledger, outbox_uidnext(t->outbox), b->uids, b->n, transfer_on_intent, b);
    }
}

static void transfer_fill(struct transfer *t)
{
    if (t->planned < t->n_plan && !next_is_shunned(t) &&
        (TAILQ_EMPTY(&t->windows) || (t->last_began && !be_careful(t))))
        add_window(t);
    if (t->outbox)
        send_intents(t);
}

/* --- bodies on their way out --- */

/* The batch whose turn it is; NULL: nothing is due. */
static struct transfer_batch *transfer_current(const struct transfer *t)
{
    struct transfer_batch *b;
    TAILQ_FOREACH(b, &t->batches, link)
    if (b->next < b->n)
        return b;
    return NULL;
}

static void update_pause(struct transfer *t)
{
    if (t->p->source.given) /* it is another's */
        return;
    if (t->body.held || t->full)
        imapc_pause(t->p->source.imap);
    else
        imapc_resume(t->p->source.imap);
}

static void begin_message(struct transfer *t, struct transfer_batch *b)
{
    t->body.goes = true;
    hasher_begin(t->hasher);
    outbox_begin(t->outbox, mbox_list_find(&t->p->source.list, t->body.uid), t->body.size, b->uids + b->next,
                 b->n - b->next);
}

static bool may_begin(const struct transfer *t, const struct transfer_batch *b)
{
    return b->intent_ok && outbox_reach(t->outbox, t->body.uid) && outbox_may_begin(t->outbox);
}

/* Something that a held body may have waited for has happened. */
static void try_held(struct transfer *t)
{
    struct transfer_batch *b = transfer_current(t);
    bool run = t->state == RUN && !t->over && b;
    if (!t->body.held || (t->state == RUN && t->body.early) || (run && !may_begin(t, b)))
        return;
    t->body.held = false;
    if (run)
        begin_message(t, b); /* else it is thrown away */
    update_pause(t);
}

void transfer_drained(struct transfer *t)
{
    t->full = false;
    if (!t->over)
        update_pause(t);
    transfer_step_soon(t);
}

/* --- trouble --- */

static void transfer_drain(struct transfer *t)
{
    if (t->over || t->state != RUN)
        return;
    t->state = DRAIN;
    t->window_max = WINDOW_TROUBLED;
    if (t->outbox && !t->body.goes)
        outbox_close(t->outbox); /* else it is closed behind the body that is under way */
    try_held(t);
    transfer_step_soon(t);
}

/* The source did not give this message, or not what it is. After some tries it is left out. */
static void transfer_miss(struct transfer *t, enum finding_kind kind, uint32_t uid, const char *why)
{
    t->suspected = t->suspect == uid ? t->suspected + 1 : 1;
    t->suspect = uid;
    if (t->suspected >= TRIES)
        transfer_skip(t, kind, uid, why);
    LOG(INFO, "message_missed", LOG_S("mailbox", t->p->source.name), LOG_U("uid", uid), LOG_S("why", why));
}

/* ... when it was its turn. */
static void transfer_suspect(struct transfer *t, uint32_t uid, const char *why)
{
    if (t->over || t->state != RUN)
        return;
    t->careful_until = uid;
    t->careful_max = 1;
    transfer_miss(t, t->body.uid == uid && t->body.size == 0 ? FINDING_EMPTY : FINDING_UNREADABLE, uid, why);
    transfer_drain(t);
}

/* What went out under this UID may be another message's: the APPEND must not end, and breaks its connection
 * when we are stopped. Nothing may follow it, neither bytes nor an end. */
static void transfer_mistaken(struct transfer *t, const char *why)
{
    pair_name(t->p, FINDING_UNREADABLE, t->body.uid, "%s", why);
    char *text = xasprintf("UID %u: %s", t->body.uid, why);
    transfer_finish(t, COPY_DIFFERS, text);
    free(text);
}

/* --- bodies as they come --- */

static bool transfer_is_due(const struct transfer *t, uint32_t uid)
{
    const struct transfer_batch *b;
    TAILQ_FOREACH(b, &t->batches, link)
    for (size_t i = b->next; i < b->n; i++)
        if (b->uids[i] == uid)
            return true;
    return false;
}

/* Why the body that begins, though it is due, can't go out; NULL: it can. */
static const char *transfer_find_fault(const struct transfer *t)
{
    if (!mbox_list_find(&t->p->source.list, t->body.uid))
        return "the source gives it after it said that it is gone";
    if (t->body.size == 0)
        return "the source gives it without a byte";
    return NULL;
}

static void drop_if_done(struct transfer_batch *b)
{
    if (b->intent_ok && b->next == b->n)
        batch_free(b);
}

/* No server takes a message without a byte, and with MULTIAPPEND it would end the command (RFC 3502 6.3.11).
 */
static void leave_empty(struct transfer *t, struct transfer_batch *b, const char *why)
{
    transfer_skip(t, FINDING_EMPTY, t->body.uid, why);
    b->next = b->n;
    drop_if_done(b);
    transfer_step_soon(t);
}

/* Whose turn is it? What has just begun to come goes out, waits until it may, or is thrown away. */
static void take_body(struct transfer *t)
{
    struct transfer_batch *b = transfer_current(t);
    const char *fault;
    if (t->state != RUN || !b)
        return;
    if (t->body.untold && b->n == 1)
        t->body.uid = b->uids[0]; /* whatever number the server counts it under; its UID is to come */
    if (t->body.uid != b->uids[b->next]) {
        /* Something that is not due is thrown away; if it is only early, the one before it was left out. */
        if (transfer_is_due(t, t->body.uid))
            transfer_suspect(t, b->uids[b->next], "the source does not give it");
        return;
    }
    t->last_began = t->last_began || t->body.uid == TAILQ_LAST(&t->windows, windows)->last_uid;
    if ((fault = transfer_find_fault(t))) {
        if (t->body.size == 0 && b->n == 1)
            leave_empty(t, b, fault);
        else
            transfer_suspect(t, t->body.uid, fault);
        return;
    }
    t->body.held = !may_begin(t, b);
    if (!t->body.held)
        begin_message(t, b);
    update_pause(t);
    if (t->last_began)
        transfer_step_soon(t);
}

static void transfer_body_begin(void *owner, uint32_t seq, uint32_t uid, uint64_t size)
{
    struct transfer_window *w = owner;
    struct transfer *t = w->t;
    const struct mbox_msg *m = mbox_list_at(&t->p->source.list, seq);
    if (t->over)
        return;
    if (t->body.goes) {
        transfer_mistaken(t, "the source gives two bodies in one answer");
        return;
    }
    t->body = (struct body){.uid = uid ? uid : m ? m->uid : 0, .size = size, .untold = !uid};
    t->plain = (struct plain){0};
    if (t->outbox || t->state != RUN) {
        take_body(t);
        return;
    }
    t->body.held = t->body.early = true;
    update_pause(t);
}

static void transfer_body_piece(void *owner, struct span bytes)
{
    struct transfer *t = ((struct transfer_window *)owner)->t;
    struct pair *p = t->p;
    if (p->depot)
        plain_add(&t->plain, bytes);
    if (t->over || !t->body.goes)
        return;
    hasher_add(t->hasher, bytes);
    outbox_bytes(t->outbox, bytes);
    p->under_way += bytes.len;
    p->progress(p);
    if (imapc_append_full(p->target.imap)) {
        t->full = true;
        update_pause(t);
    }
}

static void transfer_body_end(void *owner)
{
    struct transfer *t = ((struct transfer_window *)owner)->t;
    t->seen = t->p->depot != NULL;
    if (t->over || !t->body.goes)
        return;
    hasher_end(t->hasher, t->body.hash);
    t->body.whole = true;
}

static bool is_last_of_plan(const struct transfer *t, const struct transfer_batch *b)
{
    return t->state == RUN && t->planned == t->n_plan && b->next == b->n && !TAILQ_NEXT(b, link);
}

/* What the target refused last is tried again by the next pass, and has to find its number free. */
static bool may_raise(const struct transfer *t)
{
    return t->p->last || t->skipped.n + t->limits.n == 0;
}

/* The response of a body that went out has ended, and its UID is the one that was taken for it. */
static void keep_row(struct transfer *t, struct transfer_batch *b)
{
    struct ledger_row row = {.source_uid = t->body.uid, .size = t->body.size};
    memcpy(row.hash, t->body.hash, HASH_SIZE);
    b->next++;
    t->body = (struct body){0};
    if (is_last_of_plan(t, b) && may_raise(t))
        outbox_ends_at(t->outbox, selected_uidnext(&t->p->source));
    outbox_keep(t->outbox, &row);
    if (t->state != RUN)
        outbox_close(t->outbox);
    if (b->next == b->n)
        transfer_step_soon(t);
    drop_if_done(b);
}

/* Also of a body that is thrown away: the next plan goes by it. */
static void note_odd(struct transfer *t, const struct imap_value *data)
{
    uint32_t uid;
    if (t->seen && !plain_is(&t->plain) && imap_value_u32(imap_value_get(data, "UID"), &uid))
        imap_seq_add(&t->odd, uid, uid);
    t->seen = false;
}

static enum imapc_taken transfer_on_fetch_data(void *owner, const struct imap_resp *resp,
                                               const struct imap_value *data)
{
    struct transfer *t = ((struct transfer_window *)owner)->t;
    uint32_t uid = 0;
    enum imapc_taken taken = selected_data(&t->p->source, resp, data);
    if (resp->kind == RESP_DATA && span_is_ci(resp->word, "FETCH"))
        note_odd(t, data);
    if (t->over || resp->kind != RESP_DATA || !span_is_ci(resp->word, "FETCH") || !t->body.whole)
        return taken;
    bool told = imap_value_u32(imap_value_get(data, "UID"), &uid);
    if (told && uid == t->body.uid && taken != IMAPC_ODD) {
        keep_row(t, transfer_current(t));
        return taken;
    }
    char *why = !told                ? xstrdup("the source gives it without its UID")
                : uid != t->body.uid ? xasprintf("the source gives it as UID %u", uid)
                                     : xstrdup("the source gives it in an answer that can't be understood");
    transfer_mistaken(t, why);
    free(why);
    return taken;
}

static void transfer_on_fetched(void *owner, const struct imapc_end *e)
{
    struct transfer_window *w = owner;
    struct transfer *t = w->t;
    const struct transfer_batch *b = transfer_current(t);
    char *text = e->rc == IMAPC_OK     ? xstrdup("the source does not give it")
                 : e->rc == IMAPC_DOWN ? xasprintf("source: %s", imapc_error(t->p->source.imap))
                                       : imapc_end_text(e);
    if (e->rc == IMAPC_DOWN || (e->rc != IMAPC_OK && imapc_end_temporary(e)))
        transfer_finish(t, COPY_DOWN, text);
    else if (b && b->uids[b->next] <= w->last_uid)
        transfer_suspect(t, b->uids[b->next], text);
    free(text);
    window_free(w);
    transfer_step_soon(t);
}

static void transfer_on_intent(void *owner, enum route_rc rc)
{
    struct transfer_batch *b = owner;
    struct transfer *t = b->t;
    t->intents--;
    b->intent_ok = rc == ROUTE_OK;
    if (rc == ROUTE_OK)
        try_held(t);
    else
        transfer_finish(t, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, ledger_error(t->p->ledger));
    drop_if_done(b);
    transfer_step_soon(t);
}

/* --- the target's side tells --- */

static void on_moved(void *owner)
{
    transfer_step_soon(owner);
}

static void on_refused(void *owner)
{
    transfer_drain(owner);
}

/* The target does not take what is odd, which goes another way by the next plan. */
static void shun_odd(struct transfer *t, const char *text)
{
    t->shuns_odd = true;
    free(t->refusal);
    t->refusal = xstrdup(text);
    transfer_drain(t);
}

static void on_skipped(void *owner, uint32_t uid, const char *text)
{
    struct transfer *t = owner;
    if (may_deposit(t, uid)) {
        shun_odd(t, text);
        return;
    }
    transfer_refuse(t, uid, REFUSES, text);
    t->careful_max = 1; /* what is bad is seldom alone */
    if (t->stop)
        transfer_drain(t);
}

/* False: the target wants less, and the copy is over. */
static bool may_go_on(struct transfer *t)
{
    const struct limited *x = limits_throttled(&t->limits, outbox_largest(t->outbox));
    if (!x)
        return true;
    char *why = xasprintf("target: %s", x->text);
    imapc_throttled(t->p->target.imap, x->text);
    transfer_finish(t, COPY_DOWN, why);
    free(why);
    return false;
}

static bool judge_limits(struct transfer *t)
{
    if (!may_go_on(t))
        return false;
    for (size_t i = 0; i < t->limits.n; i++)
        transfer_refuse(t, t->limits.items[i].uid, REFUSES, t->limits.items[i].text);
    limits_clear(&t->limits);
    return true;
}

/* It is left out for now: what follows tells what the limit is. */
static void on_limited(void *owner, uint32_t uid, const char *text)
{
    struct transfer *t = owner;
    limits_add(&t->limits, uid, transfer_size_of(t, uid), text);
    imap_seq_add(&t->left, uid, uid);
    t->careful_max = 1;
    if (!may_go_on(t))
        return;
    if (t->limits.n == REFUSED_MAX)
        (void)judge_limits(t);
    if (t->stop || wants_smallest(t))
        transfer_drain(t);
}

static void transfer_on_failed(void *owner, enum copy_rc rc, const char *why)
{
    transfer_finish(owner, rc, why);
}

/* --- DRAIN, UNDO, RESYNC --- */

static enum imapc_taken on_source_data(void *owner, const struct imap_resp *resp,
                                       const struct imap_value *data)
{
    struct transfer *t = owner;
    return selected_data(&t->p->source, resp, data);
}

static void on_resynced(void *owner, const struct imapc_end *e)
{
    struct transfer *t = owner;
    if (e->rc == IMAPC_DOWN)
        transfer_finish(t, COPY_DOWN, imapc_error(t->p->source.imap));
    while (!TAILQ_EMPTY(&t->batches))
        batch_free(TAILQ_FIRST(&t->batches));
    t->body = (struct body){0};
    t->p->under_way = 0;
    transfer_make_plan(t);
    t->state = RUN;
    transfer_step_soon(t);
}

static void transfer_resync(struct transfer *t)
{
    const struct imapc_command noop = {.data = on_source_data, .end = on_resynced, .owner = t};
    if (t->p->source.given) {
        transfer_finish(t, COPY_DOWN, SELECTED_GIVEN);
        return;
    }
    t->state = RESYNC;
    imapc_sendf(selected_imap(&t->p->source), &noop, "NOOP");
}

/* The target takes nothing more, whichever message it is. */
static void stop_for_all(struct transfer *t, const struct outbox_refusal *r)
{
    findings_add(t->p->findings, r->quota ? FINDING_QUOTA : FINDING_LISTING, t->p->source.name, 0,
                 "the target takes no more: %s", r->text);
    t->stop = true;
}

/* What was refused is likely to be one of these. */
static bool has_odd_until(const struct transfer *t, uint32_t last_uid)
{
    for (size_t i = 0; i < t->odd.n && t->odd.ranges[i].first <= last_uid; i++)
        if (may_deposit(t, t->odd.ranges[i].first) && !ledger_find(t->p->ledger, t->odd.ranges[i].first))
            return true;
    return false;
}

static void transfer_undo(struct transfer *t)
{
    struct outbox_refusal r = outbox_refusal(t->outbox);
    t->state = UNDO;
    if (r.any) {
        stop_for_all(t, &r);
    } else if (!t->shuns_odd && has_odd_until(t, r.last_uid)) {
        shun_odd(t, r.text);
    } else {
        t->careful_until = r.last_uid > t->careful_until ? r.last_uid : t->careful_until;
        t->careful_max = r.messages / NARROW ? r.messages / NARROW : 1;
    }
    outbox_undo(t->outbox);
}

static void on_deposited(void *owner, enum deposit_rc rc, const char *why)
{
    struct transfer *t = owner;
    uint32_t uid = t->deposit_uid;
    t->state = rc == DEPOSIT_STORED ? RUN : DRAIN;
    switch (rc) {
    case DEPOSIT_STORED:
        outbox_stored(t->outbox, deposit_row(t->deposit));
        break;
    case DEPOSIT_REFUSED:
        transfer_refuse(t, uid, REFUSES "; %s", t->refusal, why);
        break;
    case DEPOSIT_MISSED:
    case DEPOSIT_MUTABLE:
        transfer_miss(t, rc == DEPOSIT_MISSED ? FINDING_UNREADABLE : FINDING_MUTABLE, uid, why);
        break;
    case DEPOSIT_DOWN:
    case DEPOSIT_NOT_OURS:
        transfer_finish(t, rc == DEPOSIT_DOWN ? COPY_DOWN : COPY_LOST, why);
    }
    deposit_stop(&t->deposit); /* why was its own */
    transfer_step_soon(t);
}

static void deposit_now(struct transfer *t)
{
    if (t->p->source.given) {
        transfer_finish(t, COPY_DOWN, SELECTED_GIVEN);
        return;
    }
    t->deposit_uid = t->plan[t->planned++];
    t->state = DEPOSIT;
    t->deposit = deposit_start(t->p, mbox_list_find(&t->p->source.list, t->deposit_uid),
                               outbox_uidnext(t->outbox), on_deposited, t);
}

/* --- the end --- */

static void transfer_on_noted(void *owner, enum route_rc rc)
{
    struct transfer *t = owner;
    t->intents--;
    if (rc != ROUTE_OK)
        transfer_finish(t, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, ledger_error(t->p->ledger));
    transfer_step_soon(t);
}

/* What was left out is no doubt. */
static void end_well(struct transfer *t)
{
    if (!judge_limits(t))
        return;
    if (t->noted || t->skipped.n == 0) {
        transfer_finish(t, COPY_EQUAL, "");
        return;
    }
    t->noted = true;
    t->intents++;
    ledger_skipped(t->p->ledger, &t->skipped, transfer_on_noted, t);
}

static void step_drain(struct transfer *t)
{
    if (!TAILQ_EMPTY(&t->windows) || t->intents > 0)
        return;
    if (outbox_is_stuck(t->outbox))
        transfer_undo(t);
    else if (!outbox_is_idle(t->outbox))
        return;
    else if (t->stop)
        end_well(t);
    else
        transfer_resync(t);
}

static bool is_raised(struct transfer *t)
{
    return !may_raise(t) ||
           (outbox_raise(t->outbox, selected_uidnext(&t->p->source)) && outbox_is_idle(t->outbox));
}

/* As far as one can tell: what is refused yet, or a change of the source, may need it once more. */
static void tell_source_read(struct transfer *t)
{
    bool read = t->n_plan > 0 && t->planned == t->n_plan && TAILQ_EMPTY(&t->windows) && !transfer_current(t);
    if (t->source_read || !read || t->smallest_first || t->limits.n > 0 || t->odd.n > 0 || !t->p->source_read)
        return;
    t->source_read = true;
    t->full = false;
    update_pause(t);
    t->p->source_read(t->p);
}

/* Its number has to be the next one by then: nothing goes with it that could fill what lies below. */
static void step_deposit(struct transfer *t)
{
    if (outbox_raise(t->outbox, t->plan[t->planned]) && outbox_is_idle(t->outbox))
        deposit_now(t);
}

static void step_run(struct transfer *t)
{
    transfer_fill(t);
    if (!t->outbox)
        return;
    tell_source_read(t);
    bool shunned = next_is_shunned(t);
    if ((t->planned < t->n_plan && !shunned) || !TAILQ_EMPTY(&t->windows) || t->intents > 0 ||
        !outbox_is_idle(t->outbox))
        return;
    if (shunned)
        step_deposit(t);
    else if (t->smallest_first && t->n_plan > 0)
        transfer_drain(t); /* the next plan goes by what became of it */
    else if (is_raised(t))
        end_well(t);
}

static void transfer_step(struct loop_task *task)
{
    struct transfer *t = CONTAINER_OF(task, struct transfer, task);
    if (!t->over && t->outbox)
        outbox_settle(t->outbox);
    if (!t->over) {
        try_held(t);
        if (t->state == RUN)
            step_run(t);
        else if (t->outbox && t->state != RESYNC && t->state != DEPOSIT)
            step_drain(t); /* UNDO ends there too, when the outbox is idle */
    }
    if (!t->over || !t->fn)
        return;
    step_fn fn = t->fn;
    t->fn = NULL;                /* once */
    fn(t->owner, t->rc, t->why); /* may stop t */
}

static struct transfer *transfer_new(struct pair *p, step_fn fn, void *owner)
{
    struct transfer *t = xcalloc(1, sizeof *t);
    t->p = p;
    t->fn = fn;
    t->owner = owner;
    t->window_max = WINDOW_MESSAGES;
    t->task.fn = transfer_step;
    t->hasher = hasher_new();
    TAILQ_INIT(&t->windows);
    TAILQ_INIT(&t->batches);
    transfer_step_soon(t);
    return t;
}

static void open_outbox(struct transfer *t)
{
    static const struct outbox_fns fns = {on_moved, on_refused, on_skipped, on_limited, transfer_on_failed};
    t->outbox = outbox_new(t->p, &fns, t);
}

struct transfer *transfer_start(struct pair *p, step_fn fn, void *owner)
{
    struct transfer *t = transfer_new(p, fn, owner);
    open_outbox(t);
    transfer_make_plan(t);
    return t;
}

struct transfer *transfer_start_ahead(struct pair *p, step_fn fn, void *owner)
{
    struct transfer *t = transfer_new(p, fn, owner);
    make_plan_ahead(t);
    return t;
}

/* That was no trouble. */
static void throw_away(struct transfer *t)
{
    size_t max = t->window_max;
    transfer_drain(t);
    t->window_max = max;
}

bool transfer_is_reading(const struct transfer *t)
{
    return !TAILQ_EMPTY(&t->windows);
}

void transfer_discard(struct transfer *t)
{
    if (!t->outbox)
        throw_away(t);
}

void transfer_go(struct transfer *t)
{
    uint32_t *ahead = t->plan;
    size_t n = t->n_plan, planned = t->planned;
    t->plan = NULL;
    open_outbox(t);
    transfer_make_plan(t);
    t->planned = planned;
    if (t->n_plan != n || (n > 0 && memcmp(t->plan, ahead, n * sizeof *ahead) != 0))
        throw_away(t);
    free(ahead);
    if (t->state == RUN && t->body.early && !t->over) {
        t->body.early = t->body.held = false;
        take_body(t);
        update_pause(t);
    }
    transfer_step_soon(t);
}
