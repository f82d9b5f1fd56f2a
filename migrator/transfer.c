#include <assert.h>
#include <stdlib.h>

#include "delta.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "readback.h"
#include "remove.h"
#include "settle.h"
#include "transfer.h"

enum {
    BATCH_MESSAGES = 200,
    BATCH_BYTES = 4 * 1024 * 1024,
    FETCHES_AHEAD = 4,
    APPENDS_AHEAD = 2,         /* with MULTIAPPEND */
    SINGLE_APPENDS_AHEAD = 32, /* without */
    TRIES = 3,                 /* of a message that the source does not give */
    LEARN_MAX = 10 * 1000      /* messages that others may add while we look for ours */
};

enum state { RUN, DRAIN, UNDO, RESYNC };

/* Messages of one FETCH and one intent. */
struct batch {
    TAILQ_ENTRY(batch) link;
    struct transfer *t;
    uint32_t *uids; /* ascending; owned */
    size_t n, next; /* next: the first whose body has not come whole */
    bool intent_ok, fetched;
};

/* One APPEND. */
struct append {
    TAILQ_ENTRY(append) link;
    struct transfer *t;
    struct ledger_row *rows; /* bodies that went out whole; target_uid 0 as long as it isn't known; owned */
    size_t n, room;
    uint32_t last_uid;       /* of the batch */
    uint32_t target_uidnext; /* before it, or lower */
    bool answered;
    bool known;    /* UIDs of its rows on the target */
    char *refused; /* owned */
};

/* The body that is coming. */
struct body {
    struct append *append; /* NULL: thrown away */
    uint32_t uid;
    uint64_t size;
    bool held;  /* its head is there, but it may not go out yet */
    bool whole; /* it went out, and its response has not ended */
    uint8_t hash[HASH_SIZE];
};

struct transfer {
    struct pair *p; /* borrowed */
    step_fn fn;
    void *owner;
    struct loop_task task; /* looks what there is to do, outside of any callback */
    enum state state;
    bool over;
    enum copy_rc rc;
    char *why; /* owned */

    uint32_t *plan; /* source UIDs; owned */
    size_t n_plan, planned;
    char *fault;           /* what can't be copied and why: the plan ends before it; owned */
    bool stop;             /* at the fault as soon as all is answered */
    uint32_t single_until; /* up to this UID a batch is one message */
    uint32_t suspect;      /* did not come when it was due */
    unsigned suspected;    /* how often in a row */

    TAILQ_HEAD(, batch) batches; /* FETCH or intent not answered */
    size_t fetching;
    struct body body;
    struct hasher *hasher;
    bool full; /* the target is; the source is paused for it */

    TAILQ_HEAD(, append) appends; /* in order; an open one is last */
    struct append *open;
    size_t unanswered;
    size_t appends_max;
    bool multi;
    size_t writing; /* ledger entries */
    uint32_t target_uidnext, first;

    struct readback *learning; /* UIDs of what was stored without APPENDUID */
    struct readback_item *learned;
    size_t n_learned, learned_room;
    struct remove *undo;
};

static void step_soon(struct transfer *t)
{
    loop_defer(t->p->loop, &t->task);
}

/* --- ends --- */

static void batch_free(struct batch *b)
{
    TAILQ_REMOVE(&b->t->batches, b, link);
    free(b->uids);
    free(b);
}

static void append_free(struct append *a)
{
    TAILQ_REMOVE(&a->t->appends, a, link);
    free(a->rows);
    free(a->refused);
    free(a);
}

void transfer_stop(struct transfer **tp)
{
    struct transfer *t = *tp;
    struct append *a;
    struct batch *b;
    if (!t)
        return;
    *tp = NULL;
    loop_undefer(t->p->loop, &t->task);
    ledger_forget(t->p->ledger, t);
    readback_stop(&t->learning);
    remove_stop(&t->undo);
    imapc_forget(t->p->source.imap, t);
    while ((b = TAILQ_FIRST(&t->batches))) {
        imapc_forget(t->p->source.imap, b);
        ledger_forget(t->p->ledger, b);
        batch_free(b);
    }
    while ((a = TAILQ_FIRST(&t->appends))) {
        imapc_forget(t->p->target.imap, a);
        append_free(a);
    }
    imapc_resume(t->p->source.imap);
    hasher_free(&t->hasher);
    free(t->plan);
    free(t->fault);
    free(t->why);
    free(t->learned);
    free(t);
}

