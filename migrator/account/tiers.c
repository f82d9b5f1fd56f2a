#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "migrator/site/channel.h"
#include "tier.h"
#include "tiers.h"

/* A gap of so many UIDs takes about as long to fill as to jump over. Measured: a filler takes a Dovecot 25 µs (mdbox) to
 * 170 µs (maildir) to append and to remove, a jump 15 ms; a Cyrus 1 ms and 5 ms. */
enum { FILL_MAX_DOVEADM = 200, FILL_MAX_CYRUS = 8 };
/* Where it may save the proxies from looking at this account at all (lib/view.h, view_is_plain()), so many fillers of a
 * mailbox are worth it: on a busy machine (load 15 to 25 on two cores) 20,000 take a Dovecot 1.2 s (mdbox) or 7 s
 * (maildir), and 2,000 a Cyrus 4 s, once, in the first copy. */
enum { FILL_ALL_DOVEADM = 20000, FILL_ALL_CYRUS = 2000 };

enum tiers_step { TIERS_ASK, TIERS_SET, TIERS_CHECK, TIERS_LEAVE, TIERS_RENEW };

/* What is under way for one mailbox. */
struct tiers_op {
    TAILQ_ENTRY(tiers_op) link;
    struct tiers *t;
    struct tiers_request q;
    void (*told)(void *owner); /* the target was told; NULL: nobody wants to know */
    tiers_fn fn;
    void *owner;
    enum tiers_step step;
    unsigned pending; /* answers to STATUS */
    bool down;
    struct tier_facts facts;
    struct tier_aim aim;
    char *told_why;     /* what the channel said, where it did not work; owned */
    uint32_t touch;     /* number of the intent in the ledger */
    unsigned unwritten; /* entries of the ledger that have to stand before the target is told */
    enum route_rc written;
    enum channel_rc rc;
    uint32_t fresh;
    struct loop_task task; /* what comes next, outside of any callback */
};

struct tiers {
    struct move *move;
    bool asked; /* for a channel */
    struct channel *channel;
    const char *no_channel;
    bool jumps; /* a mailbox of the account has UIDs that were jumped over, or will have */
    TAILQ_HEAD(, tiers_op) ops;
};

static struct loop *tiers_loop(const struct tiers *t)
{
    return t->move->m->loop;
}

static const struct move *tiers_move(const struct tiers_op *op)
{
    return op->t->move;
}

static const struct conf_migration *tiers_conf(const struct tiers *t)
{
    return &t->move->m->conf->migration;
}

/* ---- the channel */

static void tiers_open_channel(struct tiers *t, const struct imapc *target, const struct mailboxes *names)
{
    if (t->asked)
        return;
    t->asked = true;
    t->channel = channel_new(&(struct channel_request){.m = t->move->m,
                                                       .backend = t->move->target,
                                                       .user = t->move->user,
                                                       .login = t->move->login,
                                                       .caps = imapc_caps(target),
                                                       .separator = names->separator,
                                                       .prefix = names->prefix,
                                                       .until_ms = &t->move->until_ms},
                             &t->no_channel);
}

/* A server whose channel is away for a minute must not cost the account its numbers for good. Attempts that failed of
 * something else don't wear that out: the last one has to have failed of the channel. */
static bool tiers_is_patient(const struct tiers *t)
{
    const struct move *m = t->move;

    return m->attempts < TIERS_PATIENCE || !m->failed || !t->channel ||
           !strstr(m->failed, channel_word(t->channel));
}

/* What was lost may be done late: each UID that the target gives is compared with the one that was wanted. */
static void tiers_on_jumped(void *owner, enum channel_rc rc, const char *why)
{
    struct record_numbers *n = owner;
    struct numbering_jump *j = n->jump;
    bool later = n->patient && rc != CHANNEL_OK && channel_may_come_back(n->channel);

    n->jump = NULL;
    numbering_jumped(j, rc == CHANNEL_OK ? JUMP_DONE : later ? JUMP_LATER : JUMP_CANNOT, why);
}

