#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "ahead.h"
#include "bases.h"
#include "copy.h"
#include "delta.h"
#include "doubles.h"
#include "fillers.h"
#include "foreign_state.h"
#include "headers.h"
#include "known.h"
#include "migrator/found/oddity.h"
#include "migrator/found/waiver.h"
#include "numbers.h"
#include "pair.h"
#include "reflag.h"
#include "remove.h"
#include "settle.h"
#include "transfer.h"
#include "verify.h"

enum {
    PROGRESS_MS = 250,
    ROUNDS = 2, /* of mending what changes while we look */
    ALIGNS = 5, /* of listing what one side has told of meanwhile */
};

enum copy_step {
    OPEN,
    BIND,
    UNFILL,
    SETTLE,
    RETAKE,
    KNOWN,
    APPEND,
    RELIST,
    REORDER,
    DOUBLES,
    ALIGN,
    FLAGS,
    EXPUNGE,
    FORGET,
    MOVE,
    HEADERS,
    VERIFY,
    CATCH_UP,
    COMPARE,
    ADDED,
    END
};

struct copy {
    struct pair pair; /* first: progress() gets back from it */
    copy_fn fn;
    void *owner;
    void (*progress)(void *owner, const struct copy_counts *c); /* may be NULL */
    struct ahead ahead;
    bool target_waits; /* for the copy before, or until it is told its numbers */
    uint64_t told_ms;
    char *source_name, *target_name; /* owned */
    enum copy_step step;
    struct loop_task task; /* goes to the step, outside of any callback */
    unsigned opening;      /* sides; in ALIGN too */
    bool last;
    struct bases bases;
    struct imap_seq gone; /* at the end: source UIDs that the source lacks */
    bool whole;
    uint64_t caught_up; /* changes at the target that its list knows of */
    unsigned round, aligned;
    struct fillers *fillers;
    enum copy_step after_fillers;
    uint64_t unfilled; /* how many were removed */
    struct settle *settle;
    struct transfer *transfer;
    struct doubles *doubles;
    struct reflag *reflag;
    struct remove *remove;
    struct foreign_terms foreign_terms;
    struct foreign *foreign;
    struct foreign_result foreign_result; /* of all that were made */
    struct headers *headers;
    struct verify *verify;
    struct known *known;
    struct oddities odd;         /* lines that are named already */
    struct imap_seq *late_known; /* borrowed; may be NULL */
    uint32_t first_new;          /* target UID */
    uint32_t reorder_max, delete_share;
    bool reordered, share_named;
    enum copy_rc rc;
    char *why; /* owned */
};

static void copy_go(struct copy *c, enum copy_step step)
{
    c->step = step;
    loop_defer(c->pair.loop, &c->task);
}

/* What it broke for is named: where two copies are at a connection, by the one whose answer it was. */
static bool is_garbled(const struct copy *c)
{
    return c->odd.n + c->odd.more > 0 &&
           (imapc_is_garbled(c->pair.source.imap) || imapc_is_garbled(c->pair.target.imap));
}

static void copy_fail(struct copy *c, enum copy_rc rc, const char *why)
{
    bool named = rc == COPY_DOWN && is_garbled(c);
    if (c->step == END)
        return;
    c->rc = named ? COPY_DIFFERS : rc;
    c->why = xstrdup(why);
    if (rc == COPY_DIFFERS)
        findings_add(c->pair.findings, FINDING_LISTING, c->source_name, 0, "%s", why);
    else if (rc == COPY_CANNOT)
        findings_add(c->pair.findings, FINDING_UNREMOVABLE, c->source_name, 0, "%s", why);
    copy_go(c, END);
}

/* How a step ended: on to the next, or to the end. why may belong to the step: it is stopped after this. */
static void copy_step_ended(struct copy *c, enum copy_rc rc, const char *why, enum copy_step next)
{
    if (c->step == END)
        return;
    if (rc == COPY_EQUAL)
        copy_go(c, next);
    else
        copy_fail(c, rc, why);
}

static void on_ledger_rc(struct copy *c, enum route_rc rc, enum copy_step next)
{
    copy_step_ended(c,
                    rc == ROUTE_OK     ? COPY_EQUAL
                    : rc == ROUTE_LOST ? COPY_LOST
                                       : COPY_DOWN,
                    ledger_error(c->pair.ledger), next);
}

/* --- progress --- */

static void tell_progress(struct pair *p)
{
    struct copy *c = CONTAINER_OF(p, struct copy, pair);
    uint64_t now;
    if (!c->progress || (now = clock_boot_ms()) - c->told_ms < PROGRESS_MS)
        return;
    c->told_ms = now;
    struct copy_counts counts = p->counts;
    counts.bytes_done += p->under_way;
    c->progress(c->owner, &counts);
}

static void count_total(struct pair *p)
{
    p->counts.messages_total = p->source.list.listed;
    p->counts.bytes_total = p->bare_bytes = 0;
    for (size_t i = 0; i < p->source.list.listed; i++) {
        const struct mbox_msg *m = &p->source.list.msgs[i];
        const struct ledger_row *row = ledger_find(p->ledger, m->uid);
        p->counts.bytes_total += m->size;
        p->bare_bytes += row && row->bare ? m->size : 0;
    }
    pair_count_done(p);
    p->progress(p);
}

