#include <stdlib.h>

#include "lib/metrics.h"
#include "lib/xalloc.h"

#include "readback.h"
#include "verify.h"

enum {
    NOTE = 500,                   /* verified messages in one ledger entry */
    SUSPECTS_MAX = 100,           /* looked at on the source a second time */
    LITTLE_LEFT = 4 * 1024 * 1024 /* bytes that are still to come, at most, when others may go on */
};

/* A copy whose bytes are not those of the ledger, or of which the ledger does not know any (folded.h). */
struct verify_suspect {
    uint32_t source_uid, target_uid;
    uint8_t hash[HASH_SIZE]; /* of the source, as it was copied; of a bare one: of the target */
    bool bare;
    bool read, same; /* the second reading of the source; it gave the same bytes */
};

struct verify {
    struct pair *p; /* borrowed */
    step_fn fn;
    void *owner;
    struct imap_seq asked;
    uint64_t left; /* bytes of them that have not come */
    bool told;     /* pair.asked() was called, or need not be */
    struct readback *reading;
    uint32_t good[NOTE]; /* source UIDs to be noted */
    size_t n_good;
    size_t writing;
    struct verify_suspect *suspects; /* ascending by source UID from their reading on; owned */
    size_t n_suspects, cap, n_differ /* of them; the rest is bare */;
    bool read; /* all that there is to read was read */
    bool over;
    enum copy_rc rc;
    char *why; /* owned */
    struct loop_task task;
};

void verify_stop(struct verify **vp)
{
    struct verify *v = *vp;
    if (!v)
        return;
    *vp = NULL;
    loop_undefer(v->p->loop, &v->task);
    ledger_forget(v->p->ledger, v);
    readback_stop(&v->reading);
    imap_seq_free(&v->asked);
    free(v->suspects);
    free(v->why);
    free(v);
}

static void note_end(struct verify *v, enum copy_rc rc, const char *why)
{
    if (rc != COPY_EQUAL && v->rc == COPY_EQUAL) {
        v->rc = rc;
        v->why = xstrdup(why);
    }
    loop_defer(v->p->loop, &v->task);
}

static void verify_on_task(struct loop_task *task)
{
    struct verify *v = CONTAINER_OF(task, struct verify, task);
    if (v->over || v->writing > 0 || !(v->read || v->rc != COPY_EQUAL))
        return;
    v->over = true;
    v->fn(v->owner, v->rc, v->why ? v->why : ""); /* may stop v */
}

/* --- the ledger --- */

static void verify_on_noted(void *owner, enum route_rc rc)
{
    struct verify *v = owner;
    v->writing--;
    pair_count_done(v->p);
    v->p->progress(v->p);
    note_end(v,
             rc == ROUTE_OK     ? COPY_EQUAL
             : rc == ROUTE_LOST ? COPY_LOST
                                : COPY_DOWN,
             ledger_error(v->p->ledger));
}

static void note_good(struct verify *v)
{
    if (v->n_good == 0)
        return;
    v->writing++;
    ledger_verified(v->p->ledger, v->good, v->n_good, verify_on_noted, v);
    v->n_good = 0;
}

static void add_good(struct verify *v, uint32_t source_uid)
{
    v->good[v->n_good++] = source_uid;
    if (v->n_good == NOTE)
        note_good(v);
}

/* --- bad ones --- */

static void name_suspects(struct verify *v)
{
    for (size_t i = 0; i < v->n_suspects; i++) {
        const struct verify_suspect *s = &v->suspects[i];
        if (s->bare && s->same)
            add_good(v, s->source_uid);
        else if (s->bare && !s->read)
            continue; /* the source gives it no more: what lacks is seen by the comparison */
        else if (s->read && !s->same && !s->bare)
            pair_name(v->p, FINDING_MUTABLE, s->source_uid,
                      "the source gives other bytes at each reading (target UID %u)", s->target_uid);
        else
            pair_name(v->p, FINDING_BYTES, s->source_uid, "bytes differ (target UID %u)", s->target_uid);
    }
}

static void on_second_read(void *owner, enum copy_rc rc, const char *why)
{
    struct verify *v = owner;
    readback_stop(&v->reading);
    v->read = true;
    if (rc == COPY_EQUAL)
        name_suspects(v);
    note_good(v);
    note_end(v, rc, why);
}

static int compare_suspects(const void *a, const void *b)
{
    uint32_t x = ((const struct verify_suspect *)a)->source_uid,
             y = ((const struct verify_suspect *)b)->source_uid;
    return x < y ? -1 : x > y;
}