static void tiers_jump(void *owner, uint32_t uidnext, struct numbering_jump *j)
{
    struct record_numbers *n = owner;

    n->jump = j;
    *n->jumps = true;
    channel_tell(n->channel,
                 &(struct channel_want){.mailbox = n->mailbox, .was = n->uidvalidity, .uidnext = uidnext},
                 tiers_on_jumped, n);
}

static void tiers_forget_jump(void *owner, struct numbering_jump *j)
{
    struct record_numbers *n = owner;

    (void)j;
    n->jump = NULL;
    channel_forget(n->channel, n);
}

/* ---- what the copy is given */

/* Can there be nothing to rewrite for the proxies, if only no UID is jumped over? */
static bool tiers_may_be_plain(const struct tiers *t, const struct tiers_request *q)
{
    return t->move->condstore && !t->move->back && !t->move->viewed && !t->jumps &&
           strcmp(q->source_name, q->target_name) == 0 && q->source->separator == q->target->separator &&
           strcmp(q->source->prefix, q->target->prefix) == 0;
}

static void tiers_want(struct tiers *t, const struct tiers_request *q, uint64_t gaps,
                       uint32_t target_uidvalidity)
{
    struct record_numbers *n = &q->record->numbers;
    bool jumps = t->channel && target_uidvalidity > 0;
    bool doveadm = jumps && !strcmp(channel_word(t->channel), "doveadm");

    uint64_t fill_all = !tiers_may_be_plain(t, q) ? 0 : doveadm ? FILL_ALL_DOVEADM : FILL_ALL_CYRUS;
    if (n->numbering.wanted) { /* they count down over all tries */
        gaps = n->numbering.gaps_left;
        fill_all = n->numbering.fill_all < fill_all ? n->numbering.fill_all : fill_all;
    }
    n->channel = t->channel;
    n->jumps = &t->jumps;
    n->uidvalidity = target_uidvalidity;
    n->patient = tiers_is_patient(t);
    free(n->mailbox);
    n->mailbox = xstrdup(q->target_name);
    n->numbering = (struct numbering){.wanted = true,
                                      .fill_max = doveadm ? FILL_MAX_DOVEADM : FILL_MAX_CYRUS,
                                      .fill_all = fill_all,
                                      .gaps_left = gaps,
                                      .jump = jumps ? tiers_jump : NULL,
                                      .forget = jumps ? tiers_forget_jump : NULL,
                                      .owner = n};
}

static void tiers_want_not(struct record_numbers *n)
{
    n->numbering = (struct numbering){0};
}

static void tiers_say(struct record_numbers *n, const char *why)
{
    snprintf(n->why, sizeof(n->why), "%s", why);
}

/* ---- the end of an op */

static void tiers_op_free(struct tiers_op *op)
{
    struct tiers *t = op->t;

    TAILQ_REMOVE(&t->ops, op, link);
    loop_undefer(tiers_loop(t), &op->task);
    imapc_forget(op->q.lane->source, op);
    imapc_forget(op->q.lane->target, op);
    if (t->channel)
        channel_forget(t->channel, op);
    if (op->q.record->ledger)
        ledger_forget(op->q.record->ledger, op);
    free(op->told_why);
    free(op);
}

static void tiers_op_end(struct tiers_op *op, enum tiers_rc rc, const char *why)
{
    tiers_fn fn = op->fn;
    void *owner = op->owner;
    char *text = xstrdup(why);

    tiers_op_free(op);
    fn(owner, rc, text);
    free(text);
}

static void tiers_go(struct tiers_op *op, enum tiers_step step)
{
    op->step = step;
    loop_defer(tiers_loop(op->t), &op->task);
}

/* ---- STATUS */