/* --- OPEN --- */

static void copy_on_opened(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    if (rc != COPY_EQUAL)
        copy_fail(c, rc, why);
    if (--c->opening == 0)
        copy_step_ended(c, COPY_EQUAL, "", BIND);
}

static void on_transferred(void *owner, enum copy_rc rc, const char *why);

/* The bodies are on their way by the time that the target is open. */
static void on_source_opened(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    if (rc == COPY_EQUAL && c->step == OPEN && c->opening > 1 && ahead_may_ask(&c->pair))
        c->transfer = transfer_start_ahead(&c->pair, on_transferred, c);
    copy_on_opened(c, rc, why);
}

static void open_target(struct copy *c)
{
    selected_open(&c->pair.target, c->whole ? NULL : &c->bases.target, copy_on_opened, c);
}

static void enter_open(struct copy *c)
{
    bool based = bases_make(&c->bases, &c->pair);
    if (based) /* all that was found is zones, and what is not listed anew has them still */
        findings_use(c->pair.findings, c->pair.waivers);
    else
        findings_clear(c->pair.findings, c->pair.waivers);
    c->whole = !based;
    c->opening = 2;
    selected_open(&c->pair.source, based ? &c->bases.source : NULL, on_source_opened, c);
    if (!c->target_waits)
        open_target(c);
}

/* --- BIND --- */

static void on_bound(void *owner, enum route_rc rc)
{
    on_ledger_rc(owner, rc, UNFILL);
}

static void on_voided(void *owner, enum route_rc rc)
{
    on_ledger_rc(owner, rc, BIND);
}

/* Entries belong to a pair of UIDVALIDITYs. Where one has changed, nothing that they say holds: what is on
 * the target is then found by its bytes (SETTLE). But where it was we who told the target another one, all of it does. */
static void enter_bind(struct copy *c)
{
    struct pair *p = &c->pair;
    uint32_t source, target;
    count_total(p);
    if (c->transfer && p->target.list.n > 0) /* the source may have to be read first, to know what that is */
        transfer_discard(c->transfer);
    findings_of_uidvalidity(p->findings, p->source.uidvalidity);
    if (!ledger_bound(p->ledger, &source, &target)) {
        ledger_bind(p->ledger, p->source.uidvalidity, p->target.uidvalidity, on_bound, c);
    } else if (p->late_from && (source != p->source.uidvalidity || target != p->target.uidvalidity)) {
        copy_fail(c, COPY_DIFFERS, "its UIDVALIDITY has changed since the flip");
    } else if (source == p->source.uidvalidity && ledger_is_renewal(p->ledger, p->target.uidvalidity)) {
        ledger_bind(p->ledger, p->source.uidvalidity, p->target.uidvalidity, on_bound, c);
    } else if (source != p->source.uidvalidity || target != p->target.uidvalidity) {
        LOG(WARN, "uidvalidity_changed", LOG_S("mailbox", p->source.name), LOG_U("source_was", source),
            LOG_U("source", p->source.uidvalidity), LOG_U("target_was", target),
            LOG_U("target", p->target.uidvalidity));
        ledger_void(p->ledger, on_voided, c);
    } else {
        copy_go(c, UNFILL); /* the late watch too: a failover of Redis may have taken rows away, and with them
                               any doubt */
    }
}

/* --- UNFILL: before SETTLE, and behind RELIST --- */

/* What the server said before it was listed counted them too, where it told no HIGHESTMODSEQ. */
static void note_unfilled(struct copy *c)
{
    struct stamp_side *seen = &c->pair.target.seen;
    uint64_t n = fillers_removed(c->fillers);
    c->unfilled += n;
    if (seen->modseq == 0 && c->after_fillers != SETTLE)
        seen->messages -= n < seen->messages ? (uint32_t)n : seen->messages;
}

static void on_unfilled(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    if (rc == COPY_EQUAL)
        note_unfilled(c);
    copy_step_ended(c, rc, why, c->after_fillers);
    fillers_stop(&c->fillers); /* why was its own */
}

static void enter_unfill(struct copy *c)
{
    bool first = c->after_fillers == OPEN;
    if (first)
        c->after_fillers = SETTLE;
    c->fillers = fillers_start(&c->pair, first, on_unfilled, c);
}

static void unfill_then(struct copy *c, enum copy_step next)
{
    c->after_fillers = next;
    copy_go(c, UNFILL);
}

/* --- SETTLE, RETAKE, APPEND, RELIST, REORDER, DOUBLES --- */

static void on_settled(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    pair_count_done(&c->pair);
    copy_step_ended(c, rc, why, c->pair.late_from ? KNOWN : RETAKE);
    settle_stop(&c->settle); /* why was its own */
}

static void enter_settle(struct copy *c)
{
    c->settle = settle_start(&c->pair, on_settled, c);
}

static void copy_on_taken(void *owner, enum route_rc rc)
{
    struct copy *c = owner;
    pair_count_done(&c->pair);
    on_ledger_rc(c, rc, APPEND);
}

