#include "lib/fnv.h"

#include "sample.h"

uint64_t sample_seed(const char *text)
{
    return fnv(FNV_BEGIN, span_str(text));
}

/* splitmix64: neighbouring numbers come out far apart. */
static uint64_t sample_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

bool sample_size_fits(const struct ledger_row *row, const struct mbox_msg *target)
{
    uint64_t size = row->size < UINT32_MAX ? row->size : UINT32_MAX;

    return row->bare || target->size == size;
}

static bool was_resent(const struct sample *s, const struct ledger_row *row)
{
    return s->resent && imap_seq_has(s->resent, row->source_uid);
}

static bool is_chosen(const struct sample *s, const struct ledger_row *rows, size_t n, size_t i)
{
    bool edge = i == 0 || i + 1 == n;

    return edge || was_resent(s, &rows[i - 1]) || was_resent(s, &rows[i]) || was_resent(s, &rows[i + 1]) ||
           sample_mix(s->seed ^ rows[i].source_uid) % SAMPLE_SHARE == 0;
}

bool sample_wants_bytes(const struct sample *s, const struct ledger_row *rows, size_t n, size_t i,
                        const struct mbox_msg *target)
{
    if (rows[i].verified)
        return false;
    if (s->mode == VERIFY_FULL || !sample_size_fits(&rows[i], target))
        return true;
    return s->mode == VERIFY_HEADERS ? !rows[i].header : is_chosen(s, rows, n, i);
}

bool sample_wants_unlisted(const struct sample *s, const struct ledger_row *rows, size_t n, size_t i)
{
    return !rows[i].verified &&
           (s->mode == VERIFY_FULL || (s->mode == VERIFY_SAMPLE && is_chosen(s, rows, n, i)));
}
