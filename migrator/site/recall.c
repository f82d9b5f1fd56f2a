#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/stores.h"
#include "lib/xalloc.h"

#include "flips.h"
#include "recall.h"

enum {
    AUDIT_ENTRIES = 100,
};

struct recall {
    struct store *store;
    recall_fn fn;
    void *owner;
    struct loop_task task;
    struct flips flips; /* owned */
    const struct flip *next;
    struct ask {
        struct recall *recall;
        const struct flip *one; /* NULL: free */
    } asks[RECALL_AT_ONCE];
    size_t under_way, asked, unknown;
    struct buf names;
    char *error; /* owned */
    bool down;
};

void recall_cancel(struct recall **rp)
{
    struct recall *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    loop_undefer(store_loop(r->store), &r->task);
    for (size_t i = 0; i < RECALL_AT_ONCE; i++)
        store_forget(r->store, &r->asks[i]);
    flips_free(&r->flips);
    buf_free(&r->names);
    free(r->error);
    free(r);
}

static void recall_finish(struct recall *r)
{
    recall_fn fn = r->fn;
    void *owner = r->owner;
    char *names = xstrdup(buf_str(&r->names)), *error = xstrdup(r->error ? r->error : "");
    struct recall_result result = {.answered = !r->down && !r->error,
                                   .error = error,
                                   .asked = r->asked,
                                   .unknown = r->unknown,
                                   .names = names};

    recall_cancel(&r);
    fn(owner, &result);
    free(names);
    free(error);
}

/* ---- asking */

static void recall_note_unknown(struct recall *r, const struct flip *one)
{
    if (++r->unknown <= RECALL_NAMED)
        buf_printf(&r->names, "%s%s", r->unknown > 1 ? ", " : "", one->user);
}

static void recall_ask_more(struct recall *r);

static void recall_answered(struct recall *r, struct ask *a, bool known)
{
    r->under_way--;
    if (!known)
        recall_note_unknown(r, a->one);
    a->one = NULL;
    recall_ask_more(r);
}

/* Is it an entry of the audit by which staff have had it forgotten, after that flip? */
static bool recall_is_forgetting(const struct reply *entry, uint64_t flipped_ms)
{
    struct span id = reply_str(reply_at(entry, 0));
    const uint8_t *dash = id.len ? memchr(id.p, '-', id.len) : NULL;
    uint64_t ms;

    return dash && span_u64(span_of(id.p, (size_t)(dash - id.p)), UINT64_MAX, &ms) &&
           ms + FLIPS_CLOCKS_MS >= flipped_ms &&
           span_is(reply_str(reply_get(reply_at(entry, 1), "what")), "forget");
}

static void recall_on_audit(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct ask *a = owner;
    bool forgotten = false;

    a->recall->down = a->recall->down || rc == REDIS_DOWN;
    for (size_t i = 0; i < reply_count(reply) && !forgotten; i++)
        forgotten = recall_is_forgetting(reply_at(reply, i), a->one->last_ms);
    recall_answered(a->recall, a, rc != REDIS_OK || forgotten);
}

/* The store does not know the flip: perhaps since the account was forgotten (forget.lua), which the audit outlives. */
static void recall_ask_audit(struct recall *r, struct ask *a)
{
    char *key = store_key(r->store, "audit:%s", a->one->user), count[8];
    snprintf(count, sizeof(count), "%d", AUDIT_ENTRIES);
    struct span argv[] = {span_str("XREVRANGE"), span_str(key),     span_str("+"),
                          span_str("-"),         span_str("COUNT"), span_str(count)};

    store_command(r->store, argv, COUNTOF(argv), recall_on_audit, a);
    free(key);
}

