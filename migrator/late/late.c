#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "late.h"
#include "migrator/account/arrange.h"
#include "migrator/account/both.h"
#include "migrator/account/plan.h"
#include "migrator/account/signin.h"
#include "migrator/account/tiers.h"
#include "migrator/mailbox/recheck.h"

enum { SOURCE, TARGET };
enum { ASKED_AGAIN_MS = 1000 /* longer than a RENAME takes to get into the records */ };
enum { NOTES_AT_ONCE = 100, NOTES_MAX = 2000 /* of one look; the log has all of them */ };
enum late_phase { SIGN_IN, LISTS, RECORDS, RECHECK, SIFT, ARRANGE, WRITE, COPY, NOTE };

/* A mailbox with news. */
struct news {
    struct plan_item *plan;
    struct record *record;
    uint32_t from; /* the first UID that was not there at the flip */
    bool begun;
    bool made_since; /* after the flip, or after the first look behind a flip by force */
};

struct late {
    struct move *move;
    late_fn fn;
    void *owner;
    enum late_phase phase;
    struct loop_task task;
    struct signin *signin;
    struct lane *lane; /* lent */
    struct both *both;
    struct mailboxes *mailboxes[2]; /* owned */
    struct plan *plan;              /* owned */
    struct timer *again;            /* owned; NULL: not asked again yet */
    bool missing;                   /* a mailbox of the records is not at the target */
    struct record *checked;         /* borrowed */
    struct recheck *recheck;
    struct arrange *arrange;
    struct news *news; /* owned */
    size_t n, at;
    struct copy *copy;
    struct tiers *tiers;       /* owned; NULL: nothing was copied yet */
    struct findings *findings; /* owned */
    struct imap_seq known;     /* of the copy under way */
    struct imap_seq had;       /* what the ledger had before it, where it looks from the first UID on */
    bool never_looked;         /* flipped by force with nothing copied, and no look has come to its end */
    uint32_t from;
    uint32_t looked; /* UIDNEXT of the source, for the ledger ... */
    bool telling;    /* ... when staff have what was found below it */
    char **notes;    /* owned */
    size_t n_notes, noted;
    uint64_t found;
    bool over;
    enum late_rc rc;
    struct buf detail;
};

static void late_step_soon(struct late *l)
{
    loop_defer(l->move->m->loop, &l->task);
}

/* ---- the end */

/* The next phases load the ledgers of what they need. */
static void end_check(struct late *l)
{
    recheck_stop(&l->recheck);
    ledger_free(&l->checked->ledger);
}

static void late_stop(struct late *l)
{
    struct move *m = l->move;

    loop_undefer(m->m->loop, &l->task);
    if (l->again)
        timer_stop(l->again);
    signin_cancel(&l->signin);
    both_cancel(&l->both);
    if (l->phase == RECHECK && l->checked)
        end_check(l);
    arrange_cancel(&l->arrange);
    copy_cancel(&l->copy);
    tiers_free(&l->tiers);
    store_forget(m->m->store, l);
    if (m->records)
        records_forget(m->records, l);
    if (m->crew)
        crew_set_owner(m->crew, NULL, NULL);
    for (size_t i = 0; i < l->n; i++)
        if (l->news[i].record->ledger)
            ledger_forget(l->news[i].record->ledger, l);
    if (l->lane)
        crew_drop(m->crew, l->lane);
    l->lane = NULL;
}

static void late_forget_lists(struct late *l)
{
    plan_free(&l->plan);
    mailboxes_free(&l->mailboxes[SOURCE]);
    mailboxes_free(&l->mailboxes[TARGET]);
    free(l->news);
    l->news = NULL;
    l->n = 0;
    l->missing = false;
}

static void late_free(struct late *l)
{
    late_forget_lists(l);
    timer_free(&l->again);
    findings_free(&l->findings);
    imap_seq_free(&l->known);
    imap_seq_free(&l->had);
    for (size_t i = 0; i < l->n_notes; i++)
        free(l->notes[i]);
    free(l->notes);
    buf_free(&l->detail);
    free(l);
}

void late_cancel(struct late **lp)
{
    struct late *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    late_stop(l);
    late_free(l);
}

static void late_finish(struct late *l)
{
    struct late_result r = {.rc = l->rc, .detail = buf_str(&l->detail), .found = l->found};

    late_stop(l);
    l->fn(l->owner, &r);
    late_free(l);
}

