#include <stdlib.h>

#include "lib/xalloc.h"

#include "foreign_state.h"
#include "match.h"

/* ---- which lie in the way */

/* Copies that go anyway are in nobody's order. 0: there is none. */
static uint32_t foreign_last_copy(const struct delta *d)
{
    uint32_t last = 0;
    for (size_t i = 0; i < d->n_rows; i++)
        if (d->rows[i].target_uid > last && mbox_list_find(d->source, d->rows[i].source_uid) &&
            mbox_list_find(d->target, d->rows[i].target_uid))
            last = d->rows[i].target_uid;
    return last;
}

/* Where the order is lost, it makes no map to move anything. */
void foreign_in_the_way(const struct pair *p, struct imap_seq *uids)
{
    struct delta d = pair_delta(p);
    struct imap_seq misplaced = {0};
    uint32_t last = foreign_last_copy(&d);
    delta_misplaced(&d, &misplaced);
    if (last > 0 && misplaced.n == 0)
        delta_foreign(&d, 1, uids);
    if (uids->n > 0)
        imap_seq_remove(uids, last, UINT32_MAX);
    imap_seq_free(&misplaced);
}

bool foreign_is_there(const struct pair *p)
{
    struct imap_seq uids = {0};
    size_t n;
    ledger_moves(p->ledger, &n);
    if (n == 0)
        foreign_in_the_way(p, &uids);
    bool is = n + uids.n > 0;
    imap_seq_free(&uids);
    return is;
}

bool foreign_may_be_there(const struct pair *p)
{
    struct delta d = pair_delta(p);
    struct imap_seq uids = {0};
    size_t n;
    ledger_moves(p->ledger, &n);
    delta_foreign(&d, 1, &uids);
    bool may = n + uids.n > 0;
    imap_seq_free(&uids);
    return may;
}

/* ---- which copy is whose */

static bool foreign_is_known(const struct pair *p, uint32_t uid)
{
    size_t n;
    const struct ledger_move *moves = ledger_moves(p->ledger, &n);
    for (size_t i = 0; i < n; i++)
        if (moves[i].uid == uid || moves[i].to_uid == uid)
            return true;
    return ledger_find_target(p->ledger, uid) != NULL;
}

/* As the server lists them: what it says of sizes may be wrong, but is the same for both. */
static bool foreign_has_size(const struct pair *p, const struct imap_seq *uids, uint32_t size)
{
    const struct mbox_list *l = &p->target.list;
    for (size_t i = 0; i < l->listed; i++)
        if (l->msgs[i].size == size && imap_seq_has(uids, l->msgs[i].uid))
            return true;
    return false;
}

void foreign_candidates(const struct pair *p, const struct foreign_run *run, const struct imap_seq *uids,
                        struct imap_seq *copies)
{
    const struct mbox_list *l = &p->target.list;
    uint32_t from = UINT32_MAX;
    size_t n;
    const struct ledger_move *moves = ledger_moves(p->ledger, &n);
    for (size_t i = 0; i < n; i++)
        if (imap_seq_has(uids, moves[i].uid) && moves[i].from < from)
            from = moves[i].from;
    imap_seq_free(copies);
    for (size_t i = mbox_list_from(l, from); i < l->listed; i++) {
        uint32_t uid = l->msgs[i].uid;
        bool may =
            run->given.n > 0 ? imap_seq_has(&run->given, uid) : foreign_has_size(p, uids, l->msgs[i].size);
        if (may && !foreign_is_known(p, uid))
            imap_seq_add(copies, uid, uid);
    }
}

uint32_t foreign_unread(const struct pair *p, const struct imap_seq *asked, const struct readback_item *items,
                        size_t n)
{
    const struct mbox_list *l = &p->target.list;
    struct imap_seq left = {0};
    uint32_t uid = 0;
    imap_seq_join(&left, asked);
    for (size_t i = 0; i < n; i++)
        imap_seq_remove(&left, items[i].uid, items[i].uid);
    for (size_t i = 0; i < l->listed && uid == 0; i++)
        uid = imap_seq_has(&left, l->msgs[i].uid) ? l->msgs[i].uid : 0;
    imap_seq_free(&left);
    return uid;
}

/* As items, those whose copies are looked for. */
static size_t foreign_originals(const struct pair *p, const struct imap_seq *uids, struct readback_item *out)
{
    size_t n, n_out = 0;
    const struct ledger_move *moves = ledger_moves(p->ledger, &n);
    for (size_t i = 0; i < n; i++) {
        if (!imap_seq_has(uids, moves[i].uid))
            continue;
        out[n_out].uid = moves[i].uid;
        out[n_out].size = moves[i].size;
        memcpy(out[n_out++].hash, moves[i].hash, HASH_SIZE);
    }
    return n_out;
}