static enum imapc_taken tiers_take_status(struct stamp_side *side, const struct imap_resp *resp,
                                          const struct imap_value *data)
{
    const struct imap_value *items = imap_value_at(data, 1);

    if (resp->kind != RESP_DATA || !span_is_ci(resp->word, "STATUS"))
        return IMAPC_NOT_MINE;
    if (!items || items->kind != IMAP_LIST || !stamp_status_is_whole(data))
        return IMAPC_ODD;
    if (!imap_value_u32(imap_value_get(items, "MESSAGES"), &side->messages))
        side->messages = UINT32_MAX; /* it is not known to be empty */
    stamp_side_take(side, items);
    return IMAPC_TAKEN;
}

static enum imapc_taken tiers_on_source(void *owner, const struct imap_resp *resp,
                                        const struct imap_value *data)
{
    struct tiers_op *op = owner;

    return tiers_take_status(&op->facts.source, resp, data);
}

static enum imapc_taken tiers_on_target(void *owner, const struct imap_resp *resp,
                                        const struct imap_value *data)
{
    struct tiers_op *op = owner;

    return tiers_take_status(&op->facts.target, resp, data);
}

/* One that is refused tells nothing, and so nothing is done to the mailbox. */
static void tiers_on_status_end(void *owner, const struct imapc_end *end)
{
    struct tiers_op *op = owner;

    op->down = op->down || end->rc == IMAPC_DOWN;
    if (--op->pending == 0)
        loop_defer(tiers_loop(op->t), &op->task);
}

static void tiers_status(struct tiers_op *op, struct imapc *c, const char *name, struct stamp_side *side,
                         imapc_data_fn data)
{
    bool modseq = imap_caps_has(imapc_caps(c), CAP_CONDSTORE);

    *side = (struct stamp_side){0};
    op->pending++;
    imapc_send_named(
        c, &(struct imapc_command){.data = data, .end = tiers_on_status_end, .owner = op, .mailbox = name},
        "STATUS", name,
        modseq ? " (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)" : " (MESSAGES UIDNEXT UIDVALIDITY)");
}

/* ---- a mailbox of which nothing is copied yet */

static void tiers_choose(struct tiers_op *op)
{
    struct tiers *t = op->t;
    struct tier_facts *f = &op->facts;

    f->channel = t->channel && !op->told_why ? channel_word(t->channel) : NULL;
    f->no_channel = op->told_why ? op->told_why : t->no_channel;
    f->uidplus = imap_caps_has(imapc_caps(op->q.lane->target), CAP_UIDPLUS);
    f->t0_max_gaps = tiers_conf(t)->t0_max_gaps;
    f->t1_max_gaps = tiers_conf(t)->t1_max_gaps;
    f->foreign_max = tiers_conf(t)->foreign_max;
    tier_choose(f, &op->aim);
}

/* The write goes out before any of the ledger's that the first APPEND waits for. Should it fail, the base is not known,
 * and proxies have to look. */
static void tiers_note_base(struct tiers_op *op)
{
    struct record *r = op->q.record;
    const struct stamp_side *target = &op->facts.target;
    struct records *all = op->t->move->records;

    if (op->aim.tier != VIEW_T0 || target->uidvalidity != op->facts.source.uidvalidity ||
        target->messages > 0 || target->modseq == 0 || !ledger_gave_none(r->ledger))
        return;
    r->stamp.base = (struct stamp_base){target->uidvalidity, target->modseq};
    r->stamp.terms = records_terms(all);
    r->stamp_changed = true;
    records_write_stamps(all);
}