static void finish(struct transfer *t, enum copy_rc rc, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void finish(struct transfer *t, enum copy_rc rc, const char *fmt, ...)
{
    struct buf why = {0};
    va_list ap;
    if (t->over)
        return;
    va_start(ap, fmt);
    buf_vprintf(&why, fmt, ap);
    va_end(ap);
    t->over = true;
    t->rc = rc;
    t->why = xstrdup(buf_str(&why));
    buf_free(&why);
    step_soon(t);
}

static void finish_ledger(struct transfer *t, enum route_rc rc)
{
    finish(t, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, "%s", ledger_error(t->p->ledger));
}

static void finish_down(struct transfer *t, const struct selected *side)
{
    finish(t, COPY_DOWN, "%s: %s", side->side, imapc_error(side->imap));
}

uint32_t transfer_first(const struct transfer *t)
{
    return t->first;
}

/* Everything that was asked for is answered. */
static bool is_drained(const struct transfer *t)
{
    return t->fetching == 0 && t->unanswered == 0 && !t->open && t->writing == 0 && !t->learning;
}

/* Ends with COPY_CANNOT once what was begun is stored and noted. */
static void stop_at(struct transfer *t, uint32_t uid, const char *why)
{
    free(t->fault);
    t->fault = xasprintf("UID %u: %s", uid, why);
    t->stop = true;
}

/* --- the plan --- */

/* What is known not to go before a byte is read (EDGE 41, 43). To free. */
static char *foresee_fault(const struct transfer *t, const struct mbox_msg *m)
{
    uint64_t limit = imapc_caps(t->p->target.imap)->appendlimit;
    if (m->date_bad)
        return xstrdup("its INTERNALDATE is no date");
    if (limit > 0 && m->size > limit)
        return xasprintf("%u bytes are more than the target takes (%llu)", m->size,
                         (unsigned long long)limit);
    return NULL;
}

static void make_plan(struct transfer *t)
{
    struct delta d = {.source = &t->p->source.list, .target = &t->p->target.list};
    d.rows = ledger_rows(t->p->ledger, &d.n_rows);
    free(t->plan);
    free(t->fault);
    t->fault = NULL;
    t->planned = 0;
    t->plan = delta_missing(&d, &t->n_plan);
    for (size_t i = 0; i < t->n_plan; i++) {
        char *why = foresee_fault(t, mbox_list_find(d.source, t->plan[i]));
        if (!why)
            continue;
        t->fault = xasprintf("UID %u: %s", t->plan[i], why);
        t->n_plan = i;
        free(why);
    }
}

/* How many messages from t->planned on make the next batch. */
static size_t batch_size(const struct transfer *t)
{
    uint64_t bytes = 0;
    size_t n = 0;
    while (t->planned + n < t->n_plan && n < BATCH_MESSAGES) {
        uint32_t uid = t->plan[t->planned + n];
        const struct mbox_msg *m = mbox_list_find(&t->p->source.list, uid);
        bytes += m ? m->size : 0;
        if (n > 0 &&
            (bytes > BATCH_BYTES || uid <= t->single_until || t->plan[t->planned] <= t->single_until))
            break;
        n++;
    }
    return n;
}

static void body_begin(void *owner, uint32_t seq, uint32_t uid, uint64_t size);
static void body_piece(void *owner, struct span bytes);
static void body_end(void *owner);
static bool on_fetch_data(void *owner, const struct imap_resp *resp, const struct imap_value *data);
static void on_fetched(void *owner, const struct imapc_end *e);
static void on_intent(void *owner, enum route_rc rc);

static void send_batch(struct transfer *t, struct batch *b)
{
    static const struct imapc_body_fns body = {body_begin, body_piece, body_end};
    const struct imapc_command cmd = {.data = on_fetch_data, .body = &body, .end = on_fetched, .owner = b};
    struct imap_seq set = uidset_of(b->uids, b->n);
    struct buf text = {0};
    imap_seq_write(&text, &set);
    imapc_sendf(t->p->source.imap, &cmd, "UID FETCH %s (UID BODY.PEEK[])", buf_str(&text));
    ledger_intent(t->p->ledger, t->target_uidnext, b->uids, b->n, on_intent, b);
    t->fetching++;
    t->writing++;
    buf_free(&text);
    imap_seq_free(&set);
}

static void add_batch(struct transfer *t)
{
    struct batch *b = xcalloc(1, sizeof *b);
    b->t = t;
    b->n = batch_size(t);
    b->uids = xcalloc(b->n, sizeof *b->uids);
    memcpy(b->uids, t->plan + t->planned, b->n * sizeof *b->uids);
    t->planned += b->n;
    TAILQ_INSERT_TAIL(&t->batches, b, link);
    send_batch(t, b);
}

/* Messages around some trouble go one by one. */
static size_t fetches_max(const struct transfer *t)
{
    return t->plan[t->planned] <= t->single_until ? 1 : FETCHES_AHEAD;
}

static void fill(struct transfer *t)
{
    while (t->planned < t->n_plan && t->fetching < fetches_max(t))
        add_batch(t);
}

/* --- out: APPEND --- */

static void on_appended(void *owner, const struct imapc_end *e);

static bool on_append_data(void *owner, const struct imap_resp *resp, const struct imap_value *data)
{
    struct append *a = owner;
    return selected_data(&a->t->p->target, resp, data);
}

static void open_append(struct transfer *t, const struct batch *b)
{
    struct append *a = xcalloc(1, sizeof *a);
    const struct imapc_command cmd = {.data = on_append_data, .end = on_appended, .owner = a};
    a->t = t;
    a->room = t->multi ? b->n - b->next : 1;
    a->rows = xcalloc(a->room, sizeof *a->rows);
    a->last_uid = t->multi ? b->uids[b->n - 1] : b->uids[b->next];
    a->target_uidnext = t->target_uidnext;
    TAILQ_INSERT_TAIL(&t->appends, a, link);
    t->unanswered++;
    t->open = a;
    imapc_append_begin(t->p->target.imap, span_str(t->p->target.name), &cmd);
}

/* Everything that belongs to it has gone out. Until here nothing of it is stored. */
static void close_append(struct transfer *t)
{
    if (!t->open)
        return;
    t->open = NULL;
    imapc_append_end(t->p->target.imap);
}

static void write_head(struct transfer *t)
{
    const struct mbox_msg *m = mbox_list_find(&t->p->source.list, t->body.uid);
    struct buf date = {0};
    uint32_t kept, lost;
    flags_split(t->p->flags, &t->p->target.permanent, m->flags, &kept, &lost);
    date_format(&date, (struct mail_date){m->instant, m->zone});
    imapc_append_message(t->p->target.imap, span_str(flags_text(t->p->flags, kept)), buf_span(&date),
                         t->body.size);
    buf_free(&date);
}

/* Is something stored whose UIDs have to be found out first? */
static bool has_unknown(const struct transfer *t)
{
    const struct append *a;
    TAILQ_FOREACH(a, &t->appends, link)
    if (a->answered && !a->refused && !a->known)
        return true;
    return false;
}

/* May the body that came go out? */
static bool may_begin(const struct transfer *t, const struct batch *b)
{
    if (!b->intent_ok)
        return false;
    return t->open || (t->unanswered < t->appends_max && !has_unknown(t));
}

static void begin_message(struct transfer *t, struct batch *b)
{
    if (!t->open)
        open_append(t, b);
    t->body.append = t->open;
    t->body.held = false;
    hasher_begin(t->hasher);
    write_head(t);
}

static void update_pause(struct transfer *t)
{
    if (t->body.held || t->full)
        imapc_pause(t->p->source.imap);
    else
        imapc_resume(t->p->source.imap);
}

/* The batch whose turn it is; NULL: nothing is due. */
static struct batch *current(const struct transfer *t)
{
    struct batch *b;
    TAILQ_FOREACH(b, &t->batches, link)
    if (b->next < b->n)
        return b;
    return NULL;
}

/* Something that a held body may have waited for has happened. */
static void try_held(struct transfer *t)
{
    struct batch *b = current(t);
    bool run = t->state == RUN && !t->over && b;
    if (!t->body.held || (run && !may_begin(t, b)))
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
}

/* --- trouble --- */

static void drain(struct transfer *t)
{
    if (t->state != RUN)
        return;
    t->state = DRAIN;
    if (!t->body.append)
        close_append(t); /* else it is closed behind the body that is under way */
    try_held(t);
    step_soon(t);
}

/* The source did not give this message when it was its turn. */
static void suspect(struct transfer *t, uint32_t uid, const char *why)
{
    if (t->state != RUN)
        return;
    t->suspected = t->suspect == uid ? t->suspected + 1 : 1;
    t->suspect = uid;
    t->single_until = uid;
    if (t->suspected >= TRIES)
        stop_at(t, uid, why);
    LOG(INFO, "message_missed", LOG_S("mailbox", t->p->source.name), LOG_U("uid", uid), LOG_S("why", why));
    drain(t);
}

/* --- in: bodies --- */

static bool is_due(const struct transfer *t, uint32_t uid)
{
    const struct batch *b;
    TAILQ_FOREACH(b, &t->batches, link)
    for (size_t i = b->next; i < b->n; i++)
        if (b->uids[i] == uid)
            return true;
    return false;
}

static void body_begin(void *owner, uint32_t seq, uint32_t uid, uint64_t size)
{
    struct transfer *t = ((struct batch *)owner)->t;
    struct batch *b = current(t);
    const struct mbox_msg *m = mbox_list_at(&t->p->source.list, seq);
    t->body = (struct body){.uid = uid ? uid : m ? m->uid : 0, .size = size};
    if (t->over || t->state != RUN || !b)
        return;
    if (!uid && b->n == 1)
        t->body.uid = b->uids[0]; /* whatever number the server counts it under; its UID is to come */
    if (t->body.uid != b->uids[b->next]) {
        /* Something that is not due is thrown away; if it is only early, the one before it was left out. */
        if (is_due(t, t->body.uid))
            suspect(t, b->uids[b->next], "the source does not give it");
        return;
    }
    if (!mbox_list_find(&t->p->source.list, t->body.uid)) {
        suspect(t, t->body.uid, "the source gives it after it said that it is gone");
        return;
    }
    if (size == 0) {
        suspect(t, t->body.uid, "the source gives it without a byte");
        return;
    }
    t->body.held = !may_begin(t, b);
    if (!t->body.held)
        begin_message(t, b);
    update_pause(t);
}

static void body_piece(void *owner, struct span bytes)
{
    struct transfer *t = ((struct batch *)owner)->t;
    struct pair *p = t->p;
    if (!t->body.append)
        return;
    hasher_add(t->hasher, bytes);
    imapc_append_bytes(p->target.imap, bytes);
    p->counts.bytes_done += bytes.len;
    p->progress(p);
    if (imapc_append_full(p->target.imap)) {
        t->full = true;
        update_pause(t);
    }
}

static void body_end(void *owner)
{
    struct transfer *t = ((struct batch *)owner)->t;
    if (!t->body.append)
        return;
    hasher_end(t->hasher, t->body.hash);
    t->body.whole = true;
}

/* The response of a body that went out has ended, and its UID is the one that was taken for it. */
static void keep_row(struct transfer *t, struct batch *b)
{
    struct append *a = t->body.append;
    struct ledger_row row = {.source_uid = t->body.uid, .size = t->body.size};
    memcpy(row.hash, t->body.hash, HASH_SIZE);
    assert(a->n < a->room);
    a->rows[a->n++] = row;
    b->next++;
    t->body = (struct body){0};
    if (!t->multi || b->next == b->n || t->state != RUN)
        close_append(t);
}

static bool on_fetch_data(void *owner, const struct imap_resp *resp, const struct imap_value *data)
{
    struct transfer *t = ((struct batch *)owner)->t;
    uint32_t uid = 0;
    bool taken = selected_data(&t->p->source, resp, data);
    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "FETCH") || !t->body.whole)
        return taken;
    if (!imap_value_u32(imap_value_get(data, "UID"), &uid) || uid != t->body.uid)
        finish(t, COPY_DIFFERS, "UID %u: the source gives it as UID %u", t->body.uid, uid);
    else
        keep_row(t, current(t));
    return true;
}