static void forget_taken(struct copy *c)
{
    const struct imap_seq *set = ledger_to_retake(c->pair.ledger);
    uint32_t *uids = xcalloc(imap_seq_count(set), sizeof *uids);
    size_t n = 0;
    for (size_t r = 0; r < set->n; r++)
        for (uint64_t uid = set->ranges[r].first; uid <= set->ranges[r].last; uid++)
            uids[n++] = (uint32_t)uid;
    ledger_gone(c->pair.ledger, uids, n, copy_on_taken, c);
    free(uids);
}

static void on_taken_back(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    if (rc == COPY_EQUAL && c->step != END)
        forget_taken(c);
    else
        copy_step_ended(c, rc, why, APPEND);
    remove_stop(&c->remove); /* why was its own */
}

/* Also what a run before this one had begun to take back. */
static void enter_retake(struct copy *c)
{
    struct pair *p = &c->pair;
    const struct imap_seq *set = ledger_to_retake(p->ledger);
    struct imap_seq targets = {0};
    size_t n;
    const struct ledger_row *rows = ledger_rows(p->ledger, &n);
    for (size_t i = 0; set->n > 0 && i < n; i++)
        if (imap_seq_has(set, rows[i].source_uid) && mbox_list_find(&p->target.list, rows[i].target_uid))
            imap_seq_add(&targets, rows[i].target_uid, rows[i].target_uid);
    if (targets.n > 0)
        c->remove = remove_start(p, &targets, on_taken_back, c);
    else if (set->n > 0)
        forget_taken(c);
    else
        copy_go(c, APPEND);
    imap_seq_free(&targets);
}

/* Late messages that were copied before, under another UID. */
static void on_known(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    if (c->late_known)
        imap_seq_join(c->late_known, &c->pair.known);
    copy_step_ended(c, rc, why, APPEND);
    known_stop(&c->known); /* why was its own */
}

static void enter_known(struct copy *c)
{
    c->known = known_start(&c->pair, on_known, c);
}

static void on_transferred(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    c->first_new = transfer_first(c->transfer);
    copy_step_ended(c, rc, why, RELIST);
    transfer_stop(&c->transfer); /* why was its own */
}

static void enter_append(struct copy *c)
{
    numbers_begin(&c->pair);
    if (c->transfer)
        transfer_go(c->transfer);
    else
        c->transfer = transfer_start(&c->pair, on_transferred, c);
}

static void copy_on_source_read(struct pair *p)
{
    ahead_give_source(&CONTAINER_OF(p, struct copy, pair)->ahead, p);
}

static void copy_ignore_end(void *owner, const struct imapc_end *e)
{
    (void)owner, (void)e; /* should it be down, the listing says so */
}

static enum imapc_taken copy_on_expunge_data(void *owner, const struct imap_resp *resp,
                                             const struct imap_value *data)
{
    struct copy *c = owner;
    if (resp->kind == RESP_DATA && span_is_ci(resp->word, "SEARCH"))
        return IMAPC_TAKEN;
    return selected_data(&c->pair.target, resp, data);
}

static void copy_relisted(struct copy *c, enum copy_rc rc, const char *why)
{
    if (rc != COPY_EQUAL)
        copy_fail(c, rc, why);
    if (--c->opening > 0)
        return;
    c->after_fillers = c->pair.late_from ? VERIFY : REORDER;
    copy_step_ended(c, COPY_EQUAL, "", UNFILL);
}

static void copy_on_asked(struct pair *p)
{
    struct copy *c = CONTAINER_OF(p, struct copy, pair);
    if (c->step == RELIST)
        ahead_give_both(&c->ahead, p);
}

static void on_relisted(void *owner, enum copy_rc rc, const char *why)
{
    copy_relisted(owner, rc, why);
}

static void on_read_back(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    copy_relisted(c, rc, why);
    verify_stop(&c->verify); /* why was its own */
}

/* As the server runs it before it lists, fillers are not listed. They are marked, and what is not stays, so
 * that nothing is taken away for a target that lies about UIDs. What this leaves UNFILL finds. Dovecot puts
 * off what EXPUNGE does to its view until a command comes that has message numbers, as SEARCH has: without it
 * the STATUS that follows tells how it was before, and the next pass lists all of it again. */
static void expunge_fillers(struct copy *c)
{
    const struct imapc_command cmd = {.data = copy_on_expunge_data, .end = copy_ignore_end, .owner = c};
    const struct imap_seq *there = &ledger_fillers(c->pair.ledger)->there;
    struct uidset_place at = {0};
    struct buf set = {0};
    if (pair_keeps_numbers(&c->pair) && there->n > 0)
        imapc_sendf(selected_imap(&c->pair.target), &cmd, "NOOP"); /* Courier knows them only then */
    while (pair_keeps_numbers(&c->pair) && uidset_next(there, &at, 0, &set))
        imapc_sendf(selected_imap(&c->pair.target), &cmd, "UID EXPUNGE %s", buf_str(&set));
    if (pair_keeps_numbers(&c->pair) && there->n > 0)
        imapc_sendf(selected_imap(&c->pair.target), &cmd, "SEARCH UID 1");
    buf_free(&set);
}

/* What arrived, as the target shows it; its bytes are asked for in the same breath, which saves a round
 * trip. */