static void got_second(void *owner, const struct readback_item *item)
{
    struct verify *v = owner;
    const struct verify_suspect key = {.source_uid = item->uid};
    struct verify_suspect *s = bsearch(&key, v->suspects, v->n_suspects, sizeof key, compare_suspects);
    if (!s)
        return;
    s->read = true;
    s->same = memcmp(s->hash, item->hash, HASH_SIZE) == 0;
}

static void read_source_again(struct verify *v)
{
    struct imap_seq uids = {0};
    if (v->p->source.given) {
        v->read = true;
        note_end(v, COPY_DOWN, SELECTED_GIVEN);
        return;
    }
    qsort(v->suspects, v->n_suspects, sizeof *v->suspects, compare_suspects);
    for (size_t i = 0; i < v->n_suspects; i++)
        imap_seq_add(&uids, v->suspects[i].source_uid, v->suspects[i].source_uid);
    v->reading = readback_start(&v->p->source, &uids, got_second, on_second_read, v);
    imap_seq_free(&uids);
}

/* --- reading back --- */

static void verify_add_suspect(struct verify *v, const struct ledger_row *row, const uint8_t *hash)
{
    if (!row->bare && v->n_differ == SUSPECTS_MAX) {
        pair_name(v->p, FINDING_BYTES, row->source_uid, "bytes differ (target UID %u)", row->target_uid);
        return;
    }
    if (v->n_suspects == v->cap) {
        v->cap = v->cap ? 2 * v->cap : 16;
        v->suspects = xreallocarray(v->suspects, v->cap, sizeof *v->suspects);
    }
    struct verify_suspect *s = &v->suspects[v->n_suspects++];
    *s = (struct verify_suspect){
        .source_uid = row->source_uid, .target_uid = row->target_uid, .bare = row->bare};
    memcpy(s->hash, hash, HASH_SIZE);
    v->n_differ += !row->bare;
}

bool verify_has_asked(const struct verify *v)
{
    return !v->reading || (readback_has_asked(v->reading) && v->left <= LITTLE_LEFT);
}

static void count_left(struct verify *v, uint64_t came)
{
    v->left -= came < v->left ? came : v->left;
    if (v->told || !verify_has_asked(v))
        return;
    v->told = true;
    if (v->p->asked)
        v->p->asked(v->p);
}

static void verify_good(struct verify *v, const struct ledger_row *row)
{
    metric_add(METRIC_MESSAGES_VERIFIED, 1, NULL, NULL);
    metric_add(METRIC_BYTES_VERIFIED, row->size, NULL, NULL);
    add_good(v, row->source_uid);
}

static void verify_got(void *owner, const struct readback_item *item)
{
    struct verify *v = owner;
    const struct ledger_row *row = ledger_find_target(v->p->ledger, item->uid);
    count_left(v, item->size);
    if (!row || row->verified || !imap_seq_has(&v->asked, item->uid))
        return;
    if (row->bare)
        verify_add_suspect(v, row, item->hash);
    else if (row->size != item->size || memcmp(row->hash, item->hash, HASH_SIZE) != 0)
        verify_add_suspect(v, row, row->hash);
    else
        verify_good(v, row);
}

static void verify_on_read(void *owner, enum copy_rc rc, const char *why)
{
    struct verify *v = owner;
    readback_stop(&v->reading);
    note_good(v);
    if (rc == COPY_EQUAL && v->n_suspects > 0) {
        read_source_again(v);
        return;
    }
    v->read = true;
    note_end(v, rc, why);
}

static void verify_ask(struct verify *v, const struct ledger_row *row)
{
    imap_seq_add(&v->asked, row->target_uid, row->target_uid);
    v->left += row->size;
}

struct verify *verify_start(struct pair *p, uint32_t from, step_fn fn, void *owner)
{
    struct verify *v = xcalloc(1, sizeof *v);
    size_t n;
    const struct ledger_row *rows = ledger_rows(p->ledger, &n);
    v->p = p;
    v->fn = fn;
    v->owner = owner;
    v->rc = COPY_EQUAL;
    v->task.fn = verify_on_task;
    for (size_t i = 0; i < n; i++) {
        const struct mbox_msg *m = mbox_list_find(&p->target.list, rows[i].target_uid);
        if (from == 0 ? m && sample_wants_bytes(&p->sample, rows, n, i, m)
                      : rows[i].target_uid >= from && sample_wants_unlisted(&p->sample, rows, n, i))
            verify_ask(v, &rows[i]);
    }
    v->read = v->asked.n == 0 || p->target.given;
    if (v->asked.n > 0 && p->target.given)
        note_end(v, COPY_DOWN, SELECTED_GIVEN);
    else if (v->read)
        loop_defer(p->loop, &v->task);
    else
        v->reading = readback_start(&p->target, &v->asked, verify_got, verify_on_read, v);
    v->told = verify_has_asked(v);
    return v;
}