static void drop_if_done(struct batch *b)
{
    if (b->fetched && b->intent_ok && b->next == b->n)
        batch_free(b);
}

static void on_fetched(void *owner, const struct imapc_end *e)
{
    struct batch *b = owner;
    struct transfer *t = b->t;
    char *text = e->rc == IMAPC_OK ? xstrdup("the source does not give it") : imapc_end_text(e);
    t->fetching--;
    b->fetched = true;
    if (e->rc == IMAPC_DOWN)
        finish_down(t, &t->p->source);
    else if (e->rc != IMAPC_OK && imapc_end_temporary(e))
        finish(t, COPY_DOWN, "source: %s", text);
    else if (b->next < b->n)
        suspect(t, b->uids[b->next], text);
    free(text);
    drop_if_done(b);
    step_soon(t);
}

static void on_intent(void *owner, enum route_rc rc)
{
    struct batch *b = owner;
    struct transfer *t = b->t;
    t->writing--;
    b->intent_ok = rc == ROUTE_OK;
    if (rc != ROUTE_OK)
        finish_ledger(t, rc);
    else
        try_held(t);
    drop_if_done(b);
    step_soon(t);
}

/* --- answers to APPEND --- */

struct uid_reader {
    struct append *a;
    size_t n;
    bool ascending;
};

