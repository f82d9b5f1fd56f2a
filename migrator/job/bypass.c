#include <inttypes.h>
#include <stdlib.h>

#include "lib/fault.h"
#include "lib/xalloc.h"

#include "bypass.h"
#include "migrator/found/finding.h"
#include "migrator/mailbox/glance.h"
#include "migrator/mailbox/mbox_list.h"

enum {
    TRIES = 3,     /* of connections that broke */
    ROUNDS = 3,    /* of a mailbox in which mail arrives while it is listed */
    APART_MAX = 50 /* messages of a mailbox that are asked for item by item */
};

/* A mailbox; its address is the owner of its commands. */
struct bypass_one {
    struct share *share; /* NULL: nobody's yet, or done */
    const struct record *record;
    const char *name; /* the record's */
    struct stamp_side now;
    struct mbox_list list;          /* without HIGHESTMODSEQ; owned */
    struct imap_seq changed, newer; /* by CHANGEDSINCE: UIDs below UIDNEXT as it was, and from it on; owned */
    unsigned rounds, outstanding;
    unsigned apart; /* messages that were asked for item by item */
    bool refused, done;
    bool selected;   /* not EXAMINEd, or looked at by STATUS */
    const char *odd; /* what its listing was wrong about; a fixed text */
};

/* Of the mailboxes, what one lane looks at. */
struct share {
    struct bypass *bypass;
    struct lane *lane; /* lent; NULL: none is under way */
    size_t left;       /* mailboxes that are not done */
};

struct bypass {
    struct move *move;
    bypass_fn fn;
    void *owner;
    uint64_t began_ms;
    struct bypass_one *ones; /* owned */
    size_t n, left;          /* left: not done */
    struct share shares[CREW_MAX];
    struct flags_pool *pool; /* owned */
    unsigned tries;
    struct loop_task task;
    bool over;
    enum bypass_rc rc;
    enum why why;
    struct buf detail;
    size_t closer;
};

/* ---- the end */

static void one_clear(struct bypass_one *o)
{
    mbox_list_free(&o->list);
    imap_seq_free(&o->changed);
    imap_seq_free(&o->newer);
    o->now = (struct stamp_side){0};
    o->refused = false;
    o->odd = NULL;
    o->apart = 0;
}

static void forget_share(struct share *s)
{
    struct bypass *b = s->bypass;

    for (size_t i = 0; i < b->n; i++) {
        struct bypass_one *o = &b->ones[i];
        if (o->share != s)
            continue;
        imapc_forget(s->lane->source, o);
        one_clear(o);
        o->outstanding = 0;
        o->share = NULL;
    }
}

static void end_share(struct share *s, bool clean)
{
    struct crew *crew = s->bypass->move->crew;
    struct lane *lane = s->lane;

    forget_share(s);
    s->lane = NULL;
    if (clean)
        crew_give(crew, lane);
    else
        crew_drop(crew, lane);
}

static void bypass_free(struct bypass *b)
{
    crew_set_owner(b->move->crew, NULL, NULL);
    loop_undefer(b->move->m->loop, &b->task);
    for (size_t i = 0; i < CREW_MAX; i++)
        if (b->shares[i].lane)
            end_share(&b->shares[i], false);
    flags_pool_free(&b->pool);
    buf_free(&b->detail);
    free(b->ones);
    free(b);
}

void bypass_cancel(struct bypass **bp)
{
    struct bypass *b = *bp;

    *bp = NULL;
    if (b)
        bypass_free(b);
}

static void bypass_tell(struct bypass *b)
{
    struct buf detail = b->detail;
    bypass_fn fn = b->fn;
    void *owner = b->owner;
    struct bypass_result r = {.rc = b->rc,
                              .why = b->why,
                              .detail = buf_str(&detail),
                              .mailboxes = b->n,
                              .closer = b->closer,
                              .took_ms = clock_boot_ms() - b->began_ms};

    FAULT_POINT("bypass", NULL, "answered");
    b->detail = (struct buf){0};
    bypass_free(b);
    fn(owner, &r);
    buf_free(&detail);
}

static void bypass_step_soon(struct bypass *b)
{
    loop_defer(b->move->m->loop, &b->task);
}

static void bypass_end(struct bypass *b, enum bypass_rc rc, enum why why)
{
    b->rc = rc;
    b->why = why;
    b->over = true;
    bypass_step_soon(b);
}

/* ---- what was found */