struct ledger_row *foreign_match(const struct pair *p, const struct imap_seq *uids,
                                 struct readback_item *items, size_t n_items, size_t *n)
{
    size_t room = imap_seq_count(uids) + 1;
    struct readback_item *originals = xcalloc(room, sizeof *originals);
    struct ledger_row *rows = xcalloc(room, sizeof *rows);
    size_t n_originals = foreign_originals(p, uids, originals);
    *n = match_items(originals, n_originals, items, n_items, rows);
    free(originals);
    return rows;
}

void foreign_note_unfound(const struct pair *p, struct foreign_run *run)
{
    size_t n;
    const struct ledger_move *moves = ledger_moves(p->ledger, &n);
    for (size_t i = 0; i < n; i++)
        if (moves[i].to_uid == 0)
            imap_seq_add(&run->unfound, moves[i].uid, moves[i].uid);
}

/* ---- is a copy as its original is? */

static const struct mbox_msg *foreign_find(const struct pair *p, uint32_t uid)
{
    return mbox_list_find(&p->target.list, uid);
}

/* The set with \Deleted, or without. */
static uint32_t foreign_with_deleted(struct flags_pool *pool, uint32_t set, bool deleted)
{
    struct buf text = {0};
    const char *why;
    uint32_t out = FLAGS_NONE;
    if (flags_has(pool, set, "\\Deleted") == deleted)
        return set;
    for (const char *word = flags_text(pool, set); *word;
         word += strcspn(word, " "), word += strspn(word, " ")) {
        struct span s = span_of(word, strcspn(word, " "));
        if (span_is_ci(s, "\\Deleted"))
            continue;
        buf_add_str(&text, text.len > 0 ? " " : "");
        buf_add_span(&text, s);
    }
    if (deleted)
        buf_add_str(&text, text.len > 0 ? " \\Deleted" : "\\Deleted");
    bool ok = flags_add_text(pool, buf_span(&text), &out, &why);
    buf_free(&text);
    return ok ? out : set;
}

/* What is about to be removed may be marked by us. */
static uint32_t foreign_flags_of(const struct pair *p, const struct ledger_move *m,
                                 const struct mbox_msg *original, const struct mbox_msg *copy)
{
    if (!m->clearing)
        return original->flags;
    return foreign_with_deleted(p->flags, original->flags, flags_has(p->flags, copy->flags, "\\Deleted"));
}

enum foreign_likeness foreign_compare(const struct pair *p, const struct ledger_move *m, uint32_t *flags)
{
    const struct mbox_msg *original = foreign_find(p, m->uid), *copy = foreign_find(p, m->to_uid);
    if (m->to_uid == 0 || !original || !copy)
        return FOREIGN_ALONE;
    *flags = foreign_flags_of(p, m, original, copy);
    return original->instant != copy->instant ? FOREIGN_OTHER_DATE
           : *flags != copy->flags            ? FOREIGN_OTHER_FLAGS
                                              : FOREIGN_ALIKE;
}

/* ---- what is to be done */

void foreign_run_free(struct foreign_run *run)
{
    imap_seq_free(&run->unfound);
    imap_seq_free(&run->refused);
    imap_seq_free(&run->given);
}

void foreign_work_free(struct foreign_work *w)
{
    imap_seq_free(&w->over);
    imap_seq_free(&w->unknown);
    imap_seq_free(&w->pairs);
    imap_seq_free(&w->copies);
    imap_seq_free(&w->withdrawn);
}

/* Of a message that is gone, a copy that nobody has named may be somebody else's. */
static void foreign_sort_uncopied(const struct pair *p, const struct foreign_run *run,
                                  const struct ledger_move *m, struct foreign_work *w)
{
    bool named = run->answered && run->given.n > 0;
    if (!imap_seq_has(&run->unfound, m->uid) && (named || foreign_find(p, m->uid)))
        imap_seq_add(&w->unknown, m->uid, m->uid);
    else if (run->answered || run->calm || !foreign_find(p, m->uid))
        imap_seq_add(&w->over, m->uid, m->uid);
    else
        w->pending = true;
}

static void foreign_sort_one(const struct pair *p, const struct foreign_run *run, const struct ledger_move *m,
                             struct foreign_work *w)
{
    const struct mbox_msg *original = foreign_find(p, m->uid);
    if (m->to_uid == 0) {
        foreign_sort_uncopied(p, run, m, w);
    } else if (!foreign_find(p, m->to_uid)) {
        imap_seq_add(&w->over, m->uid, m->uid);
    } else if (!original && m->clearing) {
        imap_seq_add(&w->over, m->uid, m->uid);
        w->moved++;
    } else if (!original || imap_seq_has(&run->refused, m->uid)) {
        imap_seq_add(&w->withdrawn, m->to_uid, m->to_uid);
    } else {
        imap_seq_add(&w->pairs, m->uid, m->uid);
        imap_seq_add(&w->copies, m->to_uid, m->to_uid);
    }
}

void foreign_sort(const struct pair *p, const struct foreign_run *run, struct foreign_work *w)
{
    size_t n;
    const struct ledger_move *moves = ledger_moves(p->ledger, &n);
    for (size_t i = 0; i < n; i++)
        foreign_sort_one(p, run, &moves[i], w);
}
