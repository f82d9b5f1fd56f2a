#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "fillers.h"
#include "foreign.h"
#include "foreign_state.h"
#include "remove.h"
#include "touch.h"

enum { FOREIGN_ROUNDS = 3 /* of following what somebody else changes */ };

/* foreign.h tells what each does; LOOK says which is next, by the ledger and what is listed. */
enum foreign_step {
    FOREIGN_LOOK,
    FOREIGN_READ,
    FOREIGN_COPY,
    FOREIGN_MATCH,
    FOREIGN_COMPARE,
    FOREIGN_REMOVE,
    FOREIGN_WITHDRAW,
    FOREIGN_END
};

struct foreign {
    struct pair *p; /* borrowed */
    struct foreign_terms terms;
    step_fn fn;
    void *owner;
    struct loop_task task;
    enum foreign_step step;
    struct imap_seq uids, copies; /* what the step is about: UIDs of messages, and of their copies */
    struct foreign_run run;
    bool began;
    /* of this run's UID COPY: */
    uint32_t number; /* of the ledger; 0: it has no answer yet, or the ledger knows of it */
    uint32_t from;   /* UIDNEXT before it */
    unsigned outstanding, rounds;
    struct readback *reading;
    struct readback_item *items; /* owned */
    size_t n_items, max_items;
    struct touch_run *touch;
    struct remove *removing;
    struct ledger_change *changes; /* of COMPARE, one for each copy; owned, with all in it */
    struct imap_seq *changed;      /* the copy of each */
    size_t n_changes;
    uint64_t modseq;
    bool down;
    enum copy_rc rc;
    char *why; /* of rc; owned */
    struct foreign_result result;
};