static void enter_relist(struct copy *c)
{
    pair_count_done(&c->pair);
    if (c->first_new == 0) {
        unfill_then(c, c->pair.late_from ? VERIFY : REORDER);
        return;
    }
    c->opening = 2;
    expunge_fillers(c);
    c->pair.sample.resent = ledger_resent(c->pair.ledger);
    selected_catch_up(&c->pair.target, c->first_new, on_relisted, c);
    c->verify = verify_start(&c->pair, c->first_new, on_read_back, c);
    if (verify_has_asked(c->verify))
        copy_on_asked(&c->pair);
}

/* True: the step can't be done, and the copy ends. */
static bool has_given(struct copy *c)
{
    if (c->pair.target.given)
        copy_fail(c, COPY_DOWN, SELECTED_GIVEN);
    return c->pair.target.given;
}

static bool has_given_source(struct copy *c)
{
    if (c->pair.source.given)
        copy_fail(c, COPY_DOWN, SELECTED_GIVEN);
    return c->pair.source.given;
}

static void on_retake_noted(void *owner, enum route_rc rc)
{
    on_ledger_rc(owner, rc, RETAKE);
}

/* May what is misplaced be taken back? Where not, COMPARE names it. */
static bool may_reorder(const struct copy *c, uint64_t n)
{
    const struct pair *p = &c->pair;
    bool waived = p->waivers && waivers_have(p->waivers, FINDING_ORDER, c->source_name, 0, 0);
    return n > 0 && n <= c->reorder_max && !c->reordered && !waived && !ledger_was_turned(p->ledger) &&
           imap_caps_has(imapc_caps(p->target.imap), CAP_UIDPLUS);
}

static void note_retake(struct copy *c)
{
    struct delta d = pair_delta(&c->pair);
    struct imap_seq sources = {0};
    delta_misplaced(&d, &sources);
    LOG(INFO, "late_success", LOG_S("mailbox", c->source_name),
        LOG_U("taken_back", imap_seq_count(&sources)));
    if (sources.n > 0)
        ledger_retake(c->pair.ledger, &sources, on_retake_noted, c);
    else
        copy_go(c, DOUBLES);
    imap_seq_free(&sources);
}

static void on_sources_listed(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    if (rc == COPY_EQUAL && c->step != END)
        note_retake(c);
    else
        copy_step_ended(c, rc, why, DOUBLES);
}

/* What is appended again needs its flags and its date. */
static void enter_reorder(struct copy *c)
{
    struct delta d = pair_delta(&c->pair);
    struct imap_seq sources = {0};
    delta_misplaced(&d, &sources);
    if (!may_reorder(c, imap_seq_count(&sources))) {
        copy_go(c, DOUBLES);
    } else if (!has_given_source(c) && !has_given(c)) {
        c->reordered = true;
        selected_refresh(&c->pair.source, &sources, on_sources_listed, c);
    }
    imap_seq_free(&sources);
}

static void on_doubles(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    copy_step_ended(c, rc, why, ALIGN);
    doubles_stop(&c->doubles); /* why was its own */
}

static void enter_doubles(struct copy *c)
{
    if (ledger_resent(c->pair.ledger)->n > 0 && has_given(c))
        return;
    c->doubles = doubles_start(&c->pair, on_doubles, c);
}

/* --- ALIGN, FLAGS, EXPUNGE --- */

/* True: the copy ends, for a list is not what it seems to be. */
static bool name_contradiction(struct copy *c)
{
    const struct selected *sides[] = {&c->pair.source, &c->pair.target};
    for (size_t i = 0; i < COUNTOF(sides); i++) {
        const char *wrong = selected_wrong(sides[i]);
        if (!wrong)
            continue;
        char *why = xasprintf("the %s contradicts itself: %s", sides[i]->side, wrong);
        copy_fail(c, COPY_DIFFERS, why);
        free(why);
        return true;
    }
    return false;
}

/* Listing them anew has shown what arrived since the list was opened, which the next pass copies. */
static void keep_to_list(struct selected *side)
{
    size_t n = side->seen.uidnext > 0 ? mbox_list_from(&side->list, side->seen.uidnext) : side->list.listed;
    if (n < side->list.listed)
        side->list.listed = n;
}

static void on_aligned(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    if (rc != COPY_EQUAL)
        copy_fail(c, rc, why);
    if (--c->opening > 0)
        return;
    keep_to_list(&c->pair.source);
    copy_step_ended(c, COPY_EQUAL, "", FLAGS);
}

static void copy_align(struct copy *c, struct selected *side, const struct imap_seq *uids)
{
    if (uids->n == 0)
        return;
    c->opening++;
    selected_refresh(side, uids, on_aligned, c);
}

static void enter_align(struct copy *c)
{
    struct delta d = pair_delta(&c->pair);
    struct imap_seq sources = {0}, targets = {0};
    delta_unlisted(&d, &sources, &targets);
    c->opening = 0;
    if (sources.n + targets.n == 0) {
        copy_go(c, FLAGS);
    } else if (!(sources.n > 0 && has_given_source(c)) && !has_given(c)) {
        copy_align(c, &c->pair.source, &sources);
        copy_align(c, &c->pair.target, &targets);
    }
    imap_seq_free(&sources);
    imap_seq_free(&targets);
}

static void on_reflagged(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    copy_step_ended(c, rc, why, EXPUNGE);
    reflag_stop(&c->reflag); /* why was its own */
}