/* What it says now counts, whatever the channel said. */
static void tiers_settle(struct tiers_op *op)
{
    struct record_numbers *n = &op->q.record->numbers;
    struct tier_facts *f = &op->facts;

    if (op->step == TIERS_CHECK && !op->told_why && f->target.uidvalidity != f->source.uidvalidity)
        op->told_why = xasprintf("%s: says that it is done, but UIDVALIDITY is %" PRIu32,
                                 channel_word(op->t->channel), f->target.uidvalidity);
    if (op->step == TIERS_CHECK)
        tiers_choose(op);
    tiers_want_not(n);
    /* Also where it seems to be in vain: the copy looks for itself, before it sends anything. */
    if (op->aim.tier == VIEW_T0)
        tiers_want(op->t, &op->q, op->aim.gaps, f->target.uidvalidity);
    else if (f->t1_max_gaps > 0)
        tiers_want(op->t, &op->q, f->t1_max_gaps, f->target.uidvalidity);
    tiers_say(n, op->aim.why);
    tiers_note_base(op);
    if (op->told_why)
        LOG(INFO, "numbers_not_told", LOG_S("user", op->t->move->user), LOG_S("mailbox", op->q.target_name),
            LOG_S("tier", view_tier_text(op->aim.tier)), LOG_S("detail", op->told_why));
    tiers_op_end(op, TIERS_DONE, "");
}

/* ---- telling the target, with an intent in the ledger before it, and its end behind it */

static void tiers_told(struct tiers_op *op);

static bool tiers_ledger_is_down(struct tiers_op *op, enum route_rc rc)
{
    if (rc == ROUTE_OK)
        return false;
    tiers_op_end(op, TIERS_DOWN, "an intent could not be written to the ledger");
    return true;
}

static void tiers_on_touched(void *owner, enum route_rc rc)
{
    struct tiers_op *op = owner;

    if (!tiers_ledger_is_down(op, rc))
        tiers_told(op);
}

static void tiers_on_bound(void *owner, enum route_rc rc)
{
    struct tiers_op *op = owner;

    if (!tiers_ledger_is_down(op, rc))
        ledger_touched(op->q.record->ledger, op->touch, tiers_on_touched, op);
}

/* Without an answer the intent stays open. The UIDs are what they were under another UIDVALIDITY: what the ledger knows
 * still holds. Without it a copy whose message has just gone at the source would be nobody's, and stay. */
static void tiers_on_told(void *owner, enum channel_rc rc, const char *why)
{
    struct tiers_op *op = owner;

    struct ledger *l = op->q.record->ledger;
    uint32_t source, target;

    op->rc = rc;
    free(op->told_why);
    op->told_why = rc == CHANNEL_OK ? NULL : xstrdup(why);
    if (rc == CHANNEL_LOST)
        tiers_told(op);
    else if (rc == CHANNEL_OK && op->step == TIERS_RENEW && ledger_bound(l, &source, &target))
        ledger_bind(l, source, op->fresh, tiers_on_bound, op);
    else
        ledger_touched(op->q.record->ledger, op->touch, tiers_on_touched, op);
}

/* What it is told as its UIDVALIDITY; 0: it keeps the one that it has. */
static uint32_t tiers_number(const struct tiers_op *op)
{
    const struct tier_facts *f = &op->facts;

    if (op->step == TIERS_RENEW)
        return op->fresh;
    return f->target.uidvalidity == f->source.uidvalidity ? 0 : f->source.uidvalidity;
}

static void tiers_tell_now(struct tiers_op *op)
{
    bool renew = op->step == TIERS_RENEW;

    channel_tell(
        op->t->channel,
        &(struct channel_want){.mailbox = op->q.target_name,
                               .was = renew ? op->q.record->numbers.was[1] : op->facts.target.uidvalidity,
                               .uidvalidity = tiers_number(op),
                               .modseq = renew ? 0 : op->aim.modseq},
        tiers_on_told, op);
}

/* In any order: one may have to wait for the replicas of Redis. */
static void tiers_on_written(void *owner, enum route_rc rc)
{
    struct tiers_op *op = owner;

    if (op->written == ROUTE_OK)
        op->written = rc;
    if (--op->unwritten == 0 && !tiers_ledger_is_down(op, op->written))
        tiers_tell_now(op);
}

