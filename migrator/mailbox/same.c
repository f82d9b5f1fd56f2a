#include <stdlib.h>

#include "lib/xalloc.h"

#include "readback.h"
#include "same.h"

/* A message of the sample that the ledger knows by its UID alone: its copy has to have the same bytes. */
struct same_copy {
    uint32_t target_uid;
    uint64_t size;
    uint8_t hash[HASH_SIZE];
};

struct same {
    const struct ledger *ledger;
    struct imapc *target;    /* borrowed */
    const char *target_name; /* borrowed */
    uint32_t uidnext;
    step_fn fn;
    void *owner;
    struct flags_pool *flags;
    struct selected box;
    struct imap_seq sample; /* still to be found equal */
    bool other;             /* bytes that are others */
    struct readback *reading;
    struct selected copies; /* the target's mailbox; imap NULL: not needed so far */
    struct same_copy copy[SAME_SAMPLE];
    size_t n_copies;
};

static void same_stop(struct same *s)
{
    imapc_forget(s->box.imap, s);
    readback_stop(&s->reading);
    selected_free(&s->box);
    if (s->copies.imap) {
        imapc_forget(s->copies.imap, s);
        selected_free(&s->copies);
    }
    flags_pool_free(&s->flags);
    imap_seq_free(&s->sample);
}

static void same_end(struct same *s, enum copy_rc rc, const char *why)
{
    char *text = xstrdup(why);
    same_stop(s);
    s->fn(s->owner, rc, text);
    free(text);
    free(s);
}

static bool has_bytes(uint64_t size, const uint8_t *hash, const struct readback_item *item)
{
    return size == item->size && memcmp(hash, item->hash, HASH_SIZE) == 0;
}

static void got_copy(void *owner, const struct readback_item *item)
{
    struct same *s = owner;
    size_t i = 0;
    while (i < s->n_copies && s->copy[i].target_uid != item->uid)
        i++;
    if (i == s->n_copies)
        return;
    s->other = s->other || !has_bytes(s->copy[i].size, s->copy[i].hash, item);
    s->copy[i] = s->copy[--s->n_copies];
}

static void on_copies_read(void *owner, enum copy_rc rc, const char *why)
{
    struct same *s = owner;
    if (rc != COPY_EQUAL)
        same_end(s, rc, why);
    else
        same_end(s, s->other || s->n_copies > 0 ? COPY_DIFFERS : COPY_EQUAL, "");
}

static void on_copies_opened(void *owner, enum copy_rc rc, const char *why)
{
    struct same *s = owner;
    uint32_t source, target;
    struct imap_seq uids = {0};
    if (rc != COPY_EQUAL) {
        same_end(s, rc, why);
        return;
    }
    if (!ledger_bound(s->ledger, &source, &target) || target != s->copies.uidvalidity) {
        same_end(s, COPY_DIFFERS, "");
        return;
    }
    for (size_t i = 0; i < s->n_copies; i++)
        imap_seq_add(&uids, s->copy[i].target_uid, s->copy[i].target_uid);
    s->reading = readback_start(&s->copies, &uids, got_copy, on_copies_read, s);
    imap_seq_free(&uids);
}

static enum imapc_taken on_copies_news(void *owner, const struct imap_resp *resp,
                                       const struct imap_value *data)
{
    struct same *s = owner;
    return selected_data(&s->copies, resp, data);
}

static void read_copies(struct same *s)
{
    selected_init(&s->copies, s->target, s->flags, s->target_name, "target", true);
    imapc_watch(s->target, NULL, on_copies_news, NULL, s);
    selected_open(&s->copies, NULL, on_copies_opened, s);
}

static void note_read(struct same *s, uint32_t uid)
{
    struct imap_seq left = {0};
    for (size_t i = 0; i < s->sample.n; i++)
        for (uint64_t n = s->sample.ranges[i].first; n <= s->sample.ranges[i].last; n++)
            if (n != uid)
                imap_seq_add(&left, (uint32_t)n, (uint32_t)n);
    imap_seq_free(&s->sample);
    s->sample = left;
}

static void same_got(void *owner, const struct readback_item *item)
{
    struct same *s = owner;
    const struct ledger_row *row = ledger_find(s->ledger, item->uid);
    if (!imap_seq_has(&s->sample, item->uid))
        return;
    if (!row || (!row->bare && !has_bytes(row->size, row->hash, item))) {
        s->other = true;
        return;
    }
    if (row->bare) {
        struct same_copy *c = &s->copy[s->n_copies++];
        *c = (struct same_copy){.target_uid = row->target_uid, .size = item->size};
        memcpy(c->hash, item->hash, HASH_SIZE);
    }
    note_read(s, item->uid);
}

static void same_on_read(void *owner, enum copy_rc rc, const char *why)
{
    struct same *s = owner;
    readback_stop(&s->reading);
    if (rc != COPY_EQUAL)
        same_end(s, rc, why);
    else if (s->other || s->sample.n > 0)
        same_end(s, COPY_DIFFERS, "");
    else if (s->n_copies > 0)
        read_copies(s);
    else
        same_end(s, COPY_EQUAL, "");
}

/* Every message of that time has a row, and there are some. */
static bool rows_fit(const struct same *s, size_t *_n)
{
    const struct mbox_list *l = &s->box.list;
    size_t n = 0;
    while (n < l->listed && l->msgs[n].uid < s->uidnext) {
        const struct ledger_row *row = ledger_find(s->ledger, l->msgs[n].uid);
        if (!row || (!row->bare && row->size != l->msgs[n].size))
            return false;
        n++;
    }
    *_n = n;
    return n > 0;
}

static void same_on_opened(void *owner, enum copy_rc rc, const char *why)
{
    struct same *s = owner;
    uint32_t source, target;
    size_t n;
    if (rc != COPY_EQUAL) {
        same_end(s, rc, why);
        return;
    }
    if (!ledger_bound(s->ledger, &source, &target) || source != s->box.uidvalidity || !rows_fit(s, &n)) {
        same_end(s, COPY_DIFFERS, "");
        return;
    }
    struct imap_seq asked = {0};
    for (size_t i = 0; i < SAME_SAMPLE; i++) {
        uint32_t uid = s->box.list.msgs[i * (n - 1) / (SAME_SAMPLE - 1)].uid;
        imap_seq_add(&s->sample, uid, uid);
        imap_seq_add(&asked, uid, uid);
    }
    s->reading = readback_start(&s->box, &asked, same_got, same_on_read, s);
    imap_seq_free(&asked);
}

static enum imapc_taken same_on_news(void *owner, const struct imap_resp *resp, const struct imap_value *data)
{
    struct same *s = owner;
    return selected_data(&s->box, resp, data);
}

struct same *same_start(struct imapc *source, const char *name, struct imapc *target, const char *target_name,
                        const struct ledger *ledger, uint32_t uidnext, step_fn fn, void *owner)
{
    struct same *s = xcalloc(1, sizeof *s);
    s->target = target;
    s->target_name = target_name;
    s->ledger = ledger;
    s->uidnext = uidnext;
    s->fn = fn;
    s->owner = owner;
    s->flags = flags_pool_new();
    selected_init(&s->box, source, s->flags, name, "source", true);
    imapc_watch(source, NULL, same_on_news, NULL, s);
    selected_open(&s->box, NULL, same_on_opened, s);
    return s;
}

void same_cancel(struct same **sp)
{
    struct same *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    same_stop(s);
    free(s);
}