static void take_uid(void *arg, uint32_t uid)
{
    struct uid_reader *r = arg;
    if (r->n < r->a->n) {
        r->ascending = r->ascending && (r->n == 0 || uid > r->a->rows[r->n - 1].target_uid);
        r->a->rows[r->n].target_uid = uid;
    }
    r->n++;
}

/* [APPENDUID uidvalidity uids] (RFC 4315 3, RFC 3502 6.3.11). What does not fit is as good as none. */
static bool read_append_uids(struct append *a, struct span code)
{
    struct uid_reader r = {.a = a, .ascending = true};
    struct span args;
    uint32_t uidvalidity;
    if (!imap_code_is(code, "APPENDUID", &args))
        return false;
    const uint8_t *blank = memchr(args.p, ' ', args.len);
    size_t head = blank ? (size_t)(blank - args.p) : args.len;
    if (!blank || !span_u32(span_of(args.p, head), &uidvalidity) ||
        uidvalidity != a->t->p->target.uidvalidity)
        return false;
    struct span uids = span_of(blank + 1, args.len - head - 1);
    return imap_seq_each(uids, a->n, take_uid, &r) && r.n == a->n && r.ascending;
}

static void on_appended(void *owner, const struct imapc_end *e)
{
    struct append *a = owner;
    struct transfer *t = a->t;
    char *text = imapc_end_text(e);
    a->answered = true;
    t->unanswered--;
    if (e->rc == IMAPC_DOWN)
        finish_down(t, &t->p->target);
    else if (e->rc == IMAPC_OK)
        a->known = read_append_uids(a, e->code);
    else if (imapc_end_temporary(e))
        finish(t, COPY_DOWN, "target: %s", text);
    else
        a->refused = xstrdup(text);
    free(text);
    if (a->refused)
        drain(t);
    step_soon(t);
}