static void late_end(struct late *l, enum late_rc rc)
{
    if (rc > l->rc)
        l->rc = rc;
    l->over = true;
    late_step_soon(l);
}

/* Another look may see more. */
static void note_blind(struct late *l, const char *what)
{
    if (l->rc == LATE_DONE)
        l->rc = LATE_BLIND;
    if (!l->detail.len)
        buf_add_str(&l->detail, what);
}

static void late_blind(struct late *l, const char *what)
{
    note_blind(l, what);
    late_end(l, LATE_BLIND);
}

/* True: dealt with. */
static bool late_bad_answer(struct late *l, enum route_rc rc)
{
    if (rc == ROUTE_OK)
        return false;
    if (rc == ROUTE_LOST)
        late_end(l, LATE_LOST);
    else
        late_blind(l, "Redis does not answer");
    return true;
}

static void late_enter(struct late *l, enum late_phase phase)
{
    l->phase = phase;
    late_step_soon(l);
}

/* ---- SIGN_IN */

static void late_on_crew(void *owner, enum crew_event ev);

static void late_on_signin(void *owner, enum signin_rc rc, const struct credential *credential,
                           const char *why)
{
    struct late *l = owner;
    struct move *m = l->move;

    l->signin = NULL;
    if (rc != SIGNIN_OK) {
        late_blind(l, why);
        return;
    }
    m->crew = crew_new(&(struct crew_request){
        .m = m->m,
        .user = m->user,
        .login = m->login,
        .credential = credential,
        .source = m->source,
        .target = m->target,
        .until_ms = &m->until_ms,
        .late = true,
    });
    crew_set_owner(m->crew, late_on_crew, l);
    late_enter(l, LISTS);
}

static void late_on_written(void *owner, enum route_rc rc)
{
    struct late *l = owner;

    if (!late_bad_answer(l, rc))
        late_enter(l, COPY);
}

static void late_on_crew(void *owner, enum crew_event ev)
{
    struct late *l = owner;

    if (ev == CREW_FAILED)
        late_blind(l, crew_error(l->move->crew));
    else if (l->phase == LISTS)
        late_step_soon(l);
}

/* ---- LISTS */

static void add_news(struct late *l, struct plan_item *plan, struct record *record, uint32_t from)
{
    l->news = xreallocarray(l->news, l->n + 1, sizeof(*l->news));
    l->news[l->n++] = (struct news){.plan = plan, .record = record, .from = from};
}

/* The side of a record that the account has left, as of the flip. */
static uint32_t uidnext_at_flip(const struct late *l, const struct record *r)
{
    return l->move->back ? r->view.target_uidnext : r->view.source_uidnext;
}

static uint32_t uidvalidity_at_flip(const struct late *l, const struct record *r)
{
    return l->move->back ? r->view.target_uidvalidity : r->view.source_uidvalidity;
}

static bool is_at_target(const struct late *l, const char *name)
{
    const struct mailbox *there = mailboxes_find(l->mailboxes[TARGET], name);

    return there && there->flags & MAILBOX_LISTED && !(there->flags & MAILBOX_NO_SELECT);
}

static void set_target_name(struct late *l, struct plan_item *i, const char *name)
{
    free(i->target_name);
    i->target_name = xstrdup(name);
    i->create = !is_at_target(l, name);
    l->missing = l->missing || i->create;
}

/* The UIDVALIDITY that the record's mailbox has at the target, where it is there by this name; else 0. */
static uint32_t here_of(const struct late *l, const struct record *r)
{
    return l->move->back ? r->view.source_uidvalidity : r->view.target_uidvalidity;
}

/* Where its mail is now. A client that has renamed the mailbox since, once or more, left records behind, of the same id,
 * without the UIDVALIDITY that it has here. While a RENAME is under way, or where the proxy has died in it, two of them have
 * it (lib/view.h): what is listed tells which name it has. A name that was given up may be that of a mailbox made anew: once
 * the ledger is there, it tells which one the copies are in. */