static void foreign_say(struct foreign *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void foreign_say(struct foreign *f, const char *fmt, ...)
{
    va_list ap;
    if (*f->result.why)
        return;
    va_start(ap, fmt);
    vsnprintf(f->result.why, sizeof f->result.why, fmt, ap);
    va_end(ap);
}

/* ---- the end of it, and of each step */

static void foreign_free_changes(struct foreign *f)
{
    for (size_t i = 0; i < f->n_changes; i++) {
        imap_seq_free(&f->changed[i]);
        free((char *)(uintptr_t)f->changes[i].flags);
    }
    free(f->changes);
    free(f->changed);
    f->changes = NULL;
    f->changed = NULL;
    f->n_changes = 0;
}

static void foreign_free_items(struct foreign *f)
{
    free(f->items);
    f->items = NULL;
    f->n_items = f->max_items = 0;
}

void foreign_stop(struct foreign **fp)
{
    struct foreign *f = *fp;
    if (!f)
        return;
    *fp = NULL;
    loop_undefer(f->p->loop, &f->task);
    ledger_forget(f->p->ledger, f);
    imapc_forget(f->p->target.imap, f);
    imapc_forget(f->p->target.imap, &f->p->target);
    readback_stop(&f->reading);
    touch_stop(&f->touch);
    remove_stop(&f->removing);
    imap_seq_free(&f->uids);
    imap_seq_free(&f->copies);
    foreign_run_free(&f->run);
    foreign_free_items(f);
    foreign_free_changes(f);
    free(f->why);
    free(f);
}

static void foreign_go(struct foreign *f, enum foreign_step step)
{
    if (f->step == FOREIGN_END)
        return;
    f->step = step;
    loop_defer(f->p->loop, &f->task);
}

static void foreign_fail(struct foreign *f, enum copy_rc rc, const char *why)
{
    if (f->step == FOREIGN_END)
        return;
    f->rc = rc;
    f->why = xstrdup(why);
    foreign_go(f, FOREIGN_END);
}

static bool foreign_wrote(struct foreign *f, enum route_rc rc)
{
    if (rc == ROUTE_OK)
        return true;
    foreign_fail(f, rc == ROUTE_LOST ? COPY_LOST : COPY_DOWN, ledger_error(f->p->ledger));
    return false;
}

static void foreign_then_look(void *owner, enum route_rc rc)
{
    struct foreign *f = owner;
    if (foreign_wrote(f, rc))
        foreign_go(f, FOREIGN_LOOK);
}

static enum imapc_taken foreign_on_data(void *owner, const struct imap_resp *resp,
                                        const struct imap_value *data)
{
    struct foreign *f = owner;
    return selected_data(&f->p->target, resp, data);
}

/* ---- what is read */

static void foreign_got(void *owner, const struct readback_item *item)
{
    struct foreign *f = owner;
    for (size_t i = 0; i < f->n_items; i++)
        if (f->items[i].uid == item->uid)
            return;
    if (f->n_items < f->max_items)
        f->items[f->n_items++] = *item;
}

static void foreign_read(struct foreign *f, const struct imap_seq *uids, step_fn end)
{
    foreign_free_items(f);
    f->max_items = imap_seq_count(uids);
    f->items = xcalloc(f->max_items ? f->max_items : 1, sizeof *f->items);
    f->reading = readback_start(&f->p->target, uids, foreign_got, end, f);
}

/* ---- READ, COPY */

static void foreign_on_relisted(void *owner, enum copy_rc rc, const char *why)
{
    struct foreign *f = owner;
    if (rc == COPY_EQUAL)
        foreign_go(f, FOREIGN_LOOK);
    else
        foreign_fail(f, rc, why);
}

static void foreign_take_uid(void *owner, uint32_t uid)
{
    struct foreign *f = owner;
    if (uid >= f->from)
        imap_seq_add(&f->run.given, uid, uid);
}

/* [COPYUID uidvalidity uids uids]. What does not fit is as good as none: the copies are known by their bytes. */
static void foreign_read_copyuid(struct foreign *f, struct span code)
{
    struct span args, word[3] = {{0}};
    uint32_t uidvalidity;
    if (!imap_code_is(code, "COPYUID", &args))
        return;
    for (size_t i = 0; i < COUNTOF(word); i++) {
        const uint8_t *blank = args.len ? memchr(args.p, ' ', args.len) : NULL;
        size_t len = blank ? (size_t)(blank - args.p) : args.len;
        word[i] = span_of(args.p, len);
        args = blank ? span_of(blank + 1, args.len - len - 1) : span_of(args.p + len, 0);
    }
    if (span_u32(word[0], &uidvalidity) && uidvalidity == f->p->target.uidvalidity &&
        !imap_seq_each(word[2], imap_seq_count(&f->uids), foreign_take_uid, f))
        LOG(WARN, "copyuid_unreadable", LOG_S("mailbox", f->p->target.name));
}

static void foreign_on_copied(void *owner, const struct imapc_end *e)
{
    struct foreign *f = owner;
    f->outstanding--;
    if (e->rc == IMAPC_DOWN) {
        foreign_fail(f, COPY_DOWN, imapc_error(f->p->target.imap));
        return;
    }
    if (e->rc == IMAPC_OK) {
        foreign_read_copyuid(f, e->code);
    } else {
        char *text = imapc_end_text(e);
        foreign_say(f, "the target does not copy them: %s", text);
        free(text);
    }
    if (f->outstanding > 0 || f->step == FOREIGN_END)
        return;
    f->run.answered = true;
    selected_catch_up(&f->p->target, f->from, foreign_on_relisted, f);
}

static void foreign_send_copies(void *owner, enum route_rc rc)
{
    struct foreign *f = owner;
    const struct imapc_command cmd = {.data = foreign_on_data, .end = foreign_on_copied, .owner = f};
    struct uidset_place at = {0};
    struct buf set = {0};
    if (!foreign_wrote(f, rc))
        return;
    while (uidset_next(&f->uids, &at, 0, &set)) {
        char *verb = xasprintf("UID COPY %s", buf_str(&set));
        f->outstanding++;
        imapc_send_named(selected_imap(&f->p->target), &cmd, verb, f->p->target.name, "");
        free(verb);
    }
    buf_free(&set);
}

static void foreign_enter_copy(struct foreign *f)
{
    struct pair *p = f->p;
    struct ledger_row *rows = xcalloc(f->n_items, sizeof *rows);
    for (size_t i = 0; i < f->n_items; i++) {
        rows[i] = (struct ledger_row){.source_uid = f->items[i].uid};
        rows[i].size = f->items[i].size;
        memcpy(rows[i].hash, f->items[i].hash, HASH_SIZE);
    }
    f->from = selected_uidnext(&p->target);
    f->number = ledger_begin_move(p->ledger, f->from, rows, f->n_items, imapc_timeout_ms(p->target.imap),
                                  foreign_send_copies, f);
    free(rows);
}

static void foreign_on_read(void *owner, enum copy_rc rc, const char *why)
{
    struct foreign *f = owner;
    readback_stop(&f->reading);
    uint32_t unread = foreign_unread(f->p, &f->uids, f->items, f->n_items);
    if (rc != COPY_EQUAL) {
        foreign_fail(f, rc, why);
    } else if (unread) {
        foreign_say(f, "UID %" PRIu32 " can't be read", unread);
        foreign_go(f, FOREIGN_LOOK);
    } else {
        imap_seq_free(&f->uids); /* some may have gone */
        for (size_t i = 0; i < f->n_items; i++)
            imap_seq_add(&f->uids, f->items[i].uid, f->items[i].uid);
        foreign_go(f, f->n_items > 0 ? FOREIGN_COPY : FOREIGN_LOOK);
    }
}

static void foreign_enter_read(struct foreign *f)
{
    f->began = true;
    imap_seq_free(&f->run.unfound);
    foreign_read(f, &f->uids, foreign_on_read);
}

/* ---- MATCH */

/* Behind `moved`: from here on nobody has to wait for the command any more. */
static void foreign_on_moved(void *owner, enum route_rc rc)
{
    struct foreign *f = owner;
    uint32_t number = f->number;
    if (!foreign_wrote(f, rc))
        return;
    if (f->run.given.n > 0)
        imap_seq_free(&f->run.given); /* what these were not is looked for by its size */
    else
        foreign_note_unfound(f->p, &f->run);
    f->number = 0;
    if (f->run.answered && number)
        ledger_touched(f->p->ledger, number, foreign_then_look, f);
    else
        foreign_go(f, FOREIGN_LOOK);
}

static void foreign_match_items(struct foreign *f)
{
    size_t n;
    struct ledger_row *rows = foreign_match(f->p, &f->uids, f->items, f->n_items, &n);
    if (n > 0)
        ledger_moved(f->p->ledger, rows, n, foreign_on_moved, f);
    else
        foreign_on_moved(f, ROUTE_OK);
    free(rows);
}

/* What is there and does not come could be a copy. */
static void foreign_on_copies_read(void *owner, enum copy_rc rc, const char *why)
{
    struct foreign *f = owner;
    readback_stop(&f->reading);
    uint32_t unread = foreign_unread(f->p, &f->copies, f->items, f->n_items);
    if (rc != COPY_EQUAL) {
        foreign_fail(f, rc, why);
    } else if (unread) {
        char *text = xasprintf("target UID %" PRIu32 " can't be read", unread);
        foreign_fail(f, COPY_DIFFERS, text);
        free(text);
    } else {
        foreign_match_items(f);
    }
}

static void foreign_enter_match(struct foreign *f)
{
    foreign_candidates(f->p, &f->run, &f->uids, &f->copies);
    if (f->copies.n > 0)
        foreign_read(f, &f->copies, foreign_on_copies_read);
    else
        foreign_on_moved(f, ROUTE_OK);
}

/* ---- COMPARE: flags and dates */

static void foreign_add_change(struct foreign *f, uint32_t uid, uint32_t flags)
{
    size_t i = f->n_changes++;
    f->changes = xreallocarray(f->changes, f->n_changes, sizeof *f->changes);
    f->changed = xreallocarray(f->changed, f->n_changes, sizeof *f->changed);
    f->changed[i] = (struct imap_seq){0};
    imap_seq_add(&f->changed[i], uid, uid);
    f->changes[i].flags = xstrdup(flags_text(f->p->flags, flags));
    for (size_t k = 0; k < f->n_changes; k++)
        f->changes[k].target_uids = &f->changed[k];
}

static void foreign_compare_all(struct foreign *f)
{
    size_t n;
    const struct ledger_move *moves = ledger_moves(f->p->ledger, &n);
    foreign_free_changes(f);
    for (size_t i = 0; i < n; i++) {
        const struct ledger_move *m = &moves[i];
        uint32_t flags;
        if (!imap_seq_has(&f->uids, m->uid))
            continue;
        enum foreign_likeness likeness = foreign_compare(f->p, m, &flags);
        if (likeness == FOREIGN_OTHER_DATE) {
            foreign_say(f, "the target gives a message that it copies another date (UID %" PRIu32 ")",
                        m->uid);
            imap_seq_add(&f->run.refused, m->uid, m->uid);
        } else if (likeness == FOREIGN_OTHER_FLAGS) {
            foreign_add_change(f, m->to_uid, flags);
        }
    }
}

static void foreign_refresh(struct foreign *f, step_fn fn)
{
    struct imap_seq both = {0};
    imap_seq_join(&both, &f->uids);
    imap_seq_join(&both, &f->copies);
    selected_refresh(&f->p->target, &both, fn, f);
    imap_seq_free(&both);
}

/* By their new flags the copies are compared once more. */
static void foreign_on_stored(void *owner, enum copy_rc rc, const char *why)
{
    struct foreign *f = owner;
    touch_stop(&f->touch);
    if (rc == COPY_EQUAL)
        foreign_go(f, FOREIGN_LOOK);
    else
        foreign_fail(f, rc, why);
}

static void foreign_on_store_end(void *owner, const struct imapc_end *e)
{
    struct foreign *f = owner;
    f->down = f->down || e->rc == IMAPC_DOWN;
    if (--f->outstanding > 0)
        return;
    if (f->down)
        foreign_fail(f, COPY_DOWN, imapc_error(f->p->target.imap));
    else
        touch_end(f->touch, foreign_on_stored); /* a refusal shows as a difference that stays */
}

static void foreign_on_store_ready(void *owner, uint64_t modseq)
{
    struct foreign *f = owner;
    const struct imapc_command cmd = {.data = foreign_on_data, .end = foreign_on_store_end, .owner = f};
    struct buf condition = {0};
    touch_write_condition(&condition, modseq);
    for (size_t i = 0; i < f->n_changes; i++) {
        f->outstanding++;
        imapc_sendf(selected_imap(&f->p->target), &cmd, "UID STORE %" PRIu32 "%s FLAGS.SILENT (%s)",
                    f->changed[i].ranges[0].first, buf_str(&condition), f->changes[i].flags);
    }
    buf_free(&condition);
}

static void foreign_touch_failed(void *owner, enum copy_rc rc, const char *why)
{
    struct foreign *f = owner;
    foreign_fail(f, rc, why);
}

/* Where flags differ again and again, the copies go, and the originals stay. */
static void foreign_on_compared(void *owner, enum copy_rc rc, const char *why)
{
    struct foreign *f = owner;
    if (rc != COPY_EQUAL) {
        foreign_fail(f, rc, why);
        return;
    }
    foreign_compare_all(f);
    if (f->run.refused.n > 0) {
        foreign_go(f, FOREIGN_LOOK);
    } else if (f->n_changes == 0) {
        foreign_go(f, FOREIGN_REMOVE);
    } else if (f->rounds++ < FOREIGN_ROUNDS) {
        f->touch =
            touch_start(f->p, f->changes, f->n_changes, foreign_on_store_ready, foreign_touch_failed, f);
    } else {
        foreign_say(f, "the flags of a message change, or its copy does not get them");
        imap_seq_join(&f->run.refused, &f->uids);
        foreign_go(f, FOREIGN_LOOK);
    }
}

static void foreign_enter_compare(struct foreign *f)
{
    foreign_refresh(f, foreign_on_compared);
}

/* ---- REMOVE, WITHDRAW */

/* Has nobody changed anything since they were compared? */
static bool foreign_may_remove(void *owner)
{
    struct foreign *f = owner;
    foreign_compare_all(f);
    return f->n_changes == 0 && f->run.refused.n == 0;
}

static void foreign_on_removed(void *owner, enum copy_rc rc, const char *why)
{
    struct foreign *f = owner;
    bool again = rc == COPY_DIFFERS && f->rounds++ < FOREIGN_ROUNDS;
    if (rc == COPY_EQUAL || again)
        foreign_go(f, FOREIGN_LOOK);
    else
        foreign_fail(f, rc, why);
    remove_stop(&f->removing); /* why was its own */
}

static void foreign_remove(void *owner, enum route_rc rc)
{
    struct foreign *f = owner;
    if (foreign_wrote(f, rc))
        f->removing = remove_start_if(f->p, &f->uids, foreign_may_remove, foreign_on_removed, f);
}

static bool foreign_are_clearing(const struct foreign *f)
{
    size_t n;
    const struct ledger_move *moves = ledger_moves(f->p->ledger, &n);
    for (size_t i = 0; i < n; i++)
        if (imap_seq_has(&f->uids, moves[i].uid) && !moves[i].clearing)
            return false;
    return true;
}

static void foreign_enter_remove(struct foreign *f)
{
    if (foreign_are_clearing(f))
        foreign_remove(f, ROUTE_OK);
    else
        ledger_clearing(f->p->ledger, &f->uids, foreign_remove, f);
}

static void foreign_enter_withdraw(struct foreign *f)
{
    f->removing = remove_start(f->p, &f->copies, foreign_on_removed, f);
}

/* ---- LOOK */

/* What speaks against moving those in the way, which are not empty? */
static bool foreign_may_begin(struct foreign *f, uint64_t n)
{
    const struct pair *p = f->p;
    bool numbered = p->numbering && p->numbering->wanted && p->source.uidvalidity == p->target.uidvalidity;
    if (!imap_caps_has(imapc_caps(p->target.imap), CAP_UIDPLUS))
        foreign_say(f, "the target can't have them moved behind these, since it has no UIDPLUS");
    else if (n > f->terms.max)
        foreign_say(f, "%" PRIu64 " would have to be moved behind these, and foreign_max allows %" PRIu32, n,
                    f->terms.max);
    else if (!f->terms.now || numbered ||
             fillers_may_be_there(p->ledger)) /* a pass without numbers follows */
        f->result.later = true;
    return !*f->result.why && !f->result.later && !f->began;
}

static void foreign_begin_or_end(struct foreign *f)
{
    struct imap_seq uids = {0};
    if (!f->result.pending)
        foreign_in_the_way(f->p, &uids);
    f->result.in_the_way = imap_seq_count(&uids);
    imap_seq_free(&f->uids);
    f->uids = uids;
    foreign_go(f, uids.n > 0 && foreign_may_begin(f, f->result.in_the_way) ? FOREIGN_READ : FOREIGN_END);
}

static void foreign_take(struct imap_seq *to, struct imap_seq *from)
{
    imap_seq_free(to);
    *to = *from;
    *from = (struct imap_seq){0};
}

static void foreign_work_on(struct foreign *f, struct foreign_work *w)
{
    f->result.pending = w->pending;
    if (w->over.n > 0) {
        f->result.moved += w->moved;
        ledger_cleared(f->p->ledger, &w->over, foreign_then_look, f);
    } else if (w->unknown.n > 0) {
        foreign_take(&f->uids, &w->unknown);
        foreign_go(f, FOREIGN_MATCH);
    } else if (w->withdrawn.n > 0) {
        foreign_take(&f->copies, &w->withdrawn);
        foreign_go(f, FOREIGN_WITHDRAW);
    } else if (w->pairs.n > 0) {
        foreign_take(&f->uids, &w->pairs);
        foreign_take(&f->copies, &w->copies);
        foreign_go(f, FOREIGN_COMPARE);
    } else {
        foreign_begin_or_end(f);
    }
}

static void foreign_enter_look(struct foreign *f)
{
    struct foreign_work w = {.pending = false};
    foreign_sort(f->p, &f->run, &w);
    foreign_work_on(f, &w);
    foreign_work_free(&w);
}

/* ---- the table of steps */

static void foreign_enter_end(struct foreign *f)
{
    if (f->result.moved > 0)
        LOG(INFO, "foreign_moved", LOG_S("mailbox", f->p->target.name), LOG_U("count", f->result.moved));
    f->fn(f->owner, f->rc, f->why ? f->why : ""); /* may stop f */
}

static void foreign_on_task(struct loop_task *task)
{
    static void (*const enter[])(struct foreign * f) = {
        [FOREIGN_LOOK] = foreign_enter_look,         [FOREIGN_READ] = foreign_enter_read,
        [FOREIGN_COPY] = foreign_enter_copy,         [FOREIGN_MATCH] = foreign_enter_match,
        [FOREIGN_COMPARE] = foreign_enter_compare,   [FOREIGN_REMOVE] = foreign_enter_remove,
        [FOREIGN_WITHDRAW] = foreign_enter_withdraw, [FOREIGN_END] = foreign_enter_end,
    };
    struct foreign *f = CONTAINER_OF(task, struct foreign, task);
    enter[f->step](f);
}

struct foreign_result foreign_outcome(const struct foreign *f)
{
    return f->result;
}

struct foreign *foreign_start(struct pair *p, const struct foreign_terms *terms, step_fn fn, void *owner)
{
    struct foreign *f = xcalloc(1, sizeof *f);
    f->p = p;
    f->terms = *terms;
    f->run.calm = terms->calm;
    f->fn = fn;
    f->owner = owner;
    f->rc = COPY_EQUAL;
    f->task.fn = foreign_on_task;
    foreign_go(f, FOREIGN_LOOK);
    return f;
}