static void on_done(void *owner, enum route_rc rc)
{
    struct transfer *t = owner;
    t->writing--;
    if (rc != ROUTE_OK)
        finish_ledger(t, rc);
    pair_count_done(t->p);
    t->p->progress(t->p);
    step_soon(t);
}

static void note_rows(struct transfer *t, const struct append *a)
{
    t->target_uidnext = a->rows[a->n - 1].target_uid + 1;
    if (t->first == 0)
        t->first = a->rows[0].target_uid;
    t->p->counts.appended += a->n;
    t->writing++;
    ledger_done(t->p->ledger, a->rows, a->n, on_done, t);
}

/* To the ledger, in order. */
static void note_answers(struct transfer *t)
{
    struct append *a;
    while ((a = TAILQ_FIRST(&t->appends)) && a->answered && !a->refused && a->known && a != t->open) {
        if (a->n > 0)
            note_rows(t, a);
        append_free(a);
    }
    try_held(t);
}

/* --- UIDs of what was stored without APPENDUID --- */

static void got_learned(void *owner, const struct readback_item *item)
{
    struct transfer *t = owner;
    if (ledger_find_target(t->p->ledger, item->uid) || t->n_learned > LEARN_MAX)
        return;
    if (t->n_learned == t->learned_room) {
        t->learned_room = t->learned_room ? 2 * t->learned_room : 64;
        t->learned = xreallocarray(t->learned, t->learned_room, sizeof *t->learned);
    }
    t->learned[t->n_learned++] = *item;
}