static const char *place_of(const struct late *l, const struct record *r)
{
    const struct record *rec = r, *listed = NULL, *now = NULL;
    uint32_t source, bound = 0;

    if (!r->ledger || !ledger_bound(r->ledger, &source, &bound))
        bound = 0;
    do {
        uint32_t here = here_of(l, rec);
        bool is_listed = here > 0 && is_at_target(l, records_to_name(l->move->records, rec));
        if (is_listed && here == bound)
            return records_to_name(l->move->records, rec);
        if (is_listed && !listed)
            listed = rec;
        if (here > 0 && !now)
            now = rec;
        rec = rec->twin;
    } while (rec && rec != r);
    return records_to_name(l->move->records, listed ? listed : now ? now : r);
}

static bool is_at_source(const struct late *l, const struct record *r)
{
    return mailboxes_find(l->mailboxes[SOURCE], records_from_name(l->move->records, r)) != NULL;
}

/* Has it, of all of its id, the name that its mailbox has at the source? Where none has, one with a place does as well. */
static bool is_origin(const struct late *l, const struct record *r)
{
    const struct record *rec = r->twin;

    if (!rec || is_at_source(l, r))
        return true;
    while (rec != r && !is_at_source(l, rec))
        rec = rec->twin;
    return rec == r && here_of(l, r) > 0;
}

/* One that was there at the flip. */
static void look_at_old(struct late *l, struct plan_item *i, struct record *r)
{
    const struct stamp_side *now = &i->source->status;
    uint32_t from = l->move->from_first ? 1 : uidnext_at_flip(l, r), uidvalidity = uidvalidity_at_flip(l, r);

    if (from == 0) /* was never moved as a whole */
        return;
    if (now->uidvalidity && uidvalidity && now->uidvalidity != uidvalidity) {
        LOG(WARN, "late_uidvalidity_changed", LOG_S("user", l->move->user), LOG_S("mailbox", i->source->name),
            LOG_U("was", uidvalidity), LOG_U("is", now->uidvalidity));
        return;
    }
    if (now->uidnext && now->uidnext <= from)
        return;
    set_target_name(l, i, place_of(l, r));
    add_news(l, i, r, from);
}

/* One that was made since, or never copied. */
static void look_at_new(struct late *l, struct plan_item *i)
{
    const struct stamp_side *now = &i->source->status;

    if (now->messages == 0 && !l->never_looked)
        return;
    struct record *r = records_get(l->move->records, i->source->name, i->target_name);
    if (l->move->back) {
        r->view.target_uidnext = 1;
        r->view.target_uidvalidity = now->uidvalidity;
    } else {
        r->view.source_uidnext = 1;
        r->view.source_uidvalidity = now->uidvalidity;
    }
    add_news(l, i, r, 1);
    l->news[l->n - 1].made_since = !l->never_looked;
}

/* Is the mailbox of the record, or of one of its id, another one of those at the source? */
static bool is_of_another(const struct late *l, const struct record *r)
{
    const struct record *rec = r;

    do {
        const struct mailbox *m =
            mailboxes_find(l->mailboxes[SOURCE], records_from_name(l->move->records, rec));
        if (m && m->status.uidvalidity == uidvalidity_at_flip(l, r))
            return true;
        rec = rec->twin;
    } while (rec && rec != r);
    return false;
}

/* A client may have given its name to another mailbox since, and the record of that name is the other one's then: it is
 * known by its UIDVALIDITY, where only one had that. */
static struct record *record_at_flip(const struct late *l, const struct mailbox *m)
{
    struct record *named = records_find(l->move->records, m->name), *found = NULL, *rec;
    uint32_t uidvalidity = m->status.uidvalidity;

    if (!named || uidvalidity == 0 || uidvalidity_at_flip(l, named) == uidvalidity)
        return named;
    for (rec = records_first(l->move->records); rec; rec = rec->hh.next) {
        if (uidvalidity_at_flip(l, rec) != uidvalidity || is_of_another(l, rec))
            continue;
        if (found && strcmp(found->view.id, rec->view.id) != 0)
            return named;
        found = rec;
    }
    return found ? found : named;
}

/* What is to be made on the target, and nothing else of it: the account is the user's there. */
static void keep_news_alone(struct plan *plan)
{
    for (size_t i = 0; i < plan->subscribe.n; i++)
        free(plan->subscribe.items[i]);
    for (size_t i = 0; i < plan->unsubscribe.n; i++)
        free(plan->unsubscribe.items[i]);
    plan->subscribe.n = plan->unsubscribe.n = 0;
}