static void enter_flags(struct copy *c)
{
    c->reflag = reflag_start(&c->pair, on_reflagged, c);
}

static void copy_on_removed(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    copy_step_ended(c, rc, why, FORGET);
    remove_stop(&c->remove); /* why was its own */
}

/* Without UIDPLUS nothing is removed, for EXPUNGE and CLOSE take what others have marked too. */
static void name_unremovable(struct copy *c, const struct imap_seq *sources)
{
    size_t n;
    const struct ledger_row *rows = ledger_rows(c->pair.ledger, &n);
    for (size_t i = 0; i < n; i++)
        if (imap_seq_has(sources, rows[i].source_uid) &&
            mbox_list_find(&c->pair.target.list, rows[i].target_uid))
            pair_name(&c->pair, FINDING_UNREMOVABLE, rows[i].source_uid,
                      "is gone, and its copy (target UID %u) has to be removed, which the target can't do "
                      "without UIDPLUS",
                      rows[i].target_uid);
}

/* Where the source lists next to nothing all at once, it is rather broken than tidied up. */
static bool is_too_large_a_share(struct copy *c, const struct imap_seq *sources, uint64_t n)
{
    struct pair *p = &c->pair;
    uint64_t all = ledger_sums(p->ledger)->rows;
    if (!delta_is_large_share(n, all, c->delete_share))
        return false;
    if (!c->share_named)
        findings_add(p->findings, FINDING_SHARE, c->source_name, 0,
                     "%llu of %llu messages are gone from the source: their copies are not removed unasked",
                     (unsigned long long)n, (unsigned long long)all);
    c->share_named = true;
    if (p->waivers && waivers_have(p->waivers, FINDING_SHARE, c->source_name, 0, 0))
        return false;
    imap_seq_join(&p->named, sources);
    return true;
}

static void expunge(struct copy *c, const struct imap_seq *targets)
{
    c->pair.counts.expunged += imap_seq_count(targets);
    c->remove = remove_start(&c->pair, targets, copy_on_removed, c);
}

static void enter_expunge(struct copy *c)
{
    struct delta d = pair_delta(&c->pair);
    struct imap_seq sources = {0}, targets = {0};
    if (name_contradiction(c)) /* what seems to be gone may be there */
        return;
    bool uidplus = imap_caps_has(imapc_caps(c->pair.target.imap), CAP_UIDPLUS);
    delta_gone(&d, &sources, &targets);
    if (targets.n > 0 && !uidplus) {
        name_unremovable(c, &sources);
        imap_seq_free(&targets);
    }
    if (is_too_large_a_share(c, &sources, imap_seq_count(&targets)))
        imap_seq_free(&targets);
    if (targets.n == 0)
        copy_go(c, FORGET);
    else if (!has_given(c))
        expunge(c, &targets);
    imap_seq_free(&sources);
    imap_seq_free(&targets);
}

static void copy_on_forgotten(void *owner, enum route_rc rc)
{
    struct copy *c = owner;
    pair_count_done(&c->pair);
    on_ledger_rc(c, rc, MOVE);
}

/* Rows whose source message is gone and whose copy is gone by now too. */
static void enter_forget(struct copy *c)
{
    struct delta d = pair_delta(&c->pair);
    uint32_t *uids = xcalloc(d.n_rows ? d.n_rows : 1, sizeof *uids);
    size_t n = 0;
    for (size_t i = 0; i < d.n_rows; i++)
        if (!mbox_list_find(d.source, d.rows[i].source_uid) &&
            !mbox_list_find(d.target, d.rows[i].target_uid))
            uids[n++] = d.rows[i].source_uid;
    if (n > 0)
        ledger_gone(c->pair.ledger, uids, n, copy_on_forgotten, c);
    else
        copy_go(c, MOVE);
    free(uids);
}

/* --- MOVE --- */

static void copy_on_moved(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    uint64_t moved = c->foreign_result.moved;
    c->foreign_result = foreign_outcome(c->foreign);
    c->foreign_terms.now = c->foreign_terms.now && c->foreign_result.moved == 0; /* once in a copy */
    c->foreign_result.moved += moved;
    copy_step_ended(c, rc, why, HEADERS);
    foreign_stop(&c->foreign); /* why was its own */
}

static void enter_move(struct copy *c)
{
    if (!foreign_is_there(&c->pair)) {
        c->foreign_result = (struct foreign_result){.moved = c->foreign_result.moved};
        copy_go(c, HEADERS);
    } else if (!has_given(c)) {
        c->foreign = foreign_start(&c->pair, &c->foreign_terms, copy_on_moved, c);
    }
}

/* --- HEADERS, VERIFY, CATCH_UP, COMPARE --- */

static void on_headers(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    copy_step_ended(c, rc, why, VERIFY);
    headers_stop(&c->headers); /* why was its own */
}

static void enter_headers(struct copy *c)
{
    c->pair.sample.resent = ledger_resent(c->pair.ledger);
    c->headers = headers_start(&c->pair, on_headers, c);
}

static void on_verified(void *owner, enum copy_rc rc, const char *why)
{
    struct copy *c = owner;
    pair_count_done(&c->pair);
    copy_step_ended(c, rc, why, c->pair.late_from ? ADDED : CATCH_UP);
    verify_stop(&c->verify); /* why was its own */
}

