#include "uidset.h"

enum { TEXT_MAX = 6000 };
#define HIGH_UID ((uint32_t)1 << 31)

static bool uidset_stands_alone(uint32_t first, uint32_t last)
{
    return first >= HIGH_UID || (last >= HIGH_UID && last != UINT32_MAX);
}

bool uidset_next(const struct imap_seq *set, struct uidset_place *at, uint32_t max, struct buf *out)
{
    uint32_t room = max ? max : UINT32_MAX;
    buf_clear(out);
    while (at->range < set->n && room > 0 && out->len < TEXT_MAX) {
        const struct imap_range *r = &set->ranges[at->range];
        uint32_t first = at->uid ? at->uid : r->first, last = r->last;
        if (last != UINT32_MAX && last - first >= room)
            last = first + room - 1;
        if (out->len > 0 && uidset_stands_alone(first, last))
            break;
        buf_printf(out, "%s%u", out->len > 0 ? "," : "", first);
        if (last > first)
            buf_printf(out, ":%u", last);
        room -= last == UINT32_MAX ? room : last - first + 1;
        at->range += last == r->last;
        at->uid = last == r->last ? 0 : last + 1;
    }
    return out->len > 0;
}

struct imap_seq uidset_of(const uint32_t *uids, size_t n)
{
    struct imap_seq set = {0};
    for (size_t i = 0; i < n; i++)
        imap_seq_add(&set, uids[i], uids[i]);
    return set;
}