static void choose_news(struct late *l)
{
    l->never_looked = l->move->bare && !records_first(l->move->records);
    for (size_t i = 0; i < l->plan->n; i++) {
        struct plan_item *item = &l->plan->items[i];
        struct record *r = record_at_flip(l, item->source);
        size_t before = l->n;
        if (r)
            look_at_old(l, item, r);
        else
            look_at_new(l, item);
        if (l->n == before || l->never_looked)
            item->create = false;
    }
    keep_news_alone(l->plan);
}

static void enter_news(struct late *l)
{
    if (l->n == 0)
        late_enter(l, NOTE);
    else
        late_enter(l, l->move->from_first ? SIFT : ARRANGE);
}

static void late_on_lists(void *owner, const struct both_result *result)
{
    struct late *l = owner;

    l->both = NULL;
    if (result->rc != MAILBOXES_OK) {
        late_blind(l, result->why);
        return;
    }
    l->mailboxes[SOURCE] = result->source;
    l->mailboxes[TARGET] = result->target;
    late_enter(l, RECORDS);
}

static void step_lists(struct late *l)
{
    if (l->both || (l->again && timer_is_set(l->again)))
        return;
    if (!l->lane) {
        crew_want(l->move->crew, 1);
        l->lane = crew_take(l->move->crew);
    }
    if (l->lane)
        l->both = both_read(l->lane, MAILBOXES_NUMBERS, MAILBOXES_NAMES, late_on_lists, l);
}

/* ---- RECORDS: what clients have renamed is in them as soon as they are told so. Were they read before the lists, a RENAME
 * in between would look like a mailbox that is gone from the target, and it would be made there once more. */

static void late_on_again(void *owner)
{
    late_step_soon(owner);
}

/* A RENAME may be done, and not recorded yet. */
static void late_ask_again(struct late *l)
{
    late_forget_lists(l);
    records_free(&l->move->records);
    l->again = timer_new(l->move->m->loop, late_on_again, l);
    timer_start(l->again, ASKED_AGAIN_MS);
    l->phase = LISTS;
}

static void late_on_records(void *owner, enum route_rc rc)
{
    struct late *l = owner;

    if (late_bad_answer(l, rc))
        return;
    l->plan = plan_make(&(struct plan_request){
        .source = l->mailboxes[SOURCE],
        .target = l->mailboxes[TARGET],
        .rules = l->move->m->conf->migration.rules,
        .back = l->move->back,
    });
    if (l->plan->fault) {
        late_blind(l, l->plan->fault);
        return;
    }
    choose_news(l);
    if (l->missing && !l->again) {
        late_ask_again(l);
        return;
    }
    l->checked = records_first(l->move->records);
    if (l->move->doubted)
        late_enter(l, RECHECK);
    else
        enter_news(l);
}

static void step_records(struct late *l)
{
    struct move *m = l->move;

    if (m->records)
        return;
    m->records = records_new(m->m->store, &m->job, m->back, stamp_terms(m->source_name, m->target_name));
    records_read(m->records, late_on_records, l);
}

/* ---- RECHECK */

/* True: dealt with. */
static bool bad_ledger(struct late *l, enum route_rc rc, const struct record *r)
{
    const char *error = ledger_error(r->ledger);

    if (rc == ROUTE_OK)
        return false;
    if (rc == ROUTE_LOST || !*error)
        late_bad_answer(l, rc);
    else
        late_blind(l, error);
    return true;
}

static void keep_note(struct late *l, struct buf *text)
{
    if (l->n_notes < NOTES_MAX) {
        l->notes = xreallocarray(l->notes, l->n_notes + 1, sizeof(*l->notes));
        l->notes[l->n_notes++] = xstrdup(buf_str(text));
    }
    buf_free(text);
}

static void late_on_noted(void *owner, enum route_rc rc, const char *detail)
{
    struct late *l = owner;

    (void)detail;
    if (!late_bad_answer(l, rc))
        late_step_soon(l);
}

/* False: staff have all. Else there is another step when they have more of it. */
static bool send_notes(struct late *l)
{
    struct span texts[NOTES_AT_ONCE];
    size_t n = 0;

    while (n < NOTES_AT_ONCE && l->noted < l->n_notes)
        texts[n++] = span_str(l->notes[l->noted++]);
    if (n > 0)
        route_late_note(l->move->m->store, &l->move->job, texts, n, late_on_noted, l);
    return n > 0;
}