static void bypass_seen(struct bypass *b, const struct bypass_one *o, const char *what, uint32_t uid)
{
    if (b->over)
        return;
    finding_show_mailbox(&b->detail, o->name);
    buf_printf(&b->detail, " %s", what);
    if (uid)
        buf_printf(&b->detail, " (UID %" PRIu32 ")", uid);
    buf_add_str(&b->detail, " on the server that is left, while all sessions rested");
    bypass_end(b, BYPASS_SEEN, WHY_BYPASS);
}

static void can_not_look(struct bypass *b, const struct bypass_one *o, const char *why)
{
    if (b->over)
        return;
    buf_printf(&b->detail, "%s: ", b->move->source_name);
    finding_show_mailbox(&b->detail, o->name);
    buf_printf(&b->detail, " can't be looked at again: %s", why);
    bypass_end(b, BYPASS_DOWN, WHY_UNREACHABLE);
}

static void bypass_done(struct bypass_one *o)
{
    struct share *s = o->share;

    one_clear(o);
    o->share = NULL;
    o->done = true;
    s->bypass->left--;
    if (--s->left == 0)
        end_share(s, true);
    bypass_step_soon(s->bypass);
}

static void look_closer(struct bypass_one *o);

static void judge_listed(struct bypass_one *o)
{
    const struct stamp_side *was = &o->record->stamp.source;
    uint64_t newer = imap_seq_count(&o->newer);

    if (o->changed.n > 0)
        bypass_seen(o->share->bypass, o, "was changed: other flags", o->changed.ranges[0].first);
    else if (was->messages + newer > o->now.messages)
        bypass_seen(o->share->bypass, o, "was changed: messages are gone", 0);
    else if (was->messages + newer == o->now.messages)
        bypass_done(o);
    else if (o->rounds < ROUNDS) /* mail that arrives in this moment */
        look_closer(o);
    else
        bypass_seen(o->share->bypass, o, "goes on changing", 0);
}

/* Once more, before it is called a bypass: the list of such a server is all that there is. */
static void judge_marks(struct bypass_one *o)
{
    uint32_t below = o->record->stamp.source.uidnext;

    if (o->record->marks == mbox_list_marks(&o->list, below))
        bypass_done(o);
    else if (o->rounds < 2)
        look_closer(o);
    else
        bypass_seen(o->share->bypass, o, "was changed: other flags, or messages are gone", 0);
}

static void judge_opened(struct bypass_one *o)
{
    const struct stamp_side *was = &o->record->stamp.source;
    struct bypass *b = o->share->bypass;

    if (o->refused)
        bypass_seen(b, o, "is gone, or can't be opened any more,", 0);
    else if (o->odd)
        can_not_look(b, o, o->odd);
    else if (o->now.uidvalidity != was->uidvalidity)
        bypass_seen(b, o, "was made anew", 0);
    else if (was->modseq == 0)
        judge_marks(o);
    else
        judge_listed(o);
}

/* Some servers show numbers that they keep only to who SELECTs (selected.c). */
static bool must_select(const struct bypass_one *o)
{
    return o->now.uidnext == 0 && o->record->stamp.source.uidnext > 0 && !o->refused && !o->selected;
}

static void bypass_judge(struct bypass_one *o)
{
    const struct stamp_side *was = &o->record->stamp.source;

    if (must_select(o)) {
        imapc_note_needs_select(o->share->lane->source);
        look_closer(o);
    } else if (o->rounds > 1 || was->modseq == 0)
        judge_opened(o);
    else if (stamp_side_same(was, &o->now))
        bypass_done(o);
    else /* also where it is gone */
        look_closer(o);
}

/* ---- looking */

static void bypass_take_uid(struct bypass_one *o, const struct imap_value *items)
{
    uint32_t uid;

    if (!items)
        o->odd = "the server lists its messages in a way that can't be understood";
    if (o->rounds < 2 || !imap_value_u32(imap_value_get(items, "UID"), &uid))
        return;
    if (uid < o->record->stamp.source.uidnext)
        imap_seq_add(&o->changed, uid, uid);
    else
        imap_seq_add(&o->newer, uid, uid);
    if (o->changed.n + o->newer.n > MBOX_MESSAGES_MAX)
        o->odd = "more messages than this program can list";
}

static enum imapc_taken bypass_on_data(void *owner, const struct imap_resp *resp,
                                       const struct imap_value *data);
static void bypass_on_told(void *owner, const struct imapc_end *e);

/* What can't be told even so is as it was when the mailbox was compared (selected.h): none. */
static enum imapc_taken bypass_on_apart(void *owner, const struct imap_resp *resp,
                                        const struct imap_value *data)
{
    bool broken = resp->kind == RESP_DATA && span_is_ci(resp->word, "FETCH") && !data;
    return broken ? IMAPC_TAKEN : bypass_on_data(owner, resp, data);
}

