/* The mailboxes of a pass: made of the plan, counted, and left closed where their stamps say that nothing
 * changed. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "migrator/account/tiers.h"
#include "pass_priv.h"

static const struct mailbox *listed(const struct pass_item *i)
{
    return i->plan->source;
}

/* ---- progress */

static void add_counts(struct route_progress *sum, const struct pass_item *i)
{
    const struct copy_counts *c = &i->record->counts;

    if (i->record->counted) {
        sum->messages_total += c->messages_total;
        sum->messages_done += c->messages_done;
        sum->messages_verified += c->messages_verified;
        sum->bytes_total += c->bytes_total;
        sum->bytes_done += c->bytes_done;
    } else {
        sum->messages_total += listed(i)->status.messages;
        sum->bytes_total += listed(i)->bytes;
    }
    sum->mailboxes_done += i->state == EQUAL;
}

/* Of a mailbox that this job has not looked at, only what the numbers of its stamp tell. */
enum view_tier item_tier(const struct pass_item *i)
{
    const struct record *r = i->record;
    const struct stamp *s = &r->stamp;

    if (r->numbers.known)
        return r->numbers.tier;
    return s->equal && s->source.uidvalidity == s->target.uidvalidity ? VIEW_T0 : VIEW_T3;
}

static void write_tiers(const struct pass *p, char *text, size_t size)
{
    size_t counts[VIEW_T3 + 1] = {0};
    struct buf out = {0};

    for (size_t i = 0; i < p->n; i++)
        counts[item_tier(&p->items[i])]++;
    tiers_write_counts(&out, counts);
    snprintf(text, size, "%s", buf_str(&out));
    buf_free(&out);
}

void pass_tell_progress(struct pass *p)
{
    struct route_progress sum = {.mailboxes_total = p->n};

    for (size_t i = 0; i < p->n; i++)
        add_counts(&sum, &p->items[i]);
    write_tiers(p, sum.tiers, sizeof(sum.tiers));
    progress_set(p->move->progress, &sum);
}

size_t pass_count_state(const struct pass *p, enum item_state state)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n; i++)
        n += p->items[i].state == state;
    return n;
}

/* ---- mailboxes that need not be opened */

static bool was_equal(const struct pass_item *i)
{
    const struct stamp *s = &i->record->stamp;

    return s->equal && i->record->gone.n == 0 && i->there && stamp_side_same(&s->target, &i->there->status);
}

static bool is_unchanged(const struct pass_item *i)
{
    return was_equal(i) && stamp_side_same(&i->record->stamp.source, &listed(i)->status);
}

static bool may_stay_closed(const struct pass_item *i)
{
    const struct record *r = i->record;

    switch (i->pass->kind) {
    case PASS_QUICK:
        return is_unchanged(i);
    case PASS_WHOLE:
        return r->whole && is_unchanged(i);
    case PASS_LAST:
        break;
    }
    /* Its source is looked at before that is believed. */
    return r->whole && r->ledger && strcmp(listed(i)->name, "INBOX") != 0 && r->stamp.source.modseq > 0 &&
           was_equal(i);
}

void item_fold(struct pass_item *i, const struct copy_result *last)
{
    const struct move *m = i->pass->move;

    record_fold(i->record, last,
                &(struct record_terms){.back = m->back, .condstore = m->condstore, .viewed = m->viewed});
    /* What clients have been shown before is not in the numbers of the copy. */
    if (i->record->view.tier == VIEW_T3 && item_tier(i) != VIEW_T3) {
        struct record_numbers *n = &i->record->numbers;
        n->tier = VIEW_T3;
        n->known = true;
        snprintf(n->why, sizeof(n->why),
                 "clients have seen it under other numbers since it was moved before");
    }
}

