#include <stdlib.h>

#include "lib/xalloc.h"
#include "readback.h"
#include "same.h"

struct same {
    const struct ledger *ledger;
    uint32_t uidnext;
    step_fn fn;
    void *owner;
    struct flags_pool *flags;
    struct selected box;
    struct imap_seq sample; /* still to be found equal */
    bool other;             /* bytes that are others */
    struct readback *reading;
};

static void stop(struct same *s)
{
    imapc_forget(s->box.imap, s);
    readback_stop(&s->reading);
    selected_free(&s->box);
    flags_pool_free(&s->flags);
    imap_seq_free(&s->sample);
}

static void end(struct same *s, enum copy_rc rc, const char *why)
{
    char *text = xstrdup(why);
    stop(s);
    s->fn(s->owner, rc, text);
    free(text);
    free(s);
}

static void got(void *owner, const struct readback_item *item)
{
    struct same *s = owner;
    const struct ledger_row *row = ledger_find(s->ledger, item->uid);
    struct imap_seq left = {0};
    if (!row || row->size != item->size || memcmp(row->hash, item->hash, HASH_SIZE) != 0) {
        s->other = true;
        return;
    }
    for (size_t i = 0; i < s->sample.n; i++)
        for (uint64_t uid = s->sample.ranges[i].first; uid <= s->sample.ranges[i].last; uid++)
            if (uid != item->uid)
                imap_seq_add(&left, (uint32_t)uid, (uint32_t)uid);
    imap_seq_free(&s->sample);
    s->sample = left;
}

static void on_read(void *owner, enum copy_rc rc, const char *why)
{
    struct same *s = owner;
    if (rc != COPY_EQUAL)
        end(s, rc, why);
    else
        end(s, s->other || s->sample.n > 0 ? COPY_DIFFERS : COPY_EQUAL, "");
}

/* Every message of that time has a row, and there are some. */
static bool rows_fit(const struct same *s, size_t *_n)
{
    const struct mbox_list *l = &s->box.list;
    size_t n = 0;
    while (n < l->listed && l->msgs[n].uid < s->uidnext) {
        const struct ledger_row *row = ledger_find(s->ledger, l->msgs[n].uid);
        if (!row || row->size != l->msgs[n].size)
            return false;
        n++;
    }
    *_n = n;
    return n > 0;
}

static void on_opened(void *owner, enum copy_rc rc, const char *why)
{
    struct same *s = owner;
    uint32_t source, target;
    size_t n;
    if (rc != COPY_EQUAL) {
        end(s, rc, why);
        return;
    }
    if (!ledger_bound(s->ledger, &source, &target) || source != s->box.uidvalidity || !rows_fit(s, &n)) {
        end(s, COPY_DIFFERS, "");
        return;
    }
    struct imap_seq asked = {0};
    for (size_t i = 0; i < SAME_SAMPLE; i++) {
        uint32_t uid = s->box.list.msgs[i * (n - 1) / (SAME_SAMPLE - 1)].uid;
        imap_seq_add(&s->sample, uid, uid);
        imap_seq_add(&asked, uid, uid);
    }
    s->reading = readback_start(&s->box, &asked, got, on_read, s);
    imap_seq_free(&asked);
}

static bool on_news(void *owner, const struct imap_resp *resp, const struct imap_value *data)
{
    struct same *s = owner;
    return selected_data(&s->box, resp, data);
}

struct same *same_start(struct imapc *source, const char *name, const struct ledger *ledger, uint32_t uidnext, step_fn fn,
                        void *owner)
{
    struct same *s = xcalloc(1, sizeof *s);
    s->ledger = ledger;
    s->uidnext = uidnext;
    s->fn = fn;
    s->owner = owner;
    s->flags = flags_pool_new();
    selected_init(&s->box, source, s->flags, name, "source", true);
    imapc_watch(source, NULL, on_news, s);
    selected_open(&s->box, NULL, on_opened, s);
    return s;
}

void same_cancel(struct same **sp)
{
    struct same *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    stop(s);
    free(s);
}
