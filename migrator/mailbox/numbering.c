#include <assert.h>
#include <inttypes.h>

#include "numbering.h"

void numbering_jumped(struct numbering_jump *j, enum numbering_jump_rc rc, const char *why)
{
    j->fn(j->owner, rc, why);
}

static void need_gap(struct numbering_need *need, uint32_t next, uint32_t uid, bool jumps, uint32_t fill_max)
{
    if (uid < next)
        need->too_low = need->too_low ? need->too_low : uid;
    else if (jumps && uid - next > fill_max)
        need->jumps++;
    else
        need->fillers += uid - next;
}

struct numbering_need numbering_need(const uint32_t *uids, size_t n, uint32_t next, uint32_t uidnext,
                                     bool jumps, uint32_t fill_max)
{
    struct numbering_need need = {0};
    for (size_t i = 0; i < n && !need.too_low; i++) {
        need_gap(&need, next, uids[i], jumps, fill_max);
        next = uids[i] == UINT32_MAX ? UINT32_MAX : uids[i] + 1;
    }
    if (!need.too_low)
        need_gap(&need, next, uidnext, jumps, fill_max);
    return need;
}

/* Some servers want a header that is one. The first line is for a person who sees it after all. */
void filler_write(struct buf *out, const char *id, uint32_t number)
{
    size_t before = out->len;
    buf_printf(out,
               "Subject: held the place of a message number, may be deleted\r\n"
               "X-Imapferry-Filler: %s %010" PRIu32 "\r\n\r\n.\r\n",
               id, number);
    assert(out->len - before == FILLER_SIZE);
}