static void enter_verify(struct copy *c)
{
    c->verify = verify_start(&c->pair, 0, on_verified, c);
}

static void copy_on_caught_up(void *owner, enum copy_rc rc, const char *why)
{
    copy_step_ended(owner, rc, why, COMPARE);
}

/* What we changed makes the target another than it was when it was opened. */
static void enter_catch_up(struct copy *c)
{
    uint64_t changes =
        c->pair.counts.stored + c->pair.counts.expunged + c->unfilled + c->foreign_result.moved;
    if (changes == c->caught_up || c->pair.target.seen.modseq == 0) {
        copy_go(c, COMPARE);
        return;
    }
    if (has_given(c))
        return;
    c->caught_up = changes;
    selected_catch_up(&c->pair.target, 0, copy_on_caught_up, c);
}

static const enum finding_kind kind_of[DELTA_KINDS] = {
    [DELTA_NOT_COPIED] = FINDING_NOT_COPIED,
    [DELTA_MISSING] = FINDING_MISSING,
    [DELTA_UNREAD] = FINDING_UNREAD,
    [DELTA_ORDER] = FINDING_ORDER,
    [DELTA_DATE] = FINDING_DATE,
    [DELTA_FLAGS] = FINDING_FLAGS,
    [DELTA_FLAGS_LOST] = FINDING_FLAGS_LOST,
    [DELTA_BETWEEN] = FINDING_BETWEEN,
    [DELTA_GONE] = FINDING_LEFTOVER,
};

/* What a step has named already, with what it knows better, is not named again. */
static bool is_named(const struct pair *p, const struct delta_diff *diff)
{
    bool known_why = diff->kind == DELTA_NOT_COPIED || diff->kind == DELTA_UNREAD || diff->kind == DELTA_GONE;
    return known_why && imap_seq_has(&p->named, diff->source_uid);
}

static void name_diff(void *owner, const struct delta *d, const struct delta_diff *diff)
{
    struct copy *c = owner;
    struct buf text = {0};
    if (is_named(&c->pair, diff))
        return;
    delta_describe(&text, d, diff);
    findings_add(c->pair.findings, kind_of[diff->kind], c->source_name, diff->source_uid, "%s",
                 buf_str(&text));
    buf_free(&text);
}

static void end_by_findings(struct copy *c)
{
    struct findings *f = c->pair.findings;
    if (findings_open(f) > 0)
        c->rc = findings_why(f) == WHY_CANNOT ? COPY_CANNOT : COPY_DIFFERS;
    copy_go(c, END);
}

/* A server has told of a change since ALIGN: of that message the other side has to be listed too. */
static bool is_lopsided(const struct delta *d)
{
    struct imap_seq sources = {0}, targets = {0};
    delta_unlisted(d, &sources, &targets);
    bool any = sources.n + targets.n > 0;
    imap_seq_free(&sources);
    imap_seq_free(&targets);
    return any;
}

/* The late watch looks at nothing but what it has added. */
static void enter_added(struct copy *c)
{
    size_t n;
    const struct ledger_row *rows = ledger_rows(c->pair.ledger, &n);
    for (size_t i = 0; i < n; i++)
        if (rows[i].source_uid >= c->pair.late_from && !rows[i].verified &&
            mbox_list_find(&c->pair.target.list, rows[i].target_uid))
            pair_name(&c->pair, FINDING_UNREAD, rows[i].source_uid, "was not read back");
    end_by_findings(c);
}

/* For the proof (migrator/account/proof.h): what was not listed now was when all of it was. */
static void note_dates(struct pair *p)
{
    for (size_t i = 0; i < p->source.list.listed; i++) {
        const struct mbox_msg *m = &p->source.list.msgs[i];
        if ((m->has & MBOX_DATE) && !m->date_bad)
            ledger_note_date(p->ledger, m->uid, m->instant);
    }
}

static void enter_compare(struct copy *c)
{
    struct delta d = pair_delta(&c->pair);
    struct delta_report r;
    if (is_lopsided(&d)) {
        if (c->aligned++ < ALIGNS)
            copy_go(c, ALIGN);
        else
            copy_fail(c, COPY_DOWN, "it changes faster than it can be listed");
        return;
    }
    if (name_contradiction(c))
        return;
    delta_compare(&d, NULL, NULL, &r);
    c->pair.counts.compared_bytes = r.by_bytes;
    c->pair.counts.compared_headers = r.by_header;
    c->pair.counts.compared_listing = r.by_listing;
    c->pair.counts.foreign = r.foreign;
    if (r.foreign > 0)
        LOG(INFO, "foreign_messages", LOG_S("mailbox", c->target_name), LOG_U("count", r.foreign));
    if (r.shuffled > 0)
        LOG(INFO, "order_not_kept", LOG_S("mailbox", c->target_name), LOG_U("count", r.shuffled));
    if (r.by_kind[DELTA_FLAGS] + r.by_kind[DELTA_GONE] > 0 && c->round++ < ROUNDS) {
        copy_go(c, ALIGN); /* the server told of a change meanwhile, or does not do as told */
    } else {
        findings_count(c->pair.findings, FINDING_ZONE, r.zones);
        c->pair.counts.zones_changed = findings_of(c->pair.findings, FINDING_ZONE);
        delta_compare(&d, name_diff, c, &r);
        note_dates(&c->pair);
        end_by_findings(c);
    }
}