/* An error is of a record that is none of ours; others tell of it. */
static void recall_on_epoch(void *owner, enum redis_rc rc, const struct reply *reply)
{
    struct ask *a = owner;
    struct recall *r = a->recall;
    uint64_t epoch = 0;

    r->down = r->down || rc == REDIS_DOWN;
    /* An account that was never switched over here may have claims enough to have as high an epoch. One whose
     * migrator died in flipping stands in the journal already, and will be finished. */
    bool moved = reply_str(reply_at(reply, 1)).len > 0 || span_is(reply_str(reply_at(reply, 2)), "flipping");
    if (!span_u64(reply_str(reply_at(reply, 0)), UINT64_MAX, &epoch) || !moved)
        epoch = 0;
    /* By the time of its own host an account's last flip is the newest; that line has the epoch before the
     * flip. */
    if (rc == REDIS_OK && epoch + 1 < a->one->last_epoch)
        recall_ask_audit(r, a);
    else
        recall_answered(r, a, true);
}

/* From this one on: the journal is of all stores. */
static const struct flip *recall_next(const struct recall *r, const struct flip *one)
{
    while (one && !stores_is_in(r->store, one->user))
        one = one->hh.next;
    return one;
}

static void recall_ask(struct recall *r, struct ask *a)
{
    char *key = store_key(r->store, "route:%s", r->next->user);
    struct span argv[] = {span_str("HMGET"), span_str(key), span_str("epoch"), span_str("flipped_at"),
                          span_str("state")};

    *a = (struct ask){.recall = r, .one = r->next};
    r->next = recall_next(r, r->next->hh.next);
    r->under_way++;
    r->asked++;
    store_command(r->store, argv, COUNTOF(argv), recall_on_epoch, a);
    free(key);
}

static void recall_ask_more(struct recall *r)
{
    for (size_t i = 0; i < RECALL_AT_ONCE && r->next && !r->down; i++)
        if (!r->asks[i].one)
            recall_ask(r, &r->asks[i]);
    if (r->under_way > 0)
        return;
    if (r->unknown > RECALL_NAMED)
        buf_printf(&r->names, " and %zu more", r->unknown - RECALL_NAMED);
    recall_finish(r);
}

/* ---- reading */

/* The newest lines; the first of them may be half a line. */
static bool recall_read_end(FILE *f, struct buf *text)
{
    char block[65536];
    size_t n;
    long size = fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;

    if (size < 0 || fseek(f, size > RECALL_BYTES ? size - RECALL_BYTES : 0, SEEK_SET) < 0)
        return false;
    while ((n = fread(block, 1, sizeof(block), f)) > 0)
        buf_add(text, block, n);
    return !ferror(f);
}

static void recall_read(struct recall *r, const char *folder)
{
    char *path = xasprintf("%s/flips", folder);
    FILE *f = fopen(path, "rbe");
    struct buf text = {0};
    bool good = f && recall_read_end(f, &text);

    if (!good && errno != ENOENT)
        r->error = xasprintf("%s: %s", path, strerror(errno));
    if (f)
        fclose(f);
    if (good)
        flips_read(&r->flips, path, buf_span(&text));
    buf_free(&text);
    free(path);
}

static void recall_begin(struct loop_task *task)
{
    struct recall *r = CONTAINER_OF(task, struct recall, task);

    r->next = recall_next(r, r->flips.all);
    recall_ask_more(r);
}

struct recall *recall_start(struct store *s, const char *folder, recall_fn fn, void *owner)
{
    struct recall *r = xcalloc(1, sizeof(*r));

    r->store = s;
    r->fn = fn;
    r->owner = owner;
    r->task.fn = recall_begin;
    recall_read(r, folder);
    loop_defer(store_loop(s), &r->task);
    return r;
}

char *recall_text(const struct recall_result *result, const char *folder)
{
    return xasprintf(
        "the store does not know %zu of the last %zu accounts that the journal in %s says were switched over (%s): it was "
        "made anew after a loss, or has lost writes, and their users may be on the wrong server. Stop all and use \"route "
        "restore\"; or, where the journal is of another site, or you have put them right, move the file flips away",
        result->unknown, result->asked, folder, result->names);
}