static void tell_check(void *owner, const char *what)
{
    struct late *l = owner;
    struct buf text = {0};

    plan_show_name(&text, place_of(l, l->checked));
    buf_printf(&text, " %s", what);
    LOG(WARN, "late_doubt", LOG_S("user", l->move->user), LOG_S("what", buf_str(&text)));
    keep_note(l, &text);
}

static void late_check_next(struct late *l)
{
    end_check(l);
    l->checked = l->checked->hh.next;
    late_step_soon(l);
}

static void on_check_done(void *owner, enum copy_rc rc, const char *why)
{
    struct late *l = owner;

    if (rc == COPY_LOST) {
        late_end(l, LATE_LOST);
    } else if (rc == COPY_DOWN) {
        late_blind(l, why);
    } else {
        if (rc != COPY_EQUAL)
            note_blind(l, why);
        late_check_next(l);
    }
}

static void late_on_checked(void *owner, enum copy_rc rc, const char *why)
{
    if (rc == COPY_EQUAL)
        late_step_soon(owner); /* staff hear of it first */
    else
        on_check_done(owner, rc, why);
}

static void on_check_ledger(void *owner, enum route_rc rc)
{
    struct late *l = owner;
    struct record *r = l->checked;

    if (bad_ledger(l, rc, r))
        return;
    if (!recheck_is_needed(r->ledger) || !is_origin(l, r) ||
        !ledger_is_of(r->ledger, l->move->source_name, l->move->target_name)) {
        late_check_next(l);
        return;
    }
    l->recheck = recheck_start(
        &(struct recheck_request){
            .loop = l->move->m->loop,
            .source = l->lane->source,
            .target = l->lane->target,
            .ledger = r->ledger,
            .source_name = records_from_name(l->move->records, r),
            .target_name = place_of(l, r),
            .findings = l->findings,
        },
        tell_check, late_on_checked, l);
}

static void step_recheck(struct late *l)
{
    struct move *m = l->move;

    if (l->recheck && !send_notes(l))
        recheck_finish(l->recheck, on_check_done);
    else if (!l->recheck && l->checked)
        l->checked->ledger = ledger_load(m->m->store, &m->job, l->checked->view.id, on_check_ledger, l);
    else if (!l->recheck)
        enter_news(l);
}

/* ---- SIFT */

/* A mailbox that has been looked at wholly is not made anew on the target. */
static void on_sifted(void *owner, enum route_rc rc)
{
    struct late *l = owner;
    struct news *n = &l->news[l->at];
    uint32_t uidnext = n->plan->source->status.uidnext;

    if (bad_ledger(l, rc, n->record))
        return;
    if (uidnext && uidnext <= ledger_looked_until(n->record->ledger))
        n->plan->create = false;
    l->at++;
    late_step_soon(l);
}

static void step_sift(struct late *l)
{
    struct move *m = l->move;

    if (l->at == l->n) {
        l->at = 0;
        late_enter(l, ARRANGE);
        return;
    }
    struct record *r = l->news[l->at].record;
    if (!r->ledger)
        r->ledger = ledger_load(m->m->store, &m->job, r->view.id, on_sifted, l);
}

/* ---- ARRANGE */

static void late_on_arranged(void *owner, const struct arrange_result *result)
{
    struct late *l = owner;

    l->arrange = NULL;
    if (result->rc == ARRANGE_OK)
        late_enter(l, WRITE);
    else
        late_blind(l, result->detail);
}

static void step_arrange(struct late *l)
{
    if (arrange_is_needed(l->plan, ARRANGE_ALL))
        l->arrange = arrange_start(l->lane->target, l->plan, ARRANGE_ALL, l->findings, late_on_arranged, l);
    else
        late_enter(l, WRITE);
}

/* ---- COPY */

static void add_note(struct late *l, const struct news *n, uint32_t source_uid, uint32_t target_uid)
{
    struct buf text = {0};

    plan_show_name(&text, n->plan->source->name);
    if (target_uid)
        buf_printf(&text, " UID %" PRIu32 ": %s, is UID %" PRIu32 " here", source_uid,
                   l->move->from_first ? "was not here" : "came late", target_uid);
    else
        buf_printf(&text,
                   " UID %" PRIu32 ": not brought, its bytes are those of a message that was copied before",
                   source_uid);
    LOG(INFO, target_uid ? "late" : "late_known", LOG_S("user", l->move->user),
        LOG_S("what", buf_str(&text)));
    keep_note(l, &text);
}