static void tiers_tell(struct tiers_op *op, enum tiers_step step)
{
    struct ledger *l = op->q.record->ledger;
    uint64_t ms = tiers_move(op)->m->conf->migrator.command_timeout_ms;

    op->step = step;
    op->written = ROUTE_OK;
    op->unwritten = tiers_number(op) > 0 ? 2 : 1;
    op->touch = ledger_touch(l, NULL, 0, ms, tiers_on_written, op);
    if (tiers_number(op) > 0)
        ledger_renewal(l, tiers_number(op), tiers_on_written, op);
}

/* ---- a fresh UIDVALIDITY */

static void tiers_renew_now(struct tiers_op *op)
{
    const struct record_numbers *n = &op->q.record->numbers;

    op->fresh = tier_fresh_uidvalidity(n->was[0], n->was[1], op->q.record->view.highest_uidvalidity,
                                       clock_wall_ms() / 1000);
    if (op->fresh)
        tiers_tell(op, TIERS_RENEW);
    else
        tiers_op_end(op, TIERS_CANNOT, "there is no greater UIDVALIDITY left");
}

static void tiers_renewed(struct tiers_op *op)
{
    struct record *r = op->q.record;

    if (op->rc == CHANNEL_OK) {
        LOG(WARN, "numbers_lost", LOG_S("user", op->t->move->user), LOG_S("mailbox", op->q.target_name),
            LOG_U("uidvalidity", op->fresh), LOG_S("detail", r->numbers.lost));
        r->numbers.given_up = true;
        tiers_want_not(&r->numbers);
    }
    tiers_op_end(op,
                 op->rc == CHANNEL_OK        ? TIERS_DONE
                 : op->rc == CHANNEL_REFUSED ? TIERS_CANNOT
                                             : TIERS_DOWN,
                 op->told_why ? op->told_why : "");
}

static void tiers_told(struct tiers_op *op)
{
    if (op->step == TIERS_RENEW) {
        tiers_renewed(op);
        return;
    }
    if (op->rc != CHANNEL_OK && channel_may_come_back(op->t->channel) && tiers_is_patient(op->t)) {
        tiers_op_end(op, TIERS_DOWN, op->told_why);
        return;
    }
    op->step = TIERS_CHECK;
    tiers_status(op, op->q.lane->target, op->q.target_name, &op->facts.target, tiers_on_target);
    if (op->told)
        op->told(op->owner);
}

/* Servers disconnect who has it selected. */
static void tiers_on_left(void *owner, const struct imapc_end *end)
{
    struct tiers_op *op = owner;

    op->down = end->rc == IMAPC_DOWN;
    tiers_go(op, TIERS_LEAVE);
}

static void tiers_leave(struct tiers_op *op)
{
    struct imapc *c = op->q.lane->target;

    op->step = TIERS_LEAVE;
    if (imap_caps_has(imapc_caps(c), CAP_UNSELECT))
        imapc_sendf(c, &(struct imapc_command){.end = tiers_on_left, .owner = op}, "UNSELECT");
    else
        tiers_go(op, TIERS_LEAVE);
}

/* ---- steps */

static void tiers_on_task(struct loop_task *task)
{
    struct tiers_op *op = CONTAINER_OF(task, struct tiers_op, task);

    if (op->down) {
        tiers_op_end(op, TIERS_DOWN, "the connection broke while numbers were asked for");
        return;
    }
    switch (op->step) {
    case TIERS_ASK:
        tiers_choose(op);
        if (op->aim.set)
            tiers_tell(op, TIERS_SET);
        else
            tiers_settle(op);
        break;
    case TIERS_CHECK:
        tiers_settle(op);
        break;
    case TIERS_LEAVE:
        tiers_renew_now(op);
        break;
    case TIERS_SET:
    case TIERS_RENEW:
        break; /* for the channel to answer */
    }
}

static struct tiers_op *tiers_begin(struct tiers *t, const struct tiers_request *q, tiers_fn fn, void *owner)
{
    struct tiers_op *op = xcalloc(1, sizeof(*op));