/* The FETCH of this message can't be told apart into words. */
static void bypass_ask_apart(struct bypass_one *o, uint32_t seq)
{
    static const char *const items[] = {"UID", "FLAGS"};
    const struct imapc_command cmd = {.data = bypass_on_apart, .end = bypass_on_told, .owner = o};
    if (o->apart++ >= APART_MAX)
        o->odd = "the server lists its messages in a way that can't be understood";
    for (size_t i = 0; !o->odd && i < COUNTOF(items); i++) {
        o->outstanding++;
        imapc_sendf(o->share->lane->source, &cmd, "FETCH %" PRIu32 " (%s)", seq, items[i]);
    }
}

static void bypass_take_number(struct bypass_one *o, const struct imap_resp *resp,
                               const struct imap_value *data)
{
    bool listed = o->record->stamp.source.modseq == 0;
    const char *why;

    if (span_is_ci(resp->word, "FETCH") && listed && !data) {
        bypass_ask_apart(o, resp->number);
    } else if (span_is_ci(resp->word, "FETCH") && listed) {
        /* A flag that can't be understood is left out each time. */
        if (!mbox_list_fetch(&o->list, resp->number, data, &why) && o->list.contradicts)
            o->odd = why;
    } else if (span_is_ci(resp->word, "FETCH")) {
        bypass_take_uid(o, data);
    } else if (span_is_ci(resp->word, "EXPUNGE")) {
        o->now.messages -= o->now.messages > 0;
        mbox_list_expunge(&o->list, resp->number);
    } else if (span_is_ci(resp->word, "EXISTS") && listed && !mbox_list_exists(&o->list, resp->number)) {
        o->odd = "more messages than this program can list";
    }
}

static enum imapc_taken bypass_on_data(void *owner, const struct imap_resp *resp,
                                       const struct imap_value *data)
{
    struct bypass_one *o = owner;

    if (resp->kind == RESP_DATA)
        bypass_take_number(o, resp, data);
    if (resp->kind == RESP_DATA && (span_is_ci(resp->word, "FETCH") || span_is_ci(resp->word, "EXPUNGE")))
        return IMAPC_TAKEN; /* what is odd about it ends the attempt */
    return glance_take(&o->now, resp);
}

static void share_down(struct share *s)
{
    struct bypass *b = s->bypass;

    if (++b->tries >= TRIES && !b->over) {
        buf_printf(&b->detail, "%s: the connection broke while it was looked at again", b->move->source_name);
        bypass_end(b, BYPASS_DOWN, WHY_UNREACHABLE);
    }
    end_share(s, false);
    bypass_step_soon(b);
}

static void count_answer(struct bypass_one *o, const struct imapc_end *e)
{
    if (e->rc == IMAPC_DOWN)
        share_down(o->share);
    else if (--o->outstanding == 0)
        bypass_judge(o);
}

static void on_examined(void *owner, const struct imapc_end *e)
{
    struct bypass_one *o = owner;

    if (e->rc != IMAPC_OK && imapc_end_temporary(e))
        o->odd = "the server asks to come back later";
    else if (e->rc != IMAPC_OK)
        o->refused = true;
    count_answer(o, e);
}

static void bypass_on_listed(void *owner, const struct imapc_end *e)
{
    struct bypass_one *o = owner;

    if (e->rc != IMAPC_OK)
        o->odd = "the server does not list its messages";
    count_answer(o, e);
}

/* A refusal, too, is looked at closer. */
static void bypass_on_told(void *owner, const struct imapc_end *e)
{
    count_answer(owner, e);
}

static enum imapc_taken on_status(void *owner, const struct imap_resp *resp, const struct imap_value *data)
{
    struct stamp_side *now = &((struct bypass_one *)owner)->now;
    const struct imap_value *numbers = imap_value_at(data, 1);

    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "STATUS"))
        return IMAPC_NOT_MINE;
    *now = (struct stamp_side){0};
    if (imap_value_u32(imap_value_get(numbers, "MESSAGES"), &now->messages))
        stamp_side_take(now, numbers);
    return IMAPC_TAKEN; /* without its numbers the mailbox is looked at closer */
}

static void bypass_send_status(struct bypass_one *o)
{
    const struct imapc_command cmd = {.data = on_status, .end = bypass_on_told, .owner = o};

    o->outstanding++;
    imapc_send_named(o->share->lane->source, &cmd, "STATUS", o->name,
                     " (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)");
}