static void note_arrivals(struct late *l, const struct news *news)
{
    size_t n;
    const struct ledger_row *rows = ledger_rows(news->record->ledger, &n);

    for (size_t i = 0; i < n; i++)
        if (rows[i].source_uid >= l->from && !imap_seq_has(&l->had, rows[i].source_uid)) {
            add_note(l, news, rows[i].source_uid, rows[i].target_uid);
            l->found++;
        }
    for (size_t i = 0; i < l->known.n; i++)
        for (uint64_t uid = l->known.ranges[i].first; uid <= l->known.ranges[i].last; uid++)
            add_note(l, news, (uint32_t)uid, 0);
}

static void next_news(struct late *l)
{
    l->at++;
    late_step_soon(l);
}

static void late_on_looked(void *owner, enum route_rc rc)
{
    struct late *l = owner;

    if (!late_bad_answer(l, rc))
        next_news(l);
}

/* What the ledger says was looked at is not told any more: so staff have it first. */
static void note_looked(struct late *l, uint32_t uidnext)
{
    l->looked = uidnext;
    l->telling = true;
    late_step_soon(l);
}

static void step_looked(struct late *l)
{
    if (send_notes(l))
        return;
    l->telling = false;
    ledger_looked(l->news[l->at].record->ledger, l->looked, late_on_looked, l);
}

static void late_on_copied(void *owner, const struct copy_result *result)
{
    struct late *l = owner;
    struct news *n = &l->news[l->at];

    l->copy = NULL;
    if (result->rc == COPY_LOST) {
        late_end(l, LATE_LOST);
    } else if (result->rc == COPY_DOWN) {
        late_blind(l, result->reason);
    } else if (result->rc == COPY_EQUAL) {
        note_arrivals(l, n);
        if (result->source_seen.uidnext > l->from)
            note_looked(l, result->source_seen.uidnext);
        else
            next_news(l);
    } else {
        LOG(WARN, "late_not_brought", LOG_S("user", l->move->user), LOG_S("reason", result->reason));
        note_blind(l, result->reason);
        next_news(l);
    }
}

/* By force, and nothing of it was copied: nobody asked for that. What comes from now on is brought. */
static bool stays_behind(const struct late *l, const struct news *n)
{
    const struct ledger *ledger = n->record->ledger;
    uint32_t target;
    size_t rows;

    ledger_rows(ledger, &rows);
    return l->move->bare && !n->made_since && ledger_looked_until(ledger) == 0 &&
           !ledger_in_doubt(ledger, &target) && (rows == 0 || ledger_was_turned(ledger));
}

static void leave_behind(struct late *l, struct news *n)
{
    const struct stamp_side *now = &n->plan->source->status;
    struct buf text = {0};

    if (now->uidnext == 0) {
        note_blind(l, "its server does not say which UID comes next");
        next_news(l);
        return;
    }
    plan_show_name(&text, n->plan->source->name);
    buf_printf(&text,
               ": %" PRIu32 " messages below UID %" PRIu32
               " stay behind, it was switched over by force and never copied",
               now->messages, now->uidnext);
    LOG(WARN, "late_left_behind", LOG_S("user", l->move->user), LOG_S("what", buf_str(&text)));
    if (now->messages > 0)
        keep_note(l, &text);
    buf_free(&text);
    note_looked(l, now->uidnext);
}

static void note_had(struct late *l, const struct news *n)
{
    size_t rows;
    const struct ledger_row *r = ledger_rows(n->record->ledger, &rows);

    imap_seq_free(&l->had);
    for (size_t i = 0; l->move->from_first && i < rows; i++)
        imap_seq_add(&l->had, r[i].source_uid, r[i].source_uid);
}