void item_leave_closed(struct pass_item *i)
{
    struct record *r = i->record;
    const struct stamp *s = &r->stamp;
    const struct copy_result was = {.source_uidvalidity = s->source.uidvalidity,
                                    .source_uidnext = s->source.uidnext,
                                    .target_uidvalidity = s->target.uidvalidity,
                                    .target_uidnext = s->target.uidnext,
                                    .source_modseq = s->source.modseq,
                                    .target_modseq = s->target.modseq,
                                    .first_foreign = r->numbers.first_foreign};

    if (!r->counted) {
        uint64_t n = s->source.messages;
        r->counts = (struct copy_counts){.messages_total = n,
                                         .messages_done = n,
                                         .messages_verified = n,
                                         .bytes_total = s->bytes,
                                         .bytes_done = s->bytes};
        r->counted = true;
    }
    if (pass_is_last(i->pass))
        item_fold(i, &was);
    r->seen_frozen = pass_is_last(i->pass) ? SEEN_GLANCED : SEEN_NOT;
    i->state = EQUAL;
}

/* It may have to be opened after all. */
static void close_for_now(struct pass_item *i)
{
    i->state = CLOSED;
    i->pass->to_open++;
}

/* ---- made of the plan */

static int pass_items_compare(const void *a, const void *b)
{
    const struct mailbox *x = listed(a), *y = listed(b);

    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->status.messages < y->status.messages ? 1 : x->status.messages > y->status.messages ? -1 : 0;
}

/* Once more is looked for it before anything is removed: it may have got another name, and what was in it be
 * found in a mailbox that was listed before. */
static void note_absent(void *owner, struct record *record, const char *from, const char *to)
{
    struct pass *p = owner;

    if (!record->absent && !pass_is_last(p)) {
        record->absent = true;
        p->absent++;
        return;
    }
    p->gone = xreallocarray(p->gone, p->n_gone + 1, sizeof(*p->gone));
    p->gone[p->n_gone++] = (struct gone){.record = record, .from = from, .to = to};
}

/* What lies below another comes before it, since that can be removed only once it has none below it. */
static int pass_items_compare_gone(const void *a, const void *b)
{
    return strcmp(((const struct gone *)b)->to, ((const struct gone *)a)->to);
}

void pass_make_items(struct pass *p)
{
    for (struct record *r = records_first(p->move->records); r; r = r->hh.next)
        r->seen_frozen = SEEN_NOT;
    p->n = p->plan->n;
    p->items = xcalloc(p->n ? p->n : 1, sizeof(*p->items));
    for (size_t i = 0; i < p->n; i++) {
        const struct plan_item *plan = &p->plan->items[i];
        struct record *record = records_get(p->move->records, plan->source->name, plan->target_name);
        p->items[i] = (struct pass_item){.pass = p,
                                         .plan = plan,
                                         .there = mailboxes_find(p->mailboxes[TARGET], plan->target_name),
                                         .record = record};
        imap_seq_join(&p->items[i].removable, &record->gone);
        record->absent = false;
        if (!may_stay_closed(&p->items[i]))
            p->to_open++;
        else if (pass_is_last(p))
            close_for_now(&p->items[i]);
        else
            item_leave_closed(&p->items[i]);
    }
    qsort(p->items, p->n, sizeof(*p->items), pass_items_compare);
    records_each_gone(p->move->records, p->mailboxes[SOURCE], note_absent, p);
    if (p->n_gone > 0)
        qsort(p->gone, p->n_gone, sizeof(*p->gone), pass_items_compare_gone);
}

/* ---- lanes */

size_t pass_count_open(const struct pass *p)
{
    return pass_count_state(p, TODO) + pass_count_state(p, CLOSED) + pass_count_state(p, GLANCED_AT) +
           pass_count_state(p, LOADING) + pass_count_state(p, COPYING);
}

void pass_want_lanes(struct pass *p)
{
    size_t open = pass_count_open(p) + pass_may_subscribe(p) + (p->subscribing != NULL);

    crew_want(p->move->crew, open == 0 ? 1 : open < CREW_MAX ? (unsigned)open : CREW_MAX);
}
