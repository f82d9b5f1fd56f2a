#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/xalloc.h"

#include "restore.h"
#include "json_value.h"

enum { AT_ONCE = 100 /* accounts of one call */ };

struct restore {
    struct store *store;
    const struct flips *flips; /* borrowed */
    action_fn fn;
    void *owner;
    struct loop_task task;
    const struct flip *next;
    uint64_t generation;
    size_t restored, held, skipped;
    json_t *in_doubt; /* owned */
};

void restore_cancel(struct restore **rp)
{
    struct restore *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    store_forget(r->store, r);
    loop_undefer(store_loop(r->store), &r->task);
    json_decref(r->in_doubt);
    free(r);
}

/* ---- the end */

static void restore_finish(struct restore *r, enum action_rc rc, const char *text)
{
    action_fn fn = r->fn;
    void *owner = r->owner;
    json_t *data = json_object();

    json_object_set_new(data, "restored", json_integer((json_int_t)r->restored));
    json_object_set_new(data, "held", json_integer((json_int_t)r->held));
    json_object_set_new(data, "skipped", json_integer((json_int_t)r->skipped));
    json_object_set_new(data, "unreadable", json_integer((json_int_t)r->flips->unreadable));
    json_object_set(data, "in_doubt", r->in_doubt);
    json_object_set_new(data, rc == ACTION_DONE ? "message" : "error", json_string(text));
    restore_cancel(&r);
    fn(owner, &(struct action_result){.rc = rc, .text = text, .data = data});
    json_decref(data);
}

static void restore_fail(struct restore *r, enum route_rc rc)
{
    if (rc == ROUTE_REFUSED)
        restore_finish(r, ACTION_REFUSED,
                       "Redis holds a store: \"route restore\" is for one that has lost it");
    else if (rc == ROUTE_DOWN)
        restore_finish(r, ACTION_UNREACHABLE,
                       "Redis does not answer: do it again, which changes nothing of what was restored");
    else
        restore_finish(r, ACTION_FAILED, "the store refuses it");
}

static void on_made(void *owner, enum route_rc rc, const char *detail)
{
    struct restore *r = owner;
    size_t doubts = json_array_size(r->in_doubt);

    (void)detail;
    if (rc != ROUTE_OK) {
        restore_fail(r, rc);
        return;
    }
    char *text = xasprintf("%zu accounts are restored, %zu of them held%s; no account is copied or switched over for the next "
                           "%" PRIu64 " min",
                           r->restored, r->held,
                           doubts ? ", some since the clocks of two hosts contradict the order of their flips (in_doubt)" : "",
                           (store_quarantine_length_ms(r->store) + 59999) / 60000);
    restore_finish(r, doubts ? ACTION_FAILED : ACTION_DONE, text);
    free(text);
}

/* ---- the routes */

struct row {
    const char *state, *held_from, *reason;
};

/* What it is found in; state NULL: there is nothing to restore. */
static struct row restore_row_of(const struct flip *one)
{
    bool moved = one->flipped_ms > 0, back = !strcmp(one->backend, *one->home ? one->home : one->source);

    if (flip_is_in_doubt(one))
        return (struct row){"held", "resting", "held: restored, and two hosts contradict each other about where it is"};
    if (*one->state && !moved && strcmp(one->state, "held") != 0)
        return (struct row){0};
    if (!strcmp(one->state, "held"))
        return (struct row){"held", moved && !back ? "settled" : "resting", *one->reason ? one->reason : "held: restored"};
    if (back && !*one->state)
        return (struct row){"held", "resting", "held: restored, it was sent back"};
    return (struct row){back ? "resting" : !strcmp(one->state, "settled") ? "settled" : "flipped", "", ""};
}

static void restore_add_row(json_t *texts, const struct flip *one, const struct row *row)
{
    char epoch[24], at[24];

    snprintf(epoch, sizeof(epoch), "%" PRIu64, one->epoch + 1);
    snprintf(at, sizeof(at), "%" PRIu64, one->flipped_ms);
    const char *const words[] = {one->user, one->backend, row->state, epoch,          one->source, one->target,
                                 one->home, one->left,    at,         row->held_from, row->reason};
    for (size_t i = 0; i < COUNTOF(words); i++)
        json_array_append_new(texts, json_text(span_str(words[i])));
}

static void restore_on_written(void *owner, enum route_rc rc, const char *detail)
{
    struct restore *r = owner;

    (void)detail;
    if (rc != ROUTE_OK)
        restore_fail(r, rc);
    else
        loop_defer(store_loop(r->store), &r->task);
}

static void restore_count(struct restore *r, const struct flip *one, const struct row *row)
{
    r->restored++;
    r->held += !strcmp(row->state, "held");
    if (flip_is_in_doubt(one))
        json_array_append_new(r->in_doubt, json_text(span_str(one->user)));
}

static void restore_send(struct restore *r, json_t *texts)
{
    size_t n = json_array_size(texts);
    struct span *spans = xcalloc(n + 1, sizeof(*spans));

    for (size_t i = 0; i < n; i++)
        spans[i] = span_str(json_string_value(json_array_get(texts, i)));
    route_restore(r->store, r->generation, spans, n, restore_on_written, r);
    free(spans);
}

static void restore_step(struct loop_task *task)
{
    struct restore *r = CONTAINER_OF(task, struct restore, task);
    json_t *texts = json_array();

    for (size_t n = 0; r->next && n < AT_ONCE; r->next = r->next->hh.next) {
        struct row row = restore_row_of(r->next);
        r->skipped += !row.state;
        if (!row.state)
            continue;
        restore_add_row(texts, r->next, &row);
        restore_count(r, r->next, &row);
        n++;
    }
    if (json_array_size(texts) > 0)
        restore_send(r, texts);
    else
        route_init(r->store, r->generation, true, on_made, r);
    json_decref(texts);
}

struct restore *restore_start(struct store *s, const struct flips *flips, action_fn fn, void *owner)
{
    struct restore *r = xcalloc(1, sizeof(*r));

    r->store = s;
    r->flips = flips;
    r->fn = fn;
    r->owner = owner;
    r->next = flips->all;
    r->generation = flips_generation(flips) + 1;
    r->in_doubt = json_array();
    r->task.fn = restore_step;
    loop_defer(store_loop(s), &r->task);
    return r;
}