static void late_start_copy(struct late *l, struct news *n)
{
    struct move *m = l->move;
    uint32_t looked = ledger_looked_until(n->record->ledger);

    if (stays_behind(l, n)) {
        leave_behind(l, n);
        return;
    }
    note_had(l, n);
    if (n->record->twin) { /* the ledger is there now */
        free(n->plan->target_name);
        n->plan->target_name = xstrdup(place_of(l, n->record));
    }

    l->from = looked > n->from ? looked : n->from;
    if (n->plan->refused) { /* by the target, at CREATE */
        LOG(WARN, "late_not_brought", LOG_S("user", m->user),
            LOG_S("reason", "its mailbox can't be made anew"));
        note_blind(l, "a mailbox can't be made anew");
        next_news(l);
        return;
    }
    if (n->plan->source->status.uidnext && n->plan->source->status.uidnext <= l->from) {
        next_news(l);
        return;
    }
    imap_seq_free(&l->known);
    if (!l->tiers)
        l->tiers = tiers_new(m);
    l->copy = copy_start(
        &(struct copy_request){
            .loop = m->m->loop,
            .source = l->lane->source,
            .target = l->lane->target,
            .ledger = n->record->ledger,
            .source_name = n->plan->source->name,
            .target_name = n->plan->target_name,
            .leave_out = m->m->conf->migration.rules ? m->m->conf->migration.rules->leave_out : NULL,
            .leave_out_rules = n->plan->leave_out,
            .depot = tiers_late_depot(l->tiers, l->lane->target, l->mailboxes[TARGET]),
            .late_from = l->from,
            .late_known = &l->known,
            .verify = m->m->conf->migration.verify,
            .seed = n->record->view.id,
            .findings = l->findings,
        },
        late_on_copied, l);
}

/* The way back was begun, and given up: its ledger is turned once more. */
static bool is_turned(const struct late *l, const struct news *n)
{
    return l->move->from_first && ledger_is_of(n->record->ledger, l->move->target_name, l->move->source_name);
}

static void late_on_ledger(void *owner, enum route_rc rc)
{
    struct late *l = owner;
    struct news *n = &l->news[l->at];
    size_t rows = 0;

    if (bad_ledger(l, rc, n->record))
        return;
    ledger_rows(n->record->ledger, &rows);
    if (ledger_is_of(n->record->ledger, l->move->source_name, l->move->target_name)) {
        late_start_copy(l, n);
    } else if ((rows == 0 && n->from == 1) || is_turned(l, n)) {
        ledger_direct(n->record->ledger, l->move->source_name, l->move->target_name, late_on_ledger, l);
    } else {
        LOG(WARN, "late_without_ledger", LOG_S("user", l->move->user),
            LOG_S("mailbox", n->plan->source->name));
        next_news(l);
    }
}

static void step_copy(struct late *l)
{
    struct move *m = l->move;

    if (l->at == l->n) {
        late_enter(l, NOTE);
        return;
    }
    struct news *n = &l->news[l->at];
    if (l->telling)
        step_looked(l);
    if (n->begun)
        return;
    n->begun = true;
    if (n->record->ledger)
        late_on_ledger(l, ROUTE_OK);
    else
        n->record->ledger = ledger_load(m->m->store, &m->job, n->record->view.id, late_on_ledger, l);
}

/* ---- NOTE */

static void step_note(struct late *l)
{
    if (!send_notes(l))
        late_end(l, LATE_DONE);
}

/* ---- the table of phases */

/* Also of a look that ends blind. */
static bool has_to_tell(const struct late *l)
{
    return l->rc != LATE_LOST && l->phase != NOTE && l->noted < l->n_notes;
}

static void late_step(struct loop_task *task)
{
    struct late *l = CONTAINER_OF(task, struct late, task);
    struct move *m = l->move;

    if (l->over && !has_to_tell(l)) {
        late_finish(l);
        return;
    }
    if (l->over) {
        late_stop(l);
        l->over = false;
        l->phase = NOTE;
    }
    switch (l->phase) {
    case SIGN_IN:
        if (!l->signin)
            l->signin = signin_start(m, late_on_signin, l);
        break;
    case LISTS:
        step_lists(l);
        break;
    case RECORDS:
        step_records(l);
        break;
    case RECHECK:
        step_recheck(l);
        break;
    case SIFT:
        step_sift(l);
        break;
    case ARRANGE:
        if (!l->arrange)
            step_arrange(l);
        break;
    case WRITE:
        records_write(m->records, late_on_written, l);
        break;
    case COPY:
        step_copy(l);
        break;
    case NOTE:
        step_note(l);
        break;
    }
}

struct late *late_start(struct move *move, late_fn fn, void *owner)
{
    struct late *l = xcalloc(1, sizeof(*l));

    l->move = move;
    l->fn = fn;
    l->owner = owner;
    l->findings = findings_new(NULL);
    l->task.fn = late_step;
    late_step_soon(l);
    return l;
}