/* The rows of an APPEND find their messages among those that were read, by hash and in order. */
static bool match_append(struct transfer *t, struct append *a)
{
    struct readback_item *sources = xcalloc(a->n, sizeof *sources);
    struct ledger_row *rows = xcalloc(a->n, sizeof *rows);
    for (size_t i = 0; i < a->n; i++) {
        sources[i] = (struct readback_item){.uid = a->rows[i].source_uid, .size = a->rows[i].size};
        memcpy(sources[i].hash, a->rows[i].hash, HASH_SIZE);
    }
    size_t n = settle_match(sources, a->n, t->learned, t->n_learned, rows);
    if (n == a->n)
        memcpy(a->rows, rows, n * sizeof *rows);
    free(sources);
    free(rows);
    return n == a->n;
}

static void on_learned(void *owner, enum copy_rc rc, const char *why)
{
    struct transfer *t = owner;
    struct append *a = TAILQ_FIRST(&t->appends);
    readback_stop(&t->learning);
    if (rc != COPY_EQUAL)
        finish(t, rc, "%s", why);
    else if (match_append(t, a))
        a->known = true;
    else
        finish(t, COPY_DIFFERS, "UID %u to %u: the target took it, but not all of it can be found there",
               a->rows[0].source_uid, a->rows[a->n - 1].source_uid);
    t->n_learned = 0;
    step_soon(t);
}

static void ignore_end(void *owner, const struct imapc_end *e)
{
    (void)owner, (void)e; /* should it be down, the reading says so */
}

static bool on_target_data(void *owner, const struct imap_resp *resp, const struct imap_value *data)
{
    struct transfer *t = owner;
    return selected_data(&t->p->target, resp, data);
}

static void learn_uids(struct transfer *t)
{
    const struct imapc_command noop = {.data = on_target_data, .end = ignore_end, .owner = t};
    struct append *a = TAILQ_FIRST(&t->appends);
    struct imap_seq set = {0};
    if (!a || !a->answered || a->refused || a->known || t->learning || t->unanswered > 0 || t->open)
        return;
    imap_seq_add(&set, a->target_uidnext, UINT32_MAX);
    imapc_sendf(t->p->target.imap, &noop, "NOOP"); /* Courier shows what was appended only then */
    t->learning = readback_start(&t->p->target, &set, got_learned, on_learned, t);
    imap_seq_free(&set);
}

/* --- DRAIN, UNDO, RESYNC --- */

static void on_resynced(void *owner, const struct imapc_end *e)
{
    struct transfer *t = owner;
    if (e->rc == IMAPC_DOWN)
        finish_down(t, &t->p->source);
    while (!TAILQ_EMPTY(&t->batches))
        batch_free(TAILQ_FIRST(&t->batches));
    t->body = (struct body){0};
    pair_count_done(t->p);
    make_plan(t);
    t->state = RUN;
    step_soon(t);
}

static bool on_source_data(void *owner, const struct imap_resp *resp, const struct imap_value *data)
{
    struct transfer *t = owner;
    return selected_data(&t->p->source, resp, data);
}