/* --- END --- */

static void copy_stop(struct copy *c)
{
    struct pair *p = &c->pair;
    loop_undefer(p->loop, &c->task);
    fillers_stop(&c->fillers);
    settle_stop(&c->settle);
    transfer_stop(&c->transfer);
    doubles_stop(&c->doubles);
    reflag_stop(&c->reflag);
    remove_stop(&c->remove);
    foreign_stop(&c->foreign);
    headers_stop(&c->headers);
    verify_stop(&c->verify);
    known_stop(&c->known);
    imap_seq_free(&p->known);
    ledger_forget(p->ledger, c);
    imapc_forget(p->source.imap, c);
    imapc_forget(p->target.imap, c);
    selected_free(&p->source);
    selected_free(&p->target);
    imap_seq_free(&p->named);
    flags_pool_free(&p->flags);
}

static void copy_release(struct copy *c)
{
    imap_seq_free(&c->bases.gone);
    imap_seq_free(&c->gone);
    imap_seq_free(&c->pair.removable);
    oddities_free(&c->odd);
    free(c->pair.numbers_lost);
    free(c->source_name);
    free(c->target_name);
    free(c->why);
    free(c);
}

static void write_reason(struct buf *out, const struct copy *c)
{
    if (c->rc == COPY_DIFFERS || c->rc == COPY_CANNOT) {
        findings_describe(out, c->pair.findings);
    } else if (c->why) {
        buf_add_str(out, "mailbox ");
        finding_show_mailbox(out, c->source_name);
        buf_printf(out, ": %s", c->why);
    }
}

static void note_gone(struct copy *c)
{
    size_t n;
    const struct ledger_row *rows = ledger_rows(c->pair.ledger, &n);
    for (size_t i = 0; i < n; i++)
        if (!mbox_list_find(&c->pair.source.list, rows[i].source_uid))
            imap_seq_add(&c->gone, rows[i].source_uid, rows[i].source_uid);
}

static uint32_t first_foreign(struct copy *c)
{
    struct delta d = pair_delta(&c->pair);
    struct imap_seq foreign = {0};
    delta_foreign(&d, 1, &foreign);
    uint32_t first = foreign.n > 0 ? foreign.ranges[0].first : 0;
    imap_seq_free(&foreign);
    return first;
}

/* Whatever else is waived, no client may see one. The next run begins with them; it sends none, since it might
 * end as this one did. */
static void refuse_fillers(struct copy *c)
{
    bool ended = c->rc == COPY_EQUAL || c->rc == COPY_DIFFERS || c->rc == COPY_CANNOT;
    if (!ended || !fillers_may_be_there(c->pair.ledger))
        return;
    char *why = xasprintf("fillers are on the target still%s%s", c->why ? ": " : "", c->why ? c->why : "");
    pair_lose_numbers(&c->pair, "%s", why);
    if (c->pair.numbering)
        c->pair.numbering->gaps_left = 0;
    c->rc = COPY_DOWN;
    free(c->why);
    c->why = why;
}

static void enter_end(struct copy *c)
{
    if (c->target_waits) /* who has it needs the lane, whatever is wrong with this mailbox */
        return;
    if (c->rc == COPY_EQUAL)
        numbers_judge(&c->pair);
    refuse_fillers(c);
    if (c->rc == COPY_EQUAL)
        note_gone(c);
    struct pair *p = &c->pair;
    struct buf reason = {0};
    struct copy_result result = {.rc = c->rc,
                                 .counts = p->counts,
                                 .source_uidvalidity = p->source.uidvalidity,
                                 .source_uidnext = selected_uidnext(&p->source),
                                 .target_uidvalidity = p->target.uidvalidity,
                                 .target_uidnext = selected_uidnext(&p->target),
                                 .source_seen = p->source.seen,
                                 .target_seen = p->target.seen,
                                 .source_modseq = p->source.modseq_told,
                                 .target_modseq = p->target.modseq_told,
                                 .whole = c->whole,
                                 .numbers = numbers_of(p),
                                 .first_foreign = c->rc == COPY_EQUAL ? first_foreign(c) : 0,
                                 .foreign = c->foreign_result,
                                 .gone = &c->gone,
                                 .vanished = selected_vanished(&p->source),
                                 .given = c->rc == COPY_DOWN && (p->source.given || p->target.given),
                                 .unread = c->transfer && transfer_is_reading(c->transfer)};
    if (c->rc == COPY_EQUAL && c->last && p->source.seen.modseq == 0)
        result.source_marks = mbox_list_marks(&p->source.list, p->source.seen.uidnext);
    write_reason(&reason, c);
    result.reason = buf_str(&reason);
    copy_stop(c);
    c->fn(c->owner, &result);
    buf_free(&reason);
    copy_release(c);
}

/* --- the table of steps; what leads from one to the next stands at the head of copy.h --- */