    op->t = t;
    op->q = *q;
    op->fn = fn;
    op->owner = owner;
    op->task.fn = tiers_on_task;
    TAILQ_INSERT_TAIL(&t->ops, op, link);
    return op;
}

/* ---- for the pass */

static bool tiers_rows_equal(const struct ledger *l)
{
    size_t n;
    const struct ledger_row *rows = ledger_rows(l, &n);

    for (size_t i = 0; i < n; i++)
        if (rows[i].source_uid != rows[i].target_uid)
            return false;
    return true;
}

/* Something is copied already. */
static enum tiers_wait tiers_go_on(struct tiers *t, const struct tiers_request *q, uint32_t source,
                                   uint32_t target, tiers_fn fn, void *owner)
{
    struct record_numbers *n = &q->record->numbers;
    bool equal = tiers_rows_equal(q->record->ledger);
    bool other = q->source_uidvalidity && q->source_uidvalidity != source;
    bool t0 = source == target && !other && equal;

    /* Clients have seen this UIDVALIDITY, with other UIDs. */
    if (source == target && !t0 && t->channel && !n->given_up && !t->move->back) {
        snprintf(n->lost, sizeof(n->lost), "%s",
                 other ? "the source's mailbox is another one now" : "the copies have other UIDs");
        n->was[0] = other ? q->source_uidvalidity : source;
        n->was[1] = target;
        tiers_leave(tiers_begin(t, q, fn, owner));
        return TIERS_RENEWING;
    }
    if (t0 && !n->given_up)
        tiers_want(t, q, t->channel ? tiers_conf(t)->t0_max_gaps : tiers_conf(t)->t1_max_gaps, target);
    else if (equal && !other && !n->given_up && !t->move->back && tiers_conf(t)->t1_max_gaps > 0)
        tiers_want(t, q, tiers_conf(t)->t1_max_gaps, target);
    else
        tiers_want_not(n);
    return TIERS_KNOWN;
}

static bool tiers_has_copies(const struct ledger *l, uint32_t *source, uint32_t *target)
{
    uint32_t uidnext;
    size_t n;

    ledger_rows(l, &n);
    return ledger_bound(l, source, target) && (n > 0 || ledger_in_doubt(l, &uidnext));
}

bool tiers_may_renew(const struct tiers *t, const struct record *record)
{
    uint32_t source, target;

    return tiers_can_renew(t) && tiers_has_copies(record->ledger, &source, &target);
}

enum tiers_wait tiers_prepare(struct tiers *t, const struct tiers_request *q, void (*told)(void *owner),
                              tiers_fn fn, void *owner)
{
    uint32_t source, target;

    if (!t->move->back)
        tiers_open_channel(t, q->lane->target, q->target);
    if (tiers_has_copies(q->record->ledger, &source, &target))
        return tiers_go_on(t, q, source, target, fn, owner);
    if (t->move->back || q->record->numbers.given_up)
        return TIERS_KNOWN;
    if (!t->channel) { /* the copy looks for itself, before it sends anything */
        if (tiers_conf(t)->t1_max_gaps > 0)
            tiers_want(t, q, tiers_conf(t)->t1_max_gaps, 0);
        tiers_say(&q->record->numbers, t->no_channel);
        return TIERS_KNOWN;
    }
    struct tiers_op *op = tiers_begin(t, q, fn, owner);
    op->told = told;
    op->step = TIERS_ASK;
    tiers_status(op, q->lane->source, q->source_name, &op->facts.source, tiers_on_source);
    tiers_status(op, q->lane->target, q->target_name, &op->facts.target, tiers_on_target);
    return TIERS_ASKING;
}

/* Whichever says most of why the tier is no better one. */
static const char *tiers_why(const struct record_numbers *n, enum view_tier tier,
                             const struct copy_result *result, const char *by_ledger)
{
    if (tier == VIEW_T0)
        return "";
    if (tier == VIEW_T3)
        return by_ledger;
    if (tier == VIEW_T2 && n->given_up)
        return n->lost;
    if (tier == VIEW_T2 && result->numbers.state == NUMBERS_LOST)
        return result->numbers.reason;
    return *n->why ? n->why : by_ledger;
}