static void resync(struct transfer *t)
{
    const struct imapc_command noop = {.data = on_source_data, .end = on_resynced, .owner = t};
    t->state = RESYNC;
    imapc_sendf(t->p->source.imap, &noop, "NOOP");
}

static void after_undo(struct transfer *t)
{
    while (!TAILQ_EMPTY(&t->appends))
        append_free(TAILQ_FIRST(&t->appends));
    if (t->stop)
        finish(t, COPY_CANNOT, "%s", t->fault);
    else
        resync(t);
}

static void on_undone(void *owner, enum copy_rc rc, const char *why)
{
    struct transfer *t = owner;
    remove_stop(&t->undo);
    if (rc != COPY_EQUAL)
        finish(t, rc, "%s", why);
    else
        after_undo(t);
    step_soon(t);
}

/* The first of t->appends was refused: what was stored behind it has to go, then its messages are sent one by
 * one. */
static void undo(struct transfer *t)
{
    struct append *refused = TAILQ_FIRST(&t->appends), *a;
    struct imap_seq uids = {0};
    bool unknown = false;
    t->state = UNDO;
    if (refused->room == 1) {
        char *why = xasprintf("the target refuses it: %s", refused->refused);
        stop_at(t, refused->last_uid, why);
        free(why);
    } else if (refused->last_uid > t->single_until) {
        t->single_until = refused->last_uid;
    }
    TAILQ_FOREACH(a, &t->appends, link)
    {
        unknown = unknown || (!a->refused && !a->known);
        for (size_t i = 0; a->known && i < a->n; i++)
            imap_seq_add(&uids, a->rows[i].target_uid, a->rows[i].target_uid);
    }
    if (unknown)
        finish(t, COPY_DOWN, "a refused APPEND, and unknown UIDs behind it"); /* the next run settles that */
    else if (uids.n > 0)
        t->undo = remove_start(t->p, &uids, on_undone, t);
    else
        after_undo(t);
    imap_seq_free(&uids);
}

static void step_drain(struct transfer *t)
{
    if (!is_drained(t))
        return;
    if (!TAILQ_EMPTY(&t->appends))
        undo(t);
    else
        after_undo(t);
}

static void step_run(struct transfer *t)
{
    fill(t);
    if (t->planned < t->n_plan || !is_drained(t) || !TAILQ_EMPTY(&t->appends))
        return;
    if (t->fault)
        finish(t, COPY_CANNOT, "%s", t->fault);
    else
        finish(t, COPY_EQUAL, "%s", "");
}

static void step(struct loop_task *task)
{
    struct transfer *t = CONTAINER_OF(task, struct transfer, task);
    if (!t->over) {
        note_answers(t);
        learn_uids(t);
        if (t->state == RUN)
            step_run(t);
        else if (t->state == DRAIN)
            step_drain(t);
    }
    if (t->over && t->fn) {
        step_fn fn = t->fn;
        t->fn = NULL;                /* once */
        fn(t->owner, t->rc, t->why); /* may stop t */
    }
}

/* --- start --- */

static size_t appends_ahead(const struct transfer *t)
{
    struct imapc *target = t->p->target.imap;
    if (!imap_caps_has(imapc_caps(target), CAP_UIDPLUS) || imapc_literals(target) == LITERALS_SYNC)
        return 1;
    return t->multi ? APPENDS_AHEAD : SINGLE_APPENDS_AHEAD;
}

struct transfer *transfer_start(struct pair *p, step_fn fn, void *owner)
{
    struct transfer *t = xcalloc(1, sizeof *t);
    t->p = p;
    t->fn = fn;
    t->owner = owner;
    t->task.fn = step;
    t->hasher = hasher_new();
    t->multi = imap_caps_has(imapc_caps(p->target.imap), CAP_MULTIAPPEND);
    t->appends_max = appends_ahead(t);
    t->target_uidnext = selected_uidnext(&p->target);
    TAILQ_INIT(&t->batches);
    TAILQ_INIT(&t->appends);
    make_plan(t);
    step_soon(t);
    return t;
}