static void bypass_send_examine(struct bypass_one *o)
{
    const struct imapc_command cmd = {.data = bypass_on_data, .end = on_examined, .owner = o};
    struct imapc *imap = o->share->lane->source;

    o->selected = imapc_needs_select(imap);
    o->outstanding++;
    imapc_send_named(imap, &cmd, o->selected ? "SELECT" : "EXAMINE", o->name, "");
}

/* What it needs to be judged by messages; nothing where there were none. */
static void bypass_send_listing(struct bypass_one *o)
{
    const struct imapc_command cmd = {.data = bypass_on_data, .end = bypass_on_listed, .owner = o};
    const struct stamp_side *was = &o->record->stamp.source;
    struct imapc *imap = o->share->lane->source;

    if (was->modseq > 0) {
        o->outstanding++;
        imapc_sendf(imap, &cmd, "UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE %" PRIu64 ")", was->modseq);
    } else if (was->messages > 0 && was->uidnext > 1) {
        o->outstanding++;
        imapc_sendf(imap, &cmd, "UID FETCH 1:%" PRIu32 " (UID FLAGS)", was->uidnext - 1);
    }
}

static void bypass_look_at(struct bypass_one *o, bool closer)
{
    struct bypass *b = o->share->bypass;

    one_clear(o);
    o->rounds++;
    mbox_list_init(&o->list, b->pool);
    if (o->record->seen_frozen == SEEN_GLANCED && !closer) {
        bypass_send_status(o);
        return;
    }
    bypass_send_examine(o);
    if (closer)
        bypass_send_listing(o);
    b->closer += closer;
}

static void look_closer(struct bypass_one *o)
{
    bypass_look_at(o, true);
}

static void start_share(struct share *s, struct lane *lane)
{
    struct bypass *b = s->bypass;
    size_t most = (b->n + CREW_MAX - 1) / CREW_MAX;

    s->lane = lane;
    s->left = 0;
    for (size_t i = 0; i < b->n && s->left < most; i++) {
        struct bypass_one *o = &b->ones[i];
        if (o->done || o->share)
            continue;
        o->share = s;
        o->rounds = 0;
        s->left++;
        bypass_look_at(o, o->record->stamp.source.modseq == 0);
    }
}

static bool has_more(const struct bypass *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (!b->ones[i].done && !b->ones[i].share)
            return true;
    return false;
}

static void bypass_step(struct loop_task *task)
{
    struct bypass *b = CONTAINER_OF(task, struct bypass, task);
    struct lane *lane;

    if (b->left == 0 || b->over) {
        bypass_tell(b);
        return;
    }
    crew_want(b->move->crew, b->left < CREW_MAX ? (unsigned)b->left : CREW_MAX);
    for (size_t i = 0; i < CREW_MAX && has_more(b); i++) {
        struct share *s = &b->shares[i];
        if (!s->lane && (lane = crew_take(b->move->crew)))
            start_share(s, lane);
    }
}

static void bypass_on_crew(void *owner, enum crew_event ev)
{
    struct bypass *b = owner;

    if (ev == CREW_FAILED && !b->over) {
        buf_add_str(&b->detail, crew_error(b->move->crew));
        bypass_end(b, BYPASS_DOWN, crew_why(b->move->crew));
    }
    bypass_step_soon(b);
}

static size_t count_rested(const struct records *records)
{
    size_t n = 0;

    for (const struct record *r = records_first(records); r; r = r->hh.next)
        n += r->seen_frozen != SEEN_NOT;
    return n;
}

struct bypass *bypass_start(struct move *move, bypass_fn fn, void *owner)
{
    struct bypass *b = xcalloc(1, sizeof(*b));
    size_t n = count_rested(move->records);

    b->move = move;
    b->fn = fn;
    b->owner = owner;
    b->began_ms = clock_boot_ms();
    FAULT_POINT("bypass", NULL, "sent");
    b->task.fn = bypass_step;
    b->pool = flags_pool_new();
    b->ones = xcalloc(n ? n : 1, sizeof(*b->ones));
    for (const struct record *r = records_first(move->records); r; r = r->hh.next)
        if (r->seen_frozen != SEEN_NOT)
            b->ones[b->n++] = (struct bypass_one){.record = r, .name = records_from_name(move->records, r)};
    b->left = b->n;
    for (size_t i = 0; i < CREW_MAX; i++)
        b->shares[i].bypass = b;
    crew_set_owner(move->crew, bypass_on_crew, b);
    bypass_step_soon(b);
    return b;
}
