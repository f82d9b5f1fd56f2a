#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#include "migrator/found/finding.h"
#include "pair.h"

void pair_name(struct pair *p, enum finding_kind kind, uint32_t source_uid, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    if (imap_seq_has(&p->named, source_uid))
        return;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    imap_seq_add(&p->named, source_uid, source_uid);
    findings_add(p->findings, kind, p->source.name, source_uid, "%s", buf_str(&text));
    buf_free(&text);
}

void pair_count_done(struct pair *p)
{
    const struct ledger_sums *sums = ledger_sums(p->ledger);
    uint64_t bytes = sums->bytes + p->bare_bytes;
    uint64_t more = bytes > p->counts.bytes_done ? bytes - p->counts.bytes_done : 0;
    p->under_way -= more < p->under_way ? more : p->under_way;
    p->counts.messages_done = sums->rows;
    p->counts.messages_verified = sums->verified;
    p->counts.bytes_done = bytes;
}

bool pair_keeps_numbers(const struct pair *p)
{
    return p->numbering && p->numbering->wanted && !p->numbers_lost;
}

void pair_lose_numbers(struct pair *p, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    if (!pair_keeps_numbers(p))
        return;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    p->numbers_lost = xstrdup(buf_str(&text));
    LOG(INFO, "numbers_lost", LOG_S("mailbox", p->source.name), LOG_S("reason", p->numbers_lost));
    buf_free(&text);
}

struct delta pair_delta(const struct pair *p)
{
    struct delta d = {
        .source = &p->source.list, .target = &p->target.list, .permanent = &p->target.permanent};
    d.rows = ledger_rows(p->ledger, &d.n_rows);
    d.removable = p->removes_all ? NULL : &p->removable;
    d.turned = ledger_was_turned(p->ledger);
    d.sample = &p->sample;
    return d;
}

uint32_t *pair_missing(const struct pair *p, size_t *_n)
{
    struct delta d = pair_delta(p);
    size_t n, kept = 0;
    uint32_t *uids = delta_missing(&d, &n);
    for (size_t i = 0; i < n; i++)
        if (uids[i] >= p->late_from && !imap_seq_has(&p->known, uids[i]))
            uids[kept++] = uids[i];
    *_n = kept;
    return uids;
}