static void copy_on_task(struct loop_task *task)
{
    static void (*const enter[])(struct copy * c) = {
        [OPEN] = enter_open,         [BIND] = enter_bind,       [SETTLE] = enter_settle,
        [UNFILL] = enter_unfill,     [RETAKE] = enter_retake,   [KNOWN] = enter_known,
        [ADDED] = enter_added,       [REORDER] = enter_reorder, [APPEND] = enter_append,
        [RELIST] = enter_relist,     [DOUBLES] = enter_doubles, [ALIGN] = enter_align,
        [FLAGS] = enter_flags,       [EXPUNGE] = enter_expunge, [FORGET] = enter_forget,
        [MOVE] = enter_move,         [HEADERS] = enter_headers, [VERIFY] = enter_verify,
        [CATCH_UP] = enter_catch_up, [COMPARE] = enter_compare, [END] = enter_end,
    };
    struct copy *c = CONTAINER_OF(task, struct copy, task);
    enter[c->step](c);
}

static void on_target_event(void *owner, enum imapc_event ev)
{
    struct copy *c = owner;
    if (ev == IMAPC_DRAINED && c->transfer)
        transfer_drained(c->transfer);
}

/* Lists are asked for again where something is missing, so the same line may come several times. */
static void name_odd(struct copy *c, uint32_t uid, const char *text)
{
    struct pair *p = &c->pair;
    if (!oddities_add(&c->odd, c->source_name, text))
        return;
    findings_of_uidvalidity(p->findings, p->source.uidvalidity);
    findings_add(p->findings, FINDING_NOT_UNDERSTOOD, c->source_name, uid, "%s", text);
}

/* Where the list knows which message has that number, it rules. */
static void on_source_odd(void *owner, const struct imapc_odd *odd)
{
    struct copy *c = owner;
    const struct mbox_msg *m = mbox_list_at(&c->pair.source.list, odd->seq);
    name_odd(c, m && (m->has & MBOX_UID) ? m->uid : odd->uid, odd->text);
}

/* Its UIDs are others. */
static void on_target_odd(void *owner, const struct imapc_odd *odd)
{
    name_odd(owner, 0, odd->text);
}

static enum imapc_taken copy_on_source_news(void *owner, const struct imap_resp *resp,
                                            const struct imap_value *data)
{
    struct copy *c = owner;
    return selected_data(&c->pair.source, resp, data);
}

static enum imapc_taken copy_on_target_news(void *owner, const struct imap_resp *resp,
                                            const struct imap_value *data)
{
    struct copy *c = owner;
    return selected_data(&c->pair.target, resp, data);
}

static void watch_target(struct copy *c)
{
    imapc_watch(c->pair.target.imap, on_target_event, copy_on_target_news, on_target_odd, c);
}

struct copy *copy_start(const struct copy_request *request, copy_fn fn, void *owner)
{
    struct copy *c = xcalloc(1, sizeof *c);
    struct pair *p = &c->pair;
    c->fn = fn;
    c->owner = owner;
    c->progress = request->progress;
    c->source_name = xstrdup(request->source_name);
    c->target_name = xstrdup(request->target_name);
    c->task.fn = copy_on_task;
    c->rc = COPY_EQUAL;
    c->last = request->last;
    if (request->was)
        c->bases.was = *request->was;
    if (request->gone)
        imap_seq_join(&c->bases.gone, request->gone);
    if (request->removable)
        imap_seq_join(&p->removable, request->removable);
    p->removes_all = !request->removable;
    p->loop = request->loop;
    p->ledger = request->ledger;
    p->sample = (struct sample){.mode = request->verify, .seed = sample_seed(request->seed)};
    c->reorder_max = request->reorder_max;
    c->delete_share = request->delete_share;
    c->foreign_terms = request->foreign;
    p->findings = request->findings;
    p->waivers = request->waivers;
    p->leave_out = request->leave_out;
    p->leave_out_rules = request->leave_out_rules;
    p->began_s = (int64_t)(clock_wall_ms() / 1000);
    p->late_from = request->late_from;
    p->numbering = request->late_from ? NULL : request->numbering;
    p->depot = request->depot;
    p->last = request->last;
    c->late_known = request->late_known;
    p->flags = flags_pool_new();
    p->progress = tell_progress;
    p->asked = copy_on_asked;
    p->source_read = copy_on_source_read;
    c->ahead = (struct ahead){request->source_to_next, request->over_to_next, owner};
    c->target_waits = request->target_waits;
    selected_init(&p->source, request->source, p->flags, c->source_name, "source", true);
    selected_init(&p->target, request->target, p->flags, c->target_name, "target", false);
    p->source.odd = on_source_odd;
    p->target.odd = on_target_odd;
    p->source.odd_owner = p->target.odd_owner = c;
    imapc_watch(request->source, NULL, copy_on_source_news, on_source_odd, c);
    if (!c->target_waits)
        watch_target(c);
    copy_go(c, OPEN);
    return c;
}

void copy_take_target(struct copy *c)
{
    if (!c->target_waits)
        return;
    c->target_waits = false;
    if (c->step == END) {
        copy_go(c, END);
        return;
    }
    watch_target(c);
    if (c->step == OPEN && c->opening > 0)
        open_target(c);
}

void copy_cancel(struct copy **cp)
{
    struct copy *c = *cp;
    if (!c)
        return;
    *cp = NULL;
    copy_stop(c);
    copy_release(c);
}