/* What keeps the target's own messages in the way; where nothing does, it is as good as T2. */
static void tiers_say_foreign(struct record_numbers *n, const struct foreign_result *f, const char *by_ledger)
{
    char why[sizeof(n->why)];

    if (f->in_the_way == 0 && !f->pending)
        return;
    if (f->later || f->pending) {
        n->tier = VIEW_T2;
        tiers_say(n, "messages of the target's own lie before copies, and will be moved behind these");
    } else if (*f->why) {
        snprintf(why, sizeof(why), "%.*s: %s", (int)(sizeof(why) - sizeof(f->why)) - 3, by_ledger, f->why);
        tiers_say(n, why);
    }
}

bool tiers_took(struct record *r, const struct copy_result *result)
{
    struct record_numbers *n = &r->numbers;
    char by_ledger[sizeof(n->why)], why[sizeof(n->why)];
    bool lost = result->numbers.state == NUMBERS_LOST;

    n->tier = record_tier(r, result, by_ledger, sizeof(by_ledger));
    n->known = true;
    n->first_foreign = result->first_foreign;
    snprintf(why, sizeof(why), "%s", tiers_why(n, n->tier, result, by_ledger));
    tiers_say(n, why);
    if (n->tier == VIEW_T3)
        tiers_say_foreign(n, &result->foreign, by_ledger);
    if (result->source_uidvalidity != result->target_uidvalidity || result->source_uidvalidity == 0 ||
        n->tier == VIEW_T0)
        return true;
    snprintf(n->lost, sizeof(n->lost), "%s", lost ? result->numbers.reason : by_ledger);
    return false;
}

bool tiers_can_renew(const struct tiers *t)
{
    return t && t->channel != NULL && !t->move->back;
}

const struct depot *tiers_depot(const struct tiers *t)
{
    return t->channel ? channel_depot(t->channel) : NULL;
}

const struct depot *tiers_late_depot(struct tiers *t, const struct imapc *target,
                                     const struct mailboxes *names)
{
    tiers_open_channel(t, target, names);
    return tiers_depot(t);
}

void tiers_renew(struct tiers *t, const struct tiers_request *q, const struct copy_result *result,
                 tiers_fn fn, void *owner)
{
    q->record->numbers.was[0] = result->source_uidvalidity;
    q->record->numbers.was[1] = result->target_uidvalidity;
    tiers_leave(tiers_begin(t, q, fn, owner));
}

void tiers_forget(struct tiers *t, struct record *record)
{
    struct tiers_op *op, *next;

    for (op = t ? TAILQ_FIRST(&t->ops) : NULL; op; op = next) {
        next = TAILQ_NEXT(op, link);
        if (op->q.record == record)
            tiers_op_free(op);
    }
}

void tiers_write_counts(struct buf *out, const size_t counts[4])
{
    const char *blank = "";

    for (unsigned i = VIEW_T0; i <= VIEW_T3; i++) {
        if (counts[i] == 0)
            continue;
        buf_printf(out, "%s%s:%zu", blank, view_tier_text((enum view_tier)i), counts[i]);
        blank = " ";
    }
}

struct tiers *tiers_new(struct move *move)
{
    struct tiers *t = xcalloc(1, sizeof(*t));

    t->move = move;
    t->no_channel = "";
    TAILQ_INIT(&t->ops);
    return t;
}

void tiers_free(struct tiers **tp)
{
    struct tiers *t = *tp;
    struct tiers_op *op;

    *tp = NULL;
    if (!t)
        return;
    while ((op = TAILQ_FIRST(&t->ops)))
        tiers_op_free(op);
    channel_free(&t->channel);
    free(t);
}
